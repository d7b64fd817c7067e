"""What came back against what was sent. Pure. ServiceNow answers 200 to writes that it ignored in part (servicenow-api.md
1.6, 1.7, 12.6), so a write is done only when the record that came back says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from nowbridge.model.plan import Field, Step

Record = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that is not as it was sent. `dropped`: still as before, so ServiceNow ignored it; else a rule of the
    instance made something else of it.
    """

    field: str
    sent: str
    got: str
    dropped: bool


def differences(step: Step, record: Record) -> tuple[Difference, ...]:
    """`record` is the record after the write; a field that it lacks cannot be seen by the account, and counts as
    dropped: nobody can say that it was written.
    """
    found = []
    before = step.before
    for field, sent in step.fields:
        got = record.get(field)
        if got is not None and same(sent, got):
            continue
        dropped = got is None or same(got, before.get(field, ""))
        found.append(Difference(field, sent, got or "", dropped))
    return tuple(found)


def changing(step: Step) -> tuple[Field, ...]:
    """The fields that the step sets to something else than stood there before, as far as that is known (of stamps it is not)."""
    before = step.before
    return tuple((field, sent) for field, sent in step.fields if field in before and not same(sent, before[field]))


def moved(step: Step, record: Record) -> tuple[str, ...]:
    """The fields of an update that no longer stand as the plan took them to be."""
    return tuple(field for field, text in step.base if field in record and not same(text, record[field]))


def same(one: str, other: str) -> bool:
    """Whether two texts are the same value: as texts, but for line ends, blanks around them, the ways to write a boolean,
    and how many digits a number has.
    """
    if one == other:
        return True
    one, other = _plain(one), _plain(other)
    return one == other or _same_number(one, other)


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _same_number(one: str, other: str) -> bool:
    try:
        return Decimal(one) == Decimal(other)
    except InvalidOperation:
        return False
