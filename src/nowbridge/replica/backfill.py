"""Backfill: every row once. A table is cut into ranges of sys_id (shards); each is read page by page, and its cursor
moves in the transaction that holds the page. A worker that dies loses the page it was on and nothing else.

While one page is being written the next is already being asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from nowbridge.model.errors import LostLease, NowbridgeError
from nowbridge.replica.apply import TableLoader
from nowbridge.replica.page_size import PageSize
from nowbridge.replica.spec import Clock, Pace
from nowbridge.replica.wording import WordedPage
from nowbridge.servicenow import query as queries
from nowbridge.servicenow import tables as source
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.pages import IdSweep
from nowbridge.servicenow.wire import Page
from nowbridge.store import ddl
from nowbridge.store.database import Connection, Database
from nowbridge.store.rows import load, tables
from nowbridge.store.work import leases
from nowbridge.store.work.leases import Holder, ShardLease, ShardProgress


@dataclass(frozen=True, slots=True)
class Backfill:
    """What a worker needs to read shards of one connection's tables."""

    database: Database
    instance: Instance
    holder: Holder
    pace: Pace
    clock: Clock
    stopping: Callable[[], bool] = lambda: False

    async def run_shard(self, lease: ShardLease, loader: TableLoader) -> int:
        """Read a claimed shard from where it stands to its end. Returns the rows read now.

        A failure is stored with the shard, which is tried again later from where it stands. Only LostLease,
        cancellation and bugs come out.
        """
        try:
            rows = await self._read(lease, loader)
        except LostLease:
            raise
        except NowbridgeError as error:
            wait = self.pace.wait_after(error, lease.failures)
            async with self.database.transaction() as connection:
                await leases.release_shard(
                    connection, lease, error=tables.described(error), next_try_at=self.clock() + wait
                )
            return 0
        except asyncio.CancelledError:
            await self._release(lease)
            raise
        if self.stopping():
            await self._release(lease)
        return rows

    async def _release(self, lease: ShardLease) -> None:
        async with self.database.transaction() as connection:
            await leases.release_shard(connection, lease)

    async def _read(self, lease: ShardLease, loader: TableLoader) -> int:
        base = queries.parse(loader.row.query)
        size = PageSize.first(self.pace.page_rows, lease.failures)
        sweep = (
            IdSweep.resume(base, lease.position, size.rows)
            if lease.position is not None
            else IdSweep(base, lease.low, lease.high, size.rows)
        )
        total = 0
        writing: asyncio.Task[None] | None = None
        try:
            while not self.stopping() and (request := sweep.next_request()) is not None:
                answer = await source.read_page(
                    self.instance, loader.row.source, request, loader.layout.fetched, body_checked=False
                )
                page, count = await loader.decode(answer), answer.total_count
                size = size.after(page.rows, len(answer.body), answer.elapsed)
                del answer  # megabytes, which need not wait for the page to be written
                sweep.received(page.ids, None, page.rows, count)
                sweep.page_size = size.rows
                if writing is not None:
                    await writing
                writing = asyncio.create_task(
                    self._write(lease, loader, page, dict(sweep.position), hidden=sweep.hidden, done=sweep.done)
                )
                total += page.rows
            if writing is not None:
                await writing
        except BaseException:
            if writing is not None:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
            raise
        return total

    async def _write(
        self,
        lease: ShardLease,
        loader: TableLoader,
        page: Page | WordedPage,
        position: Mapping[str, object],
        *,
        hidden: int,
        done: bool,
    ) -> None:
        progress = ShardProgress(position=dict(position), rows=page.rows, hidden=hidden, calls=1, done=done)

        async def move(connection: Connection, changed: int) -> None:
            del changed
            await leases.advance_shard(connection, lease, self.holder, progress, now=self.clock())

        await loader.load_new(page, move)


async def finish_table(database: Database, row: tables.TableRow, indexed: list[str], *, now: datetime) -> bool:
    """Index a table whose shards are all read and let its change stream begin. True if this call did it."""
    async with database.transaction() as connection:
        if await leases.open_shards(connection, row.id) > 0:
            return False
        if (await tables.load(connection, row.id)).phase != "backfill":
            return False
        await ddl.create_indexes(connection, row.relation, indexed)
        await load.mark_complete(connection, row.relation, now=now)
        await tables.set_phase(connection, row.id, "live", now=now)
    return True
