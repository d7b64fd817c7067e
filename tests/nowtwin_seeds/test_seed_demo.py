"""The demo as rows, checked against the shipped records that it comes from."""

from collections import Counter
from typing import Any

import pytest

from nowtwin.instance import Instance
from nowtwin.seeds import load_demo
from nowtwin.seeds.demo import demo_dictionary, demo_rows, shipped
from nowtwin.seeds.demo_records import Tables
from nowtwin.seeds.generator_pool import PRIORITY

# Values that point at no row on the instance the records come from, nor here: a system account, a user without a
# display value, a deleted one.
WITHOUT_A_ROW = {"glide.maint", "felix.bait", "518b1a8f0a0a2c3e619587e5f996b110"}
# Values outside their choice list, as the records show them: "(2)", "(-1)", "-1".
UNLISTED = {
    ("incident", "hold_reason", "2"),
    ("change_request", "scope", "-1"),
    ("change_request", "phase", "-1"),
}


@pytest.fixture(scope="module")
def tables() -> Tables:
    return demo_rows()


@pytest.fixture(scope="module")
def shown() -> dict[str, list[dict[str, Any]]]:
    records: dict[str, list[dict[str, Any]]] = shipped("demo_records.workarena.json.gz")["records"]
    return records


def by(rows: list[dict[str, str]], element: str, value: str) -> dict[str, str]:
    return next(row for row in rows if row.get(element) == value)


def test_every_record_becomes_a_row(tables: Tables, shown: dict[str, list[dict[str, Any]]]) -> None:
    for table, records in shown.items():
        stored = {row["sys_id"] for row in tables[table]}
        assert {record["sys_id"] for record in records} <= stored
    assert len(tables["incident"]) == 67
    assert len(tables["alm_hardware"]) == 473
    assert (len(tables["kb_knowledge"]), len(tables["sc_cat_item"])) == (111, 9)


def test_a_known_incident_has_the_values_an_instance_stores(tables: Tables) -> None:
    incident = by(tables["incident"], "number", "INC0000001")
    expected = {
        "state": "7",
        "incident_state": "7",
        "active": "false",
        "impact": "1",
        "urgency": "1",
        "priority": "1",
        "category": "network",
        "contact_type": "self-service",
        "close_code": "Resolved by caller",
        "opened_at": "2023-07-09 23:09:51",
        "business_stc": "1892781",
        "business_duration": "1970-01-22 21:46:21",
        "sys_domain": "global",
    }
    assert {element: incident.get(element) for element in expected} == expected
    assert by(tables["sys_user"], "sys_id", incident["caller_id"])["name"] == "Fred Luddy"
    assert by(tables["sys_user_group"], "sys_id", incident["assignment_group"])["name"] == "Service Desk"


def test_the_priority_of_every_incident_is_the_lookup_of_impact_and_urgency(tables: Tables) -> None:
    disagreeing = [
        row["number"] for row in tables["incident"] if row["priority"] != PRIORITY[row["impact"], row["urgency"]]
    ]
    assert disagreeing == []


def test_every_column_is_known_and_no_value_is_empty(tables: Tables) -> None:
    dictionary = demo_dictionary()
    for table, rows in tables.items():
        columns = dictionary.columns(table)
        assert {element for row in rows for element in row} <= columns.keys(), table
        assert not [row for row in rows if "" in row.values()], table


def test_every_reference_points_at_a_row_of_its_class(tables: Tables) -> None:
    dictionary = demo_dictionary()
    classes = {row["sys_id"]: table for table, rows in tables.items() for row in rows}
    dangling: Counter[str] = Counter()
    references = (
        (table, element, dictionary.columns(table)[element], value)
        for table, rows in tables.items()
        for row in rows
        for element, value in row.items()
    )
    for table, element, column, value in references:
        if column.type == "reference" and value not in classes:
            dangling[value] += 1
        elif column.type == "reference":
            assert column.reference in dictionary.lineage(classes[value]), (table, element)
    assert dangling.keys() == WITHOUT_A_ROW


def test_every_choice_shows_again_as_the_label_it_was_read_from(
    tables: Tables, shown: dict[str, list[dict[str, Any]]]
) -> None:
    dictionary = demo_dictionary()
    unlisted = set()
    rows = {(table, row["sys_id"]): row for table in shown for row in tables[table]}
    cells = (
        (table, element, dictionary.choice_labels(table, element), rows[table, record["sys_id"]], record)
        for table, records in shown.items()
        for record in records
        for element, column in dictionary.columns(table).items()
        if column.choice
    )
    for table, element, labels, row, record in cells:
        value = row.get(element, "")
        if labels and value in labels:
            assert labels[value] == record[element], (table, element)
        elif labels and value:
            unlisted.add((table, element, value))
            assert record[element] in (value, f"({value})")
    assert unlisted == UNLISTED


