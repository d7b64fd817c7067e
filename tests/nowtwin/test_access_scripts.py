"""Scripts of access rules: `answer` decides, for pages, single records, new records and columns alike."""

from dataclasses import replace

import pytest

from nowtwin.schema.metadata import row_id
from tests.nowtwin.scripts import errors, logged
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour(
    "1.6", evidence="documentation: exploring-access-control-list.md", switch="access_control"
)

HQ, BARN = "1" * 32, "2" * 32


@pytest.fixture
def guarded(talk: Talk) -> Talk:
    """Access control is on; `ida` is itil, `joe` is nothing, and there are two buildings without rules."""
    instance = talk.instance
    instance.switches = replace(instance.switches, access_control=True)
    instance.add_user("ida", "p", roles=("itil",))
    instance.add_user("joe", "p")
    instance.load("cmn_building", [{"sys_id": HQ, "name": "HQ", "floors": "9"}, {"sys_id": BARN, "name": "Barn"}])
    return talk


def rule(talk: Talk, operation: str, script: str, *, name: str = "cmn_building", **more: str) -> str:
    body = {"name": name, "operation": operation, "type": "record", "active": True, "advanced": True, "script": script}
    made = talk.post("sys_security_acl", body | more)
    assert made.status == 201
    sys_id: str = made.result["sys_id"]
    return sys_id


def names(talk: Talk) -> list[str]:
    return sorted(talk.names("cmn_building", "", "name"))


@pytest.mark.parametrize(
    "script",
    [
        "answer = current.name == 'HQ';",
        "var answer = false; if (current.name == 'HQ') { answer = true; }",
        "current.name == 'HQ'",
        "(function () { return current.getValue('name') === 'HQ'; })();",
        "answer = previous.floors > 3 && gs.hasRole('itil') && gs.getUserName() == 'ida';",
        "var b = new GlideRecord('cmn_building'); b.get(current.sys_id); answer = b.name.startsWith ? false : b.floors == 9;",
        "current.name = 'changed'; answer = current.sys_id == '11111111111111111111111111111111';",
    ],
)
def test_the_answer_of_the_script_decides_for_each_record(guarded: Talk, script: str) -> None:
    rule(guarded, "read", script)
    ida = guarded.as_user("ida", "p")
    assert names(ida) == ["HQ"]
    assert ida.get("table/cmn_building").headers["x-total-count"] == "2"
    assert ida.get(f"table/cmn_building/{HQ}").result["name"] == "HQ"
    assert ida.get(f"table/cmn_building/{BARN}").status == 404
    assert names(guarded) == ["Barn", "HQ"], "an administrator passes"


def test_an_administrator_is_asked_too_where_the_rule_says_so(guarded: Talk) -> None:
    rule(guarded, "read", "answer = current.name == 'HQ';", admin_overrides="false")
    assert names(guarded) == ["HQ"]


def test_roles_condition_and_script_must_all_pass(guarded: Talk) -> None:
    made = rule(guarded, "read", "answer = current.name != 'Barn';", condition="floors>3")
    role = {"sys_security_acl": made, "sys_user_role": row_id("sys_user_role", "itil")}
    guarded.post("sys_security_acl_role", role)
    assert names(guarded.as_user("ida", "p")) == ["HQ"]
    assert names(guarded.as_user("joe", "p")) == []
    guarded.patch("cmn_building", HQ, {"floors": "1"})
    assert names(guarded.as_user("ida", "p")) == []


def test_a_script_that_fails_denies_and_says_so_in_the_log(guarded: Talk) -> None:
    made = rule(guarded, "read", "answer = nowhere.to.be.found;")
    assert names(guarded.as_user("ida", "p")) == []
    assert f"sys_security_acl.{made}.script" in errors(guarded)[0]


def test_a_script_without_end_denies_and_is_not_tried_on_every_record(guarded: Talk) -> None:
    guarded.control("PUT", "switches", {"script_seconds": 1})
    rule(guarded, "read", "while (true) {}")
    assert names(guarded.as_user("ida", "p")) == []
    (told,) = errors(guarded)
    assert told.startswith("Transaction cancelled: maximum execution time exceeded")


def test_writes_and_deletes_ask_the_script_about_the_stored_record(guarded: Talk) -> None:
    rule(guarded, "read", "answer = true;")
    rule(guarded, "write", "answer = current.name == 'HQ';")
    rule(guarded, "delete", "answer = current.floors > 3;")
    ida = guarded.as_user("ida", "p")
    assert ida.patch("cmn_building", HQ, {"notes": "tall"}).status == 200
    refused = ida.patch("cmn_building", BARN, {"notes": "flat"}).error
    assert refused == (403, "Operation Failed", "ACL Exception Update Failed due to security constraints")
    assert ida.delete("cmn_building", BARN).status == 403
    assert ida.delete("cmn_building", HQ).status == 204


def test_a_new_record_is_judged_by_what_it_would_be(guarded: Talk) -> None:
    rule(guarded, "read", "answer = true;")
    rule(guarded, "create", "answer = current.isNewRecord() && current.name == 'Shed';")
    ida = guarded.as_user("ida", "p")
    assert ida.post("cmn_building", {"name": "Shed"}).status == 201
    assert ida.post("cmn_building", {"name": "Tower"}).status == 403


def test_a_condition_too_judges_a_new_record(guarded: Talk) -> None:
    body = {"name": "cmn_building", "operation": "create", "type": "record", "active": True, "condition": "floors<5"}
    guarded.post("sys_security_acl", body)
    ida = guarded.as_user("ida", "p")
    assert ida.post("cmn_building", {"name": "Shed", "floors": "1"}).status == 201
    assert ida.post("cmn_building", {"name": "Tower", "floors": "50"}).status == 403


def test_a_column_is_shown_and_written_where_its_rules_pass(guarded: Talk) -> None:
    rule(guarded, "read", "answer = true;")
    rule(guarded, "write", "answer = true;")
    rule(guarded, "read", "answer = current.name == 'HQ';", name="cmn_building.floors")
    rule(guarded, "write", "", name="cmn_building.notes", condition="name=HQ")
    ida = guarded.as_user("ida", "p")
    rows = ida.rows("cmn_building", "ORDERBYname", sysparm_fields="name,floors")
    assert rows == [{"name": "Barn"}, {"name": "HQ", "floors": "9"}]
    for building, stored in ((HQ, "new"), (BARN, "")):
        ida.patch("cmn_building", building, {"notes": "new", "contact": ""})
        assert guarded.get(f"table/cmn_building/{building}").result["notes"] == stored


def test_a_secure_record_of_a_script_asks_them_as_well(guarded: Talk) -> None:
    rule(guarded, "read", "answer = current.name == 'HQ';")
    rule(guarded, "create", "answer = current.name == 'Shed';")
    script = """var r = new GlideRecordSecure('cmn_building'); r.query(); var found = []; while (r.next()) found.push(r.name + '');
        var made = ['Shed', 'Tower'].map(function (n) { var b = new GlideRecordSecure('cmn_building'); b.name = n; return b.insert() ? 'y' : 'n'; });
        gs.info(found.join() + made.join());"""
    body = {"name": "R", "collection": "incident", "when": "before", "advanced": True, "active": True}
    guarded.post("sys_script", body | {"action_insert": True, "script": script})
    assert guarded.as_user("ida", "p").post("incident", {}).status == 201
    assert logged(guarded) == ["HQy,n"]
