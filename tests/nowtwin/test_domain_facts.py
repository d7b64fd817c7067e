"""Task family, assets and CIs line by line, as far as other stories do not tell it (servicenow-api.md 11.1, 11.2)."""

from datetime import UTC, datetime

import pytest

from tests.nowtwin.talk import Record, Talk

pytestmark = pytest.mark.behaviour("11.1", evidence="documentation: c_IntValsForDfltChoiceList.md, SDKCORE, ITSM")


def choices(talk: Talk, table: str, element: str) -> dict[str, str]:
    rows = talk.rows("sys_choice", f"name={table}^element={element}^inactive=false", sysparm_fields="value,label")
    return {row["value"]: row["label"] for row in rows}


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("incident", "1 2 3 6 7 8"),
        ("change_request", "-5 -4 -3 -2 -1 0 3 4"),
        ("problem", "101 102 103 104 106 107"),
        ("problem_task", "151 152 154 157"),
        ("change_task", "-5 1 2 3 4"),
        ("task", "-5 1 2 3 4 7"),
    ],
)
def test_states_are_choices_of_each_class(talk: Talk, table: str, values: str) -> None:
    assert set(choices(talk, table, "state")) == set(values.split())


def test_hold_reasons_and_resolution_codes_are_the_current_ones(talk: Talk) -> None:
    assert set(choices(talk, "incident", "hold_reason")) == {"1", "3", "4", "5"}
    assert "Solution provided" in choices(talk, "incident", "close_code")
    assert "Solved (Permanently)" not in choices(talk, "incident", "close_code")


def test_the_external_key_of_a_task_is_shorter_than_that_of_a_ci(talk: Talk) -> None:
    query = "element=correlation_id^nameINtask,cmdb_ci^ORDERBYname"
    assert talk.names("sys_dictionary", query, "max_length") == ["512", "100"]


def resolved(talk: Talk, **values: str) -> str:
    admin = talk.rows("sys_user", "user_name=admin")[0]["sys_id"]
    body = {"state": "6", "close_code": "User error", "close_notes": "done", "resolved_by": admin, **values}
    sys_id: str = talk.post("incident", {"short_description": "x", **body}).result["sys_id"]
    return sys_id


@pytest.mark.behaviour(
    "11.1",
    evidence="documentation: incident properties; assumption: hourly, the default",
    switch="incident_autoclose_days",
)
def test_a_resolved_incident_is_closed_after_some_days(talk: Talk) -> None:
    talk.instance.clock.set(datetime(2026, 3, 1, 9, 4, tzinfo=UTC))
    talk.instance.clock.freeze()
    incident = resolved(talk)
    talk.instance.clock.advance(30 * 86400)
    assert talk.rows("incident")[0]["state"] == "6", "never, without the property"
    talk.control("PUT", "switches", {"incident_autoclose_days": 60})
    talk.instance.clock.advance(31 * 86400)
    row = talk.get(f"table/incident/{incident}").result
    assert (row["state"], row["incident_state"], row["active"]) == ("7", "7", "false")
    assert row["closed_by"] == row["resolved_by"]


@pytest.mark.behaviour("11.1", evidence="documentation: incident properties")
def test_the_days_count_from_resolution_or_from_the_last_update(talk: Talk) -> None:
    talk.instance.clock.freeze()
    talk.post("sys_properties", {"name": "glide.ui.autoclose.time", "value": "7"})
    incident = resolved(talk)
    talk.instance.clock.advance(6 * 86400)
    talk.patch("incident", incident, {"description": "touched"})
    talk.post("sys_properties", {"name": "com.snc.incident.autoclose.basedon.resolved_at", "value": "false"})
    talk.instance.clock.advance(2 * 86400)
    assert talk.rows("incident")[0]["state"] == "6"
    (row,) = talk.rows("sys_properties", "name=com.snc.incident.autoclose.basedon.resolved_at")
    talk.patch("sys_properties", row["sys_id"], {"value": "true"})
    talk.control("POST", "jobs")
    assert talk.rows("incident")[0]["state"] == "7"


