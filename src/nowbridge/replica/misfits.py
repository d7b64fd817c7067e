"""Values that their column's type cannot hold. Pure; used only when Postgres or a conversion refused a batch.

ServiceNow lets odd text into typed columns (a script may write anything). Such a value becomes NULL and an entry in
`nowbridge.value_issue`, and the rest of the row is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nowbridge.replica.layout import ColumnState, Layout, ReplicaColumn, Role
from nowbridge.servicenow import values
from nowbridge.servicenow.values import Family


@dataclass(frozen=True, slots=True)
class Misfit:
    """`problem` names the type, never the value."""

    sys_id: str
    column: str
    problem: str


def without_misfits(
    layout: Layout, page: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Sequence[str]], tuple[Misfit, ...]]:
    """The page with every value that does not fit replaced by empty, and what was replaced."""
    ids = page["sys_id"]
    cleaned = dict(page)
    misfits: list[Misfit] = []
    for column in layout.loaded:
        texts = cleaned.get(column.source)
        if column.role is not Role.VALUE or column.state is ColumnState.RETYPED or texts is None:
            continue
        bad = places(column, texts)
        if bad:
            replaced = list(texts)
            for at in bad:
                replaced[at] = ""
                misfits.append(Misfit(ids[at], column.name, f"not a valid {column.pg_type}"))
            cleaned[column.source] = replaced
    return cleaned, tuple(misfits)


def places(column: ReplicaColumn, texts: Sequence[str]) -> list[int]:
    """Where values stand that the column's type cannot hold."""
    family = values.family_of(column.internal_type)
    if family is Family.TEXT:
        return []  # a NUL is left out when the row is encoded
    bad = set(values.misfit_at(family, texts))
    bits = BITS.get(column.pg_type)
    if bits is not None:
        bad.update(at for at, text in enumerate(texts) if text and at not in bad and not _holds(bits, int(text)))
    return sorted(bad)


def _holds(bits: int, number: int) -> bool:
    most = 1 << (bits - 1)
    return -most <= number < most


BITS = {"integer": 32, "bigint": 64}
