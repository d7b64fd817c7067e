"""Two workers against one on an instance that takes a second for every answer, each limited to two requests in flight of a
budget of four; and four workers without a limit of their own, of which the instance counts how many requests it ever had
at a time.

The workers are `nowbridge worker` as a user starts it, each a process of its own. They are up before there is work, so
that a load lasts from the first shard that was begun to the last that was done, by the workers' own clocks.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from benchmarks import places, verify_calls
from benchmarks.places import Databases
from benchmarks.result import Measure, Options, Ratio, Result, ratio
from nowbridge import wiring
from nowbridge.replica.run import Replica, add_tables
from nowbridge.replica.spec import Pace, TableSpec
from nowbridge.settings import Settings
from nowbridge.store.database import Database
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import NewConnection
from nowbridge.wiring import Credentials, SignIn
from nowtwin.behaviour.faults import Latency
from nowtwin.instance import Instance as Twin
from nowtwin.testing import RunningServer, serve

NAME = "workers"
TABLE = "cmn_location"
PAGE = 1_000
BUDGET = 4
EACH = 2
BAR = 1.7
LATENCY = 1.0  # seconds
PATIENCE = 300.0
PROGRAM = Path(sys.executable).parent / "nowbridge"
SIGN_IN = SignIn("basic", "admin", None, Credentials(password="admin"))


def run(options: Options) -> Result:
    with places.durable_postgres() as databases, Twin() as twin, serve(twin) as server:
        twin.load(TABLE, (_record(*row) for row in verify_calls.rows(options.rows)))
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for number in range(options.rounds):
            for workers in (1, 2) if number % 2 == 0 else (2, 1):
                seconds[workers].append(_load(databases, server, workers, each=EACH)[0])
        lasted, most = _load(databases, server, 4, each=None)
    measures = [
        Measure(f"{workers} worker{'s' * (workers > 1)}", "rows/s", tuple(options.rows / s for s in found), 0.0)
        for workers, found in seconds.items()
    ]
    in_flight = Measure(
        "4 workers: most in flight", "requests", (float(most),), 0.0, f"{lasted:.0f} s; bar <= {BUDGET}"
    )
    return Result(
        NAME,
        (
            f"{options.rows:,} rows in pages of {PAGE:,}, {LATENCY:g} s for every answer; {options.rounds} rounds",
            f"one and two workers: {EACH} requests in flight each, of a budget of {BUDGET}; four: the budget alone",
        ),
        (*measures, in_flight),
        (
            ratio("2 workers / 1 worker", measures[1], measures[0], bar=BAR),
            Ratio("budget / most in flight", (BUDGET / most,), bar=1.0),
        ),
        f"load average {os.getloadavg()[0]:.1f}; most of the time is the instance's second",
        facts={"seconds": {str(workers): found for workers, found in seconds.items()}, "most_in_flight": most},
    )


def _record(sys_id: str, changes: str, stamp: str) -> dict[str, str]:
    return {"sys_id": sys_id, "sys_mod_count": changes, "sys_updated_on": stamp, "sys_created_on": stamp}


def _load(databases: Databases, server: RunningServer, workers: int, *, each: int | None) -> tuple[float, int]:
    """Seconds that so many workers take, and the most requests that the instance had at a time."""
    with databases.fresh() as dsn, tempfile.TemporaryDirectory(prefix="nowbridge-bench-") as home:
        settings = Settings(home=home, database_url=dsn, page_rows=PAGE, requests_in_flight=BUDGET)
        wiring.prepare_home(settings)
        server.instance.faults.latency = Latency()
        asyncio.run(_connect(settings, server.url))
        server.instance.calls.clear()
        server.instance.faults.latency = Latency(rtt=LATENCY)
        try:
            with _running(settings, workers, each):
                lasted = asyncio.run(_lasted(settings, workers, server.url))
        finally:
            server.instance.faults.latency = Latency()
        return lasted, server.instance.calls.most_running


async def _connect(settings: Settings, url: str) -> None:
    async with Database(settings.database_url) as database, database.transaction() as connection:
        sealed = wiring.sealed(settings, "bench", url, SIGN_IN.credentials)
        new = NewConnection("bench", url, SIGN_IN.auth, SIGN_IN.username, None, sealed)
        row = await connections.save(connection, new, now=wiring.now())
        async with wiring.instance_of(settings, url, SIGN_IN) as instance:
            await add_tables(connection, instance, row, [TableSpec(TABLE)], wiring.now)


@contextmanager
def _running(settings: Settings, workers: int, each: int | None) -> Iterator[None]:
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": settings.home,
        "NOWBRIDGE_HOME": settings.home,
        "DATABASE_URL": settings.database_url,
        "NOWBRIDGE_PAGE_ROWS": str(PAGE),
        "NOWBRIDGE_REQUESTS_IN_FLIGHT": str(BUDGET),
        "NOWBRIDGE_WORKER_REQUESTS_IN_FLIGHT": "" if each is None else str(each),
        "NOWBRIDGE_LOG": "error",
    }
    started = [
        subprocess.Popen((PROGRAM, "worker"), env=variables, stdin=subprocess.DEVNULL, start_new_session=True)
        for _ in range(workers)
    ]
    try:
        yield
    finally:
        for process in started:
            process.send_signal(signal.SIGINT)
        for process in started:
            process.wait(60)


async def _lasted(settings: Settings, workers: int, url: str) -> float:
    """Give the workers their work when all of them are there; the seconds from its first shard to its last."""
    async with Database(settings.database_url, max_size=4) as database:
        await _until(database, "SELECT count(*) >= %s FROM nowbridge.worker", workers)
        async with wiring.instance_of(settings, url, SIGN_IN, database=database) as instance:
            async with database.transaction() as connection:
                [row] = await connections.every(connection)
            pace = Pace(page_rows=PAGE)
            holder = wiring.new_holder(settings)
            await Replica(database, instance, row.id, holder, pace, wiring.now).prepare()
        await _until(database, "SELECT count(*) = %s FROM nowbridge.shard WHERE done_at IS NULL", 0)
        async with database.transaction() as connection:
            cursor = await connection.execute("SELECT max(done_at) - min(started_at) FROM nowbridge.shard")
            found = await cursor.fetchone()
    if found is None or not isinstance(found[0], timedelta):
        raise RuntimeError("no shard was loaded")
    return found[0].total_seconds()


async def _until(database: Database, query: str, value: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        async with database.transaction() as connection:
            if await (await connection.execute(query, (value,))).fetchone() == (True,):
                return
        await asyncio.sleep(0.1)
    raise RuntimeError(f"not within {PATIENCE:.0f} s: {query}")
