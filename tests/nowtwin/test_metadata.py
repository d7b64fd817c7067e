"""The dictionary read as tables, and changed through them (servicenow-api.md 3.2, 3.3)."""

from typing import Any

import pytest

from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour(
    "3.2", evidence="recorded exchange: public rows of sys_dictionary and sys_number; documentation: sys_db_object"
)


def test_a_dictionary_row_refers_to_types_and_tables_by_name(talk: Talk) -> None:
    (row,) = talk.rows("sys_dictionary", "name=incident^element=caller_id")
    base = f"{talk.url}/api/now/table"
    assert row["internal_type"] == {"link": f"{base}/sys_glide_object?name=reference", "value": "reference"}
    assert row["reference"] == {"link": f"{base}/sys_db_object?name=sys_user", "value": "sys_user"}
    followed = talk.call("GET", row["reference"]["link"].removeprefix(talk.url)).result
    assert [table["name"] for table in followed] == ["sys_user"]


def test_a_table_has_a_collection_row_and_top_tables_the_system_columns(talk: Talk) -> None:
    rows = talk.rows("sys_dictionary", "name=task", sysparm_fields="element,internal_type,max_length")
    by_element = {row["element"]: row for row in rows}
    assert by_element[""]["internal_type"]["value"] == "collection"
    assert by_element["sys_updated_on"]["internal_type"]["value"] == "glide_date_time"
    assert by_element["short_description"]["max_length"] == "160"
    assert "category" not in by_element


def test_a_retired_column_stays_in_the_dictionary_only(talk: Talk) -> None:
    assert talk.names("sys_dictionary", "name=task^active=false^ORDERBYelement", "element") == [
        "rejection_goto",
        "variables",
        "wf_activity",
    ]
    talk.instance.load("incident", [{"wf_activity": "1" * 32}])
    assert "wf_activity" not in talk.rows("incident")[0]


def test_the_class_tree_is_walked_through_super_class(talk: Talk) -> None:
    line = ["incident"]
    while True:
        (row,) = talk.rows("sys_db_object", f"name={line[-1]}", sysparm_fields="super_class.name")
        if not row["super_class.name"]:
            break
        line.append(row["super_class.name"])
    assert line == ["incident", "task"]
    children = talk.names("sys_db_object", "super_class.name=cmdb_ci_server^ORDERBYname", "name")
    assert "cmdb_ci_linux_server" in children
    assert "cmdb_ci_computer" not in children


def test_the_choices_of_a_column(talk: Talk) -> None:
    rows = talk.rows("sys_choice", "name=incident^element=state^ORDERBYvalue", sysparm_fields="value,label")
    assert [(row["value"], row["label"]) for row in rows] == [
        ("1", "New"),
        ("2", "In Progress"),
        ("3", "On Hold"),
        ("6", "Resolved"),
        ("7", "Closed"),
        ("8", "Canceled"),
    ]


def test_numbers_types_and_labels_are_tables_too(talk: Talk) -> None:
    (number,) = talk.rows("sys_number", "category=incident")
    assert (number["prefix"], number["maximum_digits"]) == ("INC", "7")
    assert number["category"]["link"].endswith("/sys_db_object?name=incident")
    assert len(talk.rows("sys_glide_object", "name=glide_date_time")) == 1
    (label,) = talk.rows("sys_documentation", "name=incident^element=caller_id")
    assert label["label"] == "Caller"


def test_sys_metadata_is_the_union_of_what_extends_it(talk: Talk) -> None:
    classes = {"sys_dictionary", "sys_db_object", "sys_choice"}
    for name in classes:
        talk.rows(name, sysparm_limit=1)
    total = int(talk.get("table/sys_metadata", sysparm_limit=1).headers["x-total-count"])
    of_dictionary = int(talk.get("table/sys_dictionary", sysparm_limit=1).headers["x-total-count"])
    assert total > of_dictionary > 3000
    (row,) = talk.rows("sys_metadata", "sys_class_name=sys_choice", sysparm_limit=1)
    assert "element" not in row
    assert row["sys_update_name"].startswith("sys_choice_")


def _super_class(talk: Talk, name: str) -> str:
    (row,) = talk.rows("sys_db_object", f"name={name}", sysparm_fields="sys_id")
    found: Any = row["sys_id"]
    return str(found)


