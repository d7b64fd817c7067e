"""`nowbridge check`: can this account, from this machine, read everything that the replica needs?

Three kinds of trouble are told apart, because three different people mend them: credentials, roles, network.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nowbridge.cli.entry import AsJson, ConnectionName, ExitCode, examples, open_database, run, settings_of
from nowbridge.cli.presets import CHECKED, METADATA

if TYPE_CHECKING:
    from nowbridge.model.errors import NowbridgeError
    from nowbridge.servicenow.identity import Introduction
    from nowbridge.servicenow.rights import Probe, Right
    from nowbridge.settings import Settings
    from nowbridge.store.database import Connection, Database

EXAMPLES = examples(
    "nowbridge check",
    "nowbridge check --preset inventory",
    "nowbridge check --script grant.js",
    "nowbridge check --json | jq '.rights[] | select(.ok | not)'",
)
_COPIED = "Its rows are copied."
Cause = Literal["", "credentials", "roles", "network", "instance"]


@dataclass(frozen=True, slots=True)
class Look:
    """What one read of one table showed. `total` counts rows that the account may not see too."""

    table: str
    cause: Cause
    total: int | None
    answered: str
    hint: str
    code: str = ""

    @property
    def ok(self) -> bool:
        return not self.cause


@dataclass(frozen=True, slots=True)
class SqlWrites:
    """Whether this Postgres lets SQL users write. `obstacle` is empty when it does; `script` is what mends it."""

    obstacle: str
    script: str


@dataclass(frozen=True, slots=True)
class Report:
    connection: str
    url: str
    sql_writes: SqlWrites
    introduction: Introduction | None
    sign_in: Look
    looks: tuple[Look, ...]
    user_name: str | None = None
    rights: tuple[Right, ...] = ()

    @property
    def ok(self) -> bool:
        return self.sign_in.ok and all(look.ok for look in self.looks)

    @property
    def missing(self) -> list[Right]:
        """What an administrator can grant: refusals for want of rights, not those of network or instance."""
        return [right for right in self.rights if not right.ok and cause_of(right.code or "rights.") == "roles"]


def check(
    context: typer.Context,
    *,
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"Instead of what is replicated: {', '.join(CHECKED)}.", show_default=False),
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a script that grants what is missing.", show_default=False),
    ] = None,
    connection: ConnectionName = None,
    as_json: AsJson = False,
) -> None:
    """Sign in, compare clocks, and try every right that the replica needs: rows, columns, filters.

    Before anything is replicated, the tables of the preset itsm are tried. For each right that the account lacks it
    says what came back, whether the credentials, the account's roles or the network are at fault, why it is needed and
    what to do. With --script, an administrator of the instance gets a background script to look at and run: it makes
    a role and the read rules that are missing, and nothing else. Exit code 1 if any table fails.

    It also says whether your Postgres lets SQL users write (`nowbridge sql-user`), and what its administrator has to run
    if not; nothing else depends on that.
    """
    from nowbridge.cli import screen

    if preset is not None and preset not in CHECKED:
        raise typer.BadParameter(f"there is {', '.join(CHECKED)}", param_hint="--preset")
    report = run(_check(settings_of(context), connection, preset))
    if script is not None:
        _write_script(report, script)
    if as_json:
        screen.print_json(_as_json(report))
    else:
        _show(report)
    if not report.ok:
        raise typer.Exit(ExitCode.NO)


async def _check(settings: Settings, name: str | None, preset: str | None) -> Report:
    from nowbridge import wiring
    from nowbridge.model.errors import NowbridgeError
    from nowbridge.replica.spec import layout_of
    from nowbridge.servicenow import identity
    from nowbridge.servicenow.rights import probe
    from nowbridge.store import tables

    async with open_database(settings) as database, database.transaction() as session:
        writes = await _sql_writes(database, session)
        row = await wiring.only_connection(session, name)
        replicated = {t.source: layout_of(t).fetched for t in await tables.all_of(session, row.id)}
    wanted = replicated
    if preset or not replicated:
        wanted = {spec.partition("=")[0]: () for spec in CHECKED[preset or "itsm"]}
    sign_in = wiring.opened(settings, row)
    async with wiring.instance_of(settings, row.url, sign_in, attempts=2) as instance:
        try:
            introduction = await identity.introduce(instance, user_name=row.username, now=wiring.now)
        except NowbridgeError as error:
            return Report(row.name, row.url, writes, None, _failed("", error), ())
        probes = {
            table: await probe(instance, table, wanted.get(table, ()), METADATA.get(table, _COPIED))
            for table in dict.fromkeys([*METADATA, *wanted])
        }
    looks = tuple(_look(table, found) for table, found in probes.items())
    rights = tuple(right for found in probes.values() for right in found.rights)
    user = introduction.user.user_name
    return Report(row.name, row.url, writes, introduction, Look("", "", None, "signed in", ""), looks, user, rights)


async def _sql_writes(database: Database, session: Connection) -> SqlWrites:
    from nowbridge.store import loopback

    obstacle = await asyncio.to_thread(loopback.obstacle, database.dsn)
    return SqlWrites(obstacle or "", loopback.administrators_script(session.info.user) if obstacle else "")


def _look(table: str, found: Probe) -> Look:
    """The first right that the table cannot do without and the account lacks."""
    lacking = next((right for right in found.rights if not right.ok and right.required), None)
    if lacking is None:
        return Look(table, "", found.total, "readable", "")
    cause = cause_of(lacking.code) if lacking.code else "roles"
    answered = f"{lacking.column}: {lacking.answered}" if lacking.column else lacking.answered
    return Look(table, cause, found.total, answered, lacking.fix, lacking.code)


def _write_script(report: Report, file: Path) -> None:
    from nowbridge.cli import screen
    from nowbridge.model.errors import Stop
    from nowbridge.servicenow.grant_script import grant_script

    if report.user_name is None:
        screen.say("No script was written: without a sign-in nothing is known of the account's rights.", "yellow")
        return
    tables = [right.table for right in report.missing if right.column is None]
    columns = [(right.table, right.column) for right in report.missing if right.column is not None]
    try:
        file.write_text(grant_script(report.user_name, tables, columns), encoding="utf-8")
    except OSError as error:
        raise Stop("file.unwritable", asked=f"write {file}", answered=error.strerror or str(error)) from error
    screen.say(
        f"{file}: grants {len(tables)} tables and {len(columns)} columns. Look at it; an administrator runs it once."
    )


def _failed(table: str, error: NowbridgeError) -> Look:
    return Look(table, cause_of(error.code), None, error.answered, error.hint, error.code)


def cause_of(code: str) -> Cause:
    """Who can mend it: credentials, roles, network, or the instance and its settings."""
    match code.partition(".")[0], code:
        case "auth", _:
            return "credentials" if code != "auth.unavailable" else "instance"
        case ("rights", _) | (_, "query.rights" | "user.unknown"):
            return "roles"
        case "network", _:
            return "network"
    return "instance"


def _as_json(report: Report) -> dict[str, object]:
    from nowbridge.cli.connect import introduction_facts

    return {
        "connection": report.connection,
        "url": report.url,
        "ok": report.ok,
        "sign_in": _look_as_json(report.sign_in),
        "account": introduction_facts(report.introduction) if report.introduction else None,
        "tables": [{"table": look.table, "total": look.total, **_look_as_json(look)} for look in report.looks],
        "rights": [dataclasses.asdict(right) for right in report.rights],
        "sql_writes": {
            "possible": not report.sql_writes.obstacle,
            "answered": report.sql_writes.obstacle or None,
            "administrator_runs": report.sql_writes.script or None,
        },
    }


def _look_as_json(look: Look) -> dict[str, object]:
    return {
        "ok": look.ok,
        "cause": look.cause or None,
        "code": look.code or None,
        "answered": look.answered,
        "hint": look.hint,
    }


def _show(report: Report) -> None:
    from rich.table import Table
    from rich.text import Text

    from nowbridge.cli import screen
    from nowbridge.cli.connect import introduction_lines

    out = screen.output()
    out.print(f"{report.connection}: {report.url}", markup=False, soft_wrap=True)
    if report.introduction is None:
        out.print(Text(f"sign-in failed ({report.sign_in.cause}): {report.sign_in.answered}", "red"), soft_wrap=True)
        out.print(report.sign_in.hint, markup=False, soft_wrap=True)
        return
    for label, value in introduction_lines(report.introduction):
        out.print(f"{label:13} {value}", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for heading in ("table", "", "rows", "what came back", "what to do"):
        table.add_column(heading, justify="right" if heading == "rows" else "left", overflow="fold")
    for look in report.looks:
        verdict = Text("ok", "green") if look.ok else Text(look.cause, "red")
        table.add_row(look.table, verdict, screen.count(look.total), Text(look.answered), Text(look.hint))
    out.print(table)
    for right in report.rights:
        if not right.ok and not right.required:
            screen.say(f"{right.table}.{right.column}: {right.answered}. {right.why} {right.fix}", "yellow")
    for warning in report.introduction.warnings:
        screen.say(f"Note: {warning}", "yellow")
    if report.sql_writes.obstacle:
        screen.say(f"SQL writes are not possible in this Postgres: {report.sql_writes.obstacle}.", "yellow")
        screen.say(f"For them a superuser runs once, in this database:\n{report.sql_writes.script}")
    failed = sum(not look.ok for look in report.looks)
    out.print(f"{failed} of {len(report.looks)} tables failed" if failed else "All tables can be read.")
