"""Deletes: rows that were named as deleted are looked at, and only what is certainly gone is removed.

Two sources name rows: the instance's journal (`read_journal`), and a listing of keys that lacks them
(`replica.verify`, `replica.keys`). Both end in `settle`. The rules are in `replica.deletion_rules`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nowbridge.replica import deletion_rules as rules
from nowbridge.replica.apply import TableLoader
from nowbridge.replica.deletion_rules import Hold, Look, Sorted
from nowbridge.replica.layout import Role
from nowbridge.replica.spec import Clock
from nowbridge.servicenow import audit
from nowbridge.servicenow import query as queries
from nowbridge.servicenow import tables as source
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.pages import PageRequest
from nowbridge.servicenow.wire import PageDecoder
from nowbridge.store.database import Connection, Database
from nowbridge.store.rows import classes, tables, tombstones
from nowbridge.store.work import duties, hints, watches
from nowbridge.store.work.duties import DutyLease
from nowbridge.store.work.watches import Watch
from nowbridge.store.writes import held_rows

OVERLAP = timedelta(minutes=2)  # of one reading of the journal over the last: transactions commit late
HORIZON_AFTER = timedelta(minutes=10)  # without a look at the journal: it may have been pruned meanwhile
CLASSES_KEPT = timedelta(hours=1)
TRICKLING = ("hint", "audit")  # what names deletes as they come
BEFORE_ADDED = timedelta(hours=1)  # the instance's clock against ours


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of rows that were named as deleted. `gone` are certainly not in ServiceNow any more, `removed` those
    that were removed here; `unseen` exist and are not shown. `held` says why nothing was removed.
    """

    gone: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    held: Hold | None = None
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Named:
    """Rows that something named as deleted. `by` is what the feed says of it. `listed` is the prefix of the ids that a
    listing of keys covered: only a listing knows which rows are out of sight. "" is the whole table; None: no listing.
    """

    sys_ids: Collection[str]
    by: str
    listed: str | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """Sorted rows of a table of `rows`, the instance's time of the proof by sys_id, and why nothing may be removed."""

    looked: Sorted
    times: dict[str, datetime]
    held: Hold | None
    rows: int


