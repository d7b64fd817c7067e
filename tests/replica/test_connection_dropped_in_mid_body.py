"""A page breaks off in the middle of its body, at the first row or before the last brace: it is never taken for a page."""

from __future__ import annotations

import pytest

from nowtwin.behaviour.faults import FaultRule
from tests.support.replica import Bench


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 0.999])
async def test_the_page_is_read_again_and_no_row_is_missing(bench: Bench, fraction: float) -> None:
    bench.make_incidents(230)
    await bench.add("incident")
    await bench.replica.prepare()
    rule = FaultRule(kind="truncate", fraction=fraction, table="incident", probability=0.5, count=8)
    bench.twin.instance.faults.arm([rule])
    for _ in range(6):
        await bench.load_shards()
        bench.now.pass_(minutes=5)
    assert await bench.rows("SELECT count(*), count(DISTINCT number) FROM incident") == [(230, 230)]
    assert await bench.rows("SELECT sum(rows)::int FROM nowbridge.shard") == [(230,)]


async def test_changes_are_followed_from_where_the_last_whole_page_ended(bench: Bench) -> None:
    keys = bench.make_incidents(130)
    await bench.load("incident")
    for key in keys:
        bench.twin.instance.update("incident", key, {"short_description": "meanwhile"}, user="admin")
    await bench.let_pass(60)
    bench.twin.instance.faults.arm([FaultRule(kind="truncate", table="incident", skip=2)])
    (lease,) = await bench.replica.claim_due_streams(1)
    failed = await bench.replica.poll(lease)
    assert failed.error is not None
    assert failed.error.code == "answer.cut"
    ((brought,),) = await bench.rows("SELECT count(*) FROM incident WHERE short_description = 'meanwhile'")
    assert 0 < brought < 130
    bench.twin.instance.faults.arm([])
    bench.now.pass_(minutes=10)
    await bench.catch_up()
    assert await bench.rows("SELECT count(*) FROM incident WHERE short_description = 'meanwhile'") == [(130,)]
