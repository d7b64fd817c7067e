"""Writes the reference of commands and options into docs/cli.md, from the program itself.

scripts/cli_reference.py            rewrites what stands below the marker
scripts/cli_reference.py --check    exit 1 when the page is not what the program says
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from nowbridge.cli.main import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
MARKER = "<!-- below: scripts/cli_reference.py, from the program's own help -->\n"
_MARKUP = re.compile(r"\[/?(?:bold|cyan)\]")


def reference() -> str:
    """All commands in the order of `nowbridge --help`."""
    return "\n".join(line for name, command in commands().items() for line in _command(name, command))


def commands() -> dict[str, Any]:
    found: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    return found


def _command(name: str, command: Any) -> Iterator[str]:  # noqa: ANN401 - the command-line library's own
    for inner, below in getattr(command, "commands", {}).items():
        yield from _command(f"{name} {inner}", below)
    if hasattr(command, "commands"):
        return
    yield f"## nowbridge {name}\n"
    yield f"{command.help}\n"
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    if arguments or options:
        yield "| | |"
        yield "|---|---|"
        for parameter in (*arguments, *options):
            yield f"| `{_name(parameter)}` | {_cell(parameter)} |"
        yield ""
    lines = _MARKUP.sub("", command.epilog).splitlines()[1:]
    yield "```sh"
    yield from (line.strip() for line in lines)
    yield "```\n"


def _name(parameter: Any) -> str:  # noqa: ANN401 - as above
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name)
    names = ", ".join(parameter.opts) + "".join(f" / {name}" for name in parameter.secondary_opts)
    if parameter.is_flag:
        return names
    return f"{names} {parameter.metavar}".replace("|", "\\|")


def _cell(parameter: Any) -> str:  # noqa: ANN401 - as above
    return str(parameter.help).replace("|", "\\|")


def page() -> str:
    above, marker, _ = PAGE.read_text(encoding="utf-8").partition(MARKER)
    return f"{above}{marker or MARKER}\n{reference()}"


def main() -> int:
    wanted = page()
    if "--check" in sys.argv:
        return int(PAGE.read_text(encoding="utf-8") != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
