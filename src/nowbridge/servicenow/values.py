"""What the text of a wire value means, by the family of its `internal_type`, in the text form that Postgres reads. Pure.

Everything on the wire is text and empty means NULL, so "" stays "". A text that its family cannot hold raises
ValueError (scripts on the instance may write anything); `misfit_at` finds it in a column. Types and their forms:
servicenow-api.md 3.1.

Column functions do their work in one regular expression or once per distinct value, not once per row.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


class Family(Enum):
    """How a column's text is to be read. TEXT takes everything, unknown types included."""

    TEXT = "text"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DATETIME = "datetime"
    DATE = "date"
    TIME = "time"
    DURATION = "duration"
    LIST = "list"


_TYPES: Final[Mapping[Family, tuple[str, ...]]] = {
    Family.BOOLEAN: ("boolean",),
    Family.INTEGER: ("integer", "longint", "auto_increment", "order_index", "integer_date", "integer_time"),
    Family.DECIMAL: ("decimal", "float", "percent_complete", "currency", "price"),
    Family.DATETIME: ("glide_date_time", "due_date", "calendar_date_time", "glide_utc_time"),
    Family.DATE: ("glide_date",),
    Family.TIME: ("glide_time",),
    Family.DURATION: ("glide_duration", "timer"),
    Family.LIST: ("glide_list", "user_roles", "slushbucket"),
}
_FAMILIES: Final = {internal_type: family for family, types in _TYPES.items() for internal_type in types}

_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_DAY = r"\d{4}-\d\d-\d\d"
_SHAPES: Final[Mapping[Family, str]] = {
    Family.BOOLEAN: r"true|false|1|0",
    Family.INTEGER: r"[+-]?\d+",
    Family.DECIMAL: r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?",
    Family.DATETIME: f"{_DAY} {_CLOCK}",
    Family.DATE: _DAY,
    Family.TIME: f"(?:{_DAY} )?{_CLOCK}",
    Family.DURATION: f"{_DAY} {_CLOCK}",
    Family.LIST: r"[^\x00\n]*",
    Family.TEXT: r"[^\x00]*",
}
_ONE: Final = {family: re.compile(shape, re.ASCII) for family, shape in _SHAPES.items()}
_COLUMN: Final = {
    family: re.compile(f"(?:(?:{shape})?\n)*", re.ASCII)
    for family, shape in _SHAPES.items()
    if family is not Family.TEXT
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_LENGTH: Final = len("yyyy-MM-dd")
_DAY_SECONDS: Final = 86_400


def family_of(internal_type: str) -> Family:
    return _FAMILIES.get(internal_type, Family.TEXT)


def value(family: Family, text: str) -> str:
    """One value as Postgres reads it. Raises ValueError, which names the family and never the value."""
    if not text:
        return ""
    if not _ONE[family].fullmatch(text):
        raise ValueError(f"not a valid {family.value}")
    if family in _DATED:
        _check_days({text[:_DAY_LENGTH]}, family)
    return _FORMS[family](text)


def column(family: Family, texts: Sequence[str]) -> Sequence[str]:
    """A whole column as Postgres reads it. Raises ValueError if any value does not fit; `misfit_at` tells which."""
    if family is Family.TEXT:
        if "\x00" in "".join(texts):
            raise ValueError("a text holds a NUL character, which Postgres cannot store")
        return texts
    if not _COLUMN[family].fullmatch("\n".join((*texts, ""))) or _has_line_break(texts):
        raise ValueError(f"not every value is a valid {family.value}")
    if family in _DATED:
        _check_days({text[:_DAY_LENGTH] for text in texts if len(text) >= _DAY_LENGTH}, family)
    if family in _UNCHANGED:
        return texts
    distinct = set(texts)
    form = _FORMS[family]
    forms = {text: form(text) if text else "" for text in distinct}
    return [forms[text] for text in texts]


def misfit_at(family: Family, texts: Sequence[str]) -> list[int]:
    """Where the values stand that `value` would refuse."""
    bad = {text for text in set(texts) if not _fits(family, text)}
    return [place for place, text in enumerate(texts) if text in bad] if bad else []


def duration_seconds(text: str) -> int:
    """A duration is on the wire as a moment counted from 1970-01-01 (a day more is a day of duration); before it, it is
    negative. Raises ValueError.
    """
    if not _ONE[Family.DURATION].fullmatch(text):
        raise ValueError("not a valid duration")
    return int((datetime.fromisoformat(text).replace(tzinfo=UTC) - _EPOCH).total_seconds())


def duration_text(seconds: int) -> str:
    """Seconds in the wire form of a duration, for writing one."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def interval(seconds: int) -> str:
    """ISO 8601, with whole days apart, as ServiceNow shows durations: `P21DT21H46M21S`."""
    sign = "-" if seconds < 0 else ""
    days, rest = divmod(abs(seconds), _DAY_SECONDS)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    return f"P{sign}{days}DT{sign}{hours}H{sign}{minutes}M{sign}{left}S"


def list_items(text: str) -> tuple[str, ...]:
    """The members of a list column; blanks around them and empty ones mean nothing."""
    return tuple(part for part in map(str.strip, text.split(",")) if part) if text else ()


def array(items: Iterable[str]) -> str:
    """A Postgres array literal."""
    quoted = ('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items)
    return "{" + ",".join(quoted) + "}"


def _fits(family: Family, text: str) -> bool:
    try:
        value(family, text)
    except ValueError:
        return False
    return True


def _has_line_break(texts: Sequence[str]) -> bool:
    """The joined column is split at line ends, so a value with one inside could pass for two values."""
    return "\n".join(texts).count("\n") != max(0, len(texts) - 1)


def _check_days(days: set[str], family: Family) -> None:
    """The shape does not know how long a month is."""
    try:
        for day in days:
            date.fromisoformat(day)
    except ValueError as error:
        raise ValueError(f"not a valid {family.value}") from error


def _interval_of(text: str) -> str:
    """Of a text whose shape was checked. Nearly every duration of a page is another one, so this is hot; days are few."""
    days = _days(text[:_DAY_LENGTH])
    if days < 0:
        return interval(duration_seconds(text))
    return f"P{days}DT{int(text[11:13])}H{int(text[14:16])}M{int(text[17:])}S"


@lru_cache(maxsize=4_096)
def _days(day: str) -> int:
    return date.fromisoformat(day).toordinal() - _EPOCH.toordinal()


_DATED: Final = frozenset({Family.DATETIME, Family.DATE, Family.DURATION})
_UNCHANGED: Final = frozenset({Family.INTEGER, Family.DECIMAL, Family.DATE})
_FORMS: Final[Mapping[Family, Callable[[str], str]]] = {
    Family.TEXT: str,
    Family.BOOLEAN: lambda text: "true" if text in {"true", "1"} else "false",
    Family.INTEGER: str,
    Family.DECIMAL: str,
    Family.DATETIME: lambda text: f"{text}+00",
    Family.DATE: str,
    Family.TIME: lambda text: text[-8:],
    Family.DURATION: _interval_of,
    Family.LIST: lambda text: array(list_items(text)),
}
