"""`nowbridge hooks`: Business Rules that tell of changes, put into the instance, looked at, and taken away again.

An administrator's credentials are taken for the one call: asked for, or from the environment or standard input. They are
neither stored nor logged.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from nowbridge.cli.entry import AsJson, ConnectionName, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.cli.hooks_shown import Line
    from nowbridge.servicenow.hook_rule import Rule
    from nowbridge.servicenow.hooks import Done
    from nowbridge.servicenow.instance import Instance
    from nowbridge.settings import Settings
    from nowbridge.store.database import Connection, Database
    from nowbridge.store.instances.connections import ConnectionRow
    from nowbridge.store.instances.hooks import HookRow
    from nowbridge.store.rows.tables import TableRow

INSTALL_EXAMPLES = examples(
    "nowbridge hooks install --url https://bridge.example.com/hooks/acme --admin-user admin",
    "NOWBRIDGE_ADMIN_PASSWORD=... nowbridge hooks install incident cmdb_ci --admin-user admin",
    "pass show servicenow-admin | nowbridge hooks install --admin-user admin --password-stdin",
)
STATUS_EXAMPLES = examples("nowbridge hooks status", "nowbridge hooks status --admin-user admin --json")
REMOVE_EXAMPLES = examples("nowbridge hooks remove --admin-user admin", "nowbridge hooks remove incident")
EXPORT_EXAMPLES = examples("nowbridge hooks export nowbridge-hooks.xml --url https://bridge.example.com/hooks/acme")

app = typer.Typer(
    no_args_is_help=True,
    help="Have the instance tell of changes at once, by Business Rules of its own: put them in, look at them, take them away.",
    epilog=examples(
        "nowbridge hooks install --url https://bridge.example.com/hooks/acme --admin-user admin",
        "nowbridge hooks status",
    ),
)

_PASSWORD = "NOWBRIDGE_ADMIN_PASSWORD"  # noqa: S105 - the variable's name
_LOCAL = ("localhost",)

Tables = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TABLE]...", help="Replicated tables, by their names in ServiceNow; all when none is named."
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Where the instance reaches this machine's /hooks/CONNECTION, https; else as before.",
        show_default=False,
    ),
]
AdminUser = Annotated[
    str | None,
    typer.Option(metavar="USER", help="An administrator of the instance; asked for when left out.", show_default=False),
]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the administrator's password from standard input.")
]


@dataclass(frozen=True, slots=True)
class Admin:
    """Who signs in for this one call."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Admin({self.user!r})"


@app.command(epilog=INSTALL_EXAMPLES)
def install(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    tables: Tables = None,
    *,
    url: Url = None,
    admin_user: AdminUser = None,
    password_stdin: PasswordStdin = False,
    force: Annotated[
        bool, typer.Option("--force", help="Put back rules that somebody has edited or switched off.")
    ] = False,
    new_secret: Annotated[bool, typer.Option("--new-secret", help="Sign with another secret from now on.")] = False,
    connection: ConnectionName = None,
    as_json: AsJson = False,
) -> None:
    """Put Business Rules into the instance that tell of every insert, update and delete, within about a second.

    One asynchronous rule stands on each table whose ancestors have none; it posts which record changed, signed, and no
    value of any field. Two properties hold the address and the secret. Running it again changes nothing, an older
    version is upgraded, and a rule that somebody has edited is told and left alone without --force.

    It takes an administrator, for this call only: the password is asked for, or read from NOWBRIDGE_ADMIN_PASSWORD or
    standard input, and never kept.
    """
    settings = settings_of(context)
    admin = _admin(admin_user, from_stdin=password_stdin)
    order = _Order(connection, tuple(tables or ()), url, force=force, new_secret=new_secret)
    from nowbridge.cli import hooks_shown as shown

    shown.show_done(run(_install(settings, order, admin)), as_json=as_json)


