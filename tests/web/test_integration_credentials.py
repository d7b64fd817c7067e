"""The tab Integration credentials: who may see and change it, what is tried before it is kept, and what never leaves it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nowbridge import wiring
from nowbridge.configuration import difference, document
from nowbridge.configuration.carry_out import Maker, what_is
from nowbridge.replica.run import add_tables
from nowbridge.replica.spec import TableSpec
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import ConnectionRow
from nowtwin.behaviour.faults import FaultRule
from nowtwin.testing import RunningServer
from tests.nowtwin.browser import Page
from tests.support.console import Served, Visit, served
from tests.support.program import PASSWORD, Program

HOSTILE = '"><script>alert(1)</script>'


async def row_of(at: Served, name: str = "local") -> ConnectionRow:
    async with at.database.transaction() as connection:
        return await connections.load(connection, name)


async def connected(visit: Visit, address: str, **typed: str) -> Page:
    """A new connection by Basic."""
    page = await visit.open("/connections/new")
    form = {"url": address, "auth": "basic", "username": "svc.nowbridge", "password": PASSWORD} | typed
    return await visit.press(page, "/connections/new", **form)


def labelled(page: Page) -> None:
    """Every field that a person fills in has a label of its own."""
    named = {element.attributes.get("for") for element in page.all("label")}
    wrapped = {"use_proxy_user", "anyway"}  # their labels hold them
    for element in (*page.all("input"), *page.all("select")):
        if element.attributes.get("type") != "hidden":
            assert element.attributes["id"] in named | wrapped


@pytest.mark.req("S3", "L12", "L13", "L14", "H36", "H37", "H38", "H39", "H40", "I50")
async def test_a_super_admin_sets_address_and_user_in_the_tab_and_secrets_stay_inside(
    at_console: Served, account: RunningServer
) -> None:
    ada = await at_console.ada()
    page = await connected(ada, f"{account.url}/now/nav/ui/home")
    assert page.status == 200, page.texts("td")
    assert page.texts("h1") == ["local"]
    assert "Integration credentials" in page.texts("h2")
    assert page.all("input", id="url")[0].attributes["value"] == account.url
    assert page.all("input", id="username")[0].attributes["value"] == "svc.nowbridge"
    assert page.all("input", id="password")[0].attributes.get("value") is None
    assert "set, last changed at" in page.texts("p", id="password-words")[0]
    assert page.texts("span", class_="good")[0].startswith("works, ")
    assert "incident" in page.texts("td")
    labelled(page)
    row = await row_of(at_console)
    assert wiring.opened(at_console.settings, row).credentials.password == PASSWORD
    assert PASSWORD.encode() not in row.sealed
    assert not any(PASSWORD in body for body in ada.seen)


@pytest.mark.req("S3")
async def test_a_viewer_sees_and_may_not_configure(at_console: Served, account: RunningServer) -> None:
    await connected(await at_console.ada(), account.url)
    before = await row_of(at_console)
    bob = await at_console.bob()
    page = await bob.open("/connections/local")
    assert (page.status, page.all("input", id="url")) == (200, [])
    assert account.url in page.texts("dd")
    assert "Changing it needs super_admin" in page.body
    calls = len(account.instance.calls.entries)
    typed = {"url": "http://127.0.0.1:1", "auth": "basic", "username": "bob", "password": "bob", "anyway": "true"}
    configuring = ("new", "new/consent", "local", "local/test", "local/consent")
    for path in configuring:
        refused = await bob.press(page, f"/connections/{path}", **typed)
        assert (refused.status, refused.texts("code")[0]) == (403, "access.role")
        assert "super_admin" in refused.body
    assert len(account.instance.calls.entries) == calls
    assert await row_of(at_console) == before
    assert (await bob.open("/connections/new")).status == 403


@pytest.mark.req("H40", "H48", "H49")
async def test_only_what_tests_is_saved_unless_somebody_insists(at_console: Served, account: RunningServer) -> None:
    ada = await at_console.ada()
    wrong = await connected(ada, account.url, password="not the password")
    assert wrong.status == 422
    assert "credentials" in wrong.texts("span", class_="bad")
    assert "There is no connection yet" in (await ada.open("/connections")).body
    assert wrong.all("input", id="username")[0].attributes["value"] == "svc.nowbridge", "what was typed is kept"
    account.instance.faults.arm([FaultRule(kind="status", table="problem", status=403)])
    lacking = await connected(ada, account.url)
    assert lacking.status == 422
    assert "roles" in lacking.texts("span", class_="bad")
    forced = await connected(ada, account.url, anyway="true")
    assert (forced.status, forced.texts("h1")) == (200, ["local"])
    assert any(text.startswith("fails, ") for text in forced.texts("span", class_="bad"))
    account.instance.faults.arm([])
    again = await ada.press(forced, "/connections/local/test")
    assert any(text.startswith("works, ") for text in again.texts("span", class_="good"))


@pytest.mark.req("H39", "L8")
async def test_a_stored_secret_is_kept_when_left_empty_and_not_sent_to_another_address(
    at_console: Served, account: RunningServer
) -> None:
    ada = await at_console.ada()
    page = await connected(ada, account.url)
    kept = await ada.press(page, "/connections/local", secret_expires="2030-01-31")
    assert kept.status == 200
    row = await row_of(at_console)
    assert wiring.opened(at_console.settings, row).credentials.password == PASSWORD
    assert f"{row.secret_expires_at:%Y-%m-%d}" == "2030-01-31"
    moved = await ada.press(kept, "/connections/local", url="http://127.0.0.1:1", anyway="true")
    assert (moved.status, moved.texts("code")[0]) == (422, "connection.incomplete")
    assert (await row_of(at_console)).url == account.url


async def test_the_address_of_a_connection_with_tables_is_mended_where_the_instance_is_recognised(
    at_console: Served, account: RunningServer
) -> None:
    account.instance.insert("sys_properties", {"name": "instance_id", "value": "1" * 32})
    ada = await at_console.ada()
    page = await connected(ada, account.url)
    row = await row_of(at_console)
    async with at_console.database.transaction() as connection:
        async with wiring.stored_instance(at_console.settings, row, at_console.database) as instance:
            await add_tables(connection, instance, row, [TableSpec("incident")], at_console.now)
        await connections.keep_likeness(connection, row.id, {"instance_id": "2" * 32}, now=at_console.now())
    other = account.url.replace("127.0.0.1", "localhost")
    strange = await ada.press(page, "/connections/local", url=other, password=PASSWORD)
    assert (strange.status, strange.texts("code")[0]) == (422, "connection.other_instance")
    assert (await row_of(at_console)).url == account.url
    async with at_console.database.transaction() as connection:
        await connections.keep_likeness(connection, row.id, {}, now=at_console.now())
    unsure = await ada.press(page, "/connections/local", url=other, password=PASSWORD)
    assert unsure.status == 422, "an address where nothing tells is not taken for ours"
    async with at_console.database.transaction() as connection:
        await connections.keep_likeness(connection, row.id, {"instance_id": "1" * 32}, now=at_console.now())
    mended = await ada.press(page, "/connections/local", url=other, password=PASSWORD)
    assert mended.status == 200, mended.texts("p")
    moved = await row_of(at_console)
    assert (moved.id, moved.url) == (row.id, other)
    assert wiring.opened(at_console.settings, moved).credentials.password == PASSWORD


async def test_what_a_configuration_file_declares_is_read_only_with_its_name(
    at_console: Served, account: RunningServer, tmp_path: Path
) -> None:
    ada = await at_console.ada()
    page = await connected(ada, account.url)
    file = tmp_path / "nowbridge.yaml"
    async with at_console.database.transaction() as connection:
        file.write_text(document.write(await what_is(connection)))
        stands = await what_is(connection)
    wanted = document.read(file, lambda _, text: float(text))
    await Maker(at_console.settings, at_console.database, wanted).make(difference.plan(stands, wanted), lambda _: None)
    shown = await ada.open("/connections/local")
    assert str(file) in shown.body
    assert shown.all("input", id="url") == []
    refused = await ada.press(page, "/connections/local", username="somebody else")
    assert (refused.status, refused.texts("code")[0]) == (409, "connection.declared")
    assert (await row_of(at_console)).username == "svc.nowbridge"
    file.write_text(yaml.safe_dump({"version": 1, "connections": {}}))
    nothing = document.read(file, lambda _, text: float(text))
    await Maker(at_console.settings, at_console.database, nothing).make([], lambda _: None)
    assert (await ada.open("/connections/local")).all("input", id="url"), "what no file declares is changed here"


@pytest.mark.req("L19", "L20")
async def test_use_proxy_user_and_the_address_to_allow_list(program: Program, account: RunningServer) -> None:
    async with served(program) as plain:
        page = await (await plain.ada()).open("/connections/new")
        words = page.texts("p", id="use_proxy_user-words")[0]
        assert "Only needed if the instance allows calls from a single IP address" in words
        assert "shared_proxy, which is not set" in words
        assert "disabled" in page.all("input", id="use_proxy_user")[0].attributes
        ada = await plain.ada()
        shown = await connected(ada, account.url)
        assert "127.0.0.1 (of this machine, on the route" in shown.texts("p", id="use_proxy_user-words")[0]


@pytest.mark.req("L19", "L20")
async def test_with_use_proxy_user_calls_go_out_by_the_shared_proxy(program: Program, account: RunningServer) -> None:
    variables = {"NOWBRIDGE_SHARED_PROXY": "http://127.0.0.1:1", "NOWBRIDGE_CALLER_IP": "198.51.100.7"}
    async with served(program, **variables) as one:
        ada = await one.ada()
        away = await connected(ada, account.url, use_proxy_user="true")
        assert away.status == 422, "the proxy is not there, and nothing goes past it"
        assert "network" in away.texts("span", class_="bad")
        assert list(account.instance.calls.entries) == []
        assert "198.51.100.7 (as the setting caller_ip says)" in away.texts("p", id="use_proxy_user-words")[0]
        forced = await connected(ada, account.url, use_proxy_user="true", anyway="true")
        assert "checked" in forced.all("input", id="use_proxy_user")[0].attributes
        assert (await row_of(one)).options == {"proxy": "shared"}
        back = await ada.press(forced, "/connections/local", use_proxy_user=None)
        assert back.status == 200, back.texts("td")
        assert (await row_of(one)).options == {}


async def test_whatever_was_typed_shows_as_the_characters_it_holds(at_console: Served, account: RunningServer) -> None:
    ada = await at_console.ada()
    for field in ("url", "username", "client_id", "proxy", "secret_expires", "auth"):
        page = await connected(ada, account.url, **{field: HOSTILE})
        assert "<script" not in page.body
    forced = await connected(ada, account.url, username=HOSTILE, anyway="true")
    assert forced.all("input", id="username")[0].attributes["value"] == HOSTILE
    account.instance.add_user("svc.nowbridge", PASSWORD, roles=("admin",), first_name=HOSTILE, last_name="S")
    tested = await ada.press(forced, "/connections/local", username="svc.nowbridge", password=PASSWORD)
    assert any(HOSTILE in text for text in tested.texts("dd"))
    assert "<script" not in tested.body
    for path in ("/connections/%3Cscript%3E", "/connections/local?done=%3Cscript%3E", "/%3Cscript%3E"):
        assert "<script" not in (await ada.open(path)).body


async def test_the_overview_shows_what_status_shows(at_console: Served, account: RunningServer) -> None:
    ada = await at_console.ada()
    await connected(ada, account.url)
    row = await row_of(at_console)
    async with (
        at_console.database.transaction() as connection,
        wiring.stored_instance(at_console.settings, row, at_console.database) as instance,
    ):
        await add_tables(connection, instance, row, [TableSpec("incident")], at_console.now)
    page = await ada.open("/")
    assert "incident" in page.texts("b")
    assert "planned" in page.texts("span", class_="soft")
    assert any("No worker is running" in text for text in page.texts("div", class_="error"))
