"""`nowbridge hooks`: installed twice, upgraded, edited by hand, removed without a rest; a file to load by hand."""

import stat
from pathlib import Path
from typing import Any

import pytest

from nowbridge.servicenow import hook_rule
from nowbridge.store.database import Database
from nowbridge.store.instances.hooks import by_name
from nowtwin.testing import RunningServer
from tests.support.program import PASSWORD, Program, Ran

ADMIN_PASSWORD = "only-for-this-call-8812"
URL = "http://127.0.0.1:8765/hooks/twin"


@pytest.fixture
async def ordered(program: Program, account: RunningServer) -> Program:
    """A connection whose account is no administrator, and two tables, one of them below the other."""
    account.instance.add_user("boss", ADMIN_PASSWORD, roles=("admin",))
    await program.store_connection(account.url)
    done = program.run("replicate", "task", "incident", "sys_user_group", "--detach")
    assert done.code == 0, done.err
    return program


def hooks(program: Program, *arguments: str) -> Ran:
    done = program.run("hooks", *arguments, "--admin-user", "boss", NOWBRIDGE_ADMIN_PASSWORD=ADMIN_PASSWORD)
    assert ADMIN_PASSWORD not in done.out + done.err
    return done


def done_by(ran: Ran) -> dict[str, str]:
    assert ran.code == 0, ran.err
    return {one["what"]: one["done"] for one in ran.json["done"]}


def ours(twin: RunningServer) -> list[dict[str, Any]]:
    rules = [row for row in twin.instance.export("sys_script") if str(row["name"]).startswith("Nowbridge")]
    return sorted(rules, key=lambda row: str(row["collection"]))


def everything(twin: RunningServer) -> dict[str, list[dict[str, Any]]]:
    return {
        table: list(twin.instance.export(table)) for table in ("sys_script", "sys_properties", "sys_script_include")
    }


@pytest.mark.req("Q20", "Q21")
async def test_installed_twice_upgraded_edited_and_removed(ordered: Program, account: RunningServer) -> None:
    before = everything(account)
    first = done_by(hooks(ordered, "install", "--json"))
    assert {first[name] for name in ("task", "sys_user_group")} == {"made"}
    assert "incident" not in first  # the rule on task tells of incidents too
    assert [row["collection"] for row in ours(account)] == ["sys_user_group", "task"]
    assert {str(row["when"]) for row in ours(account)} == {"async_always"}
    written = ours(account)

    assert set(done_by(hooks(ordered, "install", "--json")).values()) == {"unchanged"}
    assert ours(account) == written

    task = written[1]
    hook_id = str(task["name"]).rpartition(" ")[2]
    older = hook_rule.rule_values(hook_id, "task", version=0)
    account.instance.update("sys_script", task["sys_id"], {"script": older["script"]}, user="boss")
    assert status_of(ordered)["incident"]["rule"] == "older version"
    assert done_by(hooks(ordered, "install", "--json"))["task"] == "upgraded"

    edited = {"script": ours(account)[1]["script"] + "// mine"}
    account.instance.update("sys_script", task["sys_id"], edited, user="boss")
    assert status_of(ordered)["task"]["rule"] == "edited by hand"
    assert done_by(hooks(ordered, "install", "--json"))["task"] == "kept: edited by hand"
    assert str(ours(account)[1]["script"]).endswith("// mine")
    assert done_by(hooks(ordered, "install", "--force", "--json"))["task"] == "restored"
    assert [row["script"] for row in ours(account)] == [row["script"] for row in written]

    account.instance.update("sys_script", task["sys_id"], {"active": "false"}, user="boss")
    assert (status_of(ordered)["task"]["rule"], status_of(ordered)["task"]["active"]) == ("switched off by hand", False)

    assert set(done_by(hooks(ordered, "remove", "--json")).values()) == {"removed"}
    assert everything(account) == before
    async with Database(ordered.settings.database_url) as database, database.transaction() as connection:
        assert await by_name(connection, "twin") is None
    again = hooks(ordered, "remove")
    assert (again.code, "hooks.none" in again.err) == (3, True)


def status_of(program: Program) -> dict[str, dict[str, Any]]:
    ran = hooks(program, "status", "--json")
    assert ran.code == 0, ran.err
    return {table["table"]: table for table in ran.json["tables"]}


async def test_one_table_at_a_time(ordered: Program, account: RunningServer) -> None:
    assert "task" not in done_by(hooks(ordered, "install", "incident", "--json"))
    assert [row["collection"] for row in ours(account)] == ["incident"]
    assert done_by(hooks(ordered, "install", "task", "--json"))["incident"] == "removed"
    assert [row["collection"] for row in ours(account)] == ["task"]
    done_by(hooks(ordered, "install", "sys_user_group", "--json"))
    assert done_by(hooks(ordered, "remove", "task", "--json")) == {"task": "removed"}
    assert [row["collection"] for row in ours(account)] == ["sys_user_group"]
    assert status_of(ordered)["task"]["rule"] == "missing"


async def test_another_secret_changes_a_property_and_no_rule(ordered: Program, account: RunningServer) -> None:
    done_by(hooks(ordered, "install", "--json"))
    rules = ours(account)
    changed = done_by(hooks(ordered, "install", "--new-secret", "--url", URL, "--json"))
    assert sorted(changed.values()) == ["changed", "unchanged", "unchanged", "unchanged"]
    assert ours(account) == rules
    [secret] = [row for row in account.instance.export("sys_properties") if str(row["name"]).endswith(".secret")]
    assert secret["read_roles"] == "admin"
    assert secret["is_private"] in {"1", "true"}
    assert all(str(secret["value"]) not in str(row["script"]) for row in rules)


async def test_a_file_to_load_by_hand_makes_what_an_installation_makes(
    ordered: Program, account: RunningServer, tmp_path: Path
) -> None:
    file = tmp_path / "hooks.xml"
    done = ordered.run("hooks", "export", str(file), "--url", URL)
    assert done.code == 0, done.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    account.instance.install_app(file)
    assert set(done_by(hooks(ordered, "install", "--json")).values()) == {"unchanged"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("install", "--url", "http://bridge.example.com/hooks/twin"), "https is needed"),
        (("install", "--url", "https://bridge.example.com/"), "/hooks/CONNECTION"),
        (("install", "problem"), "table.not_replicated"),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_sent(
    ordered: Program, account: RunningServer, arguments: tuple[str, ...], said: str
) -> None:
    account.instance.calls.clear()
    done = hooks(ordered, *arguments)
    assert done.code in {2, 3}
    assert said in done.err.replace("\n", " ")
    assert ours(account) == []


async def test_a_wrong_password_is_refused_and_nothing_is_kept(ordered: Program, account: RunningServer) -> None:
    done = ordered.run("hooks", "install", "--admin-user", "boss", NOWBRIDGE_ADMIN_PASSWORD="wrong-one-4711")
    assert (done.code, "auth.refused" in done.err) == (3, True)
    assert "wrong-one-4711" not in done.err
    async with Database(ordered.settings.database_url) as database, database.transaction() as connection:
        assert await by_name(connection, "twin") is None
    assert ours(account) == []
    assert PASSWORD not in done.err
