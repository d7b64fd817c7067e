"""The instance refuses most calls with 429 for a while, then all of them: slower, never wrong, and no call more than it
asked for.
"""

from __future__ import annotations

import pytest

from nowtwin.behaviour.faults import FaultRule
from tests.support.replica import Bench

TABLE = "/api/now/table/incident"


def storm(bench: Bench, **more: object) -> None:
    rule = {"kind": "status", "status": 429, "headers": {"Retry-After": "7"}, "route": TABLE} | more
    bench.twin.instance.faults.arm([FaultRule(**rule)])  # type: ignore[arg-type]


async def test_a_load_in_a_storm_ends_complete(bench: Bench) -> None:
    bench.make_incidents(400)
    await bench.add("incident")
    await bench.replica.prepare()
    storm(bench, probability=0.7, count=60)
    for _ in range(20):
        await bench.load_shards()
        bench.now.pass_(minutes=5)
    assert await bench.rows("SELECT count(*), count(DISTINCT number) FROM incident") == [(400, 400)]
    assert await bench.rows("SELECT phase FROM nowbridge.replica_table") == [("live",)]
    assert sum(call.status == 429 for call in bench.twin.instance.calls.entries) >= 10


async def test_the_time_that_was_asked_for_is_kept(bench: Bench) -> None:
    """Nothing is asked of the table before Retry-After has passed."""
    bench.make_incidents(50)
    await bench.add("incident")
    await bench.replica.prepare()
    storm(bench, headers={"Retry-After": "600"})
    await bench.load_shards()
    assert await bench.rows("SELECT DISTINCT last_error->>'code' FROM nowbridge.shard") == [("busy.rate_limit",)]
    bench.twin.instance.faults.arm([])
    before = bench.twin.instance.calls.total
    bench.now.pass_(seconds=590)
    assert not await bench.replica.load_next_shard()
    assert bench.twin.instance.calls.total == before
    bench.now.pass_(seconds=11)
    await bench.load_shards()
    assert await bench.rows("SELECT count(*) FROM incident") == [(50,)]


@pytest.mark.parametrize("probability", [0.5, 1.0])
async def test_changes_in_a_storm_come_afterwards(bench: Bench, probability: float) -> None:
    keys = bench.make_incidents(120)
    await bench.load("incident")
    for key in keys[::3]:
        bench.twin.instance.update("incident", key, {"short_description": "meanwhile"}, user="admin")
    storm(bench, probability=probability)
    bench.now.pass_(seconds=60)
    for lease in await bench.replica.claim_due_streams(10):
        await bench.replica.poll(lease)
    bench.twin.instance.faults.arm([])
    bench.now.pass_(minutes=10)
    await bench.catch_up()
    assert await bench.rows("SELECT count(*) FROM incident WHERE short_description = 'meanwhile'") == [(40,)]
