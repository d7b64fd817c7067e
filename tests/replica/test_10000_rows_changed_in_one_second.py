"""10,000 rows changed in one second: told of one by one, read back a hundred in a call; and without hints, by the poll."""

import asyncio
from dataclasses import replace

import pytest

from tests.support.hooks import HookBench
from tests.support.replica import Bench

ROWS = 10_000
TABLE = "sys_user_group"
CHANGED = f"SELECT count(*) FROM {TABLE} WHERE description = 'changed at once'"


def make_groups(bench: Bench, **values: str) -> list[str]:
    """As a script in the instance does it: all within one second."""
    ids = [f"{at * 2**128 // ROWS:032x}" for at in range(ROWS)]
    bench.twin.instance.load(TABLE, [{"sys_id": key, "name": f"group {at}", **values} for at, key in enumerate(ids)])
    return ids


async def load_all(bench: Bench) -> list[str]:
    """In pages of 1,000: the second that follows is ten of them long."""
    bench.replica.pace = replace(bench.pace, page_rows=1_000)
    ids = make_groups(bench)
    await bench.load(TABLE)
    return ids


def change_all(bench: Bench) -> None:
    moment = bench.twin.instance.clock.stamp()
    make_groups(bench, description="changed at once", sys_mod_count="1", sys_updated_on=moment)


async def test_hints_of_all_of_them_are_read_back_a_hundred_in_a_call(hooked: HookBench) -> None:
    bench = hooked.bench
    ids = await load_all(bench)
    await hooked.cover(TABLE)
    change_all(bench)
    told = [{"table": TABLE, "sys_id": key, "operation": "update", "sys_mod_count": "1", "rule": TABLE} for key in ids]
    posts = [hooked.signed({"hints": told[start : start + 100]}) for start in range(0, ROWS, 100)]
    await asyncio.gather(*(hooked.deliver(post) for post in posts))
    bench.twin.instance.calls.clear()
    assert await hooked.read_all() == ROWS
    calls = [call for call in bench.twin.instance.calls.entries if call.path == f"/api/now/table/{TABLE}"]
    assert len(calls) == ROWS // 100
    assert await bench.rows(CHANGED) == [(ROWS,)]
    assert await bench.catch_up() == 0
    assert (await hooked.loss(TABLE)).lost == 0


@pytest.mark.trap("25")
async def test_the_poll_reads_a_second_that_is_longer_than_a_page(bench: Bench) -> None:
    await load_all(bench)
    change_all(bench)
    assert await bench.catch_up() == ROWS
    assert await bench.rows(CHANGED) == [(ROWS,)]
