"""SQL writes that were refused lately, per connection: what a notice is made of. Of the log it reads the newest entries
only, so that it costs the same however long the log is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from nowbridge.store.database import Connection

_NEWEST = 1_000


@dataclass(frozen=True, slots=True)
class Refusals:
    """`number` refused writes of a connection, and their SQLSTATEs in order. Zero where all were taken."""

    connection: str
    number: int
    sqlstates: tuple[str, ...]


async def lately(connection: Connection, *, since: datetime) -> list[Refusals]:
    """Of every connection through which anything was ever written."""
    cursor = await connection.execute(
        "SELECT c.name, count(*) FILTER (WHERE w.fresh)::int,"
        "  coalesce(array_agg(DISTINCT w.sqlstate ORDER BY w.sqlstate)"
        "   FILTER (WHERE w.fresh AND w.sqlstate IS NOT NULL), '{}')"
        " FROM (SELECT connection_id, sqlstate, mode <> 'plan' AND state = 'refused' AND ended_at > %s AS fresh"
        "   FROM nowbridge.write_log ORDER BY id DESC LIMIT %s) AS w"
        " JOIN nowbridge.connection c ON c.id = w.connection_id GROUP BY c.name ORDER BY c.name",
        (since, _NEWEST),
    )
    return [Refusals(name, number, tuple(states)) for name, number, states in await cursor.fetchall()]
