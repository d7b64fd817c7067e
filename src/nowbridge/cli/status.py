"""`nowbridge status`: each table's phase, rows, freshness and errors; whether anybody works on them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from nowbridge.cli.entry import AsJson, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.cli.standing import Standing
    from nowbridge.settings import Settings

EXAMPLES = examples("nowbridge status", "nowbridge status --watch", "nowbridge status --json | jq '.tables[].rows'")
_EVERY = 2.0  # seconds


def status(
    context: typer.Context,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every two seconds until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how every table stands.

    `fresh` is the age of the last proven state: every change that is older is in the replica. `hidden` counts rows
    that ServiceNow has and does not show to the account. `proof` is the last result of `nowbridge verify`, which workers
    also run by themselves. `calls/day` are the calls about the table in the last 24 hours, by all workers. With --watch and --json, one object a line.
    """
    run(_status(settings_of(context), watch=watch, as_json=as_json))


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
