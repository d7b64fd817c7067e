"""What forbids or bends a write: data policies, dictionary flags, properties, state models, task states, numbers."""

import pytest

from tests.nowtwin.talk import Record, Talk

CLOSING = "Data Policy Exception: The following fields are mandatory: Resolution code, Resolution notes"
CHANGE_RULE = "b6dae9e15317101034d1ddeeff7b1278"
CODE = {"close_code": "Solution provided", "close_notes": "done"}


def _made(talk: Talk, table: str, body: Record | None = None) -> str:
    sys_id: str = talk.post(table, body or {}).result["sys_id"]
    return sys_id


def _policy(talk: Talk, table: str, rules: dict[str, dict[str, str]], **columns: str) -> str:
    policy = _made(talk, "sys_data_policy2", {"model_table": table, "short_description": "mine", **columns})
    for field, states in rules.items():
        _made(talk, "sys_data_policy_rule", {"sys_data_policy": policy, "table": table, "field": field, **states})
    return policy


# -- data policies -------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("1.8, 11.1", evidence="measured by others: LH, ITSM", switch="data_policies")
def test_resolving_or_closing_an_incident_needs_a_code_and_notes(talk: Talk) -> None:
    sys_id = _made(talk, "incident")
    for state in ("6", "7"):
        assert talk.patch("incident", sys_id, {"state": state}).error == (403, "Operation Failed", CLOSING)
    only = CLOSING.removesuffix(", Resolution notes")
    assert talk.patch("incident", sys_id, {"state": "6", "close_notes": "x"}).error == (403, "Operation Failed", only)
    assert talk.get(f"table/incident/{sys_id}").result["state"] == "1"
    assert talk.post("incident", {"state": "6"}).status == 403
    assert talk.patch("incident", sys_id, {"state": "6", **CODE}).result["state"] == "6"
    assert talk.patch("incident", sys_id, {"close_notes": ""}).status == 403
    assert talk.patch("incident", sys_id, {"state": "8", "close_notes": ""}).status == 200
    talk.control("PUT", "switches", {"data_policies": False})
    assert talk.patch("incident", sys_id, {"state": "6"}).status == 200


@pytest.mark.behaviour("1.7, 11.1", evidence="measured by others: LH")
def test_an_unknown_code_is_dropped_and_then_missing(talk: Talk) -> None:
    sys_id = _made(talk, "incident")
    said = talk.patch("incident", sys_id, {"state": "6", "close_code": "Magic", "close_notes": "x"})
    assert said.error == (403, "Operation Failed", CLOSING.removesuffix(", Resolution notes"))


@pytest.mark.behaviour("11.1", evidence="documentation: c_DataPolicy.md, r_DataPolicyFields.md")
def test_a_policy_of_ones_own_holds_under_its_conditions_and_below_its_table_if_inherited(talk: Talk) -> None:
    mandatory = {"description": {"mandatory": "true"}, "work_notes": {"mandatory": "true"}}
    policy = _policy(talk, "task", mandatory, conditions="priority=1^EQ", inherit="false")
    critical = {"impact": "1", "urgency": "1"}
    assert talk.post("incident", critical).status == 201
    talk.patch("sys_data_policy2", policy, {"inherit": "true"})
    text = "Data Policy Exception: The following fields are mandatory: Description, Work notes"
    assert talk.post("incident", critical).error == (403, "Operation Failed", text)
    assert talk.post("incident", critical | {"description": "d", "work_notes": "w"}).status == 201
    assert talk.post("incident", {}).status == 201
    talk.patch("sys_data_policy2", policy, {"active": "false"})
    assert talk.post("incident", critical).status == 201


@pytest.mark.behaviour("11.1", evidence="documentation: r_DataPolicyFields.md; assumption: the text for read-only")
def test_a_policy_locks_columns_and_turns_round_when_its_conditions_do_not_hold(talk: Talk) -> None:
    rules = {"short_description": {"disabled": "true"}, "description": {"mandatory": "false"}}
    policy = _policy(talk, "incident", rules, conditions="state=2", reverse_if_false="false")
    sys_id = _made(talk, "incident", {"short_description": "a"})
    assert talk.patch("incident", sys_id, {"short_description": "b"}).status == 200
    locked = talk.patch("incident", sys_id, {"state": "2", "short_description": "c"})
    text = "Data Policy Exception: The following fields are read-only: Short description"
    assert locked.error == (403, "Operation Failed", text)
    assert talk.patch("incident", sys_id, {"state": "2"}).status == 200
    assert talk.post("incident", {"state": "2", "short_description": "x"}).status == 403
    talk.patch("sys_data_policy2", policy, {"reverse_if_false": "true"})
    assert "mandatory: Description" in (talk.post("incident", {}).error[2] or "")


# -- the dictionary and properties ---------------------------------------------------------------------------------


def _column(talk: Talk, element: str, table: str = "incident", **columns: str) -> str:
    return _made(talk, "sys_dictionary", {"name": table, "element": element, "internal_type": "string", **columns})


