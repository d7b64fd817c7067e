"""Every statement that writes: what a transaction comes to is in ServiceNow when COMMIT returns, and nothing before."""

from __future__ import annotations

import psycopg
import pytest

from nowbridge.writethrough.enable import enable_writes
from tests.writethrough.conftest import Writing

pytestmark = pytest.mark.req("Q26", "Q46", "Q47")


async def test_an_insert_makes_a_record_and_its_computed_columns_are_there_after_commit(writing: Writing) -> None:
    async with await writing.connect() as client:
        made = await (
            await client.execute(
                "INSERT INTO incident (short_description, impact, urgency) VALUES ('new', '1 - High', '1 - High') RETURNING sys_id, number"
            )
        ).fetchone()
        assert made is not None
        sys_id, number = made
        assert number is None, "RETURNING shows the values before ServiceNow"
        row = await (
            await client.execute(
                "SELECT number, priority, sys_mod_count, opened_at IS NOT NULL FROM incident WHERE sys_id = %s",
                (sys_id,),
            )
        ).fetchone()
    there = writing.incident(sys_id)
    assert row == (there["number"], "1 - Critical", 0, True)
    assert there["short_description"] == "new"


async def test_a_record_goes_by_its_name_as_soon_as_it_was_written(writing: Writing) -> None:
    await writing.bench.load("sys_user")
    await enable_writes(writing.bench.database, writing.bench.replica.instance, writing.bench.connection_id)
    async with await writing.connect() as client:
        for name, statement in (
            ("New Name", "INSERT INTO sys_user (user_name, name) VALUES ('new', 'New Name')"),
            ("Other Name", "UPDATE sys_user SET name = 'Other Name' WHERE name = 'New Name'"),
        ):
            await client.execute(statement)
            await client.execute("UPDATE incident SET caller_id = %s WHERE number = 'INC0000001'", (name,))
            row = await (await client.execute("SELECT caller_id FROM incident WHERE number = 'INC0000001'")).fetchone()
            assert row == (name,)
            await client.execute("UPDATE incident SET caller_id = NULL WHERE number = 'INC0000001'")


async def test_a_delete_deletes_the_record(writing: Writing) -> None:
    async with await writing.connect() as client:
        await client.execute("DELETE FROM incident WHERE number = 'INC0000001'")
        assert (await (await client.execute("SELECT count(*) FROM incident")).fetchone()) == (2,)
    assert writing.bench.twin.instance.records.read("incident", writing.ids[1]) is None


async def test_copy_merge_and_common_table_expressions(writing: Writing) -> None:
    async with await writing.connect() as client:
        async with (
            client.cursor() as cursor,
            cursor.copy("COPY incident (short_description, category) FROM STDIN") as copy,
        ):
            await copy.write_row(("copied one", "Software"))
            await copy.write_row(("copied two", None))
        await client.execute(
            "MERGE INTO incident t USING (VALUES ('INC0000000', 'merged')) AS s(number, said) ON t.number = s.number"
            " WHEN MATCHED THEN UPDATE SET short_description = s.said"
            " WHEN NOT MATCHED THEN INSERT (short_description) VALUES (s.said)"
        )
        await client.execute(
            "WITH gone AS (DELETE FROM incident WHERE number = 'INC0000002' RETURNING short_description)"
            " INSERT INTO incident (short_description) SELECT short_description || ' again' FROM gone"
        )
    texts = writing.texts()
    assert texts == {"merged", "no 1", "copied one", "copied two", "no 2 again"}


async def test_an_upsert_updates_what_is_there_and_inserts_what_is_not(writing: Writing) -> None:
    new = "f" * 31 + "0"
    async with await writing.connect() as client:
        await client.execute(
            "INSERT INTO incident (sys_id, short_description) VALUES (%s, 'kept'), (%s, 'fresh')"
            " ON CONFLICT (sys_id) DO UPDATE SET short_description = excluded.short_description",
            (writing.ids[0], new),
        )
    assert writing.incident(writing.ids[0])["short_description"] == "kept"
    assert writing.incident(new)["short_description"] == "fresh"


async def test_a_rollback_sends_nothing(writing: Writing) -> None:
    before = writing.calls()
    async with await writing.connect() as client, client.transaction(force_rollback=True):
        await client.execute("UPDATE incident SET short_description = 'not kept'")
    assert writing.calls() == before
    assert "not kept" not in writing.texts()


