"""What nowtwin answered, kept: the rows of the benchmarked table as the bytes that its Table API sent, and every other
answer that Nowbridge's preparation asked for (dictionary, choices, labels), by request. `static_source` serves it, so
that no contestant waits for an emulator to compute pages.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from benchmarks import incidents
from nowbridge import wiring
from nowbridge.replica.run import Replica, add_tables
from nowbridge.replica.spec import Pace, TableSpec
from nowbridge.servicenow import tables
from nowbridge.servicenow.auth import Basic
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.pages import IdSweep
from nowbridge.store.database import Database
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import NewConnection
from nowbridge.store.work.leases import Holder
from nowbridge.transport.client import Client, Limits
from nowbridge.transport.messages import Request, Response

PAGE: Final = 1_000


class Recorded(msgspec.Struct, frozen=True):
    """One answer. `total` is its X-Total-Count, empty where it had none."""

    body: bytes
    total: str


class Recording(msgspec.Struct, frozen=True):
    """`ids` and `rows` (each the JSON object as it was sent) in the order of sys_id; `answers` by request target."""

    table: str
    fields: tuple[str, ...]
    ids: tuple[str, ...]
    rows: tuple[bytes, ...]
    answers: dict[str, Recorded]

    def page(self, first: int, last: int) -> bytes:
        return b'{"result":[' + b",".join(self.rows[first:last]) + b"]}"


class _Page(msgspec.Struct):
    result: list[msgspec.Raw]


class _Id(msgspec.Struct):
    sys_id: str


class _RecordingClient(Client):
    """Keeps what comes back, by request target."""

    answers: dict[str, Recorded]

    async def send(self, request: Request) -> Response:
        response = await super().send(request)
        self.answers[request.target] = Recorded(response.body, response.headers.get("X-Total-Count"))
        return response


def record(url: str, dsn: str, file: Path) -> Recording:
    """Let Nowbridge prepare a replica of `url` in the empty database `dsn`, read the rows, and write it all to `file`."""
    wiring.install(dsn)
    recording = asyncio.run(_record(url, dsn))
    file.write_bytes(msgspec.msgpack.encode(recording))
    return recording


def read(file: Path) -> Recording:
    return msgspec.msgpack.decode(file.read_bytes(), type=Recording)


async def _record(url: str, dsn: str) -> Recording:
    client = _RecordingClient(
        url, limits=Limits(), sleep=asyncio.sleep, monotonic=time.monotonic, random=random.Random(1).random
    )
    client.answers = {}
    instance = Instance(client, Basic("admin", "admin"), now=wiring.now)
    try:
        await Instance(client, Basic("admin", "admin"), now=wiring.now).server_now()
        await _prepare(instance, url, dsn)
        answers = dict(client.answers)
        fields = tuple(incidents.types())
        ids, rows = await _rows(instance, fields)
    finally:
        await client.close()
    return Recording(incidents.TABLE, fields, tuple(ids), tuple(rows), answers)


async def _prepare(instance: Instance, url: str, dsn: str) -> None:
    """Everything that a worker asks before the first page."""
    async with Database(dsn) as database:
        async with database.transaction() as connection:
            new = NewConnection("bench", url, "basic", "admin", None, b"not used")
            owner = await connections.save(connection, new, now=wiring.now())
            await add_tables(connection, instance, owner, [TableSpec(incidents.TABLE)], wiring.now)
        holder = Holder("recorder", timedelta(seconds=30))
        await Replica(database, instance, owner.id, holder, Pace(), wiring.now).prepare()


async def _rows(instance: Instance, fields: tuple[str, ...]) -> tuple[list[str], list[bytes]]:
    sweep = IdSweep("", None, None, PAGE)
    ids: list[str] = []
    rows: list[bytes] = []
    while (request := sweep.next_request()) is not None:
        answer = await tables.read_page(instance, incidents.TABLE, request, fields)
        page = [bytes(raw) for raw in msgspec.json.decode(answer.body, type=_Page).result]
        found = [msgspec.json.decode(row, type=_Id).sys_id for row in page]
        sweep.received(found, None, len(found), answer.total_count)
        ids += found
        rows += page
    return ids, rows
