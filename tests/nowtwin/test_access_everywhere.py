"""The same access rules behind every way to data: dot-walks, aggregates, batches, files, histories, XML, sessions."""

import base64
import json
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from nowtwin.schema.metadata import row_id
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour(
    "1.6", evidence="documentation: exploring-access-control-list.md; assumption: where no page says so", switch="access_control"
)  # fmt: skip

INC = "1" * 32
UNREADABLE = (
    403,
    "Insufficient rights to query records",
    "Field(s) present in the query do not have permission to be read",
)


@pytest.fixture
def guarded(talk: Talk) -> Talk:
    """Access control is on. `ida` is itil, `rea` may only read incidents; one incident at a building with a contact."""
    instance = talk.instance
    instance.switches = replace(instance.switches, access_control=True)
    ida = instance.add_user("ida", "p", roles=("itil",), email="ida@example.com")
    instance.add_user("rea", "p", roles=("sn_incident_read",))
    instance.load("cmn_building", [{"sys_id": "b" * 32, "name": "HQ"}])
    instance.load("cmdb_ci", [{"sys_id": "c" * 32, "name": "printer", "sys_class_name": "cmdb_ci"}])
    instance.load("cmn_location", [{"sys_id": "d" * 32, "name": "Here", "contact": ida}])
    row = {"sys_id": INC, "number": "INC1", "short_description": "one", "caller_id": ida, "cmdb_ci": "c" * 32}
    instance.load("incident", [row | {"location": "d" * 32, "category": "network"}])
    return talk


def rule(talk: Talk, name: str, operation: str, *roles: str, **more: str) -> None:
    body = {"name": name, "operation": operation, "type": "record", "active": "true", **more}
    sys_id = talk.post("sys_security_acl", body).result["sys_id"]
    for role in roles:
        talk.post("sys_security_acl_role", {"sys_security_acl": sys_id, "sys_user_role": row_id("sys_user_role", role)})


def test_a_dot_walk_stops_where_the_table_or_the_column_may_not_be_read(guarded: Talk) -> None:
    rule(guarded, "sys_user.email", "read", "user_admin")
    rule(guarded, "cmn_location", "read", "admin", decision_type="deny")
    fields = "number,caller_id.name,caller_id.email,location.name,location.contact.name,cmdb_ci.name"
    rea, ida = guarded.as_user("rea", "p"), guarded.as_user("ida", "p")
    (row,) = rea.rows("incident", sysparm_fields=fields)
    assert row.keys() == {"number", "caller_id.name", "cmdb_ci.name"} | set()
    assert ida.rows("incident", sysparm_fields=fields)[0].keys() == row.keys()
    (whole,) = guarded.rows("incident", sysparm_fields=fields)
    assert whole["caller_id.email"] == "ida@example.com"
    for query in ("caller_id.email=x", "location.nameLIKEx", "ORDERBYlocation.name", "location.contact.name=x"):
        assert rea.get("table/incident", sysparm_query=query).error == UNREADABLE


@pytest.mark.behaviour("4", evidence="assumption: as queries", switch="unreadable_aggregates_refused")
def test_aggregates_do_not_tell_what_a_column_holds(guarded: Talk) -> None:
    rule(guarded, "incident.category", "read", "admin")
    ida = guarded.as_user("ida", "p")
    for params in (
        {"sysparm_group_by": "category"},
        {"sysparm_max_fields": "category"},
        {"sysparm_query": "category=network"},
    ):
        assert ida.get("stats/incident", sysparm_count="true", **params).error == UNREADABLE
    assert ida.get("stats/incident", sysparm_count="true", sysparm_group_by="state").status == 200
    assert guarded.get("stats/incident", sysparm_count="true", sysparm_group_by="category").status == 200
    guarded.control("PUT", "switches", {"unreadable_aggregates_refused": False})
    assert ida.get("stats/incident", sysparm_count="true", sysparm_group_by="category").status == 200


def test_requests_of_a_batch_have_the_rights_of_its_caller(guarded: Talk) -> None:
    rea = guarded.as_user("rea", "p")
    content = base64.b64encode(json.dumps({"short_description": "x"}).encode()).decode()
    headers = [{"name": "Content-Type", "value": "application/json"}]
    requests = [
        {"id": "1", "method": "GET", "url": "/api/now/table/incident?sysparm_fields=number"},
        {"id": "2", "method": "POST", "url": "/api/now/table/incident", "body": content, "headers": headers},
        {"id": "3", "method": "GET", "url": "/api/now/table/problem"},
    ]
    found = rea.send("POST", "batch", {"batch_request_id": "b", "rest_requests": requests}).json
    statuses = {item["id"]: item["status_code"] for item in found["serviced_requests"]}
    assert statuses == {"1": 200, "2": 403, "3": 200}
    assert guarded.instance.count("incident") == 1


def test_histories_and_deletions_are_not_for_everyone(guarded: Talk) -> None:
    ida = guarded.as_user("ida", "p")
    ida.patch("incident", INC, {"work_notes": "secret", "short_description": "two"})
    guarded.delete("incident", guarded.post("incident", {}).result["sys_id"])
    for table in ("sys_journal_field", "sys_audit", "sys_audit_delete"):
        assert ida.rows(table) == []
        assert guarded.rows(table) != [] or table == "sys_audit"
    rule(guarded, "incident.work_notes", "read", "admin")
    shown = ida.rows("incident", sysparm_display_value="true")[0]
    assert "work_notes" not in shown
    assert "secret" in guarded.rows("incident", sysparm_display_value="true")[0]["work_notes"]


