"""What waits while somebody allows a connection at the instance, and the refresh tokens that come of it. All sealed."""

from __future__ import annotations

from datetime import datetime

from nowbridge.store.database import Connection


async def begin(
    connection: Connection, digest: bytes, session: bytes, sealed: bytes, *, now: datetime, ends_at: datetime
) -> None:
    """One at a time per session; what has ended is forgotten on the way."""
    await connection.execute("DELETE FROM nowbridge.consent WHERE ends_at < %s OR session = %s", (now, session))
    await connection.execute(
        "INSERT INTO nowbridge.consent (digest, session, sealed, ends_at) VALUES (%s, %s, %s, %s)",
        (digest, session, sealed, ends_at),
    )


async def take(connection: Connection, digest: bytes, session: bytes, *, now: datetime) -> bytes | None:
    """What was entered, sealed; only once, only in the session that began it, and only in time."""
    cursor = await connection.execute(
        "DELETE FROM nowbridge.consent WHERE digest = %s AND session = %s RETURNING sealed, ends_at", (digest, session)
    )
    row = await cursor.fetchone()
    return row[0] if row is not None and row[1] > now else None


async def forget_all(connection: Connection) -> None:
    await connection.execute("DELETE FROM nowbridge.consent")


async def refresh_token(connection: Connection, connection_id: int) -> bytes | None:
    """Nobody else gets it before the transaction ends."""
    cursor = await connection.execute(
        "SELECT sealed FROM nowbridge.refresh_token WHERE connection_id = %s FOR UPDATE", (connection_id,)
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def keep_refresh_token(connection: Connection, connection_id: int, sealed: bytes, *, now: datetime) -> None:
    await connection.execute(
        "INSERT INTO nowbridge.refresh_token (connection_id, sealed, changed_at) VALUES (%s, %s, %s)"
        " ON CONFLICT (connection_id) DO UPDATE SET sealed = excluded.sealed, changed_at = excluded.changed_at",
        (connection_id, sealed, now),
    )


async def forget_refresh_token(connection: Connection, connection_id: int) -> None:
    await connection.execute("DELETE FROM nowbridge.refresh_token WHERE connection_id = %s", (connection_id,))
