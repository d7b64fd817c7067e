"""What a SQL user wrote comes back from ServiceNow, as a hint, by poll and by comparison: it is known by its version and
changes nothing. What a Business Rule changed beyond it is kept.
"""

from __future__ import annotations

import pytest

from nowbridge.store.work import hints
from tests.writethrough.conftest import Writing

pytestmark = pytest.mark.req("Q47")

WRITES = (
    "UPDATE incident SET short_description = 'written', work_notes = 'a note' WHERE number = 'INC0000001'",
    "INSERT INTO incident (short_description, assigned_to) VALUES ('written', 'Only One')",
    "DELETE FROM incident WHERE number = 'INC0000001'",
)


async def everything(writing: Writing) -> list[tuple[object, ...]]:
    feed = await writing.bench.rows("SELECT table_name, sys_id, operation, source, version FROM _sync_cdc ORDER BY id")
    return [*await writing.rows(), *feed]


async def come_back(writing: Writing, by: str) -> None:
    if by == "poll":
        assert await writing.bench.catch_up() == 0
    elif by == "comparison":
        writing.bench.twin.instance.clock.advance(10)
        assert (await writing.bench.verify("incident", repair=True)).equal
    else:
        ids = {row["sys_id"] for row in writing.stored("incident")} | set(writing.ids)
        told = [hints.Told("incident", sys_id, "incident", None, None, sys_id in writing.ids) for sys_id in ids]
        async with writing.bench.database.transaction() as connection:
            await hints.add(connection, writing.bench.connection_id, told, now=writing.bench.now())
        done = await writing.bench.replica.read_hints()
        assert done is not None
        assert (done.changed, done.removed, done.error) == (0, 0, None)


@pytest.mark.parametrize("by", ["poll", "hint", "comparison"])
@pytest.mark.parametrize("statement", WRITES, ids=["update", "insert", "delete"])
async def test_what_was_written_comes_back_and_changes_nothing(writing: Writing, statement: str, by: str) -> None:
    async with await writing.connect() as client:
        await client.execute(statement.encode())
    before = await everything(writing)
    await come_back(writing, by)
    assert await everything(writing) == before


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_a_rule_changes_with_our_write_is_here_when_it_comes_back(writing: Writing, when: str) -> None:
    set_it = "current.description = 'by the rule';"
    again = "if (current.description != 'by the rule') { current.description = 'by the rule'; current.update(); }"
    writing.rule(set_it if when == "before" else again, when)
    async with await writing.connect() as client:
        await client.execute("UPDATE incident SET short_description = 'written' WHERE number = 'INC0000001'")
    await writing.bench.catch_up()
    shown = "SELECT short_description, description, sys_mod_count FROM incident WHERE number = 'INC0000001'"
    there = writing.incident(writing.ids[1])
    assert there["description"] == "by the rule"
    assert await writing.bench.rows(shown) == [("written", "by the rule", int(there["sys_mod_count"]))]
    before = await everything(writing)
    await come_back(writing, "poll")
    assert await everything(writing) == before


async def test_a_further_change_after_ours_is_brought_and_ours_is_not_brought_back(writing: Writing) -> None:
    """An asynchronous rule, or somebody else, right after our write."""
    async with await writing.connect() as client:
        await client.execute("UPDATE incident SET short_description = 'written' WHERE number = 'INC0000001'")
    writing.change_in_servicenow(writing.ids[1], short_description="written since", description="by a job")
    assert await writing.bench.catch_up() == 1
    shown = await writing.bench.rows(
        "SELECT short_description, description, sys_mod_count FROM incident WHERE number = 'INC0000001'"
    )
    assert shown == [("written since", "by a job", 2)]
    feed = await writing.bench.rows(
        "SELECT source, version FROM _sync_cdc WHERE operation = 'update' AND source <> 'backfill' ORDER BY id"
    )
    assert feed == [("sql", 1), ("poll", 2)]
