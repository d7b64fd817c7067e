"""Business rules on reads: query rules narrow what is found, display rules change what is shown."""

import pytest

from tests.nowtwin.scripts import add_rule, insert, logged
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour("8.1", evidence="documentation: c_BusinessRules.md")


def test_query_rules_narrow_lists_counts_and_single_reads(talk: Talk) -> None:
    talk.instance.add_user("joe", "secret", roles=("itil",))
    kept, hidden = insert(talk, impact="1"), insert(talk, impact="3")
    script = "if (!gs.hasRole('admin')) current.addQuery('impact', '1').addOrCondition('urgency', '1');"
    add_rule(talk, script, action_insert=False, action_query=True, collection="task")
    add_rule(talk, script, action_insert=False, action_query=True)
    joe = talk.as_user("joe", "secret")
    reply = joe.get("table/incident", sysparm_query="active=true^NQactive=true")
    assert [row["sys_id"] for row in reply.result] == [kept["sys_id"]]
    assert reply.headers["x-total-count"] == "1"
    assert joe.get(f"table/incident/{kept['sys_id']}").status == 200
    assert joe.get(f"table/incident/{hidden['sys_id']}").status == 404
    assert joe.patch("incident", hidden["sys_id"], {"impact": "1"}).status == 404
    assert joe.delete("incident", hidden["sys_id"]).status == 404
    assert len(talk.rows("incident")) == 2


def test_an_aborted_query_finds_nothing(talk: Talk) -> None:
    insert(talk)
    add_rule(talk, "current.setAbortAction(true);", action_insert=False, action_query=True)
    assert talk.rows("incident") == []


def test_a_query_rule_that_queries_its_own_table_comes_to_an_end(talk: Talk) -> None:
    insert(talk)
    script = (
        "var r = new GlideRecord('incident'); r.query(); gs.info(r.getRowCount()); current.addQuery('impact', '9');"
    )
    add_rule(talk, script, action_insert=False, action_query=True)
    assert talk.rows("incident") == []
    assert logged(talk) == ["1"]


def test_scripts_meet_query_rules_too_unless_they_set_workflow_false(talk: Talk) -> None:
    insert(talk)
    add_rule(talk, "current.addQuery('impact', '9');", action_insert=False, action_query=True)
    script = "var r = new GlideRecord('incident'); r.setWorkflow(on); r.query(); gs.info(on + ' ' + r.getRowCount());"
    add_rule(talk, f"[true, false].forEach(function (on) {{ {script} }});", collection="problem")
    talk.post("problem", {})
    assert sorted(logged(talk)) == ["false 1", "true 0"]


def test_display_rules_fill_the_scratchpad_and_change_only_what_is_shown(talk: Talk) -> None:
    script = "g_scratchpad.greeting = 'hello ' + gs.getUserName(); current.short_description = 'shown'; g_scratchpad.list = [1, 2];"
    add_rule(talk, script, when="before_display")
    record = insert(talk)
    instance = talk.instance
    stored = instance.read("incident", record["sys_id"]) or {}
    shown = instance.scripts.display("incident", stored, instance.acting("admin"))
    assert shown.scratchpad == {"greeting": "hello admin", "list": [1, 2]}
    assert shown.values["short_description"] == "shown"
    assert instance.read("incident", record["sys_id"]) == stored
