"""What sources leave open about writing: each switch turned, the answer is the other one."""

import pytest

from tests.nowtwin.talk import Talk

ONE, TWO = "1" * 32, "2" * 32
SYSTEM = {
    "sys_created_on": "2001-01-01 00:00:00",
    "sys_created_by": "history",
    "sys_updated_on": "2002-02-02 00:00:00",
    "sys_updated_by": "history",
    "sys_mod_count": "41",
}


def switch(talk: Talk, name: str, value: object) -> None:
    talk.control("PUT", "switches", {name: value})


def column(talk: Talk, element: str, kind: str, **more: object) -> None:
    """A column of that type on incident."""
    entry = {"table": "incident", "element": element, "internal_type": kind, **more}
    talk.instance.load_schema({"tables": [], "columns": [entry], "choices": []})


@pytest.mark.behaviour(
    "1.7", evidence="assumption: cut, or refused in the words of the database", switch="truncate_long_strings"
)
def test_a_long_text_is_cut_or_refused(talk: Talk) -> None:
    assert talk.post("incident", {"short_description": "x" * 200}).result["short_description"] == "x" * 160
    switch(talk, "truncate_long_strings", value=False)
    refused = talk.post("incident", {"short_description": "x" * 200})
    detail = "Data truncation: Data too long for column 'short_description' at row 1"
    assert refused.error == (403, "Operation Failed", detail)
    assert len(talk.rows("incident")) == 1
    assert talk.post("incident", {"short_description": "x" * 160}).status == 201


@pytest.mark.behaviour("1.7", evidence="assumption: stored as given", switch="missing_references_kept")
def test_a_reference_to_nothing_is_stored_or_emptied(talk: Talk) -> None:
    assert talk.post("incident", {"caller_id": ONE}).result["caller_id"]["value"] == ONE
    switch(talk, "missing_references_kept", value=False)
    assert talk.post("incident", {"caller_id": ONE}).result["caller_id"] == ""
    talk.instance.load("sys_user", [{"sys_id": ONE, "user_name": "beth", "name": "Beth Anglin"}])
    assert talk.post("incident", {"caller_id": ONE}).result["caller_id"]["value"] == ONE


@pytest.mark.behaviour("1.7", evidence="assumption: stored raw or emptied", switch="reference_names_kept")
def test_a_display_name_in_a_reference_is_stored_raw_or_emptied(talk: Talk) -> None:
    talk.instance.load("sys_user", [{"sys_id": ONE, "user_name": "beth", "name": "Beth Anglin"}])
    assert talk.post("incident", {"caller_id": "Beth Anglin"}).result["caller_id"]["value"] == "Beth Anglin"
    switch(talk, "reference_names_kept", value=False)
    assert talk.post("incident", {"caller_id": "Beth Anglin"}).result["caller_id"] == ""
    named = talk.post("incident", {"caller_id": "Beth Anglin"}, sysparm_input_display_value="true")
    assert named.result["caller_id"]["value"] == ONE


@pytest.mark.behaviour(
    "1.7", evidence="measured by others: a custom column that took anything", switch="custom_choices_open"
)
def test_a_custom_choice_column_is_closed_or_takes_anything(talk: Talk) -> None:
    choice = {"table": "incident", "element": "u_mood", "value": "1", "label": "Fine"}
    columns = [{"table": "incident", "element": "u_mood", "internal_type": "string", "choice": 1}]
    talk.instance.load_schema({"tables": [], "columns": columns, "choices": [choice]})
    odd = {"u_mood": "odd", "close_code": "odd"}

    def taken() -> tuple[str, str]:
        result = talk.post("incident", odd).result
        return result["u_mood"], result["close_code"]

    assert taken() == ("", "")
    switch(talk, "custom_choices_open", value=True)
    assert taken() == ("odd", "")


@pytest.mark.behaviour("1.7", evidence="assumption: which of them", switch="system_columns_written")
def test_system_columns_keep_their_values_or_take_the_bodys(talk: Talk) -> None:
    kept = talk.post("incident", SYSTEM).result
    assert all(kept[element] != text for element, text in SYSTEM.items())
    switch(talk, "system_columns_written", value=True)
    made = talk.post("incident", SYSTEM).result
    assert {element: made[element] for element in SYSTEM} == SYSTEM
    changed = talk.patch(
        "incident", made["sys_id"], {"sys_updated_by": "again", "sys_mod_count": "not a number"}
    ).result
    assert (changed["sys_updated_by"], changed["sys_mod_count"]) == ("again", "42")


@pytest.mark.behaviour("1.7", evidence="documentation: the message, not the status", switch="duplicate_status")
def test_a_duplicate_key_has_one_status_or_another(talk: Talk) -> None:
    body = {"sys_id": ONE}
    assert talk.post("incident", body).status == 201
    detail = f"Unique Key violation detected by database (Duplicate entry '{ONE}' for key 'PRIMARY')"
    assert talk.post("incident", body).error == (403, "Operation Failed", detail)
    switch(talk, "duplicate_status", 500)
    assert talk.post("incident", body).error == (500, "Operation Failed", detail)


@pytest.mark.behaviour("3.1", evidence="assumption: 1 and 0 are taken", switch="boolean_digits_taken")
def test_booleans_take_digits_or_only_words(talk: Talk) -> None:
    column(talk, "u_yes", "boolean")

    def taken() -> list[str]:
        return [talk.post("incident", {"u_yes": said}).result["u_yes"] for said in ("1", "0", "true", "false")]

    assert taken() == ["true", "false", "true", "false"]
    switch(talk, "boolean_digits_taken", value=False)
    assert taken() == ["", "", "true", "false"]


