"""`nowbridge verify`: compare with the source at one of three levels, and say plainly whether the replica equals it."""

from __future__ import annotations

from contextlib import nullcontext
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from nowbridge.cli.entry import AsJson, ConnectionName, ExitCode, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from rich.progress import Progress

    from nowbridge.replica.verify import Level, Verdict
    from nowbridge.settings import Settings
    from nowbridge.store.database import Database
    from nowbridge.store.instances.connections import ConnectionRow
    from nowbridge.store.rows.tables import TableRow, TableStatus

EXAMPLES = examples(
    "nowbridge verify",
    "nowbridge verify --level checked",
    "nowbridge verify incident --level proven --repair",
    "nowbridge verify --json",
)
_NAMED = 20  # sys_ids of each kind that are listed
_WORDS = {"checked": "counts agree", "proven": "equal keys", "proven by content": "equal"}


class LevelChoice(StrEnum):
    """How much is compared, as typed."""

    CHECKED = "checked"
    PROVEN = "proven"
    CONTENT = "content"


def verify(
    context: typer.Context,
    tables: Annotated[
        list[str] | None, typer.Argument(metavar="[TABLE]...", help="All tables when none is named.")
    ] = None,
    *,
    level: Annotated[
        LevelChoice, typer.Option(help="Counts only; keys and versions; or every value of every row.")
    ] = LevelChoice.CONTENT,
    repair: Annotated[bool, typer.Option("--repair", help="Put right what differs.")] = False,
    connection: ConnectionName = None,
    as_json: AsJson = False,
) -> None:
    """Compare the replica with ServiceNow.

    `--level checked` compares counts by version and class through the Aggregate API, a few calls for any table, and
    looks closer only where they differ; equal counts are no proof. `--level proven` lists every key and version, 10,000
    a call. `--level content` downloads every row and compares it column by column. Each result is kept: `nowbridge
    status` shows the last.

    `pending` rows changed so lately that the change stream is still to bring them; they are no difference. `hidden`
    rows exist in ServiceNow and are not shown to the account. Labels are compared with what ServiceNow displays, for
    a sample of each table. Exit code 0: equal (after repairs); 1: not equal.
    """
    verdicts = run(_verify(settings_of(context), tables or [], connection, level, repair=repair))
    _show(verdicts, as_json=as_json)
    if not all(verdict.equal for verdict in verdicts):
        raise typer.Exit(ExitCode.NO)


async def _verify(
    settings: Settings, named: list[str], connection_name: str | None, level: LevelChoice, *, repair: bool
) -> list[Verdict]:
    from nowbridge import wiring
    from nowbridge.replica.verify import Level
    from nowbridge.store.rows import tables

    async with open_database(settings) as database:
        async with database.transaction() as connection:
            row = await wiring.only_connection(connection, connection_name)
            rows = await tables.all_of(connection, row.id)
            standing = {table.relation: table for table in await tables.status(connection)}
        return await _verify_tables(
            settings,
            database,
            row,
            [(table, standing[table.relation]) for table in _chosen(rows, named)],
            Level[level.name],
            repair=repair,
        )


async def _verify_tables(
    settings: Settings,
    database: Database,
    row: ConnectionRow,
    chosen: list[tuple[TableRow, TableStatus]],
    level: Level,
    *,
    repair: bool,
) -> list[Verdict]:
    from nowbridge import wiring
    from nowbridge.cli import screen
    from nowbridge.replica.verify import Order, require_backfilled

    for table, _ in chosen:
        require_backfilled(table.phase, table.source)
    verdicts = []
    bars = _bars()
    async with wiring.verifier_of(settings, database, row, [table for table, _ in chosen]) as (upkeep, loaders):
        with bars if screen.is_terminal() else nullcontext():
            for table, status in chosen:
                bar = bars.add_task(table.source, total=status.total_count)
                order = Order(
                    status.proven_to or await upkeep.proven_to(loaders[table.id]),
                    repair=repair,
                    progress=lambda rows, bar=bar: bars.update(bar, completed=rows),  # type: ignore[misc]
                )
                verdict = await upkeep.verify(loaders[table.id], order, level)
                bars.update(bar, total=verdict.rows, completed=verdict.rows)
                verdicts.append(verdict)
    return verdicts


