"""Which source may insert, write and reclassify, and what IRE does about duplicates (servicenow-api.md 6.5)."""

import pytest

from tests.nowtwin.ire import LINUX, attempts, codes, run, server
from tests.nowtwin.talk import Record, Talk

pytestmark = pytest.mark.behaviour(
    "6.5", evidence="documentation: create-reconciliation-rule.md, r_ReconciliationRulesPrinciples.md"
)

RUNS = "Runs on::Runs"


def allow(talk: Talk, source: str, attributes: str = "", priority: int = 100, table: str = LINUX, **more: str) -> None:
    values = {"applies_to": table, "discovery_source": source, "attributes": attributes, "priority": str(priority)}
    assert talk.post("cmdb_reconciliation_definition", {**values, "active": "true", **more}).status == 201


def put_property(talk: Talk, name: str, value: str) -> None:
    assert talk.post("sys_properties", {"name": name, "value": value}).status == 201


def report(talk: Talk, source: str, **values: str) -> Record:
    """One source reports the server lnx1."""
    (item,) = run(talk, [server("lnx1", **values)], source=source)["items"]
    found: Record = item
    return found


def held(talk: Talk, column: str) -> str:
    (text,) = talk.names(LINUX, "name=lnx1", column)
    return text


def test_without_rules_every_source_overwrites(talk: Talk) -> None:
    for source, os in (("ServiceNow", "one"), ("SCCM", "two"), ("ServiceNow", "three")):
        report(talk, source, os=os)
        assert held(talk, "os") == os
    assert talk.rows("cmdb_datasource_last_update") == []


def test_a_lower_source_does_not_overwrite_a_higher_one(talk: Talk) -> None:
    allow(talk, "ServiceNow", "os", 100)
    allow(talk, "SCCM", "os", 200)
    report(talk, "SCCM", os="from SCCM", ram="1")
    assert report(talk, "ServiceNow", os="from Discovery", ram="2")["operation"] == "UPDATE"
    item = report(talk, "SCCM", os="back again", ram="3")
    assert (held(talk, "os"), held(talk, "ram")) == ("from Discovery", "3")
    assert item["maskedAttributes"] == ["os"]
    (last,) = talk.rows("cmdb_datasource_last_update")
    assert (last["attribute"], last["discovery_source"]) == ("os", "ServiceNow")
    (quiet,) = run(talk, [server("lnx1", os="back again")], source="SCCM")["items"]
    assert quiet["operation"] == "NO_CHANGE"


def test_a_source_without_a_rule_may_not_write_what_others_own(talk: Talk) -> None:
    allow(talk, "ServiceNow", "os", table="cmdb_ci_computer")
    report(talk, "ServiceNow", os="Linux")
    report(talk, "SCCM", os="Windows")
    assert held(talk, "os") == "Linux"


def test_an_empty_attribute_may_be_filled_by_a_lower_source(talk: Talk) -> None:
    allow(talk, "ServiceNow", "os")
    report(talk, "ServiceNow")
    report(talk, "SCCM", os="Windows")
    assert held(talk, "os") == "Windows"
    put_property(talk, "glide.reconciliation.override.null", "false")
    talk.patch(LINUX, talk.rows(LINUX)[0]["sys_id"], {"os": "NULL"})
    report(talk, "SCCM", os="Windows")
    assert held(talk, "os") == ""


def test_a_rule_for_an_attribute_comes_before_one_for_all_and_the_class_before_its_parent(talk: Talk) -> None:
    allow(talk, "SCCM", table=LINUX)
    allow(talk, "ServiceNow", "os", table="cmdb_ci_computer")
    report(talk, "ServiceNow", os="Linux", ram="1")
    report(talk, "SCCM", os="Windows", ram="2")
    assert (held(talk, "os"), held(talk, "ram")) == ("Linux", "2")
    allow(talk, "SCCM", "os", table=LINUX)
    report(talk, "SCCM", os="Windows")
    report(talk, "ServiceNow", os="Linux")
    assert held(talk, "os") == "Windows"


