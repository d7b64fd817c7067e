"""Identification and reconciliation over HTTP (servicenow-api.md 6.5; c_IdentifyReconcileAPI.md, id-engine-error-messages.md)."""

import json

import pytest

from tests.nowtwin.documented import differences, example
from tests.nowtwin.ire import LINUX, attempts, codes, run, server
from tests.nowtwin.talk import Record, Talk

pytestmark = pytest.mark.behaviour("6.5", evidence="documentation: c_IdentifyReconcileAPI.md")


def test_a_new_server_is_inserted_with_its_serial_number_and_found_again_by_it(talk: Talk) -> None:
    (item,) = run(talk, [server("lnx1", "S1")])["items"]
    assert (item["operation"], attempts(item)) == ("INSERT", ["NO_MATCH", "SKIPPED", "NO_MATCH", "SKIPPED"])
    assert item["relatedSysIds"] == [talk.rows("cmdb_serial_number")[0]["sys_id"]]
    row = talk.rows(LINUX)[0]
    assert (row["sys_id"], row["discovery_source"]) == (item["sysId"], "ServiceNow")
    assert row["first_discovered"]
    (again,) = run(talk, [server("renamed", "S1")])["items"]
    assert (again["operation"], again["sysId"], attempts(again)) == ("UPDATE", item["sysId"], ["MATCHED"])
    assert talk.names(LINUX, "", "name") == ["renamed"]
    (same,) = run(talk, [server("renamed", "S1")])["items"]
    assert same["operation"] == "NO_CHANGE"
    assert len(talk.rows("cmdb_serial_number")) == 1


def test_the_entries_of_the_hardware_rule_are_tried_in_their_order(talk: Talk) -> None:
    run(talk, [server("by-name", serial_number="X9")])
    (by_serial,) = run(talk, [server("other", serial_number="X9")])["items"]
    assert attempts(by_serial) == ["SKIPPED", "MATCHED"]
    (by_name,) = run(talk, [server("other", serial_number="X10")])["items"]
    assert attempts(by_name) == ["SKIPPED", "NO_MATCH", "MATCHED"]
    assert by_name["identifierEntrySysId"] == "556eb250c3400200d8d4bea192d3ae92"


def test_an_adapter_of_the_payload_identifies_its_device(talk: Talk) -> None:
    adapter = {"className": "cmdb_ci_network_adapter", "values": {"ip_address": "10.0.0.1", "mac_address": "aa:bb"}}
    item = {"className": LINUX, "values": {"name": "one"}, "lookup": [adapter]}
    first = run(talk, [item])["items"][0]
    moved = {**item, "values": {"os": "Linux"}}
    (again,) = run(talk, [moved])["items"]
    assert (again["sysId"], attempts(again)) == (first["sysId"], ["SKIPPED", "SKIPPED", "SKIPPED", "MATCHED"])
    assert again["relatedSysIds"] == first["relatedSysIds"]


def test_a_query_writes_nothing_and_foresees_the_same(talk: Talk) -> None:
    (item,) = run(talk, [server("lnx1", "S1")], "/query")["items"]
    assert (item["operation"], item["sysId"], item["relatedSysIds"]) == ("INSERT", "Unknown", [None])
    assert talk.rows("cmdb_ci") == []
    assert talk.rows("cmdb_serial_number") == []


@pytest.mark.parametrize(
    ("present", "wanted", "operation", "setting"),
    [
        ("cmdb_ci_computer", LINUX, "UPDATE_WITH_UPGRADE", "updateWithoutUpgrade"),
        (LINUX, "cmdb_ci_computer", "UPDATE_WITH_DOWNGRADE", "updateWithoutDowngrade"),
        (LINUX, "cmdb_ci_win_server", "UPDATE_WITH_SWITCH", "updateWithoutSwitch"),
    ],
)
def test_a_match_in_another_class_reclassifies_unless_told_not_to(
    talk: Talk, present: str, wanted: str, operation: str, setting: str
) -> None:
    (first,) = run(talk, [server("box", class_name=present)])["items"]
    kept = {**server("box", class_name=wanted, os="Other"), "settings": {setting: "true"}}
    (item,) = run(talk, [kept])["items"]
    assert (item["operation"], item["info"][0]["code"]) == ("UPDATE", f"SKIPPED_CLASS_{operation.rpartition('_')[2]}")
    assert talk.rows("cmdb_ci")[0]["sys_class_name"] == present
    (moved,) = run(talk, [server("box", class_name=wanted)])["items"]
    assert (moved["operation"], moved["sysId"]) == (operation, first["sysId"])
    assert talk.rows("cmdb_ci")[0]["sys_class_name"] == wanted


