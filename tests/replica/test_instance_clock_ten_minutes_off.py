"""The instance's clock is ten minutes ahead of ours, or behind: cursors follow the instance's, so nothing is missed."""

from __future__ import annotations

import pytest

from nowbridge.replica.verify import Level
from tests.support.replica import Bench


@pytest.mark.parametrize("ahead", [600, -600])
async def test_changes_during_and_after_the_load_are_in_the_replica(bench: Bench, ahead: float) -> None:
    bench.twin.instance.clock.advance(ahead)
    keys = bench.make_incidents(200)
    await bench.add("incident")
    await bench.replica.prepare()
    assert await bench.replica.load_next_shard()
    for key in (keys[0], keys[-1]):  # one in what was read, one in what was not
        bench.twin.instance.update("incident", key, {"short_description": "during"}, user="admin")
    await bench.load_shards()
    await bench.catch_up()
    bench.twin.instance.update("incident", keys[5], {"short_description": "after"}, user="admin")
    await bench.catch_up()
    told = "SELECT short_description, count(*) FROM incident WHERE short_description !~ '^no' GROUP BY 1 ORDER BY 1"
    assert await bench.rows(told) == [("after", 1), ("during", 2)]
    for level in Level:
        assert (await bench.verify("incident", level=level)).equal


@pytest.mark.parametrize("jump", [600, -600])
async def test_a_clock_that_is_put_right_loses_no_change(bench: Bench, jump: float) -> None:
    """Set back, it stamps changes with times that the cursor has passed: the comparison of keys brings them."""
    keys = bench.make_incidents(20)
    await bench.load("incident")
    await bench.catch_up()
    bench.twin.instance.clock.advance(jump)
    bench.twin.instance.update("incident", keys[3], {"short_description": "after the jump"}, user="admin")
    await bench.let_pass(10)
    await bench.catch_up()
    await bench.tend("compare")
    assert await bench.rows("SELECT count(*) FROM incident WHERE short_description = 'after the jump'") == [(1,)]


async def test_a_deletion_is_found_by_the_instances_time(bench: Bench) -> None:
    bench.twin.instance.clock.advance(-600)
    keys = bench.make_incidents(20)
    await bench.load("incident")
    await bench.catch_up()
    await bench.tend("audit")
    bench.twin.instance.delete("incident", keys[4], user="admin")
    await bench.let_pass(10)
    assert (await bench.tend("audit")).removed == 1
