"""How many requests may be in flight to one instance. Pure; `transport.gate` holds callers to it.

An instance runs about four web-service transactions per node at a time, queues fifty and answers 429 to the rest
(servicenow-api.md 10). So a 429 halves the allowance at once, and it grows back by one after each `_CALM` allowances'
worth of answers in a row without one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

_CALM: Final = 8


@dataclass(frozen=True, slots=True)
class Allowance:
    """`now` requests may be in flight, between 1 and `most`; `calm` answers came since the last change."""

    now: int
    most: int
    calm: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.now <= self.most:
            raise ValueError(f"an allowance of {self.now} is not between 1 and {self.most}")

    def after(self, *, refused: bool) -> Allowance:
        """The allowance after one more answer; `refused` means 429."""
        if refused:
            return replace(self, now=max(1, self.now // 2), calm=0)
        if self.now == self.most:
            return self
        if self.calm + 1 < self.now * _CALM:
            return replace(self, calm=self.calm + 1)
        return replace(self, now=self.now + 1, calm=0)