@app.command(epilog=STATUS_EXAMPLES)
def status(
    context: typer.Context,
    *,
    admin_user: AdminUser = None,
    password_stdin: PasswordStdin = False,
    connection: ConnectionName = None,
    as_json: AsJson = False,
) -> None:
    """Show for each table whether a rule tells of its changes, and how many changes no hint had told of.

    `rule` is looked up in the instance, by the connection's own account unless --admin-user is given; most accounts may not
    read rules, and then it says what was installed. `lost` counts, of the changes of the last 24 hours, those that the poll
    found and no hint had told of: none of them is missing in the replica, they only came later.
    """
    settings = settings_of(context)
    admin = _admin(admin_user, from_stdin=password_stdin) if admin_user or password_stdin else None
    from nowbridge.cli import hooks_shown as shown

    shown.show_status(run(_status(settings, connection, admin)), as_json=as_json)


@app.command(epilog=REMOVE_EXAMPLES)
def remove(
    context: typer.Context,
    tables: Tables = None,
    *,
    admin_user: AdminUser = None,
    password_stdin: PasswordStdin = False,
    connection: ConnectionName = None,
    as_json: AsJson = False,
) -> None:
    """Take Nowbridge's rules out of the instance; with the last one its properties go too, and nothing of ours is left.

    Changes are found by the poll from then on, every `poll_seconds`.
    """
    settings = settings_of(context)
    admin = _admin(admin_user, from_stdin=password_stdin)
    from nowbridge.cli import hooks_shown as shown

    shown.show_done(run(_remove(settings, connection, tuple(tables or ()), admin)), as_json=as_json)


@app.command(epilog=EXPORT_EXAMPLES)
def export(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to write it; it is made anew, for its owner alone.")
    ],
    tables: Tables = None,
    *,
    url: Url = None,
    connection: ConnectionName = None,
) -> None:
    """Write rules and properties to a file, for an administrator to load by hand: "Import XML" in the menu of any list.

    It holds the secret that hints are signed with: delete it when it is loaded.
    """
    settings = settings_of(context)
    done = run(_export(settings, _Order(connection, tuple(tables or ()), url), file))
    from nowbridge.cli import screen

    screen.output().print(f"{file}: rules on {', '.join(done)}. Load it with Import XML, then delete it.", markup=False)


@dataclass(frozen=True, slots=True)
class _Order:
    """What is asked for: tables by name (none: all), the address (None: as before)."""

    connection: str | None
    named: tuple[str, ...]
    url: str | None
    force: bool = False
    new_secret: bool = False


async def _install(settings: Settings, order: _Order, admin: Admin) -> list[Done]:
    from nowbridge import wiring
    from nowbridge.servicenow import hook_rule, hooks
    from nowbridge.store.instances import hooks as store

    async with open_database(settings) as database:
        async with database.transaction() as connection:
            row = await wiring.only_connection(connection, order.connection)
            wanted = await _wanted(connection, row, order.named)
        async with _signed_in(settings, row, admin) as instance:
            held = await _held(database, row)
            hook = _hook(settings, row, held, order)
            await hooks.look(instance, hook.hook_id)  # before anything is kept: may this account do it?
            await _save(database, hook)
            properties = hook_rule.property_values(hook.hook_id, hook.url, _secret(settings, hook))
            done = await hooks.install(instance, hook.hook_id, wanted, properties, force=order.force)
            standing = await hooks.look(instance, hook.hook_id)
            at = await instance.server_now()
        versions = {rule.table: rule.version or 0 for rule in standing.rules if rule.values["active"] == "true"}
        async with database.transaction() as connection:
            await store.set_tables(connection, row.id, versions, active_from=at)
            await store.note_clock(connection, row.id, (at - wiring.now()).total_seconds())
    return done


async def _status(settings: Settings, name: str | None, admin: Admin | None) -> list[Line]:
    from nowbridge import wiring
    from nowbridge.cli.hooks_shown import Line
    from nowbridge.store.instances import hooks as store
    from nowbridge.store.rows import tables
    from nowbridge.store.work import loss

    async with open_database(settings) as database:
        async with database.transaction() as connection:
            row = await wiring.only_connection(connection, name)
            rows = await tables.all_of(connection, row.id)
            hook = await store.load(connection, row.id)
            hooked = {one.table: one for one in await store.tables_of(connection, row.id)}
            losses = {one.relation: one for one in await loss.losses(connection, now=wiring.now())}
        standing = None if hook is None else await _seen(settings, database, row, admin, hook)
    rules = {rule.table: rule for rule in standing or ()}
    lines = []
    for table in rows:
        covering = store.covering(_lineage(table), hooked)
        rule = next((rules[name] for name in _lineage(table) if name in rules), None)
        told = covering.table if covering is not None else rule.table if rule is not None else None
        lines.append(Line(table.source, told, rule, covering, losses.get(table.relation), seen=standing is not None))
    return lines


