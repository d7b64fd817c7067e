"""The Aggregate API: functions, groups, having, order, display values (servicenow-api.md 4)."""

import pytest

from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour("4", evidence="documentation: c_AggregateAPI.md")

BETH = "b" * 32


@pytest.fixture
def counted(talk: Talk) -> Talk:
    talk.instance.load("sys_user", [{"sys_id": BETH, "name": "Beth Anglin"}])
    talk.instance.load(
        "incident",
        [
            {"state": "1", "reassignment_count": "1", "sys_updated_on": "2025-01-01 00:00:00", "caller_id": BETH},
            {"state": "1", "reassignment_count": "2", "sys_updated_on": "2025-02-01 00:00:00", "caller_id": BETH},
            {"state": "2", "reassignment_count": "6", "sys_updated_on": "2025-03-01 00:00:00"},
            {"sys_updated_on": "2024-03-01 00:00:00"},
        ],
    )
    return talk


def test_a_count_is_a_string_in_an_object(counted: Talk) -> None:
    assert counted.get("stats/incident", sysparm_count="true").json == {"result": {"stats": {"count": "4"}}}
    none = counted.get("v1/stats/incident", sysparm_count="true", sysparm_query="state=99", sysparm_avg_fields="state")
    assert none.json == {"result": {"stats": {"count": "0"}}}


def test_the_functions_skip_empty_values_and_averages_have_four_decimals(counted: Talk) -> None:
    stats = counted.get(
        "stats/task",
        sysparm_count="true",
        sysparm_avg_fields="reassignment_count",
        sysparm_sum_fields="reassignment_count,sys_mod_count,no_such_column",
        sysparm_min_fields="sys_updated_on,reassignment_count",
        sysparm_max_fields="sys_updated_on",
    ).result["stats"]
    assert stats == {
        "count": "4",
        "avg": {"reassignment_count": "3.0000"},
        "sum": {"reassignment_count": "9", "sys_mod_count": "0"},
        "min": {"sys_updated_on": "2024-03-01 00:00:00", "reassignment_count": "1"},
        "max": {"sys_updated_on": "2025-03-01 00:00:00"},
    }


@pytest.mark.parametrize(
    ("mode", "first", "second"),
    [
        ("false", {"value": ""}, {"value": "1"}),
        ("true", {"value": ""}, {"value": "New"}),
        ("all", {"value": "", "display_value": ""}, {"value": "1", "display_value": "New"}),
    ],
)
def test_groups_are_an_array_with_their_values(
    counted: Talk, mode: str, first: dict[str, str], second: dict[str, str]
) -> None:
    groups = counted.get(
        "stats/incident",
        sysparm_count="true",
        sysparm_group_by="state",
        sysparm_order_by="state",
        sysparm_display_value=mode,
    ).result
    assert [group["stats"]["count"] for group in groups] == ["1", "2", "1"]
    assert groups[0]["groupby_fields"] == [{"field": "state", **first}]
    assert groups[1]["groupby_fields"] == [{"field": "state", **second}]


def test_groups_by_reference_and_dot_walk(counted: Talk) -> None:
    groups = counted.get(
        "stats/incident",
        sysparm_count="true",
        sysparm_group_by="caller_id,caller_id.name",
        sysparm_order_by="COUNT^DESC",
        sysparm_query="caller_idISNOTEMPTY",
        sysparm_display_value="all",
    ).result
    assert groups[0]["groupby_fields"] == [
        {"field": "caller_id", "value": BETH, "display_value": "Beth Anglin"},
        {"field": "caller_id.name", "value": "Beth Anglin", "display_value": "Beth Anglin"},
    ]


def test_having_and_order_by_a_function(counted: Talk) -> None:
    having = counted.get(
        "stats/incident", sysparm_count="true", sysparm_group_by="state", sysparm_having="count^state^>^1"
    ).result
    assert [group["groupby_fields"][0]["value"] for group in having] == ["1"]
    ordered = counted.get(
        "stats/incident", sysparm_group_by="state", sysparm_sum_fields="reassignment_count",
        sysparm_order_by="SUM^reassignment_count^DESC",
    ).result  # fmt: skip
    assert [group["groupby_fields"][0]["value"] for group in ordered] == ["2", "1", ""]


def test_plain_filters_and_unknown_tables(counted: Talk) -> None:
    assert counted.get("stats/incident", sysparm_count="true", state="new").result["stats"]["count"] == "2"
    assert counted.get("stats/nope", sysparm_count="true").error == (400, "Invalid table nope", None)
    assert counted.send("POST", "stats/incident", {}).status == 405


@pytest.mark.behaviour("4", evidence="assumption: per release")
def test_aggregates_count_rows_that_the_caller_cannot_read(counted: Talk) -> None:
    counted.control("POST", "users", {"user_name": "joe", "password": "p"})
    counted.control("PUT", "hidden", [{"table": "incident"}])
    joe = counted.as_user("joe", "p")
    assert joe.rows("incident") == []
    assert joe.get("stats/incident", sysparm_count="true").result["stats"]["count"] == "4"


def test_fingerprints_by_prefix_add_up_to_the_whole(talk: Talk) -> None:
    talk.instance.load(
        "incident", [{"sys_id": f"{n * 2654435761 % 2**128:032x}"[::-1], "sys_mod_count": str(n)} for n in range(100)]
    )
    parts = [
        talk.get(
            "stats/incident",
            sysparm_count="true",
            sysparm_sum_fields="sys_mod_count",
            sysparm_query=f"sys_idSTARTSWITH{digit:x}",
        ).result["stats"]
        for digit in range(16)
    ]
    assert sum(int(part["count"]) for part in parts) == 100
    assert sum(int(part.get("sum", {}).get("sys_mod_count", 0)) for part in parts) == sum(range(100))
