"""Every documented error of the Identification and Reconciliation Engine, each from its documented cause (servicenow-api.md 6.5).

Messages word for word: id-engine-error-messages.md.
"""

import json

import pytest

from tests.nowtwin.ire import LINUX, codes, run, said, server
from tests.nowtwin.talk import Record, Talk

pytestmark = pytest.mark.behaviour("6.5", evidence="documentation: id-engine-error-messages.md")

RUNS = "Runs on::Runs"
APP: Record = {"className": "cmdb_ci_web_server", "values": {"name": "nginx"}}
SERIAL: Record = {"className": "cmdb_serial_number", "values": {"serial_number": "S1", "serial_number_type": "uuid"}}


def only(talk: Talk, item: Record, source: str = "ServiceNow") -> Record:
    """What became of the first item."""
    found: Record = run(talk, [item], source=source)["items"][0]
    return found


def rule(talk: Talk, applies_to: str, *, independent: bool, **entry: str) -> None:
    values = {
        "name": f"Rule of {applies_to}",
        "applies_to": applies_to,
        "independent": str(independent).lower(),
        "active": "true",
    }
    made = talk.post("cmdb_identifier", values).result["sys_id"]
    talk.post("cmdb_identifier_entry", {"identifier": made, "order": "100", "active": "true", **entry})


def put_property(talk: Talk, name: str, value: str) -> None:
    assert talk.post("sys_properties", {"name": name, "value": value}).status == 201


def test_identification_rule_missing(talk: Talk) -> None:
    item = only(talk, {"className": "cmdb_ci_rack", "values": {"name": "r"}})
    assert (codes(item), said(item)) == (
        ["IDENTIFICATION_RULE_MISSING"],
        "Identity Rule Missing for table [cmdb_ci_rack]",
    )


def test_missing_matching_attributes(talk: Talk) -> None:
    item = only(talk, {"className": LINUX, "values": {"os": "Linux"}})
    assert codes(item) == ["MISSING_MATCHING_ATTRIBUTES"]
    assert said(item).startswith(
        "In payload missing minimum set of input values for criterion (matching) attributes from identify rule for "
        "table [cmdb_ci_hardware]. Add these input values in payload item '"
    )


def test_no_class_name_for_independent_ci(talk: Talk) -> None:
    rule(talk, "cmdb_ci_rack", independent=True, attributes="sys_class_name,name")
    item = only(talk, {"className": "cmdb_ci_rack", "values": {"name": "r"}})
    assert codes(item) == ["NO_CLASS_NAME_FOR_INDEPENDENT_CI"]
    assert said(item) == "Cannot have 'sys_class_name' as a key field in an Independent Identity Rule on 'cmdb_ci_rack'"


def test_identification_rule_for_lookup_missing(talk: Talk) -> None:
    item = only(talk, {**server(), "lookup": [{"className": "cmdb_rel_ci", "values": {}}]})
    assert codes(item) == ["IDENTIFICATION_RULE_FOR_LOOKUP_MISSING"]
    assert said(item) == "Identity Rule for table [cmdb_ci_hardware] missing Lookup Rule for class [cmdb_rel_ci]"


def test_identification_rule_for_related_item_missing(talk: Talk) -> None:
    item = only(talk, {**server(), "related": [{"className": "incident", "values": {}}]})
    assert codes(item) == ["IDENTIFICATION_RULE_FOR_RELATED_ITEM_MISSING"]
    assert said(item) == "Identity Rule for table [cmdb_ci_hardware] missing Related Rule for class [incident]"


def test_no_lookup_rules_for_dependent_ci(talk: Talk) -> None:
    entry = {"table": "cmdb_serial_number", "attributes": "serial_number", "referenced_field": "cmdb_ci"}
    rule(talk, "cmdb_ci_rack", independent=False, **entry)
    item = only(talk, {"className": "cmdb_ci_rack", "values": {"name": "r"}})
    assert codes(item) == ["NO_LOOKUP_RULES_FOR_DEPENDENT_CI"]
    assert said(item) == "Cannot have Lookup Rule for a Dependent Identity Rule on 'cmdb_ci_rack'"


def test_invalid_input_data(talk: Talk) -> None:
    item = only(talk, {"className": LINUX, "values": {"sys_id": "f" * 32}})
    assert codes(item) == ["INVALID_INPUT_DATA"]
    assert said(item) == (
        f"Found invalid sys_id in payload. No record with sys_id [{'f' * 32}] exist in table [{LINUX}] or is a "
        "duplicate record with [duplicate_of] field set to a main CI"
    )


def test_missing_dependency(talk: Talk) -> None:
    item = only(talk, APP)
    assert codes(item) == ["MISSING_DEPENDENCY"]
    assert said(item).startswith(
        "In payload no relations defined for dependent class [cmdb_ci_web_server] that matches any "
        "containment/hosting rules: [cmdb_ci_appl >> Runs on::Runs >> cmdb_ci_hardware]. Add appropriate relations"
    )


