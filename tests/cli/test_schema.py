"""`nowbridge schema`: what drifted, contracts, and what is confirmed, on the command line and in status."""

import json

import psycopg
import pytest

from nowtwin.testing import RunningServer
from tests.support.program import Program


@pytest.fixture
async def loaded(program: Program, account: RunningServer) -> Program:
    await program.store_connection(account.url)
    assert program.run("replicate", "incident").code == 0
    return program


def note(dsn: str, column: str, state: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO nowbridge.column_state (table_id, column_name, source, state, since, detail)"
            " SELECT id, %s, %s, %s, now(), 'in words' FROM nowbridge.replica_table",
            (column, column, state),
        )


def test_what_has_drifted_is_shown_there_and_in_status(loaded: Program, database_dsn: str) -> None:
    assert "as in ServiceNow" in loaded.run("schema").out
    note(database_dsn, "u_floor", "removed")
    assert "u_floor" in loaded.run("schema").out
    table = loaded.run("schema", "--json").json["tables"][0]
    assert (table["table"], table["contract"], table["learned_from"]) == ("incident", "evolve", "sys_dictionary")
    [column] = table["columns"]
    assert (column["column"], column["state"], column["detail"]) == ("u_floor", "removed", "in words")
    assert "incident: columns removed: u_floor (nowbridge schema incident)" in loaded.run("status").out
    drift = loaded.run("status", "--json").json["tables"][0]["schema_drift"]
    assert drift["columns"] == [column]


def test_a_contract_is_set_and_a_stopped_table_is_accepted(loaded: Program, database_dsn: str) -> None:
    assert loaded.run("schema", "incident", "--contract", "freeze", "--json").json["tables"][0]["contract"] == "freeze"
    assert loaded.run("schema", "--contract", "melt").code == 2
    nothing = loaded.run("schema", "--confirm")
    assert (nothing.code, "[schema.nothing_to_confirm]" in nothing.err) == (3, True)
    why = {"code": "schema.drifted", "asked": "follow incident", "answered": "u_x: new", "hint": "Look."}
    with psycopg.connect(database_dsn) as connection:
        connection.execute("UPDATE nowbridge.replica_table SET stopped = %s", (json.dumps(why),))
    assert "STOPPED" in loaded.run("schema").out
    assert "[schema.drifted]" in loaded.run("status").out
    accepted = loaded.run("schema", "incident", "--confirm")
    assert accepted.code == 0, accepted.err
    assert "are accepted" in accepted.err
    assert loaded.run("schema", "--json").json["tables"][0]["stopped"]["accepted"] is True
    assert "[table.not_replicated]" in loaded.run("schema", "problem").err


async def test_columns_names_and_contract_are_chosen_when_a_table_is_added(
    program: Program, account: RunningServer, database_dsn: str
) -> None:
    await program.store_connection(account.url)
    assert program.run("replicate", "incident", "--columns", "problem:number").code == 2
    assert program.run("replicate", "incident", "--contract", "incident:melt").code == 2
    refused = program.run("replicate", "incident", "--without", "incident:no_such_column")
    assert (refused.code, "[columns.unknown]" in refused.err) == (3, True)
    ran = program.run(
        *("replicate", "incident", "--columns", "incident:number,category=kind", "--contract", "incident:discard")
    )
    assert ran.code == 0, ran.err
    with psycopg.connect(database_dsn) as connection:
        found = connection.execute(
            "SELECT array_agg(column_name::text) FROM information_schema.columns"
            " WHERE table_name = 'incident' AND table_schema = 'public' AND column_name NOT LIKE 'sys_%'"
        ).fetchone()
    assert found is not None
    assert set(found[0]) == {"number", "kind", "kind__value"}
    line = program.run("schema", "--json").json["tables"][0]
    assert line["contract"] == "discard"
    assert line["selection"] == {"include": ["number", "category"], "names": {"category": "kind"}}
