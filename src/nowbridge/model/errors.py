"""Errors, sorted by what the engine must do next.

    NowbridgeError
    ├── Retry        try again, later: the far side was busy, slow or unreachable
    ├── Stop         this connection or table cannot go on until somebody changes something
    ├── Park         this one record or value is set aside; the others go on
    ├── Unsettled    a write may or may not have happened: look at the record before anything else
    ├── Conflict     the world moved since we looked: look again, then decide again
    └── LostLease    another worker took this work over: drop it without a trace

Every error says what was asked, what came back and what to do. Secrets, record bodies and query values of users
never enter one. An exception outside this tree is a bug and may end the process.
"""

from __future__ import annotations


class NowbridgeError(Exception):
    """`code` is stable and documented (docs/errors.md); `asked`, `answered` and `hint` are sentences for people."""

    reaction = "bug"

    def __init__(self, code: str, *, asked: str, answered: str, hint: str = "") -> None:
        super().__init__(code, asked, answered, hint)
        self.code = code
        self.asked = asked
        self.answered = answered
        self.hint = hint

    def __str__(self) -> str:
        said = f"{self.asked}: {self.answered}".rstrip(".")
        return f"{said}. {self.hint} [{self.code}]" if self.hint else f"{said} [{self.code}]"


class Retry(NowbridgeError):
    """`after` is in seconds, as the far side asked for; None leaves the wait to the caller's back-off."""

    reaction = "retry"

    def __init__(self, code: str, *, asked: str, answered: str, hint: str = "", after: float | None = None) -> None:
        super().__init__(code, asked=asked, answered=answered, hint=hint)
        self.after = after


class Stop(NowbridgeError):
    reaction = "stop"


class Park(NowbridgeError):
    reaction = "park"


class Unsettled(NowbridgeError):
    reaction = "look"


class Conflict(NowbridgeError):
    reaction = "plan again"


class LostLease(NowbridgeError):
    reaction = "drop"