async def _remove(settings: Settings, name: str | None, named: tuple[str, ...], admin: Admin) -> list[Done]:
    from nowbridge import wiring
    from nowbridge.model.errors import Stop
    from nowbridge.servicenow import hooks
    from nowbridge.store.instances import hooks as store

    async with open_database(settings) as database:
        async with database.transaction() as connection:
            row = await wiring.only_connection(connection, name)
            hook = await store.load(connection, row.id)
            hooked = {one.table: one.version for one in await store.tables_of(connection, row.id)}
        if hook is None:
            raise Stop(
                "hooks.none",
                asked=f"remove the hooks of {row.name}",
                answered="there are none",
                hint="`nowbridge hooks status` shows how they stand.",
            )
        async with _signed_in(settings, row, admin) as instance:
            done = await hooks.remove(instance, hook.hook_id, named or None)
            left = await hooks.look(instance, hook.hook_id)
        async with database.transaction() as connection:
            if left.rules:
                kept = {rule.table: hooked.get(rule.table, rule.version or 0) for rule in left.rules}
                await store.set_tables(connection, row.id, kept, active_from=None)
            else:
                await store.forget(connection, row.id)
    return done


async def _export(settings: Settings, order: _Order, file: Path) -> list[str]:
    from nowbridge import wiring
    from nowbridge.servicenow import hook_file, hook_rule
    from nowbridge.store.instances import hooks as store

    async with open_database(settings) as database:
        async with database.transaction() as connection:
            row = await wiring.only_connection(connection, order.connection)
            wanted = await _wanted(connection, row, order.named)
        hook = _hook(settings, row, await _held(database, row), order)
        await _save(database, hook)
        properties = hook_rule.property_values(hook.hook_id, hook.url, _secret(settings, hook))
        text = hook_file.as_xml(hook.hook_id, wanted, properties, at=f"{wiring.now():%Y-%m-%d %H:%M:%S}")
        _write(file, text)
        async with database.transaction() as connection:
            versions = dict.fromkeys(wanted, hook_rule.VERSION)
            await store.set_tables(connection, row.id, versions, active_from=None)
    return wanted


def _write(file: Path, text: str) -> None:
    from nowbridge.model.errors import Stop

    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            os.fchmod(descriptor, 0o600)
            opened.write(text)
    except OSError as error:
        raise Stop(
            "file.unwritable", asked=f"write {file}", answered=error.strerror or str(error), hint="Name another file."
        ) from error


async def _wanted(connection: Connection, row: ConnectionRow, named: Sequence[str]) -> list[str]:
    """The tables that need a rule: those named (all when none is) and those that have one, less those that an ancestor
    among them tells of.
    """
    from nowbridge.model.errors import Stop
    from nowbridge.servicenow import hook_rule
    from nowbridge.store.instances import hooks as store
    from nowbridge.store.rows import tables

    lineages = {table.source: _lineage(table) for table in await tables.all_of(connection, row.id)}
    unknown = [name for name in named if name not in lineages]
    if unknown or not lineages:
        raise Stop(
            "table.not_replicated",
            asked=f"have the instance tell of {unknown[0] if unknown else 'changes'}",
            answered="it is not replicated" if unknown else "no table is replicated yet",
            hint=f"Replicated are: {', '.join(sorted(lineages)) or 'none'}. Order more: `nowbridge replicate TABLE`.",
        )
    if named:
        present = {one.table for one in await store.tables_of(connection, row.id)}
        lineages = {name: lineage for name, lineage in lineages.items() if name in named or name in present}
    return hook_rule.roots(lineages)


def _lineage(table: TableRow) -> tuple[str, ...]:
    return (table.source, *table.layout.get("ancestors", ()))


