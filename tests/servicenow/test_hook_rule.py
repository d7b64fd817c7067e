"""The installed rule in the instance: what it does while nobody answers its posts."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from nowbridge.servicenow import hook_rule
from nowtwin.testing import RunningServer

HOOK = "0123abcd"


@pytest.fixture
def place() -> Iterator[socket.socket]:
    """A port that is taken and refuses whoever connects, until it listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken


def install(twin: RunningServer, port: int) -> None:
    secret = base64.b64encode(b"s" * 32).decode()
    properties = hook_rule.property_values(HOOK, f"http://127.0.0.1:{port}/hooks/twin", secret)
    twin.instance.load("sys_properties", properties)
    twin.instance.insert("sys_script", hook_rule.rule_values(HOOK, "incident"))


def change(twin: RunningServer) -> list[int]:
    """One record changes; the failures in a row and the instance's time up to which no rule posts."""
    twin.instance.insert("incident", {"short_description": "told of"})
    assert twin.instance.scripts.jobs.settle(20)
    return [int(part) for part in twin.instance.property(f"{hook_rule.prefix(HOOK)}.failing").split()]


def test_rules_that_nobody_answers_hold_the_instance_up_once_a_minute_only(
    twin: RunningServer, place: socket.socket
) -> None:
    install(twin, place.getsockname()[1])
    twin.instance.clock.freeze()
    assert [change(twin) for _ in range(2)] == [[1, 0], [2, 0]]
    now = int(twin.instance.clock.now().timestamp())
    assert change(twin)[1] // 1000 == now + 60
    stands = twin.instance.property(f"{hook_rule.prefix(HOOK)}.failing")
    twin.instance.clock.advance(59)
    change(twin)
    assert twin.instance.property(f"{hook_rule.prefix(HOOK)}.failing") == stands, "nothing was tried"
    twin.instance.clock.advance(2)
    assert change(twin)[1] // 1000 == now + 61 + 60, "one try a minute"


def test_who_answers_again_is_told_again(twin: RunningServer, place: socket.socket) -> None:
    heard = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.path)
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    install(twin, place.getsockname()[1])
    for _ in range(3):
        change(twin)
    twin.instance.clock.advance(61)
    place.close()
    with HTTPServer(place_of(twin), Receiver) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        assert change(twin) == [0, 0]
        change(twin)
        server.shutdown()
    assert heard == ["/hooks/twin"] * 2


def place_of(twin: RunningServer) -> tuple[str, int]:
    url = twin.instance.property(f"{hook_rule.prefix(HOOK)}.url")
    return "127.0.0.1", int(url.split(":")[2].split("/")[0])
