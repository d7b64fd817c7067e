"""Evolve: the replica's columns follow the source's, by the contract of the table, and nothing is taken from its users.

*evolve*: new columns appear, changed ones get a second one beside them. *freeze*: any of that stops the table until
somebody has looked. *discard*: new columns are left out. What has changed is decided in `replica.drift`.

The dictionary is asked often and read seldom: one call tells how many entries a table has and when the last one
changed. It is read when that has moved, when rows lacked a column, and once a day.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from nowbridge.model.errors import Retry, Stop
from nowbridge.replica import drift
from nowbridge.replica.apply import TableLoader
from nowbridge.replica.drift import Change, Kind, Terms
from nowbridge.replica.layout import ColumnState, LabelKind, Layout, Role, Selection, check_selection, plan_layout
from nowbridge.replica.spec import Clock, layout_of
from nowbridge.servicenow import query as queries
from nowbridge.servicenow import schema
from nowbridge.servicenow import tables as source
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.pages import PageRequest
from nowbridge.servicenow.wire import ABSENT, PageDecoder
from nowbridge.store import ddl
from nowbridge.store.database import Connection, Database
from nowbridge.store.ddl import ColumnDefinition
from nowbridge.store.rows import columns, labels
from nowbridge.store.rows.columns import StateRow
from nowbridge.store.rows.tables import TableRow
from nowbridge.store.work import duties
from nowbridge.store.work.duties import DutyLease

WHOLE = timedelta(days=1)  # between two readings of a dictionary that says it has not changed
SAMPLE = 50  # rows that show what the account may read
WAITS = (0.2, 0.4, 0.8, 1.6, 3.2)  # seconds between tries to get a table for the moment that DDL takes

PrepareLabels = Callable[[Sequence[Layout]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at the dictionary led to."""

    changes: tuple[Change, ...] = ()
    calls: int = 1


