"""Fixtures: the console of a home of its own, served, and browsers that use it without scripts."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

import pytest

from nowbridge import wiring
from nowbridge.api import accounts, health, resources
from nowbridge.api.access import Doorkeeper, Role
from nowbridge.api.console import Console
from nowbridge.api.server import listen, serve
from nowbridge.settings import Settings, load
from nowbridge.store.database import Database
from nowbridge.web import site
from tests.nowtwin.browser import Browser, Page
from tests.support.program import Program
from tests.support.replica import Now

ADMIN_PASSWORD = "a sentence that ada alone knows"
VIEWER_PASSWORD = "a sentence that bob alone knows"
CONSOLE_SECRETS = (ADMIN_PASSWORD, VIEWER_PASSWORD)


@dataclass(slots=True)
class Visit(Browser):
    """A browser at the console, called from the event loop that serves it."""

    seen: list[str] = field(default_factory=list)

    async def open(self, path: str, **headers: str) -> Page:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await asyncio.to_thread(self._followed, "GET", path, None, sent)

    async def press(self, page: Page, action: str, **typed: str | None) -> Page:
        """Post the page's form with that action (or with a button that has it), some fields typed over; None unticks."""
        form = {name: value for name, value in {**fields_of(page), **typed}.items() if value is not None}
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return await asyncio.to_thread(self._followed, "POST", action, urlencode(form).encode(), kind)

    async def sign_in(self, name: str, password: str) -> Page:
        return await self.press(await self.open("/sign-in"), "/sign-in", name=name, password=password)

    def _followed(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Page:
        page = self.follow(self.send(method, path, body, headers))
        self.seen.append(page.body)
        assert not any(element.name == "script" for element in page.elements)
        return page


def fields_of(page: Page) -> dict[str, str]:
    """What a browser would post of all fields that have a name; the token of the forms is the same in each."""
    values: dict[str, str] = {}
    select = ""
    for element in page.elements:
        name = element.attributes.get("name") or ""
        if element.name == "input" and name and "disabled" not in element.attributes:
            if element.attributes.get("type") != "checkbox" or "checked" in element.attributes:
                values[name] = element.attributes.get("value") or ""
        elif element.name == "select":
            select = name
        elif element.name == "option" and "selected" in element.attributes:
            values[select] = element.attributes.get("value") or ""
    return values


@dataclass(slots=True)
class Served:
    """The console at `url`, its clock, and who may sign in to it: ada (super_admin) and bob (viewer)."""

    url: str
    console: Console
    database: Database
    settings: Settings
    now: Now

    def browser(self) -> Visit:
        return Visit(self.url)

    async def ada(self) -> Visit:
        return await self._signed_in("ada", ADMIN_PASSWORD)

    async def bob(self) -> Visit:
        return await self._signed_in("bob", VIEWER_PASSWORD)

    async def _signed_in(self, name: str, password: str) -> Visit:
        visit = self.browser()
        page = await visit.sign_in(name, password)
        assert page.status == 200, page.body
        return visit


@asynccontextmanager
async def served(program: Program, **variables: str) -> AsyncIterator[Served]:
    """`variables` are added to the environment that settings are read from."""
    settings = load({**program.environment, **variables})
    now, stop = Now(), asyncio.Event()
    async with Database(settings.database_url) as database:
        made = wiring.console_of(settings, database)
        doors = Doorkeeper(database, now, made.doors.key, secrets.token_bytes)
        connector = replace(made.connector, clock=now)
        console = replace(
            made, clock=now, doors=doors, connector=connector, consents=replace(made.consents, connector=connector)
        )
        for name, role, password in (
            ("ada", Role.SUPER_ADMIN, ADMIN_PASSWORD),
            ("bob", Role.VIEWER, VIEWER_PASSWORD),
        ):
            await accounts.add_account(database, name, role, password, now=now(), random=secrets.token_bytes)
        more = [*resources.routes(console), *site.routes(console)]
        minute = timedelta(minutes=1)
        app = health.build(database, now, stale_after=minute, seen_within=minute, more=more)
        with listen(0) as listener:
            serving = asyncio.create_task(serve(app, listener, stop))
            yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", console, database, settings, now)
            stop.set()
            await serving


@pytest.fixture
async def at_console(program: Program) -> AsyncIterator[Served]:
    async with served(program) as one:
        yield one


def netloc_of(url: str) -> str:
    return urlsplit(url).netloc
