"""Connect with ServiceNow: a person allows the connection at the instance, and comes back with a code (OAuth, PKCE)."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import replace
from http.client import HTTPConnection
from json import dumps
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from nowbridge import wiring
from nowbridge.api.console import CALLBACK
from nowbridge.connecting.consent import WITHIN
from nowbridge.model.errors import Stop
from nowbridge.servicenow import tables as source
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import ConnectionRow
from nowtwin.testing import RunningServer
from tests.nowtwin.browser import Browser, Page
from tests.support.console import Served, Visit, fields_of
from tests.support.program import PASSWORD

CLIENT_ID = "c" * 32
CLIENT_SECRET = "hush-this-is-a-client-secret"


def register(twin: RunningServer, redirect: str, **columns: str) -> None:
    """What an administrator enters in the Application Registry."""
    body = {"name": "Nowbridge", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_url": redirect}
    basic = b64encode(b"admin:admin").decode()
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Authorization": f"Basic {basic}"}
    connection = HTTPConnection(urlsplit(twin.url).netloc, timeout=20)
    path = "/api/now/table/oauth_entity?sysparm_input_display_value=true"
    connection.request("POST", path, dumps(body | columns), headers)
    assert connection.getresponse().status == 201
    connection.close()


async def begun(at: Served, visit: Visit, url: str) -> str:
    """Fill in the form, press the button; returns where the browser is sent."""
    page = await visit.open("/connections/new")
    typed = {"url": url, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    leaving = await visit.press(page, "/connections/new/consent", **typed)
    assert leaving.status == 200, leaving.body
    address = leaving.links("Continue to ServiceNow")[0]
    assert f"0; url={address}" in [meta.attributes.get("content") for meta in leaving.all("meta")]
    assert CLIENT_SECRET not in address
    return address


async def answered(twin: RunningServer, address: str, action: str = "allow") -> str:
    """What the person does at the instance; returns where it sends the browser back to."""

    def act() -> str:
        person = Browser(twin.url)
        person.log_in("svc.nowbridge", PASSWORD)
        place = urlsplit(address)
        shown = person.get(f"{place.path}?{place.query}")
        assert shown.status == 200, shown.body
        form = fields_of(shown) | {"sys_action": action}
        return person.send("POST", "/oauth_auth.do", _form(form), _FORM).headers["location"]

    return await asyncio.to_thread(act)


_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def _form(values: dict[str, str]) -> bytes:
    return urlencode(values).encode()


async def back(visit: Visit, location: str) -> Page:
    place = urlsplit(location)
    return await visit.open(f"{place.path}?{place.query}")


async def stored(at: Served) -> ConnectionRow:
    async with at.database.transaction() as connection:
        return await connections.load(connection, "local")


async def reads(at: Served) -> int:
    """A worker's look at the instance, with a token of its own."""
    row = await stored(at)
    async with wiring.stored_instance(at.settings, row, at.database, attempts=1) as instance:
        return await source.count(instance, "incident")


@pytest.mark.req("S20", "S3", "L10", "S25")
async def test_a_person_allows_it_and_the_connection_works_and_renews_by_itself(
    at_console: Served, account: RunningServer
) -> None:
    ada = await at_console.ada()
    page = await ada.open("/connections/new")
    redirect = page.all("input", id="redirect_uri")[0].attributes["value"]
    assert redirect == f"{at_console.url}/auth/servicenow/callback"
    assert "Paste it into the Redirect URL" in page.texts("p", id="redirect_uri-words")[0]
    register(account, redirect or "")
    address = await begun(at_console, ada, account.url)
    asked = parse_qs(urlsplit(address).query)
    assert asked["redirect_uri"] == [redirect]
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["state"][0]) >= 43
    done = await back(ada, await answered(account, address))
    assert (done.status, done.texts("h1")) == (200, ["local"])
    assert "ServiceNow allowed it" in done.texts("div", class_="done")[0]
    row = await stored(at_console)
    assert (row.auth, row.username) == ("authorization_code", "svc.nowbridge")
    assert await reads(at_console) == 5
    account.instance.clock.advance(1_900)
    assert await reads(at_console) == 5
    tested = await ada.press(done, "/connections/local/test")
    assert any(text.startswith("works, ") for text in tested.texts("span", class_="good"))
    kept = await ada.press(tested, "/connections/local")
    assert kept.status == 200, "saved again without asking anybody"
    assert await reads(at_console) == 5
    assert not any(CLIENT_SECRET in body for body in ada.seen)