def test_sys_ids_are_unique_and_users_have_user_names_of_their_own(tables: Tables) -> None:
    for table, rows in tables.items():
        assert len({row["sys_id"] for row in rows}) == len(rows), table
    user_names = [user["user_name"] for user in tables["sys_user"]]
    assert len(set(user_names)) == len(user_names)
    assert {"admin", "itil", "employee", "guest"} <= set(user_names)


def test_a_thing_known_by_name_in_two_columns_is_one_row(tables: Tables) -> None:
    """`Email` is a business service for one column and a CI for another."""
    email = [
        (table, row) for table in tables for row in tables[table] if row.get("name") == "Email" and "cmdb" in table
    ]
    assert [table for table, _ in email] == ["cmdb_ci_service"]
    pointing = [row for row in tables["incident"] + tables["problem"] if row.get("cmdb_ci") == email[0][1]["sys_id"]]
    assert pointing


def test_an_asset_and_its_ci_point_at_each_other(tables: Tables) -> None:
    cis = {row["sys_id"]: row for row in tables["cmdb_ci_computer"] + tables["cmdb_ci_hardware"]}
    for asset in tables["alm_hardware"]:
        ci = cis[asset["ci"]]
        assert ci["asset"] == asset["sys_id"]
        assert ci["model_id"] == asset["model"]
        assert ci.get("serial_number") == asset.get("serial_number")


def test_open_incidents_have_no_resolution_and_no_text_is_filler(tables: Tables) -> None:
    active = [row for row in tables["incident"] if row["active"] == "true"]
    assert len(active) == 40
    assert not [row for row in active if {"close_code", "close_notes"} & row.keys()]
    texts = {row.get("description") for table in ("incident", "problem", "change_request") for row in tables[table]}
    assert "obfuscous quarter chillroom gruffness martellate" not in texts
    assert "culminate beglerbeg segreant Anthus tenebrious" not in texts
    assert "Connections seem to be slow" in texts


def test_shown_journals_become_entries_with_author_and_time(tables: Tables) -> None:
    entries = tables["sys_journal_field"]
    assert all(entry["value"] and entry["sys_created_by"] and entry["sys_created_on"] for entry in entries)
    attached = by(entries, "value", "Added an attachment")
    assert (attached["element"], attached["sys_created_by"]) == ("comments", "admin")
    tasks = {row["sys_id"] for table in ("incident", "problem", "change_request") for row in tables[table]}
    assert {entry["element_id"] for entry in entries} <= tasks


def test_menu_and_layouts_keep_their_order(tables: Tables) -> None:
    menu = [row for row in tables["sys_app_module"] if row["link_type"] != "SEPARATOR"]
    assert len(menu) == 1000
    assert by(menu, "title", "Business Applications")["name"] == "cmdb_ci_business_app"
    layout = by(tables["sys_ui_list"], "name", "incident")["sys_id"]
    elements = [row for row in tables["sys_ui_list_element"] if row["list_id"] == layout]
    assert [row["element"] for row in elements[:3]] == ["number", "caller_id", "category"]
    assert [row["position"] for row in elements] == [str(place) for place in range(len(elements))]


def test_two_makings_of_the_demo_are_equal(tables: Tables) -> None:
    assert demo_rows() == tables


def test_an_instance_holds_the_demo_and_a_second_load_adds_nothing(tables: Tables) -> None:
    with Instance() as instance:
        loaded = load_demo(instance)
        assert all(loaded[table] >= len(rows) for table, rows in tables.items())
        assert instance.count("incident") == 67
        recorded, requested = ("incident", "problem", "change_request"), ("sc_request", "sc_req_item", "sc_task")
        assert instance.count("task") == sum(loaded[table] for table in (*recorded, *requested))
        assert instance.count("incident", "active=true^priority=1") == sum(
            row["active"] == "true" and row["priority"] == "1" for row in tables["incident"]
        )
        stored = instance.read("incident", by(tables["incident"], "number", "INC0000001")["sys_id"])
        assert stored is not None
        assert stored["business_duration"] == "1970-01-22 21:46:21"
        assert stored["sys_class_name"] == "incident"
        before = {table: instance.count(table) for table in loaded}
        load_demo(instance)
        assert {table: instance.count(table) for table in loaded} == before


def test_the_next_number_is_above_the_demo(tables: Tables) -> None:
    with Instance() as instance:
        load_demo(instance)
        number = instance.insert("incident", {"short_description": "new"}).values["number"]
        assert number not in {row["number"] for row in tables["incident"]}
        assert number > max(row["number"] for row in tables["incident"])