async def test_a_transaction_of_several_statements_is_one_write_of_what_it_comes_to(writing: Writing) -> None:
    async with await writing.connect() as client, client.transaction():
        await client.execute("UPDATE incident SET short_description = 'first' WHERE number = 'INC0000000'")
        await client.execute("UPDATE incident SET short_description = 'second' WHERE number = 'INC0000000'")
        await client.execute("UPDATE incident SET short_description = 'there and back' WHERE number = 'INC0000001'")
        await client.execute("UPDATE incident SET short_description = 'no 1' WHERE number = 'INC0000001'")
        await client.execute(
            "INSERT INTO incident (sys_id, short_description) VALUES (repeat('b', 32), 'made and unmade')"
        )
        await client.execute("DELETE FROM incident WHERE sys_id = repeat('b', 32)")
    assert writing.incident(writing.ids[0])["sys_mod_count"] == "1"
    assert writing.incident(writing.ids[1])["sys_mod_count"] == "0"
    assert writing.texts() == {"second", "no 1", "no 2"}


async def test_a_savepoint_that_is_rolled_back_takes_its_changes_with_it(writing: Writing) -> None:
    async with await writing.connect() as client, client.transaction():
        await client.execute("UPDATE incident SET short_description = 'kept' WHERE number = 'INC0000000'")
        async with client.transaction(savepoint_name="s", force_rollback=True):
            await client.execute("UPDATE incident SET short_description = 'lost' WHERE number = 'INC0000001'")
    assert writing.texts() == {"kept", "no 1", "no 2"}


async def test_immediate_constraints_send_at_the_end_of_each_statement(writing: Writing) -> None:
    async with await writing.connect() as client, client.transaction():
        await client.execute("SET CONSTRAINTS ALL IMMEDIATE")
        await client.execute("UPDATE incident SET short_description = 'at once' WHERE number = 'INC0000000'")
        assert writing.incident(writing.ids[0])["short_description"] == "at once"
        row = await (await client.execute("SELECT sys_mod_count FROM incident WHERE number = 'INC0000000'")).fetchone()
        assert row == (1,)
        await client.execute("UPDATE incident SET short_description = 'and again' WHERE number = 'INC0000000'")
        assert writing.incident(writing.ids[0])["short_description"] == "and again"


async def test_a_pipeline_is_one_transaction(writing: Writing) -> None:
    async with await writing.connect() as client, client.pipeline(), client.transaction():
        await client.execute("UPDATE incident SET short_description = 'one' WHERE number = 'INC0000000'")
        await client.execute("UPDATE incident SET short_description = 'two' WHERE number = 'INC0000001'")
    assert writing.texts() == {"one", "two", "no 2"}


@pytest.mark.trap("8")
async def test_repeatable_read_works_and_serializable_is_refused_before_anything_is_sent(writing: Writing) -> None:
    async with await writing.connect() as client:
        await client.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        async with client.transaction():
            await client.execute("UPDATE incident SET short_description = 'repeatable' WHERE number = 'INC0000000'")
        await client.set_isolation_level(psycopg.IsolationLevel.SERIALIZABLE)
        before = writing.calls()
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="READ COMMITTED"):
            async with client.transaction():
                await client.execute("UPDATE incident SET short_description = 'serial' WHERE number = 'INC0000000'")
    assert writing.calls() == before
    assert writing.texts() == {"repeatable", "no 1", "no 2"}


async def test_what_was_written_is_in_the_feed_and_the_echo_changes_nothing(writing: Writing) -> None:
    async with await writing.connect() as client:
        await client.execute("UPDATE incident SET state = 'In Progress' WHERE number = 'INC0000000'")
    feed = "SELECT operation, source, changes->'state', changes->'state__value', changes->'sys_mod_count' FROM _sync_cdc WHERE sys_id IS NOT NULL"
    assert await writing.bench.rows(feed) == [("update", "sql", ["New", "In Progress"], [1, 2], [0, 1])]
    await writing.bench.catch_up()
    assert len(await writing.bench.rows(feed)) == 1, "the change came back by the poll and was known"


async def test_a_journal_entry_is_added_once_each_time_it_is_written(writing: Writing) -> None:
    async with await writing.connect() as client:
        for _ in range(2):
            await client.execute("UPDATE incident SET work_notes = 'the same words' WHERE number = 'INC0000000'")
        row = await (await client.execute("SELECT work_notes FROM incident WHERE number = 'INC0000000'")).fetchone()
    assert row == (None,)
    assert writing.entries(writing.ids[0]) == ["the same words", "the same words"]
