"""Connections over HTTP: seen by every account, configured by `super_admin` alone. The console's pages and the JSON
resource /api/v1/connections are both made of these functions, so a role holds for both.

Secrets go in and never come out: a view says that one is set, and since when. What a configuration file declares is
changed there and not here (decision X28).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from nowbridge.api.access import Visitor, refuse_unless_may_configure
from nowbridge.api.console import Console
from nowbridge.connecting import check
from nowbridge.connecting.address import connection_name, instance_url_of
from nowbridge.connecting.caller import Caller, caller_of
from nowbridge.connecting.check import Look, Report
from nowbridge.connecting.connect import Draft
from nowbridge.connecting.entry import BY_CONSENT, SECRETS, SHARED_PROXY, TAKES, Entered, sign_in_of
from nowbridge.model.errors import NowbridgeError, Stop
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import ConnectionRow, Record

METHODS: Final[Mapping[str, str]] = {
    "oauth_password": "OAuth: user name and password (password grant)",
    BY_CONSENT: "OAuth: a person allows it in ServiceNow (authorization code)",
    "client_credentials": "OAuth: the application alone (client credentials)",
    "basic": "Basic authentication",
    "api_key": "API key",
}
"""Every way to sign in, in words."""


class Tried(msgspec.Struct, frozen=True):
    """One line of a test: a table, or the sign-in (no table)."""

    table: str
    ok: bool
    cause: str
    answered: str
    hint: str
    total: int | None = None


class Trial(msgspec.Struct, frozen=True):
    """How a test went. `saved`: the connection was stored after it."""

    at: datetime
    ok: bool
    sign_in: Tried
    account: tuple[tuple[str, str], ...] = ()
    tables: tuple[Tried, ...] = ()
    warnings: tuple[str, ...] = ()
    saved: bool = False


class ConnectionView(msgspec.Struct, frozen=True):
    """A connection as it may be shown. `secrets_set` names the secrets that are stored, of which nothing else is told."""

    name: str
    url: str
    auth: str
    username: str
    client_id: str
    proxy: str
    secrets_set: tuple[str, ...]
    secret_changed_at: datetime | None
    secret_expires: str
    declared_in: str | None
    tables: int
    stopped: str | None
    tested: Trial | None
    caller_ip: str
    caller_words: str
    shared_proxy: str


@dataclass(frozen=True, slots=True)
class Form:
    """What was typed. `proxy` is empty (the environment's), none, shared, or a URL. An empty secret stays as it is."""

    url: str
    auth: str
    username: str = ""
    client_id: str = ""
    proxy: str = ""
    secret_expires: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    anyway: bool = False


async def list_connections(console: Console, visitor: Visitor) -> list[ConnectionView]:
    del visitor  # every account may see them
    async with console.database.transaction() as connection:
        rows = await connections.every(connection)
        records = [await connections.record(connection, row.id) for row in rows]
    return [_view(console, row, record, Caller("", "")) for row, record in zip(rows, records, strict=True)]


async def show_connection(console: Console, visitor: Visitor, name: str) -> ConnectionView:
    """Raises Stop `connection.unknown`."""
    del visitor
    row, record = await _load(console, name)
    return _view(console, row, record, await _caller(console, row))


async def caller_of_new(console: Console) -> Caller:
    """The address that an instance yet to be named would see, by the route to the internet."""
    return await caller_of("https://www.service-now.com", None, console.caller_ip)


def proxy_host(console: Console) -> str:
    """The shared proxy, without its user; empty where none is set."""
    return urlsplit(console.shared_proxy).hostname or ""


async def try_connection(console: Console, visitor: Visitor, name: str) -> Trial:
    """Try every right of the connection as it is stored, and keep how it went. Nothing else changes."""
    refuse_unless_may_configure(visitor, f"test connection {name}")
    row, _ = await _load(console, name)
    connections.refuse_stopped(row)
    test = await _examined(console, Draft(row.name, row.url, console.unseal(row), held=row))
    await _keep(console, row.id, test)
    return test


async def save_connection(console: Console, visitor: Visitor, name: str | None, form: Form) -> tuple[str, Trial]:
    """Try what was entered, and store it if every right is there, or anyway if that was said. Without a name it is a new
    one, named after its instance. Returns its name. Raises Stop `connection.declared`, `connection.incomplete`,
    `connection.exists`, `connection.other_instance`, and what an unusable address raises.
    """
    refuse_unless_may_configure(visitor, "change a connection")
    draft = await _draft(console, name, form)
    if form.auth == BY_CONSENT and not _is_allowed_already(draft):
        raise Stop(
            "connection.incomplete",
            asked="save the connection",
            answered="nobody has allowed it in ServiceNow yet",
            hint="Press Connect with ServiceNow: it is saved when you come back from there.",
        )
    test = await _examined(console, draft)
    if not test.ok and not form.anyway:
        return draft.name, test
    row = await console.connector.store(draft)
    test = msgspec.structs.replace(test, saved=True)
    await _keep(console, row.id, test)
    return draft.name, test


async def begin_consent(console: Console, visitor: Visitor, name: str | None, form: Form, redirect_uri: str) -> str:
    """Where the browser goes so that a person allows the connection. Raises as `save_connection`."""
    refuse_unless_may_configure(visitor, "connect with ServiceNow")
    draft = await _draft(console, name, replace(form, auth=BY_CONSENT))
    return await console.consents.begin(visitor.session, draft, redirect_uri)


async def end_consent(console: Console, visitor: Visitor, state: str, code: str) -> str:
    """The browser is back from there. Returns the connection's name; raises as `connecting.consent`."""
    refuse_unless_may_configure(visitor, "connect with ServiceNow")
    row, introduction = await console.consents.finish(visitor.session, state, code)
    signed_in = Tried("", ok=True, cause="", answered="signed in", hint="")
    lines = tuple(check.introduction_lines(introduction))
    test = Trial(console.clock(), ok=True, sign_in=signed_in, account=lines, warnings=introduction.warnings, saved=True)
    await _keep(console, row.id, test)
    return row.name


async def _load(console: Console, name: str) -> tuple[ConnectionRow, Record]:
    async with console.database.transaction() as connection:
        row = await connections.load(connection, name)
        return row, await connections.record(connection, row.id)


async def _draft(console: Console, name: str | None, form: Form) -> Draft:
    url = instance_url_of(form.url)
    held = None
    if name is not None:
        held, record = await _load(console, name)
        _refuse_declared(held, record)
        connections.refuse_stopped(held)
    else:
        name = connection_name(None, url)
        if await console.connector.find(name) is not None:
            raise Stop(
                "connection.exists",
                asked=f"make the connection {name}",
                answered="there is one of that name",
                hint="Change that one; or name another: `nowbridge connect URL --name NAME`.",
            )
    stored = console.unseal(held) if held is not None else None
    options = {} if held is None else {key: value for key, value in held.options.items() if key != "proxy"}
    if form.proxy:
        options["proxy"] = form.proxy
    entered = Entered(url, form.auth, form.username.strip(), form.client_id.strip(), form.secrets, options)
    kept = held is not None and not any(form.secrets.values())
    sign_in = sign_in_of(entered, stored, held.url if held is not None else "")
    if form.auth == BY_CONSENT and held is not None and held.auth == BY_CONSENT:
        sign_in = replace(sign_in, username=held.username)
    return Draft(name, url, sign_in, _day(form.secret_expires), held, kept)


def _is_allowed_already(draft: Draft) -> bool:
    """A refresh token belongs to an instance and to an application of it."""
    held = draft.held
    return held is not None and (held.auth, held.url, held.client_id) == (
        BY_CONSENT,
        draft.url,
        draft.sign_in.client_id,
    )


def _refuse_declared(row: ConnectionRow, record: Record) -> None:
    if record.declared_in is not None:
        raise Stop(
            "connection.declared",
            asked=f"change connection {row.name}",
            answered=f"it is declared in {record.declared_in}",
            hint="Change that file and run `nowbridge apply` with it.",
        )


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) if text else None
    except ValueError:
        raise Stop(
            "connection.incomplete",
            asked="use the day on which the secret ends",
            answered="it is no date",
            hint="Write it as 2027-01-31.",
        ) from None


