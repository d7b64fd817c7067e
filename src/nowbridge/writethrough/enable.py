"""Makes replica tables writable: what the dictionary says about their columns, turned into triggers. Safe to repeat; a
table whose columns changed is done again.
"""

from __future__ import annotations

from collections.abc import Sequence

from nowbridge.model.schema import Table
from nowbridge.replica.layout import ColumnState, LabelKind, Layout, ReplicaColumn, Role
from nowbridge.replica.spec import layout_of
from nowbridge.servicenow import schema
from nowbridge.servicenow.instance import Instance
from nowbridge.store.database import Database
from nowbridge.store.rows import tables
from nowbridge.store.rows.tables import TableRow
from nowbridge.store.writes import sql_users, write_triggers
from nowbridge.store.writes.write_triggers import WriteColumn, WriteTable
from nowbridge.writethrough.guard import SYSTEM

KINDS = {LabelKind.CHOICE: "choice", LabelKind.REFERENCE: "reference", LabelKind.LIST: "list"}


async def enable_writes(database: Database, instance: Instance, connection_id: int) -> list[str]:
    """Make every replicated table of a connection writable, for the users who may write it. Returns their names.

    A table that ServiceNow lets nobody write (a database view) is made so too: ServiceNow refuses, not we.
    """
    async with database.transaction() as connection:
        rows = await tables.all_of(connection, connection_id)
    found = await schema.discover(instance, [row.source for row in rows]) if rows else {}
    for row in rows:
        made = write_table(row, found[row.source], rows)
        async with database.transaction() as connection:
            await sql_users.alone(connection)
            await connection.execute("SET LOCAL lock_timeout = '200ms'")
            await write_triggers.make(connection, made)
            if row is rows[-1]:  # with it: a worker that dies in between finds the last table outdated, and comes back
                await sql_users.grant_all(connection)
    return [row.relation.name for row in rows]


def write_table(row: TableRow, table: Table, others: Sequence[TableRow]) -> WriteTable:
    """`others` are all tables of the connection; those of the same hierarchy hold the same records."""
    layout = layout_of(row)
    lineage = {row.source, *layout.ancestors}
    related = [
        (len(theirs.ancestors), other.relation)
        for other in others
        if other.id != row.id
        for theirs in (layout_of(other),)
        if other.source in lineage or row.source in theirs.ancestors
    ]
    return WriteTable(
        id=row.id,
        connection_id=row.connection_id,
        relation=row.relation,
        columns=tuple(write_columns(layout, table)),
        layout_epoch=row.layout_epoch,
        relatives=tuple(relation for _, relation in sorted(related, key=lambda pair: pair[0])),
    )


def write_columns(layout: Layout, table: Table) -> list[WriteColumn]:
    """Every column that is loaded, and the journals. The others (unreadable, removed) are closed: a client may name them, as
    ORMs do, but nobody could see what became of a value.
    """
    wanted = [*layout.loaded, *(c for c in layout.columns if c.role is Role.JOURNAL and c.state is ColumnState.LIVE)]
    labels = {layout.stored_beside(c).name: c for c in wanted if c.role is Role.LABEL}
    stored = {c.source: c.name for c in wanted if c.role is Role.VALUE}
    named = {c.name for c in wanted}
    closed = [WriteColumn(c.name, c.source, closed=True) for c in layout.columns if c.name not in named]
    return [*(_column(c, labels.get(c.name), table, stored) for c in wanted if c.role is not Role.LABEL), *closed]


def _column(column: ReplicaColumn, label: ReplicaColumn | None, table: Table, stored: dict[str, str]) -> WriteColumn:
    entry = table.column(column.source)
    source = label.labels if label is not None else None
    return WriteColumn(
        name=column.name,
        source=column.source,
        journal=column.role is Role.JOURNAL,
        shown=None if label is None else label.name,
        kind="plain" if source is None else KINDS[source.kind],  # type: ignore[arg-type]
        label_table="" if source is None else source.table,
        label_column="" if source is None else source.column,
        dependent=stored.get(entry.dependent or "") if entry is not None else None,
        read_only=column.source in SYSTEM or (entry is not None and entry.read_only),
        mandatory=entry is not None and entry.mandatory and not entry.has_default,
        max_length=None if entry is None or column.role is Role.JOURNAL else entry.max_length,
    )
