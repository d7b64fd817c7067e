"""Workers with their duties, the receiver of hints, and SQL writes."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from nowbridge.api.hooks import Receiver
from nowbridge.delivery.deliver import Manner
from nowbridge.jobs.worker import Duties, OpenReplica, Worker
from nowbridge.jobs.writes import Writes, WriteSettings
from nowbridge.settings import Settings
from nowbridge.store.database import Database
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import ConnectionRow
from nowbridge.store.work.leases import Holder
from nowbridge.store.writes import write_log
from nowbridge.store.writes.write_log import Ended
from nowbridge.wiring.channels import notifier_of
from nowbridge.wiring.clock import now
from nowbridge.wiring.credentials import opened_secret
from nowbridge.wiring.replicas import new_holder, open_replica, own_in_flight, stored_instance
from nowbridge.writethrough.enable import enable_writes
from nowbridge.writethrough.settling import OnAbort

_LOOK_EVERY = 0.05  # seconds


def duties_of(settings: Settings) -> Duties:
    return Duties(
        parallel=own_in_flight(settings),
        heartbeat=settings.heartbeat_seconds,
        keep_feed=timedelta(days=settings.keep_changes_days),
        keep_tallies=timedelta(days=settings.keep_calls_days),
        keep_notices=timedelta(days=settings.keep_notices_days),
        keep_hints=timedelta(days=settings.keep_hints_days),
        keep_writes=timedelta(days=settings.keep_writes_days),
        stalled_after=settings.stalled_after_seconds,
        keep_tombstones=timedelta(days=settings.keep_tombstones_days),
    )


def worker_of(settings: Settings, database: Database, stop: asyncio.Event) -> Worker:
    async def opener(row: ConnectionRow, holder: Holder) -> OpenReplica:
        return await open_replica(settings, database, row, holder)

    notifier = notifier_of(settings, database)
    return Worker(
        database, new_holder(settings), duties_of(settings), now, opener, stop, notifier, write_settings_of(settings)
    )


async def make_writable(settings: Settings, database: Database) -> None:
    """Give the tables of every connection the triggers that SQL writes need."""
    async with database.transaction() as connection:
        rows = await connections.every(connection)
    for row in rows:
        async with stored_instance(settings, row, database, shared=True) as instance:
            await enable_writes(database, instance, row.id)


async def undo_write(settings: Settings, database: Database, write_id: int) -> Ended:
    """Carry the opposite of a write out, here and now. Returns how it ended."""
    holder = new_holder(settings)
    async with database.transaction() as connection:
        await write_log.add_undo(connection, write_id, role="nowbridge undo", now=now())
        rows = await connections.every(connection)
    for row in rows:
        replica = await open_replica(settings, database, row, holder)
        writes = Writes(database, holder, now, write_settings_of(settings))
        try:
            await writes.carry([replica.replica])
            await writes.end()
            await writes.settle([replica.replica])
            await replica.replica.read_hints()
        finally:
            await writes.close()
            await replica.close()
    return await _undone(database, write_id, within=settings.write_longest_seconds + settings.lease_seconds)


async def _undone(database: Database, write_id: int, *, within: float) -> Ended:
    """The undo of a write when it has ended and is settled: a worker that runs may have been quicker to take it. As it
    stands when that takes longer than `within` seconds.
    """
    last = time.monotonic() + within
    while True:
        async with database.transaction() as connection:
            found = (await write_log.latest(connection, limit=1, only=write_id))[0]
        if found.settled is not None or time.monotonic() > last:
            return found
        await asyncio.sleep(_LOOK_EVERY)


def write_settings_of(settings: Settings) -> WriteSettings:
    manner = Manner(longest=settings.write_longest_seconds, parallel=own_in_flight(settings))
    return WriteSettings(settings.write_rows, settings.write_deletes, OnAbort(settings.write_on_abort), manner)


def receiver_of(settings: Settings, database: Database) -> Receiver:
    """Takes the hints of every connection that has hooks."""
    return Receiver(database, now, lambda row: opened_secret(settings, row))
