"""A client holds rows, or waits at COMMIT, while the applier works: nobody waits for anybody, nobody overwrites what is
under way, and what was left out comes later, exactly (traps.md, finding 19).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from nowbridge.delivery.deliver import Manner
from nowbridge.replica.labels import rewrite_renamed
from nowbridge.store.rows import labels
from nowbridge.store.work import hints
from nowbridge.store.writes import write_log
from nowtwin.behaviour.faults import FaultRule
from tests.support.replica import without_waiting
from tests.writethrough.conftest import USER, Writing

pytestmark = [pytest.mark.trap("19"), pytest.mark.req("Q47")]


@pytest.fixture(autouse=True)
def in_no_hurry(writing: Writing) -> None:
    writing.writer.manner = Manner(sleep=without_waiting, longest=2.0)


@asynccontextmanager
async def holding(writing: Writing, sys_id: str, change: str = "SET description = 'mine'") -> AsyncIterator[None]:
    """A client has changed this record and has not ended its transaction; in the end it takes the change back."""
    async with await writing.connect() as client, client.transaction(force_rollback=True):
        await client.execute(f"UPDATE incident {change} WHERE sys_id = %s".encode(), (sys_id,))
        yield


@asynccontextmanager
async def waiting_at_commit(writing: Writing, client: AsyncConnection[TupleRow], statement: str) -> AsyncIterator[None]:
    """ServiceNow has carried the client's write out, and its answer is not there yet."""
    await writing.pause()
    waits = asyncio.create_task(client.execute(statement.encode()))
    await writing.until("SELECT count(*) FROM nowbridge.write_log WHERE state = 'new'", 1)
    (entry,) = await writing.claimed()
    end = await writing.writer.end_of(entry)
    try:
        yield
    finally:
        async with writing.bench.database.transaction() as connection:
            assert await write_log.finish(connection, entry, end, now=writing.bench.now())
        await waits
        writing.resume()


async def texts(writing: Writing) -> list[object]:
    return [row[0] for row in await writing.bench.rows("SELECT short_description FROM incident ORDER BY sys_id")]


async def read_deferred(writing: Writing) -> None:
    """Some time later."""
    writing.bench.now.pass_(seconds=60)
    while await writing.bench.replica.read_hints() is not None:
        pass


async def hint(writing: Writing, *sys_ids: str, deleted: bool = False) -> None:
    told = [hints.Told("incident", sys_id, "incident", None, None, deleted) for sys_id in sys_ids]
    async with writing.bench.database.transaction() as connection:
        await hints.add(connection, writing.bench.connection_id, told, now=writing.bench.now())


async def test_a_poll_goes_on_with_the_other_rows_and_brings_the_held_one_later(writing: Writing) -> None:
    for sys_id in writing.ids:
        writing.change_in_servicenow(sys_id, short_description="changed there")
    async with holding(writing, writing.ids[1]):
        async with asyncio.timeout(60):
            assert await writing.bench.catch_up() == 2
        assert await texts(writing) == ["changed there", "no 1", "changed there"]
    await read_deferred(writing)
    assert await texts(writing) == ["changed there"] * 3
    feed = await writing.bench.rows("SELECT sys_id, count(*) FROM _sync_cdc WHERE operation = 'update' GROUP BY 1")
    assert sorted(feed) == [(sys_id, 1) for sys_id in writing.ids]


async def test_what_is_read_back_while_it_is_held_is_tried_until_it_is_free(writing: Writing) -> None:
    for sys_id in writing.ids:
        writing.change_in_servicenow(sys_id, short_description="changed there")
    await hint(writing, *writing.ids)
    async with holding(writing, writing.ids[1]):
        for _ in range(3):  # far longer than a hint is tried otherwise
            await read_deferred(writing)
            writing.bench.now.pass_(minutes=10)
            assert await texts(writing) == ["changed there", "no 1", "changed there"]
        held_calls = writing.calls()
        assert await writing.bench.replica.read_hints() is not None
        assert await writing.bench.replica.read_hints() is None  # not asked for again and again
        assert writing.calls() - held_calls <= 3
    await read_deferred(writing)
    assert await texts(writing) == ["changed there"] * 3


async def test_a_held_row_outlasts_a_pause_of_its_table_and_an_instance_that_is_down(writing: Writing) -> None:
    writing.change_in_servicenow(writing.ids[1], short_description="changed there")
    async with holding(writing, writing.ids[1]):
        await writing.bench.catch_up()
    async with writing.bench.database.transaction() as connection:
        await connection.execute("UPDATE nowbridge.replica_table SET paused_at = now()")
    await read_deferred(writing)
    async with writing.bench.database.transaction() as connection:
        await connection.execute("UPDATE nowbridge.replica_table SET paused_at = NULL")
    faults = writing.bench.twin.instance.faults
    faults.arm([FaultRule(kind="drop_before", method="GET", table="incident", count=None)])
    writing.bench.now.pass_(minutes=20)
    await writing.bench.replica.read_hints()
    faults.arm([])
    assert await texts(writing) == ["no 0", "no 1", "no 2"]
    await read_deferred(writing)
    assert await texts(writing) == ["no 0", "changed there", "no 2"]


