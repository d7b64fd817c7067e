"""docs/errors.md and the code name the same SQLSTATEs for SQL writes, and Postgres knows every one of them."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg.errors

ROOT = Path(__file__).resolve().parents[2]
STATE = r"[0-9][0-9A-Z]{4}"
PLACES = (
    "src/nowbridge/store/migrations/0008_write_through.sql",
    "src/nowbridge/store/write_triggers.py",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "src/nowbridge/delivery").glob("*.py"))),
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "src/nowbridge/writethrough").glob("*.py"))),
)


def on_the_page() -> dict[str, str]:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8").partition("## SQL writes")[2]
    return dict(re.findall(rf"^\| `({STATE})` \| (\w+) \|", page, re.MULTILINE))


def test_every_sqlstate_is_on_the_page_and_nothing_else_is() -> None:
    raised: set[str] = set()
    for place in PLACES:
        text = (ROOT / place).read_text(encoding="utf-8")
        raised |= set(re.findall(rf"ERRCODE = '({STATE})'", text))
        if place.endswith(".py"):
            raised |= set(re.findall(rf'"({STATE})"', text))
    assert raised == set(on_the_page())


def test_the_names_are_those_of_postgres() -> None:
    for state, name in on_the_page().items():
        known = psycopg.errors.lookup(state).__name__
        assert known.lower() == name.replace("_", ""), state
