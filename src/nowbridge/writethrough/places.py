"""The replica tables that one connection's writes can touch, as a writer remembers them: read again when a table, its
columns or its triggers changed, which every write tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nowbridge.replica.layout import Layout
from nowbridge.replica.rows import pointers
from nowbridge.replica.spec import layout_of
from nowbridge.store.database import Database
from nowbridge.store.rows import tables as table_store
from nowbridge.store.rows.tables import TableRow
from nowbridge.store.writes import write_tables
from nowbridge.store.writes.write_log import Entry
from nowbridge.store.writes.write_tables import ColumnRow
from nowbridge.writethrough.collected import Column, WritableTable


@dataclass(frozen=True, slots=True)
class Place:
    """A replica table that writes know. `references` is the table that each reference column points at, `pointing` the
    replica's name of every column whose values are shown by a record's label.
    """

    row: TableRow
    layout: Layout
    table: WritableTable
    fetched: tuple[str, ...]
    references: Mapping[str, str]
    pointing: Mapping[str, str]


@dataclass(slots=True)
class Places:
    database: Database
    connection_id: int
    _made_for: list[list[int | str | None]] | None = None
    _held: dict[int, Place] = field(default_factory=dict)

    async def of(self, entry: Entry) -> dict[int, Place]:
        """By table id, as they stood when the write was taken, or later."""
        if entry.tables != self._made_for:
            async with self.database.session() as connection:
                every = await table_store.all_of(connection, self.connection_id)
                columns = await write_tables.columns(connection, self.connection_id)
            self._held = {row.id: _place(row, columns) for row in every}
            self._made_for = entry.tables
        return self._held


def _place(row: TableRow, columns: list[ColumnRow]) -> Place:
    layout = layout_of(row)
    types = {column.name: column.pg_type for column in layout.columns}
    mine = [column for column in columns if column.table_id == row.id and column.name in types]
    made = {
        c.name: Column(c.name, c.source, types[c.name], c.journal, c.read_only, c.mandatory, c.max_length, c.closed)
        for c in mine
    }
    table = WritableTable(row.id, (row.source, *layout.ancestors), made)
    named = {c.source: c.name for c in mine}
    pointing = {source: named[source] for source in pointers(layout) if source in named}
    return Place(row, layout, table, layout.fetched, {c.source: c.reference for c in mine if c.reference}, pointing)
