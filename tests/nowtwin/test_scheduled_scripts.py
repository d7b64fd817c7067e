"""Scheduled scripts: rows of sysauto_script run once the twin's clock passes their time."""

import pytest

from tests.nowtwin.scripts import add_rule, errors, insert, logged, settle
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour("8.1", evidence="assumption: a job that is late runs once, run_time is UTC")


def clock(talk: Talk, **change: object) -> None:
    talk.control("PUT", "clock", {"frozen": True, **change})


def schedule(talk: Talk, **columns: object) -> str:
    """A script that says its name, unless the columns say otherwise; the clock stands at noon of a Monday."""
    body = {"name": "Job", "active": True, "script": "gs.info('ran at ' + new GlideDateTime());"}
    made = talk.post("sysauto_script", body | columns)
    assert made.status == 201, made.body
    sys_id: str = made.result["sys_id"]
    return sys_id


@pytest.fixture(autouse=True)
def noon(talk: Talk) -> None:
    clock(talk, set="2026-03-02 12:00:00")


def times(talk: Talk) -> list[str]:
    settle(talk)
    return [line.removeprefix("ran at ") for line in logged(talk)]


def next_action(talk: Talk) -> list[str]:
    talk.get("table/sysauto_script", sysparm_limit=1)
    return talk.names("sys_trigger", "document=sysauto_script", "next_action")


@pytest.mark.parametrize(
    ("columns", "due"),
    [
        ({"run_type": "daily", "run_time": "1970-01-01 13:30:00"}, "2026-03-02 13:30:00"),
        ({"run_type": "daily", "run_time": "1970-01-01 08:00:00"}, "2026-03-03 08:00:00"),
        ({"run_type": "weekly", "run_dayofweek": "1", "run_time": "1970-01-01 08:00:00"}, "2026-03-09 08:00:00"),
        ({"run_type": "weekly", "run_dayofweek": "5", "run_time": "1970-01-01 08:00:00"}, "2026-03-06 08:00:00"),
        ({"run_type": "monthly", "run_dayofmonth": "31", "run_time": "1970-01-01 00:00:00"}, "2026-03-31 00:00:00"),
        ({"run_type": "once", "run_start": "2026-03-02 18:00:00"}, "2026-03-02 18:00:00"),
        (
            {"run_type": "periodically", "run_period": "1970-01-01 00:15:00", "run_start": "2026-03-01 00:05:00"},
            "2026-03-02 12:05:00",
        ),
    ],
)
def test_the_trigger_says_when_and_the_script_runs_then(talk: Talk, columns: dict[str, str], due: str) -> None:
    schedule(talk, **columns)
    assert next_action(talk) == [due]
    assert times(talk) == []
    clock(talk, set=due)
    assert times(talk) == [due]
    assert errors(talk) == []


def test_a_periodic_script_runs_again_and_a_long_jump_counts_once(talk: Talk) -> None:
    schedule(talk, run_type="periodically", run_period="1970-01-01 01:00:00", run_start="2026-03-02 13:00:00")
    ran = []
    for moment in ("13:00:00", "13:59:59", "14:00:00", "20:30:00"):
        clock(talk, set=f"2026-03-02 {moment}")
        ran = times(talk)
    assert ran == ["2026-03-02 13:00:00", "2026-03-02 14:00:00", "2026-03-02 20:30:00"]
    assert next_action(talk) == ["2026-03-02 21:00:00"]


def test_a_script_that_runs_once_and_is_late_runs_at_once_and_never_again(talk: Talk) -> None:
    schedule(talk, run_type="once", run_start="2026-01-01 00:00:00")
    assert times(talk) == ["2026-03-02 12:00:00"]
    clock(talk, advance=86_400)
    assert len(times(talk)) == 1


def test_inactive_deleted_and_on_demand_scripts_do_not_run(talk: Talk) -> None:
    schedule(talk, active=False, run_type="once", run_start="2026-03-02 13:00:00")
    schedule(talk, run_type="on_demand")
    gone = schedule(talk, run_type="once", run_start="2026-03-02 13:00:00")
    assert next_action(talk) == ["2026-03-02 13:00:00"]
    talk.delete("sysauto_script", gone)
    assert next_action(talk) == []
    clock(talk, advance=7200)
    assert times(talk) == []


def test_a_script_runs_as_its_user_and_where_its_condition_holds(talk: Talk) -> None:
    joe = talk.instance.add_user("joe", "p")
    start = {"run_type": "once", "run_start": "2026-03-02 12:00:00"}
    schedule(talk, script="gs.info(gs.getUserName());", run_as=joe, **start)
    schedule(talk, script="gs.info('never');", conditional=True, condition="1 > 2", **start)
    schedule(talk, script="gs.info('held');", conditional=True, condition="gs.getUserName() == 'admin'", **start)
    settle(talk)
    assert sorted(logged(talk)) == ["held", "joe"]


def test_a_rule_starts_a_script_on_demand(talk: Talk) -> None:
    job = schedule(talk, run_type="on_demand")
    script = f"var j = new GlideRecord('sysauto_script'); j.get('{job}'); gs.info('ran at ' + gs.executeNow(j) + SncTriggerSynchronizer.executeNow('x'));"
    add_rule(talk, script)
    insert(talk)
    assert sorted(times(talk)) == ["2026-03-02 12:00:00", "truefalse"]


@pytest.mark.parametrize(
    "columns",
    [
        {"run_type": "weekly", "run_dayofweek": "9"},
        {"run_type": "monthly", "run_dayofmonth": "1.5"},
        {"run_type": "periodically", "run_period": "1970-01-01 00:00:00"},
        {"run_type": "periodically", "run_period": "soon", "run_start": "yesterday"},
        {"run_type": "business_calendar"},
    ],
)
def test_a_schedule_that_makes_no_sense_does_not_run(talk: Talk, columns: dict[str, str]) -> None:
    schedule(talk)
    made = talk.instance.load(
        "sysauto_script", [{"name": "odd", "script": "gs.info('odd');", "active": "true", **columns}]
    )
    assert made == 1
    clock(talk, set="2026-03-05 12:00:00")
    assert "odd" not in times(talk)


def test_a_failing_script_is_a_log_entry(talk: Talk) -> None:
    job = schedule(talk, run_type="once", run_start="2026-03-02 12:00:00", script="nowhere.to();")
    settle(talk)
    assert f"sysauto_script.{job}.script" in errors(talk)[0]


def test_a_reset_and_a_clock_that_goes_back(talk: Talk) -> None:
    schedule(talk, run_type="daily", run_time="1970-01-01 13:00:00")
    clock(talk, set="2026-03-10 12:00:00")
    assert len(times(talk)) == 1
    clock(talk, set="2026-03-04 12:00:00")
    assert next_action(talk) == ["2026-03-04 13:00:00"]
    talk.control("POST", "reset")
    clock(talk, set="2026-04-01 12:00:00")
    assert times(talk) == []
