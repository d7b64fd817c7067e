"""No SQL user gets past the triggers, into the internals, or to more rights than were given (traps.md, A)."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import TupleRow

from nowbridge.store.server.provision import as_role
from tests.writethrough.conftest import PASSWORD, Writing

REFUSED = psycopg.errors.InsufficientPrivilege


@pytest.mark.trap("1")
async def test_a_writer_cannot_use_the_loop_back_connection_that_a_write_opened(writing: Writing) -> None:
    async with await writing.connect() as client:
        await client.execute("UPDATE incident SET short_description = 'opened it' WHERE number = 'INC0000000'")
        for attack in (
            "SELECT * FROM nowbridge_dblink.dblink('nowbridge_loopback', 'SELECT current_user') AS t(u text)",
            "SELECT nowbridge_dblink.dblink_exec('nowbridge_loopback', 'ALTER ROLE ada SUPERUSER')",
            "SELECT nowbridge_dblink.dblink_connect('mine', 'nowbridge_loopback')",
            "SELECT nowbridge_dblink.dblink_get_connections()",
        ):
            with pytest.raises(REFUSED):
                await client.execute(attack)


@pytest.mark.trap("1")
async def test_the_loop_back_role_can_do_nothing_but_hand_over(writing: Writing) -> None:
    async with writing.bench.database.transaction() as connection:
        row = await (
            await connection.execute(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE 'nowbridge_loop%' AND has_schema_privilege(rolname, 'nowbridge', 'USAGE')"
            )
        ).fetchone()
        assert row is not None
        verifier = connection.pgconn.encrypt_password(PASSWORD.encode(), row[0].encode(), b"scram-sha-256").decode()
        await connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(row[0]), sql.Literal(verifier))
        )
    async with await psycopg.AsyncConnection.connect(as_role(writing.dsn, row[0], PASSWORD), autocommit=True) as loop:
        for attack in (
            "SELECT * FROM incident",
            "SELECT * FROM nowbridge.write_log",
            "SELECT sealed FROM nowbridge.connection",
            "CREATE TABLE t ()",
        ):
            with pytest.raises(REFUSED):
                await loop.execute(attack)
        with pytest.raises(REFUSED, match="no transaction"):
            await loop.execute("SELECT nowbridge.submit_write(1, '3', 'ada', '', '', 'write', false, '[]')")


@pytest.mark.trap("2")
@pytest.mark.parametrize(
    "bypass",
    [
        "SET nowbridge.apply = 'on'",
        "SET sync.origin = 'nowbridge'",
        "SET search_path = pg_temp, public",
        "SET application_name = 'nowbridge'",
    ],
)
async def test_no_setting_turns_the_triggers_off(writing: Writing, bypass: str) -> None:
    async with await writing.connect() as client:
        await client.execute(bypass)
        await client.execute("UPDATE public.incident SET short_description = 'sent' WHERE number = 'INC0000000'")
    assert "sent" in writing.texts()


@pytest.mark.trap("2")
async def test_what_could_silence_triggers_is_refused(writing: Writing) -> None:
    async with await writing.connect() as client:
        for attack in (
            "SET session_replication_role = replica",
            "SET ROLE nowbridge",
            "SET SESSION AUTHORIZATION nowbridge",
            "ALTER TABLE incident DISABLE TRIGGER ALL",
            "ALTER TABLE incident ADD COLUMN mine text",
            "DROP TRIGGER nowbridge_update ON incident",
            "CREATE TRIGGER mine BEFORE UPDATE ON incident FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "TRUNCATE incident",
            "SELECT pg_read_file('postgresql.conf')",
        ):
            with pytest.raises(REFUSED):
                await client.execute(attack)


@pytest.mark.trap("3")
async def test_temporary_tables_of_our_names_catch_nothing(writing: Writing) -> None:
    async with await writing.connect() as client:
        await client.execute("CREATE TEMP TABLE ticket (xid xid8, statement text)")
        await client.execute("CREATE TEMP TABLE pending (LIKE ticket)")
        await client.execute("CREATE TEMP TABLE write_log (LIKE ticket)")
        await client.execute("SET search_path = pg_temp, public, nowbridge")
        await client.execute("UPDATE incident SET short_description = 'sent' WHERE number = 'INC0000000'")
    assert "sent" in writing.texts()


@pytest.mark.trap("3")
async def test_every_function_of_ours_is_closed_to_the_public_and_has_a_fixed_path(writing: Writing) -> None:
    rows = await writing.bench.rows(
        "SELECT p.proname, p.prosecdef, p.proconfig, EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0) OR p.proacl IS NULL"
        " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'nowbridge'"
    )
    assert len(rows) > 15
    assert [name for name, _, _, public in rows if public] == []
    path = "search_path=pg_catalog, nowbridge, pg_temp"
    assert [name for name, definer, config, _ in rows if definer and path not in (config or [])] == []


@pytest.mark.trap("1")
async def test_every_function_refuses_a_reader_and_all_but_the_planning_ones_a_writer(writing: Writing) -> None:
    await writing.add_user("rea", writes=False)
    for user, allowed in (("rea", set[str]()), ("ada", {"plan_write", "pending_now", "plan_changes"})):
        callable_by = await writing.bench.rows(
            "SELECT DISTINCT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
            f" WHERE n.nspname IN ('nowbridge', 'nowbridge_dblink') AND has_function_privilege('{user}', p.oid, 'EXECUTE')"
        )
        assert {name for (name,) in callable_by} == allowed


async def test_a_reader_cannot_write_and_nobody_sees_the_internals(writing: Writing) -> None:
    await writing.add_user("rea", writes=False)
    async with await writing.connect("rea") as reader:
        assert (await (await reader.execute("SELECT count(*) FROM incident")).fetchone()) == (3,)
        for attack in (
            "UPDATE incident SET short_description = 'x'",
            "DELETE FROM incident",
            "INSERT INTO incident DEFAULT VALUES",
        ):
            with pytest.raises(REFUSED):
                await reader.execute(attack)
    internals = ("connection", "write_log", "pending", "sql_user", "choice", "label")
    for user in ("rea", "ada"):
        async with await writing.connect(user) as client:
            for statement in (sql.SQL("SELECT * FROM nowbridge.{}").format(sql.Identifier(name)) for name in internals):
                await is_refused(client, statement)


async def is_refused(client: psycopg.AsyncConnection[TupleRow], statement: sql.Composed) -> None:
    with pytest.raises(REFUSED):
        await client.execute(statement)


async def test_a_user_of_some_tables_sees_only_those(writing: Writing) -> None:
    await writing.bench.load("sys_user_group")
    await writing.add_user("rea", writes=False, tables=["sys_user_group"])
    async with await writing.connect("rea") as reader:
        await reader.execute("SELECT * FROM sys_user_group")
        with pytest.raises(REFUSED):
            await reader.execute("SELECT * FROM incident")


@pytest.mark.parametrize(
    "text", ["'); DROP TABLE incident; --", "$body$; END", "%s %(x)s {0}", '"],"state":["1', "a\\nb\tc\x01"]
)
async def test_no_value_gets_out_of_its_place(writing: Writing, text: str) -> None:
    async with await writing.connect() as client:
        await client.execute("UPDATE incident SET short_description = %s WHERE number = 'INC0000000'", (text,))
        row = await (
            await client.execute("SELECT short_description FROM incident WHERE number = 'INC0000000'")
        ).fetchone()
    assert row == (text,)
    assert text in writing.texts()


async def test_each_sees_the_log_of_their_own_writes(writing: Writing) -> None:
    await writing.add_user("bob", writes=True)
    async with await writing.connect() as client:
        await client.execute("UPDATE incident SET short_description = 'of ada' WHERE number = 'INC0000000'")
        seen = await (
            await client.execute("SELECT role, statement, state, outcome->0->>'fate' FROM _sync_writes")
        ).fetchall()
    assert seen == [
        ("ada", "UPDATE incident SET short_description = 'of ada' WHERE number = 'INC0000000'", "done", "done")
    ]
    async with await writing.connect("bob") as client:
        assert (await (await client.execute("SELECT count(*) FROM _sync_writes")).fetchone()) == (0,)