async def _held(database: Database, row: ConnectionRow) -> HookRow | None:
    from nowbridge.store.instances import hooks as store

    async with database.transaction() as connection:
        return await store.load(connection, row.id)


async def _save(database: Database, hook: HookRow) -> None:
    from nowbridge import wiring
    from nowbridge.store.instances import hooks as store

    async with database.transaction() as connection:
        await store.save(connection, hook, now=wiring.now())


def _hook(settings: Settings, row: ConnectionRow, held: HookRow | None, order: _Order) -> HookRow:
    """The hook as it is to be: as it is, but for what was asked for."""
    from dataclasses import replace

    from nowbridge import wiring

    url = _checked_url(order.url or (held.url if held is not None else _own_url(settings, row)))
    if held is None or order.new_secret:
        return wiring.new_hook(settings, row, url, like=held)
    return replace(held, url=url)


def _secret(settings: Settings, hook: HookRow) -> str:
    import base64

    from nowbridge import wiring

    return base64.b64encode(wiring.opened_secret(settings, hook)).decode()


def _own_url(settings: Settings, row: ConnectionRow) -> str:
    """Where an instance on this machine reaches us; any other has to be told."""
    if not _is_local(urlsplit(row.url).hostname):
        raise typer.BadParameter(
            f"give the address at which {row.url} reaches this machine: https://.../hooks/{row.name}",
            param_hint="--url",
        )
    return f"http://127.0.0.1:{settings.health_port}/hooks/{row.name}"


def _checked_url(url: str) -> str:
    """Hints hold no values, but what changes when is nobody else's business: https, except on one machine."""
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise typer.BadParameter("it is no URL, or holds a user name", param_hint="--url")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_local(parts.hostname)):
        raise typer.BadParameter("https is needed, but for an instance on this machine", param_hint="--url")
    if "/hooks/" not in parts.path:
        raise typer.BadParameter("its path ends in /hooks/CONNECTION", param_hint="--url")
    return url


def _is_local(host: str | None) -> bool:
    try:
        return host in _LOCAL or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _admin(user: str | None, *, from_stdin: bool) -> Admin:
    if user is None:
        if not sys.stdin.isatty() or from_stdin:
            raise typer.BadParameter("there is no terminal to ask on", param_hint="--admin-user")
        user = str(typer.prompt("Administrator of the instance", err=True))
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = os.environ.get(_PASSWORD, "")
        if not password and sys.stdin.isatty():
            password = str(typer.prompt("Password (used now, not stored)", hide_input=True, err=True))
    if not password:
        raise typer.BadParameter(f"set {_PASSWORD}, or use --password-stdin", param_hint="password")
    return Admin(user, password)


@asynccontextmanager
async def _signed_in(settings: Settings, row: ConnectionRow, admin: Admin) -> AsyncIterator[Instance]:
    """The instance as the administrator: through the connection's OAuth application where it has one for passwords, else
    by Basic.
    """
    from nowbridge import wiring

    sign_in = wiring.SignIn("basic", admin.user, None, wiring.Credentials(password=admin.password))
    if row.auth == "oauth_password":
        secret = wiring.opened(settings, row).credentials.client_secret
        held = wiring.Credentials(password=admin.password, client_secret=secret)
        sign_in = wiring.SignIn(row.auth, admin.user, row.client_id, held)
    async with wiring.instance_of(settings, row.url, sign_in, attempts=3) as instance:
        yield instance


async def _seen(
    settings: Settings, database: Database, row: ConnectionRow, admin: Admin | None, hook: HookRow
) -> tuple[Rule, ...] | None:
    """The rules as they stand; None where the account may not see them."""
    from nowbridge import wiring
    from nowbridge.model.errors import Stop
    from nowbridge.servicenow import hooks

    if admin is not None:
        async with _signed_in(settings, row, admin) as instance:
            return (await hooks.look(instance, hook.hook_id)).rules
    try:
        async with wiring.stored_instance(settings, row, database, attempts=2) as instance:
            return (await hooks.look(instance, hook.hook_id)).rules
    except Stop as refused:
        if not refused.code.startswith(("rights.", "hooks.rights", "query.rights")):
            raise
        return None
