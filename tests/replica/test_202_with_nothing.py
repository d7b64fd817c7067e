"""The instance's session queue is full: 202 and an empty body, which is not a page without rows."""

from __future__ import annotations

import pytest

from nowtwin.behaviour.faults import FaultRule
from tests.support.replica import Bench


async def test_a_load_waits_and_reads_everything(bench: Bench) -> None:
    bench.make_incidents(230)
    await bench.add("incident")
    await bench.replica.prepare()
    bench.twin.instance.faults.arm([FaultRule(kind="accepted", table="incident", probability=0.6, count=30)])
    for _ in range(10):
        await bench.load_shards()
        bench.now.pass_(minutes=5)
    assert await bench.rows("SELECT count(*), count(DISTINCT number) FROM incident") == [(230, 230)]
    assert sum(call.status == 202 for call in bench.twin.instance.calls.entries) >= 5


@pytest.mark.trap("29")
async def test_a_pass_over_the_changes_proves_nothing_by_it(bench: Bench) -> None:
    key = bench.make_incidents(3)[0]
    await bench.load("incident")
    await bench.catch_up()
    proven = await bench.rows("SELECT proven_to FROM nowbridge.stream")
    bench.twin.instance.update("incident", key, {"short_description": "meanwhile"}, user="admin")
    await bench.let_pass(60)
    bench.twin.instance.faults.arm([FaultRule(kind="accepted", table="incident")])
    (lease,) = await bench.replica.claim_due_streams(1)
    failed = await bench.replica.poll(lease)
    assert failed.error is not None
    assert failed.error.code == "busy.session"
    assert await bench.rows("SELECT proven_to FROM nowbridge.stream") == proven
    bench.twin.instance.faults.arm([])
    bench.now.pass_(minutes=10)
    assert await bench.catch_up() == 1
