"""Object-relational mappers and views of the user's own, set up on the replica as on any Postgres database."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import exc
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.ext.automap import automap_base
from sqlalchemy.orm import Session

from nowbridge.store.server.provision import as_role
from nowbridge.writethrough.enable import enable_writes
from tests.support.beside import Ended, run_beside
from tests.writethrough.conftest import PASSWORD, Writing
from tests.writethrough.test_sql_clients import refuse

PROGRAM = Path(__file__).parent / "programs" / "django_story.py"


def engine_of(writing: Writing) -> sqlalchemy.Engine:
    url = as_role(writing.dsn, "ada", PASSWORD).partition("?")[0]
    return sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def mapped(engine: sqlalchemy.Engine) -> Any:  # noqa: ANN401 - a class made of what the catalogue says
    base = automap_base()
    base.prepare(autoload_with=engine, reflection_options={"only": ["incident"]})
    return base.classes.incident


@pytest.mark.req("Q26", "Q27", "Q51")
async def test_sqlalchemy_reflects_keys_types_and_labels(writing: Writing) -> None:
    def story() -> None:
        engine = engine_of(writing)
        table = sqlalchemy.Table("incident", sqlalchemy.MetaData(), autoload_with=engine)
        assert [column.name for column in table.primary_key] == ["sys_id"]
        assert {"state", "state__value", "assigned_to", "assigned_to__value"} <= set(table.columns.keys())
        types = {name: table.columns[name].type for name in ("state__value", "opened_at", "active", "number")}
        assert isinstance(types["state__value"], sqlalchemy.Integer)
        assert isinstance(types["active"], sqlalchemy.Boolean)
        assert isinstance(types["number"], sqlalchemy.Text)
        assert isinstance(types["opened_at"], TIMESTAMP)
        assert types["opened_at"].timezone
        engine.dispose()

    await asyncio.to_thread(story)


@pytest.mark.trap("13")
@pytest.mark.req("Q26", "Q27", "Q47", "Q48", "Q51")
async def test_sqlalchemys_orm_reads_and_writes_records(writing: Writing) -> None:
    refuse(writing)

    def story() -> None:
        engine = engine_of(writing)
        incident = mapped(engine)
        with Session(engine) as session:
            one = session.query(incident).filter_by(number="INC0000001").one()
            one.state = "In Progress"
            session.commit()
            assert (one.state__value, one.sys_mod_count) == (2, 1), "read again after COMMIT, as ServiceNow made it"
            made = incident(sys_id=uuid4().hex, short_description="by an ORM", impact="1 - High", urgency="1 - High")
            session.add(made)
            session.flush()
            number = made.number
            assert number is None, "nothing was sent yet"
            session.commit()
            assert made.number.startswith("INC")
            assert made.priority == "1 - Critical"
            assert made.opened_at.tzinfo == UTC or made.opened_at.utcoffset().total_seconds() == 0
            session.delete(session.query(incident).filter_by(number="INC0000002").one())
            session.commit()
            one.short_description = "bad"
            session.flush()
            with pytest.raises(exc.IntegrityError, match=r"\[ServiceNow\]"):
                session.commit()
            session.rollback()
            assert one.short_description == "no 1"
            one.state = "invalid-state"
            with pytest.raises(exc.IntegrityError, match="is not a valid value for `state`"):
                session.flush()
        engine.dispose()

    await asyncio.to_thread(story)
    assert writing.texts() == {"no 0", "no 1", "by an ORM"}


@pytest.mark.req("Q26", "Q27", "Q51")
async def test_sqlalchemys_orm_needs_no_key_of_ours(writing: Writing) -> None:
    """A new record without a sys_id gets one from the database."""

    def story() -> None:
        engine = engine_of(writing)
        incident = mapped(engine)
        with Session(engine) as session:
            made = incident(short_description="without a key")
            session.add(made)
            session.commit()
            assert len(made.sys_id) == 32
        engine.dispose()

    await asyncio.to_thread(story)
    assert "without a key" in writing.texts()


async def test_a_new_record_names_what_only_servicenow_sets_but_gives_it_no_value(writing: Writing) -> None:
    """ORMs name every column of a new row."""
    async with await writing.connect() as client:
        await client.execute(
            "INSERT INTO incident (sys_id, sys_mod_count, short_description) VALUES ('', NULL, 'made')"
        )
        with pytest.raises(psycopg.errors.GeneratedAlways, match="`sys_mod_count` cannot be written"):
            await client.execute("INSERT INTO incident (sys_mod_count, short_description) VALUES (7, 'not made')")
    assert writing.texts() == {"no 0", "no 1", "no 2", "made"}


@pytest.mark.req("Q51")
async def test_a_column_that_was_removed_in_servicenow_may_be_named_but_not_given_a_value(writing: Writing) -> None:
    """ORMs go on naming it: it is here, with its last values."""
    async with writing.bench.database.transaction() as connection:
        await connection.execute(
            "UPDATE nowbridge.replica_table SET layout = jsonb_set(layout, '{columns}', (SELECT jsonb_agg(CASE"
            " WHEN c->>'name' IN ('close_notes', 'close_code', 'close_code__value')"
            " THEN c || '{\"state\": \"removed\"}' ELSE c END) FROM jsonb_array_elements(layout->'columns') c))"
        )
    await enable_writes(writing.bench.database, writing.bench.replica.instance, writing.bench.connection_id)
    async with await writing.connect() as client:
        await client.execute(
            "INSERT INTO incident (short_description, close_notes, close_code) VALUES ('made', NULL, NULL)"
        )
        await client.execute(
            "UPDATE incident SET short_description = 'saved', close_notes = close_notes, close_code = NULL"
        )
        for column in ("close_notes", "close_code", "close_code__value"):
            with pytest.raises(psycopg.errors.GeneratedAlways, match=f"`{column}` cannot be written"):
                await client.execute(f"UPDATE incident SET {column} = 'a value'")
            with pytest.raises(psycopg.errors.GeneratedAlways, match=f"`{column}` cannot be written"):
                await client.execute(f"INSERT INTO incident ({column}) VALUES ('a value')")
        await client.execute("DELETE FROM incident WHERE number = 'INC0000001'")
    assert writing.texts() == {"saved"}


async def django(writing: Writing, story: str, folder: Path) -> Ended:
    parts = urlsplit(as_role(writing.dsn, "ada", PASSWORD))
    environment = {
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port),
        "PGDATABASE": parts.path[1:],
        "PGUSER": "ada",
        "PGPASSWORD": unquote(parts.password or ""),
        "PYTHONPATH": str(folder),
    }
    return await run_beside(sys.executable, str(PROGRAM), story, environment=environment)


@pytest.mark.trap("13")
@pytest.mark.req("Q26", "Q27", "Q47", "Q48", "Q51")
async def test_django_writes_with_the_models_that_inspectdb_prints(writing: Writing, tmp_path: Path) -> None:
    refuse(writing)
    printed = await django(writing, "inspect", tmp_path)
    assert printed.code == 0, printed.err
    assert (
        "sys_id = models.TextField(primary_key=True" in printed.out
        or "sys_id = models.CharField(primary_key=True" in printed.out
    )
    # Models stand in an application; told here, since the story has none.
    source = printed.out.replace("    class Meta:\n", "    class Meta:\n        app_label = 'story'\n")
    (tmp_path / "models.py").write_text(source)
    ended = await django(writing, "write", tmp_path)
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    refusals = told.pop("refusals")
    assert told == {
        "was": "New",
        "key": "sys_id",
        "is": ["In Progress", 2, 1],
        "saved": ["saved whole", "In Progress", 2],
        "not saved": "[ServiceNow] `sys_created_by` cannot be written.",
        "updated": 1,
        "made before": None,
        "made": ["1 - Critical", True, True],
        "deleted": 1,
        "user": "ada",
    }
    assert refusals[0] == [
        "execute",
        "IntegrityError",
        "[ServiceNow] Value `invalid-state` is not a valid value for `state`.",
    ]
    assert refusals[1][:2] == ["commit", "IntegrityError"]
    assert refusals[1][2].startswith("[ServiceNow] Update a record in incident")
    assert writing.texts() == {"by a query set", "saved whole", "by django"}


@pytest.mark.req("Q51", "Q52", "Q53")
async def test_a_user_makes_views_on_the_replica_and_writes_through_them(writing: Writing) -> None:
    async with writing.bench.database.transaction() as connection:
        await connection.execute("CREATE SCHEMA reports")
        await connection.execute("GRANT USAGE, CREATE ON SCHEMA reports TO ada")
    async with await writing.connect() as client:
        await client.execute(
            "CREATE VIEW reports.open WITH (security_invoker) AS"
            " SELECT number, state, short_description FROM incident WHERE active IS NOT FALSE WITH CHECK OPTION"
        )
        await client.execute("UPDATE reports.open SET state = 'In Progress' WHERE number = 'INC0000001'")
        row = await (await client.execute("SELECT state FROM reports.open WHERE number = 'INC0000001'")).fetchone()
        assert row == ("In Progress",)
        with pytest.raises(psycopg.errors.CheckViolation):
            await client.execute("UPDATE reports.open SET state = 'invalid-state' WHERE number = 'INC0000001'")
    assert writing.incident(writing.ids[1])["state"] == "2"
    await writing.bench.catch_up()
    async with await writing.connect() as client:
        await client.execute("DROP VIEW reports.open")
