"""Apply: the one way into a replica table. A page of ServiceNow's rows becomes rows, feed and cursor in one transaction.

Labels are looked up before the transaction opens; rows are encoded while Postgres takes them. The version guard in
`store.rows.load` makes replays and reordering harmless, so callers only have to see to it that nothing is skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import msgspec

from nowbridge.replica import misfits, rows
from nowbridge.replica.labels import Labeller
from nowbridge.replica.layout import Layout
from nowbridge.replica.rows import Labels
from nowbridge.replica.spec import layout_of, target_of
from nowbridge.replica.wording import Odd, WordedPage, Wording
from nowbridge.servicenow.instance import Answer
from nowbridge.servicenow.wire import ABSENT, Page, PageDecoder, answered_order
from nowbridge.store.database import Connection
from nowbridge.store.rows import classes, columns, load, tables, tombstones
from nowbridge.store.rows import labels as label_store
from nowbridge.store.rows.classes import Descendant
from nowbridge.store.rows.load import Encoded, Merged, NotEmpty, Source, Target, Unstorable
from nowbridge.store.rows.tables import TableRow
from nowbridge.store.work import hints
from nowbridge.store.writes import held_rows

AfterRows = Callable[[Connection, int], Awaitable[None]]
"""Runs in the transaction that holds the rows, with the number of rows that changed: moves the cursor."""

AfterMerge = Callable[[Connection, Merged], Awaitable[None]]
"""As AfterRows, for a merge."""

Write = Callable[[Connection, Encoded, int], Awaitable[int]]
"""Brings encoded rows, so many of them, into the table; returns how many changed."""

Attempt = Callable[[Page, Labels, Sequence[misfits.Misfit]], Awaitable[int | None]]
"""One try at a page with these labels, of which these misfits were emptied. None: the labels are no longer current."""


class TableLoader:
    """Loads pages into one replica table. One per table and worker."""

    def __init__(
        self,
        row: TableRow,
        labeller: Labeller,
        *,
        label_tables: Sequence[str] = (),
        descendants: Sequence[Descendant] = (),
        narrowed: Layout | None = None,
    ) -> None:
        """`label_tables` are the tables whose references this table's records may be: itself and its ancestors;
        `descendants` the replica tables of its classes. `narrowed`: a layout that is less than the table's.
        """
        self.row = row
        self.descendants = tuple(descendants)
        self.layout: Layout = narrowed or layout_of(row)
        self.target: Target = target_of(row, self.layout, narrowed=narrowed is not None)
        self._known_absent = self.layout.unreadable
        self._parts: dict[frozenset[str], TableLoader] = {}
        self._told: frozenset[str] = frozenset()
        self._pointers = rows.pointers(self.layout)
        self._labeller = labeller
        self._label_tables = tuple(label_tables)
        self._decoder = PageDecoder(self.layout.fetched)
        self._wording: Wording | None = None
        self._reading = asyncio.Lock()

    async def decode(self, answer: Answer) -> Page | WordedPage:
        """A page for `load_new`, of an answer whose body was not checked. Raises as `answers.check` and PageDecoder."""
        wording = await self._current_wording(answer)
        page = await self._worded(wording, answer.body) if wording else None
        if page is None:
            answer.check_body()
            return self._decoder.decode(answer.body)
        if page.unknown:
            await self._labeller.words(self.layout, {field: tuple(ids) for field, ids in page.unknown.items()})
        return page

    async def _worded(self, wording: Wording, body: bytes) -> WordedPage | None:
        """One page at a time, so that Postgres gets the first of them early."""
        display = self.layout.display if self._label_tables else None
        page = WordedPage(wording, body, filter(None, (display,)))
        async with self._reading:
            try:
                for _ in page.read():
                    await asyncio.sleep(0)  # COPY goes on, and heartbeats
            except Odd:
                return None
        return page

    async def _current_wording(self, answer: Answer) -> Wording | None:
        """None where the answer's order of fields cannot be read."""
        labels = await self._labeller.held()
        if self._wording is None or self._wording.is_stale(labels):
            try:
                fields = self._wording.fields if self._wording else answered_order(answer.body, self.layout.fetched)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return None
            self._wording = Wording(self.layout, fields, labels)
        return self._wording

    async def load_new(self, page: Page | WordedPage, after: AfterRows) -> int:
        """A page of a range that was empty: COPY straight into the table. Where a row turns out to be there already
        (a change came first, a shard is read again), the page is merged instead. Returns the rows loaded.
        """
        try:
            if isinstance(page, WordedPage):
                try:
                    return await self._load_worded(page, after)
                except (KeyError, ValueError, Unstorable):  # mended as any other page is
                    page = self._decoder.decode(page.body)
            return await self._load(page, self._copy_new, after)
        except NotEmpty:
            page = self._decoder.decode(page.body) if isinstance(page, WordedPage) else page
            *earlier, (loader, rows_of_it) = self.parts(page)
            for part, rows_of_part in earlier:
                await part.merge_loaded(rows_of_part, _nothing)
            return sum(part.rows for _, part in earlier) + await loader.merge_loaded(rows_of_it, after)

    async def merge_loaded(self, page: Page, after: AfterRows) -> int:
        """A page of the first load of which some rows are there already. Returns its rows."""
        return await self._load(page, self._merge_backfill, after)

    async def merge_changes(self, page: Page, after: AfterMerge, *, source: Source = "poll", known: int = 0) -> int:
        """A page of changes: newer versions are taken, with their feed entries. `known` is the newest tombstone before the
        rows were asked for, if that was noted. Returns the rows that changed.
        """
        merged = Merged(0, 0)
        *earlier, (loader, rows_of_it) = self.parts(page)

        async def note(connection: Connection, part: Merged) -> None:
            nonlocal merged
            del connection
            merged = merged.plus(part)

        async def then(connection: Connection, part: Merged) -> None:
            await self.note_evidence(connection, page)
            await after(connection, merged.plus(part))

        for part, rows_of_part in earlier:  # by themselves: the version guard makes repeating them harmless
            await part.merge_part(rows_of_part, note, source=source, known=known)
        changed = await loader.merge_part(rows_of_it, then, source=source, known=known)
        return merged.changed + changed

    async def merge_part(self, page: Page, after: AfterMerge, *, source: Source, known: int) -> int:
        """As `merge_changes`, of rows that lack nothing that this loader loads."""
        merged = Merged(0, 0)

        async def write(connection: Connection, encoded: Encoded, count: int) -> int:
            nonlocal merged
            del count
            await columns.require_layout(connection, self.row)
            await load.stage(connection, self.target, encoded)
            merged = await self.merge_staged(connection, source=source, known=known)
            for descendant in self.descendants:
                await classes.note_moves(connection, self.target, descendant, now=self._labeller.clock())
            return merged.changed

        async def then(connection: Connection, changed: int) -> None:
            del changed
            await after(connection, merged)

        return await self._load(page, write, then)

    async def merge_staged(
        self, connection: Connection, *, source: Source, known: int, put_back: bool = False
    ) -> Merged:
        """Merge what is staged, but for rows that SQL clients hold: those are deferred in the same transaction. Waits for
        no client. `put_back`: older versions win too.
        """
        owner, clock = self.row.connection_id, self._labeller.clock
        held = await held_rows.leave_out(connection, owner, self.target)
        await tombstones.settle(connection, self.row.id, self.target, known=known)

        async def merge() -> Merged:
            if put_back:
                await load.forget_versions(connection, self.target)
            return await load.merge(connection, self.target, source=source, now=clock(), repair=source == "verify")

        merged, locked = await held_rows.merge_free(connection, self.target, merge)
        if held or locked:
            left = sorted({*held, *locked})
            await hints.defer(connection, owner, self.row.source, left, deleted=False, now=clock())
        return merged

    def narrow(self, layout: Layout) -> TableLoader:
        """A loader of the same table that leaves the other columns alone."""
        return TableLoader(
            self.row,
            self._labeller,
            label_tables=self._label_tables,
            descendants=self.descendants,
            narrowed=layout,
        )

    def parts(self, page: Page) -> list[tuple[TableLoader, Page]]:
        """A page by what its rows lack: ServiceNow leaves out what the account may not read of a record, which must not
        pass for "was emptied". Each part with a loader that leaves the columns alone that its rows lack.
        """
        found: list[tuple[TableLoader, Page]] = []
        for fields, rows_of_it in page.by_absence():
            lacking = fields - self._known_absent
            if not lacking:
                found.append((self, rows_of_it))
                continue
            if lacking not in self._parts:
                self._parts[lacking] = self.narrow(self.layout.without(lacking))
            found.append((self._parts[lacking], rows_of_it))
        return found

    async def note_evidence(self, connection: Connection, page: Page) -> None:
        """A row that lacks a column, or has one that was not readable: have the dictionary looked at. Said once for each
        set of columns.
        """
        absent = frozenset(page.absent)
        if page.rows and absent not in (self._known_absent, self._told):
            self._told = absent
            await columns.look_again(connection, self.row, now=self._labeller.clock())

    async def fill(self, page: Page, after: AfterRows) -> int:
        """Values of this loader's columns into the rows that are held in the page's version."""
        filled = 0
        *earlier, (loader, rows_of_it) = self.parts(page)
        for part, rows_of_part in earlier:
            filled += await part.fill_part(rows_of_part, _nothing)
        return filled + await loader.fill_part(rows_of_it, after)

    async def fill_part(self, page: Page, after: AfterRows) -> int:
        """As `fill`, of rows that lack nothing that this loader loads."""
        return await self._load(page, self._fill, after)

    async def _fill(self, connection: Connection, encoded: Encoded, count: int) -> int:
        del count
        await load.stage(connection, self.target, encoded)
        return await columns.fill_rows(connection, self.target)

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

    async def _load_worded(self, page: WordedPage, after: AfterRows) -> int:
        """Raises KeyError when its words are no longer current, ValueError or Unstorable at a misfit."""
        page.settle()
        async with self._labeller.database.transaction() as connection:
            if not await self._labeller.still_current(connection, page.wording.labels):
                raise KeyError("words of another generation")
            if page.rows:
                target = replace(self.target, columns=page.wording.columns)
                await load.copy_new(connection, target, page.encoded())
            await self._remember_labels(connection, self._own_labels(page))
            await after(connection, page.rows)
        return page.rows

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

    def _own_labels(self, page: Page | WordedPage) -> dict[str, str | None]:
        display = self.layout.display
        if not self._label_tables or display is None or display not in page.fields:
            return {}
        words = zip(page.ids, page.column(display), strict=True)
        return {sys_id: text or None for sys_id, text in words if text is not ABSENT}

    async def _copy_new(self, connection: Connection, encoded: Encoded, count: int) -> int:
        await load.copy_new(connection, self.target, encoded)
        return count

    async def _merge_backfill(self, connection: Connection, encoded: Encoded, count: int) -> int:
        await load.stage(connection, self.target, encoded)
        await tombstones.settle(connection, self.row.id, self.target)
        await load.merge(connection, self.target, source="backfill", now=self._labeller.clock())
        return count

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


async def _nothing(connection: Connection, changed: int) -> None:
    del connection, changed


def as_columns(page: Page) -> dict[str, Sequence[str]]:
    """A page as {source column: texts}."""
    return dict(zip(page.fields, page.columns, strict=True))
