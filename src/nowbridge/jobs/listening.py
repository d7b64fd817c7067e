"""Wakes the loops of a worker when their work comes in, on one connection for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from nowbridge.store.listening import listen


async def hear(dsn: str, wake: Mapping[str, asyncio.Event], stopped: asyncio.Event) -> None:
    """Set the event of a channel whenever something came in on it, until told to stop."""
    ended = asyncio.create_task(stopped.wait())
    try:
        async with aclosing(listen(dsn, wake)) as heard:
            while (channel := await _next(heard, ended)) is not None:
                wake[channel].set()
    finally:
        ended.cancel()


async def _next(heard: AsyncGenerator[str, None], ended: asyncio.Task[bool]) -> str | None:
    """The next channel; None when told to stop."""
    told: asyncio.Future[str] = asyncio.ensure_future(anext(heard))
    await asyncio.wait((told, ended), return_when=asyncio.FIRST_COMPLETED)
    if told.done():
        return told.result()
    told.cancel()
    await asyncio.gather(told, return_exceptions=True)
    return None
