"""Business rules over HTTP. Evidence: servicenow-api.md 8.1 (behaviour), 1.8 (text of an abort); the rest is marked."""

import pytest

from tests.nowtwin.scripts import aborted, add_include, add_rule, errors, insert, logged
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour("8.1", evidence="documentation: c_BusinessRules.md")

ABEL = "62826bf03710200044e0bfc8bcbe5df1"


@pytest.fixture
def caller(talk: Talk) -> str:
    talk.instance.load("sys_user", [{"sys_id": ABEL, "user_name": "abel", "name": "Abel Tuter", "email": "a@x.test"}])
    return ABEL


# -- before --------------------------------------------------------------------------------------------------------


def test_a_rule_written_through_the_api_runs_at_once_and_the_answer_shows_what_it_set(talk: Talk) -> None:
    assert insert(talk)["category"] != "network"
    add_rule(talk, "(function executeRule(current, previous) { current.category = 'network'; })(current, previous);")
    assert insert(talk)["category"] == "network"


def test_an_edited_rule_runs_as_edited_and_an_inactive_or_deleted_one_does_not(talk: Talk) -> None:
    rule = add_rule(talk, "current.description = 'first';")
    assert insert(talk)["description"] == "first"
    talk.patch("sys_script", rule, {"script": "current.description = 'second';"})
    assert insert(talk)["description"] == "second"
    talk.patch("sys_script", rule, {"active": "false"})
    assert insert(talk)["description"] == ""
    talk.patch("sys_script", rule, {"active": "true"})
    assert insert(talk)["description"] == "second"
    talk.delete("sys_script", rule)
    assert insert(talk)["description"] == ""


def test_rules_run_in_their_order_across_the_class_tree(talk: Talk) -> None:
    add_rule(talk, "current.description += 'c';", order=300)
    add_rule(talk, "current.description += 'b';", order=200, collection="task")
    add_rule(talk, "current.description += 'a';", order=100)
    add_rule(talk, "current.description += 'x';", collection="problem")
    assert insert(talk, description="-")["description"] == "-abc"


def test_each_operation_runs_only_the_rules_for_it(talk: Talk) -> None:
    add_rule(talk, "gs.info(current.operation());", action_update=True, action_delete=True)
    record = insert(talk)
    talk.patch("incident", record["sys_id"], {"impact": "1"})
    talk.delete("incident", record["sys_id"])
    assert sorted(logged(talk)) == ["delete", "insert", "update"]


def test_previous_holds_what_is_stored_and_changes_tell_the_difference(talk: Talk) -> None:
    script = """current.description = [previous.short_description, current.short_description.changes(),
        current.short_description.changesFrom('old'), current.short_description.changesTo('new'),
        current.short_description.changesFrom('new'), current.short_description.changesTo('old'),
        current.impact.changes(), current.changes()].join();"""
    add_rule(talk, script, action_insert=False, action_update=True)
    record = insert(talk, short_description="old")
    changed = talk.patch("incident", record["sys_id"], {"short_description": "new"}).result
    assert changed["description"] == "old,true,true,true,false,false,false,true"


def test_on_insert_there_is_no_previous_and_what_is_filled_has_changed(talk: Talk) -> None:
    add_rule(
        talk, "current.description = [previous, current.short_description.changes(), current.isNewRecord()].join();"
    )
    assert insert(talk)["description"] == ",true,true"


def test_the_engines_come_between_orders_below_and_from_1000(talk: Talk) -> None:
    """Priority is a look-up over impact and urgency (11.1): it overrides an early rule, and a late rule overrides it."""
    add_rule(talk, "current.impact = 1; current.urgency = 1; current.priority = 4;", order=100)
    add_rule(talk, "current.description = 'priority ' + current.priority;", order=1000)
    assert insert(talk)["description"] == "priority 1"
    add_rule(talk, "current.priority = 4;", order=1001)
    assert insert(talk)["priority"] == "4"


@pytest.mark.behaviour("1.8, 8.1", evidence="documentation: c_BusinessRules.md; measured by others: public error texts")
def test_set_abort_action_answers_403_and_nothing_is_stored(talk: Talk) -> None:
    script = "gs.addErrorMessage('because'); current.setAbortAction(true);"
    rule = add_rule(talk, script, name="Stop it", filter_condition="short_descriptionSTARTSWITHno")
    reply = talk.post("incident", {"short_description": "no way"})
    text = (
        f"Operation against file 'incident' was aborted by Business Rule 'Stop it^{rule}'. Business Rule Stack:Stop it"
    )
    assert aborted(reply) == text
    assert b"because" not in reply.body
    assert talk.rows("incident") == []
    insert(talk, short_description="yes")


