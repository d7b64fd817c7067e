"""What scripts written for ServiceNow lean on beside the classes' main methods: comparisons, joins, older helpers."""

import pytest

from tests.nowtwin.scripts import aborted, add_include, add_rule, errors, evaluated, insert, settle
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour("8.1", evidence="documentation: server API reference, Rhino's comparisons")


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("current.active == true", "true"),
        ("current.active == 'true'", "true"),
        ('current.active == "true"', "true"),
        ("'true' == current.active", "true"),
        ("true == current.active", "true"),
        ("current.active != 'false' && current.active != false", "true"),
        ("current.active == 'false' || current.active == false", "false"),
        ("current.active == 1", "true"),
        ("current.active === true", "false"),
        ("'x' == 'true' || current.active == true", "true"),
        ("[current.active == 'true', current.active == true, current.active == 'true'].join()", "true,true,true"),
        ("current.caller_id.active == 'true'", "false"),
        ("\"a == 'true'\" + `b == true` /* c == true */", "a == 'true'b == true"),
        ("/[/']== 'true'/.test(\"'== 'true'\")", "true"),
        ("current.made_sla == 'true' ? current.active + '' : 'no'", "true"),
        ("true == 'true'", "false"),
        ("current.state == 1 && current.state == '1' && current.state < 2", "true"),
        ("current.impact + current.urgency", "33"),
    ],
)  # fmt: skip
def test_columns_compare_as_they_do_in_servicenow(talk: Talk, expression: str, text: str) -> None:
    assert evaluated(talk, expression) == text


def test_script_includes_and_conditions_compare_so_too(talk: Talk) -> None:
    add_include(talk, "Look", "var Look = function (r) { return r.active == 'true' ? 'active' : 'not'; };")
    add_rule(talk, "current.description = Look(current);", condition="current.active == 'true'")
    assert insert(talk)["description"] == "active"


JOIN = "(function () {{ var g = new GlideRecord('incident'); {0} g.query(); return g.getRowCount(); }})()"


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("g.addJoinQuery('sys_user', 'caller_id', 'sys_id');", "3"),
        ("g.addJoinQuery('sys_user', 'caller_id', 'sys_id').addCondition('user_name', 'joe');", "2"),
        ("g.addJoinQuery('sys_user', 'caller_id', 'sys_id').addCondition('user_name', 'joe').addOrCondition('user_name', 'ida');", "3"),
        ("g.addJoinQuery('problem', 'problem_id', 'sys_id');", "0"),
        ("g.addQuery('short_description', 'one'); g.addJoinQuery('sys_user', 'caller_id', 'sys_id').addCondition('user_name', 'joe');", "1"),
        ("g.addJoinQuery('incident_task');", "0"),
        ("g.addDomainQuery(current); g.queryNoDomain(true);", "4"),
    ],
)  # fmt: skip
def test_a_join_keeps_records_with_a_partner(talk: Talk, query: str, count: str) -> None:
    joe, ida = (talk.instance.add_user(name, "p") for name in ("joe", "ida"))
    callers = (("one", joe), ("two", joe), ("three", ida), ("four", ""))
    talk.instance.load("incident", [{"short_description": name, "caller_id": caller} for name, caller in callers])
    assert evaluated(talk, JOIN.format(query)) == count


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("current.instanceOf('task') + ',' + current.instanceOf('problem')", "true,false"),
        ("current.nil('description') + ',' + current.nil('short_description')", "true,false"),
        ("current.state.getChoices().slice(0, 3).join()", "1,2,3"),
        ("current.getED().getLabel() + current.caller_id.getED().isReference() + current.getPlural()", "IncidenttrueIncidents"),
        ("current.hasAttachments()", "false"),
        ("(function () { var g = new GlideRecord('incident'); g.initialize(); g.applyEncodedQuery('impact=2^short_description=x'); return g.impact + g.short_description; })()", "2x"),
        ("new GlideTableHierarchy('incident').getTables().join()", "incident,task"),
        ("new TableUtils('incident').getAbsoluteBase() + new TableUtils('nosuch').tableExists()", "taskfalse"),
        ("new GlideTableHierarchy('task').getTableExtensions().indexOf('incident') >= 0", "true"),
        ("JSON.stringify(gs.xmlToJSON('<a k=\"1\"><b>x</b><b>y</b><c/></a>'))", '{"a":{"@k":"1","b":["x","y"],"c":""}}'),
        ("(function () { try { gs.xmlToJSON('<a>'); } catch (e) { return 'refused'; } })()", "refused"),
        ("gs.getSysTimeZone() + gs.userID().length", "UTC32"),
        ("new GlideDuration(90061000).getByFormat('HH:mm')", "01:01"),
        ("(function () { var t = new GlideTime(); t.setValue('10:20:30'); return t.getByFormat('HH-mm-ss') + t.getHourUTC(); })()", "10-20-3010"),
        ("new GlideDateTime('2024-01-31 10:00:00').getWeekOfYearUTC(1) + ',' + new GlideDateTime('2024-01-06 10:00:00').getWeekOfYearUTC(1)", "5,1"),
        ("new GlideDateTime('2024-07-01 00:00:00').isDST()", "false"),
    ],
)  # fmt: skip
def test_smaller_helpers(talk: Talk, expression: str, text: str) -> None:
    assert evaluated(talk, expression) == text