def test_relations_are_made_once_by_index_or_by_internal_id(talk: Talk) -> None:
    items = [{**server("a"), "internal_id": "x"}, {**server("b", class_name="cmdb_ci_ip_switch"), "internal_id": "y"}]
    relation = {"parent": 0, "child": 1, "type": "IP Connection::IP Connection"}
    (made,) = run(talk, items, relations=[relation])["relations"]
    assert (made["operation"], made["className"]) == ("INSERT", "cmdb_rel_ci")
    named = {"parent_id": "x", "child_id": "y", "type": "IP Connection::IP Connection"}
    (again,) = run(talk, items, "/enhanced", relations=[named])["relations"]
    assert (again["operation"], again["sysId"]) == ("NO_CHANGE", made["sysId"])
    assert talk.rows("cmdb_rel_ci", "", sysparm_fields="type.name,parent.name")[0] == {
        "type.name": "IP Connection::IP Connection",
        "parent.name": "a",
    }
    assert len(talk.rows("sys_rel_source")) == 1


@pytest.mark.parametrize(
    ("relation", "message"),
    [
        ({"parent": 0, "child": 0, "type": "Eats::Eaten by"}, "No such relationship with name [Eats::Eaten by]"),
        ({"parent": 7, "child": 0, "type": "Uses::Used by"}, "has invalid parent record index: [7]"),
        ({"parent": 0, "type": "Uses::Used by"}, "has invalid child record index: []"),
    ],
)
def test_a_relation_without_type_or_ends_is_an_error_of_its_own(talk: Talk, relation: Record, message: str) -> None:
    (done,) = run(talk, [server()], relations=[relation])["relations"]
    assert codes(done) == ["INVALID_INPUT_DATA"]
    assert message in done["errors"][0]["message"]
    assert done["errorCount"] == 1


def test_a_dependent_ci_is_identified_together_with_its_host(talk: Talk) -> None:
    app = {"className": "cmdb_ci_web_server", "values": {"name": "nginx"}}
    runs = {"parent": 1, "child": 0, "type": "Runs on::Runs"}
    first = run(talk, [server("h1"), app], relations=[runs])
    assert [item["operation"] for item in first["items"]] == ["INSERT", "INSERT"]
    again = run(talk, [server("h1"), app], relations=[runs])
    assert [item["operation"] for item in again["items"]] == ["NO_CHANGE", "NO_CHANGE"]
    other = run(talk, [server("h2"), app], relations=[runs])
    assert other["items"][1]["operation"] == "INSERT"
    (alone,) = run(talk, [app])["items"]
    assert codes(alone) == ["MISSING_DEPENDENCY"]
    assert "[cmdb_ci_appl >> Runs on::Runs >> cmdb_ci_hardware]" in alone["errors"][0]["message"]


def test_an_item_whose_host_fails_is_abandoned(talk: Talk) -> None:
    app = {"className": "cmdb_ci_web_server", "values": {"name": "nginx"}}
    broken = {"className": LINUX, "values": {"os": "Linux"}}
    runs = {"parent": 0, "child": 1, "type": "Runs on::Runs"}
    result = run(talk, [app, broken, server("fine")], "/enhanced", relations=[runs])
    assert [codes(item) for item in result["items"]] == [["ABANDONED"], ["MISSING_MATCHING_ATTRIBUTES"], []]
    assert result["items"][2]["operation"] == "INSERT"
    assert (result["hasError"], codes(result["relations"][0])) == (True, ["ABANDONED"])


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({"className": "cmdb_ci_rack", "values": {"name": "r"}}, "IDENTIFICATION_RULE_MISSING"),
        ({"className": "no_such_class", "values": {}}, "IDENTIFICATION_RULE_MISSING"),
        ({"values": {"name": "r"}}, "IDENTIFICATION_RULE_MISSING"),
        ({"className": LINUX, "values": {"os": "Linux"}}, "MISSING_MATCHING_ATTRIBUTES"),
        ({"className": LINUX, "values": {"sys_id": "f" * 32}}, "INVALID_INPUT_DATA"),
        (
            {"className": LINUX, "values": {}, "lookup": [{"className": "cmdb_rel_ci"}]},
            "IDENTIFICATION_RULE_FOR_LOOKUP_MISSING",
        ),
        (
            {"className": LINUX, "values": {}, "related": [{"className": "incident"}]},
            "IDENTIFICATION_RULE_FOR_RELATED_ITEM_MISSING",
        ),
        ({"className": "cmdb_ci_business_app", "values": {"name": "b"}}, "REQUIRED_ATTRIBUTE_EMPTY"),
    ],
)
def test_what_cannot_be_identified_is_kept_as_incomplete_with_its_code(talk: Talk, item: Record, code: str) -> None:
    (done,) = run(talk, [item])["items"]
    assert (codes(done)[0], done["operation"], done["sysId"]) == (code, "INSERT_AS_INCOMPLETE", "Unknown")
    assert talk.rows("cmdb_ci") == []
    assert code in talk.rows("cmdb_ire_incomplete_payloads")[0]["error"]