def test_update_and_delete_can_be_aborted_too(talk: Talk) -> None:
    record = insert(talk)
    add_rule(talk, "current.setAbortAction(true);", action_update=True, action_delete=True)
    assert "was aborted by Business Rule" in aborted(talk.patch("incident", record["sys_id"], {"impact": "1"}))
    assert "was aborted by Business Rule" in aborted(talk.delete("incident", record["sys_id"]))
    assert talk.get(f"table/incident/{record['sys_id']}").result["sys_mod_count"] == "0"


@pytest.mark.behaviour("1.8", evidence="assumption: order of the names")
def test_the_stack_names_the_rules_from_the_outermost_on(talk: Talk) -> None:
    script = "var p = new GlideRecord('problem'); p.short_description = 'x'; gs.info(p.insert() + ' ' + p.getLastErrorMessage());"
    add_rule(talk, script, name="Outer")
    inner = add_rule(talk, "current.setAbortAction(true);", name="Inner", collection="problem")
    insert(talk)
    [line] = logged(talk)
    assert line == (
        f"null Operation against file 'problem' was aborted by Business Rule 'Inner^{inner}'. "
        "Business Rule Stack:Outer,Inner"
    )


@pytest.mark.behaviour(
    "8.1", evidence="documentation: SDKCORE; assumption: the engine looks at it", switch="script_needs_advanced"
)
def test_a_rule_without_advanced_sets_values_and_does_not_run_its_script(talk: Talk) -> None:
    template = "urgency=1^assigned_toSAMEAScaller_id^description=javascript:'by ' + gs.getUserName()^EQ"
    add_rule(talk, "current.category = 'network';", advanced=False, template=template)
    record = insert(talk, caller_id=ABEL)
    assert (record["urgency"], record["assigned_to"]["value"], record["description"]) == ("1", ABEL, "by admin")
    assert record["category"] != "network"


def test_a_switch_has_scripts_run_without_advanced(talk: Talk) -> None:
    talk.control("PUT", "switches", {"script_needs_advanced": False})
    add_rule(talk, "current.description = 'ran';", advanced=False, condition="current.impact == 1")
    assert [insert(talk, impact=impact)["description"] for impact in ("1", "2")] == ["ran", ""]


def test_the_action_abort_needs_no_script(talk: Talk) -> None:
    add_rule(talk, advanced=False, abort_action=True, filter_condition="impact=1")
    assert "aborted by" in aborted(talk.post("incident", {"impact": "1"}))
    insert(talk, impact="2")


@pytest.mark.parametrize(
    ("condition", "stored", "written", "runs"),
    [
        ("impact=1^urgency=1", {}, {"impact": "1", "urgency": "1"}, True),
        ("impact=1^urgency=2", {}, {"impact": "1", "urgency": "1"}, False),
        ("impact=2^ORimpact=3", {}, {"impact": "3"}, True),
        ("caller_id.name=Abel Tuter", {}, {"caller_id": ABEL}, True),
        ("caller_id.name=Beth Anglin", {}, {"caller_id": ABEL}, False),
        ("assigned_toISEMPTY", {}, {}, True),
        ("assigned_toISNOTEMPTY", {}, {}, False),
        ("impactVALCHANGES", {"impact": "3"}, {"impact": "1"}, True),
        ("impactVALCHANGES", {"impact": "3"}, {"urgency": "1"}, False),
        ("impactCHANGESTO1", {"impact": "3"}, {"impact": "1"}, True),
        ("impactCHANGESTO1", {"impact": "3"}, {"impact": "2"}, False),
        ("impactCHANGESFROM3", {"impact": "3"}, {"impact": "2"}, True),
        ("impactCHANGESFROM1", {"impact": "3"}, {"impact": "2"}, False),
        ("sys_class_nameINSTANCEOFtask", {}, {}, True),
    ],
)
def test_the_filter_condition_looks_at_the_record_as_it_will_be(
    talk: Talk, caller: str, condition: str, stored: dict[str, str], written: dict[str, str], runs: bool
) -> None:
    add_rule(talk, "current.description = 'ran';", filter_condition=condition, action_update=True)
    if stored:
        record = insert(talk, **stored)
        talk.patch("incident", record["sys_id"], {"description": "still"})
        found = talk.patch("incident", record["sys_id"], written).result["description"]
    else:
        found = insert(talk, **written)["description"]
    assert (found == "ran") is runs
    assert errors(talk) == []


