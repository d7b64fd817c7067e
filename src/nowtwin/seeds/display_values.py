"""Turns what an instance displays back into what it stores.

A record read with `sysparm_display_value=true` shows dates in the reader's zone, numbers with thousands separators,
choices as labels, durations as words. Seeds are such records, and an instance keeps stored values, so every function
here is one inverse: text in, stored text out, nothing looked up and nothing guessed. An empty value, `UNKNOWN` (what
`sla_due` and `activity_due` show when empty) and null are all stored as "". A text that does not have the form of
its type is a `ValueError`: a seed that would be stored wrongly must not load.

Forms and their sources: servicenow-api.md 1.3 and 3.1.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
STORED_FORMAT: Final = "%Y-%m-%d %H:%M:%S"
_SECONDS: Final[Mapping[str, int]] = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
_DURATION_PART: Final = re.compile(r"(\d+) (Day|Hour|Minute|Second)s?")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_EMPTY: Final = frozenset({"", "UNKNOWN"})


def stored(at: datetime) -> str:
    """The stored spelling of an aware time: UTC, `yyyy-MM-dd HH:mm:ss`."""
    return at.astimezone(UTC).strftime(STORED_FORMAT)


@lru_cache(maxsize=65_536)
def date_time(display: str, zone: ZoneInfo) -> str:
    """`2023-07-09 16:09:51` as shown in `zone`, stored in UTC. Of a repeated autumn hour the first is meant."""
    if display in _EMPTY:
        return ""
    return stored(datetime.strptime(display, STORED_FORMAT).replace(tzinfo=zone))


def date(display: str) -> str:
    """A date has no zone and is stored as it is shown."""
    if display in _EMPTY:
        return ""
    if not _DATE.fullmatch(display):
        raise ValueError(f"not a date: {display!r}")
    return display


def duration(display: str) -> str:
    """`21 Days 21 Hours 46 Minutes` is stored as that long after 1970-01-01: `1970-01-22 21:46:00`."""
    if display in _EMPTY:
        return ""
    parts = _DURATION_PART.findall(display)
    if " ".join(display.split()) != " ".join(f"{n} {unit}{'s' if n != '1' else ''}" for n, unit in parts):
        raise ValueError(f"not a duration: {display!r}")
    return duration_of_seconds(sum(int(n) * _SECONDS[unit.lower()] for n, unit in parts))


def duration_of_seconds(seconds: int) -> str:
    """The stored form of a duration: a date-time counted from 1970."""
    return stored(EPOCH + timedelta(seconds=seconds))


def integer(display: str) -> str:
    """`7,937,181` without its separators; `(2)`, which an unlisted choice shows, without its brackets."""
    if display in _EMPTY:
        return ""
    text = unbracketed(display).replace(",", "")
    return str(int(text))


def decimal(display: str) -> str:
    """`1,234.50` without its separators."""
    if display in _EMPTY:
        return ""
    text = display.replace(",", "")
    float(text)
    return text


def amount(display: str) -> str:
    """`$2,499.99` in the system currency, stored as the plain number."""
    return decimal(display.removeprefix("$"))


def boolean(display: str) -> str:
    if display not in ("true", "false", ""):
        raise ValueError(f"not a boolean: {display!r}")
    return display


def unbracketed(display: str) -> str:
    """A value outside its choice list is shown in brackets (`(2)`); this is the value."""
    return display[1:-1] if display.startswith("(") and display.endswith(")") else display


def choice(display: str, labels: Mapping[str, str]) -> str:
    """The value of a label, given `label -> value`; without one the text itself, which a choice column may hold."""
    if display in labels:
        return labels[display]
    return unbracketed(display)


def image(display: str) -> str:
    """An image shows as `<sys_id>.iix` and is stored as the sys_id."""
    return display.removesuffix(".iix")


PLAIN_TYPES: Final[Mapping[str, Callable[[str], str]]] = {
    "glide_date": date,
    "glide_duration": duration,
    "timer": duration,
    "integer": integer,
    "longint": integer,
    "order_index": integer,
    "decimal": decimal,
    "float": decimal,
    "currency": amount,
    "price": amount,
    "boolean": boolean,
    "user_image": image,
}
ZONED_TYPES: Final = frozenset({"glide_date_time", "due_date", "calendar_date_time"})


def stored_value(internal_type: str, display: str, zone: ZoneInfo) -> str:
    """The stored value of a scalar that is neither a choice nor a reference; text types are stored as shown."""
    if internal_type in ZONED_TYPES:
        return date_time(display, zone)
    convert = PLAIN_TYPES.get(internal_type)
    return convert(display) if convert else display