async def _examined(console: Console, draft: Draft) -> Trial:
    """What goes wrong is an answer of the test, whoever raised it."""
    try:
        report = await console.connector.examine(draft)
    except NowbridgeError as error:
        report = Report(None, check.failed(error))
    lines = check.introduction_lines(report.introduction) if report.introduction is not None else []
    warnings = report.introduction.warnings if report.introduction is not None else ()
    tables = tuple(_tried(look) for look in report.looks)
    return Trial(console.clock(), report.ok, _tried(report.sign_in), tuple(lines), tables, warnings)


def _tried(look: Look) -> Tried:
    return Tried(look.table, look.ok, look.cause, look.answered, look.hint, look.total)


async def _keep(console: Console, connection_id: int, test: Trial) -> None:
    async with console.database.transaction() as connection:
        await connections.keep_test(connection, connection_id, msgspec.to_builtins(test))


async def _caller(console: Console, row: ConnectionRow) -> Caller:
    proxy = row.options.get("proxy")
    if proxy == SHARED_PROXY:
        proxy = console.shared_proxy or None
    return await caller_of(row.url, None if proxy == "none" else proxy, console.caller_ip)


def _view(console: Console, row: ConnectionRow, record: Record, caller: Caller) -> ConnectionView:
    expires = row.secret_expires_at
    proxy: Any = row.options.get("proxy", "")
    return ConnectionView(
        row.name,
        row.url,
        row.auth,
        row.username or "",
        row.client_id or "",
        proxy,
        tuple(name for name in TAKES[row.auth] if name in SECRETS),
        record.secret_changed_at,
        f"{expires.astimezone(UTC):%Y-%m-%d}" if expires else "",
        record.declared_in,
        record.tables,
        row.stopped["found"] if row.stopped else None,
        msgspec.convert(record.tested, Trial) if record.tested else None,
        caller.address,
        caller.words,
        proxy_host(console),
    )
