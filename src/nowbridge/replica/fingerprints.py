"""Fingerprints of a set of rows: how many rows have which `sys_mod_count` or class, and the bounds of their times. Pure.

Equal fingerprints do not prove that the rows are equal: a row missed and another one left over, both with the same
`sys_mod_count`, cancel out (traps, finding 26). So this is called "checked", never "proven".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

HEX = "0123456789abcdef"

Tally = Mapping[str, tuple[int, int]]
"""By value of the grouping column: rows, and the sum of their `sys_mod_count`."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`first_created`, `last_created` and `last_updated` are None where they are unknown."""

    tally: Tally
    first_created: datetime | None = None
    last_created: datetime | None = None
    last_updated: datetime | None = None

    @property
    def rows(self) -> int:
        return rows_of(self.tally)


def rows_of(tally: Tally) -> int:
    return sum(rows for rows, _ in tally.values())


def minus(one: Tally, *others: Tally) -> dict[str, tuple[int, int]]:
    """What is left of `one` after the others; values of which nothing is left are left out."""
    left = {value: list(pair) for value, pair in one.items()}
    for other in others:
        for value, (rows, changes) in other.items():
            pair = left.setdefault(value, [0, 0])
            pair[0] -= rows
            pair[1] -= changes
    return {value: (pair[0], pair[1]) for value, pair in left.items() if pair != [0, 0]}


def differ(theirs: Fingerprint, ours: Fingerprint, hidden: Tally) -> bool:
    """Whether the rows cannot be the same. Hidden rows are taken off the counts; bounds are compared without them only."""
    if minus(theirs.tally, ours.tally, hidden):
        return True
    return not hidden and any(
        one is not None and other is not None and one != other
        for one, other in zip(_bounds(theirs), _bounds(ours), strict=True)
    )


def fold(parts: Iterable[Fingerprint]) -> Fingerprint:
    """One fingerprint of fingerprints of separate groups."""
    parts = list(parts)
    tally: dict[str, tuple[int, int]] = {}
    for part in parts:
        for value, (rows, changes) in part.tally.items():
            before = tally.get(value, (0, 0))
            tally[value] = (before[0] + rows, before[1] + changes)
    return Fingerprint(
        tally,
        min((p.first_created for p in parts if p.first_created is not None), default=None),
        max((p.last_created for p in parts if p.last_created is not None), default=None),
        max((p.last_updated for p in parts if p.last_updated is not None), default=None),
    )


def _bounds(of: Fingerprint) -> tuple[datetime | None, ...]:
    return (of.first_created, of.last_created, of.last_updated)
