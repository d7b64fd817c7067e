"""The process in which scripts run: one JavaScript context, driven by frames on stdin and stdout.

It imports nothing of nowtwin, opens no file and no connection: all that a script does to the outside is a call to the
parent. A frame is four bytes of length (big-endian), one letter, and UTF-8 text:

  parent  P the prelude, first of all · R run this · V the value of your call
  child   C call of a script · D what came of a run · X a run that the engine gave up (no memory)

Runs nest: the parent may answer a call with a run before it gives the value. The parent kills the process when a
script takes too long; QuickJS's own time limit does not go together with calls into Python.
"""

import os
import signal
import struct
import sys
import threading
from typing import Any

import quickjs  # type: ignore[import-untyped]

_LENGTH = struct.Struct(">I")
_STACK = 64 * 1024 * 1024
_SCRIPT_STACK = 1024 * 1024
_WATCH_SECONDS = 2.0


def _read(count: int) -> bytes:
    parts = []
    while count:
        part = os.read(0, count)
        if not part:
            os._exit(0)  # the parent is gone
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _receive() -> tuple[bytes, str]:
    content = _read(_LENGTH.unpack(_read(_LENGTH.size))[0])
    return content[:1], content[1:].decode()


def _send(kind: bytes, text: str) -> None:
    content = kind + text.encode()
    unsent = memoryview(_LENGTH.pack(len(content)) + content)
    while unsent:
        unsent = unsent[os.write(1, unsent) :]


def _serve(memory: int) -> None:
    context = quickjs.Context()
    context.set_max_stack_size(_SCRIPT_STACK)

    def host(text: str) -> str:
        _send(b"C", text)
        kind, answer = _receive()
        while kind == b"R":
            run(answer)
            kind, answer = _receive()
        return answer

    context.add_callable("$host", host)
    _, prelude = _receive()
    invoke: Any = context.eval(prelude)
    context.set_memory_limit(context.memory()["malloc_size"] + memory)

    def run(frame: str) -> None:
        try:
            _send(b"D", invoke(frame))
        except quickjs.JSException as error:
            _send(b"X", str(error))

    while True:
        _, frame = _receive()
        run(frame)
        try:
            invoke("")  # clean up while the parent goes on
        except quickjs.JSException:  # no memory left for it
            os._exit(1)


def _leave_with(parent: int) -> None:
    """End the process when its parent has ended, even in the middle of an endless loop."""
    waiting = threading.Event()
    while not waiting.wait(_WATCH_SECONDS):
        if os.getppid() != parent:
            os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    threading.stack_size(_STACK)
    serving = threading.Thread(target=_serve, args=(int(sys.argv[1]),))
    serving.start()
    serving.join()
