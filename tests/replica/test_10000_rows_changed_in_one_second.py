"""10,000 rows changed in one second: told of one by one, read back a hundred in a call; and without hints, by the poll."""

import asyncio

import pytest

from tests.support.hooks import HookBench
from tests.support.replica import Bench

ROWS = 10_000


def change_all(bench: Bench, ids: list[str], moment: str) -> None:
    """As a script in the instance does it: all within one second."""
    rows = [
        {
            "sys_id": key,
            "number": f"INC{at:07}",
            "short_description": "changed at once",
            "sys_mod_count": "1",
            "sys_updated_on": moment,
        }
        for at, key in enumerate(ids)
    ]
    bench.twin.instance.load("incident", rows)


async def test_hints_of_all_of_them_are_read_back_a_hundred_in_a_call(hooked: HookBench) -> None:
    bench = hooked.bench
    ids = bench.make_incidents(ROWS)
    await bench.load("incident")
    await hooked.cover("incident")
    change_all(bench, ids, bench.twin.instance.clock.stamp())
    body = [
        {"table": "incident", "sys_id": key, "operation": "update", "sys_mod_count": "1", "rule": "incident"}
        for key in ids
    ]
    posts = [hooked.signed({"hints": body[start : start + 100]}) for start in range(0, ROWS, 100)]
    await asyncio.gather(*(hooked.deliver(post) for post in posts))
    bench.twin.instance.calls.clear()
    assert await hooked.read_all() == ROWS
    calls = [call for call in bench.twin.instance.calls.entries if call.path == "/api/now/table/incident"]
    assert len(calls) == ROWS // 100
    assert await bench.rows("SELECT count(*) FROM incident WHERE short_description = 'changed at once'") == [(ROWS,)]
    assert await bench.catch_up() == 0
    assert (await hooked.loss()).lost == 0


@pytest.mark.trap("25")
async def test_the_poll_reads_a_second_that_is_longer_than_a_page(hooked: HookBench) -> None:
    bench = hooked.bench
    ids = bench.make_incidents(ROWS)
    await bench.load("incident")
    change_all(bench, ids, bench.twin.instance.clock.stamp())
    assert await bench.catch_up() == ROWS
    assert await bench.rows("SELECT count(*) FROM incident WHERE short_description = 'changed at once'") == [(ROWS,)]