def test_required_attribute_empty_unless_the_property_lets_it_be(talk: Talk) -> None:
    app = {"className": "cmdb_ci_business_app", "values": {"name": "b"}}
    item = only(talk, app)
    assert codes(item)[0] == "REQUIRED_ATTRIBUTE_EMPTY"
    assert said(item) == (
        "Missing mandatory field [it_application_owner] in table [cmdb_ci_business_app]. Add input value for mandatory "
        "field in payload"
    )
    put_property(talk, "glide.required.attribute.enabled", "false")
    assert only(talk, app)["operation"] == "INSERT"


def test_reclassification_not_allowed_files_a_task(talk: Talk) -> None:
    put_property(talk, "glide.class.switch.enabled", "false")
    first = only(talk, server("box"))
    item = only(talk, server("box", class_name="cmdb_ci_win_server"))
    assert codes(item) == ["RECLASSIFICATION_NOT_ALLOWED"]
    assert said(item) == f"CI Reclassification not allowed from class: [{LINUX}] to [cmdb_ci_win_server]"
    (task,) = talk.rows("reclassification_task")
    assert (task["cmdb_ci"]["value"], task["description"]) == (first["sysId"], said(item))
    assert json.loads(task["internal_payload"])["className"] == "cmdb_ci_win_server"
    assert only(talk, {**server("box", class_name="cmdb_ci_win_server"), "classSwitch": True})["operation"] == (
        "UPDATE_WITH_SWITCH"
    )


def test_multiple_duplicate_records(talk: Talk) -> None:
    put_property(talk, "glide.identification_engine.skip_duplicates", "false")
    talk.instance.load(LINUX, [{"name": "twin"}, {"name": "twin"}])
    item = only(talk, server("twin", os="x"))
    assert codes(item) == ["MULTIPLE_DUPLICATE_RECORDS"]
    assert said(item) == "Found duplicate records in table [cmdb_ci_hardware] using fields [name]"
    assert set(talk.names(LINUX, "", "os")) == {""}


def test_duplicate_payload_records(talk: Talk) -> None:
    first, second = run(talk, [server("a"), server("a")])["items"]
    assert codes(first) == codes(second) == ["DUPLICATE_PAYLOAD_RECORDS"]
    assert said(first) == (
        f"Found duplicate items in the payload (index 0 and 1), using className [{LINUX}] and fields [name]. Remove "
        "duplicate items from payload"
    )


def test_duplicate_lookup_payload(talk: Talk) -> None:
    item = only(talk, {**server(), "lookup": [SERIAL, SERIAL]})
    assert codes(item) == ["DUPLICATE_LOOKUP_PAYLOAD"]
    assert said(item) == (
        "Found duplicate Lookup items (0 and 1) in the payload index 0 using fields serial_number, serial_number_type"
    )


def test_duplicate_related_payload(talk: Talk) -> None:
    queue = {"className": "cmdb_print_queue_instance", "values": {"name": "q"}}
    item = only(talk, {**server(), "related": [queue, queue]})
    assert codes(item) == ["DUPLICATE_RELATED_PAYLOAD"]
    assert said(item) == "Found duplicate Related items (0 and 1) in the payload index 0 using fields name"


def test_duplicate_relationship_types(talk: Talk) -> None:
    (kind,) = talk.rows("cmdb_rel_type", f"name={RUNS}")
    other = talk.post("cmdb_rel_type", {"name": RUNS}).result["sys_id"]
    (done,) = run(talk, [server(), APP], relations=[{"parent": 1, "child": 0, "type": RUNS}])["relations"]
    assert codes(done) == ["DUPLICATE_RELATIONSHIP_TYPES"]
    assert said(done).startswith(
        f"Duplicate relationship type records exists with name [{RUNS}] in table [cmdb_rel_type] having sys_ids: ["
    )
    assert all(sys_id in said(done) for sys_id in (kind["sys_id"], other))


def test_multiple_dependencies_of_two_hosts(talk: Talk) -> None:
    relations = [{"parent": 2, "child": host, "type": RUNS} for host in (0, 1)]
    item = run(talk, [server("h1"), server("h2"), APP], relations=relations)["items"][2]
    assert codes(item) == ["MULTIPLE_DEPENDENCIES"]
    assert said(item).startswith("Found multiple dependent relation items [{")
    assert said(item).endswith("}] in payload")


def test_multiple_dependencies_of_two_paths(talk: Talk) -> None:
    rule(talk, "cmdb_ci_qualifier", independent=True, attributes="name")
    qualifier = {"className": "cmdb_ci_qualifier", "values": {"name": "q"}}
    pairs = ((1, 0), (1, 2), (2, 0))
    relations = [{"parent": parent, "child": child, "type": RUNS} for parent, child in pairs]
    item = run(talk, [server("h"), APP, qualifier], relations=relations)["items"][1]
    assert codes(item) == ["MULTIPLE_DEPENDENCIES"]
    assert said(item).startswith("Multiple paths leading to the same destination: {")
    assert " -> {" in said(item)


