"""What is done for every live table by itself, each at its time and by one worker: read the journal of deletions, check
the table by counts, compare its keys. What is found is repaired; what is found of deletes is decided in
`replica.deletes`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nowbridge.model.errors import LostLease, NowbridgeError, Park, Retry, Stop
from nowbridge.replica.apply import TableLoader
from nowbridge.replica.deletes import Deletes
from nowbridge.replica.deletion_rules import Hold
from nowbridge.replica.evolve import Evolver
from nowbridge.replica.fill import Filler
from nowbridge.replica.recent import Recent
from nowbridge.replica.spec import Clock, Pace
from nowbridge.replica.verify import Level, Order, Verdict, Verifier
from nowbridge.servicenow.instance import Instance
from nowbridge.store.database import Database
from nowbridge.store.rows import classes, tables
from nowbridge.store.work import duties, leases, watches
from nowbridge.store.work.duties import DutyLease, Rhythm
from nowbridge.store.work.leases import AtWork, Holder

BUSY_TRIES = 600  # seconds that a duty of the same table may take before somebody who asked is sent away
INDEX_AGAIN = timedelta(days=1)  # until it is looked whether all indexes are there
WHILE_LOADING = timedelta(minutes=1)
WHEN_CALLED = timedelta(days=3_650)  # what is done only when something has brought it forward
UNREADABLE_AGAIN = timedelta(hours=1)  # until a journal that the account may not read is asked for again


@dataclass(frozen=True, slots=True)
class Tended:
    """What one duty did. `wrong` counts rows that differed, `removed` rows that were deleted; `told` says what else is
    worth telling. `more`: it is to go on after `wait`.
    """

    table: str
    kind: str
    wrong: int = 0
    removed: int = 0
    calls: int = 0
    held: Hold | None = None
    error: NowbridgeError | None = None
    told: str = ""
    more: bool = False
    wait: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Upkeep:
    """The duties of one connection's tables, as one worker does them."""

    database: Database
    instance: Instance
    connection_id: int
    holder: Holder
    pace: Pace
    clock: Clock
    deletes: Deletes
    verifier: Verifier
    evolver: Evolver
    filler: Filler

    async def give_duties(self) -> None:
        """Every live table gets its duties."""
        rhythms = [
            Rhythm("audit", self.pace.audit, at_once=True),
            Rhythm("check", self.pace.check),
            Rhythm("compare", self.pace.compare),
            Rhythm("recent", self.pace.recent),
            Rhythm("schema", self.pace.schema, at_once=True),
            Rhythm("index", INDEX_AGAIN, at_once=True),
        ]
        async with self.database.transaction() as connection:
            await duties.plan(connection, self.connection_id, rhythms, now=self.clock())

    async def claim(self) -> DutyLease | None:
        """The duty that has been due for longest, if any is."""
        await self.give_duties()
        async with self.database.transaction() as connection:
            return await duties.claim(connection, self.connection_id, self.holder, now=self.clock())

    async def tend(self, lease: DutyLease, loader: TableLoader) -> Tended:
        """Do a claimed duty. Failures are stored with it and retried later, longer each time; only bugs come out."""
        try:
            done = await self._do(lease, loader)
        except LostLease as lost:
            return Tended(loader.row.source, lease.kind, error=lost)
        except asyncio.CancelledError:
            await self._give_back(lease, None, self.clock())
            raise
        except (Retry, Stop, Park) as error:
            await self._give_back(lease, error, self.clock() + self.pace.wait_after(error, lease.failures))
            return Tended(loader.row.source, lease.kind, error=error)
        interval, now = done.wait if done.more else await self._interval(lease), self.clock()
        async with self.database.transaction() as connection:
            await duties.finish(connection, lease, next_at=now + interval, calls=done.calls, now=now)
        return done

    async def verify(
        self,
        loader: TableLoader,
        order: Order,
        level: Level,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> Verdict:
        """Verify a table because somebody asked for it: under the lease of the same duty, so that no worker compares or
        repairs the table meanwhile. Raises what the verifier raises, and Retry `verify.busy`.
        """
        kind = "check" if level is Level.CHECKED else "compare"
        lease = await self._claim_for(loader, kind, sleep)
        async with self._kept(lease):
            return await self.verifier.verify(loader, replace(order, lease=lease), level)

    async def _claim_for(self, loader: TableLoader, kind: str, sleep: Callable[[float], Awaitable[None]]) -> DutyLease:
        for _ in range(BUSY_TRIES):
            async with self.database.transaction() as connection:
                lease = await duties.claim_for(connection, loader.row.id, kind, self.holder, now=self.clock())
            if lease is not None:
                return lease
            await sleep(1.0)
        raise Retry(
            "verify.busy",
            asked=f"verify {loader.row.source}",
            answered=f"a worker has been at a check of the same table for more than {BUSY_TRIES} seconds",
            hint="Try again later, or pause the table first: `nowbridge pause TABLE`.",
        )

    @asynccontextmanager
    async def _kept(self, lease: DutyLease) -> AsyncIterator[None]:
        """Renew the claim while the work goes on, and let go of it at the end."""
        at_work = AtWork(duties={(lease.table_id, lease.kind)})

        async def renew() -> None:
            while True:
                await asyncio.sleep(self.holder.lease.total_seconds() / 3)
                async with self.database.transaction() as connection:
                    await leases.renew(connection, self.holder, at_work, now=self.clock())

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError, NowbridgeError):  # a claim that could not be renewed shows at its use
                await renewing
            async with self.database.transaction() as connection:
                await duties.let_go(connection, lease)

    async def proven_to(self, loader: TableLoader) -> datetime:
        """The instance's time up to which the table's changes are here; of one that cannot be followed, just now."""
        async with self.database.transaction() as connection:
            stands = await leases.proven_to(connection, loader.row.id)
        return stands or await self.instance.server_now() - self.pace.safety_lag

    async def _do(self, lease: DutyLease, loader: TableLoader) -> Tended:
        table = loader.row.source
        if lease.kind == "audit":
            settled = await self.deletes.read_journal(lease, loader)
            return Tended(table, lease.kind, 0, len(settled.removed), settled.calls, settled.held)
        if lease.kind in ("schema", "fill", "index"):
            return await self._tend_columns(lease, loader)
        if lease.kind == classes.KIND:
            settled = await self.deletes.settle_moved(lease, loader)
            return Tended(table, lease.kind, 0, len(settled.removed), settled.calls, settled.held)
        if lease.kind == "recent":
            return await self._look_again(lease, loader)
        level = level_of(lease.kind, loader)
        if level is None:
            return Tended(table, lease.kind)
        order = Order(await self.proven_to(loader), repair=True, lease=lease)
        verdict = await self.verifier.verify(loader, order, level)
        return Tended(table, lease.kind, verdict.wrong, verdict.removed, verdict.calls, verdict.held)

    async def _look_again(self, lease: DutyLease, loader: TableLoader) -> Tended:
        if not loader.layout.has("sys_updated_on"):
            return Tended(loader.row.source, lease.kind)
        recent = Recent(self.database, self.instance, self.clock)
        caught = await recent.look_again(loader, lease, await self.proven_to(loader), self.pace.recent_window)
        return Tended(loader.row.source, lease.kind, caught.changed, 0, caught.calls)

    async def _tend_columns(self, lease: DutyLease, loader: TableLoader) -> Tended:
        table = loader.row.source
        if lease.kind == "schema":
            looked = await self.evolver.look(lease, loader)
            told = "; ".join(change.words for change in looked.changes)
            return Tended(table, lease.kind, calls=looked.calls, told=told)
        if lease.kind == "fill":
            filled = await self.filler.fill(lease, loader)
            return Tended(table, lease.kind, calls=filled.calls, more=filled.more)
        async with self.database.transaction() as connection:
            loading = await leases.loading(connection, self.connection_id)
        if loading:  # rows before indexes
            return Tended(table, lease.kind, more=True, wait=WHILE_LOADING)
        return Tended(table, lease.kind, more=await self.evolver.index(loader))

    async def _interval(self, lease: DutyLease) -> timedelta:
        if lease.kind == "check":
            return self.pace.check
        if lease.kind == "compare":
            return self.pace.compare
        if lease.kind == "recent":
            return self.pace.recent
        if lease.kind == "schema":
            return self.pace.schema
        if lease.kind != "audit":
            return INDEX_AGAIN if lease.kind == "index" else WHEN_CALLED
        async with self.database.transaction() as connection:
            watch = await watches.load(connection, lease.table_id)
        return max(self.pace.audit, UNREADABLE_AGAIN) if watch.journal == "unreadable" else self.pace.audit

    async def _give_back(self, lease: DutyLease, error: NowbridgeError | None, next_at: datetime) -> None:
        said = tables.described(error) if error else None
        async with self.database.transaction() as connection:
            await duties.give_back(connection, lease, error=said, next_at=next_at)


def level_of(kind: str, loader: TableLoader) -> Level | None:
    """How a duty verifies a table. One whose records have no version is compared by content, and cannot be checked."""
    if not (loader.layout.has("sys_mod_count") and loader.layout.has("sys_updated_on")):
        return Level.CONTENT if kind == "compare" else None
    return Level.CHECKED if kind == "check" else Level.PROVEN