@pytest.mark.behaviour("11.1", evidence="documentation: incident properties")
def test_an_incident_that_may_not_be_closed_stays_and_is_logged(talk: Talk) -> None:
    talk.instance.clock.freeze()
    talk.instance.load("incident", [{"number": "INC1", "state": "6", "resolved_at": "2020-01-01 00:00:00"}])
    talk.post("sys_properties", {"name": "glide.ui.autoclose.time", "value": "7"})
    talk.control("POST", "jobs")
    assert talk.rows("incident")[0]["state"] == "6"
    assert "INC1" in talk.names("syslog", "source=Autoclose Incidents", "message")[0]


ASSETS = pytest.mark.behaviour(
    "11.2",
    evidence="documentation: r_InstalledWithAssetManagement.md, SDKCORE, ITSM; measured by others: AssetAndCISynchronizer of an instance",
)


@ASSETS
def test_states_of_assets_and_cis_are_the_listed_ones(talk: Talk) -> None:
    assert set(choices(talk, "cmdb_ci", "install_status")) == {*"012345678", "100"}
    assert set(choices(talk, "cmdb_ci", "operational_status")) == set("12345678")
    assert {"1", "2", "3", "6", "7", "8", "9", "10"} <= set(choices(talk, "alm_asset", "install_status"))
    assert set(choices(talk, "cmdb_model", "asset_tracking_strategy")) > {"leave_to_category"}


@ASSETS
def test_criticality_is_spelled_with_one_s_on_services_only(talk: Talk) -> None:
    for table, element in (
        ("cmdb_ci_service", "busines_criticality"),
        ("service_offering", "busines_criticality"),
        ("cmdb_ci_business_app", "business_criticality"),
    ):
        record = talk.post(table, {"name": "x", element: "1 - most critical"}).result
        assert record[element] == "1 - most critical", table


@ASSETS
def test_every_csdm_class_is_a_ci(talk: Talk) -> None:
    for table in (
        "cmdb_ci_business_capability",
        "cmdb_ci_service_business",
        "cmdb_ci_service_technical",
        "cmdb_ci_service_discovered",
        "cmdb_ci_information_object",
        "cmdb_ci_sdlc_component",
    ):
        talk.instance.load(table, [{"name": table}])
        assert talk.names("cmdb_ci", f"sys_class_name={table}", "name") == [table]


@ASSETS
@pytest.mark.parametrize("name", ["Depends on::Used by", "Runs on::Runs", "Hosted on::Hosts", "Contains::Contained by"])
def test_a_relation_type_is_named_by_its_descriptors(talk: Talk, name: str) -> None:
    (row,) = talk.rows("cmdb_rel_type", f"name={name}")
    assert f"{row['parent_descriptor']}::{row['child_descriptor']}" == name


def category(talk: Talk, ci_class: str, asset_class: str = "alm_hardware") -> str:
    body = {"name": f"for {ci_class}", "cmdb_ci_class": ci_class, "asset_class": asset_class}
    sys_id: str = talk.post("cmdb_model_category", body).result["sys_id"]
    return sys_id


def asset(talk: Talk, model: str, model_category: str, **values: str) -> Record:
    reply = talk.post("alm_asset", {"model": model, "model_category": model_category, **values})
    assert reply.status == 201, reply.body
    found: Record = reply.result
    return found


@pytest.fixture
def model(talk: Talk) -> str:
    sys_id: str = talk.post("cmdb_model", {"name": "Thing"}).result["sys_id"]
    return sys_id


@ASSETS
def test_the_ci_class_of_a_model_comes_before_that_of_its_category(talk: Talk, model: str) -> None:
    computers = category(talk, "cmdb_ci_computer")
    talk.patch("cmdb_model", model, {"cmdb_ci_class": "cmdb_ci_printer"})
    asset(talk, model, computers)
    assert talk.names("cmdb_ci", "", "sys_class_name") == ["cmdb_ci_printer"]


