"""The event log: rules on small logs written here, and the whole snapshot where it is at hand."""

import csv
import gzip
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nowtwin.instance import Instance
from nowtwin.play import Player
from nowtwin.seeds import Change, Operation, find_shared_data, load_event_log
from nowtwin.seeds.event_log import log_schema, part
from nowtwin.seeds.event_log_file import Event, EventLogError, read_event_log
from nowtwin.seeds.generator_pool import PRIORITY
from nowtwin.seeds.sys_ids import sys_id_of

LOG = "uci_incident_event_log.dev.csv.gz"

BASE = Event(
    number="INC0000045",
    incident_state="New",
    active="true",
    reassignment_count="0",
    reopen_count="0",
    sys_mod_count="0",
    made_sla="true",
    caller_id="Caller 2403",
    opened_by="Opened by  8",
    opened_at="29/2/2016 01:16",
    sys_created_by="?",
    sys_created_at="?",
    sys_updated_by="Updated by 21",
    sys_updated_at="29/2/2016 01:23",
    contact_type="Phone",
    location="Location 143",
    category="Category 55",
    subcategory="Subcategory 170",
    u_symptom="?",
    cmdb_ci="?",
    impact="2 - Medium",
    urgency="2 - Medium",
    priority="3 - Moderate",
    assignment_group="Group 56",
    assigned_to="?",
    knowledge="true",
    u_priority_confirmation="false",
    notify="Do Not Notify",
    problem_id="Problem ID  14",
    rfc="?",
    vendor="?",
    caused_by="?",
    closed_code="code 5",
    resolved_by="Resolved by 149",
    resolved_at="29/2/2016 11:29",
    closed_at="5/3/2016 12:00",
)
LIFE = [
    BASE,
    BASE._replace(incident_state="Awaiting User Info", sys_mod_count="1", sys_updated_at="29/2/2016 02:00"),
    BASE._replace(incident_state="Awaiting User Info", sys_mod_count="2", sys_updated_at="29/2/2016 03:00"),
    BASE._replace(incident_state="-100", sys_mod_count="4", sys_updated_at="29/2/2016 04:00", assigned_to="Resolver 3"),
    BASE._replace(incident_state="Resolved", sys_mod_count="5", sys_updated_at="29/2/2016 11:29"),
    BASE._replace(incident_state="Closed", active="false", sys_mod_count="6", sys_updated_at="5/3/2016 12:00"),
]


def at(hour: int) -> datetime:
    return datetime(2016, 2, 29, hour, 30, tzinfo=UTC)


def write_log(path: Path, events: list[Event]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Event._fields)
        writer.writerows(events)
    return path


def test_a_cut_parts_what_is_there_from_what_is_still_to_happen() -> None:
    replay = part(LIFE, at(2))
    (row,) = replay.rows["incident"]
    assert (row["state"], row["hold_reason"], row["sys_mod_count"]) == ("3", "1", "1")
    assert (row["sys_updated_on"], row["sys_updated_by"]) == ("2016-02-29 02:00:00", "updated.by.21")
    assert (row["sys_created_on"], row["sys_created_by"]) == ("2016-02-29 01:16:00", "opened.by.8")
    changes = list(replay.changes())
    assert [change.operation for change in changes] == [Operation.UPDATE] * 4
    assert changes == list(replay.changes())


def test_an_incident_that_starts_after_the_cut_is_inserted() -> None:
    replay = part(LIFE, datetime(2016, 1, 1, tzinfo=UTC))
    first, *later = replay.changes()
    assert replay.rows["incident"] == []
    assert (first.operation, first.user, first.sys_id) == (
        Operation.INSERT,
        "updated.by.21",
        sys_id_of("incident", "INC0000045"),
    )
    assert first.values["opened_at"] == "2016-02-29 01:16:00"
    assert not {"sys_updated_on", "sys_mod_count", "sys_created_on"} & first.values.keys()
    assert len(later) == 5


def test_the_resolution_appears_with_the_state_that_has_it() -> None:
    changes = list(part(LIFE, at(0)).changes())
    resolution = {"close_code", "resolved_at", "resolved_by"}
    assert [bool(resolution & change.values.keys()) for change in changes] == [False] * 4 + [True, False]
    assert changes[4].values["close_code"] == "code 5"
    assert changes[5].values["closed_at"] == "2016-03-05 12:00:00"
    assert changes[5].values["calendar_duration"] == "1970-01-06 10:44:00"


def test_a_save_without_visible_change_is_a_work_note_and_an_unnamed_state_changes_nothing() -> None:
    changes = list(part(LIFE, at(0)).changes())
    assert changes[2].values.keys() == {"work_notes"}
    assert changes[3].values == {"assigned_to": sys_id_of("sys_user", "Resolver 3")}


def test_an_unknown_resolution_code_does_not_leave_a_resolved_incident_without_one() -> None:
    (row,) = part([LIFE[4]._replace(closed_code="?")], 1.0).rows["incident"]
    assert row["close_code"] == "No resolution provided"


def test_a_fraction_cuts_by_events_and_one_is_all() -> None:
    assert len(part(LIFE, 0.5).states) == 3
    assert part(LIFE, 1.0).states == []
    assert len(part(LIFE, 0.0).states) == 6
    with pytest.raises(EventLogError, match="between 0 and 1"):
        part(LIFE, 1.5)


def test_names_become_rows_that_references_point_at() -> None:
    rows = part(LIFE, 1.0).rows
    users = {user["sys_id"]: user["name"] for user in rows["sys_user"]}
    (incident,) = rows["incident"]
    assert users[incident["caller_id"]] == "Caller 2403"
    assert users[incident["opened_by"]] == "Opened by 8"
    assert rows["problem"][0]["number"] == "PRB0000014"
    assert rows["problem"][0]["sys_id"] == incident["problem_id"]
    assert {user["user_name"] for user in rows["sys_user"]} >= {"updated.by.21", "resolver.3", "resolved.by.149"}


