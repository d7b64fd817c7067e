"""The permission report: table, right, column, result, reason and fix; and the script that grants what is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nowbridge.servicenow.grant_script import grant_script
from nowtwin.access.hiding import HideRule
from nowtwin.testing import RunningServer
from tests.support.program import PASSWORD, Program


@pytest.mark.req("H40", "H41", "H42", "H43", "H44", "H45", "H46", "H47")
async def test_every_table_that_an_inventory_push_needs_is_tried(program: Program, account: RunningServer) -> None:
    await program.store_connection(account.url)
    told = program.run("check", "--preset", "inventory", "--json").json
    tried = {right["table"] for right in told["rights"] if right["right"] == "read rows"}
    assert tried >= {"cmdb_model_category", "core_company", "cmdb_model", "sys_user", "cmn_location", "alm_asset"}
    assert "sys_dictionary" in tried


@pytest.mark.req("S64")
async def test_a_column_that_is_left_out_is_named_with_its_reason_and_fix(
    program: Program, account: RunningServer
) -> None:
    account.instance.add_user("svc.nowbridge", PASSWORD, roles=())
    account.instance.access.rules = [HideRule("incident", elements=("sys_updated_on",), user="svc.nowbridge")]
    await program.store_connection(account.url)
    ran = program.run("check", "--json")
    (lacking,) = [right for right in ran.json["rights"] if not right["ok"] and right["table"] == "incident"]
    assert ran.code == 1
    assert (lacking["table"], lacking["right"], lacking["column"]) == ("incident", "read column", "sys_updated_on")
    assert lacking["answered"] == "left out of the rows"
    assert lacking["why"] == "Changes are followed by it."
    assert "incident.sys_updated_on" in lacking["fix"]


@pytest.mark.req("S64", "H48")
async def test_the_script_grants_what_was_missing_and_takes_nothing_from_others(
    program: Program, account: RunningServer, tmp_path: Path
) -> None:
    """Run as a business rule of the twin, which has the same classes as a background script."""
    instance = account.instance
    instance.add_user("svc.nowbridge", PASSWORD, roles=("snc_platform_rest_api_access",))
    instance.switches = replace(instance.switches, access_control=True)
    await program.store_connection(account.url)
    before = program.run("check", "--script", str(tmp_path / "grant.js"), "--json")
    failed = {table["table"] for table in before.json["tables"] if not table["ok"]}
    assert before.code == 1
    assert "incident" in failed

    script = (tmp_path / "grant.js").read_text(encoding="utf-8")
    rule = {"name": "run", "collection": "problem", "when": "before", "advanced": "true", "active": "true"}
    instance.load("sys_script", [rule | {"action_insert": "true", "script": script}])
    for _ in range(2):
        instance.insert("problem", {"short_description": "run it"}, user="admin")
    after = program.run("check", "--json").json
    assert {table["table"] for table in after["tables"] if not table["ok"]} == set()
    again = program.run("check", "--script", str(tmp_path / "again.js"), "--json")
    assert again.code == 0
    assert "var TABLES = [];" in (tmp_path / "again.js").read_text(encoding="utf-8")


def test_names_are_literals_in_the_script() -> None:
    text = grant_script("o'hara\"</script>", ["incident"], [("task", "number")])
    assert 'var USER = "o\'hara\\"</script>";' in text
    assert 'var COLUMNS = [["task", "number"]];' in text
