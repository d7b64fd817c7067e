"""CMDB Meta and CMDB Instance APIs over HTTP (servicenow-api.md 6.3 and 6.4; cmdb-meta-api.md, cmdb-instance-api.md)."""

import pytest

from nowtwin.rules.stock import relation_type_id
from tests.nowtwin.documented import differences, example
from tests.nowtwin.talk import Reply, Talk

pytestmark = pytest.mark.behaviour("6.3, 6.4", evidence="documentation: cmdb-instance-api.md, cmdb-meta-api.md")

LINUX = "cmdb_ci_linux_server"
DEPENDS = relation_type_id("Depends on::Used by")
RUNS = relation_type_id("Runs on::Runs")


def create(talk: Talk, name: str, class_name: str = LINUX, **more: object) -> Reply:
    body = {"attributes": {"name": name}, "source": "ServiceNow", **more}
    return talk.send("POST", f"cmdb/instance/{class_name}", body)


@pytest.fixture
def ora(talk: Talk) -> str:
    talk.instance.load("cmdb_ci_db_instance", [{"sys_id": "3a307c930a0a0bb400353965d0b8861f", "name": "PS ORA01"}])
    return "3a307c930a0a0bb400353965d0b8861f"


def test_the_meta_of_a_class_mixes_texts_and_booleans_as_documented(talk: Talk) -> None:
    meta = talk.get("cmdb/meta/cmdb_ci_computer").result
    assert (meta["label"], meta["parent"], meta["is_extendable"]) == ("Computer", "cmdb_ci_hardware", True)
    assert "cmdb_ci_server" in meta["children"]
    columns = {entry["element"]: entry for entry in meta["attributes"]}
    assert columns["skip_sync"]["is_read_only"] == "true"
    assert columns["name"]["is_inherited"] == "true"
    assert columns["cpu_core_count"]["is_inherited"] == "false"
    rules = meta["identification_rules"]
    assert (rules["applies_to"], rules["is_independent"]) == ("cmdb_ci_hardware", True)
    assert [entry["order"] for entry in rules["identifiers"]] == [100, 200, 300, 400]
    assert rules["identifiers"][1]["table"] is None


def test_the_meta_answer_has_the_documented_shape(talk: Talk) -> None:
    documented = example("CMDB Meta - GET /now/cmdb/meta/{classname}")["responses"][0]
    assert differences(documented, talk.get("cmdb/meta/cmdb_ci_computer").json) == []
    told = documented["result"]["identification_rules"]["identifiers"]
    assert talk.get("cmdb/meta/cmdb_ci_computer").result["identification_rules"]["identifiers"] == told


@pytest.mark.parametrize("table", ["incident", "no_such_class"])
def test_a_table_outside_the_cmdb_is_no_class(talk: Talk, table: str) -> None:
    for path in (f"cmdb/meta/{table}", f"cmdb/instance/{table}", f"cmdb/instance/{table}/x"):
        assert talk.get(path).error == (400, f"Invalid table {table}", None)


def test_cis_of_a_class_are_listed_with_name_and_sys_id_only(talk: Talk) -> None:
    for name in ("a", "b", "c"):
        create(talk, name)
    listed = talk.get(f"cmdb/instance/{LINUX}", sysparm_query="ORDERBYDESCname", sysparm_limit=2).result
    assert [set(entry) for entry in listed] == [{"sys_id", "name"}] * 2
    assert [entry["name"] for entry in listed] == ["c", "b"]
    assert len(talk.get("cmdb/instance/cmdb_ci").result) == 3


def test_a_ci_is_created_with_relations_in_both_directions_through_ire(talk: Talk, ora: str) -> None:
    outbound, inbound = [{"type": DEPENDS, "target": ora}], [{"type": DEPENDS, "target": ora}]
    made = create(talk, "lnux999", outbound_relations=outbound, inbound_relations=inbound)
    assert made.status == 201
    result = made.result
    assert result["attributes"]["discovery_source"] == "ServiceNow"
    (relation,) = result["outbound_relations"]
    assert relation["target"] == {
        "display_value": "PS ORA01",
        "link": f"{talk.url}/api/now/cmdb/instance/cmdb_ci/{ora}",
        "value": ora,
    }
    assert relation["type"]["display_value"] == "Depends on::Used by"
    assert len(result["inbound_relations"]) == 1
    again = create(talk, "lnux999")
    assert again.result["attributes"]["sys_id"] == result["attributes"]["sys_id"]


