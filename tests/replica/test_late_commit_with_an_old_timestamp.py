"""A transaction that commits with a time that the change stream has passed: the drift pass over what changed lately finds it."""

from datetime import timedelta

import pytest

from tests.support.replica import Bench


def at(bench: Bench, seconds_ago: float) -> str:
    bench.twin.instance.clock.advance(-seconds_ago)
    stamp = bench.twin.instance.clock.stamp()
    bench.twin.instance.clock.advance(seconds_ago)
    return stamp


@pytest.mark.req("Q22")
async def test_what_is_committed_within_the_safety_lag_is_found_by_the_next_look(bench: Bench) -> None:
    """The cursor stays that far behind the instance's clock, so nobody has to look for it."""
    ids = bench.make_incidents(5)
    await bench.load("incident")
    await bench.let_pass(600)
    await bench.catch_up()
    bench.twin.instance.clock.freeze()
    bench.twin.instance.update("incident", ids[0], {"short_description": "of this very second"}, user="admin")
    bench.now.pass_(seconds=60)
    due = await bench.replica.claim_due_streams(9)
    assert [(await bench.replica.poll(stream)).changed for stream in due] == [0]
    late = at(bench, bench.pace.safety_lag.total_seconds() / 2)
    bench.twin.instance.load(
        "incident", [{"sys_id": ids[3], "short_description": "late", "sys_updated_on": late, "sys_mod_count": "7"}]
    )
    assert await bench.catch_up() == 2
    assert (await bench.verify("incident")).equal


@pytest.mark.req("Q22")
async def test_what_is_committed_late_is_found_by_the_pass_over_what_changed_lately(bench: Bench) -> None:
    ids = bench.make_incidents(60)
    await bench.load("incident")
    await bench.let_pass(600)
    bench.twin.instance.update("incident", ids[0], {"short_description": "moves the cursor"}, user="admin")
    assert await bench.catch_up() == 1
    late = at(bench, 300)
    bench.twin.instance.load(
        "incident",
        [
            {"sys_id": "f" * 32, "short_description": "inserted late", "sys_updated_on": late, "sys_mod_count": "0"},
            {"sys_id": ids[3], "short_description": "updated late", "sys_updated_on": late, "sys_mod_count": "7"},
        ],
    )
    assert await bench.catch_up() == 0, "the cursor has passed that time"
    done = await bench.tend("recent")
    assert done.wrong == 2
    assert done.calls <= 3
    feed = "SELECT operation, source FROM _sync_cdc WHERE source = 'recent' ORDER BY operation"
    assert await bench.rows(feed) == [("insert", "recent"), ("update", "recent")]
    assert (await bench.verify("incident")).equal
    assert (await bench.tend("recent")).wrong == 0


async def test_what_is_older_than_the_window_is_the_comparison_s(bench: Bench) -> None:
    bench.make_incidents(10)
    await bench.load("incident")
    await bench.let_pass(3 * 3_600)
    await bench.catch_up()
    old = at(bench, (bench.pace.recent_window + timedelta(minutes=30)).total_seconds())
    bench.twin.instance.load("incident", [{"sys_id": "f" * 32, "sys_updated_on": old, "sys_mod_count": "0"}])
    assert (await bench.tend("recent")).wrong == 0
    assert (await bench.tend("compare")).wrong == 1
