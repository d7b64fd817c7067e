"""Holds the callers of this process to the allowance of one instance (`transport.budget`), first come first served.

The budget across workers is to take this class's place: `Client` enters `slot()` once per call that it puts on the
wire and tells `note()` what came back; it knows nothing else of budgets.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from nowbridge.transport.budget import Allowance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Gate:
    def __init__(self, in_flight: int) -> None:
        self._allowance = Allowance(now=in_flight, most=in_flight)
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def allowance(self) -> Allowance:
        return self._allowance

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Held while one request is on the wire."""
        await self._enter()
        try:
            yield
        finally:
            self._inside -= 1
            self._admit()

    def note(self, *, refused: bool) -> None:
        """Learn from an answer; `refused` means 429."""
        self._allowance = self._allowance.after(refused=refused)
        self._admit()

    async def _enter(self) -> None:
        if self._inside < self._allowance.now:
            self._inside += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # admitted and cancelled at the same time: pass the place on
                self._inside -= 1
                self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting and self._inside < self._allowance.now:
            turn = self._waiting.popleft()
            if not turn.done():
                self._inside += 1
                turn.set_result(None)
