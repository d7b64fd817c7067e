"""What befalls an instance while clients work: rights that go, columns and tables that change, nodes that restart, an
upgrade, a clone over it (servicenow-api.md 7, 9.2, 10).
"""

import json
from pathlib import Path

import pytest

from tests.nowtwin.talk import Reply, Talk

pytestmark = pytest.mark.behaviour("9.2", evidence="assumption: what administrators do")
START = "2025-01-01 12:00:00"
CLIENT = "client_id=0f1e2d3c4b5a69788796a5b4c3d2e1f0&client_secret=nowtwin-secret"


def _put(talk: Talk, method: str, call: str, body: object = None) -> Reply:
    return talk.call(method, f"/_nowtwin/{call}", None if body is None else json.dumps(body).encode())


def _token(talk: Talk) -> str:
    form = f"grant_type=password&{CLIENT}&username=admin&password=admin".encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    token: str = talk.call("POST", "/oauth_token.do", form, kind).json["access_token"]
    return token


# -- rights --------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("1.6", evidence="measured by others: LH; documentation: c_RESTAPI.md", switch="access_control")
def test_a_role_may_be_taken_in_the_middle_of_a_sweep(talk: Talk) -> None:
    rows = [{"sys_id": f"{n:032x}"} for n in range(6)]
    talk.control("POST", "rows", {"table": "incident", "rows": rows})
    talk.control("POST", "users", {"user_name": "joe", "password": "p", "roles": ["sn_incident_read"]})
    talk.control("PUT", "switches", {"access_control": True})
    taken = {"method": "PUT", "call": "roles", "body": {"user_name": "joe", "roles": []}}
    talk.control("PUT", "faults", [{"kind": "operation", "operation": taken, "user": "joe", "skip": 1, "count": 1}])
    joe = talk.as_user("joe", "p")
    pages = [
        joe.get("table/incident", sysparm_query="ORDERBYsys_id", sysparm_limit=2, sysparm_offset=offset)
        for offset in (0, 2, 4)
    ]
    assert [page.status for page in pages] == [200, 200, 200]
    assert [len(page.result) for page in pages] == [2, 0, 0]
    assert {page.headers["x-total-count"] for page in pages} == {"6"}
    roles = talk.control("PUT", "roles", {"user_name": "joe", "roles": ["sn_incident_read"]})["roles"]
    assert "sn_incident_read" in roles
    assert len(joe.get("table/incident").result) == 6


@pytest.mark.behaviour("1.6", evidence="documentation: c_RESTAPI.md", switch="access_control")
def test_an_access_rule_that_is_written_counts_from_the_next_request(talk: Talk) -> None:
    talk.control("POST", "rows", {"table": "incident", "rows": [{"sys_id": "1" * 32}]})
    talk.control("POST", "users", {"user_name": "joe", "password": "p", "roles": ["sn_incident_read"]})
    talk.control("PUT", "switches", {"access_control": True})
    joe = talk.as_user("joe", "p")
    assert len(joe.rows("incident")) == 1
    rules = talk.rows("sys_security_acl", "name=incident^operation=read")
    for rule in rules:
        talk.patch("sys_security_acl", rule["sys_id"], {"active": "false"})
    talk.post("sys_security_acl", {"name": "incident", "operation": "read", "type": "record", "condition": "number=X"})
    reply = joe.get("table/incident")
    assert (reply.status, reply.result, reply.headers["x-total-count"]) == (200, [], "1")


@pytest.mark.parametrize(
    ("body", "name"),
    [({"user_name": "nobody", "roles": []}, "user_name"), ({"user_name": "admin", "roles": ["no_such"]}, "roles")],
)
def test_roles_need_a_user_and_roles_that_are_there(talk: Talk, body: dict[str, object], name: str) -> None:
    status, _, detail = _put(talk, "PUT", "roles", body).error
    assert status == 400
    assert (detail or "").startswith(name)


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("9.2", evidence="measured by others: several connectors")
def test_a_renamed_record_shows_in_what_references_it_and_moves_no_stamp_there(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "frozen": True})
    user = talk.post("sys_user", {"user_name": "beth", "name": "Beth Anglin"}).result["sys_id"]
    incident = talk.post("incident", {"caller_id": user}).result["sys_id"]
    talk.control("PUT", "clock", {"advance": 60})
    talk.patch("sys_user", user, {"name": "Beth Green"})
    (row,) = talk.rows("incident", sysparm_display_value="all", sysparm_fields="caller_id,sys_updated_on,sys_mod_count")
    assert row["caller_id"]["display_value"] == "Beth Green"
    assert (row["sys_updated_on"]["value"], row["sys_mod_count"]["value"]) == (START, "0")
    assert talk.names("incident", "caller_idLIKEgreen", "sys_id") == [incident]


