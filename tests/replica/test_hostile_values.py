"""Scripts on an instance may write anything into a column; the replica keeps the row and says what did not fit."""

import pytest

from tests.support.replica import Bench

HOSTILE = (
    "back\\slash \\N \\.",
    "\\.",
    "line\nend\r\n",
    "tab\tand \x1f unit \x1e separators \x01",
    "'; DROP TABLE incident; --",
    '{"json": "quoted \\" text"}',
    "four bytes \U0001f600\U0010ffff",
    " leading and trailing ",
    "x" * 1_000_000,
)


async def test_every_text_comes_through_as_it_is(bench: Bench) -> None:
    bench.twin.instance.load(
        "incident", [{"sys_id": f"{at:032x}", "description": text} for at, text in enumerate(HOSTILE)]
    )
    await bench.load("incident")
    rows = await bench.rows("SELECT description FROM incident ORDER BY sys_id")
    assert [row[0] for row in rows] == list(HOSTILE)
    assert (await bench.verify("incident")).equal


async def test_a_nul_character_is_left_out(bench: Bench) -> None:
    bench.twin.instance.load("incident", [{"sys_id": "0" * 32, "description": "be\x00fore"}])
    await bench.load("incident")
    assert await bench.rows("SELECT description FROM incident") == [("before",)]


@pytest.mark.parametrize(
    ("column", "text", "pg_column"),
    [
        ("reassignment_count", "99999999999", "reassignment_count"),
        ("opened_at", "2026-02-30 10:00:00", "opened_at"),
        ("opened_at", "yesterday", "opened_at"),
        ("calendar_duration", "21 Days", "calendar_duration"),
        ("opened_at", "infinity", "opened_at"),
        ("business_stc", "0x1F", "business_stc"),
        ("state", "12 monkeys", "state__value"),
    ],
)
async def test_a_value_that_does_not_fit_is_null_and_named_and_its_row_is_kept(
    bench: Bench, column: str, text: str, pg_column: str
) -> None:
    good, bad = "0" * 32, "1" * 32
    bench.twin.instance.load(
        "incident", [{"sys_id": good, "number": "INC1"}, {"sys_id": bad, "number": "INC2", column: text}]
    )
    await bench.load("incident")
    assert await bench.rows(f"SELECT number, {pg_column} FROM incident ORDER BY number") == [
        ("INC1", None),
        ("INC2", None),
    ]
    assert await bench.rows("SELECT sys_id, column_name FROM nowbridge.value_issue") == [(bad, pg_column)]
