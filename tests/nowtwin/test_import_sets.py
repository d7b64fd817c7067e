"""Import sets over HTTP (servicenow-api.md 6.1; c_ImportSetAPI.md): staging, transform maps, coalesce, many at once."""

import pytest

from tests.nowtwin.documented import differences, example
from tests.nowtwin.imports import STAGING, field, load, many, result
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour("6.1", evidence="documentation: c_ImportSetAPI.md")


def test_a_row_becomes_a_record_and_the_same_key_changes_it(talk: Talk, incidents: str) -> None:
    first = result(talk, u_ticket="T1", u_text="printer")
    assert (first["status"], first["table"], first["transform_map"]) == ("inserted", "incident", "Incidents")
    assert first["record_link"] == f"{talk.url}/api/now/table/incident/{first['sys_id']}"
    assert first["display_name"] == "number"
    assert first["display_value"].startswith("INC")
    again = result(talk, u_ticket="T1", u_text="two printers")
    assert (again["status"], again["sys_id"]) == ("updated", first["sys_id"])
    same = result(talk, u_ticket="T1", u_text="two printers")
    assert (same["status"], same["status_message"]) == ("ignored", "No field values changed")
    assert talk.names("incident", "") == ["two printers"]


def test_staging_rows_keep_what_came_of_them(talk: Talk, incidents: str) -> None:
    made = load(talk, u_ticket="T1", u_text="printer", no_such_column="x")
    (row,) = talk.rows(STAGING)
    assert (row["u_ticket"], row["sys_import_state"], row["sys_import_row"]) == ("T1", "inserted", "0")
    assert row["sys_target_sys_id"] == made.result[0]["sys_id"]
    again = talk.get(f"import/{STAGING}/{row['sys_id']}")
    assert again.json == made.json
    (import_set,) = talk.rows("sys_import_set")
    assert import_set["number"] == made.json["import_set"]
    load(talk, u_ticket="T2")
    assert [row["sys_import_row"] for row in talk.rows(STAGING, "ORDERBYsys_import_row")] == ["0", "1"]
    assert len(talk.rows("sys_import_set")) == 1
    talk.delete(STAGING, row["sys_id"])
    assert talk.get(f"import/{STAGING}/{row['sys_id']}").status == 404


def test_every_map_of_the_table_gives_a_result_in_its_order(talk: Talk, incidents: str) -> None:
    values = {"name": "Problems", "source_table": STAGING, "target_table": "problem", "order": "50"}
    problems = talk.post("sys_transform_map", values).result["sys_id"]
    field(talk, problems, "u_text", "short_description")
    entries = load(talk, u_ticket="T1", u_text="x").result
    assert [entry["transform_map"] for entry in entries] == ["Problems", "Incidents"]
    talk.patch("sys_transform_map", incidents, {"active": "false"})
    assert len(load(talk, u_text="y").result) == 1


def test_references_are_found_by_name_created_ignored_or_rejected(talk: Talk, incidents: str) -> None:
    beth = talk.post("sys_user", {"first_name": "Beth", "last_name": "Anglin", "user_name": "beth"}).result["sys_id"]
    field(talk, incidents, "u_caller", "caller_id", choice_action="ignore")
    (entry,) = talk.rows("sys_transform_entry", "target_field=caller_id")
    result(talk, u_ticket="T1", u_caller="Beth Anglin")
    result(talk, u_ticket="T2", u_caller="Nobody")
    callers = talk.rows("incident", "ORDERBYcorrelation_id", sysparm_fields="caller_id")
    assert [row["caller_id"] and row["caller_id"]["value"] for row in callers] == [beth, ""]
    talk.patch("sys_transform_entry", entry["sys_id"], {"choice_action": "reject"})
    rejected = result(talk, u_ticket="T3", u_caller="Nobody")
    assert (rejected["status"], rejected["status_message"]) == (
        "ignored",
        "Row rejected: no record of sys_user for Nobody",
    )
    talk.patch("sys_transform_entry", entry["sys_id"], {"choice_action": "create"})
    assert result(talk, u_ticket="T4", u_caller="Nobody")["status"] == "inserted"
    assert len(talk.rows("sys_user", "name=Nobody")) == 1
    talk.patch("sys_transform_entry", entry["sys_id"], {"reference_value_field": "user_name"})
    result(talk, u_ticket="T5", u_caller="beth")
    assert talk.rows("incident", "correlation_id=T5")[0]["caller_id"]["value"] == beth


