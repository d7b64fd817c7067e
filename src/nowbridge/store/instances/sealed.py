"""Everything that is sealed under the master key, wherever it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nowbridge.store.database import Connection


@dataclass(frozen=True, slots=True)
class Sealed:
    """One sealed value. `place` and `mark` make its context: a connection and its url, a hook and its id, or a connection
    whose refresh token it is.
    """

    kind: Literal["connection", "hook", "refresh_token"]
    connection_id: int
    place: str
    mark: str
    value: bytes


async def every(connection: Connection) -> list[Sealed]:
    cursor = await connection.execute(
        "SELECT 'connection', id, name, url, sealed FROM nowbridge.connection"
        " UNION ALL SELECT 'hook', h.connection_id, c.name, h.hook_id, h.sealed FROM nowbridge.hook h"
        " JOIN nowbridge.connection c ON c.id = h.connection_id"
        " UNION ALL SELECT 'refresh_token', r.connection_id, c.name, '', r.sealed FROM nowbridge.refresh_token r"
        " JOIN nowbridge.connection c ON c.id = r.connection_id ORDER BY 1, 2"
    )
    return [Sealed(*row) for row in await cursor.fetchall()]


async def exchange(connection: Connection, old: Sealed, new: bytes) -> bool:
    """Put the value sealed anew in its place. False when somebody has changed it meanwhile."""
    table, key = ("connection", "id") if old.kind == "connection" else (old.kind, "connection_id")
    cursor = await connection.execute(
        f"UPDATE nowbridge.{table} SET sealed = %s WHERE {key} = %s AND sealed = %s",
        (new, old.connection_id, old.value),
    )
    return cursor.rowcount == 1
