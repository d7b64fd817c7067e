"""Who runs and who waits: one transaction at a time per session, a semaphore with a queue per node
(servicenow-api.md 1.9 and 10). Numbers are switches; 0 leaves a door open.

A request first waits for its session, then for the semaphore, so that what queues on a session holds no permit
(an assumption: no source says which comes first). Doors keep the order of arrival. Only the event loop touches this.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal

from nowtwin.behaviour.nodes import CURRENT
from nowtwin.behaviour.switches import Switches

Turned = Literal["session", "semaphore"]
"""Where a request was turned away: its session's queue or the node's."""
_FORGET_AT: Final = 1_000


class TurnedAwayError(Exception):
    """The queue is full."""

    def __init__(self, place: Turned) -> None:
        super().__init__(place)
        self.place: Turned = place


class _Door:
    def __init__(self) -> None:
        self.inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def idle(self) -> bool:
        return not self.inside and not self._waiting

    async def enter(self, room: int, queue: int) -> bool:
        """Wait for a place; False at once when the queue is full."""
        if self.inside < room:
            self.inside += 1
            return True
        if len(self._waiting) >= queue:
            return False
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:
                self.leave()
            raise
        return True

    def leave(self) -> None:
        """Give the place to the one who has waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.inside -= 1


class Admission:
    def __init__(self) -> None:
        self._doors: dict[tuple[str, ...], _Door] = {}

    @asynccontextmanager
    async def admit(self, path: str, session: str, switches: Switches) -> AsyncIterator[None]:
        """Run what is inside when its turn comes. Raises TurnedAwayError; `session` is empty for a request without."""
        api = path.startswith("/api/")
        room, queue = (
            (switches.api_semaphore, switches.api_queue) if api else (switches.page_semaphore, switches.page_queue)
        )
        one = 1 if session and switches.session_queue else 0
        node = (CURRENT.get().name, "api" if api else "page")
        async with (
            self._through("session", (session,), one, switches.session_queue),
            self._through("semaphore", node, room, queue),
        ):
            yield

    @asynccontextmanager
    async def _through(self, place: Turned, key: tuple[str, ...], room: int, queue: int) -> AsyncIterator[None]:
        if not room:
            yield
            return
        door = self._door((place, *key))
        if not await door.enter(room, queue):
            raise TurnedAwayError(place)
        try:
            yield
        finally:
            door.leave()

    def _door(self, key: tuple[str, ...]) -> _Door:
        if len(self._doors) > _FORGET_AT:
            self._doors = {kept: door for kept, door in self._doors.items() if not door.idle}
        return self._doors.setdefault(key, _Door())
