"""Numbers, times and errors in one form, for people and for machines: terminal, console and HTTP API say the same. Times for
machines are ISO 8601 in UTC with milliseconds and Z (decision X16).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from nowbridge.model.errors import NowbridgeError


def described(error: NowbridgeError) -> dict[str, str]:
    return {"code": error.code, "asked": error.asked, "answered": error.answered, "hint": error.hint}


def error_line(error: Mapping[str, str]) -> str:
    """A stored error in one line."""
    told = f"{error.get('asked', '')}: {error.get('answered', '')}".strip(": ")
    return f"{told} {error.get('hint', '')}".strip() + f" [{error.get('code', '')}]"


def stamp(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ago(age: timedelta | None) -> str:
    """A duration as people say it: `4.2 s`, `3 min`, `2 h`, `5 days`."""
    if age is None:
        return "-"
    seconds = max(0.0, age.total_seconds())
    for limit, unit, name in ((60, 1, "s"), (3_600, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.1f} {name}" if unit == 1 else f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400:.0f} days"


def count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def plain(value: object) -> Any:  # noqa: ANN401 - whatever JSON takes
    """What JSON has no form for."""
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, timedelta):
        return round(value.total_seconds(), 3)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
