"""Which workers live, which of them leads, and what is kept for how long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from nowbridge.store.database import Connection, Database

LEADER_LOCK = 0x6E6F7764  # "nowd"


@dataclass(frozen=True, slots=True)
class WorkerRow:
    name: str
    started_at: datetime
    seen_at: datetime
    detail: dict[str, Any]


async def beat(connection: Connection, name: str, detail: dict[str, Any], *, now: datetime) -> None:
    """Say that this worker lives."""
    await connection.execute(
        "INSERT INTO nowbridge.worker (name, started_at, seen_at, detail) VALUES (%(name)s, %(now)s, %(now)s, %(detail)s)"
        " ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at, detail = excluded.detail",
        {"name": name, "now": now, "detail": Jsonb(detail)},
    )


async def leave(connection: Connection, name: str) -> None:
    await connection.execute("DELETE FROM nowbridge.worker WHERE name = %s", (name,))


async def living(connection: Connection, *, seen_since: datetime) -> list[WorkerRow]:
    cursor = await connection.execute(
        "SELECT name, started_at, seen_at, detail FROM nowbridge.worker WHERE seen_at >= %s ORDER BY started_at",
        (seen_since,),
    )
    return [WorkerRow(*row) for row in await cursor.fetchall()]


@asynccontextmanager
async def leading(database: Database) -> AsyncIterator[bool]:
    """Whether this process is the one that does what only one may do. Held for the length of one transaction, so a
    dead leader is followed at once.
    """
    async with database.transaction() as connection:
        row = await (await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (LEADER_LOCK,))).fetchone()
        yield bool(row and row[0])


async def prune(connection: Connection, *, now: datetime, keep_feed: timedelta, keep_dead_workers: timedelta) -> int:
    """Delete what has been kept long enough. Returns the number of feed rows deleted."""
    await connection.execute("DELETE FROM nowbridge.worker WHERE seen_at < %s", (now - keep_dead_workers,))
    cursor = await connection.execute("DELETE FROM public._sync_cdc WHERE applied_at < %s", (now - keep_feed,))
    return cursor.rowcount
