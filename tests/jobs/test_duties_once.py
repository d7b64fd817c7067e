"""What is due at a time is done by one of the workers, once."""

from __future__ import annotations

import asyncio

from nowbridge.replica.run import Replica
from tests.support.replica import Bench


async def test_of_workers_that_look_at_once_one_does_each_duty(bench: Bench) -> None:
    bench.make_incidents(20)
    await bench.load("incident")
    workers = [bench.replica, bench.open_replica("two"), bench.open_replica("three")]
    await bench.replica.upkeep.give_duties()
    assert sorted(await done_by(workers)) == ["audit", "index", "schema"], "the others are spread over their time"
    bench.now.pass_(days=2)
    assert sorted(await done_by(workers)) == ["audit", "check", "compare", "index", "recent", "schema"]
    assert await done_by(workers) == []


async def test_one_duty_of_a_table_is_under_way_at_a_time(bench: Bench) -> None:
    bench.make_incidents(2)
    await bench.load("incident")
    workers = [bench.replica, *(bench.open_replica(f"worker-{number}") for number in range(2, 7))]
    for _ in range(3):
        bench.now.pass_(days=2)
        claims = await asyncio.gather(*(worker.upkeep.claim() for worker in workers))
        assert sum(claim is not None for claim in claims) == 1


async def done_by(workers: list[Replica]) -> list[str]:
    """What is done by all of them at once until nothing is due, by kind."""
    done: list[str] = []
    while found := [one for one in await asyncio.gather(*(worker.tend_next() for worker in workers)) if one]:
        done += [one.kind for one in found if not one.more]
    return done