@pytest.mark.behaviour("6.5", evidence="assumption: sources differ or are silent", switch="ire_all_or_nothing")
def test_without_partial_commits_one_bad_item_keeps_the_others_out(talk: Talk) -> None:
    bad = {"className": LINUX, "values": {"os": "Linux"}}
    result = run(talk, [server("good"), bad])
    assert [codes(item) for item in result["items"]] == [["ABANDONED"], ["MISSING_MATCHING_ATTRIBUTES"]]
    assert talk.rows("cmdb_ci") == []
    talk.control("PUT", "switches", {"ire_all_or_nothing": False})
    assert run(talk, [server("good"), bad])["items"][0]["operation"] == "INSERT"


def test_an_item_twice_in_a_payload_is_an_error_and_enhanced_one_item(talk: Talk) -> None:
    result = run(talk, [server("a"), server("a")])
    assert [codes(item) for item in result["items"]] == [["DUPLICATE_PAYLOAD_RECORDS"]] * 2
    (merged,) = run(talk, [server("a"), server("a")], "/enhanced")["items"]
    assert (merged["operation"], merged["inputIndices"]) == ("INSERT", [0, 1])


@pytest.mark.behaviour("6.5", evidence="assumption: sources differ or are silent", switch="ire_source_required")
def test_the_data_source_must_be_one_of_the_choices(talk: Talk) -> None:
    (unknown,) = run(talk, [server()], source="Bogus")["items"]
    assert "invalid data source [Bogus]" in unknown["errors"][0]["message"]
    (missing,) = run(talk, [server()], source="")["items"]
    assert (missing["operation"], codes(missing)) == ("INSERT_AS_INCOMPLETE", ["INVALID_INPUT_DATA"])
    assert attempts(missing)
    own = {**server(), "sys_object_source_info": {"source_name": "ServiceNow", "source_native_key": "k1"}}
    assert run(talk, [own], source="")["items"][0]["operation"] == "INSERT"
    talk.control("PUT", "switches", {"ire_source_required": False})
    assert run(talk, [server("second")], source="")["items"][0]["operation"] == "INSERT"


def test_a_source_key_identifies_what_the_source_reported_before(talk: Talk) -> None:
    info = {"source_name": "ServiceNow", "source_native_key": "asset-17"}
    (first,) = run(talk, [{**server("old"), "sys_object_source_info": info}], "/enhanced")["items"]
    assert first["identificationAttempts"][0]["info"] == "sys_object_source NO_MATCH"
    (again,) = run(talk, [{**server("new"), "sys_object_source_info": info}], "/enhanced")["items"]
    assert (again["operation"], again["sysId"]) == ("UPDATE", first["sysId"])
    assert again["identificationAttempts"][0]["info"] == "sys_object_source MATCHED"


def test_a_partial_payload_waits_until_its_source_completes_it(talk: Talk) -> None:
    info = {"source_name": "ServiceNow", "source_native_key": "n1"}
    part = {"className": LINUX, "values": {"ram": "8192"}, "sys_object_source_info": info}
    (partial,) = run(talk, [part], "/enhanced")["items"]
    assert (partial["operation"], partial["sysId"], partial["warningCount"]) == ("INSERT_AS_PARTIAL", "Unknown", 1)
    (whole,) = run(talk, [{**server("n1"), "sys_object_source_info": info}], "/enhanced")["items"]
    assert (whole["operation"], whole["mergedPayloadIds"]) == ("INSERT", partial["partialSysIds"])
    assert talk.rows(LINUX)[0]["ram"] == "8192"


def test_items_may_reference_each_other(talk: Talk) -> None:
    items = [{**server("backup", dr_backup=""), "internal_id": "a"}, {**server("main"), "internal_id": "b"}]
    reference = {"referenced": "b", "referencedBy": "a", "referenceField": "dr_backup"}
    result = run(talk, items, "/enhanced", referenceItems=[reference])
    row = talk.instance.read(LINUX, result["items"][0]["sysId"]) or {}
    assert row["dr_backup"] == result["items"][1]["sysId"]


