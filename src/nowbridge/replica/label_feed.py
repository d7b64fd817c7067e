"""The label feed: words follow renames where the renamed records are not replicated themselves, and where choices change.

Each referenced table is followed like a change stream of two columns, at a pace of its own: a table in which nothing is
renamed is asked ever more seldom. A table that is replicated whole needs none of this, its rows bring their labels.
Choices are asked for by one call that tells whether any has changed. Where the account may not read `sys_choice`, words
are learned from the rows: the Aggregate API shows each value that occurs together with what people read for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from nowbridge.model.errors import LostLease, NowbridgeError, Park, Retry, Stop
from nowbridge.replica.labels import Labeller, choice_columns, choice_tables, effective_choices, list_labels
from nowbridge.replica.layout import LabelKind, Layout
from nowbridge.replica.spec import Clock, Pace, layout_of
from nowbridge.servicenow import aggregates, schema
from nowbridge.servicenow import tables as source
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.pages import ChangeSweep, Cursor
from nowbridge.servicenow.query import EVERYTHING
from nowbridge.servicenow.wire import ABSENT, Page, PageDecoder
from nowbridge.store.database import Connection, Database
from nowbridge.store.rows import columns, tables
from nowbridge.store.rows import labels as store
from nowbridge.store.rows.labels import CHOICES, ChoiceRow, SourceLease
from nowbridge.store.work.leases import Holder

PAGE = 2_000
LOOK_BACK = timedelta(days=1)  # of a table that was never followed
WHOLE = timedelta(days=1)  # between two readings of choices that say they have not changed


@dataclass(frozen=True, slots=True)
class Followed:
    """What one look at one table did: records or choices with other words than before."""

    table: str
    renamed: int = 0
    calls: int = 0
    error: NowbridgeError | None = None


@dataclass(frozen=True, slots=True)
class LabelFeed:
    """The words of one connection, as one worker follows them."""

    database: Database
    instance: Instance
    connection_id: int
    holder: Holder
    pace: Pace
    clock: Clock
    labeller: Labeller

    async def prepare(self, layouts: Sequence[Layout]) -> None:
        """Learn the words that rows of these layouts need, and follow them from now on."""
        start = (await self.instance.server_now()).replace(microsecond=0) - self.pace.safety_lag
        sources = [column.labels for layout in layouts for column in layout.columns if column.labels is not None]
        referenced = sorted({s.table for s in sources if s.kind is not LabelKind.CHOICE})
        displays = await schema.displays(self.instance, referenced)
        choices = await self._read_choices(layouts)
        async with self.database.transaction() as connection:
            for table in referenced:
                found = store.LabelSource(table, displays.get(table))
                await store.add_source(connection, self.connection_id, found, start=start, now=self.clock())
            await store.add_source(
                connection, self.connection_id, store.LabelSource(CHOICES, None), start=start, now=self.clock()
            )
            covered = choice_columns(layouts)
            await store.replace_choices(connection, self.connection_id, covered, choices, now=self.clock())
            unlisted = await store.sources(connection, self.connection_id, unlisted=True)
        self.labeller.forget()
        for label_source in unlisted:
            await list_labels(self.labeller, label_source)

    async def follow_next(self) -> Followed | None:
        """Look once for renames in the table that has been due for longest; None when none is. What cannot be read is
        noted and tried again after the longest wait.
        """
        async with self.database.transaction() as connection:
            lease = await store.claim_source(connection, self.connection_id, self.holder, now=self.clock())
        if lease is None:
            return None
        try:
            done = await (self._follow_choices(lease) if lease.table == CHOICES else self._follow_records(lease))
        except LostLease as lost:
            return Followed(lease.table, error=lost)
        except (Retry, Stop, Park) as error:
            async with self.database.transaction() as connection:
                said = tables.described(error)
                wait = self.pace.labels_at_most if isinstance(error, Stop) else self.pace.labels
                await store.finish_source(connection, lease, every=wait, error=said, now=self.clock())
            return Followed(lease.table, error=error)
        doubled = min((lease.every or self.pace.labels) * 2, self.pace.labels_at_most)
        every = self.pace.labels if done.renamed or lease.every is None else doubled
        async with self.database.transaction() as connection:
            await store.finish_source(connection, lease, every=every, error=None, now=self.clock())
        return done

    async def _follow_records(self, lease: SourceLease) -> Followed:
        server_now = (await self.instance.server_now()).replace(microsecond=0)
        begin = lease.cursor_time or server_now - LOOK_BACK
        upto = max(begin, server_now - self.pace.safety_lag)
        sweep = ChangeSweep(EVERYTHING, Cursor(begin, lease.cursor_id), upto, PAGE)
        fields = tuple(dict.fromkeys(("sys_id", lease.display or "sys_id", "sys_updated_on")))
        decoder = PageDecoder(fields)
        renamed = calls = 0
        while (request := sweep.next_request()) is not None:
            answer = await source.read_page(self.instance, lease.table, request, fields)
            page = decoder.decode(answer.body)
            last = page.column("sys_updated_on")[-1] if page.rows else None
            sweep.received(page.ids, last, page.rows, answer.total_count)
            calls += 1
            async with self.database.transaction() as connection:
                renamed += await self._remember(connection, lease, page)
                await store.advance_source(connection, lease, sweep.cursor.time, sweep.cursor.sys_id)
        return Followed(lease.table, renamed, calls)

    async def _remember(self, connection: Connection, lease: SourceLease, page: Page) -> int:
        """The labels that are known already, and of a listed table new ones too."""
        shown = zip(page.ids, page.column(lease.display or "sys_id"), strict=True)
        words: dict[str, str | None] = {sys_id: text or None for sys_id, text in shown if text is not ABSENT}
        if not lease.listed:
            known = await store.known(connection, self.connection_id, lease.table, list(words))
            words = {sys_id: text for sys_id, text in words.items() if sys_id in known}
        return await store.remember(connection, self.connection_id, lease.table, words, now=self.clock())

    async def _follow_choices(self, lease: SourceLease) -> Followed:
        del lease
        async with self.database.transaction() as connection:
            layouts = [layout_of(row) for row in await tables.all_of(connection, self.connection_id)]
            seen = await columns.seen(connection, self.connection_id, "choices")
        names = choice_tables(layouts)
        if not names:
            return Followed(CHOICES)
        state = await schema.state_of_choices(self.instance, names)
        if state and seen is not None and seen[0] == state and self.clock() - seen[1] < WHOLE:
            return Followed(CHOICES, calls=1)
        choices = await self._read_choices(layouts)
        async with self.database.transaction() as connection:
            changed = await store.replace_choices(
                connection, self.connection_id, choice_columns(layouts), choices, now=self.clock(), queue=True
            )
            await columns.note_seen(connection, self.connection_id, "choices", state or "", now=self.clock())
        return Followed(CHOICES, changed, calls=2)

    async def _read_choices(self, layouts: Sequence[Layout]) -> list[ChoiceRow]:
        try:
            found = await schema.choices(self.instance, choice_tables(layouts))
        except Stop as refused:
            if not refused.code.startswith("rights."):
                raise
            return await self._learn_choices(layouts)
        return [ChoiceRow(*row) for row in effective_choices(layouts, found)]

    async def _learn_choices(self, layouts: Sequence[Layout]) -> list[ChoiceRow]:
        """One call for each choice column: what occurs, and what people read for it."""
        learned: dict[tuple[str, str, str], ChoiceRow] = {}
        for layout in layouts:
            for column in layout.loaded:
                words = column.labels
                if words is None or words.kind is not LabelKind.CHOICE:
                    continue
                try:
                    shown = await aggregates.displayed(self.instance, layout.table, EVERYTHING, column.source)
                except (Stop, Park):  # not even that: the values stand for themselves
                    continue
                for value, label in shown.items():
                    row = ChoiceRow(words.table, words.column, "", value, label, learned=True)
                    learned.setdefault((words.table, words.column, value), row)
        return list(learned.values())
