"""Rows that SQL clients hold: the applier goes round them, and comes back for them later (traps, finding 19).

A client that waits at COMMIT holds its rows for as long as ServiceNow takes. The applier waits for none of them: it
leaves out records whose write is under way, passes over rows that are locked, and gives up soon on what it cannot see
(a row that a client has inserted and not committed). Whoever leaves rows out defers them in the same transaction
(`store.work.hints.defer`). Where nobody can write by SQL, all this is one look at an empty table.

The order matters: rows are left out before tombstones are looked at, so that a client's deletion is either still under
way, or its tombstone is seen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import psycopg
from psycopg import sql

from nowbridge.store.database import Connection
from nowbridge.store.rows.load import Merged, Target
from nowbridge.store.writes import write_log

FIRST_WAIT, NEXT_WAIT = 200, 20  # milliseconds for a lock
MOST_FAILURES = 10
"""Together well below a second, Postgres' deadlock_timeout: while the applier waits for a client, no client may find
itself in a circle with it."""

Merge = Callable[[], Awaitable[Merged]]


async def writable(connection: Connection) -> bool:
    """Whether any replica table can be written by SQL."""
    row = await (await connection.execute("SELECT EXISTS (SELECT FROM nowbridge.write_table)")).fetchone()
    return bool(row and row[0])


async def lock_free(connection: Connection, connection_id: int, target: Target, sys_ids: Sequence[str]) -> list[str]:
    """Lock those of these rows that are there and that no client holds. Returns the ids that are held or whose write is
    under way, in order.
    """
    under_way = await write_log.in_progress(connection, connection_id)
    asked = [sys_id for sys_id in sys_ids if sys_id not in under_way]
    table = target.relation.identifier
    cursor = await connection.execute(
        sql.SQL(
            "WITH free AS MATERIALIZED (SELECT sys_id FROM {table} WHERE sys_id = ANY(%(ids)s) ORDER BY sys_id"
            "   FOR NO KEY UPDATE SKIP LOCKED)"
            " SELECT t.sys_id FROM {table} t WHERE t.sys_id = ANY(%(ids)s)"
            "   AND NOT EXISTS (SELECT FROM free WHERE free.sys_id = t.sys_id)"
        ).format(table=table),
        {"ids": asked},
    )
    locked = {row[0] for row in await cursor.fetchall()}
    return sorted(locked | (under_way & set(sys_ids)))


async def leave_out(connection: Connection, connection_id: int, target: Target) -> list[str]:
    """Take staged rows that clients hold out of the stage, and lock the others. Returns the ids that were left out."""
    if not await writable(connection):
        return []
    held = await lock_free(connection, connection_id, target, await _staged(connection, target))
    if held:
        await connection.execute(
            sql.SQL("DELETE FROM {} WHERE sys_id = ANY(%s)").format(_stage(target)),
            (held,),
        )
    return held


async def merge_free(connection: Connection, target: Target, merge: Merge) -> tuple[Merged, list[str]]:
    """Merge the stage without waiting for anybody: a merge that meets a lock is tried again with halves of its rows.
    Returns what was merged and the ids that were left out.
    """
    if not await writable(connection):
        return await merge(), []
    if (merged := await _within(connection, merge, FIRST_WAIT)) is not None:
        return merged, []
    return await _merge_halves(connection, target, merge)


async def _merge_halves(connection: Connection, target: Target, merge: Merge) -> tuple[Merged, list[str]]:
    stash = sql.Identifier("pg_temp", "staged_whole")
    await connection.execute(
        sql.SQL("CREATE TEMP TABLE staged_whole ON COMMIT DROP AS SELECT * FROM {}").format(_stage(target))
    )
    whole = await _staged(connection, target)
    parts, left, done, failures = [whole], list[str](), Merged(0, 0), 0
    while parts:
        part = parts.pop()
        if failures >= MOST_FAILURES:
            left += part
            continue
        await connection.execute(sql.SQL("TRUNCATE {}").format(_stage(target)))
        await connection.execute(
            sql.SQL("INSERT INTO {} SELECT * FROM {} WHERE sys_id = ANY(%s)").format(_stage(target), stash), (part,)
        )
        merged = await _within(connection, merge, NEXT_WAIT)
        if merged is not None:
            done = done.plus(merged)
            continue
        failures += 1
        half = len(part) // 2
        if half:
            parts += [part[half:], part[:half]]
        else:
            left += part
    await connection.execute(sql.SQL("DROP TABLE {}").format(stash))
    return done, sorted(left)


async def _within(connection: Connection, merge: Merge, milliseconds: int) -> Merged | None:
    """The merge, or None where it would have had to wait longer for a lock. Nothing of it is left then."""
    try:
        async with connection.transaction():
            await connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{milliseconds}ms",))
            merged = await merge()
            await connection.execute("SET LOCAL lock_timeout TO DEFAULT")
            return merged
    except psycopg.errors.LockNotAvailable:
        return None


async def _staged(connection: Connection, target: Target) -> list[str]:
    cursor = await connection.execute(sql.SQL("SELECT sys_id FROM {} ORDER BY sys_id").format(_stage(target)))
    return [row[0] for row in await cursor.fetchall()]


def _stage(target: Target) -> sql.Identifier:
    return sql.Identifier("pg_temp", target.stage)