def test_a_summary_counts_by_class(talk: Talk) -> None:
    summary = run(talk, [server("a", "S1")], "/enhanced", options="generate_summary:true")["summary"]
    assert summary[LINUX]["inserted"] == 1
    assert summary["cmdb_serial_number"]["inserted"] == 1


def test_malformed_requests_get_the_documented_refusals(talk: Talk) -> None:
    reply = talk.send("POST", "identifyreconcile/enhanced", {}, options="partial")
    assert reply.error == (500, "Internal server error", "Chunk [partial] is not a valid entry")
    for body in (
        b"[",
        b'{"items": 7}',
        b'{"items":[{"values":3}]}',
        b"[1]",
        b'{"relations":[{"parent":"x"}]}',
        b"\xff",
    ):
        reply = talk.call("POST", "/api/now/identifyreconcile", body, {"Content-Type": "application/json"})
        assert reply.status == 400, body
    assert talk.send("POST", "identifyreconcile", {}).result["items"] == []
    assert talk.get("identifyreconcile").status == 405


def test_a_user_without_a_cmdb_role_is_refused(talk: Talk) -> None:
    talk.control("PUT", "switches", {"access_control": True})
    talk.instance.add_user("guest", "guest")
    reply = talk.as_user("guest", "guest").send("POST", "identifyreconcile", {"items": []})
    assert reply.error == (403, "User Not Authorized", "Failed API level ACL Validation")


def test_rules_are_records_that_can_be_changed(talk: Talk) -> None:
    talk.post(
        "cmdb_identifier", {"name": "Rack Rule", "applies_to": "cmdb_ci_rack", "independent": "true", "active": "true"}
    )
    rule = talk.rows("cmdb_identifier", "name=Rack Rule")[0]["sys_id"]
    talk.post("cmdb_identifier_entry", {"identifier": rule, "attributes": "name", "order": "100", "active": "true"})
    rack = {"className": "cmdb_ci_rack", "values": {"name": "r1"}}
    assert [run(talk, [rack])["items"][0]["operation"] for _ in range(2)] == ["INSERT", "NO_CHANGE"]


def test_the_documented_query_answers_in_the_documented_shape(talk: Talk) -> None:
    documented = example("Identification and Reconciliation - POST /now/identifyreconcile/query")
    talk.instance.load(LINUX, [{"sys_id": "539747cac0a801640163e60735fbbf6e", "name": "lnux101"}])
    talk.instance.load("cmdb_ci_ip_switch", [{"sys_id": "304481257f701200bee45f19befa915b", "name": "IP-Switch-1"}])
    reply = talk.send("POST", "identifyreconcile/query", documented["request_body"])
    assert differences(documented["responses"][0], reply.json) == []
    said, told = reply.result["items"], documented["responses"][0]["result"]["items"]
    for key in ("className", "operation", "sysId", "identificationAttempts", "identifierEntrySysId", "inputIndices"):
        assert [item[key] for item in said] == [item[key] for item in told]


def test_the_documented_partial_payload_answers_in_the_documented_shape(talk: Talk) -> None:
    documented = example("Identification and Reconciliation - POST /now/identifyreconcile/queryEnhanced")
    reply = talk.send("POST", "identifyreconcile/queryEnhanced", documented["request_body"])
    assert differences(documented["responses"][0], reply.json) == []
    (item,) = reply.result["items"]
    assert (item["operation"], item["warnings"][0]["error"]) == ("INSERT_AS_PARTIAL", "MISSING_MATCHING_ATTRIBUTES")


def test_the_documented_enhanced_answer_has_the_same_keys(talk: Talk) -> None:
    documented = example("Identification and Reconciliation - POST /now/identifyreconcile/enhanced")
    adapter = {"className": "cmdb_ci_network_adapter", "values": {"ip_address": "10.0.0.9", "mac_address": "aa"}}
    info = {"source_name": "ServiceNow", "source_native_key": "k"}
    item = {
        "className": "cmdb_ci_computer",
        "values": {"ram": "1"},
        "lookup": [adapter],
        "sys_object_source_info": info,
    }
    reply = talk.send("POST", "identifyreconcile/enhanced", {"items": [item]}, options="generate_summary:true")
    assert differences(documented["responses"][0], reply.json) == [], json.dumps(reply.json)
