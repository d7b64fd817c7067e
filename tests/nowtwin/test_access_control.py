"""Roles and access control lists (D:platform-security/access-control; servicenow-api.md 1.6)."""

from dataclasses import replace

import pytest

from nowtwin.schema.metadata import row_id
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour(
    "1.6", evidence="measured by others: LH; documentation: exploring-access-control-list.md", switch="access_control"
)

MINE, OTHER = "1" * 32, "2" * 32


@pytest.fixture
def guarded(talk: Talk) -> Talk:
    """Access control is on; `joe` has no roles, `ida` is itil, and two incidents exist, one of which joe called in."""
    instance = talk.instance
    instance.switches = replace(instance.switches, access_control=True)
    joe = instance.add_user("joe", "p")
    instance.add_user("ida", "p", roles=("itil",))
    instance.load(
        "incident",
        [
            {"sys_id": MINE, "short_description": "mine", "caller_id": joe, "number": "INC1", "category": "network"},
            {"sys_id": OTHER, "short_description": "other", "number": "INC2"},
        ],
    )
    instance.load("problem", [{"short_description": "a problem"}])
    return talk


def _rule(talk: Talk, name: str, operation: str, roles: tuple[str, ...] = (), condition: str = "", **more: str) -> None:
    """A rule made through the API, as an administrator makes one."""
    body = {"name": name, "operation": operation, "type": "record", "active": "true", "condition": condition, **more}
    rule = talk.post("sys_security_acl", body).result["sys_id"]
    for role in roles:
        talk.post("sys_security_acl_role", {"sys_security_acl": rule, "sys_user_role": row_id("sys_user_role", role)})


def test_without_roles_a_list_is_empty_and_counted_in_full(guarded: Talk) -> None:
    reply = guarded.as_user("joe", "p").get("table/problem")
    assert (reply.status, reply.result, reply.headers["x-total-count"]) == (200, [], "1")


def test_a_condition_grants_ones_own_records(guarded: Talk) -> None:
    joe = guarded.as_user("joe", "p")
    assert joe.names("incident", "") == ["mine"]
    assert joe.get(f"table/incident/{OTHER}").error == (
        404,
        "No Record found",
        "Record doesn't exist or ACL restricts the record retrieval",
    )


def test_a_parent_table_shows_the_classes_that_one_may_read(guarded: Talk) -> None:
    guarded.instance.add_user("ivy", "p", roles=("sn_incident_read",))
    ivy = guarded.as_user("ivy", "p")
    assert {row["sys_class_name"] for row in ivy.rows("task")} == {"incident"}
    assert ivy.get("table/task").headers["x-total-count"] == "3"
    assert len(guarded.as_user("ida", "p").rows("task")) == 3
    assert len(guarded.rows("task")) == 3


def test_roles_come_from_groups_and_from_containing_roles(guarded: Talk) -> None:
    joe = guarded.as_user("joe", "p")
    user, group = row_id("sys_user", "joe"), "9" * 32
    guarded.post("sys_user_group", {"sys_id": group, "name": "Desk"})
    guarded.post("sys_user_grmember", {"user": user, "group": group})
    assert len(joe.rows("incident")) == 1
    granted = guarded.post("sys_group_has_role", {"group": group, "role": row_id("sys_user_role", "itil")}).result
    assert len(joe.rows("incident")) == 2
    guarded.delete("sys_group_has_role", granted["sys_id"])
    assert len(joe.rows("incident")) == 1
    guarded.post("sys_user_has_role", {"user": user, "role": row_id("sys_user_role", "incident_manager")})
    assert len(joe.rows("incident")) == 2
    assert joe.patch("incident", OTHER, {"short_description": "managed"}).status == 200


def test_writes_need_their_own_rules(guarded: Talk) -> None:
    guarded.instance.add_user("ivy", "p", roles=("sn_incident_read",))
    ivy = guarded.as_user("ivy", "p")
    detail = "ACL Exception {} Failed due to security constraints"
    assert ivy.post("incident", {}).error == (403, "Operation Failed", detail.format("Insert"))
    assert ivy.patch("incident", OTHER, {"short_description": "x"}).error[2] == detail.format("Update")
    assert ivy.delete("incident", OTHER).error[2] == detail.format("Delete")
    ida = guarded.as_user("ida", "p")
    assert ida.post("incident", {"short_description": "new"}).status == 201
    assert ida.delete("incident", OTHER).status == 403
    assert guarded.delete("incident", OTHER).status == 204


