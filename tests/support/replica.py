"""Fixtures: a connection to the twin and its replica, as a worker has them, without a worker."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nowbridge.replica.run import Replica, add_tables
from nowbridge.replica.spec import Pace, TableSpec
from nowbridge.replica.upkeep import Tended
from nowbridge.replica.verify import Level, Order, Verdict
from nowbridge.servicenow import tables as source
from nowbridge.servicenow.auth import Auth, Basic
from nowbridge.servicenow.instance import Instance
from nowbridge.store.database import Database
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import NewConnection
from nowbridge.store.rows import tables
from nowbridge.store.work.leases import Holder
from nowbridge.transport.client import Client, Limits
from nowtwin.testing import RunningServer

ADMIN = Basic("admin", "admin")


@dataclass(slots=True)
class Now:
    """The test's clock: real time plus what the test has let pass."""

    passed: timedelta = timedelta()
    readings: asyncio.Queue[None] = field(default_factory=asyncio.Queue)

    def __call__(self) -> datetime:
        self.readings.put_nowait(None)
        return datetime.now(UTC) + self.passed  # noqa: TID251 - the origin of the injected clock

    async def read(self, times: int) -> None:
        """Wait until the clock has been read so many times: a sign of how far somebody has come."""
        for _ in range(times):
            await self.readings.get()

    def pass_(self, **parts: float) -> None:
        self.passed += timedelta(**parts)


@dataclass(slots=True)
class Bench:
    """A replica of the twin that a test drives step by step."""

    database: Database
    twin: RunningServer
    now: Now
    pace: Pace
    connection_id: int
    open_replica_of: Callable[..., Replica]
    replica: Replica = field(init=False)

    def __post_init__(self) -> None:
        self.replica = self.open_replica("worker-1")

    def open_replica(self, name: str, auth: Auth | None = None) -> Replica:
        """Another worker's view of the twin's replica."""
        more = () if auth is None else (auth,)
        return self.open_replica_of(self.connection_id, self.twin.url, name, *more)

    async def add(self, *specs: TableSpec | str) -> None:
        wanted = [TableSpec(spec) if isinstance(spec, str) else spec for spec in specs]
        async with self.database.transaction() as connection:
            owner = await connections.load(connection)
            await add_tables(connection, self.replica.instance, owner, wanted, self.now)

    async def load(self, *specs: TableSpec | str) -> None:
        """Replicate these tables and read them to the end."""
        await self.add(*specs)
        await self.replica.prepare()
        await self.load_shards()

    async def load_shards(self, replica: Replica | None = None) -> None:
        """Read every shard that can be claimed now."""
        while await (replica or self.replica).load_next_shard():
            pass

    def make_incidents(self, number: int, **values: str) -> list[str]:
        """Incidents in the twin, stored as they are, ids in order. Returns the ids."""
        ids = [f"{at * 2**128 // number:032x}" for at in range(number)]
        self.twin.instance.load(
            "incident",
            [
                {"sys_id": key, "number": f"INC{at:07}", "short_description": f"no {at}", **values}
                for at, key in enumerate(ids)
            ],
        )
        return ids

    async def catch_up(self, replica: Replica | None = None) -> int:
        """Let the safety lag pass and follow every table's changes. Returns the rows that changed."""
        self.twin.instance.clock.advance(self.pace.safety_lag.total_seconds() + 1)
        self.now.pass_(seconds=60)
        await source.count(
            (replica or self.replica).instance, "sys_user"
        )  # any answer: the instance's new time is heard
        worker = replica or self.replica
        passes = [await worker.poll(lease) for lease in await worker.claim_due_streams(100)]
        failed = [done.error for done in passes if done.error is not None]
        if failed:
            raise failed[0]
        return sum(done.changed for done in passes)

    async def verify(
        self, table: str, *, repair: bool = False, seconds_ago: float = 0, level: Level = Level.CONTENT
    ) -> Verdict:
        """Verify, as of the instance's time `seconds_ago`."""
        loader = await self.replica.loader(await self.table_id(table))
        await source.count(self.replica.instance, "sys_user")  # the instance's time is heard
        proven_to = await self.replica.instance.server_now() - timedelta(seconds=seconds_ago)
        return await self.replica.verifier.verify(loader, Order(proven_to, repair=repair), level)

    async def table_id(self, table: str) -> int:
        async with self.database.transaction() as connection:
            return next(row.id for row in await tables.all_of(connection) if row.source == table)

    async def let_pass(self, seconds: float) -> None:
        """Time goes by, here and in the instance, and is heard."""
        self.twin.instance.clock.advance(seconds)
        self.now.pass_(seconds=seconds)
        await source.count(self.replica.instance, "sys_user")

    async def tend(self, kind: str, replica: Replica | None = None) -> Tended:
        """Let the only table's duty of this kind come due, and do it; other duties that are due are put off."""
        worker = replica or self.replica
        await worker.upkeep.give_duties()
        async with self.database.transaction() as connection:
            await connection.execute("UPDATE nowbridge.duty SET next_at = 'infinity'")
            await connection.execute("UPDATE nowbridge.duty SET next_at = '-infinity' WHERE kind = %s", (kind,))
        done = await worker.tend_next()
        assert done is not None
        if done.error is not None:
            raise done.error
        return done

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with self.database.transaction() as connection:
            return await (await connection.execute(query)).fetchall()


async def without_waiting(seconds: float) -> None:
    """The client's back-off, with the waiting left out."""
    del seconds
    await asyncio.sleep(0)


@pytest.fixture
async def bench(twin: RunningServer, database_dsn: str) -> AsyncIterator[Bench]:
    now = Now()
    pace = Pace(page_rows=50, poll=timedelta(seconds=1), safety_lag=timedelta(seconds=2))
    clients: list[Client] = []

    def client(url: str) -> Client:
        clients.append(
            Client(
                url, limits=Limits(), sleep=without_waiting, monotonic=time.monotonic, random=random.Random(1).random
            )
        )
        return clients[-1]

    async with Database(database_dsn) as database:
        async with database.transaction() as connection:
            new = NewConnection("twin", twin.url, "basic", "admin", None, b"sealed elsewhere")
            row = await connections.save(connection, new, now=now())

        def open_replica_of(connection_id: int, url: str, name: str = "worker-1", auth: Auth = ADMIN) -> Replica:
            instance = Instance(client(url), auth, now=now)
            replica = Replica(database, instance, connection_id, Holder(name, timedelta(seconds=30)), pace, now)

            async def sleep(seconds: float) -> None:
                twin.instance.clock.advance(seconds)
                now.pass_(seconds=seconds)
                await source.count(instance, "sys_user")

            replica.sleep = sleep
            return replica

        yield Bench(database, twin, now, pace, row.id, open_replica_of)
        for opened in clients:
            await opened.close()
