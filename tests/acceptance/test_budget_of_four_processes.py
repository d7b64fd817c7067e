"""Four worker processes on one database never have more in flight than the budget, by the instance's own count."""

from __future__ import annotations

import asyncio

import pytest

from nowbridge.store.database import Database
from nowtwin.behaviour.faults import Latency
from nowtwin.testing import RunningServer
from tests.support.program import Program, interrupt


async def _until_live(dsn: str) -> None:
    async with Database(dsn) as database:
        while not await _all_live(database):  # noqa: ASYNC110 - other processes, seen in the database
            await asyncio.sleep(0.1)


async def _all_live(database: Database) -> bool:
    async with database.transaction() as connection:
        cursor = await connection.execute("SELECT bool_and(phase = 'live') FROM nowbridge.replica_table")
        return await cursor.fetchone() == (True,)


@pytest.mark.timeout(240)
async def test_four_workers_keep_to_a_budget_of_four(program: Program, account: RunningServer) -> None:
    account.instance.load("problem", [{"short_description": f"no {n}"} for n in range(1_500)])
    account.instance.faults.latency = Latency(rtt=0.1)
    await program.store_connection(account.url)
    small = {"NOWBRIDGE_PAGE_ROWS": "20"}
    assert program.run("replicate", "problem", "incident", "--detach", **small).code == 0
    workers = [program.start("worker", **small) for _ in range(4)]
    try:
        await _until_live(program.settings.database_url)
    finally:
        ended = [await asyncio.to_thread(interrupt, one) for one in workers]
    assert [code for code, _, _ in ended] == [0] * 4
    assert 3 <= account.instance.calls.most_running <= 4