def test_a_value_is_emptied_only_where_the_rule_lists_it(talk: Talk) -> None:
    allow(talk, "ServiceNow", "os,os_version", null_update="os_version")
    report(talk, "ServiceNow", os="Linux", os_version="9")
    report(talk, "ServiceNow", os="", os_version="")
    assert (held(talk, "os"), held(talk, "os_version")) == ("Linux", "")


def test_a_condition_limits_a_rule_after_or_before_the_change(talk: Talk) -> None:
    allow(talk, "ServiceNow", "os", condition="environment=Production")
    report(talk, "ServiceNow", os="Linux")
    report(talk, "SCCM", os="Windows")
    assert held(talk, "os") == "Windows"
    report(talk, "SCCM", os="BSD", environment="Production")
    assert (held(talk, "os"), held(talk, "environment")) == ("Windows", "Production")
    put_property(talk, "glide.identification_engine.enable_reconciliation_filter_before_update", "true")
    report(talk, "SCCM", os="BSD", environment="Test")
    assert held(talk, "os") == "Windows"
    report(talk, "SCCM", os="BSD", environment="Production")
    assert held(talk, "os") == "BSD"


@pytest.mark.behaviour("6.5", evidence="documentation: create-datasource-staleness-rule.md")
def test_a_stale_source_gives_way_to_a_lower_one(talk: Talk) -> None:
    allow(talk, "ServiceNow", "os", 100)
    allow(talk, "SCCM", "os", 200)
    stale = {"applies_to": "cmdb_ci_hardware", "discovery_source": "ServiceNow", "duration": "1970-01-02 00:00:00"}
    talk.post("cmdb_datasource_staleness", {**stale, "active": "true"})
    report(talk, "ServiceNow", os="Linux")
    report(talk, "SCCM", os="Windows")
    assert held(talk, "os") == "Linux"
    talk.instance.clock.advance(25 * 3600)
    report(talk, "SCCM", os="Windows")
    assert held(talk, "os") == "Windows"


@pytest.mark.behaviour("6.5", evidence="documentation: create-ire-data-source-rule.md")
def test_what_a_source_may_not_insert_waits_for_one_that_may(talk: Talk) -> None:
    talk.post("cmdb_ire_data_source_rule", {"applies_to": "cmdb_ci_server", "data_source": "SCCM"})
    (blocked,) = run(talk, [server("lnx1", ram="8192")], "/enhanced", source="SCCM")["items"]
    assert (blocked["operation"], codes(blocked)) == ("INSERT_AS_PARTIAL", ["INSERT_NOT_ALLOWED_FOR_SOURCE"])
    (waiting,) = talk.rows("cmdb_ire_partial_payloads")
    assert (waiting["sys_id"], waiting["class_name"]) == (blocked["partialSysIds"][0], LINUX)
    (made,) = run(talk, [server("lnx1", os="Linux")], "/enhanced")["items"]
    assert (made["operation"], made["mergedPayloadIds"]) == ("INSERT", [waiting["sys_id"]])
    assert (held(talk, "ram"), held(talk, "os")) == ("8192", "Linux")
    assert talk.rows("cmdb_ire_partial_payloads") == []
    assert report(talk, "SCCM", ram="4096")["operation"] == "UPDATE"


@pytest.mark.behaviour("6.5", evidence="documentation: create-ire-data-source-rule.md")
def test_a_source_rule_of_a_class_overrides_that_of_its_parent(talk: Talk) -> None:
    talk.post("cmdb_ire_data_source_rule", {"applies_to": "cmdb_ci_server", "data_source": "SCCM"})
    allowed = {"applies_to": LINUX, "data_source": "SCCM", "insert_not_allowed": "false"}
    talk.post("cmdb_ire_data_source_rule", allowed)
    assert report(talk, "SCCM")["operation"] == "INSERT"
    (other,) = run(talk, [server("w", class_name="cmdb_ci_win_server")], source="SCCM")["items"]
    assert codes(other) == ["INSERT_NOT_ALLOWED_FOR_SOURCE"]