def test_choices_are_those_that_occur() -> None:
    schema = log_schema(LIFE)
    values = {(entry["element"], entry["value"]) for entry in schema["choices"]}
    assert {("category", "Category 55"), ("close_code", "code 5"), ("contact_type", "phone")} <= values
    assert ("close_code", "?") not in values
    assert {column["element"] for column in schema["columns"]} == {"u_symptom", "u_priority_confirmation", "vendor"}


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        (BASE._replace(sys_updated_at="2016-02-29 01:16"), "not a time"),
        (BASE._replace(incident_state="Sleeping"), "'Sleeping' is none of"),
        (BASE._replace(contact_type="Pigeon"), "'Pigeon' is none of"),
        (BASE._replace(notify="Shout"), "'Shout' is none of"),
        (BASE._replace(closed_at="soon"), "not a time"),
        (BASE._replace(sys_mod_count="many"), "near line 2"),
    ],
)
def test_a_line_that_has_not_the_form_of_the_log_is_named(tmp_path: Path, event: Event, complaint: str) -> None:
    path = write_log(tmp_path / "log.csv", [event])
    with pytest.raises(EventLogError, match=complaint):
        part(read_event_log(path), 0.5)


def test_a_file_that_is_another_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("number,incident_state\nINC1,New\n")
    with pytest.raises(EventLogError, match="columns missing: active, assigned_to"):
        read_event_log(path)


def test_lines_come_back_sorted_from_any_column_order_plain_or_packed(tmp_path: Path) -> None:
    plain = write_log(tmp_path / "log.csv", list(reversed(LIFE)))
    packed = tmp_path / "log.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_event_log(plain) == read_event_log(packed) == LIFE


def test_playing_the_rest_of_a_small_log_ends_where_the_log_ends(tmp_path: Path) -> None:
    with Instance() as instance:
        replay = load_event_log(instance, write_log(tmp_path / "log.csv", LIFE), until=at(2))
        player = Player(instance, replay.changes(), len(replay.states), wait=lambda _: False)
        player.start(rate=1e9)
        player.join()
        assert (player.progress().applied, player.progress().refused) == (4, 0)
        stored = instance.read("incident", sys_id_of("incident", "INC0000045"))
        assert stored is not None
        assert (stored["state"], stored["active"], stored["close_code"]) == ("7", "false", "code 5")
        assert (stored["sys_mod_count"], stored["sys_updated_by"]) == ("5", "updated.by.21")
        assert stored["closed_at"] == "2016-03-05 12:00:00"
        assert stored["sys_updated_on"] > "2020"
        assert instance.count("sys_journal_field", f"element_id={stored['sys_id']}") == 1


# -- the whole log -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def snapshot() -> Path:
    folder = find_shared_data()
    if folder is None or not (folder / LOG).is_file():
        pytest.skip(f"the event log snapshot {LOG} is not here: set NOWBRIDGE_SHARED_DATA to the folder that holds it")
    return folder / LOG


@pytest.fixture(scope="module")
def events(snapshot: Path) -> list[Event]:
    return read_event_log(snapshot)


def test_the_log_is_whole_at_every_cut(events: list[Event]) -> None:
    """Every event is one state: loaded, overtaken before the cut, or still to happen."""
    numbers = {event.number for event in events}
    replay = part(events, 0.75)
    inserts = [state for state, before in replay.states if before is None]
    assert len(replay.rows["incident"]) + len(inserts) == len(numbers) == 20_053
    assert all(row["sys_updated_on"] < "2016-05-15" for row in replay.rows["incident"])
    times = [state.at for state, _ in replay.states]
    assert times == sorted(times)
    assert min(times) >= replay.cut


def test_priorities_of_the_log_agree_with_the_lookup_but_for_low_impact_and_urgency(events: list[Event]) -> None:
    """The log's instance gave 3/3 priority 4; a stock instance gives 5, which the pipeline writes on the next save."""
    differing = Counter(
        (event.impact[0], event.urgency[0], event.priority[0])
        for event in events
        if PRIORITY[event.impact[0], event.urgency[0]] != event.priority[0]
    )
    assert differing.keys() == {("3", "3", "4")}


def test_an_instance_ends_with_the_last_states_of_the_log(snapshot: Path, events: list[Event]) -> None:
    last = {row["sys_id"]: row for row in part(events, 1.0).rows["incident"]}
    with Instance() as instance:
        replay = load_event_log(instance, snapshot, until=0.97)
        player = Player(instance, replay.changes(), len(replay.states), wait=lambda _: False)
        player.start(rate=1e9)
        player.join()
        progress = player.progress()
        assert (progress.applied, progress.refused, progress.finished) == (len(replay.states), 0, True)
        assert len(instance.writes) == progress.applied  # no change was without effect
        stored = {row["sys_id"]: row for row in instance.export("incident")}
        assert stored.keys() == last.keys()
        ignored = {"sys_updated_on", "sys_created_on", "sys_created_by", "sys_mod_count", "priority"}
        for sys_id, row in last.items():
            compared = {element: value for element, value in row.items() if element not in ignored}
            assert {element: stored[sys_id].get(element) for element in compared} == compared


def test_changes_name_users_that_exist(events: list[Event]) -> None:
    replay = part(events, 0.99)
    users = {user["user_name"] for user in replay.rows["sys_user"]}
    changes: list[Change] = list(replay.changes())
    assert {change.user for change in changes} <= users
    assert len(changes) == len(replay.states) > 1_000