@pytest.mark.parametrize("mode", ["hard", "soft"])
async def test_a_deleted_record_that_a_client_holds_goes_when_it_is_free(writing: Writing, mode: str) -> None:
    async with writing.bench.database.transaction() as connection:
        await connection.execute("UPDATE nowbridge.replica_table SET delete_mode = %s", (mode,))
    for sys_id in writing.ids[:2]:
        writing.bench.twin.instance.delete("incident", sys_id, user="admin")
    await hint(writing, *writing.ids[:2], deleted=True)
    async with holding(writing, writing.ids[1]), asyncio.timeout(60):
        await writing.bench.replica.read_hints()
        assert await texts(writing) == ["no 1", "no 2"]
    await read_deferred(writing)
    assert await texts(writing) == ["no 2"]
    stones = await writing.bench.rows("SELECT sys_id, record IS NOT NULL FROM nowbridge.tombstone ORDER BY 1")
    assert stones == [(sys_id, mode == "soft") for sys_id in writing.ids[:2]]


async def test_a_comparison_repairs_the_other_rows_and_the_held_one_later(writing: Writing) -> None:
    async with writing.bench.database.transaction() as connection:
        await connection.execute("UPDATE incident SET short_description = 'rotten'")
    writing.bench.twin.instance.clock.advance(10)
    async with holding(writing, writing.ids[1]), asyncio.timeout(60):
        await writing.bench.verify("incident", repair=True)
        assert await texts(writing) == ["no 0", "rotten", "no 2"]
    assert (await writing.bench.verify("incident", repair=True)).repaired == 1
    assert await texts(writing) == ["no 0", "no 1", "no 2"]


async def test_a_record_whose_write_is_under_way_is_no_difference(writing: Writing) -> None:
    writing.bench.twin.instance.clock.advance(10)
    async with await writing.connect() as client:
        statement = "UPDATE incident SET short_description = 'written' WHERE number = 'INC0000001'"
        async with waiting_at_commit(writing, client, statement):
            writing.bench.twin.instance.clock.advance(10)
            verdict = await writing.bench.verify("incident", repair=True)
            assert (verdict.wrong, verdict.pending) == (0, 1)
    assert (await writing.bench.verify("incident")).equal


async def test_a_rename_passes_over_the_held_row_and_comes_back(writing: Writing) -> None:
    async with await writing.connect() as client:
        await client.execute("UPDATE incident SET assigned_to = 'Only One'")
    instance = writing.bench.twin.instance
    async with holding(writing, writing.ids[1]), asyncio.timeout(60):
        async with writing.bench.database.transaction() as connection:
            name = {USER: "Another Name"}
            await labels.remember(connection, writing.bench.connection_id, "sys_user", name, now=writing.bench.now())
        instance.update("sys_user", USER, {"name": "Another Name"}, user="admin")
        await rewrite_renamed(writing.bench.database, writing.bench.connection_id)
        shown = await writing.bench.rows("SELECT assigned_to FROM incident ORDER BY sys_id")
        assert shown == [("Another Name",), ("Only One",), ("Another Name",)]
    await rewrite_renamed(writing.bench.database, writing.bench.connection_id)
    shown = await writing.bench.rows("SELECT assigned_to FROM incident ORDER BY sys_id")
    assert shown == [("Another Name",)] * 3


async def by_poll(writing: Writing) -> None:
    await writing.bench.catch_up()


async def by_hint(writing: Writing) -> None:
    await hint(writing, *(row["sys_id"] for row in writing.stored("incident")))
    await writing.bench.replica.read_hints()


BRING = {"poll": by_poll, "hint": by_hint}


@pytest.mark.parametrize("brought_by", ["poll", "hint"])
async def test_the_echo_of_a_create_that_is_not_committed_holds_nobody_up(writing: Writing, brought_by: str) -> None:
    statement = "INSERT INTO incident (short_description) VALUES ('new here')"
    async with await writing.connect() as client, waiting_at_commit(writing, client, statement):
        writing.change_in_servicenow(writing.ids[0], short_description="changed there")
        await asyncio.wait_for(BRING[brought_by](writing), timeout=60)
        assert await texts(writing) == ["changed there", "no 1", "no 2"]
    assert sorted(map(str, await texts(writing))) == ["changed there", "new here", "no 1", "no 2"]
    before = await writing.rows()
    await read_deferred(writing)
    assert await writing.rows() == before


