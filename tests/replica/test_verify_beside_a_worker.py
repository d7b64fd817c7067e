"""Who verifies a table by hand holds the same lease as a worker's duty: one of them at a time, and a pause stops both."""

from __future__ import annotations

import pytest

from nowbridge.model.errors import LostLease, Retry
from nowbridge.replica.verify import Level, Order, Verdict
from nowbridge.store.database import Database
from nowbridge.store.work import duties, pauses
from nowbridge.store.work.leases import Holder
from nowtwin.testing import RunningServer
from tests.support.program import Program
from tests.support.replica import Bench


async def verify(bench: Bench, name: str = "somebody", level: Level = Level.CONTENT) -> Verdict:
    replica = bench.open_replica(name)
    loader = await replica.loader(await bench.table_id("incident"))
    order = Order(await replica.upkeep.proven_to(loader), repair=True)
    return await replica.upkeep.verify(loader, order, level, sleep=replica.sleep)


async def test_it_waits_for_the_worker_and_the_worker_for_it(bench: Bench) -> None:
    bench.make_incidents(5)
    await bench.load("incident")
    table = await bench.table_id("incident")
    worker = Holder("worker-9", bench.replica.holder.lease)
    async with bench.database.transaction() as connection:
        held = await duties.claim_for(connection, table, "check", worker, now=bench.now())
        assert held is not None
        other = Holder("worker-8", bench.replica.holder.lease)
        assert await duties.claim_for(connection, table, "compare", other, now=bench.now()) is None
    before = bench.now.passed
    assert (await verify(bench)).equal
    assert (bench.now.passed - before).total_seconds() >= 29, "the worker's lease had to run out first"
    assert await bench.rows(
        "SELECT count(*) FROM nowbridge.duty WHERE lease_until IS NOT NULL AND kind = 'compare'"
    ) == [(0,)]


async def test_a_worker_that_never_ends_is_named(bench: Bench) -> None:
    bench.make_incidents(1)
    await bench.load("incident")
    table = await bench.table_id("incident")
    async with bench.database.transaction() as connection:
        await duties.claim_for(connection, table, "check", bench.replica.holder, now=bench.now())
        await connection.execute("UPDATE nowbridge.duty SET lease_until = '9999-01-01'")
    with pytest.raises(Retry) as busy:
        await verify(bench)
    assert busy.value.code == "verify.busy"


async def test_a_pause_stops_the_duty_that_is_under_way(bench: Bench) -> None:
    """The worker has claimed and looked; before it repairs, somebody pauses the table."""
    bench.make_incidents(3)
    await bench.load("incident")
    await bench.catch_up()
    table = await bench.table_id("incident")
    loader = await bench.replica.loader(table)
    async with bench.database.transaction() as connection:
        lease = await duties.claim_for(connection, table, "compare", bench.replica.holder, now=bench.now())
        await connection.execute("UPDATE incident SET short_description = 'tampered with'")
        await pauses.pause(connection, [table], now=bench.now())
    with pytest.raises(LostLease):
        await bench.replica.verifier.verify(
            loader, Order(await bench.replica.upkeep.proven_to(loader), repair=True, lease=lease), Level.CONTENT
        )
    assert await bench.rows("SELECT DISTINCT short_description FROM incident") == [("tampered with",)]
    assert await bench.replica.upkeep.claim() is None
    async with bench.database.transaction() as connection:
        await pauses.resume(connection, [table], now=bench.now())
    assert (await verify(bench)).repaired == 3


async def test_a_table_that_cannot_be_followed_is_verified_by_the_command(
    program: Program, account: RunningServer
) -> None:
    """Without update times there is no change stream, and so no proven position to take."""
    await program.store_connection(account.url)
    assert program.run("replicate", "incident").code == 0
    async with Database(program.settings.database_url) as database, database.transaction() as connection:
        await connection.execute("DELETE FROM nowbridge.stream")
    told = program.run("verify", "incident", "--json")
    assert told.code == 0, told.err
    assert told.json["equal"]
