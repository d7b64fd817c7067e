"""Who works on what: leases on shards and streams, each with a fencing epoch.

Claiming raises the epoch. Every later write of the holder names its epoch, in the transaction of its effect; when
somebody else has claimed meanwhile (the holder was paused, its lease ran out) that write matches no row and the
holder gives up (LostLease). The queue's lock is an optimisation, this is the mutual exclusion (traps, finding 31).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from psycopg.types.json import Jsonb

from nowbridge.model.errors import LostLease
from nowbridge.store.database import Connection

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Holder:
    """Who claims, and for how long a claim stands without being renewed."""

    name: str
    lease: timedelta


@dataclass(frozen=True, slots=True)
class ShardLease:
    """A claimed shard. `position` is servicenow.pages' own JSON, None at the start."""

    id: int
    table_id: int
    low: str | None
    high: str | None
    position: dict[str, Any] | None
    rows: int
    failures: int
    epoch: int


@dataclass(frozen=True, slots=True)
class StreamLease:
    """A claimed change stream. Everything up to `cursor_time` (and within that second up to `cursor_id`, if given)
    has been read.
    """

    table_id: int
    cursor_time: datetime
    cursor_id: str
    failures: int
    epoch: int


@dataclass(frozen=True, slots=True)
class ShardProgress:
    """What one committed page adds. `hidden` is the shard's total, the others are increments."""

    position: dict[str, Any]
    rows: int
    hidden: int
    calls: int
    done: bool


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """What one committed page of changes adds: the cursor is where the stream now stands, the rest are increments."""

    cursor_time: datetime
    cursor_id: str
    calls: int
    changes: int


async def add_shards(connection: Connection, table_id: int, ranges: list[tuple[str | None, str | None]]) -> list[int]:
    made = []
    for low, high in ranges:
        cursor = await connection.execute(
            "INSERT INTO nowbridge.shard (table_id, low, high) VALUES (%s, %s, %s) RETURNING id", (table_id, low, high)
        )
        row = await cursor.fetchone()
        if row is not None:
            made.append(int(row[0]))
    return made


async def claim_shard(
    connection: Connection, connection_id: int, holder: Holder, *, now: datetime
) -> ShardLease | None:
    """The connection's oldest shard that is to be read and that nobody's standing lease covers; None when there is none."""
    cursor = await connection.execute(
        "UPDATE nowbridge.shard SET epoch = epoch + 1, owner = %(owner)s, lease_until = %(until)s,"
        "   started_at = coalesce(started_at, %(now)s)"
        " WHERE id = (SELECT s.id FROM nowbridge.shard s JOIN nowbridge.replica_table t ON t.id = s.table_id"
        "   WHERE t.connection_id = %(connection)s AND s.done_at IS NULL AND t.phase = 'backfill'"
        "     AND (s.lease_until IS NULL OR s.lease_until <= %(now)s)"
        "     AND (s.next_try_at IS NULL OR s.next_try_at <= %(now)s)"
        "     AND (SELECT c.stopped IS NULL FROM nowbridge.connection c WHERE c.id = t.connection_id)"
        "   ORDER BY s.id LIMIT 1 FOR UPDATE OF s SKIP LOCKED)"
        " RETURNING id, table_id, low, high, position, rows, failures, epoch",
        {"connection": connection_id, "owner": holder.name, "until": now + holder.lease, "now": now},
    )
    row = await cursor.fetchone()
    return ShardLease(*row) if row else None


async def advance_shard(
    connection: Connection, lease: ShardLease, holder: Holder, progress: ShardProgress, *, now: datetime
) -> None:
    """Move the shard's cursor in the transaction that holds its rows. Raises LostLease under an old epoch."""
    cursor = await connection.execute(
        "UPDATE nowbridge.shard SET position = %(position)s, rows = rows + %(rows)s, hidden = %(hidden)s,"
        "   calls = calls + %(calls)s, moved_at = %(now)s,"
        "   lease_until = CASE WHEN NOT %(done)s THEN %(until)s::timestamptz END, failures = 0, last_error = NULL,"
        "   done_at = CASE WHEN %(done)s THEN %(now)s END"
        " WHERE id = %(id)s AND epoch = %(epoch)s AND done_at IS NULL",
        {
            "position": Jsonb(progress.position),
            "rows": progress.rows,
            "hidden": progress.hidden,
            "calls": progress.calls,
            "done": progress.done,
            "now": now,
            "until": now + holder.lease,
            "id": lease.id,
            "epoch": lease.epoch,
        },
    )
    _require(cursor.rowcount, f"shard {lease.id}")


