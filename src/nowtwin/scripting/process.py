"""Processes that run scripts: started when first needed, lent to one session at a time, killed when one runs away.

Killing is what bounds a script's time, and it keeps a hostile one from taking the twin with it.
"""

import os
import select
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from time import monotonic

_LENGTH = struct.Struct(">I")
_CHUNK = 1_048_576
_MOST_IDLE = 8
_PRELUDE = (
    "rhino",
    "kernel",
    "glide_record",
    "glide_element",
    "glide_aggregate",
    "glide_date_time",
    "glide_system",
    "platform_classes",
    "rest_message",
    "rest_api",
    "start",
)
_PRELUDE_LINE = 100_000
"""Lines of the prelude count from here, so that the line of an error tells whose it is (kernel.js knows the number)."""
OUT_OF_TIME = "Transaction cancelled: maximum execution time exceeded"
LOST = "The script engine ended unexpectedly"


class Stopped(Exception):
    """A run that did not come to its end: out of time or memory, or the process died."""


@cache
def prelude() -> str:
    folder = files("nowtwin.scripting") / "js"
    text = "".join((folder / f"{name}.js").read_text("utf-8") for name in _PRELUDE)
    return "\n" * _PRELUDE_LINE + f"(function () {{ 'use strict';\n{text}}})()"


class Worker:
    """One process. Its memory limit, in bytes, is for what scripts allocate."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.dead = False
        self._process = subprocess.Popen(  # noqa: S603 - this program's own interpreter and module
            [sys.executable, "-P", str(Path(__file__).with_name("worker.py")), str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "TZ": "UTC"},
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("pipes were asked for")
        self._in = self._process.stdin.fileno()
        self._out = self._process.stdout.fileno()
        self._ready = select.poll()
        self._ready.register(self._out, select.POLLIN)
        self._unread = bytearray()
        self._send(b"P", prelude().encode())

    def run(self, frame: bytes, answer: Callable[[bytes], bytes], deadline: Callable[[], float]) -> bytes:
        """Run a frame; `answer` serves the calls of its script, and may run further frames here meanwhile.

        `deadline` is asked anew whenever the script goes on. Raises Stopped.
        """
        self._send(b"R", frame)
        while True:
            kind, content = self._receive(deadline())
            if kind == b"D":
                return content
            if kind == b"X":
                self.kill()
                raise Stopped(content.decode().partition("\n")[0])
            value = answer(content)
            self._send(b"V", value)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def interrupt(self) -> None:
        """End the process from another thread; the one that uses it sees Stopped."""
        self._process.kill()

    def kill(self) -> None:
        self.dead = True
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def _send(self, kind: bytes, content: bytes) -> None:
        if self.dead:
            raise Stopped(LOST)
        whole = memoryview(_LENGTH.pack(len(content) + 1) + kind + content)
        try:
            while whole:
                whole = whole[os.write(self._in, whole) :]
        except BrokenPipeError as error:
            self.kill()
            raise Stopped(LOST) from error

    def _receive(self, deadline: float) -> tuple[bytes, bytes]:
        head = self._take(_LENGTH.size, deadline)
        content = self._take(_LENGTH.unpack(head)[0], deadline)
        return content[:1], content[1:]

    def _take(self, count: int, deadline: float) -> bytes:
        while len(self._unread) < count:
            left = deadline - monotonic()
            if left <= 0 or not self._ready.poll(left * 1000):
                self.kill()
                raise Stopped(OUT_OF_TIME)
            part = os.read(self._out, _CHUNK)
            if not part:
                self.kill()
                raise Stopped(LOST)
            self._unread += part
        taken = bytes(self._unread[:count])
        del self._unread[:count]
        return taken


class Workers:
    """Idle processes, so that a session rarely has to start one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._lent: set[Worker] = set()
        self._closed = False

    def borrow(self, memory: int) -> Worker:
        """A process with this memory limit. Raises Stopped after `close`."""
        with self._lock:
            if self._closed:
                raise Stopped(LOST)
            while self._idle:
                worker = self._idle.pop()
                if worker.memory == memory and worker.is_alive():
                    self._lent.add(worker)
                    return worker
                worker.kill()
        worker = Worker(memory)
        with self._lock:
            self._lent.add(worker)
        return worker

    def give_back(self, worker: Worker) -> None:
        with self._lock:
            self._lent.discard(worker)
            if worker.dead:
                return
            if not self._closed and len(self._idle) < _MOST_IDLE:
                self._idle.append(worker)
                return
        worker.kill()

    def close(self) -> None:
        """End all processes, those that run a script too: their sessions see Stopped."""
        with self._lock:
            self._closed = True
            for worker in self._idle:
                worker.kill()
            self._idle.clear()
            for worker in self._lent:
                worker.interrupt()
