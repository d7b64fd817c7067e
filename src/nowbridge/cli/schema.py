"""`nowbridge schema`: what has become of the tables' columns since they were copied, and what is to become of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from nowbridge.cli.entry import AsJson, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.settings import Settings
    from nowbridge.store.database import Database
    from nowbridge.store.rows.columns import ColumnStatus, ContractStatus
    from nowbridge.store.rows.tables import TableRow

EXAMPLES = examples(
    "nowbridge schema",
    "nowbridge schema incident --confirm",
    "nowbridge schema incident --contract freeze",
    "nowbridge schema --json | jq '.tables[].columns'",
)
_CONTRACTS = ("evolve", "freeze", "discard")


def schema(
    context: typer.Context,
    tables: Annotated[
        list[str] | None, typer.Argument(metavar="[TABLE]...", help="All tables when none is named.")
    ] = None,
    *,
    confirm: Annotated[
        bool,
        typer.Option("--confirm", help="Let new columns of retyped ones take over; let a frozen table take its drift."),
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="With --confirm: even where views read the old columns.")
    ] = False,
    contract: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What is to follow a change: evolve, freeze or discard.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how columns stand to ServiceNow's dictionary, and decide what waits for somebody.

    Nothing is ever dropped or retyped. A new column appears and is being filled until the row of `filled to`. One that
    was removed, or that the account may no longer read, keeps its last values. One that has got another type keeps its own,
    and COLUMN__TYPE appears beside it; --confirm gives that the name, and the old column becomes COLUMN__was_TYPE.

    Contracts: evolve follows (the default); freeze stops the table when its columns change, until --confirm; discard
    leaves new columns out.
    """
    if contract is not None and contract not in _CONTRACTS:
        raise typer.BadParameter(f"there is {', '.join(_CONTRACTS)}", param_hint="--contract")
    found = run(_schema(settings_of(context), tables or [], confirm=confirm, anyway=anyway, contract=contract))
    _show(*found, as_json=as_json)


async def _schema(
    settings: Settings, named: list[str], *, confirm: bool, anyway: bool, contract: str | None
) -> tuple[list[ContractStatus], list[ColumnStatus]]:
    from nowbridge import wiring
    from nowbridge.store.rows import columns, tables

    async with open_database(settings) as database:
        async with database.transaction() as connection:
            chosen = _chosen(await tables.all_of(connection), named)
            for row in chosen if contract is not None else []:
                await columns.set_contract(connection, row, contract or "", now=wiring.now())
        if confirm:
            await _confirm(database, chosen, anyway=anyway)
        async with database.transaction() as connection:
            relations = {row.relation for row in chosen}
            lines = [line for line in await columns.contracts(connection) if line.relation in relations]
            states = [line for line in await columns.status(connection) if line.relation in relations]
    return lines, states


def _chosen(rows: list[TableRow], named: list[str]) -> list[TableRow]:
    from nowbridge.model.errors import Stop

    by_name = {row.relation.name: row for row in rows} | {row.source: row for row in rows}
    if unknown := [name for name in named if name not in by_name]:
        raise Stop(
            "table.not_replicated",
            asked=f"look at the columns of {unknown[0]}",
            answered="it is not replicated",
            hint=f"Replicated are: {', '.join(row.source for row in rows) or 'none'}.",
        )
    return [by_name[name] for name in named] if named else rows


async def _confirm(database: Database, chosen: list[TableRow], *, anyway: bool) -> None:
    import asyncio

    from nowbridge import wiring
    from nowbridge.cli import screen
    from nowbridge.model.errors import Stop
    from nowbridge.replica import evolve
    from nowbridge.store.rows import columns

    done = 0
    for row in chosen:
        async with database.transaction() as connection:
            accepted = await columns.accept(connection, row.id, now=wiring.now())
        if accepted:
            screen.say(f"{row.source}: its new columns are accepted; a running worker takes them up.")
        renames = await evolve.confirm(database, row, wiring.now, asyncio.sleep, anyway=anyway)
        for old, new in renames:
            screen.say(f"{row.source}: {old} is now {new}")
        done += accepted + len(renames)
    if not done:
        raise Stop(
            "schema.nothing_to_confirm",
            asked="confirm changed columns",
            answered="nothing about the columns of these tables waits for anybody",
            hint="`nowbridge schema` shows how they stand.",
        )


def _show(lines: list[ContractStatus], states: list[ColumnStatus], *, as_json: bool) -> None:
    from rich.text import Text

    from nowbridge.api.standing import columns_as_json, schema_trouble
    from nowbridge.cli import screen

    if as_json:
        screen.print_json({"tables": [{"table": line.source} | columns_as_json(line, states) for line in lines]})
        return
    out = screen.output()
    shown = screen.columns("table", "contract", "column", "in ServiceNow", "state", "since", "filled to", "")
    for line in lines:
        own = [state for state in states if state.relation == line.relation]
        stands = Text("STOPPED", "red") if line.stopped else Text("" if own else "as in ServiceNow", "green")
        if not own or line.stopped:
            shown.add_row(line.source, line.contract, "", "", stands, "", "", "")
        for state in own:
            since = state.since.strftime("%Y-%m-%d %H:%M")
            shown.add_row(
                line.source,
                line.contract,
                state.column,
                state.source,
                Text(state.state, "yellow"),
                since,
                state.filled_to or "",
                state.detail,
            )
    out.print(shown)
    for line in lines:
        for why in (line.stopped, line.error):
            if why:
                out.print(Text(f"{line.source}: {screen.error_line(why)}", "red"), soft_wrap=True)
        if line.words_learned or line.learned_from != "sys_dictionary":
            for told in schema_trouble([replace(line, error=None)], []):
                out.print(Text(told.words, "yellow"), soft_wrap=True)
