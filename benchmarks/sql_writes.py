"""What an UPDATE costs that ServiceNow has to accept: above the round trip, in bulk, and when it is cancelled.

nowtwin, the writer and Postgres (durable, as `nowbridge init` runs it) are processes of their own; the table is
the 90 columns of `benchmarks/incidents.py`, all of them filled, with 42 labels beside them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
import requests  # type: ignore[import-untyped,import-not-found,unused-ignore]
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from benchmarks import incidents, places
from benchmarks.contest import REPOSITORY
from benchmarks.freshness import call, percentile
from benchmarks.result import Measure, Options, Ratio, Result
from nowbridge import wiring
from nowbridge.replica.run import Replica, add_tables
from nowbridge.replica.spec import Pace, TableSpec
from nowbridge.servicenow.auth import Basic
from nowbridge.servicenow.instance import Instance
from nowbridge.store.database import Database
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import NewConnection
from nowbridge.store.server.provision import as_role
from nowbridge.store.work.leases import Holder
from nowbridge.store.writes import loopback, sql_users, write_log
from nowbridge.transport.client import Client, Limits
from nowbridge.writethrough.enable import enable_writes

NAME = "sql_writes"
ROWS = 5_000  # of the table, and of the widest UPDATE
SINGLE, WARM = 400, 30
MANY = 500
CANCELS = 9
RTT, SERVICE = 0.1, 0.005  # seconds per round trip and per record
BARS = {"p50": 0.008, "p99": 0.030, "many": 20.0, "collect": 0.6, "cancel": 0.5}
USER, PASSWORD = "bench_writer", "for this benchmark only"
TABLE = incidents.TABLE
LABEL = ("state = 'Closed'", "state = 'Closed', state__value = 5")
TEXT = ("u_symptom = 'another'",) * 2
"""What a widest UPDATE sets, as a user writes it, and what it comes to without triggers."""
SLOW = {"rtt": RTT, "service_time": SERVICE}

Sql = AsyncConnection[TupleRow]


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds, all of them. `single`: whole statement and its requests; `collect`, by what was written: to the hand-over,
    and the same UPDATE without triggers.
    """

    single: list[tuple[float, float]]
    collect: dict[str, list[tuple[float, float]]]
    many: list[float]
    script: float
    cancel: list[float]


def run(options: Options) -> Result:
    """`--rows N` makes the table, and its widest UPDATE, N rows."""
    rows = options.rows if options.rows != Options().rows else ROWS
    with (
        tempfile.TemporaryDirectory(prefix="nowbridge-sql-writes-") as folder,
        places.durable_postgres() as databases,
        databases.fresh() as dsn,
        places.twin(Path(folder), rows, filled={}) as url,
    ):
        wiring.install(dsn)
        found = asyncio.run(measure(url, dsn, options.rounds))
    overhead = sorted(whole - requests for whole, requests in found.single)
    p50, p99 = percentile(overhead, 0.5), percentile(overhead, 0.99)
    above = {what: tuple(whole - plain for whole, plain in pairs) for what, pairs in found.collect.items()}
    widest = max(above.values(), key=statistics.median)
    many = tuple(found.many)
    measures = (
        Measure("p50 above the calls", "ms", (1000 * p50,), 0.0, _calls(found.single)),
        Measure("p99 above the calls", "ms", (1000 * p99,), 0.0, f"{len(overhead)} autocommit UPDATEs of one row"),
        *(
            Measure(f"{rows:,} rows, {what}", "s", seconds, 0.0, _plain(found.collect[what]))
            for what, seconds in above.items()
        ),
        Measure(f"UPDATE of {MANY} rows", "s", many, 0.0, f"{MANY / statistics.median(many):,.0f} records/s"),
        Measure(f"script, {MANY} PATCHes", "s", (found.script,), 0.0, "requests, one session, row by row"),
        Measure("cancel while it waits", "ms", tuple(1000 * s for s in found.cancel), 0.0, "cancel -> error 08007"),
    )
    return Result(
        NAME,
        (
            f"{rows:,} rows of {incidents.WIDTH} filled columns and 42 labels; nowtwin, writer, Postgres each a process",
            f"bulk: nowtwin at {RTT * 1000:g} ms a round trip and {SERVICE * 1000:g} ms a record; singles: at none",
            "the calls of a write (look, PATCH) are timed in the writer, around its HTTP client, and subtracted",
        ),
        measures,
        (
            Ratio("8 ms / p50", (BARS["p50"] / p50,), bar=1.0),
            Ratio("30 ms / p99", (BARS["p99"] / p99,), bar=1.0),
            Ratio(f"0.6 s / {rows:,} rows", tuple(BARS["collect"] / s for s in widest), bar=1.0),
            Ratio(f"script / UPDATE, {MANY} rows", tuple(found.script / s for s in many), bar=BARS["many"]),
            Ratio("0.5 s / longest cancel", (BARS["cancel"] / max(found.cancel),), bar=1.0),
        ),
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
    )


