"""docs/errors.md and the code name the same SQLSTATEs for SQL writes, and Postgres knows every one of them."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg.errors
import pytest

from nowbridge.delivery.refusals import refusal_of, stale
from nowbridge.model.errors import NowbridgeError, Park, Retry, Stop
from nowbridge.model.plan import Operation, Step

ROOT = Path(__file__).resolve().parents[2]
STATE = r"[0-9][0-9A-Z]{4}"
PLACES = (
    "src/nowbridge/store/migrations/0008_write_through.sql",
    "src/nowbridge/store/writes/write_triggers.py",
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


@pytest.mark.req("Q48")
@pytest.mark.parametrize(
    ("error", "code", "said", "sqlstate"),
    [
        (
            Park,
            "record.refused",
            "Operation Failed: Data Policy Exception: The following fields are mandatory: A",
            "23502",
        ),
        (Park, "record.refused", "Operation Failed: Data Policy Exception: something else", "23514"),
        (Park, "record.refused", "Operation against file 'x' was aborted by Business Rule 'y'", "23514"),
        (
            Park,
            "record.refused",
            "Unique Key violation detected by database (Duplicate entry '1' for key 'x')",
            "23505",
        ),
        (Park, "record.refused", "Operation Failed: ACL restricts the record", "42501"),
        (Park, "record.missing", "No Record found", "40001"),
        (Stop, "rights.table", "User Not Authorized", "42501"),
        (Stop, "auth.refused", "User Not Authenticated", "28000"),
        (Retry, "busy.unavailable", "HTTP 503", "08006"),
    ],
)
def test_what_servicenow_says_has_its_sqlstate_and_stands_in_detail(
    error: type[NowbridgeError], code: str, said: str, sqlstate: str
) -> None:
    refusal = refusal_of(error(code, asked="update a record in incident", answered=said, hint="what to do"))
    assert (refusal.sqlstate, refusal.detail, refusal.hint) == (sqlstate, said, "what to do")
    assert refusal.message.startswith("[ServiceNow] Update a record in incident: ")


def test_a_column_that_the_account_may_not_read_is_not_written_blindly() -> None:
    step = Step(Operation.UPDATE, "incident", "1" * 32, (("close_notes", "new"),), (("close_notes", "old"),))
    refusal = stale(step, {"sys_id": "1" * 32, "sys_mod_count": "1"})
    assert refusal is not None
    assert (refusal.sqlstate, "may not read `close_notes`" in refusal.message) == ("42501", True)
    assert stale(step, {"sys_id": "1" * 32, "close_notes": "old"}) is None
