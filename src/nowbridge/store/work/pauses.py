"""Tables that an operator has paused: nobody works on them until they are resumed, not even on their duties.

A paused table's shards and stream are due in the far future, so every claim passes them by, and all epochs are
raised, so whoever is at work on them stops at his next page or before his next repair. Cursors stay where they are: resuming loses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from nowbridge.store.database import Connection

_NEVER = "timestamptz '9999-01-01 00:00:00+00'"


async def pause(connection: Connection, table_ids: Sequence[int], *, now: datetime) -> list[int]:
    """Returns the ids of those that were not paused before."""
    paused = await _ids(
        connection,
        "UPDATE nowbridge.replica_table SET paused_at = %s WHERE id = ANY(%s) AND paused_at IS NULL RETURNING id",
        (now, list(table_ids)),
    )
    await connection.execute(
        f"UPDATE nowbridge.shard SET epoch = epoch + 1, owner = NULL, lease_until = NULL, next_try_at = {_NEVER}"
        " WHERE table_id = ANY(%s) AND done_at IS NULL",
        (paused,),
    )
    await connection.execute(
        f"UPDATE nowbridge.stream SET epoch = epoch + 1, owner = NULL, lease_until = NULL, next_poll_at = {_NEVER}"
        " WHERE table_id = ANY(%s)",
        (paused,),
    )
    await connection.execute(
        "UPDATE nowbridge.duty SET epoch = epoch + 1, owner = NULL, lease_until = NULL WHERE table_id = ANY(%s)",
        (paused,),
    )
    return paused


async def resume(connection: Connection, table_ids: Sequence[int], *, now: datetime) -> list[int]:
    """Everything of these tables is due at once. Returns the ids of those that were paused."""
    resumed = await _ids(
        connection,
        "UPDATE nowbridge.replica_table SET paused_at = NULL WHERE id = ANY(%s) AND paused_at IS NOT NULL RETURNING id",
        (list(table_ids),),
    )
    await connection.execute("UPDATE nowbridge.shard SET next_try_at = NULL WHERE table_id = ANY(%s)", (resumed,))
    await connection.execute("UPDATE nowbridge.stream SET next_poll_at = %s WHERE table_id = ANY(%s)", (now, resumed))
    return resumed


async def paused(connection: Connection) -> frozenset[int]:
    return frozenset(await _ids(connection, "SELECT id FROM nowbridge.replica_table WHERE paused_at IS NOT NULL", ()))


async def _ids(connection: Connection, query: str, values: tuple[object, ...]) -> list[int]:
    return [int(row[0]) for row in await (await connection.execute(query, values)).fetchall()]