async def test_an_insert_that_nobody_has_handed_over_yet_holds_nobody_up(writing: Writing) -> None:
    """A client chose the sys_id of a record that is there already; its transaction is open."""
    taken = "7" * 32
    writing.bench.twin.instance.insert("incident", {"sys_id": taken, "short_description": "there"}, user="admin")
    for sys_id in writing.ids:
        writing.change_in_servicenow(sys_id, short_description="changed there")
    async with await writing.connect() as client, client.transaction(force_rollback=True):
        await client.execute("INSERT INTO incident (sys_id, short_description) VALUES (%s, 'mine')", (taken,))
        async with asyncio.timeout(60):
            assert await writing.bench.catch_up() == 3
    await read_deferred(writing)
    assert sorted(map(str, await texts(writing))) == ["changed there"] * 3 + ["there"]


async def test_a_client_that_updates_in_the_opposite_order_meets_no_deadlock(writing: Writing) -> None:
    await writing.more_incidents(40)
    for sys_id in writing.ids:
        writing.change_in_servicenow(sys_id, description="changed there")
    async with await writing.connect() as client:

        async def backwards() -> None:
            async with client.transaction():
                for sys_id in reversed(writing.ids):
                    await client.execute("UPDATE incident SET short_description = 'mine' WHERE sys_id = %s", (sys_id,))

        async with asyncio.timeout(20):
            await asyncio.gather(backwards(), writing.bench.catch_up())
    await read_deferred(writing)
    assert set(await texts(writing)) >= {"mine"}
    held = await writing.bench.rows("SELECT count(*) FROM incident WHERE description = 'changed there'")
    assert held == [(len(writing.ids),)]


async def test_a_later_change_is_not_lost_behind_the_answer_that_the_client_puts_into_its_row(writing: Writing) -> None:
    """The client's row becomes what ServiceNow answered; what came after that is brought when the client is done."""
    async with await writing.connect() as client:
        statement = "UPDATE incident SET short_description = 'written' WHERE number = 'INC0000001'"
        async with waiting_at_commit(writing, client, statement):
            writing.change_in_servicenow(writing.ids[1], description="later")
            await writing.bench.catch_up()
    assert await writing.bench.rows("SELECT description FROM incident WHERE number = 'INC0000001'") == [(None,)]
    await read_deferred(writing)
    shown = await writing.bench.rows(
        "SELECT short_description, description, sys_mod_count FROM incident WHERE number = 'INC0000001'"
    )
    assert shown == [("written", "later", 2)]


async def test_a_row_that_its_client_deletes_is_not_brought_back_by_what_was_read_before(writing: Writing) -> None:
    writing.change_in_servicenow(writing.ids[1], description="read before")
    async with await writing.connect() as client:
        await writing.bench.catch_up()
        writing.change_in_servicenow(writing.ids[0], description="read before")
        async with waiting_at_commit(writing, client, "DELETE FROM incident WHERE number = 'INC0000001'"):
            await hint(writing, *writing.ids[:2])
            await writing.bench.replica.read_hints()
    await read_deferred(writing)
    assert await texts(writing) == ["no 0", "no 2"]


async def test_nobody_who_may_write_by_sql_means_that_the_applier_waits_as_ever(writing: Writing) -> None:
    """Without writable tables the applier asks nothing more than whether there are any."""
    async with writing.bench.database.transaction() as connection:
        await connection.execute("DELETE FROM nowbridge.write_table")
    writing.change_in_servicenow(writing.ids[1], short_description="changed there")
    assert await writing.bench.catch_up() == 1
    assert await writing.bench.rows("SELECT count(*) FROM nowbridge.hint") == [(0,)]


async def test_a_deadlock_is_never_the_clients(writing: Writing) -> None:
    """An owner's statement in the opposite order of the applier's rows, again and again."""
    await writing.more_incidents(20)
    async with await writing.connect() as client:
        for round_ in range(5):
            for sys_id in writing.ids:
                writing.change_in_servicenow(sys_id, description=f"round {round_}")

            async def both_ends() -> None:
                async with client.transaction(force_rollback=True):
                    for sys_id in (writing.ids[-1], writing.ids[0]):
                        await client.execute("SELECT FROM incident WHERE sys_id = %s FOR UPDATE", (sys_id,))

            try:
                await asyncio.gather(both_ends(), writing.bench.catch_up())
            except psycopg.errors.DeadlockDetected:
                pytest.fail("the client met a deadlock")
    await read_deferred(writing)
    held = await writing.bench.rows("SELECT count(*) FROM incident WHERE description = 'round 4'")
    assert held == [(20,)]
