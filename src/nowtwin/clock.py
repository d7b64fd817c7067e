"""The twin's clock: the one source of time for stamps, date helpers in queries and the Date header.

It starts at the wall clock and can be set, advanced, frozen or run at another rate, so a test or a player can make
years pass in seconds. Only this module reads the machine's clocks.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

STAMP = "%Y-%m-%d %H:%M:%S"
_SKEW: ContextVar[timedelta] = ContextVar("skew", default=timedelta())


def wall_seconds() -> float:
    """Real seconds since 1970, for measuring lag and latency against other processes on the machine."""
    return time.time_ns() / 1e9


class Clock:
    """A clock that runs from `start` (default: now) at `rate` twin seconds per real second."""

    def __init__(self, start: datetime | None = None, *, rate: float = 1.0) -> None:
        self._lock = threading.Lock()
        self._anchor = start or datetime.now(UTC)  # noqa: TID251 - the one place that reads the wall clock
        self._mark = time.monotonic()
        self._rate = rate

    @property
    def rate(self) -> float:
        return self._rate

    def now(self) -> datetime:
        """The time, as the node sees it that serves the present request."""
        with self._lock:
            return self._now() + _SKEW.get()

    def stamp(self) -> str:
        """The moment as ServiceNow stores it: UTC, whole seconds (servicenow-api.md 9.2)."""
        return self.now().strftime(STAMP)

    def set(self, moment: datetime) -> None:
        with self._lock:
            self._move(moment, self._rate)

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._move(self._now() + timedelta(seconds=seconds), self._rate)

    def run(self, rate: float) -> None:
        """Go on from the present moment at `rate`; 0 freezes."""
        with self._lock:
            self._move(self._now(), rate)

    def freeze(self) -> None:
        self.run(0.0)

    def _now(self) -> datetime:
        return self._anchor + timedelta(seconds=(time.monotonic() - self._mark) * self._rate)

    def _move(self, moment: datetime, rate: float) -> None:
        self._anchor, self._mark, self._rate = moment, time.monotonic(), rate


@contextmanager
def skewed(seconds: float, *, onto: bool = False) -> Iterator[None]:
    """What runs inside, in this task or thread, sees every clock go fast by so many seconds (slow if negative); `onto`
    adds them to what it is skewed by already.
    """
    token = _SKEW.set(timedelta(seconds=seconds) + (_SKEW.get() if onto else timedelta()))
    try:
        yield
    finally:
        _SKEW.reset(token)


def later(clock: Clock, seconds: float) -> str:
    """The stamp of so many twin seconds from now."""
    return (clock.now() + timedelta(seconds=seconds)).strftime(STAMP)
