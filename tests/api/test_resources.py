"""/api/v1: the console's functions as JSON, with the same roles, and the shapes that programs rely on."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any

import pytest

from nowtwin.testing import RunningServer
from tests.support.console import ADMIN_PASSWORD, VIEWER_PASSWORD, Served, netloc_of
from tests.support.program import PASSWORD


@dataclass(slots=True)
class Client:
    url: str
    headers: dict[str, str] = field(default_factory=dict)

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        return await asyncio.to_thread(self._call, method, path, body, headers)

    def _call(self, method: str, path: str, body: object, headers: dict[str, str]) -> tuple[int, Any]:
        connection = HTTPConnection(netloc_of(self.url), timeout=20)
        sent = {"Content-Type": "application/json", **self.headers, **headers}
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, f"/api/v1{path}", content, sent)
            answer = connection.getresponse()
            text = answer.read()
            cookie = answer.getheader("set-cookie")
        finally:
            connection.close()
        if cookie:
            self.headers["Cookie"] = cookie.partition(";")[0]
        return answer.status, json.loads(text) if text else None

    async def sign_in(self, name: str, password: str) -> tuple[int, Any]:
        status, told = await self.call("POST", "/session", {"name": name, "password": password})
        if status == 200:
            self.headers["X-Form-Token"] = told["form_token"]
        return status, told


def basic(url: str, **more: object) -> dict[str, object]:
    return {"url": url, "auth": "basic", "username": "svc.nowbridge", "secrets": {"password": PASSWORD}, **more}


async def test_signing_in_and_out(at_console: Served) -> None:
    client = Client(at_console.url)
    assert (await client.call("GET", "/connections"))[0] == 401
    assert (await client.sign_in("ada", "wrong"))[1]["error"].keys() == {"code", "asked", "answered", "hint"}
    assert await client.sign_in("bob", VIEWER_PASSWORD) == (200, (await client.call("GET", "/session"))[1])
    assert (await client.call("GET", "/session"))[1]["role"] == "viewer"
    assert (await client.call("DELETE", "/session", **{"X-Form-Token": "other"}))[0] == 403
    assert (await client.call("DELETE", "/session"))[0] == 204
    assert (await client.call("GET", "/session"))[0] == 401


@pytest.mark.req("S3")
async def test_a_viewer_reads_and_gets_403_for_whatever_configures(at_console: Served, account: RunningServer) -> None:
    ada, bob = Client(at_console.url), Client(at_console.url)
    await ada.sign_in("ada", ADMIN_PASSWORD)
    await bob.sign_in("bob", VIEWER_PASSWORD)
    status, made = await ada.call("POST", "/connections", basic(account.url))
    assert (status, made["name"], made["trial"]["ok"], made["trial"]["saved"]) == (200, "local", True, True)
    for method, path in (("POST", "/connections"), ("PUT", "/connections/local"), ("POST", "/connections/local/test")):
        refused, told = await bob.call(method, path, basic(account.url))
        assert (refused, told["error"]["code"]) == (403, "access.role")
        assert "super_admin" in told["error"]["answered"]
    for path in ("/status", "/connections", "/connections/local"):
        assert (await bob.call("GET", path))[0] == 200


async def test_the_shape_of_a_connection_holds_no_secret(at_console: Served, account: RunningServer) -> None:
    ada = Client(at_console.url)
    await ada.sign_in("ada", ADMIN_PASSWORD)
    await ada.call("POST", "/connections", basic(account.url))
    _, view = await ada.call("GET", "/connections/local")
    assert view.keys() == {
        *(
            "name",
            "url",
            "auth",
            "username",
            "client_id",
            "proxy",
            "secrets_set",
            "secret_changed_at",
            "secret_expires",
        ),
        *("declared_in", "tables", "stopped", "tested", "caller_ip", "caller_words", "shared_proxy"),
    }
    assert view["secrets_set"] == ["password"]
    assert view["tested"]["sign_in"].keys() == {"table", "ok", "cause", "answered", "hint", "total"}
    assert PASSWORD not in json.dumps(view)
    _, status = await ada.call("GET", "/status")
    assert status.keys() == {"at", "workers", "connections", "budgets", "tables"}


async def test_what_changes_anything_asks_for_token_and_type(at_console: Served, account: RunningServer) -> None:
    ada = Client(at_console.url)
    await ada.sign_in("ada", ADMIN_PASSWORD)
    assert (await ada.call("POST", "/connections", basic(account.url), **{"X-Form-Token": ""}))[0] == 403
    as_form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await ada.call("POST", "/connections", basic(account.url), **as_form))[0] == 400
    assert (await Client(at_console.url).call("POST", "/session", {"name": "ada"}, **as_form))[0] == 400
    assert (await ada.call("GET", "/session", Host="rebound.example"))[0] == 421
    status, told = await ada.call("POST", "/connections", {"url": 5})
    assert (status, told["error"]["code"]) == (400, "access.unreadable")
    assert (await ada.call("POST", "/connections", "x" * 70_000))[0] == 400
    assert (await ada.call("GET", "/connections/none"))[0] == 404
    assert (await ada.call("GET", "/connections"))[1] == {"connections": []}


async def test_a_trial_that_fails_is_422_and_stores_nothing(at_console: Served, account: RunningServer) -> None:
    ada = Client(at_console.url)
    await ada.sign_in("ada", ADMIN_PASSWORD)
    wrong = basic(account.url) | {"secrets": {"password": "wrong"}}
    status, told = await ada.call("POST", "/connections", wrong)
    assert (status, told["trial"]["sign_in"]["cause"], told["trial"]["saved"]) == (422, "credentials", False)
    assert (await ada.call("GET", "/connections"))[1] == {"connections": []}
    status, told = await ada.call("POST", "/connections", wrong | {"anyway": True})
    assert (status, told["trial"]["ok"], told["trial"]["saved"]) == (200, False, True)
    assert (await ada.call("POST", "/connections", wrong))[0] == 409
    assert (await ada.call("PUT", "/connections/local", basic(account.url)))[0] == 200
    assert (await ada.call("POST", "/connections/local/test"))[1]["trial"]["ok"]