def _chosen(rows: list[TableRow], named: list[str]) -> list[TableRow]:
    from nowbridge.model.errors import Stop

    by_name = {row.relation.name: row for row in rows} | {row.source: row for row in rows}
    if unknown := [name for name in named if name not in by_name]:
        raise Stop(
            "table.not_replicated",
            asked=f"verify {unknown[0]}",
            answered="it is not replicated",
            hint=f"Replicated are: {', '.join(row.source for row in rows) or 'none'}.",
        )
    if not rows:
        raise Stop(
            "table.not_replicated",
            asked="verify the replica",
            answered="no table is replicated",
            hint="Begin with `nowbridge replicate --preset itsm`.",
        )
    return [by_name[name] for name in named] if named else rows


def _bars() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from nowbridge.cli import screen

    return Progress(
        TextColumn("verify {task.description}"), BarColumn(), MofNCompleteColumn(), console=screen.messages()
    )


def verdicts_as_json(verdicts: list[Verdict]) -> dict[str, object]:
    return {
        "equal": all(verdict.equal for verdict in verdicts),
        "level": verdicts[0].level.value,
        "tables": [_verdict_as_json(verdict) for verdict in verdicts],
    }


def _verdict_as_json(verdict: Verdict) -> dict[str, object]:
    return {
        "table": verdict.table,
        "equal": verdict.equal,
        "rows": verdict.rows,
        "hidden": verdict.hidden,
        "missing": len(verdict.missing),
        "differing": len(verdict.differing),
        "extra": len(verdict.extra),
        "pending": verdict.pending,
        "repaired": verdict.repaired,
        "labels_compared": verdict.labels_compared,
        "wrong_labels": len(verdict.wrong_labels),
        "calls": verdict.calls,
        "held": verdict.held.name.lower() if verdict.held else None,
        "proven_to": verdict.proven_to,
        "sys_ids": {
            "missing": verdict.missing[:_NAMED],
            "differing": [difference.sys_id for difference in verdict.differing[:_NAMED]],
            "extra": verdict.extra[:_NAMED],
            "wrong_labels": [f"{sys_id} {column}" for sys_id, column in verdict.wrong_labels[:_NAMED]],
        },
    }


def _show(verdicts: list[Verdict], *, as_json: bool) -> None:
    from rich.text import Text

    from nowbridge.cli import screen

    if as_json:
        screen.print_json(verdicts_as_json(verdicts))
        return
    out = screen.output()
    table = screen.columns("table", "rows", "hidden", "missing", "differing", "extra", "pending", "labels", "verdict")
    for verdict in verdicts:
        counts = (verdict.rows, verdict.hidden, len(verdict.missing), len(verdict.differing), len(verdict.extra))
        word = Text(_WORDS[verdict.level.value], "green") if verdict.equal else Text("NOT equal", "red")
        numbers = (screen.count(number) for number in (*counts, verdict.pending, verdict.labels_compared))
        table.add_row(verdict.table, *numbers, word)
    out.print(table)
    for verdict in verdicts:
        if verdict.repaired:
            out.print(f"{verdict.table}: {verdict.repaired:,} rows repaired")
        if verdict.level.value == "checked" and verdict.hidden:
            out.print(f"{verdict.table}: checked against {verdict.hidden:,} hidden rows")
        if verdict.held:
            out.print(Text(f"{verdict.table}: no row was removed: {verdict.held.value}", "red"), soft_wrap=True)
            out.print(f"{verdict.table}: look at it with `nowbridge deletes {verdict.table}`")
        if verdict.wrong_labels:
            out.print(f"{verdict.table}: {len(verdict.wrong_labels):,} labels differ")
        for line in _details(verdict):
            out.print(Text(line, "red"), soft_wrap=True)


def _details(verdict: Verdict) -> list[str]:
    lines = [f"{verdict.table} {sys_id}: missing here" for sys_id in verdict.missing[:_NAMED]]
    lines += [f"{verdict.table} {d.sys_id}: differs in {', '.join(d.columns)}" for d in verdict.differing[:_NAMED]]
    lines += [f"{verdict.table} {sys_id}: not in ServiceNow any more" for sys_id in verdict.extra[:_NAMED]]
    lines += [
        f"{verdict.table} {sys_id}: label of {column} differs" for sys_id, column in verdict.wrong_labels[:_NAMED]
    ]
    return lines
