"""`nowbridge pause` and `resume`: leave tables alone for a while, without losing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nowbridge.cli.entry import AsJson, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.settings import Settings
    from nowbridge.store.rows.tables import TableRow

PAUSE_EXAMPLES = examples("nowbridge pause incident", "nowbridge pause --all")
RESUME_EXAMPLES = examples("nowbridge resume incident", "nowbridge resume --all", "nowbridge resume --restored")

Tables = Annotated[list[str] | None, typer.Argument(metavar="[TABLE]...", help="Tables, by either of their names.")]


def pause(
    context: typer.Context,
    tables: Tables = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All tables.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop reading tables until they are resumed.

    Running workers stop at their next page; cursors stay where they are, so nothing is lost and nothing is read twice.
    Paused tables can be read as ever; they grow older, and /health does not call that stale.
    """
    _show(run(_switch(settings_of(context), _named(tables, every=every), pausing=True)), "paused", as_json=as_json)


def resume(
    context: typer.Context,
    tables: Tables = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All tables.")] = False,
    restored: Annotated[
        bool, typer.Option("--restored", help="The original of this restored copy does not run any more.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Go on with paused tables from where they stood, or with a restored copy.

    Also after a failure that somebody has mended: what waits for its next try is tried at once.
    """
    if restored:
        if tables or every:
            raise typer.BadParameter("it goes alone", param_hint="--restored")
        _show(run(_confirm_restored(settings_of(context))), "resumed", as_json=as_json)
        return
    _show(run(_switch(settings_of(context), _named(tables, every=every), pausing=False)), "resumed", as_json=as_json)


def _named(tables: list[str] | None, *, every: bool) -> list[str]:
    """Empty for all."""
    if bool(tables) == every:
        raise typer.BadParameter("name tables, or --all", param_hint="TABLE")
    return tables or []


async def _switch(settings: Settings, named: list[str], *, pausing: bool) -> list[str]:
    from nowbridge import wiring
    from nowbridge.jobs import queue
    from nowbridge.store.rows import tables
    from nowbridge.store.work import pauses

    async with open_database(settings) as database, database.transaction() as connection:
        rows = _chosen(await tables.all_of(connection), named)
        ids = [row.id for row in rows]
        if pausing:
            switched = await pauses.pause(connection, ids, now=wiring.now())
        else:
            switched = await pauses.resume(connection, ids, now=wiring.now())
            for owner in {row.connection_id for row in rows if row.phase == "planned"}:
                await queue.defer_prepare(connection, owner)
    return [row.source for row in rows if row.id in switched]


async def _confirm_restored(settings: Settings) -> list[str]:
    """Let the connections of a restored copy go on. Returns their names."""
    from nowbridge.jobs import queue
    from nowbridge.store.instances import connections

    async with open_database(settings) as database, database.transaction() as connection:
        rows = [row for row in await connections.every(connection) if (row.stopped or {}).get("reason") == "restored"]
        for row in rows:
            await connections.go_on(connection, row.id)
            await queue.defer_prepare(connection, row.id)
    return [row.name for row in rows]


def _chosen(rows: list[TableRow], named: list[str]) -> list[TableRow]:
    from nowbridge.model.errors import Stop

    for name in named:
        if not any(name in {row.source, row.relation.name} for row in rows):
            raise Stop(
                "table.not_replicated",
                asked=f"pause or resume {name}",
                answered="it is not replicated",
                hint=f"Replicated are: {', '.join(row.source for row in rows) or 'none'}.",
            )
    return [row for row in rows if not named or row.source in named or row.relation.name in named]


def _show(switched: list[str], what: str, *, as_json: bool) -> None:
    from nowbridge.cli import screen

    if as_json:
        screen.print_json({what: switched})
        return
    screen.say(f"{what}: {', '.join(switched)}" if switched else f"Nothing had to be {what}.")