def test_a_custom_table_with_columns_and_choices_can_be_made_and_used(talk: Talk) -> None:
    parent = _super_class(talk, "task")
    assert talk.post("sys_db_object", {"name": "u_order", "label": "Order", "super_class": parent}).status == 201
    column = {"name": "u_order", "element": "u_size", "internal_type": "integer", "column_label": "Size", "choice": "1"}
    assert talk.post("sys_dictionary", column).status == 201
    talk.post("sys_choice", {"name": "u_order", "element": "u_size", "value": "2", "label": "Large"})
    record = talk.post("u_order", {"short_description": "Chairs", "u_size": 2}, sysparm_display_value="all").result
    assert record["u_size"] == {"display_value": "Large", "value": "2"}
    assert record["sys_class_name"] == {"display_value": "Order", "value": "u_order"}
    assert talk.names("task", "short_description=Chairs") == ["Chairs"]


def test_a_new_table_has_its_rows_in_the_dictionary(talk: Talk) -> None:
    talk.post("sys_db_object", {"name": "u_root", "label": "Root", "is_extendable": "true"})
    talk.post("sys_dictionary", {"name": "u_root", "element": "u_size", "internal_type": "integer"})
    talk.post("sys_db_object", {"name": "u_leaf", "label": "Leaf", "super_class": _super_class(talk, "u_root")})
    system = ["sys_class_name", "sys_created_by", "sys_created_on", "sys_id", "sys_mod_count", "sys_updated_by"]
    system.append("sys_updated_on")
    assert talk.names("sys_dictionary", "name=u_root^ORDERBYelement", "element") == ["", *system, "u_size"]
    assert talk.names("sys_documentation", "name=u_root^elementISEMPTY", "label") == ["Root"]
    assert talk.names("sys_dictionary", "name=u_leaf", "element") == [""]
    (made,) = talk.rows("sys_db_object", "name=u_root")
    (row,) = talk.rows("sys_dictionary", "name=u_root^element=sys_id")
    assert (row["sys_created_on"], row["internal_type"]["value"]) == (made["sys_created_on"], "GUID")


def test_a_later_schema_document_adds_tables_columns_and_a_parent(talk: Talk) -> None:
    instance = talk.instance
    instance.load("sys_user_role", [{"name": "itil"}])
    instance.load_schema(
        {
            "tables": [{"name": "u_thing", "label": "Thing"}, {"name": "u_part", "super_class": "u_thing"}],
            "columns": [{"table": "u_thing", "element": "u_name", "internal_type": "string"}],
        }
    )
    instance.load("u_part", [{"u_name": "wheel"}])
    assert talk.names("u_thing", "u_name=wheel", "u_name") == ["wheel"]
    assert talk.names("sys_db_object", "nameSTARTSWITHu_^ORDERBYname", "name") == ["u_part", "u_thing"]
    instance.load_schema({"tables": [{"name": "u_thing", "super_class": "task"}]})
    assert talk.names("task", "sys_class_name=u_part", "sys_class_name") == ["u_part"]


@pytest.mark.behaviour("3.3", evidence="documentation: table-extension-and-classes.md")
def test_classes_of_a_partitioned_tree_have_copies_of_the_entries_above_them(talk: Talk) -> None:
    for table in ("cmdb", "cmdb_ci", "cmdb_ci_hardware", "cmdb_ci_linux_server"):
        assert talk.names("sys_db_object", f"name={table}", "extension_model") == ["partition"]
        (row,) = talk.rows("sys_dictionary", f"name={table}^element=sys_created_on")
        assert row["column_label"] == "Created"
    copies = talk.names("sys_dictionary", "name=cmdb_ci_linux_server", "element")
    assert {"", "name", "serial_number", "os_version", "sys_class_name"} <= set(copies)
    assert len(copies) == len(set(copies)) > 80
    assert "short_description" not in talk.names("sys_dictionary", "name=sc_task", "element")  # stored by hierarchy
    parent = _super_class(talk, "cmdb_ci_server")
    talk.post("sys_db_object", {"name": "u_cmdb_ci_oven", "label": "Oven", "super_class": parent})
    assert "serial_number" in talk.names("sys_dictionary", "name=u_cmdb_ci_oven", "element")
