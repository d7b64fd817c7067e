"""Hints: which records changed, by word of the instance. One row a record, however often it is told of.

A hint holds no values and decides nothing: the record is read back (`replica.hints`). Whoever takes hints up raises
their epoch, and what comes meanwhile raises `arrivals`, so a hint is done only if nothing new was told of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nowbridge.store.database import Connection

CHANNEL = "nowbridge_hint"
FIRST_AGAIN, LAST_AGAIN = timedelta(seconds=0.5), timedelta(seconds=30)
"""Between two looks whether a client still holds a record."""


@dataclass(frozen=True, slots=True)
class Told:
    """One hint as it came in. `mod_count` and `updated_on` are the version that the rule saw, None when it saw none."""

    table: str
    sys_id: str
    rule_table: str
    mod_count: int | None
    updated_on: datetime | None
    deleted: bool


@dataclass(frozen=True, slots=True)
class Hint:
    """A hint that somebody works on; `told` is all that was told of the record since it was last done."""

    id: int
    told: Told
    arrivals: int
    received_at: datetime
    tries: int
    epoch: int
    deferred: bool


async def take(
    connection: Connection, connection_id: int, digest: bytes, several: Collection[Told], *, now: datetime
) -> bool:
    """Keep the hints of one post, and wake who waits for them. False, and nothing is kept: a post with this signature was
    taken before. A hint that tells nothing new of a record that was done is only counted.

    One statement, because the instance's scheduler waits for the answer: each round trip costs its threads.
    """
    values = {"connection": connection_id, "digest": digest, "now": now, **_as_columns(several)}
    row = await (await connection.execute(_TAKE, values)).fetchone()
    return bool(row and row[0])


async def add(connection: Connection, connection_id: int, several: Collection[Told], *, now: datetime) -> None:
    """Keep hints of our own: records that we have reason to read back."""
    await connection.execute(_ADD, {"connection": connection_id, "now": now, **_as_columns(several)})


async def defer(
    connection: Connection, connection_id: int, table: str, sys_ids: Sequence[str], *, deleted: bool, now: datetime
) -> None:
    """Keep records to be read back that were read and could not be written, as a SQL client holds them. For the caller's
    transaction: the one that moves the cursor past them. The longer one waits already, the later it is tried again.
    """
    await connection.execute(
        "INSERT INTO nowbridge.hint AS h (connection_id, table_name, sys_id, rule_table, deleted, deferred, received_at,"
        "   last_at, next_try_at)"
        " SELECT %(connection)s, %(table)s, id, %(table)s, %(deleted)s, true, %(now)s, %(now)s, %(now)s + %(first)s::interval"
        "   FROM unnest(%(ids)s::text[]) AS u(id) ORDER BY id"
        " ON CONFLICT (connection_id, sys_id, table_name) DO UPDATE SET deferred = true, arrivals = h.arrivals + 1,"
        "   deleted = excluded.deleted OR (h.deleted AND h.done_at IS NULL),"
        "   received_at = CASE WHEN h.done_at IS NULL THEN h.received_at ELSE excluded.received_at END,"
        "   next_try_at = CASE WHEN h.done_at IS NULL THEN %(now)s + greatest(%(first)s::interval,"
        "     least(%(longest)s::interval, (%(now)s - h.received_at) / 2)) ELSE excluded.next_try_at END,"
        "   done_at = NULL",
        {
            "connection": connection_id,
            "table": table,
            "ids": list(sys_ids),
            "deleted": deleted,
            "now": now,
            "first": FIRST_AGAIN,
            "longest": LAST_AGAIN,
        },
    )


def _as_columns(several: Collection[Told]) -> dict[str, list[object]]:
    told = _folded(several)
    return {
        "tables": [one.table for one in told],
        "ids": [one.sys_id for one in told],
        "rules": [one.rule_table for one in told],
        "counts": [one.mod_count for one in told],
        "times": [one.updated_on for one in told],
        "deleted": [one.deleted for one in told],
    }


# Told of a record that is done: the same version or an older one, and no deletion on either side.
_OLD_NEWS = (
    "(h.done_at IS NOT NULL AND NOT h.deleted AND NOT excluded.deleted AND excluded.mod_count <= h.mod_count"
    " AND excluded.updated_on <= h.updated_on)"
)
_KEEP = (
    " told AS (SELECT t.* FROM taken, unnest(%(tables)s::text[], %(ids)s::text[], %(rules)s::text[],"
    "   %(counts)s::integer[], %(times)s::timestamptz[], %(deleted)s::boolean[])"
    "   AS t(table_name, sys_id, rule_table, mod_count, updated_on, deleted)),"
    " kept AS (INSERT INTO nowbridge.hint AS h (connection_id, table_name, sys_id, rule_table, mod_count, updated_on,"
    "    deleted, received_at, last_at, next_try_at)"
    "   SELECT %(connection)s, t.*, %(now)s, %(now)s, %(now)s FROM told t ORDER BY t.sys_id, t.table_name"
    "   ON CONFLICT (connection_id, sys_id, table_name) DO UPDATE SET"
    "    rule_table = excluded.rule_table, last_at = excluded.last_at, arrivals = h.arrivals + 1,"
    "    mod_count = CASE WHEN h.done_at IS NULL OR NOT h.deleted"
    "      THEN greatest(h.mod_count, excluded.mod_count) ELSE excluded.mod_count END,"
    "    updated_on = CASE WHEN h.done_at IS NULL OR NOT h.deleted"
    "      THEN greatest(h.updated_on, excluded.updated_on) ELSE excluded.updated_on END,"
    f"    deleted = CASE WHEN {_OLD_NEWS} THEN h.deleted"
    "      ELSE excluded.deleted OR (h.deleted AND h.done_at IS NULL) END,"
    f"    received_at = CASE WHEN h.done_at IS NULL OR {_OLD_NEWS} THEN h.received_at ELSE excluded.received_at END,"
    f"    next_try_at = CASE WHEN {_OLD_NEWS} THEN h.next_try_at ELSE excluded.next_try_at END,"
    f"    tries = CASE WHEN {_OLD_NEWS} THEN h.tries ELSE 0 END,"
    f"    done_at = CASE WHEN {_OLD_NEWS} THEN h.done_at END),"
    " late AS (DELETE FROM nowbridge.unhinted u USING nowbridge.replica_table r, told t"
    "   WHERE r.id = u.table_id AND r.connection_id = %(connection)s AND u.sys_id = t.sys_id"
    "     AND (u.mod_count IS NULL OR u.mod_count <= t.mod_count))"
    f" SELECT count(*), pg_notify('{CHANNEL}', '') FROM taken"
)
_TAKE = (
    "WITH taken AS (INSERT INTO nowbridge.hint_signature (connection_id, digest, seen_at)"
    "   VALUES (%(connection)s, %(digest)s, %(now)s) ON CONFLICT DO NOTHING RETURNING 1)," + _KEEP
)
_ADD = "WITH taken AS (SELECT 1)," + _KEEP


def _folded(several: Collection[Told]) -> list[Told]:
    """One of each record, the newest version of each, in one order for all, so that nobody waits for nobody."""
    by_record: dict[tuple[str, str], Told] = {}
    for told in several:
        key = (told.sys_id, told.table)
        held = by_record.setdefault(key, told)
        counts = [one.mod_count for one in (held, told) if one.mod_count is not None]
        times = [one.updated_on for one in (held, told) if one.updated_on is not None]
        by_record[key] = Told(
            told.table,
            told.sys_id,
            told.rule_table,
            max(counts, default=None),
            max(times, default=None),
            held.deleted or told.deleted,
        )
    return [by_record[key] for key in sorted(by_record)]


_OPEN = "t.phase = 'live' AND t.paused_at IS NULL AND t.stopped IS NULL"


async def claim(
    connection: Connection, connection_id: int, *, lease: timedelta, now: datetime, limit: int
) -> list[Hint]:
    """Hints that are due and free, the longest waiting first. A deferred one waits while its table is not followed."""
    cursor = await connection.execute(
        "UPDATE nowbridge.hint SET epoch = epoch + 1, lease_until = %(until)s WHERE id IN"
        "  (SELECT id FROM nowbridge.hint WHERE connection_id = %(connection)s AND done_at IS NULL"
        "    AND next_try_at <= %(now)s AND (lease_until IS NULL OR lease_until <= %(now)s)"
        "    AND NOT (deferred AND EXISTS (SELECT FROM nowbridge.replica_table t WHERE t.connection_id = %(connection)s"
        f"      AND t.source = table_name AND NOT ({_OPEN})))"
        "    AND (SELECT c.stopped IS NULL FROM nowbridge.connection c WHERE c.id = %(connection)s)"
        "    ORDER BY next_try_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)"
        " RETURNING id, table_name, sys_id, rule_table, mod_count, updated_on, deleted, arrivals, received_at, tries,"
        "  epoch, deferred",
        {"connection": connection_id, "now": now, "until": now + lease, "limit": limit},
    )
    return [Hint(row[0], Told(*row[1:7]), *row[7:]) for row in await cursor.fetchall()]


async def done(connection: Connection, hints: Sequence[tuple[Hint, str]], *, now: datetime) -> None:
    """These are dealt with, each with its outcome, but for those of which something new was told meanwhile."""
    await connection.execute(
        "UPDATE nowbridge.hint h SET lease_until = NULL,"
        "  done_at = CASE WHEN h.arrivals = d.arrivals THEN %(now)s::timestamptz END, outcome = d.outcome,"
        "  deferred = h.deferred AND h.arrivals <> d.arrivals"
        " FROM unnest(%(ids)s::bigint[], %(epochs)s::bigint[], %(arrivals)s::integer[], %(outcomes)s::text[])"
        "   AS d(id, epoch, arrivals, outcome) WHERE h.id = d.id AND h.epoch = d.epoch",
        {
            "now": now,
            "ids": [hint.id for hint, _ in hints],
            "epochs": [hint.epoch for hint, _ in hints],
            "arrivals": [hint.arrivals for hint, _ in hints],
            "outcomes": [outcome for _, outcome in hints],
        },
    )


async def put_off(connection: Connection, hints: Sequence[tuple[Hint, datetime]]) -> None:
    """To be tried again at the time given with each; at once where something new was told meanwhile."""
    await connection.execute(
        "UPDATE nowbridge.hint h SET lease_until = NULL,"
        "  tries = CASE WHEN h.arrivals = d.arrivals THEN h.tries + 1 ELSE 0 END,"
        "  next_try_at = CASE WHEN h.arrivals = d.arrivals THEN d.at ELSE h.next_try_at END"
        " FROM unnest(%(ids)s::bigint[], %(epochs)s::bigint[], %(arrivals)s::integer[], %(times)s::timestamptz[])"
        "   AS d(id, epoch, arrivals, at) WHERE h.id = d.id AND h.epoch = d.epoch",
        {
            "ids": [hint.id for hint, _ in hints],
            "epochs": [hint.epoch for hint, _ in hints],
            "arrivals": [hint.arrivals for hint, _ in hints],
            "times": [at for _, at in hints],
        },
    )


async def release(connection: Connection, hints: Sequence[Hint]) -> None:
    """Give hints back at once, untried."""
    await connection.execute(
        "UPDATE nowbridge.hint h SET lease_until = NULL FROM unnest(%s::bigint[], %s::bigint[]) AS d(id, epoch)"
        " WHERE h.id = d.id AND h.epoch = d.epoch",
        ([hint.id for hint in hints], [hint.epoch for hint in hints]),
    )


async def open_tables(connection: Connection, connection_id: int) -> frozenset[int]:
    """Tables whose records are read back: loaded, and neither paused nor stopped."""
    cursor = await connection.execute(
        f"SELECT t.id FROM nowbridge.replica_table t WHERE t.connection_id = %s AND {_OPEN}",
        (connection_id,),
    )
    return frozenset(row[0] for row in await cursor.fetchall())


async def waiting(connection: Connection, connection_id: int) -> int:
    cursor = await connection.execute(
        "SELECT count(*) FROM nowbridge.hint WHERE connection_id = %s AND done_at IS NULL", (connection_id,)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def forget_signatures(connection: Connection, connection_id: int, *, before: datetime) -> None:
    """Those that are too old to count again anyway."""
    await connection.execute(
        "DELETE FROM nowbridge.hint_signature WHERE connection_id = %s AND seen_at < %s", (connection_id, before)
    )


async def prune(connection: Connection, *, before: datetime) -> None:
    """Forget hints that were done, and what is told of them."""
    await connection.execute("DELETE FROM nowbridge.hint WHERE done_at < %s", (before,))
    await connection.execute("DELETE FROM nowbridge.unhinted WHERE found_at < %s", (before,))
    await connection.execute("DELETE FROM nowbridge.hint_tally WHERE hour < %s", (before,))
