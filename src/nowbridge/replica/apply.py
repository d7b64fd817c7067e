"""Apply: the one way into a replica table. A page of ServiceNow's rows becomes rows, feed and cursor in one transaction.

Everything that costs time (labels, conversion) happens before the transaction opens. The version guard in
`store.load` makes replays and reordering harmless, so callers only have to see to it that nothing is skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from nowbridge.replica import misfits, rows
from nowbridge.replica.labels import Labeller
from nowbridge.replica.layout import Layout
from nowbridge.replica.rows import Labels
from nowbridge.replica.spec import layout_of, target_of
from nowbridge.servicenow.wire import Page
from nowbridge.store import labels as label_store
from nowbridge.store import load, tables
from nowbridge.store.database import Connection
from nowbridge.store.load import Encoded, NotEmpty, Target, Unstorable
from nowbridge.store.tables import TableRow

AfterRows = Callable[[Connection, int], Awaitable[None]]
"""Runs in the transaction that holds the rows, with the number of rows that changed: moves the cursor."""

Write = Callable[[Connection, Encoded, int], Awaitable[int]]
"""Brings encoded rows, so many of them, into the table; returns how many changed."""


class TableLoader:
    """Loads pages into one replica table. One per table and worker."""

    def __init__(self, row: TableRow, labeller: Labeller, *, label_tables: Sequence[str] = ()) -> None:
        """`label_tables` are the tables whose references this table's records may be: itself and its ancestors."""
        self.row = row
        self.layout: Layout = layout_of(row)
        self.target: Target = target_of(row, self.layout)
        self._pointers = rows.pointers(self.layout)
        self._labeller = labeller
        self._label_tables = tuple(label_tables)

    async def load_new(self, page: Page, after: AfterRows) -> int:
        """A page of a range that was empty: COPY straight into the table. Where a row turns out to be there already
        (a change came first, a shard is read again), the page is merged instead. Returns the rows loaded.
        """
        try:
            return await self._load(page, self._copy_new, after)
        except NotEmpty:
            return await self._load(page, self._merge_backfill, after)

    async def merge_changes(self, page: Page, after: AfterRows) -> int:
        """A page of changes: newer versions are taken, with their feed entries. Returns the rows that changed."""
        return await self._load(page, self._merge_poll, after)

    async def stage(self, connection: Connection, page: Page) -> None:
        """Put a page beside the table for comparison, inside the caller's transaction, at whose end it is gone."""
        while True:
            try:
                prepared, labels = await self._prepared(page)
                async with connection.transaction():
                    await load.stage(connection, self.target, prepared)
            except (Unstorable, ValueError):
                page, found = self._without_misfits(page)
                if not found:
                    raise
                continue
            if await self._labeller.still_current(connection, labels):
                return

    async def _load(self, page: Page, write: Write, after: AfterRows) -> int:
        found: tuple[misfits.Misfit, ...] = ()
        while True:
            try:
                changed = await self._load_once(page, write, after, found)
            except (Unstorable, ValueError):
                if found:
                    raise
                page, found = self._without_misfits(page)
                if not found:
                    raise
                continue
            if changed is not None:
                return changed

    async def _load_once(
        self, page: Page, write: Write, after: AfterRows, found: Sequence[misfits.Misfit]
    ) -> int | None:
        """One try. None: labels changed while the rows were prepared, so they have to be prepared again."""
        prepared, labels = await self._prepared(page)
        async with self._labeller.database.transaction() as connection:
            if not await self._labeller.still_current(connection, labels):
                return None
            changed = await write(connection, prepared, page.rows) if page.rows else 0
            await self._remember_labels(connection, self._own_labels(page))
            await self._note(connection, found)
            await after(connection, changed)
            return changed

    async def _prepared(self, page: Page) -> tuple[Encoded, Labels]:
        """The page as COPY text, and the labels in it. Mostly they are all in memory, so that is tried first."""
        labels = await self._labeller.held()
        try:
            return await self._encoded(page, labels), labels
        except KeyError:
            columns = {name: page.column(name) for name in self._pointers if name in page.fields}
            labels = await self._labeller.words(self.layout, columns)
            return await self._encoded(page, labels), labels

    async def _encoded(self, page: Page, labels: Labels) -> Encoded:
        """In steps of some milliseconds on the event loop, so that heartbeats and answers go on. A thread would not make
        it parallel (one interpreter lock), only make the loop wait for that lock at every call into the system.
        """
        parts = []
        for part in rows.encode_page(self.layout, page, labels):
            parts.append(part)
            await asyncio.sleep(0)
        return parts

    def _without_misfits(self, page: Page) -> tuple[Page, tuple[misfits.Misfit, ...]]:
        columns, found = misfits.without_misfits(self.layout, as_columns(page))
        return Page.of(page.fields, [columns[name] for name in page.fields]), found

    def _own_labels(self, page: Page) -> dict[str, str | None]:
        display = self.layout.display
        if not self._label_tables or display is None or display not in page.fields:
            return {}
        return dict(zip(page.ids, (text or None for text in page.column(display)), strict=True))

    async def _copy_new(self, connection: Connection, prepared: Encoded, count: int) -> int:
        await load.copy_new(connection, self.target, prepared)
        return count

    async def _merge_backfill(self, connection: Connection, prepared: Encoded, count: int) -> int:
        await load.stage(connection, self.target, prepared)
        await load.merge(connection, self.target, source="backfill", now=self._labeller.clock())
        return count

    async def _merge_poll(self, connection: Connection, prepared: Encoded, count: int) -> int:
        del count
        await load.stage(connection, self.target, prepared)
        merged = await load.merge(connection, self.target, source="poll", now=self._labeller.clock())
        return merged.inserted + merged.updated

    async def _remember_labels(self, connection: Connection, records: Mapping[str, str | None]) -> None:
        for table in self._label_tables if records else ():
            await label_store.remember(
                connection, self._labeller.connection_id, table, records, now=self._labeller.clock()
            )

    async def _note(self, connection: Connection, found: Sequence[misfits.Misfit]) -> None:
        if found:
            await tables.record_misfits(
                connection,
                self.row.id,
                [(misfit.sys_id, misfit.column, misfit.problem) for misfit in found],
                now=self._labeller.clock(),
            )


def as_columns(page: Page) -> dict[str, Sequence[str]]:
    """A page as {source column: texts}."""
    return dict(zip(page.fields, page.columns, strict=True))