RECLASSIFY = pytest.mark.behaviour("6.5", evidence="documentation: c_CIReclassification.md")


@RECLASSIFY
@pytest.mark.parametrize(
    ("present", "wanted", "kind"),
    [
        ("cmdb_ci_computer", LINUX, "upgrade"),
        (LINUX, "cmdb_ci_computer", "downgrade"),
        (LINUX, "cmdb_ci_win_server", "switch"),
    ],
)
def test_properties_keep_the_class_or_refuse_the_item(talk: Talk, present: str, wanted: str, kind: str) -> None:
    run(talk, [server("box", class_name=present)])
    put_property(talk, f"glide.class.{kind}.enabled", "false")
    (refused,) = run(talk, [server("box", class_name=wanted, os="x")])["items"]
    assert codes(refused) == ["RECLASSIFICATION_NOT_ALLOWED"]
    put_property(talk, f"glide.identification_engine.update_without_{kind}_enabled", "true")
    (kept,) = run(talk, [server("box", class_name=wanted, os="y")])["items"]
    assert (kept["operation"], kept["info"][0]["code"]) == ("UPDATE", f"SKIPPED_CLASS_{kind.upper()}")
    (row,) = talk.rows("cmdb_ci")
    assert row["sys_class_name"] == present
    assert len(talk.rows("reclassification_task")) == 1


@RECLASSIFY
def test_a_restriction_keeps_the_class_in_one_direction(talk: Talk) -> None:
    values = {"name": "keep Linux", "source_table": "cmdb_ci_server", "source_inheritance": "true", "type": "switch"}
    made = talk.post("cmdb_ire_reclassification_restriction", {**values, "target_table": "cmdb_ci_win_server"})
    run(talk, [server("box")])
    windows = server("box", class_name="cmdb_ci_win_server", os="x")
    (kept,) = run(talk, [windows])["items"]
    assert (kept["operation"], kept["info"][0]["ruleSysId"]) == ("UPDATE", made.result["sys_id"])
    assert talk.names(LINUX, "", "os") == ["x"]
    (moved,) = run(talk, [{**windows, "settings": {"skipReclassificationRestrictionRules": "true"}}])["items"]
    assert moved["operation"] == "UPDATE_WITH_SWITCH"
    (back,) = run(talk, [server("box", os="y")])["items"]
    assert back["operation"] == "UPDATE_WITH_SWITCH"
    put_property(talk, "glide.identification_engine.reclassification_restriction_rules_enabled", "false")
    assert run(talk, [windows])["items"][0]["operation"] == "UPDATE_WITH_SWITCH"


@RECLASSIFY
def test_only_classes_of_the_same_rule_are_exchanged(talk: Talk) -> None:
    (made,) = run(talk, [server("box")])["items"]
    service = {"className": "cmdb_ci_service", "values": {"name": "box", "sys_id": made["sysId"]}}
    (item,) = run(talk, [service])["items"]
    assert codes(item) == ["RECLASSIFICATION_NOT_ALLOWED"]


DUPLICATES = pytest.mark.behaviour("6.5", evidence="documentation: id-detect-dup-ci.md")


def twins(talk: Talk, count: int) -> list[str]:
    stamps = [f"2024-01-0{day} 00:00:00" for day in range(1, count + 1)]
    rows = [{"sys_id": f"{n}" * 32, "name": "twin", "sys_created_on": stamp} for n, stamp in enumerate(stamps, start=1)]
    talk.instance.load(LINUX, rows)
    return [row["sys_id"] for row in rows]


