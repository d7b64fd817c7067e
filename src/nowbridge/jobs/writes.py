"""SQL writes in a worker: taken as soon as a transaction hands them over, several at once, and settled afterwards.

A client waits for each, so they do not queue behind the worker's other work; the shared budget lets their calls go first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from nowbridge.delivery.deliver import Manner
from nowbridge.model.errors import NowbridgeError
from nowbridge.replica.run import Replica
from nowbridge.replica.spec import Clock
from nowbridge.store.database import Database
from nowbridge.store.work.leases import Holder
from nowbridge.store.writes import write_log, write_tables
from nowbridge.writethrough.enable import enable_writes
from nowbridge.writethrough.settling import OnAbort, Settler
from nowbridge.writethrough.writer import MOST_DELETES, MOST_ROWS, Writer

log = structlog.get_logger("nowbridge.writes")

AT_ONCE = 20
"""Writes of one connection that a worker carries out side by side; each waits mostly for ServiceNow."""


@dataclass(frozen=True, slots=True)
class WriteSettings:
    """`most_rows` records a transaction may write, `most_deletes` it may delete unconfirmed; what becomes of a write whose transaction failed after ServiceNow had
    accepted it; and how writes are sent.
    """

    most_rows: int = MOST_ROWS
    most_deletes: int = MOST_DELETES
    on_abort: OnAbort = OnAbort.REVERT
    manner: Manner = field(default_factory=Manner)


@dataclass(slots=True)
class Writes:
    database: Database
    holder: Holder
    clock: Clock
    settings: WriteSettings
    handed_over: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: dict[int, Writer] = field(default_factory=dict)
    _retired: list[Writer] = field(default_factory=list)
    _running: dict[asyncio.Task[None], write_log.Entry] = field(default_factory=dict)

    def writer(self, replica: Replica) -> Writer:
        """The connection's writer, which remembers its tables; a new one where the connection was opened anew."""
        held = self._writers.get(replica.connection_id)
        if held is None or held.instance is not replica.instance:
            if held is not None:
                self._retired.append(held)  # what it took, it still ends
            held = self._writers[replica.connection_id] = self._new_writer(replica)
        return held

    def _new_writer(self, replica: Replica) -> Writer:
        return Writer(
            self.database,
            replica.instance,
            replica.connection_id,
            self.holder,
            replica.labeller,
            self.clock,
            self.settings.manner,
            self.settings.most_rows,
            self.settings.most_deletes,
        )

    async def carry(self, replicas: Iterable[Replica]) -> bool:
        """Begin every write that waits. True if there may be more: whatever comes later says so."""
        self.handed_over.clear()
        more = False
        for replica in replicas:
            writer = self.writer(replica)
            entries = await writer.claim(AT_ONCE)
            for entry in entries:
                task = asyncio.create_task(self.carried_out(writer, entry))
                self._running[task] = entry
                task.add_done_callback(self._running.pop)
            more = more or len(entries) == AT_ONCE
        return more

    async def carried_out(self, writer: Writer, entry: write_log.Entry) -> None:
        """One write, to its end."""
        try:
            await writer.carry_out(entry)
        except NowbridgeError as error:  # the database went away: the lease runs out and another takes it
            log.warning("a write waits", write=entry.id, code=error.code, answered=error.answered)

    async def settle(self, replicas: Iterable[Replica]) -> bool:
        """Settle what has ended, look for what is unknown, and keep the tables' triggers as their columns are."""
        done = 0
        for replica in replicas:
            settler = Settler(self.writer(replica), self.settings.on_abort)
            done += await settler.settle()
            done += await settler.look_for_unknown()
            async with self.database.transaction() as connection:
                outdated = await write_tables.outdated(connection, replica.connection_id)
            if outdated:
                await enable_writes(self.database, replica.instance, replica.connection_id)
        return done > 0

    async def renew(self) -> None:
        """Keep what is being carried out."""
        if self._running:
            async with self.database.transaction() as connection:
                await write_log.renew(connection, self.holder, list(self._running.values()), now=self.clock())

    async def end(self) -> None:
        """Let what was begun come to its end."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def close(self) -> None:
        """Let go of the writers' connections, when nobody takes writes any more."""
        for writer in (*self._writers.values(), *self._retired):
            await writer.close()
