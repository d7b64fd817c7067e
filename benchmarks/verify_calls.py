"""What verifying costs in API calls: to check 1,000,000 equal rows, to prove their keys and versions, to find one bad row
among them. The replica is filled from the same generator as nowtwin, so that no load has to be waited for.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from nowbridge.replica.run import Replica, add_tables
from nowbridge.replica.spec import Pace, TableSpec
from nowbridge.replica.verify import Level, Order, Verdict
from nowbridge.servicenow.auth import Basic
from nowbridge.servicenow.instance import Instance
from nowbridge.store import connections, embedded, leases, provision, tables
from nowbridge.store.connections import NewConnection
from nowbridge.store.database import Database
from nowbridge.store.leases import Holder
from nowbridge.transport.client import Client, Limits
from nowbridge.wiring import install
from nowtwin.instance import Instance as Twin
from nowtwin.testing import RunningServer, serve

BARS = (("check equal rows", 17), ("prove keys and versions", 110), ("find one bad row", 60))
START = datetime(2025, 1, 1, tzinfo=UTC)


def rows(number: int) -> Iterator[tuple[str, str, str]]:
    """sys_id, sys_mod_count, sys_updated_on; seeded, mostly few changes a row."""
    chance = random.Random(1)
    for _ in range(number):
        at = START + timedelta(seconds=chance.randrange(20_000_000))
        yield f"{chance.getrandbits(128):032x}", str(int(chance.expovariate(0.4))), f"{at:%Y-%m-%d %H:%M:%S}"


async def measure(server: RunningServer, dsn: str, number: int) -> list[tuple[Verdict, float]]:
    client = Client(
        server.url, limits=Limits(), sleep=asyncio.sleep, monotonic=time.monotonic, random=random.Random(1).random
    )
    async with Database(dsn) as database:
        replica = await fill(database, client, server.url, number)
        [row] = await all_tables(database)
        loader = await replica.loader(row.id)
        found = []
        for level, damage in ((Level.CHECKED, False), (Level.PROVEN, False), (Level.CHECKED, True)):
            async with database.transaction() as connection:
                if damage:
                    await connection.execute(
                        "DELETE FROM cmn_location WHERE sys_id = (SELECT sys_id FROM cmn_location"
                        " WHERE sys_id > '77' ORDER BY sys_id LIMIT 1)"
                    )
                order = Order(await leases.proven_to(connection, row.id) or now())
            begun = time.perf_counter()
            found.append((await replica.verifier.verify(loader, order, level), time.perf_counter() - begun))
    await client.close()
    return found


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


async def all_tables(database: Database) -> list[tables.TableRow]:
    async with database.transaction() as connection:
        return await tables.all_of(connection)


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the origin of the clock


def main(number: int) -> None:
    with embedded.ephemeral() as postgres, Twin() as twin, serve(twin) as server:
        dsn = provision.provision(postgres)
        install(dsn)
        records = (
            {"sys_id": key, "sys_mod_count": changes, "sys_updated_on": stamp, "sys_created_on": stamp}
            for key, changes, stamp in rows(number)
        )
        twin.load("cmn_location", records)
        found = asyncio.run(measure(server, dsn, number))
    print(f"== verify_calls: {number:,} rows in nowtwin and in Postgres; every call to the instance is counted")
    for (name, bar), (verdict, seconds) in zip(BARS, found, strict=True):
        held = "ok" if verdict.calls <= bar else "MISSED"
        print(
            f"   {name:<26}{verdict.calls:>5} calls   bar <= {bar:<5}{held:<8}{seconds:>7.1f} s   wrong {verdict.wrong}"
        )


if __name__ == "__main__":
    import sys

    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
