"""`nowbridge undo`: the opposite of a write is written, each kind of it, and refused where a record has moved since."""

from __future__ import annotations

import pytest

from nowbridge.model.errors import Stop
from nowbridge.store.writes import write_log
from nowbridge.writethrough.settling import Settler
from tests.writethrough.conftest import Writing

pytestmark = pytest.mark.req("Q47")


async def write(writing: Writing, statement: str) -> int:
    """The number of the write in the log."""
    async with await writing.connect() as client:
        await client.execute(statement.encode())
    ((number,),) = await writing.bench.rows("SELECT max(id) FROM nowbridge.write_log")
    return int(number)


async def undo(writing: Writing, number: int) -> tuple[str, str | None]:
    """State and SQLSTATE of the undo."""
    async with writing.bench.database.transaction() as connection:
        await write_log.add_undo(connection, number, role="nowbridge undo", now=writing.bench.now())
    await writing.until(
        f"SELECT count(*) FROM nowbridge.write_log WHERE undoes = {number} AND state IN ('done', 'refused')", 1
    )
    await Settler(writing.writer).settle()
    await writing.bench.replica.read_hints()
    ((state, sqlstate),) = await writing.bench.rows(
        f"SELECT state, sqlstate FROM nowbridge.write_log WHERE undoes = {number}"
    )
    return state, sqlstate


async def held(writing: Writing) -> set[tuple[object, ...]]:
    return set(await writing.bench.rows("SELECT sys_id, short_description, state, category FROM incident"))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE incident SET short_description = 'written', state = 'In Progress' WHERE number = 'INC0000001'",
        "UPDATE incident SET short_description = 'all of them'",
        "INSERT INTO incident (short_description) VALUES ('one'), ('two')",
        "DELETE FROM incident WHERE number = 'INC0000001'",
    ],
    ids=["one", "many", "insert", "delete"],
)
async def test_each_kind_of_write_is_taken_back(writing: Writing, statement: str) -> None:
    before = await held(writing)
    number = await write(writing, statement)
    assert await held(writing) != before
    assert await undo(writing, number) == ("done", None)
    assert await held(writing) == before
    assert writing.texts() == {"no 0", "no 1", "no 2"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE incident SET short_description = 'written' WHERE number IN ('INC0000000', 'INC0000001')",
        "INSERT INTO incident (sys_id, short_description) VALUES (repeat('e', 32), 'made')",
    ],
    ids=["update", "insert"],
)
async def test_what_has_moved_since_stays_with_all_that_was_written_beside_it(writing: Writing, statement: str) -> None:
    number = await write(writing, statement)
    moved = writing.ids[1] if statement.startswith("UPDATE") else "e" * 32
    writing.change_in_servicenow(moved, short_description="by somebody else")
    there = writing.everything()
    assert await undo(writing, number) == ("refused", "40001")
    assert writing.everything() == there


async def test_a_deleted_record_is_made_again_with_all_that_servicenow_takes(writing: Writing) -> None:
    """It pointed at nothing, which does not hinder it; a column that a rule empties in new records is told."""
    writing.change_in_servicenow(writing.ids[1], caller_id="d" * 32, description="long")
    await writing.bench.catch_up()
    writing.rule("if (current.isNewRecord()) current.description = '';")
    number = await write(writing, "DELETE FROM incident WHERE number = 'INC0000001'")
    assert await undo(writing, number) == ("done", None)
    again = writing.incident(writing.ids[1])
    assert (again["short_description"], again["caller_id"], again.get("description", "")) == ("no 1", "d" * 32, "")
    held = await writing.bench.rows("SELECT caller_id__value FROM incident WHERE number = 'INC0000001'")
    assert held == [("d" * 32,)]
    ((told,),) = await writing.bench.rows(f"SELECT detail FROM nowbridge.write_log WHERE undoes = {number}")
    assert f"{writing.ids[1]}: [ServiceNow]" in told
    assert "`description` is ``, sent was `long`" in told


async def test_a_record_that_is_there_again_is_not_made_anew(writing: Writing) -> None:
    number = await write(writing, "DELETE FROM incident WHERE number = 'INC0000001'")
    writing.bench.twin.instance.load("incident", [{"sys_id": writing.ids[1], "short_description": "there again"}])
    assert (await undo(writing, number))[0] == "refused"
    assert writing.incident(writing.ids[1])["short_description"] == "there again"


async def test_what_a_rule_made_of_it_counts_as_what_was_written(writing: Writing) -> None:
    writing.rule("if (current.short_description == 'by me') current.short_description = 'by the rule';")
    number = await write(writing, "UPDATE incident SET short_description = 'by me' WHERE number = 'INC0000001'")
    assert writing.incident(writing.ids[1])["short_description"] == "by the rule"
    assert await undo(writing, number) == ("done", None)
    assert writing.incident(writing.ids[1])["short_description"] == "no 1"


async def test_what_cannot_be_taken_back_is_said(writing: Writing) -> None:
    """Journal entries; and a write that is not in ServiceNow."""
    number = await write(writing, "UPDATE incident SET work_notes = 'stays' WHERE number = 'INC0000001'")
    assert await undo(writing, number) == ("refused", "0A000")
    assert writing.entries(writing.ids[1]) == ["stays"]
    with pytest.raises(Stop, match="not in ServiceNow"):
        await undo(writing, (await writing.bench.rows("SELECT max(id) FROM nowbridge.write_log"))[0][0])
