"""The event-loss meter: of the changes of a table with a rule, how many did a poll find that no hint had told of?

A change counts as unhinted when its hint has not come a while after the poll found it (async rules run when the
instance gets round to them), and no more once the hint comes after all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nowbridge.store.database import Connection
from nowbridge.store.ddl import Relation

GRACE = timedelta(minutes=2)  # that a hint may come later than the poll
_MANY = 50  # one change in so many may be lost before hints count as unreliable

_COVERED = (
    "SELECT DISTINCT ON (t.id) t.id, t.connection_id, h.table_name, h.active_from"
    " FROM nowbridge.replica_table t JOIN nowbridge.hook_table h ON h.connection_id = t.connection_id"
    "   AND (h.table_name = t.source OR t.layout->'ancestors' ? h.table_name)"
    " WHERE %(table)s::integer IS NULL OR t.id = %(table)s"
    " ORDER BY t.id, array_position(ARRAY(SELECT t.source UNION ALL"
    "   SELECT jsonb_array_elements_text(t.layout->'ancestors')), h.table_name)"
)


@dataclass(frozen=True, slots=True)
class Loss:
    """How the hints of one table stand. Counts are of the last 24 hours, `recent` ones of the last hour. `rule_table` has
    the rule that tells of this table.
    """

    relation: Relation
    source: str
    rule_table: str
    active_from: datetime | None
    last_hint_at: datetime | None
    by_hint: int
    by_poll: int
    lost: int
    recent: int
    recent_lost: int

    @property
    def changes(self) -> int:
        return self.by_hint + self.by_poll

    @property
    def share(self) -> float:
        """Of all changes, those that were lost."""
        return min(1.0, self.lost / self.changes) if self.changes else 0.0

    def state(self, now: datetime) -> str:
        """works, loses (some), silent: changes are found and no hint came for an hour; waits: for its first hint."""
        if self.active_from is None:
            return "waits"
        if not self.recent_lost:
            return "works"
        heard = self.last_hint_at or self.active_from
        if now - heard > timedelta(hours=1):
            return "silent"
        return "loses" if self.recent_lost * _MANY > self.recent else "works"


async def hinted(connection: Connection, table_id: int, changes: int, *, now: datetime) -> None:
    """Count changes that a hint brought, in the transaction that brings them."""
    if changes:
        await connection.execute(
            "UPDATE nowbridge.stream SET changes = changes + %s WHERE table_id = %s", (changes, table_id)
        )
        await _count(connection, table_id, changes, 0, now)


async def polled(
    connection: Connection, table_id: int, changed: Sequence[tuple[str, int | None, datetime | None]], *, now: datetime
) -> None:
    """Count changes that a poll brought (sys_id, sys_mod_count, sys_updated_on), in the transaction that brings them.
    Those from before the table's rule are left out.
    """
    if not changed:
        return
    cursor = await connection.execute(
        f"WITH covered AS ({_COVERED}),"
        " found AS (SELECT f.* FROM covered c, unnest(%(ids)s::text[], %(counts)s::integer[], %(times)s::timestamptz[])"
        "   AS f(sys_id, mod_count, updated_on) WHERE f.updated_on IS NULL OR f.updated_on >= c.active_from),"
        " kept AS (INSERT INTO nowbridge.unhinted AS u (table_id, sys_id, mod_count, found_at)"
        "   SELECT %(table)s, f.sys_id, f.mod_count, %(now)s FROM found f WHERE NOT EXISTS (SELECT 1 FROM covered c"
        "     JOIN nowbridge.hint h ON h.connection_id = c.connection_id WHERE h.sys_id = f.sys_id"
        "       AND (f.mod_count IS NULL OR h.mod_count >= f.mod_count))"
        "   ORDER BY f.sys_id ON CONFLICT (table_id, sys_id) DO UPDATE"
        "     SET mod_count = excluded.mod_count, found_at = excluded.found_at)"
        " SELECT count(*) FROM found",
        {
            "table": table_id,
            "ids": [sys_id for sys_id, _, _ in changed],
            "counts": [count for _, count, _ in changed],
            "times": [moment for _, _, moment in changed],
            "now": now,
        },
    )
    row = await cursor.fetchone()
    if row and row[0]:
        await _count(connection, table_id, 0, int(row[0]), now)


async def reliable(connection: Connection, table_id: int, *, now: datetime) -> bool:
    """Whether hints tell of this table's changes so well that a poll need only stand behind them."""
    found = await losses(connection, now=now, table_id=table_id)
    return bool(found) and found[0].state(now) == "works"


async def set_wait(connection: Connection, table_id: int, wait: timedelta) -> None:
    """Keep the wait that was chosen after a poll: by it the table's age is judged."""
    await connection.execute(
        "UPDATE nowbridge.stream SET poll_every = %s WHERE table_id = %s AND poll_every IS DISTINCT FROM %s",
        (wait, table_id, wait),
    )


async def losses(connection: Connection, *, now: datetime, table_id: int | None = None) -> list[Loss]:
    """Of every live table that a rule tells of (or of one), in the order in which they were added."""
    cursor = await connection.execute(
        f"WITH covered AS ({_COVERED})"
        " SELECT t.schema_name, t.relation, t.source, c.table_name, nullif(c.active_from, 'infinity'),"
        "  (SELECT max(last_at) FROM nowbridge.hint i"
        "    WHERE i.connection_id = c.connection_id AND i.rule_table = c.table_name),"
        "  coalesce(y.by_hint, 0)::bigint, coalesce(y.by_poll, 0)::bigint,"
        "  (SELECT count(*) FROM nowbridge.unhinted u WHERE u.table_id = t.id AND u.found_at <= %(ripe)s"
        "    AND u.found_at > %(day)s), coalesce(y.recent, 0)::bigint,"
        "  (SELECT count(*) FROM nowbridge.unhinted u WHERE u.table_id = t.id AND u.found_at <= %(ripe)s"
        "    AND u.found_at > %(hour)s)"
        " FROM covered c JOIN nowbridge.replica_table t ON t.id = c.id"
        " LEFT JOIN (SELECT table_id, sum(by_hint) AS by_hint, sum(by_poll) AS by_poll,"
        "   sum(by_hint + by_poll) FILTER (WHERE hour > %(hour)s - interval '1 hour') AS recent"
        "   FROM nowbridge.hint_tally WHERE hour > %(day)s GROUP BY table_id) y ON y.table_id = t.id"
        " WHERE t.phase = 'live' ORDER BY t.id",
        {
            "ripe": now - GRACE,
            "hour": now - timedelta(hours=1),
            "day": now - timedelta(days=1),
            "table": table_id,
        },
    )
    return [Loss(Relation(schema, name), *rest) for schema, name, *rest in await cursor.fetchall()]


async def _count(connection: Connection, table_id: int, by_hint: int, by_poll: int, now: datetime) -> None:
    await connection.execute(
        "INSERT INTO nowbridge.hint_tally AS y (table_id, hour, by_hint, by_poll) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (table_id, hour) DO UPDATE SET by_hint = y.by_hint + excluded.by_hint,"
        "   by_poll = y.by_poll + excluded.by_poll",
        (table_id, now.replace(minute=0, second=0, microsecond=0), by_hint, by_poll),
    )
