"""A transaction of many rows: sent side by side in batches, all or, as far as ServiceNow allows, none."""

from __future__ import annotations

import psycopg
import pytest

from nowbridge.delivery.deliver import Manner
from nowbridge.writethrough.settling import Settler
from tests.writethrough.conftest import Writing


@pytest.mark.req("Q46", "Q47")
async def test_two_hundred_rows_take_a_few_calls(writing: Writing) -> None:
    await writing.more_incidents(200)
    before = writing.calls()
    async with await writing.connect() as client:
        await client.execute("UPDATE incident SET short_description = 'all of them'")
    assert writing.texts() == {"all of them"}
    since = [(c.method, c.path) for c in writing.bench.twin.instance.calls.entries][before:]
    assert len(since) <= 4 + 9, since  # looks of even size, side by side, and batches of 25


@pytest.mark.req("Q48")
async def test_one_refused_row_takes_the_others_back(writing: Writing) -> None:
    await writing.more_incidents(60)
    writing.rule("if (current.getValue('number') == 'INC0000130') current.setAbortAction(true);")
    before, held = writing.texts(), await writing.rows()
    async with await writing.connect() as client:
        with pytest.raises(psycopg.errors.CheckViolation) as refused:
            await client.execute("UPDATE incident SET short_description = 'all of them'")
    assert writing.texts() == before
    assert await writing.rows() == held
    detail = refused.value.diag.message_detail or ""
    assert "aborted by Business Rule" in detail
    fates = [row["sys_id"] in detail for row in writing.stored("incident")]
    assert "reverted" in detail
    assert "notifications and events that ServiceNow sent for them cannot be taken back: incident " in detail
    assert len(fates) > 60
    assert all(fates), "DETAIL says of each record what became of it"
    await Settler(writing.writer).settle()
    await writing.bench.replica.read_hints()
    texts = {row[0] for row in await writing.bench.rows("SELECT short_description FROM incident")}
    assert texts == before, "also before a poll has told of the versions that reverting made"
    versions = await writing.bench.rows("SELECT sys_id, sys_mod_count FROM incident WHERE sys_mod_count = 2")
    assert versions, "what was written and taken back was read again"
    assert await writing.bench.rows("SELECT settled FROM nowbridge.write_log") == [("reverted",)]


async def test_what_somebody_changed_before_it_could_be_taken_back_stays_and_is_told(writing: Writing) -> None:
    writing.writer.manner = Manner(parallel=1)  # one call, in which the second record comes before the third
    writing.rule(
        "if (current.getValue('number') == 'INC0000002') {"
        " var other = new GlideRecord('incident'); other.get('number', 'INC0000001');"
        " other.setValue('short_description', 'changed by a rule'); other.update(); current.setAbortAction(true); }"
    )
    async with await writing.connect() as client:
        with pytest.raises(psycopg.errors.CheckViolation) as refused:
            await client.execute("UPDATE incident SET short_description = 'all of them'")
    assert writing.texts() == {"no 0", "changed by a rule", "no 2"}
    assert f"incident {writing.ids[1]}: kept (" in (refused.value.diag.message_detail or "")
    await Settler(writing.writer).settle()
    await writing.bench.replica.read_hints()
    texts = await writing.bench.rows("SELECT short_description FROM incident ORDER BY number")
    assert texts == [("no 0",), ("changed by a rule",), ("no 2",)]


@pytest.mark.req("Q48")
async def test_taking_two_hundred_rows_back_takes_a_few_calls(writing: Writing) -> None:
    await writing.more_incidents(200)
    writing.rule("if (current.getValue('number') == 'INC0000299') current.setAbortAction(true);")
    before, texts = writing.calls(), writing.texts()
    async with await writing.connect() as client:
        with pytest.raises(psycopg.errors.CheckViolation):
            await client.execute("UPDATE incident SET short_description = 'all of them'")
    assert writing.texts() == texts
    since = [(c.method, c.path) for c in writing.bench.twin.instance.calls.entries][before:]
    assert len(since) <= 2 * (4 + 9), since  # as many to take back as to write


async def test_a_parent_and_its_children_go_in_their_order(writing: Writing) -> None:
    parent, child = "c" * 32, "d" * 32
    async with await writing.connect() as client:
        await client.execute(
            "INSERT INTO incident (sys_id, short_description, parent_incident__value)"
            " VALUES (%s, 'child', %s), (%s, 'parent', NULL)",
            (child, parent, parent),
        )
    posts = [call.params for call in writing.bench.twin.instance.calls.entries if call.path.endswith("/batch")]
    assert writing.incident(child)["parent_incident"] == parent
    assert writing.incident(parent)["sys_created_on"] <= writing.incident(child)["sys_created_on"]
    assert not posts, "one at a time: the child waits for its parent"


