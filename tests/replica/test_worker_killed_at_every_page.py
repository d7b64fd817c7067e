"""SIGKILL at every step of a load: before a claim, between a page that is applied and the cursor that moves, after the
commit. Somebody else takes over when the lease runs out, and no row is lost, doubled or counted twice.

The killed worker is a process of its own; its clock kills it. The clock is read at every step, also in the middle of the
transaction that holds a page (to stamp the cursor that stands for it), so each reading is a place to die.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from nowbridge.settings import load
from nowbridge.wiring import duties_of
from nowbridge.wiring.replicas import new_holder
from tests.support.replica import Bench

VICTIM = """
import asyncio, os, signal, sys, time
from datetime import UTC, datetime, timedelta
from nowbridge.replica.run import Replica
from nowbridge.replica.spec import Pace
from nowbridge.servicenow.auth import Basic
from nowbridge.servicenow.instance import Instance
from nowbridge.store.database import Database
from nowbridge.store.work.leases import Holder
from nowbridge.transport.client import Client, Limits

url, dsn, connection, die_at = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
readings = 0

def clock():
    global readings
    readings += 1
    if readings == die_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return datetime.now(UTC)

async def main():
    client = Client(url, limits=Limits(), sleep=asyncio.sleep, monotonic=time.monotonic, random=lambda: 0.0)
    async with Database(dsn) as database:
        instance = Instance(client, Basic("admin", "admin"), now=clock)
        holder, pace = Holder("victim", timedelta(seconds=30)), Pace(page_rows=50)
        replica = Replica(database, instance, connection, holder, pace, clock)
        while await replica.load_next_shard():
            pass
    await client.close()

asyncio.run(main())
"""


async def run_victim(bench: Bench, program: Path, die_at: int) -> int:
    """The worker's exit code: -9 when its clock killed it, 0 when it came to the end before."""
    arguments = [str(program), bench.twin.url, bench.database.dsn, str(bench.connection_id), str(die_at)]
    victim = await asyncio.create_subprocess_exec(sys.executable, *arguments, stderr=subprocess.DEVNULL)
    return await victim.wait()


@pytest.mark.req("Q17")
async def test_a_worker_that_dies_at_every_step_leaves_a_load_that_another_ends(bench: Bench, tmp_path: Path) -> None:
    """One worker after the other dies a step further on, in one and the same load."""
    bench.make_incidents(230)
    await bench.add("incident")
    await bench.replica.prepare()
    program = tmp_path / "victim.py"
    program.write_text(VICTIM)
    deaths = 0
    for die_at in range(1, 9):
        deaths += await run_victim(bench, program, die_at) == -signal.SIGKILL
        loaded, counted = (
            await bench.rows("SELECT (SELECT count(*) FROM incident), (SELECT sum(rows)::int FROM nowbridge.shard)")
        )[0]
        assert loaded == counted, "a page and its cursor are there together or not at all"
    assert deaths >= 6, "the kills were to hit"
    abandoned = await bench.rows("SELECT count(*) FROM nowbridge.shard WHERE lease_until IS NOT NULL")
    assert abandoned[0][0] > 0
    bench.now.pass_(seconds=30)
    await bench.load_shards(bench.open_replica("heir"))
    assert await bench.rows("SELECT count(*), count(DISTINCT number) FROM incident") == [(230, 230)]
    assert await bench.rows("SELECT sum(rows)::int FROM nowbridge.shard") == [(230,)]
    assert await bench.rows("SELECT phase FROM nowbridge.replica_table") == [("live",)]
    assert (await bench.verify("incident")).equal


@pytest.mark.req("Q17")
async def test_what_a_killed_worker_had_is_taken_over_within_thirty_seconds(bench: Bench, tmp_path: Path) -> None:
    """By the clock: a lease that was renewed just before the death, and the wait until somebody looks again."""
    settings = load({"HOME": str(tmp_path)})
    lease = new_holder(settings).lease.total_seconds()
    assert lease + duties_of(settings).idle < 30
    bench.make_incidents(20)
    await bench.add("incident")
    await bench.replica.prepare()
    program = tmp_path / "victim.py"
    program.write_text(VICTIM.replace("timedelta(seconds=30)", f"timedelta(seconds={lease})"))
    assert await run_victim(bench, program, 2) == -signal.SIGKILL
    assert await bench.rows("SELECT owner FROM nowbridge.shard WHERE lease_until IS NOT NULL") == [("victim",)]
    heir = bench.open_replica("heir")
    assert not await heir.load_next_shard(), "the lease stands"
    bench.now.passed = timedelta(seconds=29)
    await bench.load_shards(heir)
    assert await bench.rows("SELECT count(*) FROM incident") == [(20,)]