def test_choices_are_taken_by_label_and_new_ones_made_where_the_map_says_so(talk: Talk, incidents: str) -> None:
    field(talk, incidents, "u_state", "category", choice_action="create")
    result(talk, u_ticket="T1", u_state="Hardware")
    result(talk, u_ticket="T2", u_state="brand new")
    rows = talk.rows("incident", "ORDERBYcorrelation_id", sysparm_fields="category")
    assert [row["category"] for row in rows] == ["hardware", "brand new"]
    assert len(talk.rows("sys_choice", "name=incident^element=category^value=brand new")) == 1


def test_empty_values_clear_nothing_unless_the_map_copies_them(talk: Talk, incidents: str) -> None:
    result(talk, u_ticket="T1", u_text="printer")
    assert result(talk, u_ticket="T1", u_text="")["status"] == "ignored"
    talk.patch("sys_transform_map", incidents, {"copy_empty_fields": "true"})
    assert result(talk, u_ticket="T1", u_text="")["status"] == "updated"
    assert talk.names("incident", "") == [""]


def test_a_row_without_its_key_is_skipped_unless_the_map_creates_it(talk: Talk, incidents: str) -> None:
    ignored = result(talk, u_text="no key")
    assert (ignored["status"], ignored["status_message"]) == ("skipped", "All coalesce fields are empty")
    talk.patch("sys_transform_map", incidents, {"create_new_record_on_empty_coalesce_fields": "true"})
    assert [result(talk, u_text="no key")["status"] for _ in range(2)] == ["inserted", "inserted"]


@pytest.mark.behaviour("6.1", evidence="assumption: sources differ or are silent", switch="import_error_status")
def test_mandatory_columns_are_enforced_where_the_map_says_so(talk: Talk, incidents: str) -> None:
    talk.patch("sys_transform_map", incidents, {"enforce_mandatory_fields": "only_mapped_fields"})
    (column,) = talk.rows("sys_dictionary", "name=task^element=short_description")
    talk.patch("sys_dictionary", column["sys_id"], {"mandatory": "true"})
    failed = result(talk, u_ticket="T1")
    assert failed["status"] == "error"
    assert failed["error_message"] == "Target record has missing mandatory fields: Short description"
    assert talk.rows(STAGING)[0]["sys_import_state"] == "error"
    talk.control("PUT", "switches", {"import_error_status": 200})
    assert load(talk, u_ticket="T1").status == 200


def test_scripts_of_the_map_see_source_and_target(talk: Talk, incidents: str) -> None:
    script = """(function runTransformScript(source, map, log, target) {
        if (source.u_state == 'skip') { ignore = true; status_message = 'not wanted'; }
        if (source.u_state == 'bad') { error = true; error_message = 'broken'; }
        target.description = source.u_text + ' from ' + map.name;
    })(source, map, log, target);"""
    talk.patch("sys_transform_map", incidents, {"run_script": "true", "script": script})
    assert result(talk, u_ticket="T1", u_text="x")["status"] == "inserted"
    assert talk.rows("incident")[0]["description"] == "x from Incidents"
    skipped = result(talk, u_ticket="T2", u_state="skip")
    assert (skipped["status"], skipped["status_message"]) == ("ignored", "not wanted")
    broken = result(talk, u_ticket="T3", u_state="bad")
    assert (broken["status"], broken["error_message"]) == ("error", "broken")


def test_a_source_script_makes_a_value(talk: Talk, incidents: str) -> None:
    script = "answer = (function transformEntry(source) { return 'got ' + source.u_text; })(source);"
    field(talk, incidents, "[Script]", "description", use_source_script="true", source_script=script)
    result(talk, u_ticket="T1", u_text="x")
    assert talk.rows("incident")[0]["description"] == "got x"


