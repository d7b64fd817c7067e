"""Capture: every change, from where the last pass ended up to the instance's time minus the safety lag.

One pass reads drain and advance pages (`servicenow.pages.ChangeSweep`) and applies each with its cursor in one
transaction. When the pass ends, everything up to its upper bound is proved to be here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nowbridge.model.errors import LostLease, NowbridgeError, Park, Retry, Stop
from nowbridge.replica.apply import TableLoader
from nowbridge.replica.page_size import PageSize
from nowbridge.replica.spec import Clock, Pace
from nowbridge.replica.versions import versions_of
from nowbridge.servicenow import query as queries
from nowbridge.servicenow import tables as source
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.pages import ChangeSweep, Cursor
from nowbridge.servicenow.wire import Page, PageDecoder
from nowbridge.store.database import Connection, Database
from nowbridge.store.instances import hooks
from nowbridge.store.rows import tables
from nowbridge.store.rows.load import Merged
from nowbridge.store.work import leases, loss
from nowbridge.store.work.leases import Holder, StreamLease, StreamProgress


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass did: rows seen and rows changed; `proven_to` is None when it failed."""

    table: str
    rows: int = 0
    changed: int = 0
    proven_to: datetime | None = None
    error: NowbridgeError | None = None


@dataclass(frozen=True, slots=True)
class Capture:
    """What a worker needs to follow the changes of one connection's tables."""

    database: Database
    instance: Instance
    holder: Holder
    pace: Pace
    clock: Clock

    async def poll(self, lease: StreamLease, loader: TableLoader) -> Pass:
        """One pass over a claimed stream. Failures are stored with the stream and retried later, longer each time.
        Only LostLease and bugs come out.
        """
        try:
            return await self._poll(lease, loader)
        except LostLease:
            raise
        except asyncio.CancelledError:
            async with self.database.transaction() as connection:
                await leases.release_stream(connection, lease)
            raise
        except (Retry, Stop, Park) as error:
            await self._failed(lease, error)
            return Pass(loader.row.source, error=error)

    async def _poll(self, lease: StreamLease, loader: TableLoader) -> Pass:
        asked_at = await self.instance.server_now()
        hi = max(lease.cursor_time, asked_at.replace(microsecond=0) - self.pace.safety_lag)
        size = PageSize.first(self.pace.page_rows, lease.failures)
        cursor = Cursor(lease.cursor_time, lease.cursor_id)
        sweep = ChangeSweep(queries.parse(loader.row.query), cursor, hi, size.rows)
        decoder = PageDecoder(loader.layout.fetched)
        seen = changed = calls = 0
        while (request := sweep.next_request()) is not None:
            answer = await source.read_page(self.instance, loader.row.source, request, loader.layout.fetched)
            page = await asyncio.to_thread(decoder.decode, answer.body)
            last = page.column("sys_updated_on")[-1] if page.rows else None
            sweep.received(page.ids, last, page.rows, answer.total_count)
            size = size.after(page.rows, len(answer.body), answer.elapsed)
            sweep.page_size = size.rows
            calls += 1
            if page.rows:
                changed += await self._apply(lease, loader, page, sweep.cursor, calls)
                seen += page.rows
                calls = 0
        async with self.database.transaction() as connection:
            now = self.clock()
            wait = await self._wait(connection, lease.table_id, now)
            await leases.finish_poll(connection, lease, proven_to=hi, next_poll_at=now + wait, calls=calls, now=now)
            await loss.set_wait(connection, lease.table_id, wait)
            await hooks.note_clock(connection, loader.row.connection_id, (asked_at - now).total_seconds())
        return Pass(loader.row.source, rows=seen, changed=changed, proven_to=hi)

    async def _wait(self, connection: Connection, table_id: int, now: datetime) -> timedelta:
        """Longer where hints tell of the table's changes, and poll only stands behind them."""
        relied_on = await loss.reliable(connection, table_id, now=now)
        return max(self.pace.poll, self.pace.poll_hooked) if relied_on else self.pace.poll

    async def _apply(self, lease: StreamLease, loader: TableLoader, page: Page, cursor: Cursor, calls: int) -> int:
        async def move(connection: Connection, merged: Merged) -> None:
            now = self.clock()
            progress = StreamProgress(cursor.time, cursor.sys_id, calls, merged.changed)
            await leases.advance_stream(connection, lease, self.holder, progress, now=now)
            await loss.polled(connection, lease.table_id, _among(page, merged.sys_ids), now=now)

        return await loader.merge_changes(page, move)

    async def _failed(self, lease: StreamLease, error: NowbridgeError) -> None:
        async with self.database.transaction() as connection:
            await leases.fail_poll(
                connection,
                lease,
                tables.described(error),
                next_poll_at=self.clock() + self.pace.wait_after(error, lease.failures),
            )


def _among(page: Page, sys_ids: Sequence[str]) -> list[tuple[str, int | None, datetime | None]]:
    """These rows of a page, each with its version."""
    if not sys_ids:
        return []
    versions = versions_of(page)
    return [(sys_id, *versions[sys_id]) for sys_id in sys_ids]