def test_files_follow_the_record_they_belong_to(guarded: Talk) -> None:
    query = urlencode({"table_name": "incident", "table_sys_id": INC, "file_name": "a.txt"})
    made = guarded.call("POST", f"/api/now/attachment/file?{query}", b"text", {"Content-Type": "text/plain"})
    assert made.status == 201
    ida = guarded.as_user("ida", "p")
    path = f"/api/now/attachment/{made.result['sys_id']}/file"
    assert ida.call("GET", path).body == b"text"
    rule(guarded, "incident", "read", "admin", decision_type="deny")
    assert ida.call("GET", path).status == 404
    assert ida.call("POST", f"/api/now/attachment/file?{query}", b"x", {"Content-Type": "text/plain"}).status in {
        403,
        404,
    }


def test_answers_in_xml_leave_out_the_same_columns(guarded: Talk) -> None:
    rule(guarded, "incident.category", "read", "admin")
    path = "/api/now/table/incident?sysparm_fields=number,category"
    accept = {"Accept": "application/xml"}
    assert b"<category>" not in guarded.as_user("ida", "p").call("GET", path, None, accept).body
    assert b"<category>" in guarded.call("GET", path, None, accept).body


def test_a_session_loses_a_right_with_the_role_that_gave_it(guarded: Talk) -> None:
    user, role = guarded.instance.add_user("sam", "p"), row_id("sys_user_role", "sn_incident_write")
    granted = guarded.post("sys_user_has_role", {"user": user, "role": role}).result["sys_id"]
    first = guarded.as_user("sam", "p").get("table/incident")
    assert len(first.result) == 1
    session = first.cookies[0].partition(";")[0]
    sam = Talk(guarded.url, guarded.instance, {"Cookie": session})
    assert sam.patch("incident", INC, {"short_description": "by sam"}).status == 200
    (inner,) = guarded.rows("sys_user_role_contains", f"role={role}^contains.name=sn_incident_read")
    guarded.delete("sys_user_role_contains", inner["sys_id"])
    assert sam.rows("incident") == []
    guarded.delete("sys_user_has_role", granted)
    assert sam.patch("incident", INC, {"short_description": "again"}).status == 404
    guarded.patch("sys_user", user, {"active": "false"})
    assert sam.get("table/incident").status == 401


def test_a_table_rule_does_not_stand_in_for_a_column_rule_nor_the_other_way(guarded: Talk) -> None:
    rule(guarded, "cmn_building.name", "read", "itil")
    ida = guarded.as_user("ida", "p")
    assert ida.rows("cmn_building") == [], "the record comes first"
    rule(guarded, "cmn_building", "read", "itil")
    assert ida.names("cmn_building", "", "name") == ["HQ"]
    rule(guarded, "cmn_building.*", "read", "user_admin")
    (row,) = ida.rows("cmn_building", sysparm_fields="name,floors,notes")
    assert row == {"name": "HQ"}, "any rule of a nearer or wider object grants"
    rule(guarded, "*.floors", "read", "itil")
    assert "floors" in ida.rows("cmn_building", sysparm_fields="name,floors,notes")[0]


@pytest.mark.parametrize(
    ("table", "operation", "body"),
    [
        ("alm_asset", "write", {"asset_tag": "P2"}),
        ("alm_asset", "create", {"asset_tag": "P3"}),
        ("cmdb_ci", "write", {"name": "renamed"}),
        ("cmdb_ci", "create", {"name": "new"}),
        ("core_company", "write", {"name": "Renamed"}),
        ("core_company", "create", {"name": "New"}),
    ],
)
@pytest.mark.req("H28")
def test_a_record_rule_on_the_role_of_an_account_gives_it_the_right(
    guarded: Talk, table: str, operation: str, body: dict[str, str]
) -> None:
    """H28 to H33: what the set-up guide has an administrator add."""
    guarded.post("sys_user_role", {"sys_id": row_id("sys_user_role", "x_sync"), "name": "x_sync"})
    guarded.instance.add_user("sync", "p", roles=("x_sync",))
    guarded.instance.load(table, [{"sys_id": "e" * 32, **body}])
    rule(guarded, table, "read", "x_sync")
    sync = guarded.as_user("sync", "p")

    def attempt() -> int:
        made = sync.post(table, body) if operation == "create" else sync.patch(table, "e" * 32, body)
        return made.status

    assert attempt() == 403
    rule(guarded, table, operation, "x_sync")
    assert attempt() == (201 if operation == "create" else 200)


@pytest.mark.req("H34")
def test_a_read_rule_on_sys_db_object_shows_the_tables(guarded: Talk) -> None:
    ida = guarded.as_user("ida", "p")
    assert ida.rows("sys_db_object", "name=incident") == []
    rule(guarded, "sys_db_object", "read", "itil")
    assert ida.names("sys_db_object", "name=incident", "label") == ["Incident"]