def test_type_conflict_in_qualification(talk: Talk) -> None:
    rule(talk, "cmdb_ci_qualifier", independent=True, attributes="name")
    qualifiers = [{"className": "cmdb_ci_qualifier", "values": {"name": name}} for name in ("q1", "q2")]
    pairs = ((1, 2), (1, 3), (2, 0), (3, 0))
    relations = [{"parent": parent, "child": child, "type": RUNS} for parent, child in pairs]
    item = run(talk, [server("h"), APP, *qualifiers], relations=relations)["items"][1]
    assert codes(item) == ["TYPE_CONFLICT_IN_QUALIFICATION"]
    assert said(item).startswith(
        "Invalid payload, qualification chain has multiple possible paths for payload items: '"
    )


def test_qualification_loop(talk: Talk) -> None:
    rule(talk, "cmdb_ci_qualifier", independent=True, attributes="name")
    qualifiers = [{"className": "cmdb_ci_qualifier", "values": {"name": name}} for name in ("q1", "q2")]
    pairs = ((1, 2), (2, 3), (3, 2))
    relations = [{"parent": parent, "child": child, "type": RUNS} for parent, child in pairs]
    item = run(talk, [server("h"), APP, *qualifiers], relations=relations)["items"][1]
    assert codes(item) == ["QUALIFICATION_LOOP"]
    assert said(item).startswith("Qualification chain has loop that contains relation '{")


@pytest.mark.behaviour(
    "6.5", evidence="assumption: names of the locks and no wait for them", switch="ire_locks_targets"
)
def test_lock_timeout(talk: Talk) -> None:
    now = talk.instance.clock.stamp()
    talk.post("sys_mutex", {"name": LINUX, "acquired": now})
    item = only(talk, server("new"))
    assert (codes(item), said(item)) == (["LOCK_TIMEOUT"], f"Failed to acquire synchronization lock for {LINUX}")
    talk.control("PUT", "switches", {"ire_locks_targets": False})
    made = only(talk, server("new"))
    talk.control("PUT", "switches", {"ire_locks_targets": True})
    talk.post("sys_mutex", {"name": made["sysId"], "acquired": now})
    assert codes(only(talk, server("new", os="x"))) == ["LOCK_TIMEOUT"]
    talk.instance.clock.advance(16 * 60)
    assert only(talk, server("new", os="x"))["operation"] == "UPDATE"


def test_metadata_rule_missing(talk: Talk) -> None:
    rule(talk, "cmdb_ci_rack", independent=False, attributes="name")
    item = only(talk, {"className": "cmdb_ci_rack", "values": {"name": "r"}})
    assert codes(item) == ["METADATA_RULE_MISSING"]
    assert said(item) == (
        "No containment or hosting rules defined for dependent class [cmdb_ci_rack]. Add containment/hosting rules for "
        "'cmdb_ci_rack'"
    )


def test_insert_not_allowed_for_source(talk: Talk) -> None:
    talk.post("cmdb_ire_data_source_rule", {"applies_to": "cmdb_ci_server", "data_source": "SCCM"})
    item = only(talk, server("scanned"), source="SCCM")
    assert codes(item) == ["INSERT_NOT_ALLOWED_FOR_SOURCE"]
    assert said(item) == f"Insert into [{LINUX}] is blocked for data source [SCCM] by IRE data source rule"


def test_abandoned(talk: Talk) -> None:
    broken = {"className": LINUX, "values": {"os": "Linux"}}
    relations = [{"parent": 0, "child": 1, "type": RUNS}]
    result = run(talk, [APP, broken], relations=relations)
    assert codes(result["items"][0]) == ["ABANDONED"]
    assert said(result["items"][0]).startswith("Abandoning processing payload item '")
    assert said(result["items"][0]).endswith("' has errors")
    assert said(result["relations"][0]) == "While processing relations encountered errors in payload item: 0"


def test_multi_match_of_dependent_records(talk: Talk) -> None:
    """Not among the codes of the API's page, but on the page of messages."""
    put_property(talk, "glide.identification_engine.skip_duplicates", "false")
    relations = [{"parent": 1, "child": 0, "type": RUNS}]
    first = run(talk, [server("h"), APP], relations=relations)
    host, app = (item["sysId"] for item in first["items"])
    kind = talk.instance.read("cmdb_rel_ci", first["relations"][0]["sysId"]) or {}
    talk.instance.load("cmdb_ci_web_server", [{"sys_id": "a" * 32, "name": "nginx"}])
    talk.post("cmdb_rel_ci", {"parent": "a" * 32, "child": host, "type": kind["type"]})
    item = run(talk, [server("h"), APP], relations=relations)["items"][1]
    assert codes(item) == ["MULTI_MATCH"]
    assert said(item) == (
        f"Duplicate dependent records found having relationship [{RUNS}] with same CI (className:[{LINUX}], "
        f"sysId:[{host}])"
    )
    assert len(talk.rows("duplicate_audit_result", f"duplicate_id={app}")) == 1
