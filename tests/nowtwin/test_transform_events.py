"""Scripts of an import by their events, and whole sets (servicenow-api.md 6.1; r_MapWithTransformationEventScripts.md)."""

from datetime import UTC, datetime

import pytest

from tests.nowtwin.imports import STAGING, field, load, many, result
from tests.nowtwin.scripts import errors
from tests.nowtwin.talk import Record, Talk

pytestmark = pytest.mark.behaviour(
    "6.1", evidence="documentation: r_MapWithTransformationEventScripts.md, KB0745411 (order of execution)"
)

EVENTS = ("onStart", "onBefore", "onForeignInsert", "onChoiceCreate", "onReject", "onAfter", "onComplete")


def on(talk: Talk, map_id: str, event: str, script: str, order: int = 100) -> None:
    values = {"map": map_id, "when": event, "script": script, "order": str(order), "active": "true"}
    assert talk.post("sys_transform_script", values).status == 201


def rows_of(talk: Talk, *texts: str) -> list[Record]:
    return [{"Ticket": f"T{n}", "Text": text} for n, text in enumerate(texts, start=1)]


def transformed(talk: Talk, *texts: str) -> Record:
    """Many rows at once; the import set they came in."""
    ids = many(talk, *rows_of(talk, *texts))
    talk.control("POST", "jobs")
    (import_set,) = talk.rows("sys_import_set", f"sys_id={ids['import_set_id']}")
    return import_set


def spoken(talk: Talk) -> list[str]:
    """What scripts said with gs.info, in the order in which they did."""
    rows = talk.instance.storage.rows("SELECT message FROM syslog WHERE level || '' = '0' ORDER BY rowid", ())
    return [str(row[0]) for row in rows]


def test_events_come_in_the_documented_order(talk: Talk, incidents: str) -> None:
    for event in EVENTS:
        on(talk, incidents, event, f"gs.info('{event} ' + action + ' ' + (source.u_ticket || ''));")
    talk.patch("sys_transform_map", incidents, {"run_script": "true", "script": "gs.info('script ' + target.u_x);"})
    field(talk, incidents, "u_caller", "caller_id", choice_action="create")
    field(talk, incidents, "u_state", "category", choice_action="create")
    result(talk, u_ticket="T1", u_caller="Nobody Known", u_state="brand new")
    said = [line.split(" ")[0] for line in spoken(talk)]
    assert said == ["onStart", "onBefore", "onForeignInsert", "onChoiceCreate", "script", "onAfter", "onComplete"]
    result(talk, u_ticket="T1", u_text="again")
    assert spoken(talk)[7:][1] == "onBefore update T1"


def test_several_scripts_of_an_event_run_by_their_order(talk: Talk, incidents: str) -> None:
    on(talk, incidents, "onBefore", "target.description += 'b'; ignore = true;", 200)
    on(talk, incidents, "onBefore", "target.description = 'a'; gs.info('first');", 100)
    on(talk, incidents, "onBefore", "gs.info('last ' + target.description);", 300)
    assert result(talk, u_ticket="T1")["status"] == "ignored"
    assert spoken(talk) == ["first", "last ab"]


def test_on_before_knows_the_target_by_its_key_but_not_the_other_columns(talk: Talk, incidents: str) -> None:
    on(talk, incidents, "onBefore", "gs.info(action + ':' + target.correlation_id + ':' + target.short_description);")
    result(talk, u_ticket="T1", u_text="one")
    result(talk, u_ticket="T1", u_text="two")
    assert spoken(talk) == ["insert:T1:", "update:T1:one"]


def test_a_mapped_column_wins_over_on_before_and_the_script_over_both(talk: Talk, incidents: str) -> None:
    on(talk, incidents, "onBefore", "target.short_description = 'before'; target.description = 'before';")
    result(talk, u_ticket="T1", u_text="mapped")
    (row,) = talk.rows("incident")
    assert (row["short_description"], row["description"]) == ("mapped", "before")
    talk.patch("sys_transform_map", incidents, {"run_script": "true", "script": "target.short_description = 'script';"})
    result(talk, u_ticket="T1", u_text="mapped again")
    assert talk.names("incident", "") == ["script"]


def test_on_start_may_stop_the_whole_run(talk: Talk, incidents: str) -> None:
    on(talk, incidents, "onStart", "ignore = true; status_message = 'not today ' + import_set.table_name;")
    entry = result(talk, u_ticket="T1", u_text="x")
    assert (entry["status"], entry["status_message"]) == ("ignored", f"not today {STAGING}")
    transformed(talk, "one", "two")
    assert talk.rows("incident") == []
    assert sorted(talk.names(STAGING, "u_textINone,two", "sys_import_state")) == ["ignored", "pending"]