@pytest.mark.behaviour("9.2", evidence="documentation: exploring-auditing.md; assumption: no rule touches the parent")
def test_attachments_and_relations_do_not_touch_their_record_and_journal_entries_do(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "frozen": True})
    incident = talk.post("incident", {}).result["sys_id"]
    cis = [talk.post("cmdb_ci_linux_server", {"name": name}).result["sys_id"] for name in "ab"]
    talk.control("PUT", "clock", {"advance": 60})
    path = f"/api/now/attachment/file?table_name=incident&table_sys_id={incident}&file_name=a.txt"
    assert talk.call("POST", path, b"a", {"Content-Type": "text/plain"}).status == 201
    talk.post("cmdb_rel_ci", {"parent": cis[0], "child": cis[1]})
    assert talk.get(f"table/incident/{incident}").result["sys_updated_on"] == START
    assert {row["sys_updated_on"] for row in talk.rows("cmdb_ci_linux_server")} == {START}
    talk.patch("incident", incident, {"comments": "hello"})
    row = talk.get(f"table/incident/{incident}").result
    assert (row["sys_updated_on"], row["sys_mod_count"]) == ("2025-01-01 12:01:00", "1")


@pytest.mark.behaviour("3.2, 9.2", evidence="recorded exchange: FS#41861029593")
def test_a_log_table_has_no_update_stamp_so_that_a_query_for_it_finds_everything(talk: Talk) -> None:
    talk.control("POST", "rows", {"table": "syslog", "rows": [{"message": "a"}, {"message": "b"}]})
    rows = talk.rows("syslog", "sys_updated_on>2999-01-01 00:00:00^messageINa,b")
    assert len(rows) == 2
    assert not any("sys_updated_on" in row for row in rows)
    assert all(row["sys_created_on"] for row in rows)


# -- columns and tables --------------------------------------------------------------------------------------------


@pytest.mark.behaviour("3.2", evidence="documentation: r_FieldTypes.md; assumption: what a new type keeps")
def test_columns_come_change_and_go_through_the_dictionary(talk: Talk) -> None:
    sys_id = talk.post("incident", {}).result["sys_id"]
    column = {"name": "incident", "element": "u_size", "internal_type": "string", "max_length": "40"}
    entry = talk.post("sys_dictionary", column).result["sys_id"]
    talk.patch("incident", sys_id, {"u_size": "0012"})
    other = talk.post("incident", {"u_size": "large"}).result["sys_id"]
    talk.patch("sys_dictionary", entry, {"internal_type": "integer"})
    assert talk.get(f"table/incident/{sys_id}").result["u_size"] == "12"
    assert talk.get(f"table/incident/{other}").result["u_size"] == ""
    assert talk.names("incident", "u_size>3", "sys_id") == [sys_id]
    talk.delete("sys_dictionary", entry)
    assert "u_size" not in talk.get(f"table/incident/{sys_id}").result
    assert len(talk.rows("incident", "u_size=12")) == 2, "the condition is dropped now"
    talk.post("sys_dictionary", column)
    assert talk.get(f"table/incident/{sys_id}").result["u_size"] == "", "its data has gone with it"


def test_columns_come_change_and_go_by_control(talk: Talk) -> None:
    sys_id = talk.post("incident", {"short_description": "x"}).result["sys_id"]
    made = talk.control(
        "PUT", "columns", {"table": "incident", "element": "u_x", "values": {"internal_type": "string"}}
    )
    assert made["column"]["internal_type"] == "string"
    talk.patch("incident", sys_id, {"u_x": "7"})
    retype = {"table": "incident", "element": "u_x", "values": {"internal_type": "boolean"}}
    assert talk.control("PUT", "columns", retype)["column"]["sys_id"] == made["column"]["sys_id"]
    assert talk.get(f"table/incident/{sys_id}").result["u_x"] == "false"
    talk.control("DELETE", "columns?table=incident&element=u_x")
    assert "u_x" not in talk.get(f"table/incident/{sys_id}").result
    for body, name in (({"table": "no_such", "element": "a"}, "no_such"), ({"table": "incident"}, "element")):
        assert name in "".join(filter(None, _put(talk, "PUT", "columns", body).error[1:]))
    wrong = _put(talk, "PUT", "columns", {"table": "incident", "element": "u_y", "values": {"colour": "red"}})
    assert "colour" in (wrong.error[2] or "")
    assert "u_x" in (_put(talk, "DELETE", "columns?table=incident&element=u_x").error[2] or "")


