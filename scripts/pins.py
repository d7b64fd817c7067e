"""Replace the pinned versions in pyproject.toml by the requirement lines on standard input (called by ./scripts/lock)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
BLOCK = re.compile(r"^constraint-dependencies = \[.*?\]$", re.MULTILINE | re.DOTALL)


def main() -> None:
    lines = [line.strip() for line in sys.stdin]
    pins = sorted(line for line in lines if "==" in line)
    body = "".join(f"  {quoted(pin)},\n" for pin in pins)
    block = f"constraint-dependencies = [\n{body}]" if pins else "constraint-dependencies = []"
    text, replaced = BLOCK.subn(lambda _: block, PROJECT.read_text(encoding="utf-8"), count=1)
    if replaced != 1:
        raise SystemExit("pyproject.toml has no list constraint-dependencies under [tool.uv].")
    PROJECT.write_text(text, encoding="utf-8")


def quoted(pin: str) -> str:
    return '"' + pin.replace("\\", "\\\\").replace('"', "'") + '"'


if __name__ == "__main__":
    main()