@dataclass(frozen=True, slots=True)
class Evolver:
    """Looks at the columns of one connection's tables."""

    database: Database
    instance: Instance
    clock: Clock
    sleep: Callable[[float], Awaitable[None]]
    prepare_labels: PrepareLabels

    async def look(self, lease: DutyLease, loader: TableLoader) -> Looked:
        """Compare a table's columns with the source's and do what its contract says. Raises what reading raises, Retry
        `schema.busy` where the table cannot be had for a moment, LostLease.
        """
        row, layout = loader.row, loader.layout
        probe = await schema.state_of_columns(self.instance, (layout.table, *layout.ancestors))
        async with self.database.transaction() as connection:
            stopped = await columns.stopped(connection, row.id)
            seen = await columns.seen(connection, row.connection_id, _subject(row))
        settled = probe and stopped is None and not layout.unreadable
        if settled and seen is not None and probe == seen[0] and self.clock() - seen[1] < WHOLE:
            return Looked()
        table = (await schema.discover(self.instance, [row.source]))[row.source]
        selection = msgspec.convert(row.selection, Selection)
        planned = plan_layout(table, selection)
        unreadable = await self._unreadable(loader, planned)
        terms = Terms(selection, beside=row.contract != "discard")
        changes = drift.compare(layout, planned, terms, unreadable)
        await self._follow(lease, loader, planned, changes, stopped)
        async with self.database.transaction() as connection:
            await columns.note_seen(connection, row.connection_id, _subject(row), probe or "", now=self.clock())
        return Looked(tuple(change for change in changes if change.kind is not Kind.REWORDED), calls=5)

    async def _follow(
        self,
        lease: DutyLease,
        loader: TableLoader,
        planned: Layout,
        changes: Sequence[Change],
        stopped: dict[str, Any] | None,
    ) -> None:
        row, layout = loader.row, loader.layout
        accepted = bool(stopped and stopped.get("accepted"))
        drifted = [change for change in changes if change.kind in drift.DRIFT]
        if row.contract == "freeze" and drifted and not accepted:
            if stopped is None:
                async with self.database.transaction() as connection:
                    await duties.require(connection, lease)
                    await columns.stop(connection, row.id, frozen(row, drifted))
            return
        ignored = [change for change in changes if change.kind is Kind.NEW] if row.contract == "discard" else []
        taken = [change for change in changes if change not in ignored]
        terms = Terms(msgspec.convert(row.selection, Selection), beside=row.contract != "discard")
        after = drift.apply(layout, planned, taken, terms)
        if after != layout or ignored:
            await self.prepare_labels([after])
            states = [*states_of(after), *(StateRow(c.source, c.source, "ignored", c.now) for c in ignored)]
            await self._change(lease, row, layout, after, states)
        if stopped is not None:
            async with self.database.transaction() as connection:
                await columns.stop(connection, row.id, None)

    async def _change(
        self, lease: DutyLease, row: TableRow, before: Layout, after: Layout, states: Sequence[StateRow]
    ) -> None:
        async def write(connection: Connection) -> None:
            await duties.require(connection, lease)
            await self._put(connection, row, before, after, states)

        await shortly(self.database, self.sleep, write)

    async def _put(
        self, connection: Connection, row: TableRow, before: Layout, after: Layout, states: Sequence[StateRow]
    ) -> None:
        now = self.clock()
        data = msgspec.to_builtins(after)
        if same_loading(before, after):
            await columns.set_words(connection, row, data)
        else:
            await columns.set_layout(connection, row, data)
            await columns.plan_fill(connection, row.id, drift.filling(after), now=now)
            if drift.filling(after):
                await duties.bring_forward(connection, row.id, "fill", now=now)
            await labels.new_generation(connection, row.connection_id)
        await columns.note_states(connection, row.id, states, now=now)
        made = [ColumnDefinition(c.name, c.pg_type, c.comment) for c in drift.new_columns(before, after)]
        await columns.add(connection, row.relation, made)
        await columns.comment(connection, row.relation, _comments(before, after))

    async def plan(self, table: str, selection: Selection) -> Layout:
        """The layout that the dictionary and a selection make today. Raises Stop `columns.unknown`, `columns.needed`,
        `table.column_twice`, and what reading raises.
        """
        found = (await schema.discover(self.instance, [table]))[table]
        check_selection(found, selection)
        return plan_layout(found, selection)

    async def select(self, loader: TableLoader, planned: Layout, selection: Selection) -> None:
        """Let another selection say which columns the table has, whatever its contract: who selects has been asked. New
        ones appear and are filled; what is left out stays. Raises Retry `schema.busy`, LostLease, Stop `schema.column_taken`.
        """
        row, layout = loader.row, loader.layout
        before = msgspec.convert(row.selection, Selection)
        asked = {
            c.source for c in (*layout.columns, *planned.columns) if before.wants(c.source) != selection.wants(c.source)
        }
        terms = Terms(selection)
        changes = [change for change in drift.compare(layout, planned, terms) if change.source in asked]
        after = drift.apply(layout, planned, changes, terms)
        await self.prepare_labels([after])

        async def write(connection: Connection) -> None:
            ignored = [state for state in await columns.ignored(connection, row.id) if state.source not in asked]
            await self._put(connection, row, layout, after, [*states_of(after), *ignored])
            await columns.set_selection(connection, row, msgspec.to_builtins(selection), now=self.clock())

        await shortly(self.database, self.sleep, write)

    async def _unreadable(self, loader: TableLoader, planned: Layout) -> frozenset[str]:
        """The columns of the dictionary that no row of a sample shows; those known before, where there is no row."""
        fields = planned.fetched
        query = queries.parse(loader.row.query).text
        answer = await source.read_page(self.instance, loader.row.source, PageRequest(query, SAMPLE), fields)
        page = PageDecoder(fields).decode(answer.body)
        if not page.rows:
            return loader.layout.unreadable
        shown = zip(page.fields, page.columns, strict=True)
        return frozenset(name for name, cells in shown if all(cell is ABSENT for cell in cells))

    async def index(self, loader: TableLoader) -> bool:
        """Make one of the table's indexes, beside readers and writers. False when it has all of them."""
        async with self.database.session() as connection:
            for name in indexed(loader.layout):
                if await ddl.ensure_index(connection, loader.row.relation, name):
                    return True
        return False


async def shortly(
    database: Database,
    sleep: Callable[[float], Awaitable[None]],
    write: Callable[[Connection], Awaitable[None]],
) -> None:
    """One transaction with DDL, tried again where others hold the table. Raises Retry `schema.busy` in the end."""
    for wait in WAITS:
        try:
            async with columns.briefly(database) as connection:
                await write(connection)
        except Retry as busy:
            if busy.code != "schema.busy":
                raise
            await sleep(wait)
        else:
            return
    async with columns.briefly(database) as connection:
        await write(connection)


