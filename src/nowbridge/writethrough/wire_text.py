"""A Postgres value, as `to_json` writes it, as the text that ServiceNow takes. Pure; the way back from
`servicenow.values`: a value that came from there and goes back is the same text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from nowbridge.servicenow.values import duration_text

_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_INTERVAL: Final = re.compile(
    r"P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?\d+)(?:\.\d+)?S)?)?"
)


def wire_text(pg_type: str, value: object) -> str:
    """NULL is the empty text, which empties a column. Raises ValueError for what ServiceNow cannot hold: an interval of
    months (they have no length), infinity, a time before the year 1.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join("" if item is None else str(item) for item in value)
    return _FORMS.get(pg_type, str)(str(value))


def _moment(text: str) -> str:
    """ServiceNow keeps whole seconds; what is finer is cut off."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("not a time that ServiceNow can hold") from None
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _duration(text: str) -> str:
    found = _INTERVAL.fullmatch(text)
    if found is None:
        raise ValueError("not an interval")
    years, months, days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    if years or months:
        raise ValueError("an interval of months or years has no length in seconds")
    return duration_text(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _day(text: str) -> str:
    if not _DAY.fullmatch(text):
        raise ValueError("not a day that ServiceNow can hold")
    return text


def _number(text: str) -> str:
    if text in {"NaN", "Infinity", "-Infinity"}:
        raise ValueError("not a number that ServiceNow can hold")
    return text


_FORMS: Final[Mapping[str, Callable[[str], str]]] = {
    "timestamptz": _moment,
    "date": _day,
    "time": lambda text: f"1970-01-01 {text[:8]}",
    "interval": _duration,
    "numeric": _number,
}
