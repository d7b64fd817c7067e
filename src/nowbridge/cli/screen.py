"""What people see: two consoles (answers on standard output, everything else on standard error), errors in three
parts, numbers and times in one form. Times for machines are ISO 8601 in UTC with milliseconds and Z (decision X16).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from nowbridge.model.errors import NowbridgeError


_WIDTH_OF_FILES = 160


def output() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)


def messages() -> Console:
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _WIDTH_OF_FILES)


def columns(*headings: str) -> Table:
    """An empty table: the first column is text, the others are numbers."""
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    return table


def is_terminal() -> bool:
    """Whether somebody watches: live tables and bars are for terminals only."""
    return sys.stderr.isatty()


def say(text: str, style: str = "") -> None:
    """A line about what goes on, on standard error."""
    messages().print(Text(text, style=style), soft_wrap=True)


def print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=_plain) + "\n")
    sys.stdout.flush()


def show_error(error: NowbridgeError, *, as_json: bool) -> None:
    """Asked, answered, to do, with the code of docs/errors.md."""
    if as_json:
        print_json({"error": described(error)})
    text = Text()
    text.append("Asked:    ", "bold").append(f"{error.asked}\n")
    text.append("Answered: ", "bold").append(error.answered, "red").append(f"  [{error.code}]", "dim")
    if error.hint:
        text.append("\nDo:       ", "bold").append(error.hint)
    messages().print(text, soft_wrap=True)


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


def _plain(value: object) -> Any:  # noqa: ANN401 - whatever JSON takes
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, timedelta):
        return round(value.total_seconds(), 3)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