@pytest.mark.behaviour(
    "1.7", evidence="assumption: plain mandatory is not enforced", switch="mandatory_columns_enforced"
)
def test_a_mandatory_column_is_enforced_by_switch_only(talk: Talk) -> None:
    _column(talk, "u_must", mandatory="true", column_label="Must")
    sys_id = _made(talk, "incident", {"u_must": "x"})
    assert talk.post("incident", {}).status == 201
    talk.control("PUT", "switches", {"mandatory_columns_enforced": True})
    text = "Data Policy Exception: The following fields are mandatory: Must"
    assert talk.post("incident", {}).error == (403, "Operation Failed", text)
    assert talk.patch("incident", sys_id, {"u_must": ""}).error == (403, "Operation Failed", text)
    assert talk.patch("incident", sys_id, {"description": "other"}).status == 200


@pytest.mark.behaviour("1.7", evidence="documentation: read-only-option.md", switch="read_only_columns_protected")
@pytest.mark.parametrize(
    ("option", "switch", "written"),
    [
        ("strict_read_only", False, ""),
        ("client_script_modifiable", False, ""),
        ("display_read_only", True, "x"),
        ("instance_configured", False, "x"),
        ("instance_configured", True, ""),
    ],
)
def test_a_read_only_column_follows_its_option(talk: Talk, option: str, switch: bool, written: str) -> None:
    talk.control("PUT", "switches", {"read_only_columns_protected": switch})
    _column(talk, "u_locked", read_only="true", read_only_option=option)
    assert talk.post("incident", {"u_locked": "x"}).result["u_locked"] == written


@pytest.mark.behaviour("1.7", evidence="documentation: r_AvailableSystemProperties.md")
def test_a_property_lets_unknown_choices_in(talk: Talk) -> None:
    assert talk.post("incident", {"category": "magic"}).result["category"] == "inquiry"
    name = "glide.rest.choice.allow_non_existing_value"
    (row,) = talk.rows("sys_properties", f"name={name}")
    talk.patch("sys_properties", row["sys_id"], {"value": "true"})
    assert talk.post("incident", {"category": "magic"}).result["category"] == "magic"


@pytest.mark.behaviour("2.4", evidence="documentation: c_TableAPI.md")
def test_a_property_makes_invalid_queries_find_nothing_everywhere(talk: Talk) -> None:
    _made(talk, "incident")
    assert len(talk.rows("incident", "no_such=1")) == 1
    (row,) = talk.rows("sys_properties", "name=glide.invalid_query.returns_no_rows")
    talk.patch("sys_properties", row["sys_id"], {"value": "true"})
    assert talk.rows("incident", "no_such=1") == []
    assert talk.rows("incident", "opened_at>javascript:gs.noSuch()") == []
    counted = talk.get("stats/incident", sysparm_count="true", sysparm_query="no_such=1").result
    assert counted == {"stats": {"count": "0"}}


@pytest.mark.behaviour("1.7, 3.1", evidence="measured by others: LH, PySNC; assumption: input_display_value sets it")
def test_a_password_is_ignored_unless_input_is_in_display_values(talk: Talk) -> None:
    body = {"user_name": "abel", "user_password": "secret"}
    sys_id = _made(talk, "sys_user", body)
    abel = talk.as_user("abel", "secret")
    assert abel.get("table/incident").status == 401
    shown = talk.patch("sys_user", sys_id, {"user_password": "secret"}, sysparm_input_display_value="true")
    assert shown.result["user_password"] == "********"
    assert abel.get("table/incident").status == 200


# -- state models --------------------------------------------------------------------------------------------------


def _aborted(table: str, name: str, sys_id: str) -> tuple[int, str, str]:
    text = (
        f"Operation against file '{table}' was aborted by Business Rule '{name}^{sys_id}'. Business Rule Stack:{name}"
    )
    return 403, "Operation Failed", text


@pytest.mark.behaviour("11.1", evidence="measured by others: several scripts", switch="change_states_checked")
def test_a_change_goes_from_state_to_state_and_cannot_jump(talk: Talk) -> None:
    refused = _aborted("change_request", "Change Model: Check State Transition", CHANGE_RULE)
    sys_id = _made(talk, "change_request")
    assert talk.patch("change_request", sys_id, {"state": "-1"}).error == refused
    for state in ("-4", "-3", "-2", "-1", "0", "3"):
        done = talk.patch("change_request", sys_id, {"state": state}).result
        assert (done["state"], done["active"]) == (state, "false" if state == "3" else "true")
    assert done["closed_at"]
    assert talk.patch("change_request", sys_id, {"state": "-1"}).error == refused
    assert talk.post("change_request", {"state": "3"}).error == refused
    assert talk.post("change_request", {"state": "-1"}).status == 201
    emergency = _made(talk, "change_request", {"type": "emergency"})
    assert talk.patch("change_request", emergency, {"state": "-3"}).status == 200
    talk.control("PUT", "switches", {"change_states_checked": False})
    assert talk.patch("change_request", sys_id, {"state": "-1"}).result["active"] == "true"


