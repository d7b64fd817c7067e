"""Fill: values into columns that are new, readable again, or labelled otherwise, for rows that have not changed since.

A sweep by key over these columns and the version alone, a few pages at a time, so that a large table keeps nothing else
waiting. It goes on where it stood. Every change is loaded with the new columns already, so a row is filled only in the
version that is held, and the sweep and the change stream need not wait for each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from nowbridge.replica import drift
from nowbridge.replica.apply import TableLoader
from nowbridge.replica.evolve import states_of
from nowbridge.replica.spec import Clock, Pace
from nowbridge.servicenow import query as queries
from nowbridge.servicenow import tables as source
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.pages import IdSweep
from nowbridge.servicenow.wire import PageDecoder
from nowbridge.store.database import Connection, Database
from nowbridge.store.rows import columns
from nowbridge.store.rows.columns import Fill
from nowbridge.store.work import duties
from nowbridge.store.work.duties import DutyLease
from nowbridge.transport.budget import Purpose
from nowbridge.transport.purpose import calling_for

PAGES = 10  # at a time, then other duties have their turn
VERSION = frozenset({"sys_mod_count", "sys_updated_on"})


@dataclass(frozen=True, slots=True)
class Filled:
    """What one turn did. `more`: the sweep has not come to its end."""

    rows: int = 0
    calls: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class Filler:
    database: Database
    instance: Instance
    pace: Pace
    clock: Clock

    async def fill(self, lease: DutyLease, loader: TableLoader) -> Filled:
        """A few pages of the table's fill, if it has one. Raises what reading raises, LostLease."""
        async with self.database.transaction() as connection:
            fill = await columns.fill_of(connection, lease.table_id)
        if fill is None:
            return Filled()
        with calling_for(Purpose.BACKFILL):
            return await self._sweep(lease, loader, fill)

    async def _sweep(self, lease: DutyLease, loader: TableLoader, fill: Fill) -> Filled:
        narrow = loader.narrow(loader.layout.only(VERSION.union(fill.sources)))
        base = queries.lasting(queries.parse(loader.row.query))
        sweep = (
            IdSweep(base, None, None, self.pace.page_rows)
            if fill.position is None
            else IdSweep.resume(base, fill.position, self.pace.page_rows)
        )
        decoder = PageDecoder(narrow.layout.fetched)
        rows = calls = 0
        while calls < PAGES and (request := sweep.next_request()) is not None:
            answer = await source.read_page(self.instance, loader.row.source, request, narrow.layout.fetched)
            page = decoder.decode(answer.body)
            sweep.received(page.ids, None, page.rows, answer.total_count)
            calls += 1
            filled_to = page.ids[-1] if page.rows else None

            async def move(connection: Connection, changed: int, to: str | None = filled_to) -> None:
                await duties.require(connection, lease)
                await columns.require_layout(connection, loader.row)
                await columns.advance_fill(connection, lease, dict(sweep.position), filled_to=to, rows=changed)

            rows += await narrow.fill(page, move)
        if sweep.next_request() is not None:
            return Filled(rows, calls, more=True)
        await self._finish(lease, loader)
        return Filled(rows, calls)

    async def _finish(self, lease: DutyLease, loader: TableLoader) -> None:
        after = drift.filled(loader.layout, drift.filling(loader.layout))
        async with self.database.transaction() as connection:
            await duties.require(connection, lease)
            await columns.set_layout(connection, loader.row, msgspec.to_builtins(after))
            await columns.plan_fill(connection, loader.row.id, [], now=self.clock())
            ignored = await columns.ignored(connection, loader.row.id)
            await columns.note_states(connection, loader.row.id, [*states_of(after), *ignored], now=self.clock())
