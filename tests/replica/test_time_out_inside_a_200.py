"""ServiceNow ran out of its own time: status 200, some rows, and an error behind them."""

from __future__ import annotations

import pytest

from nowtwin.behaviour.faults import FaultRule
from tests.support.replica import Bench


@pytest.mark.parametrize("rows", [0, 1, 20])
async def test_the_rows_before_the_error_are_no_page(bench: Bench, rows: int) -> None:
    bench.make_incidents(230)
    await bench.add("incident")
    await bench.replica.prepare()
    bench.twin.instance.faults.arm([FaultRule(kind="error_in_body", rows=rows, table="incident")])
    await bench.load_shards()
    assert await bench.rows("SELECT count(*) FROM incident") == [(0,)]
    assert await bench.rows("SELECT DISTINCT last_error->>'code' FROM nowbridge.shard") == [("busy.quota",)]
    bench.twin.instance.faults.arm([])
    bench.now.pass_(minutes=10)
    await bench.load_shards()
    assert await bench.rows("SELECT count(*), count(DISTINCT number) FROM incident") == [(230, 230)]


async def test_a_check_takes_no_missing_row_for_a_deleted_one(bench: Bench) -> None:
    bench.make_incidents(60)
    await bench.load("incident")
    await bench.catch_up()
    bench.twin.instance.faults.arm([FaultRule(kind="error_in_body", rows=3, table="incident")])
    await bench.replica.upkeep.give_duties()
    async with bench.database.transaction() as connection:
        await connection.execute("UPDATE nowbridge.duty SET next_at = '-infinity' WHERE kind = 'compare'")
    done = await bench.replica.tend_next()
    assert done is not None
    assert (done.error is not None, done.removed) == (True, 0)
    assert await bench.rows("SELECT count(*) FROM incident") == [(60,)]
