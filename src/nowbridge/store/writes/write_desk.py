"""The connection on which a writer takes writes and ends them, and by which it wakes the clients that wait for it.

A client waits at its COMMIT for a lock that this connection holds from the claim on (migration 0008, await_bell), so it is
woken at once and need not ask again and again. A writer that dies lets go of its locks with its connection; a client that
finds no lock asks as before. The locks are a bell and decide nothing.

What is written here need not be on disk before it counts (`synchronous_commit` off). A claim that a crash of Postgres
forgets was of a client that the crash ended, and nothing was sent yet: the note that sending begins is written elsewhere,
later in the same log and to the disk. An end that a crash forgets is looked for in ServiceNow, as after the writer's own
death; the client's COMMIT comes later in the same log, so what a client was told to be done is not forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from nowbridge.store.database import Connection, Database, translated


@dataclass(slots=True)
class Desk:
    """Opened when it is first used; and anew when Postgres has ended it."""

    database: Database
    _connection: Connection | None = None
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """For one statement, which commits by itself."""
        async with self._opening:
            held = self._connection
            if held is None or held.closed:
                held = self._connection = await self.database.own_connection()
                await held.execute("SET synchronous_commit = off")
        with translated("work in the database"):
            yield held

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
