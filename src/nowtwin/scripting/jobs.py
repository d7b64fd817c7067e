"""The scheduler: jobs that run a while after they were queued, several at a time, each in a thread of the scheduler.

A node of an instance has such workers too, so jobs that wait for an outbound request do not hold the others up, and their order
is not guaranteed. Jobs of one line run one after another. Threads start when there is work for them.

Each waiting job is a row of sys_trigger, gone when the job has ended. The delay counts real time, whatever the twin's
clock does, so that a frozen clock does not hold the queue up.
"""

import heapq
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

Run = Callable[[], None]


@dataclass(order=True, slots=True)
class _Job:
    due: float
    number: int
    run: Run = field(compare=False)
    line: str = field(compare=False)


class Jobs:
    """`workers` says how many jobs may run at a time; it is asked anew for each."""

    def __init__(self, workers: Callable[[], int]) -> None:
        self._workers = workers
        self._changed = threading.Condition()
        self._waiting: list[_Job] = []
        self._lines: dict[str, deque[_Job]] = {}
        """What waits behind the job of a line that is waiting or running."""
        self._number = 0
        self._running = 0
        self._stopped = False
        self._threads: list[threading.Thread] = []
        self._idle = 0

    def queue(self, run: Run, delay: float, *, line: str = "") -> None:
        """Run it after so many seconds, behind earlier jobs of its line if it names one. Nothing happens after `stop`."""
        with self._changed:
            if self._stopped:
                return
            self._number += 1
            job = _Job(monotonic() + delay, self._number, run, line)
            if line in self._lines:
                self._lines[line].append(job)
                return
            if line:
                self._lines[line] = deque()
            heapq.heappush(self._waiting, job)
            if not self._idle:
                self._start_thread()
            self._changed.notify_all()

    def pending(self) -> int:
        """Jobs that have not ended."""
        with self._changed:
            return len(self._waiting) + self._running + sum(map(len, self._lines.values()))

    def settle(self, timeout: float) -> bool:
        """Make all waiting jobs due and wait until none is left, those they queue included; False after `timeout`."""
        ends = monotonic() + timeout
        with self._changed:
            while self._waiting or self._running:
                for job in (*self._waiting, *(job for line in self._lines.values() for job in line)):
                    job.due = 0.0
                heapq.heapify(self._waiting)
                self._changed.notify_all()
                if not self._changed.wait(ends - monotonic()):
                    return False
        return True

    def clear(self) -> None:
        """Forget what waits."""
        with self._changed:
            waiting, self._waiting = self._waiting, []
            for line in self._lines.values():
                line.clear()
            for job in waiting:
                self._lines.pop(job.line, None)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._lines.clear()
            self._changed.notify_all()
            threads = tuple(self._threads)
        for thread in threads:
            thread.join()

    def _start_thread(self) -> None:
        if len(self._threads) < max(1, self._workers()):
            name = f"nowtwin-scheduler-{len(self._threads) + 1}"
            self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._threads[-1].start()

    def _work(self) -> None:
        while job := self._next():
            try:
                job.run()
            finally:
                with self._changed:
                    self._running -= 1
                    self._go_on(job.line)
                    self._changed.notify_all()

    def _go_on(self, line: str) -> None:
        """The next job of a line may run."""
        behind = self._lines.get(line)
        if behind:
            heapq.heappush(self._waiting, behind.popleft())
        else:
            self._lines.pop(line, None)

    def _begin(self) -> _Job:
        """The first job that is due; another worker comes when one more is and none is idle."""
        self._running += 1
        job = heapq.heappop(self._waiting)
        if self._waiting and self._waiting[0].due <= monotonic() and not self._idle:
            self._start_thread()
        return job

    def _next(self) -> _Job | None:
        with self._changed:
            while not self._stopped:
                free = self._running < max(1, self._workers())
                wait = self._waiting[0].due - monotonic() if self._waiting and free else None
                if wait is not None and wait <= 0:
                    return self._begin()
                self._idle += 1
                self._changed.wait(wait)
                self._idle -= 1
        return None
