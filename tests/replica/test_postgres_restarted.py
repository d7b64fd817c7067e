"""Postgres goes down in the middle of a load, comes back, and goes down again while changes are followed: the worker
waits, goes on by itself, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nowbridge.store.database import Database
from nowbridge.store.server import embedded
from nowbridge.store.server.embedded import EmbeddedServer
from nowbridge.store.server.provision import provision
from nowbridge.wiring import install
from nowtwin.behaviour.faults import Latency
from nowtwin.testing import RunningServer
from tests.support.program import Program, environment_for, interrupt


@contextmanager
def own_server() -> Iterator[tuple[Path, EmbeddedServer]]:
    """A server of this test's own, with the settings of production."""
    with tempfile.TemporaryDirectory(prefix="nowbridge-") as directory:
        home = Path(directory)
        server = embedded.ensure_running(home)
        try:
            yield home, server
        finally:
            embedded.stop(home, mode="immediate")
            if (home / "postgres").is_symlink():
                shutil.rmtree((home / "postgres").resolve())


SMALL = {"NOWBRIDGE_PAGE_ROWS": "20", "NOWBRIDGE_LEASE_SECONDS": "2", "NOWBRIDGE_HEARTBEAT_SECONDS": "0.5"}


async def until(dsn: str, query: str) -> None:
    async with Database(dsn) as database:
        while True:
            async with database.transaction() as connection:
                row = await (await connection.execute(query)).fetchone()
            if row is not None and row[0]:
                return
            await asyncio.sleep(0.05)


@pytest.mark.timeout(60)
async def test_the_worker_outlives_it(tmp_path: Path, account: RunningServer) -> None:
    account.instance.load("problem", [{"short_description": f"no {n}"} for n in range(1_000)])
    account.instance.faults.latency = Latency(rtt=0.05)
    with own_server() as (home, server):

        def restart() -> None:
            assert embedded.stop(home, mode="immediate")
            assert embedded.ensure_running(home).port == server.port

        dsn = provision(server)
        install(dsn)
        program = Program({**environment_for(tmp_path), "DATABASE_URL": dsn})
        program.prepare()
        await program.store_connection(account.url)
        assert program.run("replicate", "problem", "--detach", **SMALL).code == 0
        worker = program.start("worker", **SMALL)
        try:
            await until(dsn, "SELECT count(*) > 100 FROM problem")
            await asyncio.to_thread(restart)
            await until(dsn, "SELECT phase = 'live' FROM nowbridge.replica_table")
            await asyncio.to_thread(restart)
            account.instance.insert("problem", {"short_description": "after the second restart"})
            await until(dsn, "SELECT count(*) = 1001 FROM problem")
        finally:
            code, _, said = await asyncio.to_thread(interrupt, worker)
        assert code == 0, said
        assert "Traceback" not in said
        assert program.run("verify", "problem").code == 0
