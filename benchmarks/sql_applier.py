"""Applies changes to a replica table, so many a second, as a worker applies what a poll brought: rows as ServiceNow sends
them, labels looked up, one merge a page with its entries in the feed. Without the instance: the pages are made here.
`python -m benchmarks.sql_applier DSN CONNECTION_ID ROWS CHANGES_PER_SECOND`; prints `applying`, and at SIGTERM `changes seconds`.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from datetime import timedelta

from benchmarks.rename import GROUP
from nowbridge import wiring
from nowbridge.replica.apply import TableLoader
from nowbridge.replica.run import Replica
from nowbridge.replica.spec import Pace
from nowbridge.servicenow.auth import Basic
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.wire import Page
from nowbridge.store.database import Connection, Database
from nowbridge.store.rows.load import Merged
from nowbridge.store.work.leases import Holder
from nowbridge.transport.client import Client, Limits

PAGES_PER_SECOND = 2


async def apply(dsn: str, connection_id: int, rows: int, rate: int) -> None:
    nowhere = Client(
        "http://127.0.0.1:9", limits=Limits(), sleep=asyncio.sleep, monotonic=time.monotonic, random=lambda: 0.5
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    chance = random.Random(4)
    done, version = 0, 1
    async with Database(dsn, max_size=2) as database:
        instance = Instance(nowhere, Basic("admin", "admin"), now=wiring.now)
        holder = Holder("bench", timedelta(minutes=10))
        replica = Replica(database, instance, connection_id, holder, Pace(), wiring.now)
        loader = await replica.loader(1)
        print("applying", flush=True)
        begun = time.monotonic()
        while not stop.is_set():
            version += 1
            keys = sorted(chance.sample(range(rows), rate // PAGES_PER_SECOND))
            done += await loader.merge_changes(page(loader, keys, version), _nothing)
            await asyncio.sleep(max(0.0, begun + done / rate - time.monotonic()))
    print(done, time.monotonic() - begun, flush=True)
    await nowhere.close()


def page(loader: TableLoader, keys: list[int], version: int) -> Page:
    stamp = f"{wiring.now():%Y-%m-%d %H:%M:%S}"
    told = {
        "sys_mod_count": str(int(time.monotonic() * 1000)),
        "sys_updated_on": stamp,
        "sys_updated_by": "bench",
        "assignment_group": GROUP,
        "state": str(1 + version % 3),
    }
    given: dict[str, list[str]] = {name: [told.get(name, "")] * len(keys) for name in loader.layout.fetched}
    given["sys_id"] = [f"{key:032x}" for key in keys]
    given["number"] = [f"INC{key}" for key in keys]
    given["short_description"] = [f"Row {key}, version {version}" for key in keys]
    return Page.of(tuple(given), list(given.values()))


async def _nothing(connection: Connection, merged: Merged) -> None:
    del connection, merged


if __name__ == "__main__":
    asyncio.run(apply(sys.argv[1], *map(int, sys.argv[2:5])))
