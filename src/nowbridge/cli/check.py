"""`nowbridge check`: can this account, from this machine, read everything that the replica needs?

Three kinds of trouble are told apart, because three different people mend them: credentials, roles, network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import typer

from nowbridge.cli.entry import AsJson, ConnectionName, ExitCode, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.model.errors import NowbridgeError
    from nowbridge.servicenow.identity import Introduction
    from nowbridge.servicenow.instance import Instance
    from nowbridge.settings import Settings

EXAMPLES = examples("nowbridge check", "nowbridge check --connection acme", "nowbridge check --json | jq .tables")
_LOOK = 100  # rows asked for per table: an account that may see some of them sees one of these
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
class Report:
    connection: str
    url: str
    introduction: Introduction | None
    sign_in: Look
    looks: tuple[Look, ...]

    @property
    def ok(self) -> bool:
        return self.sign_in.ok and all(look.ok for look in self.looks)


def check(context: typer.Context, *, connection: ConnectionName = None, as_json: AsJson = False) -> None:
    """Sign in, compare clocks, and read every replicated table once.

    Before anything is replicated, the tables of the preset itsm are tried. For each table that cannot be read it says
    whether the credentials, the account's roles or the network are at fault, and what to do. Exit code 1 if any fails.
    """
    from nowbridge.cli import screen

    report = run(_check(settings_of(context), connection))
    if as_json:
        screen.print_json(_as_json(report))
    else:
        _show(report)
    if not report.ok:
        raise typer.Exit(ExitCode.NO)


async def _check(settings: Settings, name: str | None) -> Report:
    from nowbridge import wiring
    from nowbridge.cli.presets import METADATA, PRESETS
    from nowbridge.model.errors import NowbridgeError
    from nowbridge.servicenow import identity
    from nowbridge.store import tables

    async with open_database(settings) as database, database.transaction() as session:
        row = await wiring.only_connection(session, name)
        replicated = [table.source for table in await tables.all_of(session, row.id)]
    wanted = replicated or [spec.partition("=")[0] for spec in PRESETS["itsm"]]
    sign_in = wiring.opened(settings, row)
    async with wiring.instance_of(settings, row.url, sign_in, attempts=2) as instance:
        try:
            introduction = await identity.introduce(instance, user_name=row.username, now=wiring.now)
        except NowbridgeError as error:
            return Report(row.name, row.url, None, _failed("", error), ())
        looks = [await _look_at(instance, table) for table in dict.fromkeys([*METADATA, *wanted])]
    return Report(row.name, row.url, introduction, Look("", "", None, "signed in", ""), tuple(looks))


async def _look_at(instance: Instance, table: str) -> Look:
    from nowbridge.model.errors import NowbridgeError
    from nowbridge.servicenow.pages import PageRequest
    from nowbridge.servicenow.tables import read_page
    from nowbridge.servicenow.wire import PageDecoder

    try:
        answer = await read_page(instance, table, PageRequest("", _LOOK, with_count=True), ("sys_id",))
    except NowbridgeError as error:
        return _failed(table, error)
    visible = PageDecoder(("sys_id",)).decode(answer.body).rows
    total = answer.total_count
    if total and not visible:
        return Look(
            table,
            "roles",
            total,
            f"{total:,} rows, none of the first {min(total, _LOOK)} visible to this account",
            "Ask an administrator of the instance for a role that may read this table.",
        )
    return Look(table, "", total, "readable", "")


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
    for warning in report.introduction.warnings:
        screen.say(f"Note: {warning}", "yellow")
    failed = sum(not look.ok for look in report.looks)
    out.print(f"{failed} of {len(report.looks)} tables failed" if failed else "All tables can be read.")