@ASSETS
@pytest.mark.parametrize("asset_class", ["alm_consumable", "alm_license"])
def test_categories_of_consumables_and_licences_have_no_ci_class(talk: Talk, asset_class: str) -> None:
    body = {"name": "x", "asset_class": asset_class, "cmdb_ci_class": "cmdb_ci_computer"}
    assert talk.post("cmdb_model_category", body).error[:2] == (403, "Operation Failed")


@ASSETS
def test_for_what_is_no_hardware_the_state_of_the_ci_reaches_the_asset(talk: Talk, model: str) -> None:
    made = asset(talk, model, category(talk, "cmdb_ci_rack"), install_status="1")
    talk.patch("cmdb_ci", made["ci"]["value"], {"install_status": "3"})
    assert talk.rows("alm_asset")[0]["install_status"] == "3"
    (row,) = talk.rows("alm_asset_ci_state_mapping", "configuration_item_status=7")
    talk.patch("alm_asset_ci_state_mapping", row["sys_id"], {"synch_direction": "asset_to_ci"})
    talk.patch("cmdb_ci", made["ci"]["value"], {"install_status": "7"})
    assert talk.rows("alm_asset")[0]["install_status"] == "3"
    talk.patch("alm_asset", made["sys_id"], {"install_status": "7"})
    assert talk.rows("cmdb_ci")[0]["install_status"] == "7"


@ASSETS
def test_a_field_mapping_has_conditions_and_can_be_switched_off(talk: Talk, model: str) -> None:
    made = asset(talk, model, category(talk, "cmdb_ci_computer"), serial_number="S1")
    (row,) = talk.rows("alm_asset_ci_field_mapping", "asset_field=serial_number")
    talk.patch("alm_asset_ci_field_mapping", row["sys_id"], {"asset_mapping_condition": "install_status=6^EQ"})
    talk.patch("alm_asset", made["sys_id"], {"serial_number": "S2"})
    assert talk.names("cmdb_ci", "", "serial_number") == ["S1"]
    talk.patch("cmdb_ci", made["ci"]["value"], {"serial_number": "S3"})
    assert talk.names("alm_asset", "", "serial_number") == ["S3"]
    talk.patch("alm_asset", made["sys_id"], {"serial_number": "S4", "install_status": "6"})
    assert talk.names("cmdb_ci", "", "serial_number") == ["S4"]
    talk.patch("alm_asset_ci_field_mapping", row["sys_id"], {"active": "false"})
    talk.patch("cmdb_ci", made["ci"]["value"], {"serial_number": "S5"})
    assert talk.names("alm_asset", "", "serial_number") == ["S4"]


@ASSETS
def test_the_hardware_status_reaches_the_asset_where_its_mapping_says_so(talk: Talk, model: str) -> None:
    made = asset(talk, model, category(talk, "cmdb_ci_computer"), install_status="1")
    ci = made["ci"]["value"]
    talk.patch("cmdb_ci_computer", ci, {"hardware_status": "in_maintenance"})
    assert talk.rows("alm_asset")[0]["install_status"] == "1"
    (row,) = talk.rows("alm_hardware_state_mapping", "hardware_ci_status=in_maintenance")
    talk.patch("alm_hardware_state_mapping", row["sys_id"], {"synch_direction": "both"})
    talk.patch("cmdb_ci_computer", ci, {"hardware_status": "installed"})
    talk.patch("cmdb_ci_computer", ci, {"hardware_status": "in_maintenance"})
    assert talk.rows("alm_asset")[0]["install_status"] == "3"


@ASSETS
def test_a_mapping_of_a_substate_comes_before_that_of_its_state(talk: Talk, model: str) -> None:
    made = asset(talk, model, category(talk, "cmdb_ci_computer"), install_status="1")
    talk.patch("alm_asset", made["sys_id"], {"install_status": "8", "substatus": "stolen"})
    (row,) = talk.rows("cmdb_ci_computer")
    assert (row["install_status"], row["hardware_status"]) == ("8", "stolen")
    talk.patch("alm_asset", made["sys_id"], {"substatus": "lost"})
    assert talk.rows("cmdb_ci")[0]["install_status"] == "100"


