"""`nowbridge check`: can this account, from this machine, read everything that the replica needs?

Three kinds of trouble are told apart, because three different people mend them: credentials, roles, network.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nowbridge.cli.entry import AsJson, ConnectionName, ExitCode, examples, open_database, run, settings_of
from nowbridge.connecting.presets import CHECKED

if TYPE_CHECKING:
    from nowbridge.connecting.check import Look, Report
    from nowbridge.settings import Settings
    from nowbridge.store.database import Connection, Database

EXAMPLES = examples(
    "nowbridge check",
    "nowbridge check --preset inventory",
    "nowbridge check --script grant.js",
    "nowbridge check --json | jq '.rights[] | select(.ok | not)'",
)


@dataclass(frozen=True, slots=True)
class SqlWrites:
    """Whether this Postgres lets SQL users write. `obstacle` is empty when it does; `script` is what mends it."""

    obstacle: str
    script: str


@dataclass(frozen=True, slots=True)
class Checked:
    connection: str
    url: str
    sql_writes: SqlWrites
    report: Report


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
    checked = run(_check(settings_of(context), connection, preset))
    if script is not None:
        _write_script(checked.report, script)
    if as_json:
        screen.print_json(_as_json(checked))
    else:
        _show(checked)
    if not checked.report.ok:
        raise typer.Exit(ExitCode.NO)


async def _check(settings: Settings, name: str | None, preset: str | None) -> Checked:
    from nowbridge import wiring
    from nowbridge.connecting.connect import Draft

    async with open_database(settings) as database:
        async with database.transaction() as session:
            writes = await _sql_writes(database, session)
            row = await wiring.only_connection(session, name)
        draft = Draft(row.name, row.url, wiring.opened(settings, row), held=row)
        report = await wiring.connector_of(settings, database).examine(draft, preset)
    return Checked(row.name, row.url, writes, report)


async def _sql_writes(database: Database, session: Connection) -> SqlWrites:
    from nowbridge.store.writes import loopback

    obstacle = await asyncio.to_thread(loopback.obstacle, database.dsn)
    return SqlWrites(obstacle or "", loopback.administrators_script(session.info.user) if obstacle else "")


def _write_script(report: Report, file: Path) -> None:
    from nowbridge.cli import screen
    from nowbridge.model.errors import Stop
    from nowbridge.servicenow.grant_script import grant_script

    if report.introduction is None:
        screen.say("No script was written: without a sign-in nothing is known of the account's rights.", "yellow")
        return
    tables = [right.table for right in report.missing if right.column is None]
    columns = [(right.table, right.column) for right in report.missing if right.column is not None]
    try:
        file.write_text(grant_script(report.introduction.user.user_name, tables, columns), encoding="utf-8")
    except OSError as error:
        raise Stop("file.unwritable", asked=f"write {file}", answered=error.strerror or str(error)) from error
    screen.say(
        f"{file}: grants {len(tables)} tables and {len(columns)} columns. Look at it; an administrator runs it once."
    )


def _as_json(checked: Checked) -> dict[str, object]:
    from nowbridge.cli.connect import introduction_facts

    report, writes = checked.report, checked.sql_writes
    return {
        "connection": checked.connection,
        "url": checked.url,
        "ok": report.ok,
        "sign_in": _look_as_json(report.sign_in),
        "account": introduction_facts(report.introduction) if report.introduction else None,
        "tables": [{"table": look.table, "total": look.total, **_look_as_json(look)} for look in report.looks],
        "rights": [dataclasses.asdict(right) for right in report.rights],
        "sql_writes": {
            "possible": not writes.obstacle,
            "answered": writes.obstacle or None,
            "administrator_runs": writes.script or None,
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


def _show(checked: Checked) -> None:
    from rich.table import Table
    from rich.text import Text

    from nowbridge.cli import screen
    from nowbridge.connecting.check import introduction_lines

    report, writes = checked.report, checked.sql_writes
    out = screen.output()
    out.print(f"{checked.connection}: {checked.url}", markup=False, soft_wrap=True)
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
    if writes.obstacle:
        screen.say(f"SQL writes are not possible in this Postgres: {writes.obstacle}.", "yellow")
        screen.say(f"For them a superuser runs once, in this database:\n{writes.script}")
    failed = sum(not look.ok for look in report.looks)
    out.print(f"{failed} of {len(report.looks)} tables failed" if failed else "All tables can be read.")
