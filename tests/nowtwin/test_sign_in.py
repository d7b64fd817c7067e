"""OAuth: password, refresh and client credentials grants, lifetimes, refusals (servicenow-api.md 7.1)."""

from collections.abc import Mapping
from urllib.parse import urlencode

import pytest

from nowtwin.instance import OAUTH_CLIENT, OAUTH_SECRET
from tests.nowtwin.talk import Reply, Talk, basic

pytestmark = pytest.mark.behaviour("7.1", evidence="documentation: r_OAuthAPIRequestParameters.md")

PASSWORD = {
    "grant_type": "password",
    "client_id": OAUTH_CLIENT,
    "client_secret": OAUTH_SECRET,
    "username": "admin",
    "password": "admin",
}


def _ask(talk: Talk, form: Mapping[str, str]) -> Reply:
    return talk.call(
        "POST", "/oauth_token.do", urlencode(form).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    )


def _bearer(talk: Talk, token: str) -> Talk:
    return Talk(talk.url, talk.instance, {"Authorization": f"Bearer {token}"})


@pytest.fixture
def frozen(talk: Talk) -> Talk:
    talk.control("PUT", "clock", {"set": "2025-01-01 00:00:00", "rate": 0})
    return talk


def test_a_password_grant_gives_a_bearer_token(frozen: Talk) -> None:
    reply = _ask(frozen, PASSWORD)
    token = reply.json
    assert reply.status == 200
    assert (token["scope"], token["token_type"], token["expires_in"]) == ("useraccount", "Bearer", 1800)
    assert _bearer(frozen, token["access_token"]).get("table/incident").status == 200


def test_the_live_token_is_given_again_with_what_is_left_of_it(frozen: Talk) -> None:
    first = _ask(frozen, PASSWORD).json
    frozen.control("PUT", "clock", {"advance": 600})
    again = _ask(frozen, PASSWORD).json
    assert (again["access_token"], again["expires_in"]) == (first["access_token"], 1200)


@pytest.mark.behaviour(
    "7.1",
    evidence="documentation: r_OAuthAPIResponseParameters.md; assumption: rotation",
    switch="refresh_token_rotates",
)
def test_a_token_ends_and_the_refresh_token_renews_it(frozen: Talk) -> None:
    first = _ask(frozen, PASSWORD).json
    frozen.control("PUT", "clock", {"advance": 1800})
    assert _bearer(frozen, first["access_token"]).get("table/incident").status == 401
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    form |= {"client_id": OAUTH_CLIENT, "client_secret": OAUTH_SECRET}
    renewed = _ask(frozen, form).json
    assert renewed["refresh_token"] == first["refresh_token"]
    assert _bearer(frozen, renewed["access_token"]).get("table/incident").status == 200
    frozen.control("PUT", "clock", {"advance": 8_640_000})
    assert _ask(frozen, form).status == 401


@pytest.mark.behaviour("7.1", evidence="measured by others: public clients")
@pytest.mark.parametrize(
    "change",
    [
        {"password": "wrong"},
        {"username": "nobody"},
        {"client_secret": "wrong"},
        {"client_id": "unknown"},
        {"grant_type": "magic"},
        {"grant_type": "refresh_token", "refresh_token": "unknown"},
    ],
)
def test_every_refusal_looks_the_same(talk: Talk, change: Mapping[str, str]) -> None:
    reply = _ask(talk, {**PASSWORD, **change})
    assert (reply.status, reply.json) == (401, {"error": "server_error", "error_description": "access_denied"})


def test_only_a_form_in_the_body_is_taken(talk: Talk) -> None:
    for kind in ("application/json", "text/plain"):
        body = urlencode(PASSWORD).encode()
        assert talk.call("POST", "/oauth_token.do", body, {"Content-Type": kind}).status == 401
    assert talk.call("POST", f"/oauth_token.do?{urlencode(PASSWORD)}", b"").status == 401


def test_the_client_may_show_its_secret_in_a_basic_header(talk: Talk) -> None:
    form = {"grant_type": "password", "username": "admin", "password": "admin"}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for secret, status in ((OAUTH_SECRET, 200), ("wrong", 401)):
        given = headers | {"Authorization": basic(OAUTH_CLIENT, secret)}
        assert talk.call("POST", "/oauth_token.do", urlencode(form).encode(), given).status == status


def test_client_credentials_need_a_property_and_a_user_and_give_no_refresh_token(talk: Talk) -> None:
    body = {"client_id": "c" * 32, "client_secret": "hush", "user_name": "admin"}
    talk.control("POST", "oauth_clients", body)
    form = {"grant_type": "client_credentials", "client_id": "c" * 32, "client_secret": "hush"}
    assert _ask(talk, form).status == 401
    name = "glide.oauth.inbound.client.credential.grant_type.enabled"
    talk.post("sys_properties", {"name": name, "value": "true"})
    token = _ask(talk, form).json
    assert "refresh_token" not in token
    assert _bearer(talk, token["access_token"]).get("table/incident").status == 200
    assert _ask(talk, {**form, "client_id": OAUTH_CLIENT, "client_secret": OAUTH_SECRET}).status == 401


def test_a_revoked_token_is_dead(talk: Talk) -> None:
    token = _ask(talk, PASSWORD).json["access_token"]
    nobody = Talk(talk.url, talk.instance, {})
    assert nobody.call("GET", f"/oauth_revoke_token.do?token={token}").status == 200
    assert _bearer(talk, token).get("table/incident").status == 401


def test_registered_clients_are_records_without_their_secret(talk: Talk) -> None:
    body = {"client_id": "c" * 32, "client_secret": "hush", "name": "mine", "access_seconds": 60}
    talk.control("POST", "oauth_clients", body)
    (row,) = talk.rows("oauth_entity", "name=mine")
    assert (row["client_id"], row["client_secret"]) == ("c" * 32, "********")
    assert _ask(talk, {**PASSWORD, "client_id": "c" * 32, "client_secret": "hush"}).json["expires_in"] == 60


def test_no_credentials_and_malformed_ones_are_401(talk: Talk) -> None:
    for headers in (
        {},
        {"Authorization": "Basic %%%"},
        {"Authorization": "Bearer nope"},
        {"Authorization": "Digest x"},
    ):
        assert Talk(talk.url, talk.instance, headers).get("table/incident").status == 401
