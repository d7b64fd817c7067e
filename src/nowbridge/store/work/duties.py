"""What is done for each live table again and again, by whichever worker comes first: due times under leases.

A claim raises the epoch. The holder names it in the transaction of each effect (`require`), so a worker that was
paused deletes nothing when it wakes up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.types.json import Jsonb

from nowbridge.model.errors import LostLease
from nowbridge.store.database import Connection
from nowbridge.store.work.leases import Holder


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often one kind of duty is due. `at_once`: first when the table goes live, else after a part of the time that
    differs from table to table.
    """

    kind: str
    every: timedelta
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class DutyLease:
    table_id: int
    kind: str
    failures: int
    epoch: int


async def plan(connection: Connection, connection_id: int, rhythms: list[Rhythm], *, now: datetime) -> None:
    """Give every live table of the connection its duties."""
    for rhythm in rhythms:
        await connection.execute(
            "INSERT INTO nowbridge.duty (table_id, kind, next_at)"
            " SELECT id, %(kind)s, %(now)s::timestamptz + %(every)s::interval * ((id * 7 %% 16 + 1) / 16.0) * %(spread)s"
            " FROM nowbridge.replica_table WHERE connection_id = %(connection)s AND phase = 'live'"
            " ON CONFLICT DO NOTHING",
            {
                "kind": rhythm.kind,
                "now": now,
                "every": rhythm.every,
                "spread": 0 if rhythm.at_once else 1,
                "connection": connection_id,
            },
        )


async def claim(connection: Connection, connection_id: int, holder: Holder, *, now: datetime) -> DutyLease | None:
    """The connection's longest due duty that nobody's standing lease covers. One duty of a table at a time."""
    await _one_after_the_other(connection)
    cursor = await connection.execute(
        "UPDATE nowbridge.duty SET epoch = epoch + 1, owner = %(owner)s, lease_until = %(until)s"
        " WHERE (table_id, kind) = (SELECT d.table_id, d.kind FROM nowbridge.duty d"
        "   JOIN nowbridge.replica_table t ON t.id = d.table_id"
        "   WHERE t.connection_id = %(connection)s AND t.phase = 'live' AND t.paused_at IS NULL AND d.next_at <= %(now)s"
        "     AND (t.stopped IS NULL OR d.kind = 'schema')"
        "     AND (SELECT c.stopped IS NULL FROM nowbridge.connection c WHERE c.id = t.connection_id)"
        "     AND NOT EXISTS (SELECT 1 FROM nowbridge.duty o WHERE o.table_id = d.table_id AND o.lease_until > %(now)s)"
        "   ORDER BY d.next_at LIMIT 1 FOR UPDATE OF d SKIP LOCKED)"
        " RETURNING table_id, kind, failures, epoch",
        {"connection": connection_id, "owner": holder.name, "until": now + holder.lease, "now": now},
    )
    row = await cursor.fetchone()
    return DutyLease(*row) if row else None


async def claim_for(
    connection: Connection, table_id: int, kind: str, holder: Holder, *, now: datetime
) -> DutyLease | None:
    """One duty of one table, due or not, for somebody who asked for it; None while any duty of it is being done."""
    await connection.execute(
        "INSERT INTO nowbridge.duty (table_id, kind, next_at) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (table_id, kind, now),
    )
    await _one_after_the_other(connection)
    cursor = await connection.execute(
        "UPDATE nowbridge.duty SET epoch = epoch + 1, owner = %(owner)s, lease_until = %(until)s"
        " WHERE (table_id, kind) = (SELECT d.table_id, d.kind FROM nowbridge.duty d"
        "   WHERE d.table_id = %(table)s AND d.kind = %(kind)s"
        "     AND NOT EXISTS (SELECT 1 FROM nowbridge.duty o WHERE o.table_id = d.table_id AND o.lease_until > %(now)s)"
        "   FOR UPDATE OF d SKIP LOCKED)"
        " RETURNING table_id, kind, failures, epoch",
        {"table": table_id, "kind": kind, "owner": holder.name, "until": now + holder.lease, "now": now},
    )
    row = await cursor.fetchone()
    return DutyLease(*row) if row else None


async def _one_after_the_other(connection: Connection) -> None:
    """Of two that claim at once each would miss the other's claim, and take another duty of the same table."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('nowbridge.duty', 0))")


async def require(connection: Connection, lease: DutyLease) -> None:
    """Make sure that the lease stands, to the end of the transaction. Raises LostLease."""
    cursor = await connection.execute(
        "SELECT 1 FROM nowbridge.duty WHERE table_id = %s AND kind = %s AND epoch = %s FOR UPDATE",
        (lease.table_id, lease.kind, lease.epoch),
    )
    if await cursor.fetchone() is None:
        raise LostLease(
            "lease.lost", asked=f"carry out the {lease.kind} of a table", answered="another worker has taken it over"
        )


async def finish(connection: Connection, lease: DutyLease, *, next_at: datetime, calls: int, now: datetime) -> None:
    await connection.execute(
        "UPDATE nowbridge.duty SET done_at = %s, next_at = %s, calls = calls + %s, lease_until = NULL, owner = NULL,"
        " failures = 0, last_error = NULL WHERE table_id = %s AND kind = %s AND epoch = %s",
        (now, next_at, calls, lease.table_id, lease.kind, lease.epoch),
    )


async def give_back(
    connection: Connection, lease: DutyLease, *, error: dict[str, str] | None, next_at: datetime
) -> None:
    """Give the duty back undone: at once after a graceful stop, or to be tried again at `next_at` after an error."""
    await connection.execute(
        "UPDATE nowbridge.duty SET lease_until = NULL, owner = NULL, next_at = %s, last_error = %s,"
        " failures = failures + %s WHERE table_id = %s AND kind = %s AND epoch = %s",
        (next_at, Jsonb(error) if error else None, 1 if error else 0, lease.table_id, lease.kind, lease.epoch),
    )


async def let_go(connection: Connection, lease: DutyLease) -> None:
    """End a claim by `claim_for`: the duty's own due time stays as it is."""
    await connection.execute(
        "UPDATE nowbridge.duty SET lease_until = NULL, owner = NULL WHERE table_id = %s AND kind = %s AND epoch = %s",
        (lease.table_id, lease.kind, lease.epoch),
    )


async def bring_forward(connection: Connection, table_id: int, kind: str, *, now: datetime) -> None:
    """Make a duty due now; a table that has not got it yet gets it."""
    await connection.execute(
        "INSERT INTO nowbridge.duty (table_id, kind, next_at) VALUES (%(table)s, %(kind)s, %(now)s)"
        " ON CONFLICT (table_id, kind) DO UPDATE SET next_at = least(nowbridge.duty.next_at, excluded.next_at)",
        {"table": table_id, "kind": kind, "now": now},
    )
