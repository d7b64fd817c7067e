"""Decisions about deletes. Pure.

A row is deleted only when it was named (by the journal, or by its absence from a listing of keys) and the ACL-blind
count of its sys_id is 0 (traps, finding 30). A row that still counts has become invisible: it is kept and noted. When
many become invisible at once, the account has lost a right, and nothing is deleted until that is settled; when one pass
wants to delete too much, or many small ones together do, somebody is asked first.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

LEAST_MANY = 50
SHARE = 0.02
WINDOW = timedelta(hours=1)
SHARE_IN_WINDOW = 0.2
LEAST_SHRUNK = 20
SHARE_SHRUNK = 0.01
AT_ONCE = 100  # ids that one count covers


class Hold(Enum):
    """Why deletes wait for somebody."""

    TOO_MANY = "one pass wanted to delete more rows than it may without being asked"
    TRICKLED = "within an hour more rows were named as deleted, few at a time, than may go without being asked"
    SHRUNK = "many rows are there but not shown to the account any more: it may have lost a right"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one pass over a table may find before somebody is asked: rows that are gone, and rows that were lost from
    sight.
    """

    gone: int
    unseen: int
    in_window: int | None = None  # of those that the passes of the last WINDOW left to this one; None: no matter


@dataclass(frozen=True, slots=True)
class Sorted:
    """Rows that a listing or the journal named: certainly gone; there, but not shown; there and shown. `complete` is
    False when sorting was broken off because a limit was passed.
    """

    gone: tuple[str, ...]
    unseen: tuple[str, ...]
    alive: tuple[str, ...]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Look:
    """What one call said about up to 100 ids: those that were shown, and how many there are, shown or not."""

    shown: frozenset[str]
    counted: int


def limits(rows: int, allowed: int | None, trickled: int | None = None) -> Limits:
    """For a table of `rows`. `allowed` is the number of deletes that somebody has confirmed: who confirms has also been
    told of the rows that were lost from sight. `trickled` rows were deleted in the last WINDOW by passes like this one.
    """
    if allowed is not None:
        return Limits(gone=max(most_deletes(rows), allowed), unseen=rows)
    in_window = None
    if trickled is not None:
        in_window = max(LEAST_MANY, int((rows + trickled) * SHARE_IN_WINDOW)) - trickled
    return Limits(most_deletes(rows), max(LEAST_SHRUNK, int(rows * SHARE_SHRUNK)), in_window)


def most_deletes(rows: int) -> int:
    """How many rows of a table of `rows` one pass may delete without being asked."""
    return max(LEAST_MANY, int(rows * SHARE))


def why_held(gone: int, newly_unseen: int, most: Limits) -> Hold | None:
    """Why rows that are gone must not be deleted now; None when they may."""
    if newly_unseen > most.unseen:
        return Hold.SHRUNK
    if gone > most.gone:
        return Hold.TOO_MANY
    if most.in_window is not None and gone > max(0, most.in_window):
        return Hold.TRICKLED
    return None


def sort_out(
    sys_ids: Sequence[str], known_unseen: Collection[str], most: Limits
) -> Generator[Sequence[str], Look, Sorted]:
    """Sort ids by looking at up to 100 at a time: yields ids to be looked at together, takes what was seen. Those that
    are counted and not shown are halved until it is clear which. Ends early when a limit is passed.
    """
    gone: list[str] = []
    unseen: list[str] = []
    alive: list[str] = []
    ordered = sorted(sys_ids, key=lambda sys_id: (sys_id in known_unseen, sys_id))
    waiting = [ordered[start : start + AT_ONCE] for start in range(0, len(ordered), AT_ONCE)][::-1]
    while waiting:
        ids = waiting.pop()
        look = yield ids
        alive += [sys_id for sys_id in ids if sys_id in look.shown]
        others = [sys_id for sys_id in ids if sys_id not in look.shown]
        left = look.counted - (len(ids) - len(others))
        if left <= 0:
            gone += others
        elif left >= len(others):
            unseen += others
        else:
            middle = len(others) // 2
            waiting += [others[middle:], others[:middle]]
        if why_held(len(gone), sum(sys_id not in known_unseen for sys_id in unseen), most):
            return Sorted(tuple(gone), tuple(unseen), tuple(alive), complete=not waiting)
    return Sorted(tuple(gone), tuple(unseen), tuple(alive))