async def release_shard(
    connection: Connection,
    lease: ShardLease,
    *,
    error: dict[str, str] | None = None,
    next_try_at: datetime | None = None,
) -> None:
    """Give the shard back: at once after a graceful stop, or to be tried again at `next_try_at` after an error."""
    await connection.execute(
        "UPDATE nowbridge.shard SET lease_until = NULL, owner = NULL, next_try_at = %s, last_error = %s,"
        "  failures = failures + %s WHERE id = %s AND epoch = %s",
        (next_try_at, Jsonb(error) if error else None, 1 if error else 0, lease.id, lease.epoch),
    )


async def open_shards(connection: Connection, table_id: int) -> int:
    """How many shards of the table are not done. Locks the table's row, so that one finisher sees zero, once."""
    await connection.execute("SELECT 1 FROM nowbridge.replica_table WHERE id = %s FOR UPDATE", (table_id,))
    cursor = await connection.execute(
        "SELECT count(*) FROM nowbridge.shard WHERE table_id = %s AND done_at IS NULL", (table_id,)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def begin_anew(connection: Connection, table_id: int) -> None:
    """A table that is not live yet is prepared and loaded from its beginning; rows that are there stay."""
    await connection.execute("DELETE FROM nowbridge.shard WHERE table_id = %s", (table_id,))
    await connection.execute("UPDATE nowbridge.replica_table SET phase = 'planned' WHERE id = %s", (table_id,))


async def loaded_tables(connection: Connection, connection_id: int) -> list[int]:
    """Tables of the connection whose shards are all done and which have not gone live yet."""
    cursor = await connection.execute(
        "SELECT id FROM nowbridge.replica_table t WHERE connection_id = %s AND phase = 'backfill'"
        " AND NOT EXISTS (SELECT 1 FROM nowbridge.shard s WHERE s.table_id = t.id AND s.done_at IS NULL)",
        (connection_id,),
    )
    return [int(row[0]) for row in await cursor.fetchall()]


async def loading(connection: Connection, connection_id: int) -> bool:
    """Whether a first load of the connection is under way."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT 1 FROM nowbridge.replica_table WHERE connection_id = %s AND phase = 'backfill'"
        " AND paused_at IS NULL)",
        (connection_id,),
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def add_stream(connection: Connection, table_id: int, start: datetime, *, now: datetime) -> None:
    """A stream that begins at `start`, the instance's time before the first page of the backfill was asked for."""
    await connection.execute(
        "INSERT INTO nowbridge.stream (table_id, cursor_time, proven_to, next_poll_at) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (table_id) DO UPDATE SET cursor_time = excluded.cursor_time, cursor_id = '',"
        "   proven_to = excluded.proven_to, next_poll_at = excluded.next_poll_at",
        (table_id, start, start, now),
    )


async def claim_streams(
    connection: Connection, connection_id: int, holder: Holder, *, now: datetime, limit: int
) -> list[StreamLease]:
    """Streams of the connection's live tables that are due and free, the longest waiting first."""
    cursor = await connection.execute(
        "UPDATE nowbridge.stream SET epoch = epoch + 1, owner = %(owner)s, lease_until = %(until)s"
        " WHERE table_id IN (SELECT m.table_id FROM nowbridge.stream m JOIN nowbridge.replica_table t ON t.id = m.table_id"
        "   WHERE t.connection_id = %(connection)s AND t.phase = 'live' AND t.stopped IS NULL AND m.next_poll_at <= %(now)s"
        "     AND (m.lease_until IS NULL OR m.lease_until <= %(now)s)"
        "     AND (SELECT c.stopped IS NULL FROM nowbridge.connection c WHERE c.id = t.connection_id)"
        "   ORDER BY m.next_poll_at LIMIT %(limit)s FOR UPDATE OF m SKIP LOCKED)"
        " RETURNING table_id, cursor_time, cursor_id, failures, epoch",
        {
            "connection": connection_id,
            "owner": holder.name,
            "until": now + holder.lease,
            "now": now,
            "limit": limit,
        },
    )
    return [StreamLease(*row) for row in await cursor.fetchall()]


async def claim_stream(connection: Connection, table_id: int, holder: Holder, *, now: datetime) -> StreamLease | None:
    """One table's stream, due or not, unless somebody's standing lease covers it."""
    cursor = await connection.execute(
        "UPDATE nowbridge.stream SET epoch = epoch + 1, owner = %(owner)s, lease_until = %(until)s"
        " WHERE table_id = (SELECT m.table_id FROM nowbridge.stream m JOIN nowbridge.replica_table t ON t.id = m.table_id"
        "   WHERE m.table_id = %(table)s AND t.paused_at IS NULL AND t.stopped IS NULL AND (m.lease_until IS NULL OR m.lease_until <= %(now)s)"
        "     AND (SELECT c.stopped IS NULL FROM nowbridge.connection c WHERE c.id = t.connection_id)"
        "   FOR UPDATE OF m SKIP LOCKED)"
        " RETURNING table_id, cursor_time, cursor_id, failures, epoch",
        {"table": table_id, "owner": holder.name, "until": now + holder.lease, "now": now},
    )
    row = await cursor.fetchone()
    return StreamLease(*row) if row else None


async def proven_to(connection: Connection, table_id: int) -> datetime | None:
    """The instance's time up to which the table's changes are in the replica; None for a table without a stream."""
    cursor = await connection.execute("SELECT proven_to FROM nowbridge.stream WHERE table_id = %s", (table_id,))
    row = await cursor.fetchone()
    return row[0] if row else None


async def advance_stream(
    connection: Connection, lease: StreamLease, holder: Holder, progress: StreamProgress, *, now: datetime
) -> None:
    """Move the stream's cursor in the transaction that holds its rows. Raises LostLease under an old epoch."""
    cursor = await connection.execute(
        "UPDATE nowbridge.stream SET cursor_time = %s, cursor_id = %s, calls = calls + %s, changes = changes + %s,"
        "   lease_until = %s WHERE table_id = %s AND epoch = %s",
        (
            progress.cursor_time,
            progress.cursor_id,
            progress.calls,
            progress.changes,
            now + holder.lease,
            lease.table_id,
            lease.epoch,
        ),
    )
    _require(cursor.rowcount, f"stream {lease.table_id}")


async def finish_poll(
    connection: Connection,
    lease: StreamLease,
    *,
    proven_to: datetime,
    next_poll_at: datetime,
    calls: int,
    now: datetime,
) -> None:
    """A pass came to its end: every change up to `proven_to` is in the replica."""
    cursor = await connection.execute(
        "UPDATE nowbridge.stream SET proven_to = %(to)s, proven_at = %(now)s,"
        "   next_poll_at = %(next)s, lease_until = NULL, owner = NULL, failures = 0, last_error = NULL,"
        "   calls = calls + %(calls)s WHERE table_id = %(id)s AND epoch = %(epoch)s",
        {
            "to": proven_to,
            "now": now,
            "next": next_poll_at,
            "calls": calls,
            "id": lease.table_id,
            "epoch": lease.epoch,
        },
    )
    _require(cursor.rowcount, f"stream {lease.table_id}")


async def fail_poll(
    connection: Connection, lease: StreamLease, error: dict[str, str], *, next_poll_at: datetime
) -> None:
    """Give the stream back after a failure, to be tried again at `next_poll_at`."""
    await connection.execute(
        "UPDATE nowbridge.stream SET lease_until = NULL, owner = NULL, failures = failures + 1, last_error = %s,"
        " next_poll_at = %s WHERE table_id = %s AND epoch = %s",
        (Jsonb(error), next_poll_at, lease.table_id, lease.epoch),
    )


async def release_stream(connection: Connection, lease: StreamLease) -> None:
    """Give the stream back at once: the pass was broken off, its cursor stands where the last page was committed."""
    await connection.execute(
        "UPDATE nowbridge.stream SET lease_until = NULL, owner = NULL WHERE table_id = %s AND epoch = %s",
        (lease.table_id, lease.epoch),
    )


@dataclass(slots=True)
class AtWork:
    """What one process works on right now: only that is renewed. A claim whose work broke off while the database was
    away could not be given back; renewed all the same, it would keep everybody else from the work for good.
    """

    shards: set[int] = field(default_factory=set)
    streams: set[int] = field(default_factory=set)
    duties: set[tuple[int, str]] = field(default_factory=set)


@contextmanager
def noted(kind: set[T], claim: T) -> Iterator[None]:
    """In one of the sets of `AtWork` while the work goes on."""
    kind.add(claim)
    try:
        yield
    finally:
        kind.discard(claim)


async def renew(connection: Connection, holder: Holder, at_work: AtWork, *, now: datetime) -> int:
    """Keep what this holder has and works on: a page may take longer than a lease. What somebody else has claimed
    meanwhile has another owner and stays his. Returns how many claims stand.
    """
    tables = [table for table, _ in at_work.duties]
    kinds = [kind for _, kind in at_work.duties]
    claims: tuple[tuple[str, str, tuple[object, ...]], ...] = (
        ("shard", "id = ANY(%s)", (list(at_work.shards),)),
        ("stream", "table_id = ANY(%s)", (list(at_work.streams),)),
        ("duty", "(table_id, kind) IN (SELECT * FROM unnest(%s::integer[], %s::text[]))", (tables, kinds)),
    )
    kept = 0
    for table, these, values in claims:
        cursor = await connection.execute(
            f"UPDATE nowbridge.{table} SET lease_until = %s WHERE owner = %s AND lease_until IS NOT NULL AND {these}",
            (now + holder.lease, holder.name, *values),
        )
        kept += cursor.rowcount
    return kept


def _require(matched: int, what: str) -> None:
    if matched != 1:
        raise LostLease(
            "lease.lost", asked=f"move the cursor of {what}", answered="another worker has taken it over meanwhile"
        )