async def test_a_create_that_cannot_be_taken_back_stays_and_is_told(writing: Writing) -> None:
    """The account may create incidents and not delete them."""
    writing.rule("current.setAbortAction(true);", when="before", on="delete")
    writing.rule("if (current.getValue('short_description') == 'never') current.setAbortAction(true);")
    async with await writing.connect() as client:
        with pytest.raises(psycopg.errors.CheckViolation) as refused:
            await client.execute(
                "INSERT INTO incident (sys_id, short_description) VALUES (repeat('e', 32), 'stays'), (repeat('f', 32), 'never')"
            )
    assert "kept" in (refused.value.diag.message_detail or "")
    assert "stays" in writing.texts()
    assert await writing.bench.rows("SELECT count(*) FROM incident") == [(3,)]
    await Settler(writing.writer).settle()
    await writing.bench.replica.read_hints()
    assert await writing.bench.rows("SELECT settled FROM nowbridge.write_log") == [("kept",)]
    assert await writing.bench.rows("SELECT short_description FROM incident WHERE sys_id = repeat('e', 32)") == [
        ("stays",)
    ]


async def test_more_rows_than_allowed_are_refused_before_anything_is_sent(writing: Writing) -> None:
    writing.writer.most_rows = 2
    before = writing.texts()
    async with await writing.connect() as client:
        with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="writes 3 records; 2 are allowed"):
            await client.execute("UPDATE incident SET short_description = 'too many'")
    assert writing.texts() == before


@pytest.mark.trap("16")
async def test_journal_entries_go_last_so_that_a_refusal_leaves_none(writing: Writing) -> None:
    writing.rule("if (current.getValue('number') == 'INC0000002') current.setAbortAction(true);")
    async with await writing.connect() as client:
        with pytest.raises(psycopg.errors.CheckViolation):
            await client.execute("UPDATE incident SET short_description = 'x', work_notes = 'a note'")
    assert writing.stored("sys_journal_field") == []


async def test_a_plan_is_shown_and_nothing_is_written(writing: Writing) -> None:
    before = writing.everything()
    async with await writing.connect() as client:
        cursor = await client.execute(
            "SELECT method, path, fields, refusal FROM nowbridge.plan_write($$"
            "UPDATE incident SET state = 'In Progress', work_notes = 'noted' WHERE number = 'INC0000001'$$)"
        )
        planned = await cursor.fetchall()
        assert (await (await client.execute("SELECT state FROM incident WHERE number = 'INC0000001'")).fetchone()) == (
            "New",
        )
        foreseen = await (
            await client.execute(
                "SELECT refusal FROM nowbridge.plan_write($$UPDATE incident SET short_description = repeat('x', 200)$$)"
                " WHERE refusal IS NOT NULL"
            )
        ).fetchone()
    path = f"/api/now/table/incident/{writing.ids[1]}"
    assert planned == [("PATCH", path, {"state": "2", "work_notes": "noted"}, None)]
    assert foreseen == ("[ServiceNow] Value too long for `short_description`: it takes 160 characters.",)
    assert writing.everything() == before


async def test_many_deletes_must_be_confirmed(writing: Writing) -> None:
    writing.writer.most_deletes = 2
    async with await writing.connect() as client:
        with pytest.raises(
            psycopg.errors.ProgramLimitExceeded, match="deletes 3 records; more than 2 must be confirmed"
        ):
            await client.execute("DELETE FROM incident")
        assert len(writing.texts()) == 3
        await client.execute("SET nowbridge.confirm_deletes = 'on'")
        await client.execute("DELETE FROM incident")
    assert writing.texts() == set()


async def test_a_table_has_its_own_policy_of_deletes(writing: Writing) -> None:
    async with writing.bench.database.transaction() as connection:
        await connection.execute("UPDATE nowbridge.replica_table SET sql_deletes = '1'")
    async with await writing.connect() as client:
        with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="more than 1 must be confirmed"):
            await client.execute("DELETE FROM incident")
        await client.execute("DELETE FROM incident WHERE number = 'INC0000000'")
        async with writing.bench.database.transaction() as connection:
            await connection.execute("UPDATE nowbridge.replica_table SET sql_deletes = 'refuse'")
        await client.execute("SET nowbridge.confirm_deletes = 'on'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not be deleted by SQL"):
            await client.execute("DELETE FROM incident WHERE number = 'INC0000001'")
    assert writing.texts() == {"no 1", "no 2"}


async def test_soft_deletes_keep_the_last_state_of_what_sql_deleted(writing: Writing) -> None:
    async with writing.bench.database.transaction() as connection:
        await connection.execute("UPDATE nowbridge.replica_table SET delete_mode = 'soft'")
    async with await writing.connect() as client:
        await client.execute("DELETE FROM incident WHERE number = 'INC0000001'")
    kept = await writing.bench.rows("SELECT sys_id, source, record->>'short_description' FROM _sync_deleted")
    assert kept == [(writing.ids[1], "sql", "no 1")]
    await writing.bench.catch_up()
    assert await writing.bench.rows("SELECT count(*) FROM incident") == [(2,)]


async def test_a_users_stamp_is_in_every_record_that_it_writes(writing: Writing) -> None:
    await writing.add_user("bea", writes=True, stamp={"correlation_display": "bea by SQL"})
    async with await writing.connect("bea") as client:
        await client.execute("UPDATE incident SET short_description = 'stamped' WHERE number = 'INC0000001'")
        row = await (
            await client.execute("SELECT correlation_display FROM incident WHERE number = 'INC0000001'")
        ).fetchone()
    assert row == ("bea by SQL",)
    assert writing.incident(writing.ids[1])["correlation_display"] == "bea by SQL"
