"""10,000 rows changed in one second: told of one by one, read back a hundred in a call; and without hints, by the poll.

The full 10,000 are played with --soak; every run plays 2,000, which are as much more than a page and a call hold.
"""

import asyncio

import pytest

from tests.support.hooks import HookBench
from tests.support.replica import Bench

ROWS = pytest.mark.parametrize("rows", [2_000, pytest.param(10_000, marks=pytest.mark.soak)])
TABLE = "sys_user_group"
CHANGED = f"SELECT count(*) FROM {TABLE} WHERE description = 'changed at once'"


def make_groups(bench: Bench, rows: int, **values: str) -> list[str]:
    """As a script in the instance does it: all within one second."""
    ids = [f"{at * 2**128 // rows:032x}" for at in range(rows)]
    bench.twin.instance.load(TABLE, [{"sys_id": key, "name": f"group {at}", **values} for at, key in enumerate(ids)])
    return ids


def change_all(bench: Bench, rows: int) -> None:
    moment = bench.twin.instance.clock.stamp()
    make_groups(bench, rows, description="changed at once", sys_mod_count="1", sys_updated_on=moment)


@ROWS
async def test_hints_of_all_of_them_are_read_back_a_hundred_in_a_call(hooked: HookBench, rows: int) -> None:
    bench = hooked.bench
    ids = make_groups(bench, rows)
    await bench.load(TABLE)
    await hooked.cover(TABLE)
    change_all(bench, rows)
    told = [{"table": TABLE, "sys_id": key, "operation": "update", "sys_mod_count": "1", "rule": TABLE} for key in ids]
    posts = [hooked.signed({"hints": told[start : start + 100]}) for start in range(0, rows, 100)]
    await asyncio.gather(*(hooked.deliver(post) for post in posts))
    bench.twin.instance.calls.clear()
    assert await hooked.read_all() == rows
    calls = [call for call in bench.twin.instance.calls.entries if call.path == f"/api/now/table/{TABLE}"]
    assert len(calls) == rows // 100
    assert await bench.rows(CHANGED) == [(rows,)]
    assert await bench.catch_up() == 0
    assert (await hooked.loss(TABLE)).lost == 0


@ROWS
@pytest.mark.trap("25")
async def test_the_poll_reads_a_second_that_is_longer_than_a_page(bench: Bench, rows: int) -> None:
    make_groups(bench, rows)
    await bench.load(TABLE)
    change_all(bench, rows)
    assert await bench.catch_up() == rows
    assert await bench.rows(CHANGED) == [(rows,)]
