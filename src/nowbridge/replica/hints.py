"""Hints: the records that the instance named are read back, a hundred in a call, and go through the one `apply`.

A hint is believed in nothing but that something happened. The record is read; a version older than the one that was
hinted is taken too, and the hint is tried again until its version is here, whoever brought it, because an instance
may tell before it shows (another node, a late commit). A record that does not come is no deleted record: only a
deletion that was hinted is looked into, by `replica.deletes`, which removes what certainly is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from nowbridge.model.errors import LostLease, NowbridgeError, Park, Retry, Stop
from nowbridge.replica import deletion_rules as rules
from nowbridge.replica.apply import TableLoader
from nowbridge.replica.deletes import Deletes, Named
from nowbridge.replica.spec import Clock
from nowbridge.replica.versions import Seen, versions_of
from nowbridge.servicenow import query as queries
from nowbridge.servicenow import schema
from nowbridge.servicenow import tables as source
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.pages import PageRequest
from nowbridge.servicenow.wire import PageDecoder
from nowbridge.store.database import Connection, Database
from nowbridge.store.rows import tables, tombstones
from nowbridge.store.rows.load import Merged
from nowbridge.store.rows.tables import TableRow
from nowbridge.store.work import hints, loss
from nowbridge.store.work.hints import Hint
from nowbridge.store.work.leases import Holder

AT_ONCE = 400  # hints that are taken up together
FIRST_WAIT = timedelta(seconds=0.25)
LONGEST_WAIT = timedelta(seconds=30)
GIVEN_UP_AFTER = timedelta(minutes=10)  # longer than a transaction may take; then the drift pass and verify are left
FEW_TRIES = 4  # where there may be nothing to wait for
LINEAGES_KEPT = timedelta(hours=1)


class Verdict(Enum):
    """What became of a hint. The values are stored."""

    SEEN = "seen"
    GONE = "gone"
    HIDDEN = "hidden"
    KEPT = "kept"
    FOREIGN = "foreign"
    NOT_SEEN = "not seen"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class HintPass:
    """What one round did: hints taken up, rows that changed or were removed, hints that are tried again."""

    hints: int
    changed: int = 0
    removed: int = 0
    put_off: int = 0
    error: NowbridgeError | None = None


@dataclass(slots=True)
class _Round:
    """The hints of one round and what was found, for each the least that any of its tables says."""

    verdicts: dict[int, Verdict] = field(default_factory=dict)
    unread: set[int] = field(default_factory=set)  # nobody could look at these
    changed: int = 0
    removed: int = 0
    error: NowbridgeError | None = None

    def say(self, hint: Hint, verdict: Verdict) -> None:
        said = self.verdicts.get(hint.id)
        if said is None or verdict is Verdict.LATER or (said is not Verdict.LATER and verdict is Verdict.SEEN):
            self.verdicts[hint.id] = verdict


@dataclass(slots=True)
class HintReader:
    """Reads back what was hinted of one connection's records, as one worker does it."""

    database: Database
    instance: Instance
    connection_id: int
    holder: Holder
    clock: Clock
    deletes: Deletes
    loader_of: Callable[[int], Awaitable[TableLoader]]
    _lineages: dict[str, tuple[datetime, tuple[str, ...]]] = field(default_factory=dict)

    async def read_due(self) -> HintPass | None:
        """One round: the hints that are due. None when none is."""
        async with self.database.transaction() as connection:
            taken = await hints.claim(
                connection, self.connection_id, lease=self.holder.lease, now=self.clock(), limit=AT_ONCE
            )
        if not taken:
            return None
        try:
            return await self._read(taken)
        except (asyncio.CancelledError, NowbridgeError):
            async with self.database.transaction() as connection:
                await hints.release(connection, taken)
            raise

    async def _read(self, taken: Sequence[Hint]) -> HintPass:
        found = _Round()
        by_table: dict[int, list[Hint]] = {}
        live, named = await self._live()
        for hint in taken:
            concerned = await self._concerned(hint, live)
            if not concerned:
                paused = hint.deferred and hint.told.table in named
                found.say(hint, Verdict.LATER if paused else Verdict.FOREIGN)
                found.unread.add(hint.id)
            for table_id in concerned:
                by_table.setdefault(table_id, []).append(hint)
        await asyncio.gather(
            *(
                self._read_some(table_id, some[start : start + source.MOST_IDS], found)
                for table_id, some in by_table.items()
                for start in range(0, len(some), source.MOST_IDS)
            )
        )
        return await self._settle_round(taken, found)

    async def _settle_round(self, taken: Sequence[Hint], found: _Round) -> HintPass:
        now = self.clock()
        done: list[tuple[Hint, str]] = []
        again: list[tuple[Hint, datetime]] = []
        for hint in taken:
            verdict = found.verdicts[hint.id]
            if verdict is not Verdict.LATER:
                done.append((hint, verdict.value))
            elif now - hint.received_at > GIVEN_UP_AFTER and not (hint.deferred and hint.id in found.unread):
                done.append((hint, Verdict.NOT_SEEN.value))
            else:
                again.append((hint, now + _wait(hint.tries, found.error)))
        async with self.database.transaction() as connection:
            if done:
                await hints.done(connection, done, now=now)
            if again:
                await hints.put_off(connection, again)
        return HintPass(len(taken), found.changed, found.removed, len(again), found.error)

    async def _read_some(self, table_id: int, some: Sequence[Hint], found: _Round) -> None:
        """Up to a hundred records of one table. What cannot be read now is tried again with the others' errors apart."""
        try:
            loader = await self.loader_of(table_id)
            await self._read_back(loader, some, found)
        except LostLease:
            raise
        except (Retry, Stop, Park) as error:
            found.error = error
            for hint in some:
                found.say(hint, Verdict.LATER)
                found.unread.add(hint.id)

    async def _read_back(self, loader: TableLoader, some: Sequence[Hint], found: _Round) -> None:
        async with self.database.transaction() as connection:
            known = await tombstones.newest(connection)
        ids = sorted({hint.told.sys_id for hint in some})
        query = queries.parse(loader.row.query).where(queries.one_of("sys_id", ids)).text
        request = PageRequest(query, source.MOST_IDS, with_count=True)
        fields = loader.layout.fetched
        answer = await source.read_page(self.instance, loader.row.source, request, fields)
        page = PageDecoder(fields).decode(answer.body)

        async def count(connection: Connection, merged: Merged) -> None:
            await loss.hinted(connection, loader.row.id, merged.changed, now=self.clock())

        if page.rows:
            changed = await loader.merge_changes(page, count, source="hint", known=known)
            found.changed += changed  # not in one line: others add to it while this waits
        shown = versions_of(page)
        for hint in some:
            if (version := shown.get(hint.told.sys_id)) is not None:
                found.say(hint, _judge_shown(hint, version))
        absent = [hint for hint in some if hint.told.sys_id not in shown]
        if absent:
            counted = source.required_count(answer, loader.row.source)
            await self._look_for(loader, absent, counted - page.rows, found)

    async def _look_for(self, loader: TableLoader, absent: Sequence[Hint], left: int, found: _Round) -> None:
        """Records that did not come, of which `left` are counted all the same."""
        deleted = [hint for hint in absent if hint.told.deleted]
        others = [hint for hint in absent if not hint.told.deleted]
        if deleted:
            await self._look_into_deletions(loader, deleted, found)
        hidden = await self._hidden(loader, others, left if not deleted else None)
        for hint in others:
            if hint.told.sys_id in hidden:
                found.say(hint, Verdict.HIDDEN)
            elif await self._is_waited_for(loader, hint):
                found.say(hint, Verdict.LATER)
            else:
                found.say(hint, Verdict.NOT_SEEN)

    async def _look_into_deletions(self, loader: TableLoader, deleted: Sequence[Hint], found: _Round) -> None:
        named = [hint.told.sys_id for hint in deleted]
        async with self.database.transaction() as connection:
            held_here = await tombstones.held_here(connection, loader.target, named)
        settled = await self.deletes.settle(loader, Named(held_here, "hint"))
        found.removed += len(settled.removed)
        for hint in deleted:
            sys_id = hint.told.sys_id
            kept = sys_id in held_here and sys_id not in settled.removed
            found.say(hint, Verdict.KEPT if kept else Verdict.GONE)

    async def _hidden(self, loader: TableLoader, absent: Sequence[Hint], left: int | None) -> frozenset[str]:
        """Those that exist and are not shown to the account. `left` of them count, None: not known."""
        ids = [hint.told.sys_id for hint in absent]
        if not ids or left == 0:
            return frozenset()
        if left is not None and left >= len(ids):
            return frozenset(ids)
        most = rules.Limits(gone=len(ids), unseen=len(ids))
        looked, _, _ = await self.deletes.look_at(loader, ids, (), most)
        return frozenset(looked.unseen)

    async def _is_waited_for(self, loader: TableLoader, hint: Hint) -> bool:
        """A record that is told of and does not exist (yet) in the table's filter, or at all."""
        if loader.row.query or loader.row.source not in await self._lineage(hint):
            return hint.tries < FEW_TRIES
        return True

    async def _live(self) -> tuple[list[TableRow], set[str]]:
        """The tables that are followed, and the names of all."""
        async with self.database.transaction() as connection:
            opened = await hints.open_tables(connection, self.connection_id)
            every = await tables.all_of(connection, self.connection_id)
        return [row for row in every if row.id in opened], {row.source for row in every}

    async def _concerned(self, hint: Hint, live: Sequence[TableRow]) -> list[int]:
        """The replicated tables that the record stands in: its class, and that class's ancestors."""
        own = {row.source: row for row in live}
        lineage = own[hint.told.table].layout.get("ancestors", ()) if hint.told.table in own else None
        if lineage is not None:
            names = (hint.told.table, *lineage)
        else:
            names = await self._lineage(hint)
        return [own[name].id for name in names if name in own]

    async def _lineage(self, hint: Hint) -> tuple[str, ...]:
        """The record's class and its ancestors, as far as the account may know them; the table whose rule told is one."""
        name, now = hint.told.table, self.clock()
        held = self._lineages.get(name)
        if held is None or now - held[0] > LINEAGES_KEPT:
            held = self._lineages[name] = (now, await schema.lineage(self.instance, name))
        return tuple(dict.fromkeys((*held[1], hint.told.rule_table)))


def _judge_shown(hint: Hint, version: Seen) -> Verdict:
    """The row that came was taken; is it what the hint told of?"""
    told = hint.told
    count, moment = version
    older = (told.mod_count is not None and count is not None and count < told.mod_count) or (
        told.updated_on is not None and moment is not None and moment < told.updated_on and count == told.mod_count
    )
    if older:
        return Verdict.LATER
    if told.deleted and count == told.mod_count and hint.tries < FEW_TRIES:
        return Verdict.LATER  # its deletion may not be visible yet; if it is not deleted at all, that is the end of it
    return Verdict.SEEN


def _wait(tries: int, error: NowbridgeError | None) -> timedelta:
    factor: int = 2 ** min(tries, 10)
    doubled = min(LONGEST_WAIT, FIRST_WAIT * factor)
    if isinstance(error, Retry) and error.after is not None:
        return max(doubled, timedelta(seconds=error.after))
    return doubled
