"""A group that 300,000 rows show is renamed: how long any of these rows is locked, and whether readers are kept waiting.

The rows are of incident's full width in the replica. While the rename is carried out, one client tries again and again
to lock single rows (what it waits for is how long a row was locked), another one reads through the index.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta

from benchmarks.result import Measure, Options, Ratio, Result
from nowbridge.replica.labels import rewrite_renamed
from nowbridge.replica.run import Replica, add_tables
from nowbridge.replica.spec import Pace, TableSpec
from nowbridge.servicenow.auth import Basic
from nowbridge.servicenow.instance import Instance
from nowbridge.store.database import Database
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import NewConnection
from nowbridge.store.rows import labels, tables
from nowbridge.store.server import embedded, provision
from nowbridge.store.work.leases import Holder
from nowbridge.transport.client import Client, Limits
from nowbridge.wiring import install
from nowtwin.instance import Instance as Twin
from nowtwin.testing import RunningServer, serve

NAME = "rename"
ROWS = 300_000
GROUP = "d" * 32
BAR = 0.2  # seconds


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the origin of the clock


async def measure(server: RunningServer, dsn: str, number: int) -> tuple[float, list[float], list[float], list[float]]:
    """Seconds of the whole rename; of each wait for a row; of each read before the rename and during it."""
    client = Client(
        server.url, limits=Limits(), sleep=asyncio.sleep, monotonic=time.monotonic, random=random.Random(1).random
    )
    async with Database(dsn) as database:
        replica = await fill(database, client, server.url, number)
        keys = [f"{at:032x}" for at in range(0, number, max(1, number // 5_000))]
        before = await reads(database, keys, asyncio.Event(), most=300)
        async with database.transaction() as connection:
            words = {GROUP: "Service Desk, renamed"}
            await labels.remember(connection, replica.connection_id, "sys_user_group", words, now=now())
        done = asyncio.Event()
        waiting = asyncio.create_task(waits(database, keys, done))
        reading = asyncio.create_task(reads(database, keys, done))
        begun = time.perf_counter()
        while await rewrite_renamed(database, replica.connection_id):
            pass
        seconds = time.perf_counter() - begun
        done.set()
        waited, during = await waiting, await reading
        async with database.transaction() as connection:
            left = await connection.execute("SELECT DISTINCT assignment_group FROM incident")
            if await left.fetchall() != [("Service Desk, renamed",)]:
                raise AssertionError("rows still show the old name")
    await client.close()
    return seconds, waited, before, during


async def waits(database: Database, keys: list[str], done: asyncio.Event) -> list[float]:
    """What a client waits for one row after another, in the order in which they are rewritten and in no order."""
    chance = random.Random(2)
    seconds = []
    while not done.is_set():
        begun = time.perf_counter()
        async with database.transaction() as connection:
            await connection.execute("SELECT 1 FROM incident WHERE sys_id = %s FOR UPDATE", (chance.choice(keys),))
        seconds.append(time.perf_counter() - begun)
    return seconds


async def reads(database: Database, keys: list[str], done: asyncio.Event, most: int = 10**9) -> list[float]:
    chance = random.Random(3)
    seconds: list[float] = []
    while not done.is_set() and len(seconds) < most:
        begun = time.perf_counter()
        async with database.transaction() as connection:
            await connection.execute("SELECT * FROM incident WHERE sys_id = %s", (chance.choice(keys),))
        seconds.append(time.perf_counter() - begun)
    return seconds


async def fill(database: Database, client: Client, url: str, number: int) -> Replica:
    """A live replica of incident in which every row shows the group, indexed as a worker indexes it."""
    async with database.transaction() as connection:
        new = NewConnection("twin", url, "basic", "admin", None, b"sealed elsewhere")
        owner = await connections.save(connection, new, now=now())
    instance = Instance(client, Basic("admin", "admin"), now=now)
    holder = Holder("bench", timedelta(minutes=10))
    replica = Replica(database, instance, owner.id, holder, Pace(), now)
    async with database.transaction() as connection:
        [row] = await add_tables(connection, instance, owner, [TableSpec("incident")], now)
        await labels.remember(connection, owner.id, "sys_user_group", {GROUP: "Service Desk"}, now=now())
        await connection.execute(
            "INSERT INTO incident (sys_id, number, short_description, description, close_notes, cause, assignment_group,"
            "  assignment_group__value, sys_mod_count, sys_updated_on)"
            " SELECT lpad(to_hex(n), 32, '0'), 'INC' || n, 'Row ' || n, words.one, words.two, words.three,"
            "  'Service Desk', %s, 0, now() FROM generate_series(0, %s) n, LATERAL (SELECT"
            "   string_agg(md5(n || 'a' || g), '') AS one, string_agg(md5(n || 'b' || g), '') AS two,"
            "   string_agg(md5(n || 'c' || g), '') AS three FROM generate_series(1, 14) g) words",
            (GROUP, number - 1),
        )
        await tables.set_phase(connection, row.id, "live", now=now())
    loader = await replica.loader(row.id)
    while await replica.upkeep.evolver.index(loader):
        pass
    async with database.session() as connection:
        await connection.execute("VACUUM ANALYZE incident (sys_id, assignment_group, assignment_group__value)")
    return replica


def run(options: Options) -> Result:
    """300,000 rows, for which the bar is set, unless another number is asked for."""
    number = options.rows if options.rows != Options().rows else ROWS
    with embedded.ephemeral() as postgres, Twin() as twin, serve(twin) as server:
        dsn = provision.provision(postgres)
        install(dsn)
        seconds, waited, before, during = asyncio.run(measure(server, dsn, number))
    longest, readers = max(waited), max(during)
    return Result(
        NAME,
        (
            f"{number:,} rows of about 1.5 kB that show one group; it is renamed while clients lock and read single rows",
        ),
        (
            Measure("longest wait for a row", "ms", (longest * 1000,), 0.0, f"{len(waited):,} tries; bar <= 200"),
            Measure("longest read", "ms", (readers * 1000,), 0.0, f"before the rename {max(before) * 1000:.0f}"),
            Measure("the whole rename", "s", (seconds,), 0.0, f"{number / seconds:,.0f} rows/s"),
        ),
        (Ratio("bar / longest wait", (BAR / longest,), bar=1.0),),
        "waits hold the machine's own hiccups too: both clients and Postgres share its cores",
        ("readers take no lock that a rewritten row holds; what a read took is shown, not a bar",),
    )
