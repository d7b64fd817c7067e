"""How many calls the data of 100,000 rows takes, in pages of 10,000: every request to the table from the moment that it is
prepared until it is live, the closing empty page of a shard included. Counted by the instance, not by who is measured.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import timedelta

from benchmarks import verify_calls
from benchmarks.result import Measure, Options, Ratio, Result
from nowbridge.replica.run import Replica, add_tables
from nowbridge.replica.spec import Pace, TableSpec
from nowbridge.servicenow.auth import Basic
from nowbridge.servicenow.instance import Instance
from nowbridge.store.database import Database
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import NewConnection
from nowbridge.store.rows import tables
from nowbridge.store.server import embedded, provision
from nowbridge.store.work.leases import Holder
from nowbridge.transport.client import Client, Limits
from nowbridge.wiring import install, now
from nowtwin.instance import Instance as Twin
from nowtwin.testing import RunningServer, serve

NAME = "load_calls"
TABLE = "cmn_location"
ROWS = 100_000
PAGES_OF = 10  # rows, in parts of the table: pages of 10,000
BAR = 25


async def load(server: RunningServer, dsn: str, number: int) -> int:
    """Load the table of `number` rows; the calls for its data."""
    client = Client(
        server.url, limits=Limits(), sleep=asyncio.sleep, monotonic=time.monotonic, random=random.Random(1).random
    )
    instance = Instance(client, Basic("admin", "admin"), now=now)
    async with Database(dsn) as database:
        async with database.transaction() as connection:
            new = NewConnection("twin", server.url, "basic", "admin", None, b"sealed elsewhere")
            owner = await connections.save(connection, new, now=now())
            await add_tables(connection, instance, owner, [TableSpec(TABLE)], now)
        holder = Holder("bench", timedelta(minutes=10))
        replica = Replica(database, instance, owner.id, holder, Pace(page_rows=number // PAGES_OF), now)
        await replica.prepare()
        before = _calls(server)
        while await replica.load_next_shard():
            pass
        async with database.transaction() as connection:
            [row] = await tables.all_of(connection)
            if row.phase != "live" or await tables.count_rows(connection, row.relation) != number:
                raise AssertionError("not every row was loaded")
    await client.close()
    return _calls(server) - before


def _calls(server: RunningServer) -> int:
    """The requests to the table, by the instance's journal."""
    return sum(call.path.endswith(f"/table/{TABLE}") for call in server.instance.calls.entries)


def run(options: Options) -> Result:
    """100,000 rows, for which the bar is set, unless another number is asked for."""
    number = options.rows if options.rows != Options().rows else ROWS
    with embedded.ephemeral() as postgres, Twin() as twin, serve(twin) as server:
        dsn = provision.provision(postgres)
        install(dsn)
        twin.load(
            TABLE,
            (
                {"sys_id": key, "sys_mod_count": changes, "sys_updated_on": stamp, "sys_created_on": stamp}
                for key, changes, stamp in verify_calls.rows(number)
            ),
        )
        calls = asyncio.run(load(server, dsn, number))
    return Result(
        NAME,
        (f"{number:,} rows with random ids in pages of {number // PAGES_OF:,}; counted by the instance",),
        (Measure("data of the table", "calls", (float(calls),), 0.0, f"bar <= {BAR}; metadata and labels are apart"),),
        (Ratio("bar / calls", (BAR / calls,), bar=1.0),),
        "calls do not depend on the machine's load",
    )