async def confirm(
    database: Database,
    row: TableRow,
    clock: Clock,
    sleep: Callable[[float], Awaitable[None]],
    *,
    anyway: bool = False,
) -> list[tuple[str, str]]:
    """Let the new columns of retyped ones take over their names, which the old ones make room for. Returns the renames.
    Raises Stop `schema.filling` while a new column is not complete, `schema.in_use` where views read an old one (they
    would go on reading it, by its new name) unless `anyway`.
    """
    layout = layout_of(row)
    retyped = dict.fromkeys(c.source for c in layout.columns if c.state is ColumnState.RETYPED)
    ready = [name for name in retyped if drift.current(layout, name)]
    incomplete = set(drift.filling(layout)).intersection(ready)
    if incomplete:
        raise Stop(
            "schema.filling",
            asked=f"let the new column of {min(incomplete)} take over",
            answered="its values are still being filled in",
            hint="`nowbridge schema` shows how far it is.",
        )
    after, renames = drift.swapped(layout, ready)
    if not renames:
        return []
    async with database.transaction() as connection:
        old = [c.name for c in layout.columns if c.state is ColumnState.RETYPED and c.source in ready]
        views = await columns.dependents(connection, row.relation, old)
    if views and not anyway:
        raise Stop(
            "schema.in_use",
            asked=f"let new columns of {row.source} take over",
            answered=f"the old ones are read by {', '.join(views)}",
            hint="Point the views at the new columns first; or add --anyway, and they stay with the old columns, "
            "which are no longer loaded.",
        )

    async def write(connection: Connection) -> None:
        await columns.set_layout(connection, row, msgspec.to_builtins(after))
        await columns.note_states(connection, row.id, states_of(after), now=clock())
        await columns.rename(connection, row.relation, renames)
        await columns.comment(connection, row.relation, [(c.name, drift.comment_of(c)) for c in after.columns])

    await shortly(database, sleep, write)
    return renames


def frozen(row: TableRow, changes: Sequence[Change]) -> dict[str, Any]:
    """Why a frozen table stands still, as errors are stored."""
    told = "; ".join(change.words for change in changes)
    return {
        "code": "schema.drifted",
        "asked": f"follow {row.source} under the contract freeze",
        "answered": f"its columns have changed in ServiceNow: {told}",
        "hint": f"Accept it: `nowbridge schema {row.source} --confirm`; or choose another contract: "
        f"`nowbridge schema {row.source} --contract evolve`.",
        "changes": [change.words for change in changes],
    }


def states_of(layout: Layout) -> list[StateRow]:
    """The columns that are not simply there and complete."""
    return [
        StateRow(c.name, c.source, c.state.value, drift.detail_of(layout, c))
        for c in layout.columns
        if c.state is not ColumnState.LIVE
    ]


def same_loading(before: Layout, after: Layout) -> bool:
    """Whether rows are fetched and loaded the same way by both, and nothing is to be filled that was not before."""
    ours = [(c.name, c.source, c.pg_type, c.role, c.labels, c.state) for c in before.columns]
    theirs = [(c.name, c.source, c.pg_type, c.role, c.labels, c.state) for c in after.columns]
    return ours == theirs and (before.display, before.ancestors) == (after.display, after.ancestors)


def indexed(layout: Layout) -> list[str]:
    """The columns that are indexed: what people know records by, when they changed, what they point at."""
    pointing = {c.source for c in layout.loaded if c.labels is not None and c.labels.kind is LabelKind.REFERENCE}
    usual = {"number", "sys_updated_on"}
    return [c.name for c in layout.loaded if c.role is Role.VALUE and c.source in pointing | usual]


def _comments(before: Layout, after: Layout) -> list[tuple[str, str]]:
    """The comments that change."""
    known = {c.name: drift.comment_of(c) for c in before.columns}
    return [(c.name, words) for c in after.columns if known.get(c.name) != (words := drift.comment_of(c))]


def _subject(row: TableRow) -> str:
    return f"columns:{row.source}"
