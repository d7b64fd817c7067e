"""The first hour of a new user, as one story: the embedded database, real demo records, psql, live changes, Ctrl-C."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from nowbridge import wiring
from nowbridge.settings import load
from nowbridge.store.server import embedded
from nowtwin.seeds import load_demo
from nowtwin.testing import RunningServer
from tests.support.program import PASSWORD, SECRETS, Program, Ran, environment_for, interrupt


@pytest.fixture
def newcomer() -> Iterator[Program]:
    """The program on a machine where nothing was made yet."""
    with tempfile.TemporaryDirectory(prefix="nowbridge-") as directory:
        program = Program(environment_for(Path(directory)))
        home = Path(program.environment["NOWBRIDGE_HOME"])
        yield program
        embedded.stop(home, mode="immediate")
        shutil.rmtree((home / "postgres").resolve(), ignore_errors=True)


@pytest.fixture
def stocked(twin: RunningServer) -> RunningServer:
    """The instance with the shipped demo records and an account for Nowbridge."""
    load_demo(twin.instance)
    twin.instance.add_user("svc.nowbridge", PASSWORD, roles=("admin",), first_name="Nowbridge", last_name="Service")
    return twin


def query(program: Program, text: str) -> list[list[str]]:
    """Rows as psql prints them, as the reader."""
    ran = program.run("psql", "--no-psqlrc", "--csv", "--tuples-only", "-c", text)
    assert ran.code == 0, ran.err
    return [line.split(",") for line in ran.out.splitlines()]


@pytest.mark.req("Q17", "Q18", "Q24", "Q25", "Q28", "Q29", "Q30", "Q31", "Q32", "Q33", "Q34", "Q35", "Q36")
@pytest.mark.req("Q37", "Q38", "Q39", "Q40", "Q41", "Q42", "Q43", "Q44", "Q45", "Q23", "Q16")
@pytest.mark.trap("4", "31")
def test_a_new_user_gets_a_live_copy_in_postgres(newcomer: Program, stocked: RunningServer) -> None:
    assert newcomer.run("init").code == 0
    assert newcomer.connect(stocked.url).code == 0
    loaded = newcomer.run("replicate", "--preset", "itsm", "--json")
    assert loaded.code == 0, loaded.err
    tables_are_shown_as_psql_shows_tables(newcomer)
    columns_show_what_people_read(newcomer)
    readers_may_only_read(newcomer)
    changes_arrive_while_it_is_up(newcomer, stocked)
    verified = newcomer.run("verify", "--json")
    assert verified.code == 0, verified.out
    assert verified.json["equal"]
    assert sum(table["rows"] for table in verified.json["tables"]) > 2_000
    nothing_is_left_after_down(newcomer)


def tables_are_shown_as_psql_shows_tables(program: Program) -> None:
    ran = program.run("psql", "--no-psqlrc", "-c", "\\dt")
    lines = [[cell.strip() for cell in line.split("|")] for line in ran.out.splitlines() if line.startswith(" public")]
    shown = {name: (schema, kind, owner) for schema, name, kind, owner in lines}
    for name in ("_sync_cdc", "incident", "problem", "change_request", "service_catalog", "user"):
        assert shown[name] == ("public", "table", "nowbridge")
    assert not any(name.startswith("procrastinate") for name in shown)
    assert query(
        program, "SELECT current_database(), current_user, usesuper FROM pg_user WHERE usename = current_user"
    ) == [["nowbridge", "nowbridge_reader", "f"]]
    assert query(program, 'SELECT count(*) > 400 FROM "user"') == [["t"]]


def columns_show_what_people_read(program: Program) -> None:
    [row] = query(
        program,
        "SELECT short_description, priority, priority__value, state, state__value, assignment_group, assigned_to, closed_at"
        " FROM incident WHERE number = 'INC0000060'",
    )
    assert row == [
        *("Unable to connect to email", "3 - Moderate", "3", "Closed", "7", "Network", "David Loo"),
        "2016-12-14 02:46:44+00",
    ]
    assert query(program, "SELECT count(*) FROM incident WHERE closed_at IS NULL AND active")[0][0] != "0"
    assert query(
        program,
        "SELECT to_char(opened_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), pg_typeof(opened_at), current_setting('TimeZone')"
        " FROM incident WHERE number = 'INC0000060'",
    ) == [["2016-12-12T15:19:57.000Z", "timestamp with time zone", "UTC"]]


def readers_may_only_read(program: Program) -> None:
    for statement in ("DELETE FROM incident", "UPDATE incident SET number = ''", "SELECT * FROM nowbridge.connection"):
        ran = program.run("psql", "--no-psqlrc", "-c", statement)
        assert ran.code != 0
        assert "permission denied" in ran.err
    assert program.run("psql", "--owner", "--no-psqlrc", "-c", "SELECT count(*) FROM nowbridge.connection").code == 0


def changes_arrive_while_it_is_up(program: Program, stocked: RunningServer) -> None:
    up = program.start("up", "--health-port", "0", "--log", "json")
    try:
        incident = next(row for row in stocked.instance.export("incident") if row["number"] == "INC0000060")
        stocked.instance.update("incident", incident["sys_id"], {"short_description": "Changed while it was up"})
        no_secret_stands_in_a_command_line(up)
        with psycopg.connect(reader_dsn(program), autocommit=True) as connection:
            while not arrived(connection, incident["sys_id"]):
                assert up.poll() is None
            row = connection.execute("SELECT short_description FROM task WHERE number = 'INC0000060'").fetchone()
            while row != ("Changed while it was up",):
                row = connection.execute("SELECT short_description FROM task WHERE number = 'INC0000060'").fetchone()
        state = program.run("status", "--json").json
        assert len(state["workers"]) == 1
        assert max(table["age_seconds"] for table in state["tables"]) < 30
    finally:
        code, out, err = interrupt(up)
    assert code == 0, err
    assert not any(secret in out + err for secret in SECRETS)
    assert "Stopped." in err


def arrived(connection: psycopg.Connection, sys_id: str) -> bool:
    row = connection.execute(
        "SELECT changes -> 'short_description' ->> 1 FROM _sync_cdc WHERE table_name = 'incident' AND sys_id = %s"
        " AND operation = 'update' ORDER BY id DESC LIMIT 1",
        (sys_id,),
    ).fetchone()
    return row is not None and row[0] == "Changed while it was up"


def reader_dsn(program: Program) -> str:
    settings = load(program.environment)
    return wiring.reader_dsn(settings, wiring.find_database(settings))


def no_secret_stands_in_a_command_line(process: subprocess.Popen[str]) -> None:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().decode(errors="replace")
        except OSError:
            continue  # it ended meanwhile
        if str(process.pid) in file.parts or "nowbridge" in line or "postgres" in line:
            assert not any(secret in line for secret in SECRETS)


def nothing_is_left_after_down(program: Program) -> None:
    home = Path(program.environment["NOWBRIDGE_HOME"])
    data = os.fsencode((home / "postgres").resolve())
    assert program.run("down").code == 0
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes()
        except OSError:
            continue
        assert data not in line
        assert os.fsencode(home) not in line


def test_up_stops_the_database_that_it_started_itself(newcomer: Program) -> None:
    assert newcomer.run("init").code == 0
    assert newcomer.run("down").code == 0
    up = newcomer.start("up", "--health-port", "0")
    assert up.stderr is not None
    assert "health checks" in up.stderr.readline()
    code, _, err = interrupt(up)
    assert (code, err.strip()) == (0, "Stopped.")
    assert not embedded.status(Path(newcomer.environment["NOWBRIDGE_HOME"])).running


def test_a_database_away_is_told_apart_from_an_instance_away(newcomer: Program, stocked: RunningServer) -> None:
    ran: Ran = newcomer.run("connect", stocked.url, "--auth", "basic", "--username", "x", NOWBRIDGE_PASSWORD="y")
    assert ran.code == 3
    assert "[home.empty]" in ran.err