@pytest.mark.req("S20")
async def test_a_renewal_that_changes_the_refresh_token_is_kept_for_all_workers(
    at_console: Served, account: RunningServer
) -> None:
    account.instance.switches = replace(account.instance.switches, refresh_token_rotates=True)
    ada = await at_console.ada()
    register(account, f"{at_console.url}{CALLBACK}")
    await back(ada, await answered(account, await begun(at_console, ada, account.url)))
    row = await stored(at_console)
    first = wiring.stored_instance(at_console.settings, row, at_console.database, attempts=1)
    second = wiring.stored_instance(at_console.settings, row, at_console.database, attempts=1)
    async with first as one, second as two:
        for _ in range(2):
            both = tuple(await asyncio.gather(source.count(one, "incident"), source.count(two, "incident")))
            assert both == (5, 5)
            account.instance.clock.advance(1_900)
    assert await stored(at_console) == row, "nobody opens the connection anew for that"
    await wiring.rotate_keys(at_console.settings, at_console.database)
    assert await reads(at_console) == 5, "the token is sealed anew with the rest"


@pytest.mark.req("S20")
async def test_an_answer_counts_once_in_time_and_in_the_browser_that_began(
    at_console: Served, account: RunningServer
) -> None:
    register(account, f"{at_console.url}{CALLBACK}")
    ada, other = await at_console.ada(), await at_console.ada()
    address = await begun(at_console, ada, account.url)
    location = await answered(account, address)
    elsewhere = await back(other, location)
    assert (elsewhere.status, elsewhere.texts("code")[0]) == (422, "consent.unknown")
    assert (await back(at_console.browser(), location)).status == 401
    assert (await back(await at_console.bob(), location)).status == 403
    forged = await back(ada, f"{at_console.url}{CALLBACK}?code=x&state=made-up")
    assert forged.texts("code")[0] == "consent.unknown"
    assert (await back(ada, location)).texts("h1") == ["local"]
    assert (await back(ada, location)).texts("code")[0] == "consent.unknown"
    late = await begun_again(at_console, ada)
    at_console.now.pass_(seconds=WITHIN.total_seconds() + 1)
    assert (await back(ada, await answered(account, late))).texts("code")[0] == "consent.unknown"


async def begun_again(at: Served, visit: Visit) -> str:
    leaving = await visit.press(await visit.open("/connections/local"), "/connections/local/consent")
    return leaving.links("Continue to ServiceNow")[0]


@pytest.mark.req("S20")
@pytest.mark.parametrize("trouble", ["denied", "wrong code", "wrong secret"])
async def test_what_goes_wrong_there_changes_nothing_here(
    at_console: Served, account: RunningServer, trouble: str
) -> None:
    columns = {"client_secret": "another one"} if trouble == "wrong secret" else {}
    register(account, f"{at_console.url}{CALLBACK}", **columns)
    ada = await at_console.ada()
    address = await begun(at_console, ada, account.url)
    location = await answered(account, address, "deny" if trouble == "denied" else "allow")
    if trouble == "wrong code":
        location = location.replace("code=", "code=0")
    page = await back(ada, location)
    assert page.texts("code")[0] == ("consent.denied" if trouble == "denied" else "auth.refused")
    async with at_console.database.transaction() as connection:
        assert await connections.every(connection) == []


@pytest.mark.req("S20")
async def test_when_the_person_takes_it_back_the_error_says_what_to_do(
    at_console: Served, account: RunningServer
) -> None:
    register(account, f"{at_console.url}{CALLBACK}")
    ada = await at_console.ada()
    await back(ada, await answered(account, await begun(at_console, ada, account.url)))
    account.instance.clock.advance(101 * 86_400)
    with pytest.raises(Stop) as refused:
        await reads(at_console)
    assert refused.value.code == "auth.consent"
    assert "Connect with ServiceNow" in refused.value.hint
    tested = await ada.press(await ada.open("/connections/local"), "/connections/local/test")
    assert "credentials" in tested.texts("span", class_="bad")
    done = await back(ada, await answered(account, await begun_again(at_console, ada)))
    assert done.status == 200, done.body
    assert await reads(at_console) == 5
