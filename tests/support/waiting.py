"""Waiting for what another process does."""

from __future__ import annotations

import time

from nowbridge.store.database import Database

PATIENCE = 60.0


async def until(database: Database, query: str, wanted: object) -> None:
    """Wait until another process has brought it about."""
    deadline = time.monotonic() + PATIENCE
    found: object = None
    while time.monotonic() < deadline:
        async with database.transaction() as connection:
            row = await (await connection.execute(query)).fetchone()
            found = row[0] if row else None
        if found == wanted:
            return
    raise AssertionError(f"{found!r} after {PATIENCE} s, not {wanted!r}")
