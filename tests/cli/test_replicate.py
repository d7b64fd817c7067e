"""`nowbridge replicate`, `status` and `verify` on a small instance."""

from __future__ import annotations

import subprocess

import psycopg
import pytest

from nowtwin.behaviour.faults import FaultRule, Latency
from nowtwin.testing import RunningServer
from tests.support.program import Program, interrupt


@pytest.fixture
async def connected(program: Program, account: RunningServer) -> Program:
    await program.store_connection(account.url)
    return program


@pytest.mark.req("Q17", "Q36")
def test_every_table_asked_for_is_loaded_without_a_worker(connected: Program, database_dsn: str) -> None:
    ran = connected.run(
        "replicate", "incident", "sys_user=user", "--query", "incident:short_descriptionLIKE3", "--json"
    )
    assert ran.code == 0, ran.err
    assert "does the work itself" in ran.err
    told = ran.json
    assert told["added"] == 2
    assert told["seconds"] > 0
    assert [(table["table"], table["name"], table["phase"], table["rows"]) for table in told["tables"]] == [
        ("incident", "incident", "live", 1),
        ("sys_user", "user", "live", 2),
    ]
    again = connected.run("replicate", "incident")
    assert again.code == 0
    assert "0 tables added, 1 replicated already" in again.err
    with psycopg.connect(database_dsn) as connection:
        row = connection.execute('SELECT count(*) FROM "user" WHERE name IS NOT NULL').fetchone()
    assert row == (2,)


def test_status_is_honest_about_nobody_working(connected: Program) -> None:
    assert "No table is replicated yet" in connected.run("status").out
    assert connected.run("replicate", "incident", "--detach").code == 0
    ran = connected.run("status", "--json")
    assert ran.code == 0
    assert ran.json["workers"] == []
    [table] = ran.json["tables"]
    assert table["phase"] == "planned"
    assert table["rows"] == 0
    assert table["age_seconds"] is None
    assert ran.json["at"].endswith("Z")
    assert "No worker is running" in connected.run("status").out


def test_a_table_that_the_instance_lacks_is_refused_and_none_is_added(connected: Program) -> None:
    ran = connected.run("replicate", "incident", "no_such_table")
    assert ran.code == 3
    assert "[table.unknown]" in ran.err
    assert connected.run("status", "--json").json["tables"] == []


def test_interrupted_the_load_goes_on_from_where_it_stood(connected: Program, account: RunningServer) -> None:
    account.instance.faults.latency = Latency(rtt=0.3)
    process = connected.start("replicate", "incident", "sys_user", "sys_user_group", "core_company")
    assert process.stderr is not None
    for line in process.stderr:
        if "does the work itself" in line:
            break
    code, _, said = interrupt(process)
    assert code == 130
    assert "What is loaded is kept" in said
    account.instance.faults.latency = Latency()
    ran = connected.run("replicate", "incident", "sys_user", "sys_user_group", "core_company", "--json")
    assert ran.code == 0, ran.err
    assert {table["phase"] for table in ran.json["tables"]} == {"live"}


def test_an_error_of_a_load_is_shown_by_status_with_what_to_do(connected: Program, account: RunningServer) -> None:
    assert connected.run("replicate", "incident", "--detach").code == 0
    account.instance.faults.arm([FaultRule(kind="status", table="incident", status=403)])
    worker = connected.start("worker", "--log", "json")
    try:
        while not (tables := connected.run("status", "--json").json["tables"])[0]["error"]:
            assert worker.poll() is None
    finally:
        interrupt(worker)
    assert tables[0]["error"]["code"] == "rights.table"
    assert "[rights.table]" in connected.run("status").out


@pytest.mark.req("Q25")
def test_verify_proves_equality_and_finds_and_repairs_what_differs(connected: Program, database_dsn: str) -> None:
    assert connected.run("replicate", "incident", "sys_user_group").code == 0
    equal = connected.run("verify", "--json")
    assert equal.code == 0
    assert equal.json["equal"]
    assert [(table["table"], table["rows"]) for table in equal.json["tables"]] == [
        ("incident", 5),
        ("sys_user_group", 1),
    ]
    with psycopg.connect(database_dsn) as connection:
        connection.execute(
            "UPDATE incident SET short_description = 'forged' WHERE number = (SELECT min(number) FROM incident)"
        )
        connection.execute("DELETE FROM incident WHERE number = (SELECT max(number) FROM incident)")
    found = connected.run("verify", "incident", "--json")
    assert found.code == 1
    [table] = found.json["tables"]
    assert (table["equal"], table["differing"], table["missing"], table["extra"]) == (False, 1, 1, 0)
    assert "NOT equal" in connected.run("verify", "incident").out
    assert connected.run("verify", "incident", "--repair").code == 0
    assert connected.run("verify", "--json").json["equal"]


def test_verify_says_what_it_cannot_compare(connected: Program) -> None:
    assert "[table.not_replicated]" in connected.run("verify").err
    assert connected.run("replicate", "incident", "--detach").code == 0
    ran = connected.run("verify", "incident")
    assert ran.code == 3
    assert "[table.not_loaded]" in ran.err


def test_a_worker_logs_json_without_secrets_and_leaves_at_sigterm(connected: Program) -> None:
    import json
    import signal

    assert connected.run("replicate", "incident", "--detach").code == 0
    worker = connected.start("worker", "--log", "json")
    lines = _until_logged(worker, "prepared")
    code, _, rest = interrupt(worker, signal.SIGTERM)
    assert code == 0
    entries = [json.loads(line) for line in [*lines, *rest.splitlines()]]
    assert {"event", "level", "timestamp"} <= entries[-1].keys()
    assert not any("password" in line for line in lines)
    assert connected.run("status", "--json").json["workers"] == []


def _until_logged(process: subprocess.Popen[str], event: str) -> list[str]:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if event in line:
            return lines
    raise AssertionError(f"the worker ended without logging {event}: {lines}")
