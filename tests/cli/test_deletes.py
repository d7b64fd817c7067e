"""`nowbridge deletes`, and verify's levels and the last proof on the command line."""

import json

import psycopg
import pytest

from nowtwin.testing import RunningServer
from tests.support.program import Program


@pytest.fixture
async def connected(program: Program, account: RunningServer) -> Program:
    await program.store_connection(account.url)
    return program


def test_deletes_are_shown_held_and_confirmed(connected: Program, database_dsn: str) -> None:
    assert connected.run("replicate", "incident").code == 0
    shown = connected.run("deletes", "incident", "--soft", "--by-sql", "5", "--json").json["tables"][0]
    assert (shown["deletes"], shown["by_sql"]) == ("soft", "5")
    nothing = connected.run("deletes", "incident", "--confirm")
    assert nothing.code == 3
    assert "[deletes.nothing_held]" in nothing.err
    why = {"reason": "too_many", "wanted": 60, "invisible": 0, "rows": 100, "since": "2026-01-01T00:00:00+00:00"}
    with psycopg.connect(database_dsn) as connection:
        connection.execute(
            "INSERT INTO nowbridge.delete_watch (table_id, held) SELECT id, %s FROM nowbridge.replica_table"
            " ON CONFLICT (table_id) DO UPDATE SET held = excluded.held",
            (json.dumps(why),),
        )
    assert "wanted to delete 60 of 100 rows" in connected.run("deletes").out
    assert "nowbridge deletes incident --confirm" in connected.run("status").out
    confirmed = connected.run("deletes", "incident", "--confirm", "--json").json["tables"][0]
    assert confirmed["confirmed"] == 60
    assert "[table.not_replicated]" in connected.run("deletes", "problem").err


def test_the_levels_name_themselves_and_status_shows_the_last_proof(connected: Program) -> None:
    assert connected.run("replicate", "incident").code == 0
    assert connected.run("status", "--json").json["tables"][0]["proof"] is None
    for level, called in (("checked", "checked"), ("proven", "proven"), ("content", "proven by content")):
        ran = connected.run("verify", "--level", level, "--json")
        assert ran.code == 0, ran.err
        assert (ran.json["level"], ran.json["equal"]) == (called, True)
        assert connected.run("status", "--json").json["tables"][0]["proof"]["level"] == called
    assert "proven by content" in connected.run("status").out.replace("\n", " ")
