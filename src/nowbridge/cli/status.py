"""`nowbridge status`: each table's phase, rows, freshness and errors; whether anybody works on them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from nowbridge.cli.entry import AsJson, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.cli.standing import Standing
    from nowbridge.settings import Settings

EXAMPLES = examples(
    "nowbridge status",
    "nowbridge status --watch",
    "nowbridge status --storage",
    "nowbridge status --json | jq '.tables[].rows'",
)
_EVERY = 2.0  # seconds


def status(
    context: typer.Context,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every two seconds until Ctrl-C.")] = False,
    storage: Annotated[
        bool, typer.Option("--storage", help="Show instead what each table takes, and for how long it is kept.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how every table stands.

    `fresh` is the age of the last proven state: every change that is older is in the replica. `hidden` counts rows
    that ServiceNow has and does not show to the account. `rows` with a ~ is Postgres' estimate, as to count a large table would read
    all of it. `proof` is the last result of `nowbridge verify`, which workers
    also run by themselves. `of` is the number of rows that a first load is to bring, and how long it will still take at its speed so far. `calls/day` are the calls about the table in the last 24 hours, by all workers. With --watch and --json, one object a line.
    """
    settings = settings_of(context)
    if storage and watch:
        raise typer.BadParameter("it does not go with --watch", param_hint="--storage")
    run(_storage(settings, as_json=as_json) if storage else _status(settings, watch=watch, as_json=as_json))


async def _status(settings: Settings, *, watch: bool, as_json: bool) -> None:
    from nowbridge.cli import screen, standing

    async with open_database(settings) as database:
        while True:
            now = await standing.read_standing(database, settings)
            if as_json:
                screen.print_json(standing.as_json(now))
            else:
                _show(now, clear=watch)
            if not watch:
                return
            await asyncio.sleep(_EVERY)


async def _storage(settings: Settings, *, as_json: bool) -> None:
    from nowbridge.cli import screen
    from nowbridge.store.operation import storage

    async with open_database(settings) as database, database.transaction() as connection:
        rooms = await storage.taken(connection)
    kept = _kept(settings)
    if as_json:
        told = [
            {"schema": r.schema, "table": r.name, "rows": r.rows, "bytes": r.bytes, "kept_days": kept.get(r.name)}
            for r in rooms
        ]
        screen.print_json({"tables": told, "bytes": sum(room.bytes for room in rooms)})
        return
    shown = screen.columns("table", "rows (estimated)", "MB", "kept")
    for room in rooms:
        days = kept.get(room.name)
        shown.add_row(
            f"{room.schema}.{room.name}",
            screen.count(room.rows),
            f"{room.bytes / 1e6:,.1f}",
            f"{days} days" if days else "",
        )
    out = screen.output()
    out.print(shown)
    out.print(f"\n{sum(room.bytes for room in rooms) / 1e6:,.1f} MB in all")


def _kept(settings: Settings) -> dict[str, int]:
    """For how many days rows are kept, where they do not stay for good."""
    return {
        "_sync_cdc": settings.keep_changes_days,
        "tombstone": settings.keep_tombstones_days,
        "notice": settings.keep_notices_days,
        "call_tally": settings.keep_calls_days,
    }


def _show(now: Standing, *, clear: bool) -> None:
    from nowbridge.cli import screen, standing

    out = screen.output()
    if clear and out.is_terminal:
        out.clear()
    if not now.tables:
        out.print("No table is replicated yet. Next: nowbridge replicate --preset itsm")
        return
    out.print(standing.as_table(now))
    workers = len(now.workers)
    if workers:
        out.print(f"\n{workers} worker{'s' if workers > 1 else ''} running")
    for line in standing.trouble(now):
        out.print(line, soft_wrap=True)