def test_an_error_in_on_before_ends_the_run_and_an_ignored_row_does_not(talk: Talk, incidents: str) -> None:
    script = "if (source.u_text == 'skip') ignore = true; if (source.u_text == 'bad') {error = true; error_message = 'broken';}"
    on(talk, incidents, "onBefore", script)
    on(talk, incidents, "onAfter", "gs.info('after ' + source.u_text);")
    transformed(talk, "one", "skip", "two", "bad", "three")
    assert sorted(talk.names("incident", "")) == ["one", "two"]
    assert talk.names(STAGING, "ORDERBYsys_import_row", "sys_import_state") == [
        "inserted",
        "ignored",
        "inserted",
        "error",
        "pending",
    ]
    assert spoken(talk) == ["after one", "after skip", "after two"]
    (run,) = talk.rows("sys_import_set_run")
    assert (run["state"], run["inserts"], run["ignored"], run["errors"]) == ("complete_with_errors", "2", "1", "1")
    assert talk.names(STAGING, "sys_import_state=error", "sys_import_state_comment") == ["broken"]


def test_an_error_in_on_after_ends_the_run_but_keeps_the_row(talk: Talk, incidents: str) -> None:
    on(talk, incidents, "onAfter", "error = true; error_message = 'enough';")
    entry = result(talk, u_ticket="T1", u_text="kept")
    assert (entry["status"], entry["error_message"]) == ("error", "enough")
    assert talk.names("incident", "") == ["kept"]


def test_a_foreign_record_is_made_left_out_or_rejects_its_row(talk: Talk, incidents: str) -> None:
    field(talk, incidents, "u_caller", "caller_id", choice_action="create")
    script = "gs.info(name + '=' + value); ignore = value == 'Left Out'; error = value == 'Refused Here';"
    on(talk, incidents, "onForeignInsert", script)
    on(talk, incidents, "onReject", "gs.info('rejected ' + value);")
    result(talk, u_ticket="T1", u_caller="Left Out")
    refused = result(talk, u_ticket="T2", u_caller="Refused Here")
    assert (refused["status"], "sys_id" in refused) == ("ignored", False)
    result(talk, u_ticket="T3", u_caller="New Person")
    assert talk.names("sys_user", "nameINLeft Out,Refused Here,New Person", "name") == ["New Person"]
    assert sorted(talk.names("incident", "", "correlation_id")) == ["T1", "T3"]
    assert spoken(talk) == [
        "caller_id=Left Out",
        "caller_id=Refused Here",
        "rejected Refused Here",
        "caller_id=New Person",
    ]


def test_a_choice_is_made_left_out_or_rejects_its_row(talk: Talk, incidents: str) -> None:
    field(talk, incidents, "u_state", "category", choice_action="create")
    on(talk, incidents, "onChoiceCreate", "ignore = value == 'left'; error = value == 'refused';")
    result(talk, u_ticket="T1", u_state="left")
    assert result(talk, u_ticket="T2", u_state="refused")["status"] == "ignored"
    result(talk, u_ticket="T3", u_state="made")
    assert talk.names("sys_choice", "name=incident^element=category^valueINleft,refused,made", "value") == ["made"]
    categories = talk.rows("incident", "ORDERBYcorrelation_id", sysparm_fields="correlation_id,category")
    assert [row["correlation_id"] for row in categories] == ["T1", "T3"]
    assert categories[1]["category"] == "made"


@pytest.mark.parametrize(("action", "categories"), [("ignore", ["inquiry"]), ("reject", []), ("create", ["new one"])])
def test_what_becomes_of_an_unknown_choice_is_up_to_the_field_map(
    talk: Talk, incidents: str, action: str, categories: list[str]
) -> None:
    field(talk, incidents, "u_state", "category", choice_action=action)
    result(talk, u_ticket="T1", u_state="new one")
    assert talk.names("incident", "", "category") == categories


def test_on_complete_sees_the_last_row_and_may_mark_the_set(talk: Talk, incidents: str) -> None:
    on(
        talk,
        incidents,
        "onComplete",
        "gs.info(source.u_text + ' ' + target.short_description + ' ' + import_set.number);",
    )
    import_set = transformed(talk, "one", "two")
    assert spoken(talk) == [f"two two {import_set['number']}"]
    assert import_set["state"] == "processed"
    on(talk, incidents, "onComplete", "error = true;")
    assert transformed(talk, "three")["state"] == "error"


