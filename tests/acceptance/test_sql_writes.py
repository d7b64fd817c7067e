"""SQL writes from end to end: a user made by the program, psql of the embedded server, `nowbridge up`, ServiceNow."""

from __future__ import annotations

import subprocess

import pytest

from nowbridge.store.database import Database, client_environment
from nowbridge.store.server import embedded
from nowtwin.testing import RunningServer
from tests.support.program import Program, interrupt
from tests.support.waiting import until


def psql(url: str, statement: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (str(embedded.binary("psql")), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement),
        env=client_environment(url),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.req("Q24", "Q25", "Q26", "Q27", "Q46", "Q47", "Q48", "Q49", "Q50")
async def test_a_user_writes_by_psql_and_an_operator_takes_it_back(program: Program, account: RunningServer) -> None:
    twin = account.instance
    await program.store_connection(account.url)
    assert program.run("replicate", "incident").code == 0
    number = next(iter(twin.export("incident")))["number"]
    up = program.start("up", "--health-port", "0", "--log", "json")
    try:
        async with Database(program.settings.database_url) as database:
            await until(database, "SELECT phase FROM nowbridge.replica_table", "live")
        reader = program.run("sql-user", "add", "looker", "--read")
        writer = program.run("sql-user", "add", "desk", "--write")
        assert writer.code == 0, writer.err
        written = psql(
            writer.out.strip(), f"UPDATE incident SET short_description = 'by psql' WHERE number = '{number}'"
        )
        assert written.stdout == "UPDATE 1\n", written.stderr
        assert next(iter(twin.export("incident")))["short_description"] == "by psql"
        refused = psql(writer.out.strip(), f"UPDATE incident SET state = 'invalid-state' WHERE number = '{number}'")
        assert "ERROR:  [ServiceNow] Value `invalid-state` is not a valid value for `state`." in refused.stderr
        denied = psql(reader.out.strip(), f"UPDATE incident SET short_description = 'x' WHERE number = '{number}'")
        assert "permission denied" in denied.stderr
        (log,) = program.run("writes", "--json").json["writes"]
        assert (log["role"], log["state"]) == ("desk", "done")
        undone = program.run("undo", str(log["id"]), "--json")
        assert undone.json["writes"][0]["state"] == "done", undone.out
        assert next(iter(twin.export("incident")))["short_description"] != "by psql"
        held = psql(reader.out.strip(), f"SELECT short_description FROM incident WHERE number = '{number}'")
        assert held.stdout.strip() != "by psql"
        assert {user["name"] for user in program.run("sql-user", "list", "--json").json["users"]} == {"looker", "desk"}
        assert program.run("sql-user", "remove", "desk").code == 0
        assert program.run("sql-user", "remove", "looker").code == 0
    finally:
        interrupt(up)