def test_a_refused_write_is_an_error_of_its_row(talk: Talk, incidents: str) -> None:
    column = {"name": "incident", "element": "u_serial", "internal_type": "string", "unique": "true"}
    talk.post("sys_dictionary", column)
    field(talk, incidents, "u_state", "u_serial")
    assert result(talk, u_ticket="T1", u_state="S")["status"] == "inserted"
    failed = result(talk, u_ticket="T2", u_state="S")
    assert failed["status"] == "error"
    assert "Unique Key violation" in failed["error_message"]
    assert "sys_id" not in failed


def test_many_rows_are_transformed_later_and_keyed_by_label(talk: Talk, incidents: str) -> None:
    ids = many(talk, {"Ticket": "T1", "Text": "one"}, {"Ticket": "T2", "Text": "two", "u_text": "not a label"})
    assert set(ids) == {"import_set_id", "multi_import_set_id"}
    talk.control("POST", "jobs")
    assert sorted(talk.names("incident", "")) == ["one", "two"]
    (import_set,) = talk.rows("sys_import_set", f"sys_id={ids['import_set_id']}")
    assert import_set["state"] == "processed"
    assert talk.rows("sys_import_set_run")[0]["inserts"] == "2"
    joined = many(talk, {"Ticket": "T3"}, multi_import_set_id=ids["multi_import_set_id"])
    assert joined["multi_import_set_id"] == ids["multi_import_set_id"]
    assert joined["import_set_id"] != ids["import_set_id"]


def test_a_record_makes_many_rows_synchronous_and_keyed_by_name(talk: Talk, incidents: str) -> None:
    setting = {"source_table": STAGING, "transformation_type": "synchronous", "column_mapping": "name"}
    talk.post("sys_rest_insert_multiple", setting)
    many(talk, {"u_ticket": "T1", "u_text": "one"}, {"u_ticket": "T1", "u_text": "one again"})
    assert talk.names("incident", "") == ["one again"]


def test_nested_values_are_stored_as_the_platform_prints_them(talk: Talk, incidents: str) -> None:
    load(talk, u_ticket="T1", u_text={"a": 1, "b": [True, None]})
    assert talk.rows(STAGING)[0]["u_text"] == "{a=1, b=[true, ]}"


def test_only_staging_tables_can_be_loaded(talk: Talk) -> None:
    assert talk.send("POST", "import/incident", {}).error[:2] == (400, "Invalid staging table incident")
    assert talk.send("POST", "import/no_such", {}).error[:2] == (400, "Invalid table no_such")
    assert talk.get("import/imp_user").status == 405


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"records": 1}', b'{"records": ["x"]}', b"[]", b""])
def test_a_malformed_body_of_many_rows_is_refused(talk: Talk, body: bytes) -> None:
    reply = talk.call("POST", "/api/now/import/imp_user/insertMultiple", body, {"Content-Type": "application/json"})
    assert (reply.status, reply.json["status"]) == (400, "failure")


def test_the_documented_user_import_answers_in_the_documented_shape(talk: Talk) -> None:
    (documented,) = example("Import Set - POST /now/import/{stagingTableName}")["responses"]
    values = {"first_name": "John", "last_name": "Public", "user_id": "john.public", "email": "john.public@company.com"}
    reply = talk.send("POST", "import/imp_user", values)
    assert differences(documented, reply.json) == []
    told, said = documented["result"][0], reply.result[0]
    for key in ("transform_map", "table", "display_name", "display_value", "status"):
        assert said[key] == told[key]
    assert (reply.status, reply.json["import_set"]) == (201, documented["import_set"])
    row = talk.rows("imp_user")[0]["sys_id"]
    (documented,) = example("Import Set - GET /now/import/{stagingTableName}/{sys_id}")["responses"]
    assert differences(documented, talk.get(f"import/imp_user/{row}").json) == []