@ASSETS
def test_the_cost_of_an_asset_reaches_its_ci_and_never_comes_back(talk: Talk, model: str) -> None:
    made = asset(talk, model, category(talk, "cmdb_ci_computer"))
    talk.patch("alm_asset", made["sys_id"], {"cost": "1200"})
    (row,) = talk.rows("cmdb_ci")
    assert (float(row["cost"]), row["cost_cc"]) == (1200.0, "USD")
    talk.patch("cmdb_ci", made["ci"]["value"], {"cost": "5"})
    assert float(talk.rows("alm_asset")[0]["cost"].rpartition(";")[2]) == 1200.0


@ASSETS
def test_ire_mode_is_about_hardware_and_looks_at_cis_too(talk: Talk, model: str) -> None:
    talk.post("sys_properties", {"name": "glide.asset.create_ci_with_ire", "value": "true"})
    assert asset(talk, model, category(talk, "cmdb_ci_rack"))["ci"] != ""
    computers = category(talk, "cmdb_ci_computer")
    talk.post("cmdb_ci_computer", {"name": "pc", "serial_number": "S9"})
    taken = talk.post("alm_asset", {"model": model, "model_category": computers, "serial_number": "S9"})
    assert taken.error[:2] == (403, "Operation Failed")
    assert "S9 already exists on a record of cmdb_ci" in (taken.error[2] or "")


@ASSETS
def test_a_delayed_asset_that_is_refused_stays_in_the_queue_with_its_error(talk: Talk, model: str) -> None:
    talk.patch("cmdb_model", model, {"cmdb_model_category": category(talk, "cmdb_ci_computer")})
    talk.post("sys_properties", {"name": "glide.create_alm_asset.async", "value": "true"})
    script = {
        "name": "No assets",
        "collection": "alm_hardware",
        "when": "before",
        "action_insert": True,
        "active": True,
    }
    talk.post("sys_script", {**script, "advanced": True, "script": "current.setAbortAction(true);"})
    talk.post("cmdb_ci_computer", {"name": "pc", "model_id": model})
    talk.control("POST", "jobs")
    (row,) = talk.rows("alm_asset_creation_queue")
    assert row["state"] == "error"
    assert "No assets" in row["error"]
    assert talk.rows("alm_asset") == []


@ASSETS
def test_workarena_s_laptop_needs_its_model_and_category_only(talk: Talk, model: str) -> None:
    body = {"model": model, "model_category": category(talk, "cmdb_ci_computer"), "asset_tag": "P1"}
    made = talk.post("alm_hardware", {**body, "warranty_expiration": "2030-01-01", "display_name": "mine"})
    assert (made.status, made.result["display_name"]) == (201, "P1 - Thing")
    assert made.result["warranty_expiration"] == "2030-01-01"


@pytest.mark.behaviour("11.1, 6.5", evidence="assumption: properties that are no sensible numbers")
@pytest.mark.parametrize("value", ["-1", "soon", "999999999999999", "1e300"])
def test_odd_numbers_in_properties_break_nothing(talk: Talk, value: str) -> None:
    for name in ("glide.ui.autoclose.time", "glide.identification_engine.mutex_expiration_time"):
        talk.post("sys_properties", {"name": name, "value": value})
    talk.post("sys_properties", {"name": "glide.identification_engine.skip_duplicates.threshold", "value": value})
    talk.post("sys_mutex", {"name": "cmdb_ci_linux_server", "acquired": "2020-01-01 00:00:00"})
    talk.control("POST", "jobs")
    item = {"className": "cmdb_ci_linux_server", "values": {"name": "x"}}
    reply = talk.send("POST", "identifyreconcile", {"items": [item]}, sysparm_data_source="ServiceNow")
    assert reply.status == 200