def test_a_dependent_ci_needs_the_ci_it_runs_on(talk: Talk) -> None:
    host = create(talk, "host").result["attributes"]["sys_id"]
    body = {"attributes": {"name": "app", "sys_class_name": "cmdb_ci_web_server"}, "source": "ServiceNow"}
    end = {"target": host, "type": RUNS}
    made = talk.send("POST", f"cmdb/instance/{LINUX}", {**body, "depends_on": {"outbound_relations": end}})
    assert made.result["attributes"]["sys_class_name"] == "cmdb_ci_web_server"
    assert made.result["outbound_relations"][0]["target"]["value"] == host
    failed = talk.send("POST", f"cmdb/instance/{LINUX}", {**body, "depends_on": {"outbound_relations": {"type": RUNS}}})
    assert failed.error[:2] == (500, "Exception while executing request: null")


def test_an_update_leaves_what_the_body_leaves_out(talk: Talk) -> None:
    attributes = create(talk, "host").result["attributes"]
    path = f"cmdb/instance/{LINUX}/{attributes['sys_id']}"
    changed = talk.send("PUT", path, {"attributes": {"firewall_status": "Active"}, "source": "ServiceNow"})
    assert changed.status == 200
    assert (changed.result["attributes"]["firewall_status"], changed.result["attributes"]["name"]) == ("Active", "host")
    renamed = talk.send("PATCH", path, {"attributes": {"name": "other"}, "source": "ServiceNow"})
    assert renamed.result["attributes"]["name"] == "other"
    assert talk.send("PATCH", path, {"attributes": {"name": "x"}}).status == 400
    assert talk.send("PATCH", path, {"attributes": {"name": "x"}, "source": "Bogus"}).status == 400


@pytest.mark.behaviour(
    "6.3", evidence="assumption: sources differ or are silent", switch="cmdb_instance_documented_statuses"
)
def test_relations_are_added_once_and_deleted(talk: Talk, ora: str) -> None:
    sys_id = create(talk, "host").result["attributes"]["sys_id"]
    path = f"cmdb/instance/{LINUX}/{sys_id}/relation"
    body = {"source": "ServiceNow", "outbound_relations": [{"type": DEPENDS, "target": ora}]}
    made = talk.send("POST", path, body)
    assert made.status == 201
    (relation,) = talk.send("POST", path, body).result["outbound_relations"]
    assert talk.call("DELETE", f"/api/now/{path}/{relation['sys_id']}").status == 204
    assert talk.get(f"cmdb/instance/{LINUX}/{sys_id}").result["outbound_relations"] == []
    assert talk.call("DELETE", f"/api/now/{path}/{relation['sys_id']}").status == 404
    wrong = {"source": "ServiceNow", "outbound_relations": [{"type": DEPENDS, "target": "nowhere"}]}
    assert talk.send("POST", path, wrong).status == 400
    talk.control("PUT", "switches", {"cmdb_instance_documented_statuses": True})
    assert talk.send("POST", path, body).status == 200


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"attributes":1,"source":"ServiceNow"}', b"{}", b"\xff\xfe"])
def test_a_malformed_body_is_refused(talk: Talk, body: bytes) -> None:
    reply = talk.call("POST", f"/api/now/cmdb/instance/{LINUX}", body, {"Content-Type": "application/json"})
    assert (reply.status, reply.json["status"]) == (400, "failure")


def test_a_user_without_a_cmdb_role_is_refused(talk: Talk) -> None:
    talk.control("PUT", "switches", {"access_control": True})
    talk.instance.add_user("guest", "guest")
    guest = talk.as_user("guest", "guest")
    for path in (f"cmdb/instance/{LINUX}", "cmdb/meta/cmdb_ci"):
        assert guest.get(path).error == (403, "User Not Authorized", "Failed API level ACL Validation")
    assert talk.get(f"cmdb/instance/{LINUX}/nowhere").status == 404


def test_answers_have_the_documented_shape(talk: Talk, ora: str) -> None:
    documented = example("CMDB Instance - GET /now/cmdb/instance/{classname}/{sys_id}")["responses"][0]
    talk.instance.load("core_company", [{"sys_id": "c1", "name": "Iris"}])
    ends = [{"type": DEPENDS, "target": ora}]
    made = create(talk, "PS LinuxApp01", outbound_relations=ends, inbound_relations=ends)
    path = f"cmdb/instance/{LINUX}/{made.result['attributes']['sys_id']}"
    talk.send("PATCH", path, {"attributes": {"manufacturer": "c1"}, "source": "ServiceNow"})
    said = talk.get(path).json
    told = {key: value for key, value in documented["result"].items() if key != "attributes"}
    assert differences(told, said["result"]) == []
    assert said["result"]["attributes"]["manufacturer"] == {
        "display_value": "Iris",
        "link": f"{talk.url}/api/now/table/core_company/c1",
        "value": "c1",
    }
    known = set(talk.instance.dictionary.columns(LINUX)) | {"sys_tags"}
    assert set(documented["result"]["attributes"]) & known <= set(said["result"]["attributes"])
