"""The scheduler: jobs that run a while after they were queued, one after another, in a thread of its own.

Each waiting job is a row of sys_trigger, gone when the job has ended. The delay counts real time, whatever the twin's
clock does, so that a frozen clock does not hold the queue up.
"""

import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

Run = Callable[[], None]


@dataclass(order=True, slots=True)
class _Job:
    due: float
    number: int
    run: Run = field(compare=False)


class Jobs:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[_Job] = []
        self._number = 0
        self._running = 0
        self._stopped = False
        self._thread: threading.Thread | None = None

    def queue(self, run: Run, delay: float) -> None:
        """Run it after so many seconds. Nothing happens after `stop`."""
        with self._changed:
            if self._stopped:
                return
            self._number += 1
            heapq.heappush(self._waiting, _Job(monotonic() + delay, self._number, run))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="nowtwin-scheduler", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def pending(self) -> int:
        """Jobs that have not ended."""
        with self._changed:
            return len(self._waiting) + self._running

    def settle(self, timeout: float) -> bool:
        """Make all waiting jobs due and wait until none is left, those they queue included; False after `timeout`."""
        ends = monotonic() + timeout
        with self._changed:
            while self._waiting or self._running:
                for job in self._waiting:
                    job.due = 0.0
                heapq.heapify(self._waiting)
                self._changed.notify_all()
                if not self._changed.wait(ends - monotonic()):
                    return False
        return True

    def clear(self) -> None:
        """Forget what waits."""
        with self._changed:
            self._waiting.clear()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread:
            thread.join()

    def _work(self) -> None:
        while job := self._next():
            try:
                job.run()
            finally:
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()

    def _next(self) -> _Job | None:
        with self._changed:
            while not self._stopped:
                wait = self._waiting[0].due - monotonic() if self._waiting else None
                if wait is not None and wait <= 0:
                    self._running += 1
                    return heapq.heappop(self._waiting)
                self._changed.wait(wait)
        return None
