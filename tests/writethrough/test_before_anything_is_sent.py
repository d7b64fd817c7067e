"""What is refused, and in which order things would go, before ServiceNow has heard of it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from nowbridge.replica.run import add_tables
from nowbridge.replica.spec import TableSpec
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import NewConnection
from nowbridge.writethrough.enable import enable_writes
from nowtwin.instance import Instance
from nowtwin.testing import RunningServer, serve
from tests.writethrough.conftest import Writing


@pytest.mark.req("Q48")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE incident SET short_description = NULL WHERE number = 'INC0000001'",
        "UPDATE incident SET short_description = '' WHERE number = 'INC0000001'",
        "INSERT INTO incident (category) VALUES ('Software')",
    ],
)
async def test_a_column_that_the_dictionary_makes_mandatory_wants_a_value(writing: Writing, statement: str) -> None:
    async with writing.bench.database.transaction() as connection:
        await connection.execute("UPDATE nowbridge.write_column SET mandatory = true WHERE name = 'short_description'")
    there = writing.everything()
    async with await writing.connect() as client:
        with pytest.raises(psycopg.errors.NotNullViolation, match="`short_description` is mandatory") as refused:
            await client.execute(statement)
        assert refused.value.diag.message_hint == "Give `short_description` a value."
        assert writing.everything() == there
        await client.execute("UPDATE incident SET category = 'Software' WHERE number = 'INC0000002'")
    assert writing.incident(writing.ids[2])["category"] == "software", "an update need not name it"


async def test_a_plan_wants_a_transaction_that_has_written_nothing(writing: Writing) -> None:
    plan = "SELECT * FROM nowbridge.plan_write($$DELETE FROM incident$$)"
    async with await writing.connect() as client:
        await client.execute("BEGIN")
        await client.execute("UPDATE incident SET short_description = 'written' WHERE number = 'INC0000001'")
        with pytest.raises(psycopg.errors.ActiveSqlTransaction, match="has written already"):
            await client.execute(plan)
        await client.execute("ROLLBACK")
        assert len(await (await client.execute(plan)).fetchall()) == 3
    assert writing.texts() == {"no 0", "no 1", "no 2"}


@pytest.mark.trap("16")
async def test_what_cannot_be_taken_back_goes_last(writing: Writing) -> None:
    """Updates, creates with a parent before its child, journal entries, deletes with a child before its parent."""
    zero, one, two = writing.ids
    parent, child = "c" * 32, "d" * 32
    async with await writing.connect() as client:
        await client.execute("UPDATE incident SET parent_incident__value = %s WHERE sys_id = %s", (two, one))
        planned = await (
            await client.execute(
                "SELECT method, coalesce(nullif(substr(path, 25), ''), fields->>'short_description'), fields ? 'work_notes'"
                " FROM nowbridge.plan_write($$WITH gone AS (DELETE FROM incident WHERE sys_id IN ('"
                f"{one}', '{two}')), made AS (INSERT INTO incident (sys_id, short_description, parent_incident__value,"
                f" work_notes) VALUES ('{child}', 'child', '{parent}', 'said'), ('{parent}', 'parent', NULL, NULL))"
                f" UPDATE incident SET short_description = 'new', work_notes = 'why' WHERE sys_id = '{zero}'$$)"
            )
        ).fetchall()
    assert [(method, notes) for method, _, notes in planned] == [
        ("PATCH", False),
        ("POST", False),
        ("POST", False),
        ("PATCH", True),
        ("PATCH", True),
        ("DELETE", False),
        ("DELETE", False),
    ]
    assert [name for method, name, _ in planned if method == "POST"] == ["parent", "child"]
    assert [name for method, name, _ in planned if method == "DELETE"] == [one, two]
    assert {name for _, name, notes in planned if notes} == {zero, child}


@pytest.fixture
def other_twin() -> Iterator[RunningServer]:
    with Instance(seed=2) as instance, serve(instance) as server:
        yield server


async def test_one_transaction_writes_to_one_instance(writing: Writing, other_twin: RunningServer) -> None:
    bench = writing.bench
    other_twin.instance.load("incident", [{"sys_id": "f" * 32, "number": "INC9999999", "short_description": "there"}])
    async with bench.database.transaction() as connection:
        new = NewConnection("emea", other_twin.url, "basic", "admin", None, b"sealed elsewhere")
        owner = await connections.save(connection, new, now=bench.now())
        other = bench.open_replica_of(owner.id, other_twin.url)
        await add_tables(connection, other.instance, owner, [TableSpec("incident")], bench.now)
    await other.prepare()
    await bench.load_shards(other)
    await enable_writes(bench.database, other.instance, owner.id)
    async with await writing.connect() as client:
        await client.execute("BEGIN")
        await client.execute("UPDATE public.incident SET short_description = 'both' WHERE number = 'INC0000001'")
        await client.execute("UPDATE emea.incident SET short_description = 'both'")
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="one instance only"):
            await client.execute("COMMIT")
    assert writing.texts() == {"no 0", "no 1", "no 2"}
    assert await bench.rows("SELECT short_description FROM emea.incident") == [("there",)]


@pytest.mark.trap("14")
async def test_a_write_that_gets_no_connection_out_in_its_time_is_told_so(writing: Writing) -> None:
    async with writing.bench.database.transaction() as holding, await writing.connect() as client:
        await holding.execute("SELECT pg_advisory_xact_lock(28275, slot) FROM generate_series(1, 20) AS slot")
        await client.execute("SET nowbridge.write_timeout = '100ms'")
        with pytest.raises(psycopg.errors.TooManyConnections, match="Too many writes wait"):
            await client.execute("UPDATE incident SET short_description = 'x' WHERE number = 'INC0000001'")
    assert writing.texts() == {"no 0", "no 1", "no 2"}


@pytest.mark.req("Q46", "Q47")
async def test_what_a_state_brings_with_it_is_in_the_row_when_commit_returns(writing: Writing) -> None:
    async with await writing.connect() as client:
        await client.execute(
            "UPDATE incident SET state = 'Resolved', close_code = 'User error', close_notes = 'read the manual'"
            " WHERE number = 'INC0000001'"
        )
        row = await (
            await client.execute(
                "SELECT to_char(resolved_at, 'YYYY-MM-DD HH24:MI:SS'), sys_mod_count, sys_updated_by FROM incident"
                " WHERE number = 'INC0000001'"
            )
        ).fetchone()
    there = writing.incident(writing.ids[1])
    assert there["resolved_at"]
    assert row == (there["resolved_at"], int(there["sys_mod_count"]), there["sys_updated_by"])