@DUPLICATES
def test_the_oldest_of_a_few_duplicates_is_updated_and_the_rest_marked(talk: Talk) -> None:
    ids = twins(talk, 3)
    (item,) = run(talk, [server("twin", os="x")])["items"]
    assert (item["operation"], item["sysId"], attempts(item)[-1]) == ("UPDATE", ids[0], "MULTI_MATCH")
    marked = talk.rows(LINUX, "duplicate_ofISNOTEMPTY^ORDERBYsys_id", sysparm_fields="sys_id,duplicate_of")
    assert [(row["sys_id"], row["duplicate_of"]["value"]) for row in marked] == [(i, ids[0]) for i in ids[1:]]
    (task,) = talk.rows("reconcile_duplicate_task")
    results = talk.rows("duplicate_audit_result", "ORDERBYduplicate_id")
    assert [row["duplicate_id"] for row in results] == ids
    assert {row["follow_on_task"]["value"] for row in results} == {task["sys_id"]}
    (again,) = run(talk, [server("twin", os="y")])["items"]
    assert attempts(again)[-1] == "MATCHED"
    assert len(talk.rows("reconcile_duplicate_task")) == 1


@DUPLICATES
def test_at_the_threshold_duplicates_are_an_error_with_a_task(talk: Talk) -> None:
    twins(talk, 5)
    (item,) = run(talk, [server("twin", os="x")])["items"]
    assert codes(item) == ["MULTIPLE_DUPLICATE_RECORDS"]
    assert len(talk.rows("reconcile_duplicate_task")) == 1
    assert talk.rows(LINUX, "duplicate_ofISNOTEMPTY") == []
    put_property(talk, "glide.identification_engine.skip_duplicates.threshold", "6")
    assert run(talk, [server("twin", os="x")])["items"][0]["operation"] == "UPDATE"


@DUPLICATES
def test_a_duplicate_that_is_reported_itself_is_none_any_more(talk: Talk) -> None:
    info = {"source_name": "ServiceNow", "source_native_key": "k"}
    (made,) = run(talk, [{**server("one"), "sys_object_source_info": info}], "/enhanced")["items"]
    (main,) = run(talk, [server("two")])["items"]
    talk.patch(LINUX, made["sysId"], {"duplicate_of": main["sysId"]})
    run(talk, [{**server("one", os="x"), "sys_object_source_info": info}], "/enhanced")
    assert talk.rows(LINUX, "duplicate_ofISNOTEMPTY") == []


@DUPLICATES
def test_of_several_cis_with_one_serial_number_the_oldest_is_meant(talk: Talk) -> None:
    ids = twins(talk, 2)
    serial = {"serial_number": "S1", "serial_number_type": "uuid", "valid": "true", "absent": "false"}
    talk.instance.load("cmdb_serial_number", [serial | {"cmdb_ci": sys_id} for sys_id in ids])
    (item,) = run(talk, [server("twin", "S1", os="x")])["items"]
    assert (item["sysId"], item["operation"]) == (ids[0], "UPDATE")
    assert talk.rows("reconcile_duplicate_task") == []
    put_property(talk, "glide.identification_engine.lookup_match.create_duplicate_task_ci.enabled", "true")
    run(talk, [server("twin", "S1", os="y")])
    assert len(talk.rows("reconcile_duplicate_task")) == 1


@pytest.mark.behaviour("6.5", evidence="documentation: c_RelationQualifier.md")
def test_a_dependent_ci_is_found_again_through_its_qualifier(talk: Talk) -> None:
    values = {"name": "Qualifier Rule", "applies_to": "cmdb_ci_qualifier", "independent": "true", "active": "true"}
    made = talk.post("cmdb_identifier", values).result["sys_id"]
    talk.post("cmdb_identifier_entry", {"identifier": made, "attributes": "name", "order": "100", "active": "true"})
    items = [
        server("h"),
        {"className": "cmdb_ci_web_server", "values": {"name": "nginx"}},
        {"className": "cmdb_ci_qualifier", "values": {"name": "q"}},
    ]
    relations = [{"parent": 1, "child": 2, "type": RUNS}, {"parent": 2, "child": 0, "type": RUNS}]
    for operation in ("INSERT", "NO_CHANGE"):
        result = run(talk, items, relations=relations)
        assert [item["operation"] for item in result["items"]] == [operation] * 3
        assert [done["operation"] for done in result["relations"]] == [operation] * 2


