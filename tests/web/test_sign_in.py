"""Signing in to the console: who gets in, for how long, how often it may fail, and what a browser is given."""

from __future__ import annotations

import pytest

from nowbridge.api import accounts
from nowbridge.api.access import ENDS_AFTER, IDLE_AFTER
from tests.support.console import ADMIN_PASSWORD, Served, Visit, fields_of, served
from tests.support.program import Program


async def is_in(visit: Visit) -> bool:
    return (await visit.open("/")).status == 200


async def test_who_is_not_signed_in_is_asked_and_sees_nothing(at_console: Served) -> None:
    visit = at_console.browser()
    for path in ("/", "/connections", "/connections/new", "/connections/twin"):
        page = await visit.open(path)
        assert (page.status, page.texts("h1")) == (401, ["Sign in"])


async def test_a_wrong_password_and_a_wrong_name_are_refused_alike(at_console: Served) -> None:
    visit = at_console.browser()
    wrong = await visit.sign_in("ada", "not the sentence of ada")
    nobody = await visit.sign_in("eve", ADMIN_PASSWORD)
    assert wrong.status == nobody.status == 401
    assert wrong.texts("code") == nobody.texts("code")
    assert "access.refused" in wrong.texts("code")
    assert not await is_in(visit)


async def test_the_cookie_is_for_the_server_alone_and_another_one_after_signing_in(at_console: Served) -> None:
    visit = at_console.browser()
    before = await visit.open("/sign-in")
    given = before.headers["set-cookie"].lower()
    assert "httponly" in given
    assert "samesite=lax" in given
    planted = visit.cookies["nowbridge"]
    assert (await visit.sign_in("ada", ADMIN_PASSWORD)).texts("h1") == ["Overview"]
    assert visit.cookies["nowbridge"] != planted
    visit.cookies["nowbridge"] = planted
    assert not await is_in(visit)


@pytest.mark.parametrize("change", ["x", "cut", "signature"])
async def test_a_cookie_that_was_altered_is_none(at_console: Served, change: str) -> None:
    visit = await at_console.ada()
    cookie = visit.cookies["nowbridge"]
    key, _, mac = cookie.partition(".")
    visit.cookies["nowbridge"] = {
        "x": f"x{cookie}",
        "cut": key,
        "signature": f"{key}.{'0' if mac[0] != '0' else '1'}{mac[1:]}",
    }[change]
    assert not await is_in(visit)


async def test_after_five_failures_a_name_waits_even_with_the_right_password(at_console: Served) -> None:
    visit = at_console.browser()
    for _ in range(5):
        assert (await visit.sign_in("ada", "not the sentence of ada")).status == 401
    page = await visit.sign_in("ada", ADMIN_PASSWORD)
    assert (page.status, page.texts("code")[0]) == (429, "access.throttled")
    assert (await (other := at_console.browser()).sign_in("bob", "a sentence that bob alone knows")).status == 200
    assert await is_in(other), "other names do not wait"
    at_console.now.pass_(seconds=11)
    assert (await visit.sign_in("ada", ADMIN_PASSWORD)).texts("h1") == ["Overview"]


@pytest.mark.parametrize("ending", ["idle", "long", "sign out", "removed", "password"])
async def test_a_sign_in_ends(at_console: Served, ending: str) -> None:
    visit = await at_console.ada()
    cookie = visit.cookies["nowbridge"]
    now = at_console.now
    match ending:
        case "idle":
            now.pass_(seconds=IDLE_AFTER.total_seconds() + 1)
        case "long":
            for _ in range(int(ENDS_AFTER / IDLE_AFTER) * 2):
                assert await is_in(visit)
                now.pass_(seconds=IDLE_AFTER.total_seconds() / 2)
        case "sign out":
            assert (await visit.press(await visit.open("/"), "/sign-out")).texts("h1") == ["Sign in"]
        case "removed":
            await accounts.remove_account(at_console.database, "ada")
        case _:
            await accounts.set_password(
                at_console.database, "ada", "another long sentence", now=now(), random=lambda n: b"s" * n
            )
    visit.cookies["nowbridge"] = cookie
    assert not await is_in(visit)


async def test_a_form_without_the_token_of_its_browser_changes_nothing(at_console: Served) -> None:
    visit, other = await at_console.ada(), await at_console.ada()
    strange = fields_of(await other.open("/"))["form_token"]
    for token in ("", "0" * 64, strange):
        page = await visit.press(await visit.open("/"), "/sign-out", form_token=token)
        assert (page.status, page.texts("code")[0]) == (403, "access.form")
    assert await is_in(visit)
    fresh = at_console.browser()
    page = await fresh.press(await fresh.open("/sign-in"), "/sign-in", form_token=strange, name="ada", password="x")
    assert page.status == 403, "nobody is signed in by a form of another site either"


async def test_it_answers_to_its_own_names_only_and_is_secure_under_https(program: Program) -> None:
    async with served(program, NOWBRIDGE_CONSOLE_URL="https://console.example") as one:
        foreign = await one.browser().open("/sign-in", Host="rebound.example")
        assert (foreign.status, foreign.texts("code")[0]) == (421, "access.host")
        public = await one.browser().open("/sign-in", Host="console.example")
        assert "secure" in public.headers["set-cookie"].lower()
        local = await one.browser().open("/sign-in")
        assert "secure" not in local.headers["set-cookie"].lower(), "else it could not be used on the machine itself"


async def test_every_page_forbids_scripts_frames_and_foreign_forms(at_console: Served) -> None:
    visit = await at_console.ada()
    for path in ("/", "/connections", "/connections/new", "/connections/none", "/console.css"):
        page = await visit.open(path)
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "form-action 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "style=" not in page.body
