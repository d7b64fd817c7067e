"""Apply: the one way into a replica table. A page of ServiceNow's rows becomes rows, feed and cursor in one transaction.

Labels are looked up before the transaction opens; rows are encoded while Postgres takes them. The version guard in
`store.load` makes replays and reordering harmless, so callers only have to see to it that nothing is skipped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from nowbridge.replica import misfits, rows
from nowbridge.replica.labels import Labeller
from nowbridge.replica.layout import Layout
from nowbridge.replica.rows import Labels
from nowbridge.replica.spec import layout_of, target_of
from nowbridge.servicenow.wire import Page
from nowbridge.store import labels as label_store
from nowbridge.store import load, tables, tombstones
from nowbridge.store.database import Connection
from nowbridge.store.load import Encoded, NotEmpty, Target, Unstorable
from nowbridge.store.tables import TableRow

AfterRows = Callable[[Connection, int], Awaitable[None]]
"""Runs in the transaction that holds the rows, with the number of rows that changed: moves the cursor."""

Write = Callable[[Connection, Encoded, int], Awaitable[int]]
"""Brings encoded rows, so many of them, into the table; returns how many changed."""

Attempt = Callable[[Page, Labels, Sequence[misfits.Misfit]], Awaitable[int | None]]
"""One try at a page with these labels, of which these misfits were emptied. None: the labels are no longer current."""


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

        async def attempt(page: Page, labels: Labels, found: Sequence[misfits.Misfit]) -> int | None:
            del found
            async with connection.transaction():
                await load.stage(connection, self.target, rows.encode_page(self.layout, page, labels))
            return page.rows if await self._labeller.still_current(connection, labels) else None

        await self._mended(page, attempt)

    async def _load(self, page: Page, write: Write, after: AfterRows) -> int:
        async def attempt(page: Page, labels: Labels, found: Sequence[misfits.Misfit]) -> int | None:
            async with self._labeller.database.transaction() as connection:
                if not await self._labeller.still_current(connection, labels):
                    return None
                encoded = rows.encode_page(self.layout, page, labels)
                changed = await write(connection, encoded, page.rows) if page.rows else 0
                await self._remember_labels(connection, self._own_labels(page))
                await self._note(connection, found)
                await after(connection, changed)
                return changed

        return await self._mended(page, attempt)

    async def _mended(self, page: Page, attempt: Attempt) -> int:
        """Attempt until it works, mending what it failed on: records whose labels are not in memory (mostly all are,
        so that is tried first), labels that were renamed meanwhile, values that do not fit their columns.
        """
        found: tuple[misfits.Misfit, ...] = ()
        complete: Labels | None = None
        labels = await self._labeller.held()
        while True:
            try:
                done = await attempt(page, labels, found)
            except KeyError:
                if labels is complete:
                    raise
                labels = complete = await self._labeller.words(self.layout, self._pointing(page))
                continue
            except (Unstorable, ValueError):
                if found:
                    raise
                page, found = self._without_misfits(page)
                if not found:
                    raise
                continue
            if done is not None:
                return done
            labels = await self._labeller.held()

    def _pointing(self, page: Page) -> dict[str, Sequence[str]]:
        return {name: page.column(name) for name in self._pointers if name in page.fields}

    def _without_misfits(self, page: Page) -> tuple[Page, tuple[misfits.Misfit, ...]]:
        columns, found = misfits.without_misfits(self.layout, as_columns(page))
        return Page.of(page.fields, [columns[name] for name in page.fields]), found

    def _own_labels(self, page: Page) -> dict[str, str | None]:
        display = self.layout.display
        if not self._label_tables or display is None or display not in page.fields:
            return {}
        return dict(zip(page.ids, (text or None for text in page.column(display)), strict=True))

    async def _copy_new(self, connection: Connection, encoded: Encoded, count: int) -> int:
        await load.copy_new(connection, self.target, encoded)
        return count

    async def _merge_backfill(self, connection: Connection, encoded: Encoded, count: int) -> int:
        await load.stage(connection, self.target, encoded)
        await tombstones.settle(connection, self.row.id, self.target)
        await load.merge(connection, self.target, source="backfill", now=self._labeller.clock())
        return count

    async def _merge_poll(self, connection: Connection, encoded: Encoded, count: int) -> int:
        del count
        await load.stage(connection, self.target, encoded)
        await tombstones.settle(connection, self.row.id, self.target)
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