@pytest.mark.behaviour("3.2", evidence="assumption: an extended table cannot be deleted")
def test_rows_go_with_their_table(talk: Talk) -> None:
    parent = talk.post("sys_db_object", {"name": "u_thing", "label": "Thing", "is_extendable": "true"}).result
    child = talk.post("sys_db_object", {"name": "u_small", "super_class": parent["sys_id"]}).result
    talk.post("u_small", {})
    assert talk.delete("sys_db_object", parent["sys_id"]).error[0] == 403
    talk.post("u_thing", {})
    assert talk.delete("sys_db_object", child["sys_id"]).status == 204
    assert talk.get("table/u_small").error[:2] == (400, "Invalid table u_small")
    assert len(talk.rows("u_thing")) == 1


# -- nodes ---------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("1.8, 10", evidence="documentation: r_RESTAPIHTTPResponseCodes.md; assumption: the page")
@pytest.mark.parametrize("status", [502, 503])
def test_a_node_that_restarts_loses_its_sessions_and_answers_with_a_page_meanwhile(talk: Talk, status: int) -> None:
    talk.control("PUT", "clock", {"set": START, "frozen": True})
    talk.control("PUT", "nodes", [{"name": "one"}, {"name": "two"}])
    cookies = {}
    for node in ("one", "two"):
        routed = Talk(talk.url, talk.instance, {**talk.headers, "Cookie": f"glide_user_route=glide.{node}"})
        cookies[node] = "; ".join(cookie.partition(";")[0] for cookie in routed.get("table/incident").cookies)
    shared = {node: Talk(talk.url, talk.instance, {"Cookie": cookie}) for node, cookie in cookies.items()}
    assert [shared[node].get("table/incident").status for node in cookies] == [200, 200]
    done = talk.control("POST", "restart", {"node": "one", "seconds": 60, "status": status})
    assert done == {"sessions_ended": 1}
    out = shared["one"].get("table/incident")
    assert (out.status, out.headers["content-type"]) == (status, "text/html;charset=UTF-8")
    assert shared["two"].get("table/incident").status == 200
    talk.control("PUT", "clock", {"advance": 60})
    assert shared["one"].get("table/incident").status == 401
    assert {talk.get("table/incident").status for _ in range(4)} == {200}


@pytest.mark.parametrize(
    ("body", "name"), [({"node": "three"}, "node"), ({"seconds": -1}, "seconds"), ({"status": 200}, "status")]
)
def test_a_restart_needs_a_node_that_is_there(talk: Talk, body: dict[str, object], name: str) -> None:
    status, _, detail = _put(talk, "POST", "restart", body).error
    assert status == 400
    assert name in (detail or "")


@pytest.mark.behaviour("6.6, 10", evidence="documentation: r_AvailableSystemProperties.md; assumption: the page")
def test_an_upgrade_takes_every_node_out_and_changes_the_version(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "frozen": True})
    before = talk.names("sys_properties", "name=glide.buildtag", "value")
    war = "glide-brazil-02-11-2027__patch1-05-25-2027_06-10-2027_1842.zip"
    talk.control("POST", "upgrade", {"war": war, "name": "Brazil", "seconds": 600})
    during = talk.get("table/incident")
    assert (during.status, b"Upgrade in progress" in during.body) == (503, True)
    talk.control("PUT", "clock", {"advance": 600})
    rows = talk.rows("sys_properties", "nameSTARTSWITHglide.build^ORname=glide.war")
    values = {row["name"]: row["value"] for row in rows}
    assert (values["glide.war"], values["glide.buildname"]) == (war, "Brazil")
    assert values["glide.buildtag"] == "glide-brazil-02-11-2027__patch1-05-25-2027"
    assert values["glide.buildtag.last"] == before[0]


@pytest.mark.behaviour("9.2", evidence="documentation: KB0552064; assumption: what a node stamps")
def test_every_stamp_of_a_write_is_that_of_its_node(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "frozen": True})
    talk.control("PUT", "nodes", [{"name": "fast", "skew": 90}, {"name": "slow", "skew": -90}])
    routed = {
        node: Talk(talk.url, talk.instance, {**talk.headers, "Cookie": f"glide_user_route=glide.{node}"})
        for node in ("fast", "slow")
    }
    sys_id = routed["fast"].post("incident", {"short_description": "a"}).result["sys_id"]
    routed["slow"].patch("incident", sys_id, {"short_description": "b", "work_notes": "why"})
    row = talk.get(f"table/incident/{sys_id}").result
    assert (row["sys_created_on"], row["sys_updated_on"]) == ("2025-01-01 12:01:30", "2025-01-01 11:58:30")
    assert set(talk.names("sys_audit", f"documentkey={sys_id}", "sys_created_on")) == {"2025-01-01 11:58:30"}
    assert talk.names("sys_journal_field", f"element_id={sys_id}", "sys_created_on") == ["2025-01-01 11:58:30"]
    items = [{"id": "1", "method": "DELETE", "url": f"/api/now/table/incident/{sys_id}"}]
    routed["fast"].send("POST", "v1/batch", {"batch_request_id": "1", "rest_requests": items})
    assert talk.names("sys_audit_delete", "", "sys_created_on") == ["2025-01-01 12:01:30"]


