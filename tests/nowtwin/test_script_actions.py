"""Script actions run for the events that scripts raise."""

import pytest

from tests.nowtwin.scripts import add_rule, errors, insert, logged, settle
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour("8.1", evidence="assumption: script actions run at once and as system")


def action(talk: Talk, script: str, **columns: object) -> str:
    body = {"name": "Act", "event_name": "desk.called", "active": True, "script": script}
    made = talk.post("sysevent_script_action", body | columns)
    assert made.status == 201
    sys_id: str = made.result["sys_id"]
    return sys_id


@pytest.fixture
def raising(talk: Talk) -> Talk:
    """A rule raises `desk.called` for every new incident."""
    add_rule(talk, "gs.eventQueue('desk.called', current, 'one', gs.getUserName());", when="after")
    return talk


def test_an_action_sees_the_event_and_its_record(raising: Talk) -> None:
    action(
        raising, "gs.info([event.name, event.parm1, event.parm2, current.short_description, gs.getUserName()].join());"
    )
    insert(raising)
    settle(raising)
    assert logged(raising) == ["desk.called,one,admin,printer on fire,system"]
    assert raising.names("sysevent", "name=desk.called", "state") == ["processed"]
    assert errors(raising) == []


def test_actions_run_in_order_and_only_active_ones_whose_condition_holds(raising: Talk) -> None:
    action(raising, "current.description += 'b'; current.update();", order=200)
    action(raising, "current.description += 'a'; current.update();", order=100)
    action(raising, "gs.info('off');", active=False)
    action(raising, "gs.info('other');", event_name="desk.left")
    action(raising, "gs.info('never');", condition_script="event.parm1 == 'two'")
    made = insert(raising)
    settle(raising)
    assert raising.get(f"table/incident/{made['sys_id']}").result["description"] == "ab"
    assert logged(raising) == []


def test_an_event_without_actions_or_for_later_stays_ready(raising: Talk) -> None:
    insert(raising)
    settle(raising)
    assert raising.names("sysevent", "", "state") == ["ready"]
    action(raising, "gs.info('early');", event_name="desk.later")
    later = "var g = new GlideDateTime(); g.addDays(1); gs.eventQueueScheduled('desk.later', current, '', '', g);"
    add_rule(raising, later, when="after", order=200)
    insert(raising)
    settle(raising)
    assert logged(raising) == []


@pytest.mark.behaviour("8.1", evidence="assumption: as system", switch="script_actions_as_system")
def test_a_switch_has_actions_run_as_who_raised_the_event(raising: Talk) -> None:
    action(raising, "gs.info(gs.getUserName());")
    raising.control("PUT", "switches", {"script_actions_as_system": False})
    insert(raising)
    settle(raising)
    assert logged(raising) == ["admin"]


def test_a_failing_action_is_a_log_entry_and_the_next_one_runs(raising: Talk) -> None:
    bad = action(raising, "nowhere.to();", order=1)
    action(raising, "gs.info('next');", order=2)
    insert(raising)
    settle(raising)
    assert f"sysevent_script_action.{bad}.script" in errors(raising)[0]
    assert logged(raising) == ["next"]
