"""A writer in a process of its own: it takes what SQL clients hand over, carries it out, and prints for each write a line
`id seconds`, the seconds that its requests to the instance took together. `python -m benchmarks.sql_writer URL DSN ID`.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from datetime import timedelta

from psycopg import AsyncConnection

from nowbridge import wiring
from nowbridge.replica.run import Replica
from nowbridge.replica.spec import Pace
from nowbridge.servicenow.auth import Basic
from nowbridge.servicenow.instance import Instance
from nowbridge.store import write_log
from nowbridge.store.database import Database
from nowbridge.store.leases import Holder
from nowbridge.store.write_log import Entry
from nowbridge.transport.client import Client, Limits
from nowbridge.transport.messages import Request, Response
from nowbridge.writethrough.settling import Settler
from nowbridge.writethrough.writer import Writer


class TimedClient(Client):
    """Adds up what requests take."""

    seconds = 0.0

    async def send(self, request: Request) -> Response:
        begun = time.perf_counter()
        try:
            return await super().send(request)
        finally:
            self.seconds += time.perf_counter() - begun


async def work(url: str, dsn: str, connection_id: int) -> None:
    client = TimedClient(
        url, limits=Limits(), sleep=asyncio.sleep, monotonic=time.monotonic, random=random.Random(1).random
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Database(dsn) as database, await AsyncConnection.connect(dsn, autocommit=True) as listening:
        instance = Instance(client, Basic("admin", "admin"), now=wiring.now)
        holder = Holder("bench-writer", timedelta(minutes=10))
        labeller = Replica(database, instance, connection_id, holder, Pace(), wiring.now).labeller
        writer = Writer(database, instance, connection_id, holder, labeller, wiring.now)
        settler = Settler(writer)
        await listening.execute(f"LISTEN {write_log.CHANNEL}")
        print("ready", flush=True)
        while not stop.is_set():
            async with database.transaction() as connection:
                entries = await write_log.claim(connection, connection_id, holder, now=wiring.now(), limit=50)
            await asyncio.gather(*(carry_out(writer, client, entry) for entry in entries))
            await settler.settle()
            async for _ in listening.notifies(timeout=0.5, stop_after=1):
                pass
    await client.close()


async def carry_out(writer: Writer, client: TimedClient, entry: Entry) -> None:
    before = client.seconds
    await writer.carry_out(entry)
    print(entry.id, client.seconds - before, flush=True)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], int(sys.argv[3])))