@pytest.mark.parametrize(
    ("condition", "runs"),
    [
        ("current.impact == 1 && gs.hasRole('itil')", True),
        ("current.impact == 2", False),
        ("current.active == true", True),
        ("!current.caller_id.nil()", False),
        ("var a = current.impact; a == 1", True),
        ("current.nonsense.changes()", False),
    ],
)
def test_a_scripted_condition_decides_whether_the_rule_runs(talk: Talk, condition: str, runs: bool) -> None:
    add_rule(talk, "current.description = 'ran';", condition=condition)
    assert (insert(talk, impact="1")["description"] == "ran") is runs


def test_role_conditions_name_roles_of_which_the_user_needs_one(talk: Talk) -> None:
    talk.instance.add_user("joe", "secret", roles=("itil",))
    talk.instance.add_user("jane", "secret", roles=("personalize",))
    add_rule(talk, "current.description = 'ran';", role_conditions="itil, catalog")
    assert insert(talk.as_user("joe", "secret"))["description"] == "ran"
    assert insert(talk.as_user("jane", "secret"))["description"] == ""


def test_a_failing_script_is_a_log_entry_and_the_write_goes_on_with_what_was_set(talk: Talk) -> None:
    rule = add_rule(talk, "current.description = 'kept';\nmissing.call();", name="Broken")
    add_rule(talk, "current.category = 'network';", order=200)
    record = insert(talk)
    assert (record["description"], record["category"]) == ("kept", "network")
    [message] = errors(talk)
    assert message.startswith("ReferenceError: missing is not defined")
    assert f"sys_script.{rule}.script at line 2" in message


def test_execute_function_calls_the_function_of_that_name(talk: Talk) -> None:
    script = "function onBefore(current, previous) { current.description = 'called'; }"
    add_rule(talk, script, execute_function=True)
    assert insert(talk)["description"] == "called"


def test_journal_entries_and_choices_can_be_set_by_rules(talk: Talk) -> None:
    """The closed choice list holds for REST only (1.7)."""
    add_rule(talk, "current.work_notes = 'noted'; current.category = 'a new one'; current.impact = '';")
    record = insert(talk, impact="1")
    assert (record["category"], record["impact"]) == ("a new one", "")
    [entry] = talk.rows("sys_journal_field", f"element_id={record['sys_id']}")
    assert (entry["element"], entry["value"], entry["name"]) == ("work_notes", "noted", "incident")


def test_globals_of_one_write_do_not_reach_the_next(talk: Talk) -> None:
    add_rule(talk, "leak = typeof leak == 'undefined' ? 'fresh' : 'stale'; current.description = leak; gs = null;")
    assert [insert(talk)["description"] for _ in range(3)] == ["fresh"] * 3
    assert errors(talk) == []


# -- after ---------------------------------------------------------------------------------------------------------


def test_after_rules_see_the_stored_record_and_may_update_it_without_end(talk: Talk) -> None:
    script = "current.description = 'after ' + current.sys_mod_count; current.update();"
    add_rule(talk, script, when="after", action_update=True)
    record = insert(talk)
    assert (record["description"], record["sys_mod_count"]) == ("after 0", "1")
    assert errors(talk) == []


def test_abort_in_an_after_rule_comes_too_late(talk: Talk) -> None:
    add_rule(talk, "current.setAbortAction(true);", when="after")
    insert(talk)
    assert len(talk.rows("incident")) == 1


@pytest.mark.behaviour("8.1", evidence="assumption: how recursion ends", switch="script_depth")
def test_rules_that_call_each_other_come_to_rest(talk: Talk) -> None:
    """A rule does not run again for a record on which it is at work, and nesting has an end."""
    for one, other in (("incident", "problem"), ("problem", "incident")):
        script = f"var r = new GlideRecord('{other}'); r.short_description = 'again'; r.insert();"
        add_rule(talk, script, collection=one, when="after")
    insert(talk)
    assert len(talk.rows("task")) == 11
    assert ["Maximum depth of nested scripts reached" in line for line in errors(talk)] == [True]


