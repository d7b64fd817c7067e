"""Workers that can freeze: they stop where a stopped process may stand, and go on when they thaw.

A process that is stopped does nothing, while its connections stay open, what it had asked for goes on, and its leases run out. So
a frozen worker stands before its next question to the database, before its next reading call to the instance, before it tries a
call again, or behind an answer. It never stands between its last look at its claim and the call that follows: there ServiceNow has no fence
(docs/sql-writes.md), and a history that stopped there would find just that.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from nowbridge.delivery.deliver import Manner
from nowbridge.replica.labels import Labeller
from nowbridge.servicenow.instance import Instance
from nowbridge.store.database import Connection, Database
from nowbridge.store.work.leases import Holder
from nowbridge.store.writes.write_log import End, Entry
from nowbridge.transport.client import Client, Limits
from nowbridge.transport.messages import Request, Response
from nowbridge.writethrough.settling import Settler
from nowbridge.writethrough.writer import Writer
from tests.support.replica import ADMIN, Bench, without_waiting

LONGEST = 120.0
"""Seconds that a transaction of the instance may take."""
LEASE = timedelta(seconds=30)
_TURNS = 200  # of the loop, after which whoever is not inside something stands at a gate


@dataclass(slots=True)
class Frost:
    caught: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody stands at a gate."""
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _left: int | None = None
    _inside: dict[asyncio.Task[object] | None, int] = field(default_factory=dict)
    """How deep a task is in something with the database or the instance at work; one that stands at a gate is in nothing."""

    def __post_init__(self) -> None:
        self._open.set()

    def stop(self, *, after: int = 0) -> None:
        """Whoever comes to a gate stands there, when so many were passed; who stood at one goes on until then."""
        self.caught.clear()
        self._left = after
        if after:
            self._open.set()

    def thaw(self) -> None:
        self._left = None
        self._open.set()

    async def gate(self) -> None:
        if self._left is not None and self._left > 0:
            self._left -= 1
        elif self._left == 0:
            self._open.clear()
            self.caught.set()
        task = asyncio.current_task()
        depth = self._inside.pop(task, 0)  # a call asks the database once more right before it leaves
        try:
            while not self._open.is_set():
                await self._open.wait()
        finally:
            if depth:
                self._inside[task] = depth

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Between two gates, with the database or the instance at work."""
        task = asyncio.current_task()
        self._inside[task] = self._inside.get(task, 0) + 1
        try:
            yield
        finally:
            self._inside[task] -= 1
            if not self._inside[task]:
                del self._inside[task]

    async def still(self) -> None:
        """Wait until everybody stands at a gate, or has ended."""
        turns = 0
        while turns < _TURNS:
            turns = 0 if self._inside else turns + 1
            await asyncio.sleep(0)


class _Database(Database):
    def __init__(self, dsn: str, frost: Frost) -> None:
        super().__init__(dsn)
        self._frost = frost

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        await self._frost.gate()
        with self._frost.inside():
            async with super().transaction() as connection:
                yield connection

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        await self._frost.gate()
        with self._frost.inside():
            async with super().session() as connection:
                yield connection


class _Client(Client):
    def __init__(self, url: str, frost: Frost) -> None:
        chance = random.Random(1).random
        super().__init__(url, limits=Limits(), sleep=self._wait, monotonic=time.monotonic, random=chance)
        self._frost = frost

    async def _wait(self, seconds: float) -> None:
        """Before a call is tried again."""
        await self._frost.gate()
        await without_waiting(seconds)

    async def send(self, request: Request) -> Response:
        if request.method == "GET":
            await self._frost.gate()
        try:
            with self._frost.inside():
                return await super().send(request)
        finally:
            await self._frost.gate()


class _Writer(Writer):
    frost: Frost

    async def end_of(self, entry: Entry) -> End:
        await self.frost.gate()
        end = await super().end_of(entry)
        await self.frost.gate()
        return end


class FreezingWorker:
    """`async with FreezingWorker(bench, dsn, name) as worker: ...`"""

    def __init__(self, bench: Bench, dsn: str, name: str) -> None:
        self.frost = Frost()
        self._database = _Database(dsn, self.frost)
        self._client = _Client(bench.twin.url, self.frost)
        instance = Instance(self._client, ADMIN, now=bench.now)
        self.writer = _Writer(
            self._database,
            instance,
            bench.connection_id,
            Holder(name, LEASE),
            Labeller(self._database, instance, bench.connection_id, bench.now),
            bench.now,
            Manner(sleep=without_waiting, longest=LONGEST, monotonic=lambda: bench.now().timestamp()),
        )
        self.writer.frost = self.frost
        self.settler = Settler(self.writer)

    async def __aenter__(self) -> Self:
        await self._database.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.writer.close()
        await self._client.close()
        await self._database.__aexit__(*error)
