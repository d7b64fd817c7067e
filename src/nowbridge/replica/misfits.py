"""Values that their column's type cannot hold. Pure; used only when Postgres or a conversion refused a batch.

ServiceNow lets odd text into typed columns (a script may write anything). Such a value becomes NULL and an entry in
`nowbridge.value_issue`, and the rest of the row is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation

from nowbridge.replica.layout import Layout, Role
from nowbridge.servicenow import values


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
        fits = FITS.get(column.pg_type)
        texts = cleaned.get(column.source)
        if column.role is not Role.VALUE or fits is None or texts is None:
            continue
        bad = [at for at, text in enumerate(texts) if text and not fits(text)]
        if bad:
            replaced = list(texts)
            for at in bad:
                replaced[at] = ""
                misfits.append(Misfit(ids[at], column.name, f"not a valid {column.pg_type}"))
            cleaned[column.source] = replaced
    return cleaned, tuple(misfits)


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            parse(text)
        except (ValueError, InvalidOperation):
            return False
        return True

    return fits


def _whole(bits: int) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        return bool(re.fullmatch(r"[+-]?\d{1,20}", text, re.ASCII)) and -(2 ** (bits - 1)) <= int(text) < 2 ** (bits - 1)

    return fits


def _numeric(text: str) -> bool:
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", text, re.ASCII) or len(text) > 1000:
        return False
    return Decimal(text).is_finite()


FITS: Mapping[str, Callable[[str], bool]] = {
    "boolean": lambda text: text in ("true", "false", "1", "0"),
    "integer": _whole(32),
    "bigint": _whole(64),
    "numeric": _numeric,
    "timestamptz": _parses(lambda text: datetime.strptime(text, "%Y-%m-%d %H:%M:%S")),  # noqa: DTZ007 - form only
    "date": _parses(date.fromisoformat),
    "time": _parses(lambda text: time.fromisoformat(text.rpartition(" ")[2])),
    "interval": _parses(values.duration_seconds),
}