def test_what_a_script_puts_into_the_response_goes_out(talk: Talk, incidents: str) -> None:
    on(talk, incidents, "onAfter", "response.ticket_key = source.u_ticket; status_message = 'well done';")
    entry = result(talk, u_ticket="T1", u_text="x")
    assert (entry["ticket_key"], entry["status_message"], entry["status"]) == ("T1", "well done", "inserted")


def test_a_script_that_fails_is_logged_and_the_row_goes_on(talk: Talk, incidents: str) -> None:
    on(talk, incidents, "onBefore", "no_such_thing();")
    assert result(talk, u_ticket="T1", u_text="x")["status"] == "inserted"
    assert "no_such_thing" in errors(talk)[0]


@pytest.mark.behaviour("6.1", evidence="documentation: c_ImportSetAPI.md")
def test_run_after_transforms_another_set_first(talk: Talk, incidents: str) -> None:
    first = many(talk, {"Ticket": "T1", "Text": "first"})
    second = many(talk, {"Ticket": "T1", "Text": "second"}, run_after=first["import_set_id"])
    talk.control("POST", "jobs")
    assert talk.names("incident", "") == ["second"]
    states = talk.names("sys_import_set", f"sys_idIN{first['import_set_id']},{second['import_set_id']}", "state")
    assert states == ["processed", "processed"]


@pytest.mark.behaviour("6.1", evidence="documentation: c_ImportSetAPI.md")
@pytest.mark.parametrize(("mode", "made"), [("synchronous", 1), ("asynchronous", 0)])
def test_the_mode_of_the_table_decides_when_many_rows_are_transformed(
    talk: Talk, incidents: str, mode: str, made: int
) -> None:
    talk.control("PUT", "clock", {"rate": 0})
    talk.post("sys_rest_insert_multiple", {"source_table": STAGING, "transformation_type": mode})
    ids = many(talk, {"Ticket": "T1", "Text": "one"})
    (import_set,) = talk.rows("sys_import_set", f"sys_id={ids['import_set_id']}")
    assert import_set["mode"] == mode.removesuffix("hronous")
    if made:
        assert talk.names("incident", "") == ["one"]
    talk.control("POST", "jobs")
    assert talk.names("incident", "") == ["one"]


@pytest.mark.behaviour("6.1", evidence="documentation: c_ImportSetAPI.md")
def test_a_key_of_two_columns_with_an_empty_one(talk: Talk, incidents: str) -> None:
    field(talk, incidents, "u_state", "correlation_display", coalesce="true")
    (entry,) = talk.rows("sys_transform_entry", f"map={incidents}^target_field=correlation_display")
    assert result(talk, u_ticket="T1", u_state="A", u_text="one")["status"] == "inserted"
    assert result(talk, u_ticket="T1", u_text="two")["status"] == "updated"
    talk.patch("sys_transform_entry", entry["sys_id"], {"coalesce_empty_fields": "true"})
    assert result(talk, u_ticket="T1", u_text="three")["status"] == "inserted"
    assert sorted(talk.names("incident", "")) == ["three", "two"]


@pytest.mark.behaviour("6.1", evidence="documentation: r_ImportSetMode.md")
def test_single_rows_go_into_the_set_that_is_loading_and_a_new_one_after_midnight(talk: Talk, incidents: str) -> None:
    talk.instance.clock.set(datetime(2026, 3, 1, 9, 4, tzinfo=UTC))
    first = load(talk, u_ticket="T1").json["import_set"]
    assert load(talk, u_ticket="T2").json["import_set"] == first
    (row,) = talk.rows("sys_import_set")
    talk.patch("sys_import_set", row["sys_id"], {"state": "loaded"})
    second = load(talk, u_ticket="T3").json["import_set"]
    assert second != first
    talk.instance.clock.advance(86400)
    assert load(talk, u_ticket="T4").json["import_set"] not in {first, second}
    assert talk.names("sys_import_set", f"number={second}", "state") == ["processed"]


@pytest.mark.behaviour("6.1", evidence="documentation: r_ImportSetMode.md")
def test_rows_of_an_asynchronous_set_wait(talk: Talk, incidents: str) -> None:
    talk.post("sys_import_set", {"table_name": STAGING, "mode": "async", "state": "loading"})
    entry = result(talk, u_ticket="T1", u_text="later")
    assert (entry["table"], entry["status"]) == (STAGING, "inserted")
    assert talk.names(STAGING, "", "sys_import_state") == ["pending"]
    assert talk.rows("incident") == []
