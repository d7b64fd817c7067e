"""What the calls of the current task are for, so that `transport.gate` can let the urgent ones go first.

Carried beside the call and not in it, as the layers between who knows the purpose and who sends (sweeps, look-ups,
sign-in) have no use for it. Tasks inherit it from whoever starts them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from nowbridge.transport.budget import Purpose

_purpose: ContextVar[Purpose] = ContextVar("purpose", default=Purpose.POLL)


def current() -> Purpose:
    return _purpose.get()


@contextmanager
def calling_for(purpose: Purpose) -> Iterator[None]:
    """Calls made inside, and by tasks started inside, are for `purpose`."""
    token = _purpose.set(purpose)
    try:
        yield
    finally:
        _purpose.reset(token)
