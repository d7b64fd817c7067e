"""One budget for all workers on one database: never more in flight than allowed, by the instance's own count."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from nowbridge.servicenow import tables as source
from nowbridge.servicenow.auth import Basic
from nowbridge.servicenow.instance import Instance
from nowbridge.store.database import Database
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import NewConnection
from nowbridge.store.work import budget as budgets
from nowbridge.store.work.budget import SharedBudget
from nowbridge.transport.budget import Purpose
from nowbridge.transport.client import Client, Limits
from nowbridge.transport.gate import Grant, Report
from nowbridge.transport.purpose import calling_for
from nowtwin.behaviour.faults import FaultRule, Latency
from nowtwin.testing import RunningServer
from tests.support.replica import Now, without_waiting

Worker = Callable[..., Instance]


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    async with Database(database_dsn) as opened:
        yield opened


@pytest.fixture
async def worker(twin: RunningServer, database_dsn: str) -> AsyncIterator[Worker]:
    """Workers, each with connections of its own to the database and the instance."""
    async with AsyncExitStack() as stack:
        pools = [await stack.enter_async_context(Database(database_dsn, max_size=3)) for _ in range(4)]

        def open_worker(name: str, *, own: int = 4, most: int = 4, per_hour: int = 0) -> Instance:
            pool = pools[hash(name) % 4]
            supply = SharedBudget(pool, twin.url, name, most, per_hour)
            client = Client(
                twin.url,
                limits=Limits(in_flight=own, supply=supply),
                sleep=without_waiting,
                monotonic=time.monotonic,
                random=random.Random(1).random,
            )
            stack.push_async_callback(client.close)
            return Instance(client, Basic("admin", "admin"), now=Now())

        yield open_worker


async def ask(instance: Instance, times: int, purpose: Purpose = Purpose.BACKFILL) -> None:
    with calling_for(purpose):
        for _ in range(times):
            await source.count(instance, "incident")


async def spread(worker: Worker, *, times: int, loops: int = 4) -> None:
    """Four workers with as many loops each."""
    workers = [worker(f"w{n}") for n in range(4)]
    await asyncio.gather(*(ask(one, times) for one in workers for _ in range(loops)))


async def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    async with database.transaction() as connection:
        return await (await connection.execute(query)).fetchall()


async def test_four_workers_share_a_budget_of_four(twin: RunningServer, worker: Worker, database: Database) -> None:
    twin.instance.faults.latency = Latency(rtt=0.02)
    await spread(worker, times=12)
    assert twin.instance.calls.total == 4 * 4 * 12
    assert 3 <= twin.instance.calls.most_running <= 4
    assert await rows(database, "SELECT sum(granted) <= 4 FROM nowbridge.budget_claim") == [(True,)]


async def test_shares_wander_when_there_are_more_workers_than_places(twin: RunningServer, worker: Worker) -> None:
    workers = [worker(f"w{n}", most=2) for n in range(5)]
    await asyncio.gather(*(ask(one, 6) for one in workers for _ in range(2)))
    assert twin.instance.calls.total == 60
    assert twin.instance.calls.most_running <= 2


async def test_the_lowest_setting_holds_and_a_worker_keeps_to_its_own(twin: RunningServer, worker: Worker) -> None:
    twin.instance.faults.latency = Latency(rtt=0.02)
    generous, modest = worker("generous", own=8, most=8), worker("modest", own=1, most=3)
    await ask(modest, 1)
    await asyncio.gather(*(ask(generous, 4) for _ in range(8)), *(ask(modest, 4) for _ in range(4)))
    assert twin.instance.calls.most_running <= 3


async def test_a_dead_workers_share_comes_back_with_its_lease(
    twin: RunningServer, worker: Worker, database: Database
) -> None:
    await ask(worker("first"), 1)
    await rows(
        database,
        f"WITH b AS (INSERT INTO nowbridge.budget_claim SELECT url, 'dead', 4, 4, 4, '[]', clock_timestamp(),"
        f" clock_timestamp(), clock_timestamp() + interval '1 hour' FROM nowbridge.budget WHERE url = '{twin.url}'"
        f" RETURNING 1) SELECT * FROM b",
    )
    heir = asyncio.create_task(ask(worker("heir"), 3))
    while await rows(database, "SELECT count(*) FROM nowbridge.budget_claim WHERE holder = 'heir'") == [(0,)]:  # noqa: ASYNC110 - seen in the database
        await asyncio.sleep(0.01)
    assert not heir.done()
    assert twin.instance.calls.total == 1
    await rows(
        database,
        "WITH b AS (UPDATE nowbridge.budget_claim SET lease_until = clock_timestamp() WHERE holder = 'dead'"
        " RETURNING 1) SELECT * FROM b",
    )
    await heir
    assert twin.instance.calls.total == 4


async def test_a_429_of_one_worker_narrows_and_delays_all(
    twin: RunningServer, worker: Worker, database: Database
) -> None:
    one, other = worker("one"), worker("other")
    await ask(one, 1)
    twin.instance.faults.arm([FaultRule(kind="status", status=429, headers={"Retry-After": "1"}, count=1)])
    began = time.monotonic()
    await ask(one, 1)
    await ask(other, 1)
    assert time.monotonic() - began >= 0.9, "nobody called before the instance wanted to be called"
    assert await rows(database, "SELECT allowed, most FROM nowbridge.budget") == [(2, 4)]


async def test_the_hours_calls_are_shared_too(twin: RunningServer, worker: Worker, database: Database) -> None:
    one, other = (worker(name, per_hour=100) for name in ("one", "other"))
    asked = asyncio.gather(ask(one, 20, Purpose.POLL), ask(other, 20, Purpose.POLL))
    while await rows(database, "SELECT count(*) FROM nowbridge.budget WHERE saved < 1") != [(1,)]:  # noqa: ASYNC110 - seen in the database
        await asyncio.sleep(0.02)
    assert twin.instance.calls.total <= 11
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)


async def test_an_urgent_call_of_an_idle_worker_passes_a_busy_ones_backfill(
    twin: RunningServer, worker: Worker
) -> None:
    twin.instance.faults.latency = Latency(rtt=0.05)
    busy, idle = worker("busy"), worker("idle")
    load = asyncio.gather(*(ask(busy, 60) for _ in range(4)))
    while twin.instance.calls.total < 8:  # noqa: ASYNC110 - the twin counts in another thread
        await asyncio.sleep(0.01)
    await ask(idle, 1, Purpose.WRITE)
    assert not load.done()
    load.cancel()
    await asyncio.gather(load, return_exceptions=True)
    assert twin.instance.calls.most_running <= 4


async def test_calls_are_tallied_by_table(twin: RunningServer, worker: Worker, database: Database) -> None:
    one = worker("one")
    await ask(one, 7, Purpose.VERIFY)
    await one._client.close()
    told = await rows(database, "SELECT subject, purpose, calls::int, failures::int FROM nowbridge.call_tally")
    assert told == [("incident", "verify", 7, 0)]
    async with database.transaction() as connection:
        await connections.save(connection, NewConnection("twin", twin.url, "basic", "u", None, b""), now=Now()())
        assert await budgets.calls_per_day(connection) == {("twin", "incident"): 7}
        assert [(b.allowed, b.holders) for b in await budgets.status(connection)] == [(4, 0)]


class Counting(SharedBudget):
    """The same, counting trips to the database."""

    trips = 0

    async def exchange(self, report: Report) -> Grant:
        Counting.trips += 1
        return await super().exchange(report)


async def test_a_call_of_a_busy_worker_costs_no_trip_to_the_database(twin: RunningServer, database: Database) -> None:
    Counting.trips = 0
    limits = Limits(supply=Counting(database, twin.url, "one", most=4))
    client = Client(
        twin.url, limits=limits, sleep=without_waiting, monotonic=time.monotonic, random=random.Random(1).random
    )
    began = time.monotonic()
    await ask(Instance(client, Basic("admin", "admin"), now=Now()), 200)
    took = time.monotonic() - began
    await client.close()
    assert twin.instance.calls.total == 200
    assert Counting.trips <= 3 + took / 0.25
