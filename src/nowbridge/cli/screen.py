"""What people see: two consoles (answers on standard output, everything else on standard error), errors in three
parts. The form of numbers and times is that of `api.wording`.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nowbridge.api.wording import ago, count, described, error_line, plain, stamp

if TYPE_CHECKING:
    from nowbridge.model.errors import NowbridgeError

__all__ = [
    "ago",
    "columns",
    "count",
    "described",
    "error_line",
    "is_terminal",
    "messages",
    "output",
    "print_json",
    "say",
    "show_error",
    "stamp",
]
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
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=plain) + "\n")
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