# -- a clone -------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("7.1, 9.2", evidence="assumption: what a clone keeps")
def test_a_clone_replaces_the_data_and_voids_tokens_and_sessions(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "frozen": True})
    kept = talk.post("incident", {"short_description": "in both"}).result["sys_id"]
    source = talk.control("POST", "snapshot")["id"]
    talk.control("PUT", "clock", {"advance": 86_400})
    talk.patch("incident", kept, {"short_description": "changed here"})
    lost = talk.post("incident", {"short_description": "only here"}).result["sys_id"]
    talk.post("cmn_location", {"name": "preserved"})
    talk.control("PUT", "switches", {"group_integers": False})
    talk.control("PUT", "faults", [{"kind": "delay"}])
    (before,) = talk.names("sys_properties", "name=instance_id", "value")
    token = _token(talk)
    bearer = Talk(talk.url, talk.instance, {"Authorization": f"Bearer {token}"})
    cookie = talk.get("table/incident").cookies[0].partition(";")[0]
    session = Talk(talk.url, talk.instance, {"Cookie": cookie})
    assert (bearer.get("table/incident").status, session.get("table/incident").status) == (200, 200)
    done = talk.control("POST", "clone", {"snapshot": source, "name": "prod", "preserve": ["cmn_location"]})
    names = talk.rows("sys_properties", "nameINinstance_id,instance_name^ORDERBYname")
    assert [row["value"] for row in names] == [done["instance_id"], "prod"]
    assert done["instance_id"] != before
    (row,) = talk.rows("incident")
    assert (row["short_description"], row["sys_updated_on"], row["sys_mod_count"]) == ("in both", START, "0")
    assert talk.names("cmn_location", "", "name") == ["preserved"]
    assert (bearer.get("table/incident").status, session.get("table/incident").status) == (401, 401)
    assert _token(talk) != token
    new = talk.post("incident", {}).result["sys_id"]
    assert new not in {kept, lost}
    assert talk.control("GET", "switches")["group_integers"] is False
    assert len(talk.control("GET", "faults")["rules"]) == 1
    assert talk.control("GET", "writes")["next"] >= 4


def test_a_clone_has_a_new_identity_where_nothing_was_drawn_before(talk: Talk) -> None:
    query = "name=instance_id"
    (before,) = talk.names("sys_properties", query, "value")
    first = talk.control("POST", "clone", {"data": "empty"})["instance_id"]
    second = talk.control("POST", "clone", {"data": "empty"})["instance_id"]
    assert talk.names("sys_properties", query, "value") == [second]
    assert len({before, first, second}) == 3


def test_a_clone_may_come_from_a_file(talk: Talk, tmp_path: Path) -> None:
    talk.post("incident", {"short_description": "here"})
    source = tmp_path / "prod.json"
    source.write_text(json.dumps({"incident": [{"sys_id": "1" * 32, "short_description": "there"}]}))
    talk.control("POST", "clone", {"data": str(source)})
    assert talk.names("incident", "") == ["there"]
    talk.control("POST", "clone", {"data": "empty"})
    assert talk.rows("incident") == []


def test_a_clone_from_nothing_leaves_the_data_alone(talk: Talk, tmp_path: Path) -> None:
    talk.post("incident", {"short_description": "here"})
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    bad: list[tuple[dict[str, object], str]] = [
        ({}, "snapshot"),
        ({"snapshot": "1", "data": "demo"}, "snapshot"),
        ({"snapshot": "99"}, "99"),
        ({"data": str(tmp_path / "none.json")}, "none.json"),
        ({"data": str(broken)}, "broken.json"),
        ({"data": "empty", "preserve": ["no_such_table"]}, "no_such_table"),
    ]
    for body, name in bad:
        status, message, detail = _put(talk, "POST", "clone", body).error
        assert status == 400
        assert name in f"{message} {detail}"
    assert talk.names("incident", "") == ["here"]