@pytest.mark.behaviour("11.1", evidence="measured by others: scripts that switch the rule off")
def test_the_rule_can_be_switched_off_where_rules_are(talk: Talk) -> None:
    (rule,) = talk.rows("sys_script", f"sys_id={CHANGE_RULE}")
    assert (rule["name"], rule["active"]) == ("Change Model: Check State Transition", "true")
    talk.patch("sys_script", CHANGE_RULE, {"active": "false"})
    assert talk.post("change_request", {"state": "3"}).status == 201


@pytest.mark.behaviour("11.1", evidence="measured by others: reports differ", switch="state_jumps_held")
def test_a_jump_is_left_undone_by_switch(talk: Talk) -> None:
    talk.control("PUT", "switches", {"state_jumps_held": True})
    made = talk.post("change_request", {"state": "3", "short_description": "a"}).result
    assert (made["state"], made["short_description"]) == ("-5", "a")
    held = talk.patch("change_request", made["sys_id"], {"state": "0", "short_description": "b"}).result
    assert (held["state"], held["active"], held["short_description"]) == ("-5", "true", "b")


@pytest.mark.behaviour("11.1", evidence="measured by others: seed scripts", switch="problem_states_checked")
def test_problem_states_are_checked_by_switch(talk: Talk) -> None:
    assert talk.post("problem", {"state": "103"}).status == 201
    talk.control("PUT", "switches", {"problem_states_checked": True})
    assert talk.post("problem", {"state": "103"}).status == 403
    sys_id = _made(talk, "problem")
    assert talk.patch("problem", sys_id, {"state": "103"}).status == 403
    for state in ("102", "103", "104", "106", "107"):
        assert talk.patch("problem", sys_id, {"state": state}).result["problem_state"] == state


# -- states of tasks -----------------------------------------------------------------------------------------------


@pytest.mark.behaviour("11.1", evidence="documentation: c_IntValsForDfltChoiceList.md; assumption: closed stamps")
@pytest.mark.parametrize("state", ["3", "4", "7"])
def test_a_closed_task_is_inactive_and_says_who_closed_it(talk: Talk, state: str) -> None:
    sys_id = _made(talk, "sc_task")
    closed = talk.patch("sc_task", sys_id, {"state": state}).result
    assert (closed["active"], closed["closed_at"]) == ("false", closed["sys_updated_on"])
    assert closed["closed_by"]["value"]
    assert talk.patch("sc_task", sys_id, {"active": "true"}).result["state"] == "1"
    assert talk.patch("sc_task", sys_id, {"active": "false"}).result["state"] == "3"


@pytest.mark.behaviour("11.1", evidence="documentation: problem states; assumption: mirrored problem_state")
def test_problem_state_and_state_move_together(talk: Talk) -> None:
    sys_id = _made(talk, "problem")
    resolved = talk.patch("problem", sys_id, {"problem_state": "106"}).result
    assert (resolved["state"], resolved["active"]) == ("106", "true")
    assert resolved["resolved_at"] == resolved["sys_updated_on"]
    closed = talk.patch("problem", sys_id, {"state": "107"}).result
    assert (closed["problem_state"], closed["active"]) == ("107", "false")


# -- numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("11.1", evidence="documentation: sys_number; measured by others: SDKCORE default values")
def test_a_custom_table_has_numbers_of_its_own(talk: Talk) -> None:
    _made(talk, "sys_db_object", {"name": "u_order", "label": "Order"})
    _column(talk, "number", "u_order", default_value="javascript:global.getNextObjNumberPadded();")
    assert talk.post("u_order", {}).result["number"] == ""
    entry = _made(talk, "sys_number", {"category": "u_order", "prefix": "ORD", "number": "1000", "maximum_digits": "5"})
    assert [talk.post("u_order", {}).result["number"] for _ in range(2)] == ["ORD01001", "ORD01002"]
    talk.patch("sys_number", entry, {"prefix": "X", "maximum_digits": "8"})
    assert talk.post("u_order", {}).result["number"] == "X00001001"
    talk.delete("sys_number", entry)
    assert talk.post("u_order", {}).result["number"] == ""
    assert talk.post("u_order", {"number": "mine"}).result["number"] == "mine"


@pytest.mark.behaviour("11.1", evidence="documentation: sys_number")
@pytest.mark.parametrize("digits", ["", "0", "-3", "1000000000", "x"])
def test_odd_digits_of_a_number_are_the_usual_seven(talk: Talk, digits: str) -> None:
    (row,) = talk.rows("sys_number", "category=incident")
    talk.patch("sys_number", row["sys_id"], {"maximum_digits": digits})
    number: str = talk.post("incident", {}).result["number"]
    assert len(number) == len("INC0010001")
