"""Encoded queries: the user's conditions stay as they are, ours hold in every branch, and nothing is smuggled in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowbridge.model.errors import Park, Stop
from nowbridge.servicenow import query as queries
from nowbridge.servicenow.query import EVERYTHING, columns_named, equals, one_of, parse

conditions = st.sampled_from(
    ["active=true", "priority=1^ORpriority=2", "caller_id.nameLIKEbeth ann", "stateIN1,2,3", "numberSTARTSWITHINC00"]
)
branches = st.lists(conditions, min_size=1, max_size=4)


@given(
    branches, conditions, st.sampled_from(["", "^ORDERBYnumber", "^ORDERBYDESCsys_created_on", "^EQ", "^GROUPBYstate"])
)
def test_a_condition_joins_every_branch_and_the_users_stay_unchanged(filters: list[str], added: str, tail: str) -> None:
    text = parse("^NQ".join(filters) + tail).where(added).ordered("sys_id").text
    assert text == "^NQ".join(f"{branch}^{added}" for branch in filters) + "^ORDERBYsys_id"


@given(branches)
def test_parsing_and_writing_changes_nothing(filters: list[str]) -> None:
    text = "^NQ".join(filters)
    assert parse(text).text == text
    assert queries.split_groups(text) == tuple(filters)


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("", ()),
        ("^^^", ()),
        ("ORDERBYnumber", ()),
        ("^active=true", ("active=true",)),
        ("active=true^^state=1", ("active=true^state=1",)),
        ("active=true^EQ", ("active=true",)),
        ("a=1^NQORDERBYnumber^b=2", ("a=1", "b=2")),
        (
            "RLQUERYsys_group_has_role.group,>0,m2m^role.nameLIKEadmin^NQx=1^ENDRLQUERY^active=true^NQb=2",
            ("RLQUERYsys_group_has_role.group,>0,m2m^role.nameLIKEadmin^NQx=1^ENDRLQUERY^active=true", "b=2"),
        ),
    ],
)
def test_branches(text: str, groups: tuple[str, ...]) -> None:
    assert queries.split_groups(text) == groups


@pytest.mark.parametrize("text", ["a=1^NQ", "^NQa=1", "a=1^NQ^NQb=1", "a=x^^NQb=1", "a=x^^ORDERBYb", "a=1^NQORDERBYb"])
def test_a_filter_that_can_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(Stop) as caught:
        parse(text)
    assert caught.value.code == "query.ambiguous"


def test_everything_takes_conditions_too() -> None:
    assert EVERYTHING.text == ""
    assert EVERYTHING.where("", "a=1", "b=2").text == "a=1^b=2"
    assert EVERYTHING.where("").ordered("a", "b").text == "ORDERBYa^ORDERBYb"
    assert queries.and_(parse("a=1"), "b=2").text == "a=1^b=2"


@pytest.mark.parametrize("value", ["a^b", "^", "javascript:gs.getUserID()", " JavaScript:x", "NULL"])
def test_values_that_cannot_be_quoted_are_refused_without_repeating_them(value: str) -> None:
    for build in (equals, queries.after, queries.until):
        with pytest.raises(Park) as caught:
            build("name", value)
        assert caught.value.code == "query.inexpressible"
        assert value == "^" or value not in str(caught.value).replace("NULL. ", "") or value == "NULL"
    with pytest.raises(Park):
        one_of("name", [value])


@pytest.mark.parametrize("values", [[], [""], ["a", ""], ["a,b"]])
def test_lists_that_would_find_something_else_are_refused(values: list[str]) -> None:
    with pytest.raises(Park):
        one_of("sys_id", values)


@given(st.lists(st.text("abc123 &=%+#", min_size=1).filter(str.strip), min_size=1))
def test_what_is_accepted_stands_in_the_query_as_it_is(values: list[str]) -> None:
    assert one_of("u_x", values) == "u_xIN" + ",".join(values)


def test_an_empty_value_finds_empty_columns() -> None:
    assert equals("u_x", "") == "u_x="


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            "active=true^priority=1^ORimpact=1^NQnumberLIKEx^ORDERBYDESCsys_created_on",
            {"active", "priority", "impact", "number", "sys_created_on"},
        ),
        ("caller_id.company.name=ACME", {"caller_id.company.name"}),
        ("opened_atSAMEASclosed_at@day", {"opened_at", "closed_at"}),
        ("reopen_countGT_FIELDreassignment_count", {"reopen_count", "reassignment_count"}),
        ("123TEXTQUERY321=printer^active=true", {"active"}),
        ("RLQUERYa.b,>0^c=1^ENDRLQUERY^d=1", {"d"}),
        ("sys_tags.1=2^ORDERBYx^GROUPBYy^EQ", {"x", "y"}),
        ("u_2nd_nameISNOTEMPTY", {"u_2nd_name"}),
        ("", set()),
    ],
)
def test_the_columns_that_a_query_names(text: str, named: set[str]) -> None:
    assert columns_named(text) == named


ZONES = st.integers(-12, 12).map(lambda hours: timezone(timedelta(hours=hours)))


@given(st.datetimes(timezones=ZONES).filter(lambda moment: 1000 <= moment.year < 9999))
def test_moments_are_written_in_utc_and_read_back(moment: datetime) -> None:
    assert queries.read_stamp(queries.stamp(moment)) == moment.replace(microsecond=0)


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        queries.stamp(datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None))