def _plain(pairs: list[tuple[float, float]]) -> str:
    return f"to the hand-over; the UPDATE itself, {statistics.median(plain for _, plain in pairs):.2f} s, subtracted"


def _calls(single: list[tuple[float, float]]) -> str:
    return f"its two calls took {1000 * statistics.median(requests for _, requests in single):.1f} ms (p50), subtracted"


async def measure(url: str, dsn: str, rounds: int) -> Figures:
    connection_id = await prepare(url, dsn)
    async with await connect(dsn) as client, await AsyncConnection.connect(dsn, autocommit=True) as listening:
        await client.execute(f"ANALYZE {TABLE}")
        ids = [r[0] for r in await (await client.execute(f"SELECT sys_id FROM {TABLE} ORDER BY number")).fetchall()]
        collect = {
            "a label": await collected(client, listening, LABEL, rounds),
            "a text": await collected(client, listening, TEXT, rounds),
        }
        with writing(url, dsn, connection_id) as heard:
            single = await singles(client, ids, heard)
            call(url, "PUT", "/_nowtwin/latency", SLOW)
            many = [await seconds_of(client, update_many(at), (ids[:MANY],)) for at in range(rounds)]
            script = await asyncio.to_thread(row_by_row, url, ids[:MANY])
            call(url, "PUT", "/_nowtwin/latency", {"rtt": 1.5})
            cancel = [await cancelled(client, listening, sys_id) for sys_id in ids[-CANCELS:]]
    return Figures(single, collect, many, script, cancel)


def connect(dsn: str) -> Awaitable[Sql]:
    return AsyncConnection.connect(as_role(dsn, USER, PASSWORD), autocommit=True)


def update_many(at: int) -> str:
    return f"UPDATE {TABLE} SET short_description = 'by one UPDATE, {at}' WHERE sys_id = ANY(%s)"


async def seconds_of(client: Sql, statement: str, values: tuple[object, ...] = ()) -> float:
    begun = time.perf_counter()
    await client.execute(statement.encode(), values)
    return time.perf_counter() - begun


async def singles(client: Sql, ids: list[str], heard: Callable[[], tuple[int, float]]) -> list[tuple[float, float]]:
    """One autocommit UPDATE of a label after another, each of another row, each with its calls' seconds."""
    found = []
    for at in range(SINGLE + WARM):
        statement = f"UPDATE {TABLE} SET urgency = %s, short_description = %s WHERE sys_id = %s"
        values = (incidents.CHOICES["urgency"][at % 3], f"number {at}", ids[-1 - at % len(ids)])
        found.append((await seconds_of(client, statement, values), heard()[1]))
    return found[WARM:]