@dataclass(slots=True)
class Deletes:
    """Deletes of one connection's tables."""

    database: Database
    instance: Instance
    clock: Clock
    _classes: dict[int, tuple[datetime, tuple[str, ...]]] = field(default_factory=dict)

    async def settle(
        self, loader: TableLoader, named: Named, *, remove: bool = True, lease: DutyLease | None = None
    ) -> Settled:
        """Look at the rows that were named; with `remove`, remove those that are gone, or hold them and say why.
        Raises LostLease when `lease` no longer stands.
        """
        table_id = loader.row.id
        async with self.database.transaction() as connection:
            watch = await watches.load(connection, table_id)
            rows = await tables.count_rows(connection, loader.row.relation) if named.sys_ids else 0
            known = await watches.invisible_among(connection, table_id, named.sys_ids)
            trickled = await self._trickled(connection, table_id, named)
        most = rules.limits(rows, watch.allowed if named.listed == "" else None, trickled)
        looked, times, calls = await self.look_at(loader, named.sys_ids, known, most)
        newly = len(set(looked.unseen) - known)
        held = rules.why_held(len(looked.gone), newly, most)
        if not remove:
            return Settled(looked.gone, looked.unseen, held=held, calls=calls)
        async with self.database.transaction() as connection:
            if lease is not None:
                await duties.require(connection, lease)
            removed = await self._carry_out(connection, loader, named, _Found(looked, times, held, rows), watch)
        if held is None and watch.held is not None and named.listed != "":
            held = Hold[str(watch.held["reason"]).upper()]
        return Settled(looked.gone, looked.unseen, tuple(removed), held, calls)

    async def _trickled(self, connection: Connection, table_id: int, named: Named) -> int | None:
        """The rows that passes which see a few deletes at a time have removed lately; None for a listing, which sees all."""
        if named.listed is not None or not named.sys_ids:
            return None
        return await tombstones.count(connection, table_id, TRICKLING, since=self.clock() - rules.WINDOW)

    async def read_journal(self, lease: DutyLease, loader: TableLoader) -> Settled:
        """Delete what the journal says was deleted since it was last read. Where it cannot be read, this says so and
        leaves the work to the comparison of keys.
        """
        table_id = loader.row.id
        async with self.database.transaction() as connection:
            watch = await watches.load(connection, table_id)
            added = await watches.added_at(connection, table_id)
        to = (await self.instance.server_now()).replace(microsecond=0)
        calls = await self._look_at_horizon(table_id, watch, to)
        since = (watch.journal_to or added - BEFORE_ADDED) - OVERLAP
        journal = await audit.deletions(self.instance, await self._classes_of(loader, to), since, to)
        async with self.database.transaction() as connection:
            held_here = await tombstones.held_here(connection, loader.target, journal.sys_ids)
        settled = await self.settle(loader, Named(held_here, "audit"), lease=lease)
        async with self.database.transaction() as connection:
            await duties.require(connection, lease)
            if journal.readable != "unreadable" and settled.held is None:
                await watches.read_journal(connection, table_id, journal=journal.readable, to=to)
            elif journal.readable == "unreadable":
                await watches.asked_horizon(connection, table_id, journal="unreadable", now=self.clock())
        return Settled(
            settled.gone, settled.unseen, settled.removed, settled.held, settled.calls + journal.calls + calls
        )

    async def settle_moved(self, lease: DutyLease, loader: TableLoader) -> Settled:
        """Look at rows whose class has changed, and remove those that are no longer of this table. They are not deleted
        in ServiceNow: they are in the table of their new class, and in the parent's.
        """
        async with self.database.transaction() as connection:
            moved = await classes.moved(connection, lease.table_id)
        settled = await self.settle(loader, Named(moved, "reclassified"), lease=lease)
        async with self.database.transaction() as connection:
            await duties.require(connection, lease)
            if settled.held is None:
                await classes.settled(connection, lease.table_id, moved)
        return settled

    async def look_at(
        self, loader: TableLoader, sys_ids: Collection[str], known: Collection[str], most: rules.Limits
    ) -> tuple[Sorted, dict[str, datetime], int]:
        """Rows that were named, sorted by what the instance says of each; the instance's time of that by sys_id; the calls
        that it took. `known` were out of sight before.
        """
        sorting = rules.sort_out(list(sys_ids), known, most)
        decoder = PageDecoder(("sys_id",))
        base = queries.lasting(queries.parse(loader.row.query))
        times: dict[str, datetime] = {}
        calls = 0
        try:
            ids = next(sorting)
            while True:
                query = base.where(queries.one_of("sys_id", ids)).text
                request = PageRequest(query, rules.AT_ONCE, with_count=True)
                answer = await source.read_page(self.instance, loader.row.source, request, ("sys_id",))
                calls += 1
                counted = source.required_count(answer, loader.row.source)
                times |= dict.fromkeys(ids, answer.server_time)
                ids = sorting.send(Look(frozenset(decoder.decode(answer.body).ids), counted))
        except StopIteration as done:
            looked: Sorted = done.value
            return looked, times, calls

    async def _carry_out(
        self, connection: Connection, loader: TableLoader, named: Named, found: _Found, watch: Watch
    ) -> list[str]:
        """Remove what is gone, in the caller's transaction, unless something holds it. A hold is lifted by a listing of
        the whole table that finds no reason for it, and by nothing else.
        """
        table_id, looked = loader.row.id, found.looked
        if found.held is not None:
            why = {
                "reason": found.held.name.lower(),
                "wanted": len(looked.gone) if looked.complete else len(named.sys_ids),
                "invisible": len(looked.unseen),
                "rows": found.rows,
                "since": self.clock().isoformat(timespec="seconds"),
            }
            await watches.hold(connection, table_id, why)
            return []
        if watch.held is not None:
            if named.listed != "":
                return []
            await watches.hold(connection, table_id, None)
        if named.listed is not None:
            await watches.note_invisible(connection, table_id, looked.unseen, prefix=named.listed, now=self.clock())
        if named.listed == "":
            await watches.compared(connection, table_id, now=self.clock())
        if not looked.gone:
            return []
        held = await self._defer_held(connection, loader, looked.gone)
        gone = {sys_id: found.times[sys_id] for sys_id in looked.gone if sys_id not in held}
        return await tombstones.bury(connection, table_id, loader.target, gone, source=named.by, now=self.clock())

    async def _defer_held(self, connection: Connection, loader: TableLoader, gone: Collection[str]) -> set[str]:
        """Of rows that are to be removed: those that a SQL client holds. They are looked at again later."""
        row = loader.row
        if not await held_rows.writable(connection):
            return set()
        held = await held_rows.lock_free(connection, row.connection_id, loader.target, list(gone))
        if held:
            await hints.defer(connection, row.connection_id, row.source, held, deleted=True, now=self.clock())
        return set(held)

    async def _look_at_horizon(self, table_id: int, watch: Watch, to: datetime) -> int:
        """When the journal was not read for a while: if its oldest entry is younger than that, entries may have been
        pruned unread, and the keys have to be compared. Returns the calls made.
        """
        if watch.journal_to is not None and to - watch.journal_to <= HORIZON_AFTER:
            return 0
        found = await audit.horizon(self.instance)
        async with self.database.transaction() as connection:
            await watches.asked_horizon(connection, table_id, journal=found.readable, now=self.clock())
            if watch.journal_to is not None and (found.oldest is None or found.oldest > watch.journal_to):
                await duties.bring_forward(connection, table_id, "compare", now=self.clock())
        return 1

    async def _classes_of(self, loader: TableLoader, at: datetime) -> tuple[str, ...]:
        """The table's classes, as the instance tells them and as the replica's rows have them."""
        kept = self._classes.get(loader.row.id)
        if kept is not None and at - kept[0] < CLASSES_KEPT:
            return kept[1]
        told = await audit.class_tree(self.instance, loader.row.source)
        held: list[str] = []
        column = class_column(loader)
        if column is not None:
            async with self.database.transaction() as connection:
                held = await watches.classes_held(connection, loader.row.relation, column)
        classes = tuple(dict.fromkeys((*told, *held)))
        self._classes[loader.row.id] = (at, classes)
        return classes


def class_column(loader: TableLoader) -> str | None:
    """The replica's column that holds the class of a record, if it has one."""
    columns = (c for c in loader.layout.loaded if c.role is Role.VALUE and c.source == "sys_class_name")
    return next((column.name for column in columns), None)
