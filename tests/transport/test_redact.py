"""No secret survives in what may be logged or shown, however it is spelled."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nowbridge.transport.messages import Headers, Request
from nowbridge.transport.redact import describe, redact_headers, redact_text

NAMES = [
    "password",
    "client_secret",
    "refresh_token",
    "access_token",
    "x-sn-apikey",
    "api_key",
    "Token",
    "user_password",
    "assertion",
]
HEADERS = [
    "Authorization",
    "authorization",
    "Cookie",
    "Set-Cookie",
    "x-sn-apikey",
    "Proxy-Authorization",
    "X-UserToken",
]
secrets = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=8, max_size=30)
plain = st.text("abcdefgh 0123", max_size=20)


def unseen(secret: str, shown: str) -> None:
    assert secret not in shown
    assert quote(secret, safe="") not in shown
    assert json.dumps(secret)[1:-1] not in shown


@given(st.sampled_from(HEADERS), secrets)
def test_headers(name: str, secret: str) -> None:
    shown = redact_headers(Headers(((name, secret), ("Accept", "application/json"))))
    unseen(secret, str(shown))
    assert ("Accept", "application/json") in shown


@given(st.sampled_from(NAMES), secrets, plain, plain)
def test_form_bodies_and_query_strings(name: str, secret: str, before: str, after: str) -> None:
    assume(secret not in before + after)
    unseen(secret, redact_text(urlencode([("grant_type", before), (name, secret), ("username", after)])))


@given(st.sampled_from(NAMES), secrets, plain, st.integers(0, 5))
def test_json_even_when_cut_short(name: str, secret: str, before: str, missing: int) -> None:
    assume(secret not in before)
    text = json.dumps({"username": before, name: secret})
    unseen(secret, redact_text(text[: len(text) - missing]))


@given(secrets, st.sampled_from(["https", "http", "socks5"]))
def test_user_info_in_urls(secret: str, scheme: str) -> None:
    unseen(secret, redact_text(f"could not reach {scheme}://me:{quote(secret, safe='')}@proxy:3128/path"))


@given(st.sampled_from(["Basic", "Bearer", "bearer"]), st.text("abcXYZ0189+/=._-", min_size=8))
def test_credentials_of_a_scheme_in_running_text(scheme: str, secret: str) -> None:
    unseen(secret, redact_text(f"the call with {scheme} {secret} failed"))


@given(st.lists(st.tuples(st.sampled_from([*NAMES, "sysparm_query", "sysparm_fields"]), secrets), max_size=4), secrets)
def test_a_described_request_shows_no_value_but_harmless_ones(params: list[tuple[str, str]], secret: str) -> None:
    lines = Headers((("Authorization", f"Bearer {secret}"),))
    request = Request("POST", "/oauth_token.do", (*params, ("sysparm_limit", "1000")), lines, secret.encode())
    shown = describe(request) + repr(Request("POST", "/", headers=lines, body=secret.encode()))
    for value in (secret, *(value for _, value in params)):
        assume(value not in "POST /oauth_token.do sysparm_limit=1000 characters")
        unseen(value, shown)
    assert "sysparm_limit=1000" in shown


@pytest.mark.parametrize(
    "text",
    ["Invalid table incidnt", "Data Policy Exception: The following fields are mandatory: Close notes", "HTTP 503", ""],
)
def test_harmless_text_stays(text: str) -> None:
    assert redact_text(text) == text
