"""The journal of calls: what clients asked and when, for tests that prove budgets and for watching a client work.

Credentials and bodies are never kept.
"""

from collections import deque
from dataclasses import dataclass

_KEPT = 100_000


@dataclass(slots=True)
class Call:
    """One request. Times are wall-clock seconds; `finished` is None while it runs."""

    number: int
    method: str
    path: str
    params: dict[str, str]
    started: float
    in_flight: int
    """Requests running when this one began, itself included."""
    user: str | None = None
    status: int | None = None
    finished: float | None = None
    rows: int = 0
    fault: str | None = None


class Calls:
    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.entries: deque[Call] = deque(maxlen=_KEPT)
        self.total = 0
        self.running = 0
        self.most_running = 0

    def start(self, method: str, path: str, params: dict[str, str], at: float) -> Call:
        self.total += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        call = Call(self.total, method, path, params, at, self.running)
        self.entries.append(call)
        return call

    def finish(self, call: Call, at: float) -> None:
        call.finished = at
        self.running = max(0, self.running - 1)