@pytest.mark.behaviour("6.5", evidence="documentation: c_IdentifyReconcileAPI.md")
@pytest.mark.parametrize(("mode", "foreseen"), [("/query", "INSERT_AS_INCOMPLETE"), ("/queryEnhanced", "INSERT")])
def test_a_query_leaves_the_count_of_rows_of_every_table_as_it_was(talk: Talk, mode: str, foreseen: str) -> None:
    """Without partial commits one failed item keeps the others out, so the query foresees that."""
    put_property(talk, "glide.class.switch.enabled", "false")
    twins(talk, 3)
    run(talk, [server("box", "S1")])
    allow(talk, "ServiceNow", "os")
    talk.post("cmdb_ire_data_source_rule", {"applies_to": "cmdb_ci_win_server", "data_source": "ServiceNow"})
    items = [
        server("new", "S9", os="x"),
        server("twin", os="x"),
        server("box", class_name="cmdb_ci_win_server"),
        server("w", class_name="cmdb_ci_win_server"),
        {"className": LINUX, "values": {"os": "x"}, "sys_object_source_info": {"source_native_key": "k"}},
        {"className": "cmdb_ci_web_server", "values": {"name": "nginx"}},
    ]
    relations = [{"parent": 5, "child": 0, "type": RUNS}]
    before = counts(talk)
    result = run(talk, items, mode, relations=relations)
    assert counts(talk) == before
    assert result["items"][0]["operation"] == foreseen
    run(talk, items, "/enhanced", relations=relations)
    changed = {table for table, count in counts(talk).items() if count != before.get(table, 0)}
    assert {"cmdb", "task", "duplicate_audit_result", "cmdb_ire_partial_payloads"} <= changed, (
        "classes stand in the table of their root"
    )


def counts(talk: Talk) -> dict[str, int]:
    """Rows of every table of the database that has any; sqlite's own apart."""
    storage = talk.instance.storage
    names = [
        str(row[0])
        for row in storage.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'", ())
    ]
    sizes = {name: storage.rows(f'SELECT count(*) FROM "{name}"', ())[0][0] for name in names}
    return {name: int(size) for name, size in sizes.items() if size}


@pytest.mark.behaviour("6.5", evidence="documentation: c_IdentifyReconcileAPI.md")
def test_items_that_mean_the_same_are_joined_and_their_sub_items_taken_once(talk: Talk) -> None:
    one = {**server("a", "S1", os="Linux"), "related": []}
    two = server("a", "S1", ram="8192")
    (item,) = run(talk, [one, two], "/enhanced")["items"]
    assert (item["operation"], item["inputIndices"], len(item["relatedItems"])) == ("INSERT", [0, 1], 1)
    (row,) = talk.rows(LINUX)
    assert (row["os"], row["ram"]) == ("Linux", "8192")
    apart = run(talk, [one, two], "/enhanced", options="deduplicate_payloads:false")["items"]
    assert [codes(each) for each in apart] == [["DUPLICATE_PAYLOAD_RECORDS"]] * 2


@pytest.mark.behaviour("6.5", evidence="documentation: c_IdentifyReconcileAPI.md")
def test_the_source_of_a_ci_is_kept_and_seen_again(talk: Talk) -> None:
    info = {"source_name": "ServiceNow", "source_native_key": "n1", "source_feed": "nightly"}
    info["source_recency_timestamp"] = "2024-05-01 10:00:00"
    (made,) = run(talk, [{**server("one"), "sys_object_source_info": info}], "/enhanced")["items"]
    (row,) = talk.rows("sys_object_source")
    told = {key: row[key] for key in ("name", "id", "source_feed", "target_table", "source_recency_timestamp")}
    assert told == {
        "name": "ServiceNow",
        "id": "n1",
        "source_feed": "nightly",
        "target_table": LINUX,
        "source_recency_timestamp": "2024-05-01 10:00:00",
    }
    assert row["target_sys_id"] == made["sysId"]
    talk.instance.clock.advance(60)
    run(talk, [{**server("one"), "sys_object_source_info": info}], "/enhanced")
    (again,) = talk.rows("sys_object_source")
    assert again["last_scan"] > row["last_scan"]