def test_a_column_without_write_right_is_left_as_it_is_without_a_word(guarded: Talk) -> None:
    _rule(guarded, "incident.category", "write", ("itil_admin",))
    ida = guarded.as_user("ida", "p")
    record = ida.patch("incident", MINE, {"category": "software", "short_description": "changed"})
    assert record.status == 200
    assert (record.result["category"], record.result["short_description"]) == ("network", "changed")
    made = ida.post("incident", {"category": "software"}).result
    assert made["category"] == "inquiry", "create reuses the conditions of write"


def test_an_unreadable_column_is_absent_and_cannot_be_queried(guarded: Talk) -> None:
    _rule(guarded, "task.description", "read", ("admin",))
    guarded.instance.update("incident", MINE, {"description": "secret"})
    ida = guarded.as_user("ida", "p")
    assert all("description" not in row for row in ida.rows("incident"))
    assert "description" in guarded.rows("incident")[0]
    refused = (
        403,
        "Insufficient rights to query records",
        "Field(s) present in the query do not have permission to be read",
    )
    for query in ("description=secret", "descriptionLIKEs^state=1", "ORDERBYdescription", "parent.descriptionISEMPTY"):
        assert ida.get("table/incident", sysparm_query=query).error == refused
    assert ida.rows("incident", sysparm_fields="description,parent.description,number")[0].keys() == {"number"}


def test_a_field_rule_with_a_condition_shows_the_column_of_some_records(guarded: Talk) -> None:
    _rule(guarded, "incident.category", "read", condition="number=INC1")
    rows = guarded.as_user("ida", "p").rows("incident", "ORDERBYnumber", sysparm_fields="number,category")
    assert rows == [{"number": "INC1", "category": "network"}, {"number": "INC2"}]


def test_range_queries_may_be_guarded_apart(guarded: Talk) -> None:
    _rule(guarded, "incident.number", "query_range", ("admin",))
    ida = guarded.as_user("ida", "p")
    assert ida.names("incident", "number=INC1") == ["mine"]
    assert ida.get("table/incident", sysparm_query="numberSTARTSWITHINC").status == 403
    assert ida.get("table/incident", sysparm_query="ORDERBYnumber").status == 403


def test_any_rule_of_any_level_grants_and_a_deny_unless_rule_overrides(guarded: Talk) -> None:
    _rule(guarded, "problem", "read", ("snc_read_only",))
    assert len(guarded.as_user("ida", "p").rows("problem")) == 1
    _rule(guarded, "problem", "read", ("snc_read_only",), decision_type="deny")
    assert guarded.as_user("ida", "p").rows("problem") == []


def test_an_empty_rule_denies(guarded: Talk) -> None:
    guarded.instance.load("cmn_building", [{"name": "HQ"}])
    ida = guarded.as_user("ida", "p")
    _rule(guarded, "cmn_building", "read")
    assert ida.rows("cmn_building") == []
    _rule(guarded, "cmn_building", "read", ("itil",))
    assert len(ida.rows("cmn_building")) == 1


def test_a_table_without_rules_is_for_administrators_unless_the_default_mode_allows(guarded: Talk) -> None:
    guarded.instance.load("cmn_building", [{"name": "HQ"}])
    ida = guarded.as_user("ida", "p")
    assert ida.rows("cmn_building") == []
    assert len(guarded.rows("cmn_building")) == 1
    (mode,) = guarded.rows("sys_properties", "name=glide.sm.default_mode")
    guarded.patch("sys_properties", mode["sys_id"], {"value": "allow"})
    assert len(ida.rows("cmn_building")) == 1


def test_measured_rights_of_metadata(guarded: Talk) -> None:
    ida = guarded.as_user("ida", "p")
    assert ida.rows("sys_dictionary", "name=incident") == []
    assert int(ida.get("table/sys_dictionary", sysparm_limit=1).headers["x-total-count"]) > 3000
    assert ida.rows("sys_properties") == []
    _rule(guarded, "sys_choice", "read", ("itil",))
    (choice, *_) = ida.rows("sys_choice", sysparm_limit=5)
    assert "label" in choice
    assert {"name", "element", "value"}.isdisjoint(choice)
    assert ida.get("table/sys_choice", sysparm_query="name=incident^element=state").status == 403


def test_aggregates_look_at_roles_only(guarded: Talk) -> None:
    assert guarded.as_user("joe", "p").get("stats/problem", sysparm_count="true").status == 403
    joe = guarded.as_user("joe", "p").get("stats/incident", sysparm_count="true")
    assert joe.result["stats"]["count"] == "2"


def test_everything_is_open_without_access_control(talk: Talk) -> None:
    talk.instance.add_user("joe", "p")
    talk.instance.load("problem", [{}])
    assert len(talk.as_user("joe", "p").rows("problem")) == 1
    assert talk.as_user("joe", "p").post("problem", {}).status == 201
