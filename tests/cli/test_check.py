"""`nowbridge check` tells apart what different people have to mend."""

from __future__ import annotations

from urllib.parse import urlsplit

import psycopg
import pytest

from nowbridge.connecting.check import cause_of
from nowtwin.access.hiding import HideRule
from nowtwin.behaviour.faults import FaultRule
from nowtwin.testing import RunningServer
from tests.support.program import PASSWORD, Program


async def test_an_account_that_may_read_everything_passes(program: Program, account: RunningServer) -> None:
    await program.store_connection(account.url)
    ran = program.run("check", "--json")
    assert ran.code == 0, ran.out
    told = ran.json
    assert told["ok"]
    assert told["account"]["user"]["user_name"] == "svc.nowbridge"
    looks = {table["table"]: table for table in told["tables"]}
    assert {"sys_dictionary", "sys_choice", "incident", "sys_user"} <= looks.keys()
    assert looks["incident"] | {"hint": ""} == {
        "table": "incident",
        "total": 5,
        "ok": True,
        "cause": None,
        "code": None,
        "answered": "readable",
        "hint": "",
    }


async def test_it_says_beforehand_whether_sql_writes_are_possible_and_what_an_administrator_runs(
    program: Program, account: RunningServer, superuser_dsn: str, database_dsn: str
) -> None:
    await program.store_connection(account.url)
    possible = program.run("check", "--json").json["sql_writes"]
    assert possible == {"possible": True, "answered": None, "administrator_runs": None}
    name = urlsplit(database_dsn).path.strip("/")
    with psycopg.connect(superuser_dsn, dbname=name, autocommit=True) as superuser:
        superuser.execute("DROP EXTENSION dblink CASCADE")
        ran = program.run("check", "--json")
        told = ran.json["sql_writes"]
        assert (ran.code, told["possible"], told["answered"]) == (0, False, "the extension dblink is not installed")
        shown = program.run("check")
        assert "SQL writes are not possible" in shown.out + shown.err
        refused = program.run("sql-user", "add", "desk", "--write")
        assert (refused.code != 0, "the extension dblink is not installed" in refused.err) == (True, True)
        assert program.run("sql-user", "add", "looker", "--read").code == 0, "all else works"
        assert program.run("sql-user", "remove", "looker").code == 0
        superuser.execute(told["administrator_runs"])
    assert program.run("check", "--json").json["sql_writes"]["possible"]


@pytest.mark.req("H48", "H40", "S4")
async def test_wrong_credentials_missing_roles_and_network_trouble_are_told_apart(
    program: Program, account: RunningServer
) -> None:
    account.instance.add_user("svc.nowbridge", PASSWORD, roles=())
    await program.store_connection(account.url)

    account.instance.faults.arm([FaultRule(kind="status", table="problem", status=403)])
    account.instance.access.rules = [HideRule("incident", user="svc.nowbridge")]
    roles = program.run("check", "--json")
    account.instance.faults.arm([FaultRule(kind="drop_before", table="change_request")])
    network = program.run("check", "--json")
    account.instance.add_user("svc.nowbridge", "changed meanwhile", roles=())
    credentials = program.run("check", "--json")

    assert (roles.code, network.code, credentials.code) == (1, 1, 1)
    failed = {table["table"]: table for table in roles.json["tables"] if not table["ok"]}
    assert {name: table["cause"] for name, table in failed.items() if name in {"problem", "incident"}} == {
        "problem": "roles",
        "incident": "roles",
    }
    assert "none of the first 5 visible" in failed["incident"]["answered"]
    assert failed["problem"]["hint"]
    looks = {table["table"]: table["cause"] for table in network.json["tables"]}
    assert looks["change_request"] == "network"
    assert looks["sys_user"] is None
    assert credentials.json["sign_in"]["cause"] == "credentials"
    assert credentials.json["tables"] == []


async def test_the_table_for_people_says_what_to_do(program: Program, account: RunningServer) -> None:
    await program.store_connection(account.url)
    account.instance.faults.arm([FaultRule(kind="status", table="problem", status=403)])
    ran = program.run("check")
    assert ran.code == 1
    line = next(line for line in ran.out.splitlines() if line.startswith("problem"))
    assert "roles" in line
    assert "1 of " in ran.out


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("auth.refused", "credentials"),
        ("auth.unavailable", "instance"),
        ("rights.table", "roles"),
        ("query.rights", "roles"),
        ("network.certificate", "network"),
        ("instance.hibernating", "instance"),
    ],
)
def test_each_code_has_somebody_who_can_mend_it(code: str, cause: str) -> None:
    assert cause_of(code) == cause
