"""The client brings back whole answers or says what went wrong, repeats only what may be repeated, and leaks nothing."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from nowbridge.model.errors import NowbridgeError, Retry, Stop, Unsettled
from nowbridge.transport.client import Client, Limits, Route, checked_base_url
from nowbridge.transport.messages import Headers, Request
from tests.support.scripted_server import Heard, answer, scripted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

GET = Request("GET", "/api/now/table/incident", (("sysparm_query", "a=1^b=ü&c"),), asked="read a page of incident")
CREATE = Request("POST", "/api/now/table/incident", body=b"{}", asked="create a record", idempotent=False)


@dataclass
class Clients:
    """Makes clients whose waits are noted instead of waited, and closes them."""

    waits: list[float] = field(default_factory=list)
    made: list[Client] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def __call__(self, url: str, limits: Limits | None = None, route: Route | None = None) -> Client:
        client = Client(
            url,
            limits=limits or Limits(attempts=3, timeout_seconds=5),
            sleep=self.sleep,
            monotonic=time.monotonic,
            random=lambda: 0.0,
            route=route,
        )
        self.made.append(client)
        return client


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    made = Clients()
    yield made
    for client in made.made:
        await client.close()


async def right(heard: Heard) -> bytes:
    return answer(200, b'{"result":[]}')


async def test_an_answer_comes_back_whole_with_its_time_and_headers(clients: Clients) -> None:
    async def compressed(heard: Heard) -> bytes:
        return answer(201, gzip.compress(b'{"result":{}}'), "Content-Encoding: gzip", "X-Total-Count: 7")

    async with scripted(compressed) as server:
        response = await clients(server.url).send(GET)
    assert (response.status, response.body) == (201, b'{"result":{}}')
    assert response.headers.get("x-total-count") == "7"
    assert response.server_time == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert response.elapsed > 0
    assert server.heard[0].line == "GET /api/now/table/incident?sysparm_query=a%3D1%5Eb%3D%C3%BC%26c HTTP/1.1"
    assert server.heard[0].headers["accept-encoding"] == "gzip"


CUTS = {
    "shorter than its Content-Length": answer(200, b'{"result":[', "Content-Length: 900"),
    "a chunk short": answer(200, b'4\r\n{"re\r\n', "Transfer-Encoding: chunked"),
    "a compressed body cut": answer(
        200, gzip.compress(b"x" * 5000)[:20], "Content-Encoding: gzip", "Content-Length: 900"
    ),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
async def test_a_body_cut_short_is_asked_for_again_and_is_never_an_answer(clients: Clients, cut: bytes) -> None:
    async def twice_cut(heard: Heard) -> bytes:
        return cut if heard.number <= 2 else answer()

    async def always_cut(heard: Heard) -> bytes:
        return cut

    async with scripted(twice_cut) as server:
        assert (await clients(server.url).send(GET)).body == b'{"result":[]}'
    async with scripted(always_cut) as server:
        with pytest.raises(Retry) as caught:
            await clients(server.url).send(GET)
    assert caught.value.code == "answer.cut"
    assert len(server.heard) == 3


async def test_a_write_that_may_have_arrived_is_not_sent_again(clients: Clients) -> None:
    async def close(heard: Heard) -> None:
        return None

    async with scripted(close) as server:
        with pytest.raises(Unsettled) as caught:
            await clients(server.url).send(CREATE)
    assert caught.value.code == "write.unsettled"
    assert len(server.heard) == 1


async def test_a_write_whose_connection_never_stood_is_tried_again_and_then_given_back(clients: Clients) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: nobody else can take the port, and nobody answers
        client = clients(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(Retry) as caught:
            await client.send(CREATE)
    assert caught.value.code == "network.unreachable"
    assert len(clients.waits) == 2


@pytest.mark.parametrize(
    ("request_", "kind"), [(GET, Retry), (CREATE, Unsettled)], ids=["a read may be repeated", "a write may not"]
)
async def test_silence_is_a_time_out(clients: Clients, request_: Request, kind: type[NowbridgeError]) -> None:
    over = asyncio.Event()

    async def silent(heard: Heard) -> None:
        await over.wait()

    async with scripted(silent) as server:
        with pytest.raises(kind) as caught:
            await clients(server.url, Limits(attempts=2, timeout_seconds=0.1)).send(request_)
        over.set()
    assert caught.value.code == {Retry: "network.timeout", Unsettled: "write.unsettled"}[kind]


async def test_too_many_requests_wait_as_long_as_the_instance_says(clients: Clients) -> None:
    async def refuse_once(heard: Heard) -> bytes:
        return answer(429, b"{}", "Retry-After: 17") if heard.number == 1 else answer()

    async with scripted(refuse_once) as server:
        assert (await clients(server.url).send(CREATE)).status == 200
    assert clients.waits == [17.0]


async def test_a_wait_that_is_too_long_is_the_callers(clients: Clients) -> None:
    async def refuse(heard: Heard) -> bytes:
        return answer(429, b"{}", "Retry-After: 3000")

    async with scripted(refuse) as server:
        assert (await clients(server.url).send(GET)).status == 429
    assert clients.waits == []


async def test_a_restarting_instance_is_asked_again_with_growing_pauses(clients: Clients) -> None:
    async def restart(heard: Heard) -> bytes:
        return answer(503, b"<html>", "Content-Type: text/html")

    async with scripted(restart) as server:
        assert (await clients(server.url).send(GET)).status == 503
    assert len(server.heard) == 3
    assert clients.waits == [0.25, 0.5]


async def test_no_cookie_is_kept_and_no_redirect_followed(clients: Clients) -> None:
    async def tempt(heard: Heard) -> bytes:
        return answer(302, b"", "Set-Cookie: JSESSIONID=1; Path=/", "Location: /login.do")

    async with scripted(tempt) as server:
        client = clients(server.url)
        for _ in range(2):
            assert (await client.send(GET)).status == 302
    assert len(server.heard) == 2
    assert [heard.headers.get("cookie") for heard in server.heard] == [None, None]


async def test_no_more_requests_are_in_flight_than_allowed(clients: Clients) -> None:
    full = asyncio.Event()

    async def crowded(heard: Heard) -> bytes:
        if heard.number >= 3:
            full.set()
        await full.wait()
        return answer()

    async with scripted(crowded) as server:
        client = clients(server.url, Limits(in_flight=3))
        await asyncio.gather(*(client.send(GET) for _ in range(12)))
    assert server.most_at_once == 3


async def test_answers_of_429_narrow_the_way(clients: Clients) -> None:
    async def refuse_once(heard: Heard) -> bytes:
        return answer(429, b"{}") if heard.number == 1 else answer()

    async with scripted(refuse_once) as server:
        client = clients(server.url, Limits(in_flight=8))
        await client.send(GET)
    assert client.gate.allowance.now == 4


async def test_secrets_enter_neither_log_nor_error(clients: Clients, caplog: pytest.LogCaptureFixture) -> None:
    async def close(heard: Heard) -> None:
        return None

    secret = "hunter2-hunter2"
    request = Request(
        "POST",
        "/oauth_token.do",
        (("token", secret), ("sysparm_query", secret)),
        Headers((("Authorization", f"Basic {secret}"),)),
        f"password={secret}".encode(),
        asked="log in",
    )
    with caplog.at_level(logging.DEBUG):
        async with scripted(close) as server:
            with pytest.raises(Retry) as caught:
                await clients(server.url).send(request)
    assert server.heard, "it was sent"
    assert "/oauth_token.do" in caplog.text
    assert secret not in caplog.text
    assert secret not in str(caught.value) + repr(caught.value) + repr(request)


async def test_a_proxy_gets_the_request_and_its_own_credentials(clients: Clients) -> None:
    async with scripted(right) as proxy:
        route = Route(proxy=f"http://me:pass@localhost:{proxy.port}", allow_plain=True)
        client = clients("http://instance.invalid", route=route)
        assert (await client.send(GET)).status == 200
    assert proxy.heard[0].line.startswith("GET http://instance.invalid/api/now/table/incident?")
    assert proxy.heard[0].headers["proxy-authorization"] == "Basic bWU6cGFzcw=="
    assert "pass" not in repr(route)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://dev1.service-now.com", "https://dev1.service-now.com"),
        (" https://dev1.service-now.com/ ", "https://dev1.service-now.com"),
        ("https://dev1.example.com:8443", "https://dev1.example.com:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost", "http://localhost"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
@pytest.mark.req("S50", "L6")
def test_an_instance_url_is_scheme_host_and_port(given: str, used: str) -> None:
    assert checked_base_url(given) == used


@pytest.mark.parametrize(
    "given",
    [
        "",
        "dev1.service-now.com",
        "ftp://dev1.service-now.com",
        "https://",
        "https://user:secret@dev1.service-now.com",
        "https://dev1.service-now.com/nav_to.do",
        "https://dev1.service-now.com?x=1",
        "https://dev1.service-now.com:port",
        "http://dev1.service-now.com",
        "http://127.0.0.1.example.com",
        "https://[::1",
    ],
)
@pytest.mark.req("S50", "L6", "L7")
def test_an_unusable_instance_url_is_refused_without_repeating_it(given: str) -> None:
    with pytest.raises(Stop) as caught:
        checked_base_url(given)
    assert caught.value.code == "settings.instance_url"
    assert "secret" not in str(caught.value)


def test_plain_http_to_another_host_must_be_allowed() -> None:
    assert checked_base_url("http://twin.example.com", allow_plain=True) == "http://twin.example.com"


@pytest.mark.parametrize("proxy", ["", "localhost:3128", "socks5://localhost", "http://"])
def test_an_unusable_proxy_is_refused(clients: Callable[..., Client], proxy: str) -> None:
    with pytest.raises(Stop) as caught:
        clients("https://dev1.service-now.com", route=Route(proxy=proxy))
    assert caught.value.code == "settings.proxy"
