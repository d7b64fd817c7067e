from collections import Counter
from itertools import islice

import pytest

from nowtwin.seeds import Change, Operation, generate_history, generate_incidents
from nowtwin.seeds.demo import demo_dictionary, demo_rows
from nowtwin.seeds.generator_pool import PRIORITY, demo_pool


@pytest.fixture(scope="module")
def history() -> list[Change]:
    return generate_history(7)


def lives(history: list[Change]) -> dict[str, list[Change]]:
    by_incident: dict[str, list[Change]] = {}
    for change in history:
        by_incident.setdefault(change.sys_id, []).append(change)
    return by_incident


def test_the_same_seed_gives_the_same_history_and_another_seed_another(history: list[Change]) -> None:
    assert generate_history(7) == history
    assert generate_history(8, 50) != generate_history(7, 50)


def test_five_thousand_incidents_live_three_to_eight_states_in_order_of_time(history: list[Change]) -> None:
    assert len(lives(history)) == 5_000
    lengths = Counter(len(life) for life in lives(history).values())
    assert lengths.keys() == {3, 4, 5, 6, 7, 8}
    assert [change.at for change in history] == sorted(change.at for change in history)


def test_every_life_is_one_an_instance_could_have_recorded(history: list[Change]) -> None:
    allowed = {"1": {"1", "2", "8"}, "2": {"2", "3", "6"}, "3": {"2"}, "6": {"2", "7"}, "7": set(), "8": set()}
    for life in lives(history).values():
        assert [change.operation for change in life] == [Operation.INSERT] + [Operation.UPDATE] * (len(life) - 1)
        row: dict[str, str] = {}
        for change in life:
            state = change.values.get("state", row.get("state", "1"))
            assert not row or state == row["state"] or state in allowed[row["state"]]
            assert any(row.get(element, "") != value for element, value in change.values.items())
            row.update(change.values)
        assert (row["state"] in ("7", "8")) == (row["active"] == "false")
        assert (row["state"] in ("6", "7", "8")) == bool(row.get("close_code"))
        assert row.get("closed_at", "9999") >= row.get("resolved_at", "") >= ""


def test_outcomes_and_subjects_are_distributed_as_meant(history: list[Change]) -> None:
    ended = Counter(life[-1].values.get("state", "open") for life in lives(history).values())
    assert 0.80 < ended["7"] / 5_000 < 0.90
    assert 0.02 < ended["8"] / 5_000 < 0.04
    profiles = demo_pool().profiles
    opened = [life[0].values for life in lives(history).values()]
    for element in ("category", "priority", "contact_type"):
        wanted = Counter(profile[element] for profile in profiles)
        seen = Counter(values[element] for values in opened)
        for value, count in wanted.items():
            assert seen[value] / 5_000 == pytest.approx(count / len(profiles), abs=0.03)
    callers = Counter(values["caller_id"] for values in opened)
    assert len(callers) > 400


def test_generated_rows_are_repeatable_distinct_and_wide() -> None:
    rows = list(generate_incidents(3, 2_000))
    assert rows == list(generate_incidents(3, 2_000))
    assert list(islice(generate_incidents(4, 2_000), 5)) != rows[:5]
    assert len({row["sys_id"] for row in rows}) == len({row["number"] for row in rows}) == 2_000
    assert min(map(len, rows)) >= 60
    assert max(map(len, rows)) >= 80


def test_generated_rows_point_at_demo_rows_and_hold_listed_choices() -> None:
    dictionary = demo_dictionary()
    columns = dictionary.columns("incident")
    known = {row["sys_id"] for rows in demo_rows().values() for row in rows}
    for row in generate_incidents(5, 1_000):
        for element, value in row.items():
            column = columns[element]
            labels = dictionary.choice_labels("incident", element)
            assert value, element
            if column.type in ("reference", "glide_list"):
                assert set(value.split(",")) <= known, element
            elif column.choice and labels:
                assert value in labels, element
        assert row["priority"] == PRIORITY[row["impact"], row["urgency"]]
        times = [row[element] for element in ("opened_at", "resolved_at", "closed_at") if element in row]
        assert times == sorted(times)
        assert row["sys_created_on"] <= row["sys_updated_on"]


def test_numbers_can_continue_an_earlier_batch() -> None:
    rows = generate_incidents(1, 3, first_number=500)
    assert [row["number"] for row in rows] == ["INC0000500", "INC0000501", "INC0000502"]