def test_daylight_saving_is_that_of_the_users_zone(talk: Talk) -> None:
    talk.instance.add_user("eva", "p", roles=("admin",), time_zone="Europe/Berlin")
    eva = talk.as_user("eva", "p")
    moments = "['2024-07-01 00:00:00', '2024-01-01 00:00:00']"
    script = f"{moments}.map(function (m) {{ var g = new GlideDateTime(m); return g.isDST() + ':' + g.getDSTOffset(); }}).join()"
    assert evaluated(eva, script) == "true:3600000,false:0"


def test_an_ajax_processor_is_a_class_that_scripts_can_call(talk: Talk) -> None:
    script = """var Desk = Class.create();
        Desk.prototype = Object.extendsObject(AbstractAjaxProcessor, {
            hello: function () { return 'hello ' + this.getParameter('sysparm_who') + this.type; }, type: 'Desk' });"""
    add_include(talk, "Desk", script, client_callable=True)
    call = "new Desk({getParameter: function (name) { return name; }}).hello() + new Desk().getName()"
    assert evaluated(talk, call) == "hello sysparm_whoDesknull"


@pytest.mark.behaviour("8.1", evidence="documentation: c_BusinessRules.md", switch="foreign_rules_only_set_values")
def test_a_before_rule_of_another_scope_only_sets_values(talk: Talk) -> None:
    app = talk.post("sys_app", {"name": "Other", "scope": "x_nowt_other"}).result["sys_id"]
    script = "current.description = 'set'; current.setWorkflow(false); current.setAbortAction(true);"
    rule = add_rule(talk, script, sys_scope=app)
    talk.instance.update("sys_script", rule, {"sys_scope": app})
    add_rule(talk, "current.close_notes = 'later';", order=200)
    made = insert(talk)
    assert (made["description"], made["close_notes"]) == ("set", "later")
    talk.control("PUT", "switches", {"foreign_rules_only_set_values": False})
    assert "was aborted by Business Rule" in aborted(talk.post("incident", {}))


def test_an_async_rule_of_another_scope_runs(talk: Talk) -> None:
    app = talk.post("sys_app", {"name": "Other", "scope": "x_nowt_other"}).result["sys_id"]
    script = "current.description = 'seen'; current.update();"
    add_rule(talk, script, sys_scope=app, when="async_always")
    made = insert(talk)
    settle(talk)
    assert talk.get(f"table/incident/{made['sys_id']}").result["description"] == "seen"
    assert errors(talk) == []
