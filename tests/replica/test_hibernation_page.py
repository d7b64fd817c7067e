"""A developer instance falls asleep: every call is answered 200 with a web page, until somebody wakes it."""

from __future__ import annotations

import pytest

from nowtwin.behaviour.faults import FaultRule
from tests.support.replica import Bench


async def test_the_load_stops_says_why_and_goes_on_after_the_waking(bench: Bench) -> None:
    bench.make_incidents(230)
    await bench.add("incident")
    await bench.replica.prepare()
    bench.twin.instance.faults.arm([FaultRule(kind="hibernating", skip=2)])
    await bench.load_shards()
    said = await bench.rows("SELECT DISTINCT last_error->>'code' FROM nowbridge.shard WHERE last_error IS NOT NULL")
    assert said == [("instance.hibernating",)]
    calls = bench.twin.instance.calls.total
    bench.now.pass_(seconds=60)
    await bench.load_shards()
    assert bench.twin.instance.calls.total == calls, "a sleeping instance is not hammered"
    bench.twin.instance.faults.arm([])
    bench.now.pass_(minutes=5)
    await bench.load_shards()
    assert await bench.rows("SELECT count(*), count(DISTINCT number) FROM incident") == [(230, 230)]


@pytest.mark.parametrize("duty", ["audit", "check", "compare"])
async def test_no_duty_takes_the_page_for_an_answer(bench: Bench, duty: str) -> None:
    bench.make_incidents(60)
    await bench.load("incident")
    await bench.catch_up()
    await bench.replica.upkeep.give_duties()
    async with bench.database.transaction() as connection:
        await connection.execute("UPDATE nowbridge.duty SET next_at = 'infinity'")
        await connection.execute("UPDATE nowbridge.duty SET next_at = '-infinity' WHERE kind = %s", (duty,))
    bench.twin.instance.faults.arm([FaultRule(kind="hibernating")])
    done = await bench.replica.tend_next()
    assert done is not None
    assert done.error is not None
    assert done.error.code == "instance.hibernating"
    assert await bench.rows("SELECT count(*) FROM incident") == [(60,)]