@pytest.mark.behaviour("9.2", evidence="assumption: some tables have such rules", switch="related_rows_touch_parents")
def test_related_rows_leave_their_parents_alone_or_touch_them(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": "2026-03-01 10:00:00", "frozen": True})
    talk.instance.load("incident", [{"sys_id": ONE}])
    talk.instance.load("cmdb_ci_server", [{"sys_id": ONE, "name": "a"}, {"sys_id": TWO, "name": "b"}])

    def moved() -> list[str]:
        """Who was touched by a file and a relation made a minute later."""
        talk.control("PUT", "clock", {"advance": 60})
        target = f"/api/now/attachment/file?table_name=incident&table_sys_id={ONE}&file_name=a.txt"
        assert talk.call("POST", target, b"a", {"Content-Type": "text/plain"}).status == 201
        assert talk.post("cmdb_rel_ci", {"parent": ONE, "child": TWO}).status == 201
        now = talk.control("GET", "clock")["stamp"]
        records = [("incident", ONE), ("cmdb_ci", ONE), ("cmdb_ci", TWO)]
        return [table for table, at in records if talk.names(table, f"sys_id={at}", "sys_updated_on") == [now]]

    assert moved() == []
    switch(talk, "related_rows_touch_parents", value=True)
    assert moved() == ["incident", "cmdb_ci", "cmdb_ci"]


@pytest.mark.behaviour(
    "11.1", evidence="documentation: the matrix, which instances change", switch="priority_looked_up"
)
def test_priority_follows_the_matrix_or_the_write(talk: Talk) -> None:
    body = {"impact": "1", "urgency": "1", "priority": "4"}
    assert talk.post("incident", body).result["priority"] == "1"
    switch(talk, "priority_looked_up", value=False)
    assert talk.post("incident", body).result["priority"] == "4"


@pytest.mark.behaviour("11.1", evidence="measured by others: duplicate numbers", switch="numbers_unique")
def test_numbers_may_repeat_or_not(talk: Talk) -> None:
    assert [talk.post("incident", {"number": "INC1"}).status for _ in range(2)] == [201, 201]
    switch(talk, "numbers_unique", value=True)
    status, message, detail = talk.post("incident", {"number": "INC1"}).error
    assert (status, message) == (403, "Operation Failed")
    assert "for key 'number'" in (detail or "")
    assert talk.post("incident", {"number": "INC2"}).status == 201


@pytest.mark.behaviour(
    "11.1", evidence="documentation: state-model-activate-tasks.md says 7, ITSM 5", switch="task_skipped_state"
)
def test_a_skipped_task_is_state_7_or_5(talk: Talk) -> None:
    """The number is a row of sys_choice; the switch says which one closes."""
    (choice,) = talk.rows("sys_choice", "name=task^element=state^value=7")

    def closed(state: str) -> tuple[object, str]:
        made = talk.post("sc_task", {"state": state}, sysparm_display_value="all").result
        return made["state"]["display_value"], made["active"]["value"]

    assert closed("7") == ("Closed Skipped", "false")
    switch(talk, "task_skipped_state", 5)
    assert talk.patch("sys_choice", choice["sys_id"], {"value": "5"}).status == 200
    assert closed("5") == ("Closed Skipped", "false")
    assert closed("7")[1] == "true"


def pair(talk: Talk) -> tuple[str, str]:
    """An asset and the CI that it made."""
    category = {"name": "Computer", "cmdb_ci_class": "cmdb_ci_computer", "asset_class": "alm_hardware"}
    made = talk.post("cmdb_model_category", category).result["sys_id"]
    model = talk.post("cmdb_hardware_product_model", {"name": "T14"}).result["sys_id"]
    asset = talk.post("alm_hardware", {"model": model, "model_category": made, "asset_tag": "P1"}).result
    return asset["sys_id"], asset["ci"]["value"]


@pytest.mark.behaviour("11.2", evidence="assumption: marks a write", switch="skip_sync_honoured")
def test_skip_sync_keeps_a_write_on_its_side_or_means_nothing(talk: Talk) -> None:
    asset, ci = pair(talk)

    def tag(written: str) -> list[str]:
        talk.patch("alm_hardware", asset, {"asset_tag": written, "skip_sync": "true"})
        return talk.names("cmdb_ci", f"sys_id={ci}", "asset_tag")

    assert tag("P2") == ["P1"]
    switch(talk, "skip_sync_honoured", value=False)
    assert tag("P3") == ["P3"]


@pytest.mark.behaviour("11.2", evidence="assumption: the number of Retired", switch="asset_retired_status")
def test_another_status_may_retire_an_asset(talk: Talk) -> None:
    talk.instance.load("sys_user", [{"sys_id": ONE, "user_name": "beth"}])
    asset, _ = pair(talk)

    def assigned_after(status: str) -> object:
        talk.patch("alm_hardware", asset, {"install_status": "1", "assigned_to": ONE})
        return talk.patch("alm_hardware", asset, {"install_status": status}).result["assigned_to"]

    assert assigned_after("7") == ""
    switch(talk, "asset_retired_status", 8)
    assert assigned_after("7") != ""
    assert assigned_after("8") == ""