def test_set_workflow_false_skips_rules_engines_and_history(talk: Talk) -> None:
    add_rule(talk, "current.description = 'before';", action_update=True)
    add_rule(talk, "gs.info('after');", when="after", action_update=True)
    record = insert(talk)
    before = len(logged(talk))
    script = f"""var r = new GlideRecord('incident'); r.get('{record["sys_id"]}'); r.setWorkflow(false);
        r.impact = 1; r.urgency = 1; r.description = 'silent'; r.update();"""
    add_rule(talk, script, collection="problem")
    talk.post("problem", {})
    found = talk.get(f"table/incident/{record['sys_id']}").result
    assert (found["description"], found["priority"], found["sys_mod_count"]) == ("silent", record["priority"], "1")
    assert len(logged(talk)) == before


def test_set_workflow_false_in_a_before_rule_stops_the_rules_behind_it(talk: Talk) -> None:
    add_rule(talk, "current.setWorkflow(false);", order=10)
    add_rule(talk, "current.description = 'ran';", order=20)
    add_rule(talk, "gs.info('after');", when="after")
    assert insert(talk)["description"] == ""
    assert logged(talk) == []


def test_auto_sys_fields_false_leaves_the_stamps_and_the_count(talk: Talk) -> None:
    record = insert(talk)
    talk.control("PUT", "clock", {"advance": 3600})
    script = """var r = new GlideRecord('incident'); r.get(current.parent); r.autoSysFields(false);
        r.description = 'unseen'; r.update();"""
    add_rule(talk, script, collection="problem")
    talk.post("problem", {"parent": record["sys_id"]})
    found = talk.get(f"table/incident/{record['sys_id']}").result
    assert found["description"] == "unseen"
    assert (found["sys_updated_on"], found["sys_mod_count"]) == (record["sys_updated_on"], "0")


def test_auto_sys_fields_false_lets_a_script_set_stamps(talk: Talk) -> None:
    script = "current.autoSysFields(false); current.sys_created_on = '2001-02-03 04:05:06'; current.sys_created_by = 'history';"
    add_rule(talk, script)
    record = insert(talk)
    assert (record["sys_created_on"], record["sys_created_by"]) == ("2001-02-03 04:05:06", "history")


# -- defaults and includes -----------------------------------------------------------------------------------------


def test_a_custom_column_takes_its_default_from_a_script(talk: Talk) -> None:
    default = "javascript:var who = gs.getUserName(); who + ' on ' + current.getTableName();"
    column = {"name": "incident", "element": "u_origin", "internal_type": "string", "max_length": "100"}
    assert talk.post("sys_dictionary", column | {"default_value": default}).status == 201
    assert insert(talk)["u_origin"] == "admin on incident"
    assert insert(talk, u_origin="mine")["u_origin"] == "mine"


def test_script_includes_are_found_by_name_and_may_extend_each_other(talk: Talk) -> None:
    add_include(
        talk,
        "Greeter",
        "var Greeter = Class.create();\nGreeter.prototype = { initialize: function (name) { this.name = name; },\n"
        "greet: function () { return this.word() + ' ' + this.name; }, word: function () { return 'hello'; }, type: 'Greeter' };",
    )
    extended = "var Loud = Class.create(); Loud.prototype = Object.extendsObject(Greeter, { word: function () { return 'HEY'; }, type: 'Loud' });"
    add_include(talk, "Loud", extended)
    add_include(talk, "twice", "function twice(text) { return text + text; }")
    add_rule(
        talk, "current.description = [new Greeter('you').greet(), new global.Loud('you').greet(), twice('ab')].join();"
    )
    assert insert(talk)["description"] == "hello you,HEY you,abab"
    assert errors(talk) == []


def test_an_edited_include_is_loaded_anew_and_its_state_lives_for_one_write(talk: Talk) -> None:
    body = {"name": "Counter", "api_name": "global.Counter", "active": True}
    counter = "var Counter = { n: 0, next: function () { this.n += STEP; return this.n; } };"
    sys_id = talk.post("sys_script_include", body | {"script": counter.replace("STEP", "1")}).result["sys_id"]
    add_rule(talk, "gs.include('Counter'); Counter.next(); current.description = Counter.next();")
    assert [insert(talk)["description"] for _ in range(2)] == ["2", "2"]
    talk.patch("sys_script_include", sys_id, {"script": counter.replace("STEP", "10")})
    assert insert(talk)["description"] == "20"


def test_an_include_of_a_scope_is_reached_through_it(talk: Talk) -> None:
    add_include(talk, "Tool", "var Tool = { say: function () { return 'scoped'; } };", api_name="x_acme_app.Tool")
    add_rule(talk, "current.description = x_acme_app.Tool.say() + typeof Tool;")
    assert insert(talk)["description"] == "scopedundefined"
