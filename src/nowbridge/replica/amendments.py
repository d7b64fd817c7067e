"""What is asked of a table, changed after it was made: its name here, its filter, its columns. The rows stay where they are; whoever
works on the table begins anew by what is asked now.

A table that gets another name is the same table to views and grants. Under another filter all keys are compared:
what matches now is read, what matches no longer leaves as deleted rows do. Who changes a filter has thereby agreed to
what leaves, however much it is. Columns that are wanted now appear and are filled, those that are not stay with their
values, and renamed ones are renamed: views and grants follow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from nowbridge.model.errors import Stop
from nowbridge.replica import drift
from nowbridge.replica.evolve import Evolver, shortly, states_of
from nowbridge.replica.layout import Selection
from nowbridge.replica.run import Replica
from nowbridge.replica.spec import Clock, layout_of
from nowbridge.servicenow import query as queries
from nowbridge.store import ddl
from nowbridge.store.database import Connection, Database
from nowbridge.store.ddl import Relation
from nowbridge.store.rows import columns, keys, tables
from nowbridge.store.rows.tables import TableRow
from nowbridge.store.work import duties, leases, watches
from nowbridge.store.writes import sql_users, write_tables


async def rename_table(database: Database, row: TableRow, name: str, sleep: Callable[[float], Awaitable[None]]) -> None:
    """Give a replica table another name; entries that the feed has keep the old one. SQL users write it again when a
    worker has made its triggers anew. Raises Stop `table.name_taken`, Retry
    `schema.busy` where others hold the table.
    """
    after = Relation(row.relation.schema, name)

    async def write(connection: Connection) -> None:
        if await ddl.exists(connection, after):
            raise Stop(
                "table.name_taken",
                asked=f"call {row.relation.name} {name}",
                answered="there is one of that name already",
                hint="Choose another name.",
            )
        await columns.set_layout(connection, row, row.layout)  # whoever writes by the old name gives up
        await ddl.rename_table(connection, row.relation, name, [c.name for c in layout_of(row).columns])
        await tables.set_name(connection, row.id, name)
        await sql_users.rename_table(connection, row.relation.name, name)
        await sql_users.withhold(connection, row.connection_id)
        await write_tables.make_anew(connection, row.connection_id)

    await shortly(database, sleep, write)


async def change_filter(connection: Connection, row: TableRow, query: str, clock: Clock) -> None:
    """Let another encoded query say which records are replicated; "": all. Raises Stop `query.ambiguous`."""
    queries.parse(query)
    await columns.set_layout(connection, row, row.layout)  # whoever reads by the old filter gives up
    await tables.set_query(connection, row.id, query)
    await keys.forget_hidden(connection, row.id)
    if row.phase != "live":
        await leases.begin_anew(connection, row.id)
    held = await tables.count_rows(connection, row.relation)
    await watches.load(connection, row.id)
    await watches.allow(connection, row.id, held)
    await duties.bring_forward(connection, row.id, "compare", now=clock())


async def change_columns(replica: Replica, table_id: int, wanted: Selection) -> None:
    """Let another selection say which columns are replicated and what they are called. Raises Stop `columns.unknown`,
    `columns.needed`, `table.column_twice`, `schema.column_taken`; Retry `schema.busy` where others hold the table.
    """
    evolver = replica.upkeep.evolver
    loader = await replica.loader(table_id)
    planned = await evolver.plan(loader.row.source, wanted)
    await _rename_columns(evolver, loader.row, wanted)
    await evolver.select(await replica.loader(table_id), planned, wanted)


async def _rename_columns(evolver: Evolver, row: TableRow, wanted: Selection) -> None:
    """The names alone, in a transaction of their own: a rename that is made stands in the stored selection."""
    before = msgspec.convert(row.selection, Selection)
    after, renames = drift.renamed(layout_of(row), before, wanted)
    if not renames:
        return
    selection = msgspec.structs.replace(before, names=wanted.names)

    async def write(connection: Connection) -> None:
        await columns.set_layout(connection, row, msgspec.to_builtins(after))
        await columns.rename(connection, row.relation, renames)
        ignored = await columns.ignored(connection, row.id)
        await columns.note_states(connection, row.id, [*states_of(after), *ignored], now=evolver.clock())
        await columns.set_selection(connection, row, msgspec.to_builtins(selection), now=evolver.clock())
        await sql_users.withhold(connection, row.connection_id)
        await write_tables.make_anew(connection, row.connection_id)

    await shortly(evolver.database, evolver.sleep, write)
