"""Logging in: which requests a flow makes, what it takes from the answers, and that it shows no secret."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowbridge.model.errors import NowbridgeError, Retry, Stop
from nowbridge.servicenow import auth, tables
from nowbridge.servicenow.auth import ApiKey, Basic, ClientCredentials, OAuthPassword, Token
from nowbridge.transport.messages import Request, Response
from nowtwin.instance import OAUTH_CLIENT, OAUTH_SECRET

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.support.site import Site

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PASSWORD = OAuthPassword("client-1", "secret-1", "jane", "pässword&1")
CREDENTIALS = ClientCredentials("client-1", "secret-1")
REFUSED = Response(401, body=b'{"error":"server_error","error_description":"access_denied"}')


def granted(access: str = "a1", expires_in: object = 1800, refresh: str | None = "r1") -> Response:
    return Response(
        200, body=json.dumps({"access_token": access, "refresh_token": refresh, "expires_in": expires_in}).encode()
    )


def form(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs((request.body or b"").decode()).items()}


def finish(flow: Generator[Request, Response, Token], *answers: Response) -> tuple[Token, list[Request]]:
    asked = [next(flow)]
    for answer in answers:
        try:
            asked.append(flow.send(answer))
        except StopIteration as done:
            return done.value, asked
    raise AssertionError("the flow wants more answers")


@pytest.mark.req("S23")
def test_the_password_grant_posts_a_form_with_client_and_user() -> None:
    token, asked = finish(auth.obtain(PASSWORD, None, NOON), granted())
    assert (asked[0].method, asked[0].path, asked[0].params) == ("POST", "/oauth_token.do", ())
    assert asked[0].headers.get("Content-Type") == "application/x-www-form-urlencoded"
    assert form(asked[0]) == {
        "grant_type": "password",
        "client_id": "client-1",
        "client_secret": "secret-1",
        "username": "jane",
        "password": "pässword&1",
    }
    assert (token.access, token.refresh) == ("a1", "r1")


def test_client_credentials_need_no_user() -> None:
    _, asked = finish(auth.obtain(CREDENTIALS, None, NOON), granted(refresh=None))
    assert form(asked[0]) == {
        "grant_type": "client_credentials",
        "client_id": "client-1",
        "client_secret": "secret-1",
    }


@pytest.mark.req("S25")
def test_a_refresh_token_is_used_and_kept_where_none_comes_back() -> None:
    held = Token("a1", NOON, "r1")
    token, asked = finish(auth.obtain(PASSWORD, held, NOON), granted("a2", refresh=None))
    assert form(asked[0])["grant_type"] == "refresh_token"
    assert form(asked[0])["refresh_token"] == "r1"
    assert (token.access, token.refresh) == ("a2", "r1")


@pytest.mark.req("S25")
def test_a_refresh_token_that_has_ended_leads_back_to_the_password() -> None:
    token, asked = finish(auth.obtain(PASSWORD, Token("a1", NOON, "r1"), NOON), REFUSED, granted("a2", refresh="r2"))
    assert [form(request)["grant_type"] for request in asked] == ["refresh_token", "password"]
    assert token.refresh == "r2"


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (REFUSED, Stop, "auth.refused"),
        (Response(400, body=b'{"error":"invalid_grant"}'), Stop, "auth.refused"),
        (Response(503, body=b"<html>"), Retry, "auth.unavailable"),
        (Response(200, body=b"<html>"), Retry, "auth.unavailable"),
        (Response(200, body=b'{"token":1}'), Retry, "auth.unavailable"),
        (granted(expires_in="soon"), Retry, "auth.unavailable"),
    ],
)
def test_an_answer_without_a_token_is_an_error(answer: Response, kind: type[NowbridgeError], code: str) -> None:
    with pytest.raises(kind) as caught:
        finish(auth.obtain(PASSWORD, None, NOON), answer)
    assert caught.value.code == code


@given(st.one_of(st.integers(0, 10**6), st.integers(0, 10**6).map(str)))
def test_a_token_is_renewed_within_its_life_and_not_with_every_call(expires_in: int | str) -> None:
    token, _ = finish(auth.obtain(PASSWORD, None, NOON), granted(expires_in=expires_in))
    life = max(1, int(expires_in))
    assert auth.is_due(token, NOON + timedelta(seconds=life))
    assert not auth.is_due(token, NOON)
    assert token.renew_at == NOON + timedelta(seconds=life - min(60, life / 2))


@pytest.mark.req("S21")
def test_a_token_that_does_not_say_how_long_it_lives_is_taken_for_half_an_hour() -> None:
    answer = Response(200, body=b'{"access_token": "a1", "token_type": "Bearer"}')
    token, _ = finish(auth.obtain(PASSWORD, None, NOON), answer)
    assert auth.is_due(token, NOON + timedelta(seconds=1800))
    assert token.renew_at == NOON + timedelta(seconds=1740)


@pytest.mark.req("L9")
def test_basic_and_key_accounts_carry_their_header() -> None:
    assert auth.headers(Basic("jane", "p:w"), None) == (("Authorization", "Basic amFuZTpwOnc="),)
    assert auth.headers(ApiKey("k1"), None) == (("x-sn-apikey", "k1"),)


@pytest.mark.parametrize(
    "account",
    [PASSWORD, CREDENTIALS, Basic("jane", "secret-1"), ApiKey("secret-1"), Token("secret-1", NOON, "secret-1")],
)
def test_no_secret_is_shown(account: object) -> None:
    assert "secret-1" not in repr(account)
    assert "pässword" not in repr(account)


def signed(password: str = "admin") -> OAuthPassword:
    return OAuthPassword(OAUTH_CLIENT, OAUTH_SECRET, "admin", password)


@pytest.mark.req("S23", "S36", "S51", "S52", "L10")
async def test_oauth_against_the_twin_logs_in_once_for_many_calls(site: Site) -> None:
    instance = site.sign_in(signed())
    await asyncio.gather(*(tables.count(instance, "sys_user") for _ in range(5)))
    assert site.calls("/oauth_token.do") == 1


@pytest.mark.req("S25")
async def test_a_token_is_refreshed_before_it_ends_without_a_refused_call(site: Site) -> None:
    instance = site.sign_in(signed())
    await tables.count(instance, "sys_user")
    site.pass_time(1795)
    await tables.count(instance, "sys_user")
    assert site.calls("/oauth_token.do") == 2
    assert [call.status for call in site.twin.instance.calls.entries if "table" in call.path] == [200, 200]


@pytest.mark.req("S25")
async def test_a_token_that_is_revoked_early_is_renewed_once_and_the_call_repeated(site: Site) -> None:
    instance = site.sign_in(signed())
    await tables.count(instance, "sys_user")
    site.twin.instance.clock.advance(2000)  # its clock alone: ours still believes in the token
    await asyncio.gather(*(tables.count(instance, "sys_user") for _ in range(4)))
    assert site.calls("/oauth_token.do") == 2


async def test_a_wrong_password_is_tried_once_by_however_many_callers(site: Site) -> None:
    """Each further try would bring the account closer to being locked out."""
    instance = site.sign_in(signed("wrong"))
    results = await asyncio.gather(*(tables.count(instance, "sys_user") for _ in range(6)), return_exceptions=True)
    assert {getattr(result, "code", None) for result in results} == {"auth.refused"}
    assert site.calls("/oauth_token.do") == 1


@pytest.mark.req("S36", "S51", "S53", "L9")
async def test_basic_against_the_twin(site: Site) -> None:
    assert await tables.count(site.sign_in(), "sys_user") == 1
    with pytest.raises(Stop) as caught:
        await tables.count(site.sign_in(Basic("admin", "wrong")), "sys_user")
    assert caught.value.code == "auth.refused"
    assert "wrong" not in str(caught.value)


def test_an_account_with_tokens_needs_one() -> None:
    with pytest.raises(ValueError, match="token first"):
        auth.headers(PASSWORD, None)
