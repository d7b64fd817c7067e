"""Records that stand in several replica tables, those of a class and of its ancestors: written through either."""

from __future__ import annotations

import asyncio

import pytest

from nowbridge.store.writes import sql_users
from nowbridge.writethrough.enable import enable_writes
from tests.writethrough.conftest import Writing

pytestmark = [pytest.mark.trap("11"), pytest.mark.req("Q46", "Q47")]


@pytest.fixture(autouse=True)
async def task(writing: Writing) -> None:
    """The base class's table beside incident's."""
    await writing.bench.load("task")
    await enable_writes(writing.bench.database, writing.bench.replica.instance, writing.bench.connection_id)
    async with writing.bench.database.transaction() as connection:
        await sql_users.grant_all(connection)


async def both(writing: Writing) -> list[tuple[object, ...]]:
    return await writing.bench.rows(
        "SELECT t.short_description, t.description, t.sys_mod_count, i.short_description, i.description, i.sys_mod_count"
        " FROM task t LEFT JOIN incident i USING (sys_id) ORDER BY sys_id"
    )


async def test_a_write_through_either_table_is_in_both(writing: Writing) -> None:
    async with await writing.connect() as client:
        await client.execute("UPDATE task SET short_description = 'by task' WHERE number = 'INC0000001'")
        await client.execute("UPDATE incident SET description = 'by incident' WHERE number = 'INC0000001'")
        await client.execute("DELETE FROM task WHERE number = 'INC0000002'")
        await client.execute("INSERT INTO incident (sys_id, short_description) VALUES (repeat('f', 32), 'made')")
    assert await both(writing) == [
        ("no 0", None, 0) * 2,
        ("by task", "by incident", 2) * 2,
        ("made", None, 0) * 2,
    ]
    assert writing.texts() == {"no 0", "by task", "made"}


async def test_clients_who_write_the_same_records_through_different_tables_meet_in_no_deadlock(
    writing: Writing,
) -> None:
    one, two = writing.ids[:2]
    async with await writing.connect() as by_task, await writing.connect() as by_incident:
        for client, table in ((by_task, "task"), (by_incident, "incident")):
            await client.execute("BEGIN")
            await client.execute(f"SELECT FROM {table} WHERE sys_id = ANY(%s) FOR UPDATE".encode(), (writing.ids,))
        await by_task.execute("UPDATE task SET short_description = 'by task' WHERE sys_id = ANY(%s)", ([one, two],))
        await by_incident.execute(
            "UPDATE incident SET description = 'by incident' WHERE sys_id = ANY(%s)", ([two, one],)
        )
        async with asyncio.timeout(20):
            await asyncio.gather(by_task.execute("COMMIT"), by_incident.execute("COMMIT"))
    for sys_id in (one, two):
        there = writing.incident(sys_id)
        assert (there["short_description"], there["description"], there["sys_mod_count"]) == (
            "by task",
            "by incident",
            "2",
        )
    writing.bench.now.pass_(seconds=60)
    while await writing.bench.replica.read_hints() is not None:
        pass
    assert (await both(writing))[:2] == [("by task", "by incident", 2) * 2] * 2


async def test_a_client_who_deletes_what_another_writes_through_another_table_meets_in_no_deadlock(
    writing: Writing,
) -> None:
    one = writing.ids[0]
    async with await writing.connect() as by_task, await writing.connect() as by_incident:
        for client, table in ((by_task, "task"), (by_incident, "incident")):
            await client.execute("BEGIN")
            await client.execute(f"SELECT FROM {table} WHERE sys_id = ANY(%s) FOR UPDATE".encode(), (writing.ids,))
        await by_task.execute("UPDATE task SET short_description = 'by task' WHERE sys_id = %s", (one,))
        await by_incident.execute("DELETE FROM incident WHERE sys_id = %s", (one,))
        async with asyncio.timeout(20):
            ended = await asyncio.gather(
                by_task.execute("COMMIT"), by_incident.execute("COMMIT"), return_exceptions=True
            )
    assert "deadlock" not in str(ended)
    writing.bench.now.pass_(seconds=60)
    while await writing.bench.replica.read_hints() is not None:
        pass
    held = {row[0] for row in await writing.bench.rows("SELECT sys_id FROM task")}
    assert held == {row[0] for row in await writing.bench.rows("SELECT sys_id FROM incident")}
    assert (one in held) == any(row["sys_id"] == one for row in writing.stored("incident"))