async def collected(client: Sql, owner: Sql, sets: tuple[str, str], rounds: int) -> list[tuple[float, float]]:
    """Seconds from the statement to the committed hand-over of every row, which nobody takes until the client gives up;
    and of the same UPDATE by the product's role, for which no trigger fires. Both are rolled back.
    """
    found = []
    by_user, by_owner = sets
    await owner.execute(f"LISTEN {write_log.CHANNEL}")
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        statement = asyncio.create_task(client.execute(f"UPDATE {TABLE} SET {by_user}".encode()))
        async for _ in owner.notifies(stop_after=1):
            pass
        handed_over = time.perf_counter() - begun
        await client.cancel_safe()
        with contextlib.suppress(psycopg.errors.QueryCanceled):
            await statement
        await owner.execute(f"VACUUM {TABLE}")
        async with owner.transaction(force_rollback=True):
            begun = time.perf_counter()
            await owner.execute(f"UPDATE {TABLE} SET {by_owner}".encode())
            found.append((handed_over, time.perf_counter() - begun))
        await owner.execute(f"VACUUM {TABLE}")
    await owner.execute(f"UNLISTEN {write_log.CHANNEL}")
    return found[1:]


async def cancelled(client: Sql, listening: Sql, sys_id: str) -> float:
    """Seconds from the cancel of a write that was sent to the client's error."""
    statement = f"UPDATE {TABLE} SET short_description = 'to be cancelled' WHERE sys_id = %s"
    before = await (await listening.execute("SELECT max(id) FROM nowbridge.write_log")).fetchone()
    waiting = asyncio.create_task(client.execute(statement.encode(), (sys_id,)))
    while True:
        asked = await listening.execute("SELECT state FROM nowbridge.write_log WHERE id > %s", before)
        if await asked.fetchone() == ("sent",):
            break
        await asyncio.sleep(0.01)
    begun = time.perf_counter()
    await client.cancel_safe()
    try:
        await waiting
    except psycopg.errors.TransactionResolutionUnknown:
        return time.perf_counter() - begun
    raise AssertionError("the write was over before it was cancelled")


def row_by_row(url: str, ids: list[str]) -> float:
    """What people write themselves."""
    with requests.Session() as session:
        session.auth = ("admin", "admin")
        session.trust_env = False
        begun = time.perf_counter()
        for sys_id in ids:
            body = {"short_description": "by the script"}
            session.patch(f"{url}/api/now/table/{TABLE}/{sys_id}", json=body).raise_for_status()
        return time.perf_counter() - begun


@contextmanager
def writing(url: str, dsn: str, connection_id: int) -> Iterator[Callable[[], tuple[int, float]]]:
    """A writer at work; what it says of the next write: its id, and the seconds of its calls."""
    command = (sys.executable, "-m", "benchmarks.sql_writer", url, dsn, str(connection_id))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        said = process.stdout
        if said.readline() != "ready\n":
            raise AssertionError("the writer did not start")

        def heard() -> tuple[int, float]:
            number, seconds = said.readline().split()
            return int(number), float(seconds)

        try:
            yield heard
        finally:
            process.terminate()
            process.communicate(timeout=30)


async def prepare(url: str, dsn: str) -> int:
    """A loaded, indexed, writable replica of the table, and a user who may write it. Returns the connection's id."""
    client = Client(url, limits=Limits(), sleep=asyncio.sleep, monotonic=time.monotonic, random=lambda: 0.5)
    async with Database(dsn) as database:
        async with database.transaction() as connection:
            new = NewConnection("bench", url, "basic", "admin", None, b"not used")
            owner = await connections.save(connection, new, now=wiring.now())
        instance = Instance(client, Basic("admin", "admin"), now=wiring.now)
        replica = Replica(database, instance, owner.id, Holder("b", timedelta(minutes=10)), Pace(), wiring.now)
        async with database.transaction() as connection:
            [row] = await add_tables(connection, instance, owner, [TableSpec(TABLE)], wiring.now)
        await replica.prepare()
        while await replica.load_next_shard():
            pass
        loader = await replica.loader(row.id)
        while await replica.upkeep.evolver.index(loader):
            pass
        loopback.ensure(dsn)
        await enable_writes(database, instance, owner.id)
        async with database.transaction() as connection:
            await sql_users.add(connection, USER, PASSWORD, sql_users.Rights(writes=True), now=wiring.now())
    await client.close()
    return owner.id
