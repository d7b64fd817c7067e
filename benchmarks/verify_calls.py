"""What verifying costs in API calls: to check 1,000,000 equal rows, to prove their keys and versions, to find one bad row
among them. The replica is filled from the same generator as nowtwin, so that no load has to be waited for.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from benchmarks.result import Measure, Options, Ratio, Result
from nowbridge.replica.run import Replica, add_tables
from nowbridge.replica.spec import Pace, TableSpec
from nowbridge.replica.verify import Level, Order, Verdict
from nowbridge.servicenow.auth import Basic
from nowbridge.servicenow.instance import Instance
from nowbridge.store.database import Database
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import NewConnection
from nowbridge.store.rows import tables
from nowbridge.store.server import embedded, provision
from nowbridge.store.work import leases
from nowbridge.store.work.leases import Holder
from nowbridge.transport.client import Client, Limits
from nowbridge.wiring import install
from nowtwin.instance import Instance as Twin
from nowtwin.testing import RunningServer, serve

NAME = "verify_calls"
ROWS = 1_000_000
BARS = (("check equal rows", 17), ("prove keys and versions", 110), ("find one bad row", 60))
START = datetime(2025, 1, 1, tzinfo=UTC)


def rows(number: int) -> Iterator[tuple[str, str, str]]:
    """sys_id, sys_mod_count, sys_updated_on; seeded, mostly few changes a row."""
    chance = random.Random(1)
    for _ in range(number):
        at = START + timedelta(seconds=chance.randrange(20_000_000))
        yield f"{chance.getrandbits(128):032x}", str(int(chance.expovariate(0.4))), f"{at:%Y-%m-%d %H:%M:%S}"


async def measure(server: RunningServer, dsn: str, number: int) -> list[tuple[Verdict, float]]:
    """The verdicts in the order of BARS, each with the seconds that it took."""
    client = Client(
        server.url, limits=Limits(), sleep=asyncio.sleep, monotonic=time.monotonic, random=random.Random(1).random
    )
    found = []
    async with Database(dsn) as database:
        replica = await fill(database, client, server.url, number)
        found.append(await verified(replica, Level.CHECKED))
        found.append(await verified(replica, Level.PROVEN))
        async with database.transaction() as connection:
            await connection.execute(
                "DELETE FROM cmn_location WHERE sys_id = (SELECT min(sys_id) FROM cmn_location WHERE sys_id > '77')"
            )
        found.append(await verified(replica, Level.CHECKED))
    await client.close()
    return found


async def verified(replica: Replica, level: Level) -> tuple[Verdict, float]:
    async with replica.database.transaction() as connection:
        [row] = await tables.all_of(connection)
        order = Order(await leases.proven_to(connection, row.id) or now())
    begun = time.perf_counter()
    verdict = await replica.verifier.verify(await replica.loader(row.id), order, level)
    return verdict, time.perf_counter() - begun


async def fill(database: Database, client: Client, url: str, number: int) -> Replica:
    """A live replica table with the generator's rows, and a change stream from now on."""
    async with database.transaction() as connection:
        new = NewConnection("twin", url, "basic", "admin", None, b"sealed elsewhere")
        owner = await connections.save(connection, new, now=now())
    instance = Instance(client, Basic("admin", "admin"), now=now)
    holder = Holder("bench", timedelta(minutes=10))
    replica = Replica(database, instance, owner.id, holder, Pace(safety_lag=timedelta(seconds=1)), now)
    async with database.transaction() as connection:
        [row] = await add_tables(connection, instance, owner, [TableSpec("cmn_location")], now)
        statement = "COPY cmn_location (sys_id, sys_mod_count, sys_updated_on, sys_created_on) FROM STDIN"
        async with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for key, changes, stamp in rows(number):
                await copy.write_row((key, changes, stamp, stamp))
        start = (await instance.server_now()).replace(microsecond=0)
        await leases.add_stream(connection, row.id, start, now=now())
        await tables.set_phase(connection, row.id, "live", now=now())
    return replica


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the origin of the clock


def run(options: Options) -> Result:
    """1,000,000 rows, for which the bars are set, unless another number is asked for."""
    number = options.rows if options.rows != Options().rows else ROWS
    with embedded.ephemeral() as postgres, Twin() as twin, serve(twin) as server:
        dsn = provision.provision(postgres)
        install(dsn)
        records = (
            {"sys_id": key, "sys_mod_count": changes, "sys_updated_on": stamp, "sys_created_on": stamp}
            for key, changes, stamp in rows(number)
        )
        twin.load("cmn_location", records)
        found = asyncio.run(measure(server, dsn, number))
    named = list(zip(BARS, found, strict=True))
    if [verdict.wrong for _, (verdict, _) in named] != [0, 0, 1]:
        raise AssertionError("what was equal was not found equal, or the bad row was not found")
    return Result(
        NAME,
        (f"{number:,} rows in nowtwin and in Postgres, keys 10,000 a page; every call about the table is counted",),
        tuple(
            Measure(name, "calls", (float(verdict.calls),), 0.0, f"{seconds:.1f} s; bar <= {bar}")
            for (name, bar), (verdict, seconds) in named
        ),
        tuple(Ratio(f"bar / calls: {name}", (bar / verdict.calls,), bar=1.0) for (name, bar), (verdict, _) in named),
        "calls do not depend on the machine's load; the seconds do",
    )
