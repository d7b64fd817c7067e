"""Postgres' notifications: who waits for work is woken when it comes, instead of asking again and again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection

import psycopg
from psycopg import sql

from nowbridge.store.database import translated


async def listen(dsn: str, channels: Collection[str]) -> AsyncGenerator[str, None]:
    """Yields a channel whenever something came in on it, on a connection of its own; first each of them once, because
    something may have come before.
    """
    with translated("listen for work"):
        async with await psycopg.AsyncConnection.connect(
            dsn, autocommit=True, application_name="nowbridge listener"
        ) as connection:
            for channel in channels:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            for channel in channels:
                yield channel
            async for notification in connection.notifies():
                yield notification.channel
