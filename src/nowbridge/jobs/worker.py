"""A worker: any number of them, on any machine, on one Postgres.

Each runs the same loops: control jobs from the queue, shards, change streams, label rewrites, a heartbeat, and the
leader's reaper, which gives the jobs of dead workers back (outside the queue, because a reaper that is itself a job
can stall with it). Work is claimed under leases, so a worker that dies is replaced when its lease runs out.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from procrastinate import App

from nowbridge.jobs import queue
from nowbridge.jobs.listening import hear
from nowbridge.jobs.notices import Notifier
from nowbridge.jobs.writes import Writes, WriteSettings
from nowbridge.model.errors import NowbridgeError
from nowbridge.replica.capture import Pass
from nowbridge.replica.labels import rewrite_renamed
from nowbridge.replica.run import Replica
from nowbridge.replica.spec import Clock
from nowbridge.store.database import Database
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import ConnectionRow
from nowbridge.store.operation import notices
from nowbridge.store.rows import tables, tombstones
from nowbridge.store.work import budget, hints, leases, workers
from nowbridge.store.work.leases import Holder
from nowbridge.store.writes import write_log

log = structlog.get_logger("nowbridge.worker")


_AWAY = ("network.", "busy.unavailable", "instance.", "auth.refused", "answer.login_page")


@dataclass(frozen=True, slots=True)
class Duties:
    """How often and how much. Seconds, but for `parallel`: shards and streams worked on at once."""

    parallel: int = 4
    idle: float = 0.5
    tend: float = 2.0
    heartbeat: float = 5.0
    stalled_after: float = 20.0
    grace: float = 5.0
    look: timedelta = timedelta(hours=1)
    look_again: timedelta = timedelta(seconds=30)
    keep_feed: timedelta = timedelta(days=7)
    keep_tombstones: timedelta = timedelta(days=30)
    keep_tallies: timedelta = timedelta(days=90)
    keep_notices: timedelta = timedelta(days=90)
    keep_hints: timedelta = timedelta(days=7)
    keep_writes: timedelta = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class OpenReplica:
    """One connection as this worker has it open. `close` ends its HTTP client."""

    row: ConnectionRow
    replica: Replica
    close: Callable[[], Awaitable[None]]


Opener = Callable[[ConnectionRow, Holder], Awaitable[OpenReplica]]


@dataclass(slots=True)
class Worker:
    """`run` until `stop` is set. `open_replica` turns a stored connection into one that can be worked on."""

    database: Database
    holder: Holder
    duties: Duties
    clock: Clock
    open_replica: Opener
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    notifier: Notifier | None = None
    write_settings: WriteSettings = field(default_factory=WriteSettings)
    writes: Writes = field(init=False)
    _queue: App | None = None
    _known: dict[int, datetime] = field(default_factory=dict)  # connections whose instance was looked at, and when
    _look_again: dict[int, datetime] = field(default_factory=dict)
    _hinted: asyncio.Event = field(default_factory=asyncio.Event)
    _open: dict[int, OpenReplica] = field(default_factory=dict)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.writes = Writes(self.database, self.holder, self.clock, self.write_settings)

    async def run(self) -> None:
        """Work until `stop` is set, then let go of everything that was claimed."""
        jobs = asyncio.create_task(self._repeat(self._work_on_queue, every=1.0))
        loops = [
            asyncio.create_task(self._repeat(self.look, every=self.duties.idle)),
            asyncio.create_task(self._repeat(self.beat, every=self.duties.heartbeat)),
            asyncio.create_task(self._repeat(self._reap, every=self.duties.heartbeat)),
            asyncio.create_task(self._repeat(self.hear, every=self.duties.heartbeat)),
            asyncio.create_task(self._repeat(self.read_hints, every=self.duties.idle, wake=self._hinted)),
            asyncio.create_task(self._repeat(self.carry_writes, every=self.duties.idle, wake=self.writes.handed_over)),
            asyncio.create_task(self._repeat(self.settle_writes, every=self.duties.idle)),
            asyncio.create_task(self._repeat(self.poll_due, every=self.duties.idle)),
            asyncio.create_task(self._repeat(self.rewrite_labels, every=self.duties.idle)),
            asyncio.create_task(self._repeat(self.follow_labels, every=self.duties.tend)),
            asyncio.create_task(self._repeat(self.notify, every=self.duties.heartbeat)),
            asyncio.create_task(self._repeat(self.tend, every=self.duties.tend)),
            *(
                asyncio.create_task(self._repeat(self.load_shard, every=self.duties.idle))
                for _ in range(self.duties.parallel)
            ),
        ]
        try:
            await self._until_stopped([jobs, *loops])
        finally:
            await self._end(jobs, loops)

    async def _work_on_queue(self) -> bool:
        """Do the queue's jobs until the worker stops or the database goes away: then the queue's own worker ends."""
        bodies = queue.Bodies(prepare=self.prepare, prune=self.prune)
        async with queue.opened(self.database.dsn, bodies) as app:
            self._queue = app
            try:
                await app.run_worker_async(
                    name=self.holder.name,
                    concurrency=self.duties.parallel,
                    install_signal_handlers=False,
                    update_heartbeat_interval=self.duties.heartbeat,
                    stalled_worker_timeout=self.duties.stalled_after,
                    shutdown_graceful_timeout=5.0,
                    delete_jobs="successful",
                )
            finally:
                self._queue = None
        return False

    async def _end(self, jobs: asyncio.Task[None], loops: list[asyncio.Task[None]]) -> None:
        """Let every loop finish its page or pass, which gives its claim back; who takes too long is cut off."""
        self.stop.set()
        self._hinted.set()
        for opened in self._open.values():
            opened.replica.stopping = True
        jobs.cancel()
        await asyncio.wait([*loops, asyncio.create_task(self.writes.end())], timeout=self.duties.grace)
        for task in loops:
            task.cancel()
        await asyncio.gather(jobs, *loops, return_exceptions=True)
        await self._last_words()
        await self._close()

    async def _last_words(self) -> None:
        """What changed since the last look (a first load that ended just now) is noticed by the worker that did it."""
        try:
            async with asyncio.timeout(self.duties.grace):
                while await self.notify():
                    pass
        except (NowbridgeError, TimeoutError) as error:
            log.warning("a last look was not possible", kind=type(error).__name__)

    async def prepare(self, connection_id: int) -> None:
        """The body of the `prepare` job. What went wrong is kept for `nowbridge status`; the queue tries again."""
        opened = await self._replica(connection_id)
        try:
            prepared = await opened.replica.prepare()
        except NowbridgeError as error:
            async with self.database.transaction() as connection:
                await tables.note_unprepared(connection, connection_id, error)
            raise
        log.info("prepared", connection=opened.row.name, tables=prepared)

    async def prune(self) -> None:
        async with self.database.transaction() as connection:
            await workers.prune(
                connection,
                now=self.clock(),
                keep_feed=self.duties.keep_feed,
                keep_dead_workers=timedelta(days=1),
            )
            await tombstones.prune(connection, older_than=self.clock() - self.duties.keep_tombstones)
            await budget.prune(connection, keep_tallies=self.duties.keep_tallies)
            await notices.prune(connection, before=self.clock() - self.duties.keep_notices)
            await hints.prune(connection, before=self.clock() - self.duties.keep_hints)
            await write_log.prune(connection, before=self.clock() - self.duties.keep_writes)

    async def look(self) -> bool:
        """Make sure that each connection still leads to the instance that its replica was made of (replica.recognition):
        before anything else is done for it, every hour, and after it was away. Stop the connections that do not.
        """
        async with self.database.transaction() as connection:
            rows = await connections.every(connection)
        for row in rows:
            now = self.clock()
            if row.stopped is not None:
                self._known.pop(row.id, None)
            elif now >= self._look_again.get(row.id, now) and not self._is_known(row.id, now):
                await self._look_at(row)
        return False

    def _is_known(self, connection_id: int, now: datetime) -> bool:
        return connection_id in self._known and now - self._known[connection_id] < self.duties.look

    async def _look_at(self, row: ConnectionRow) -> None:
        try:
            strange = await (await self._opened(row)).replica.look()
        except NowbridgeError as error:
            self._look_again[row.id] = self.clock() + self.duties.look_again
            async with self.database.transaction() as connection:
                await connections.note_away(connection, row.id, tables.described(error))
            raise
        if strange is None:
            self._known[row.id] = self.clock()
            return
        self._known.pop(row.id, None)
        async with self.database.transaction() as connection:
            await connections.stop(connection, row.id, reason="clone", found=strange, now=self.clock())
        log.error("stopped: this is another instance", connection=row.name, found=strange, hint="nowbridge adopt")

    async def load_shard(self) -> bool:
        """Read one shard to its end, if there is one to be read."""
        for opened in await self._replicas():
            if await opened.replica.load_next_shard():
                return True
        return False

    async def poll_due(self) -> bool:
        """One pass over each change stream that is due."""
        passes: list[Pass] = []
        for opened in await self._replicas():
            claimed = await opened.replica.claim_due_streams(self.duties.parallel)
            done_here = await asyncio.gather(*(opened.replica.poll(lease) for lease in claimed))
            if any(done.error is not None and done.error.code.startswith(_AWAY) for done in done_here):
                self._known.pop(opened.row.id, None)  # what comes back may be another one
            passes += done_here
        for done in passes:
            if done.error is not None:
                log.warning("poll failed", table=done.table, code=done.error.code, answered=done.error.answered)
        return bool(passes)

    async def hear(self) -> bool:
        """Listen for hints and writes until told to stop, so that they need not wait for the next look."""
        wake = {hints.CHANNEL: self._hinted, write_log.CHANNEL: self.writes.handed_over}
        await hear(self.database.dsn, wake, self.stop)
        return False

    async def read_hints(self) -> bool:
        """One round over the hints of every connection."""
        self._hinted.clear()
        found = False
        for opened in await self._replicas():
            done = await opened.replica.read_hints()
            found = found or done is not None
            if done is not None and done.error is not None:
                log.warning("hints wait", number=done.put_off, code=done.error.code, answered=done.error.answered)
        return found

    async def carry_writes(self) -> bool:
        return await self.writes.carry([opened.replica for opened in await self._replicas()])

    async def settle_writes(self) -> bool:
        return await self.writes.settle([opened.replica for opened in await self._replicas()])

    async def tend(self) -> bool:
        """One duty of one table: the journal of deletions, a check, a comparison."""
        for opened in await self._replicas():
            done = await opened.replica.tend_next()
            if done is None:
                continue
            said = {"table": done.table, "duty": done.kind, "calls": done.calls}
            if done.error is not None:
                log.warning("duty failed", **said, code=done.error.code, answered=done.error.answered)
            elif done.held is not None:
                log.warning("deletes are held", **said, why=done.held.value, look=f"nowbridge deletes {done.table}")
            elif done.told:
                log.warning("columns changed in ServiceNow", **said, changes=done.told)
            elif done.wrong or done.removed:
                log.info("repaired", **said, wrong=done.wrong, removed=done.removed)
            return True
        return False

    async def rewrite_labels(self) -> bool:
        rewritten = 0
        for opened in await self._replicas():
            rewritten += await rewrite_renamed(self.database, opened.row.id)
        return rewritten > 0

    async def follow_labels(self) -> bool:
        """Look for renames in one table whose records are only referenced, or in the choices."""
        for opened in await self._replicas():
            done = await opened.replica.follow_labels()
            if done is None:
                continue
            if done.error is not None:
                log.warning("names not followed", table=done.table, code=done.error.code, answered=done.error.answered)
            elif done.renamed:
                log.info("renamed", table=done.table, records=done.renamed)
            return True
        return False

    async def notify(self) -> bool:
        """Notice what has changed, and send what waits."""
        if self.notifier is None:
            return False
        await self.notifier.look()
        return await self.notifier.send_next()

    async def beat(self) -> bool:
        """Say that this worker lives, and keep what it has claimed."""
        async with self.database.transaction() as connection:
            await workers.beat(connection, self.holder.name, {}, now=self.clock())
            for opened in list(self._open.values()):
                await leases.renew(connection, self.holder, opened.replica.at_work, now=self.clock())
        await self.writes.renew()
        return False

    async def _reap(self) -> bool:
        app = self._queue
        if app is None:
            return False
        async with workers.leading(self.database) as leader:
            if leader:
                given_back = await queue.retry_stalled(app, stalled_after=self.duties.stalled_after, now=self.clock())
                if given_back:
                    log.warning("gave the jobs of a dead worker back", jobs=given_back)
        return False

    async def _repeat(
        self, step: Callable[[], Awaitable[bool]], *, every: float, wake: asyncio.Event | None = None
    ) -> None:
        """Do `step` again and again: at once while it finds work, else after a wait or when `wake` is set. What cannot be done now (a
        database or an instance out of reach, credentials that are refused) is said and tried again. So is a bug: one
        odd table must not end the work on all others. Its claim runs out, its table grows stale, and health says so.
        """
        while not self.stop.is_set():
            try:
                found = await step()
            except NowbridgeError as error:
                log.warning("waiting", code=error.code, asked=error.asked, answered=error.answered, hint=error.hint)
                found = False
            except Exception as bug:  # noqa: BLE001 - the edge: said with its place, without the values it may hold
                log.error("bug", kind=type(bug).__name__, at=place_of(bug))  # noqa: TRY400 - a traceback prints values
                found = False
            if not found:
                await self._pause(every, wake)

    async def _pause(self, seconds: float, wake: asyncio.Event | None) -> None:
        try:
            await asyncio.wait_for((wake or self.stop).wait(), timeout=seconds)
        except TimeoutError:
            return

    async def _until_stopped(self, tasks: list[asyncio.Task[None]]) -> None:
        stopped = asyncio.create_task(self.stop.wait())
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        if stopped not in done:
            stopped.cancel()
            for task in done:
                task.result()  # a loop that ended by itself did so by an error: let it be seen

    async def _replicas(self) -> list[OpenReplica]:
        """Of the connections whose instance is known to be the right one."""
        async with self.database.session() as connection:
            rows = await connections.every(connection)
        return [await self._opened(row) for row in rows if row.stopped is None and row.id in self._known]

    async def _replica(self, connection_id: int) -> OpenReplica:
        async with self.database.transaction() as connection:
            row = await connections.load(connection, connection_id=connection_id)
        return await self._opened(row)

    async def _opened(self, row: ConnectionRow) -> OpenReplica:
        """The connection as it stands now: one whose credentials were changed meanwhile is opened anew."""
        async with self._opening:
            held = self._open.get(row.id)
            if held is not None and held.row == row:
                return held
            self._open[row.id] = await self.open_replica(row, self.holder)
            if held is not None:
                await held.close()
            return self._open[row.id]

    async def _close(self) -> None:
        await self.writes.close()
        for opened in self._open.values():
            await opened.close()
        async with self.database.transaction() as connection:
            await workers.leave(connection, self.holder.name)


def place_of(error: BaseException) -> str:
    """Where an error came up: the frames of our own code, innermost last."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "nowbridge" in frame.filename]
    return " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