@pytest.mark.behaviour("11.1", evidence="documentation: c_IntValsForDfltChoiceList.md")
def test_a_new_record_takes_its_state_from_either_column(talk: Talk) -> None:
    for body, state in (
        ({"incident_state": "2"}, "2"),
        ({"state": "2"}, "2"),
        ({"state": "6", "incident_state": "2"}, "6"),
    ):
        close = {"close_code": "Duplicate", "close_notes": "x"}
        made = talk.post("incident", body | close).result
        assert (made["state"], made["incident_state"]) == (state, state)


@pytest.mark.behaviour("11.1", evidence="documentation: reopening-incident.md, hint of reopen_count")
def test_an_incident_that_leaves_resolved_or_closed_is_reopened(talk: Talk) -> None:
    admin = talk.rows("sys_user", "user_name=admin")[0]["sys_id"]
    incident = resolved(talk)
    told = talk.get(f"table/incident/{incident}").result
    assert (told["reopen_count"], told["reopened_by"], told["reopened_time"]) == ("0", "", "")
    talk.patch("incident", incident, {"state": "7"})
    told = talk.patch("incident", incident, {"state": "2"}).result
    assert (told["reopen_count"], told["reopened_by"]["value"]) == ("1", admin)
    assert told["reopened_time"] == told["sys_updated_on"]
    talk.patch("incident", incident, {"state": "3"})
    talk.patch("incident", incident, {"state": "6"})
    assert talk.patch("incident", incident, {"incident_state": "2"}).result["reopen_count"] == "2"
    talk.patch("incident", incident, {"state": "6"})
    said = {"state": "1", "reopen_count": "9", "reopened_time": "2020-01-01 00:00:00"}
    told = talk.patch("incident", incident, said).result
    assert (told["reopen_count"], told["reopened_time"]) == ("9", "2020-01-01 00:00:00")
    talk.patch("incident", incident, {"state": "6"})
    told = talk.patch("incident", incident, {"state": "8"}).result
    assert (told["state"], told["reopen_count"]) == ("8", "9")


@pytest.mark.behaviour("11.1", evidence="documentation: hint of problem.reopen_count")
def test_a_problem_that_leaves_resolved_is_reopened(talk: Talk) -> None:
    talk.instance.load("problem", [{"sys_id": "1" * 32, "state": "106", "problem_state": "106"}])
    told = talk.patch("problem", "1" * 32, {"state": "103"}).result
    assert (told["reopen_count"], told["reopened_at"]) == ("1", told["sys_updated_on"])
    assert talk.patch("problem", "1" * 32, {"state": "104"}).result["reopen_count"] == "1"


@pytest.mark.behaviour(
    "11.1",
    evidence="documentation: incident-management: journal edits by a caller can",
    switch="caller_comment_reopens",
)
def test_a_comment_of_the_caller_reopens_a_resolved_incident(talk: Talk) -> None:
    caller = talk.instance.add_user("beth", "p", roles=("itil",))
    incident = resolved(talk, caller_id=caller)
    beth = talk.as_user("beth", "p")
    told = talk.patch("incident", incident, {"comments": "we look at it"}).result
    assert told["state"] == "6", "not the caller"
    talk.control("PUT", "switches", {"caller_comment_reopens": False})
    assert beth.patch("incident", incident, {"comments": "it is broken again"}).result["state"] == "6"
    talk.control("PUT", "switches", {"caller_comment_reopens": True})
    assert beth.patch("incident", incident, {"work_notes": "hm"}).result["state"] == "6"
    told = beth.patch("incident", incident, {"comments": "it is broken again"}).result
    assert (told["state"], told["incident_state"], told["reopen_count"]) == ("2", "2", "1")
    assert told["reopened_by"]["value"] == caller
    assert beth.patch("incident", incident, {"comments": "hello?"}).result["reopen_count"] == "1"
