"""What is asked of a table, changed after it was made: its name here, its filter. The rows stay where they are; whoever
works on the table begins anew by what is asked now.

A table that gets another name is the same table to views and grants. Under another filter all keys are compared:
what matches now is read, what matches no longer leaves as deleted rows do. Who changes a filter has thereby agreed to
what leaves, however much it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nowbridge.model.errors import Stop
from nowbridge.replica.evolve import shortly
from nowbridge.replica.spec import Clock, layout_of
from nowbridge.servicenow import query as queries
from nowbridge.store import columns, ddl, duties, keys, leases, sql_users, tables, watches, write_tables
from nowbridge.store.database import Connection, Database
from nowbridge.store.ddl import Relation
from nowbridge.store.tables import TableRow


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
