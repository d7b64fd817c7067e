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

from nowbridge import wiring
from nowbridge.jobs.listening import hear
from nowbridge.jobs.writes import Writes, WriteSettings
from nowbridge.replica.run import Replica
from nowbridge.replica.spec import Pace
from nowbridge.servicenow.auth import Basic
from nowbridge.servicenow.instance import Instance
from nowbridge.store.database import Database
from nowbridge.store.work.leases import Holder
from nowbridge.store.writes import write_log
from nowbridge.store.writes.write_log import Entry
from nowbridge.transport.client import Client, Limits
from nowbridge.transport.messages import Request, Response
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


class TimedWrites(Writes):
    """A worker's writes, each of which tells what its requests took."""

    async def carried_out(self, writer: Writer, entry: Entry) -> None:
        client = writer.instance._client  # noqa: SLF001 - the only way to the clock of its requests
        assert isinstance(client, TimedClient)
        before = client.seconds
        await super().carried_out(writer, entry)
        print(entry.id, client.seconds - before, flush=True)


async def work(url: str, dsn: str, connection_id: int) -> None:
    client = TimedClient(
        url, limits=Limits(), sleep=asyncio.sleep, monotonic=time.monotonic, random=random.Random(1).random
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Database(dsn) as database:
        instance = Instance(client, Basic("admin", "admin"), now=wiring.now)
        holder = Holder("bench-writer", timedelta(minutes=10))
        replica = Replica(database, instance, connection_id, holder, Pace(), wiring.now)
        writes = TimedWrites(database, holder, wiring.now, WriteSettings())
        heard = asyncio.create_task(hear(dsn, {write_log.CHANNEL: writes.handed_over}, stop))
        settling = asyncio.create_task(_settle(writes, replica, stop))
        print("ready", flush=True)
        while not stop.is_set():
            if not await writes.carry([replica]):
                await _either(writes.handed_over, stop)
        await asyncio.gather(heard, settling, writes.end())
        await writes.close()
    await client.close()


async def _settle(writes: Writes, replica: Replica, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await writes.settle([replica])
        await _either(stop, stop, timeout=0.5)


async def _either(one: asyncio.Event, other: asyncio.Event, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - of the wait itself
    waiting = [asyncio.create_task(event.wait()) for event in {one, other}]
    await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], int(sys.argv[3])))
