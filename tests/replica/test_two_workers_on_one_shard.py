"""A worker process is stopped in the middle of a shard, as by a sleeping machine; another takes the shard over and ends
it; the first wakes up, finds its claim gone and changes nothing.
"""

from __future__ import annotations

import asyncio
import signal

import pytest

from nowbridge.store.database import Database
from nowtwin.behaviour.faults import Latency
from nowtwin.testing import RunningServer
from tests.support.program import Program, interrupt

SMALL = {"NOWBRIDGE_PAGE_ROWS": "20", "NOWBRIDGE_LEASE_SECONDS": "2", "NOWBRIDGE_HEARTBEAT_SECONDS": "0.5"}


async def value(database: Database, query: str) -> object:
    async with database.transaction() as connection:
        row = await (await connection.execute(query)).fetchone()
    return row[0] if row else None


async def until(database: Database, query: str) -> None:
    while not await value(database, query):  # noqa: ASYNC110 - other processes, seen in the database
        await asyncio.sleep(0.05)


@pytest.mark.trap("31")
@pytest.mark.req("Q17")
async def test_the_zombie_changes_nothing(program: Program, account: RunningServer) -> None:
    account.instance.load("problem", [{"short_description": f"no {n}"} for n in range(1_200)])
    account.instance.faults.latency = Latency(rtt=0.1)
    await program.store_connection(account.url)
    assert program.run("replicate", "problem", "--detach", **SMALL).code == 0
    zombie = program.start("worker", **SMALL)
    async with Database(program.settings.database_url) as database:
        await until(database, "SELECT count(*) > 40 FROM problem")
        zombie.send_signal(signal.SIGSTOP)
        mine = await value(database, "SELECT count(*) FROM nowbridge.shard WHERE done_at IS NULL AND owner IS NOT NULL")
        heir = program.start("worker", **SMALL)
        try:
            await until(database, "SELECT phase = 'live' FROM nowbridge.replica_table")
            zombie.send_signal(signal.SIGCONT)
            account.instance.insert("problem", {"short_description": "while the zombie wakes up"})
            await until(database, "SELECT count(*) = 1201 FROM problem")
        finally:
            zombie.send_signal(signal.SIGCONT)
            ended = [await asyncio.to_thread(interrupt, one) for one in (zombie, heir)]
        assert mine, "it was stopped in the middle of its work"
        assert [code for code, _, _ in ended] == [0, 0], ended
        assert await value(database, "SELECT sum(rows)::int FROM nowbridge.shard") == 1_200
        assert await value(database, "SELECT count(DISTINCT sys_id) FROM problem") == 1_201
    assert program.run("verify", "problem").code == 0
