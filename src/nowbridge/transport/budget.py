"""How many requests may be in flight to one instance, and who gets them. Pure; `transport.gate` holds callers to it,
`store.work.budget` shares it among workers.

An instance runs about four web-service transactions per node at a time, queues fifty and answers 429 to the rest
(servicenow-api.md 10). So a 429 halves the allowance at once, an answer far slower than usual takes one off, and it
grows back by one after each `_CALM` allowances' worth of answers in a row without either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

_CALM: Final = 8
_SLOW_AT_LEAST: Final = 2.0  # seconds; a faster answer is never called slow
_SLOW_TIMES: Final = 4.0
_LEARNS: Final = 0.1


class Purpose(IntEnum):
    """What a request is for; the smaller goes first."""

    WRITE = 0
    HINT = 1
    POLL = 2
    VERIFY = 3
    BACKFILL = 4

    @property
    def patience(self) -> float:
        """Seconds after which a waiting request of this purpose goes before everything that is not overdue too: what
        keeps a busy hour of polls from stopping a backfill for good.
        """
        return (0.0, 1.0, 3.0, 10.0, 30.0)[self]


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
        return self.after_calm(1)

    def after_calm(self, answers: int) -> Allowance:
        """The allowance after so many good answers in a row."""
        if self.now == self.most:
            return self
        calm = self.calm + answers
        if calm < self.now * _CALM:
            return replace(self, calm=calm)
        return replace(self, now=self.now + 1, calm=0)

    def after_slow(self) -> Allowance:
        """The allowance after an answer that took far longer than its like: the instance has begun to queue."""
        return replace(self, now=max(1, self.now - 1), calm=0)

    def within(self, most: int) -> Allowance:
        """The same under another bound."""
        return replace(self, now=min(self.now, most), most=most)


@dataclass(slots=True)
class Usual:
    """How long answers of one kind take. `slow` learns with each answer and tells whether it was far above the rest."""

    seconds: float | None = None

    def slow(self, elapsed: float) -> bool:
        if self.seconds is None:
            self.seconds = elapsed
            return False
        strange = elapsed > max(_SLOW_AT_LEAST, _SLOW_TIMES * self.seconds)
        self.seconds += _LEARNS * (elapsed - self.seconds)
        return strange


@dataclass(frozen=True, slots=True)
class Want:
    """One request that is on the wire or waits to be; `age` is in seconds since it was asked for."""

    purpose: Purpose
    age: float

    @property
    def rank(self) -> int:
        """0 once it is overdue, else by purpose."""
        return 0 if self.age >= self.purpose.patience else 1 + self.purpose


@dataclass(frozen=True, slots=True)
class Claim:
    """What one worker holds and wants. `settled`: it has held its share for too short a time to give it up to equals."""

    holder: str
    wants: tuple[Want, ...]
    granted: int = 0
    settled: bool = False


def share_of(holder: str, claims: Sequence[Claim], allowed: int) -> int:
    """How many requests `holder` may have in flight when `allowed` are shared out: first by purpose, within one purpose
    evenly among workers (everybody's first before anybody's second), then to who has its place, then to the oldest.
    """
    places = []
    for claim in claims:
        ordered = sorted(claim.wants, key=lambda want: (want.rank, -want.age))
        for place, want in enumerate(ordered):
            keeps = claim.settled and place < claim.granted
            places.append(((want.rank, place, not keeps, -want.age, claim.holder), claim.holder))
    places.sort()
    return sum(owner == holder for _, owner in places[:allowed])


@dataclass(frozen=True, slots=True)
class Bucket:
    """Requests per hour: never more than `per_hour` in any sixty minutes, because a tenth may be saved up and nine
    tenths come in over an hour. The last tenth of what is saved is kept from verify and backfill.
    """

    per_hour: int
    saved: float

    @property
    def most(self) -> float:
        return max(1.0, self.per_hour / 10)

    def filled(self, seconds: float) -> Bucket:
        """After so much time."""
        income = max(0.0, self.per_hour - self.most) / 3_600
        return replace(self, saved=min(self.most, self.saved + income * max(0.0, seconds)))

    def take(self, wanted: int, purpose: Purpose) -> tuple[int, Bucket]:
        """How many of `wanted` requests may be made, and what is left."""
        reserve = self.most / 10 if purpose >= Purpose.VERIFY and self.most >= 10 else 0.0  # noqa: PLR2004 - one whole request
        given = max(0, min(wanted, int(self.saved - reserve)))
        return given, replace(self, saved=self.saved - given)

    def give_back(self, unused: int) -> Bucket:
        return replace(self, saved=min(self.most, self.saved + unused))
