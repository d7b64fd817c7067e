"""The encoded query language over HTTP: operators, precedence, dates, failing open (servicenow-api.md 2)."""

from collections.abc import Iterable

import pytest

from tests.nowtwin.talk import Talk

ADMIN = "6816f79cc0a8016401c5a33be04be441"
ACME, BETH, FRED = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def filled(talk: Talk) -> Talk:
    """Five incidents named a to e, at noon of Wednesday 14 May 2025."""
    talk.control("PUT", "clock", {"set": "2025-05-14 12:00:00", "rate": 0})
    load = talk.instance.load
    load("core_company", [{"sys_id": ACME, "name": "ACME"}])
    load(
        "sys_user",
        [
            {"sys_id": BETH, "user_name": "beth", "name": "Beth Anglin", "company": ACME},
            {"sys_id": FRED, "user_name": "fred", "name": "Fred Luddy", "manager": BETH},
        ],
    )
    load(
        "incident",
        [
            {
                "short_description": "a",
                "description": "Mail server DOWN",
                "state": "1",
                "priority": "1",
                "caller_id": BETH,
                "active": "true",
                "opened_at": "2025-05-14 09:00:00",
                "close_notes": "x",
                "category": "network",
                "reassignment_count": "2",
                "child_incidents": "10",
            },
            {
                "short_description": "b",
                "description": "50%_off mail",
                "state": "2",
                "priority": "2",
                "caller_id": FRED,
                "active": "false",
                "opened_at": "2025-05-13 23:30:00",
                "closed_at": "2025-05-15 23:30:00",
                "category": "network",
                "reassignment_count": "10",
                "child_incidents": "10",
            },
            {
                "short_description": "c",
                "description": "printer",
                "state": "3",
                "opened_at": "2025-05-01 00:00:00",
                "closed_at": "2025-05-01 10:00:00",
                "caller_id": ADMIN,
                "category": "software",
            },
            {"short_description": "d", "state": "7", "opened_at": "2024-12-31 23:59:59", "assigned_to": BETH},
            {"short_description": "e"},
        ],
    )
    return talk


def _found(talk: Talk, query: str) -> str:
    return "".join(sorted(talk.names("incident", query)))


@pytest.mark.behaviour("2.2, 2.3", evidence="documentation: r_OpAvailableFiltersQueries.md")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=1", "a"),
        ("state=", "e"),
        ("state!=1", "bcd"),
        ("state!=1^ORstateISEMPTY", "bcde"),
        ("stateNOT IN1,2", "cd"),
        ("stateIN1,2,99", "ab"),
        ("reassignment_count>9", "b"),
        ("reassignment_count>=2", "ab"),
        ("reassignment_count<10", "a"),
        ("state=banana", ""),
        ("state==1", ""),
        ("active=true", "a"),
        ("active!=true", "bcde"),
        ("active=false", "bcde"),
        ("descriptionLIKEmail", "ab"),
        ("description*MAIL", "ab"),
        ("descriptionCONTAINSmail", "ab"),
        ("descriptionNOT LIKEmail", "c"),
        ("description!*mail", "c"),
        ("descriptionDOES NOT CONTAINmail", "c"),
        ("descriptionLIKE%_", "b"),
        ("descriptionSTARTSWITHmail", "a"),
        ("descriptionENDSWITHdown", "a"),
        ("description%down", "a"),
        ("description=PRINTER", "c"),
        ("descriptionISNOTEMPTY", "abc"),
        ("descriptionEMPTYSTRING", "de"),
        ("stateANYTHING", "abcde"),
        ("reassignment_countBETWEEN2@10", "ab"),
        ("opened_atBETWEEN2025-05-01 00:00:00@2025-05-13 23:59:59", "bc"),
        ("reassignment_countSAMEASchild_incidents", "b"),
        ("reassignment_countNSAMEASchild_incidents", "a"),
        ("reassignment_countLT_FIELDchild_incidents", "a"),
        ("reassignment_countGT_OR_EQUALS_FIELDchild_incidents", "b"),
        ("opened_atSAMEASclosed_at@day", "c"),
        ("opened_atMORETHANclosed_at@day@before@1", "b"),
        ("opened_atLESSTHANclosed_at@day@before@1", "c"),
    ],
)
def test_an_operator_finds(filled: Talk, query: str, expected: str) -> None:
    assert _found(filled, query) == expected


@pytest.mark.behaviour("2.1", evidence="documentation: encoded-query-guide.md; measured by others: LH")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=1^ORstate=2^active=false", "b"),
        ("active=false^state=1^ORstate=2", "b"),
        ("state=1^NQstate=7", "ad"),
        ("state=1^active=false^NQcategory=software^ORcategory=nothing", "c"),
        ("^^^", "abcde"),
        ("^state=1^^active=true^EQ", "a"),
        ("state=1^GROUPBYcategory", "a"),
        ("", "abcde"),
    ],
)
def test_conditions_combine(filled: Talk, query: str, expected: str) -> None:
    assert _found(filled, query) == expected


@pytest.mark.behaviour("2.2", evidence="documentation: r_OpAvailableFiltersQueries.md")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("caller_id.name=Beth Anglin", "a"),
        ("caller_id.company.name=acme", "a"),
        ("caller_id.manager.company.nameSTARTSWITHAC", "b"),
        ("caller_id.managerISEMPTY", "acde"),
        ("caller_idLIKEluddy", "b"),
        (f"caller_id={BETH}", "a"),
        (f"caller_id!={BETH}", "bc"),
        ("caller_id=javascript:gs.getUserID()", "c"),
        ("caller_idDYNAMIC90d1921e5f510100a9ad2572f2b477fe", "c"),
        ("sys_class_nameINSTANCEOFtask", "abcde"),
        ("sys_class_nameINSTANCEOFproblem", ""),
        ("sys_class_name=incident", "abcde"),
        ("123TEXTQUERY321=mail server", "a"),
    ],
)
def test_references_classes_and_words(filled: Talk, query: str, expected: str) -> None:
    assert _found(filled, query) == expected


@pytest.mark.behaviour("2.2, 2.6", evidence="documentation: r_OpAvailableFiltersQueries.md")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("opened_at>javascript:gs.beginningOfToday()", "a"),
        ("opened_at<=javascript:gs.endOfYesterday()", "bcd"),
        ("opened_at>=javascript:gs.beginningOfThisMonth()", "abc"),
        ("opened_at<javascript:gs.beginningOfThisYear()", "d"),
        ("opened_at>=javascript:gs.beginningOfThisWeek()", "ab"),
        ("opened_at>=javascript:gs.beginningOfLastMonth()", "abc"),
        ("opened_at>=javascript:gs.daysAgoStart(1)", "ab"),
        ("opened_at<javascript:gs.daysAgo(13)", "cd"),
        ("opened_at>=javascript:gs.hoursAgoStart(3)", "a"),
        ("opened_at<javascript:gs.monthsAgoStart(0)", "d"),
        ("opened_at>=javascript:gs.dateGenerate('2025-05-13','23:30:00')", "ab"),
        ("opened_at>javascript:gs.dateGenerate('2025-05-13','end')", "a"),
        ("opened_atONToday@javascript:gs.beginningOfToday()@javascript:gs.endOfToday()", "a"),
        ("opened_atNOTONToday@javascript:gs.beginningOfToday()@javascript:gs.endOfToday()", "bcd"),
        ("opened_atRELATIVEGT@hour@ago@4", "a"),
        ("opened_atRELATIVELT@month@ago@1", "d"),
        ("opened_atRELATIVEGE@dayofweek@ago@1", "ab"),
        ("opened_atDATEPARTWednesday@javascript:gs.datePart('dayofweek','wednesday','EE')", "a"),
        ("opened_atDATEPARTMay@javascript:gs.datePart('month','may','EE')", "abc"),
        ("opened_at>2025-05-14", "a"),
    ],
)
def test_dates_are_worked_out_at_the_twins_clock(filled: Talk, query: str, expected: str) -> None:
    assert _found(filled, query) == expected


@pytest.mark.behaviour("2.6", evidence="measured by others: CDAP", switch="query_dates_in_user_zone")
def test_the_day_of_a_helper_is_the_day_of_the_callers_zone(filled: Talk) -> None:
    filled.instance.add_user("aki", "secret", roles=("admin",), time_zone="Asia/Tokyo")
    query = "opened_atONToday@javascript:gs.beginningOfToday()@javascript:gs.endOfToday()"
    assert _found(filled.as_user("aki", "secret"), query) == "ab"


@pytest.mark.behaviour(
    "2.4", evidence="documentation: c_TableAPI.md; measured by others: LH", switch="double_caret_escapes"
)
@pytest.mark.parametrize(
    "query",
    [
        "no_such_field=banana",
        "caller_id.nope=1",
        "state.name=1",
        "opened_at>javascript:new Whatever().thing()",
        "rubbish",
        "stateVALCHANGES",
        "opened_atRELATIVEGT@fortnight@ago@1",
    ],
)
def test_what_makes_no_sense_is_dropped_and_the_rest_stands(filled: Talk, query: str) -> None:
    assert _found(filled, query) == "abcde"
    assert _found(filled, f"{query}^state=1") == "a"
    assert _found(filled, f"state=1^OR{query}") == "a"
    filled.instance.update(
        "sys_properties", _property(filled, "glide.invalid_query.returns_no_rows"), {"value": "true"}
    )
    assert _found(filled, f"{query}^state=1") == ""


def _property(talk: Talk, name: str) -> str:
    (row,) = talk.rows("sys_properties", f"name={name}", sysparm_fields="sys_id")
    return str(row["sys_id"])


@pytest.mark.behaviour(
    "2.1",
    evidence="documentation: c_TableAPI.md; assumption: references by what they display",
    switch="order_references_by_display",
)
def test_rows_are_ordered_by_several_columns_and_references_by_name(filled: Talk) -> None:
    assert filled.names("incident", "stateISNOTEMPTY^ORDERBYDESCstate") == ["d", "c", "b", "a"]
    assert filled.names("incident", "categoryISNOTEMPTY^ORDERBYcategory^ORDERBYDESCpriority") == ["b", "a", "c"]
    assert filled.names("incident", "caller_idISNOTEMPTY^ORDERBYcaller_id") == ["a", "b", "c"]
    assert filled.names("incident", "state=1^ORDERBYno_such_field") == ["a"]


@pytest.mark.behaviour("2.2", evidence="documentation: encoded-query-guide.md")
def test_a_hierarchy_is_followed_through_its_parents(filled: Talk) -> None:
    filled.instance.load(
        "cmn_department",
        [
            {"sys_id": "1" * 32, "name": "top"},
            {"sys_id": "2" * 32, "name": "middle", "parent": "1" * 32},
            {"sys_id": "3" * 32, "name": "low", "parent": "2" * 32},
        ],
    )
    filled.instance.load("sys_user", [{"name": "Low", "department": "3" * 32}, {"name": "Top", "department": "1" * 32}])
    found = filled.names("sys_user", f"departmentIN_HIERARCHYx@{'1' * 32}^ORDERBYname", "name")
    assert found == ["Low", "Top"]
    assert filled.names("sys_user", f"departmentIN_HIERARCHYx@{'2' * 32}", "name") == ["Low"]


@pytest.mark.behaviour("2.2", evidence="measured by others: PySNC's tests")
def test_related_rows_are_counted(filled: Talk) -> None:
    query = "RLQUERYincident.caller_id,>0^state=1^ENDRLQUERY^ORDERBYname"
    assert filled.names("sys_user", query, "name") == ["Beth Anglin"]
    assert "Beth Anglin" not in filled.names("sys_user", "RLQUERYincident.caller_id,=0^ENDRLQUERY", "name")


@pytest.mark.behaviour("2.2", evidence="measured by others: PySNC's tests; assumption: where the inner conditions end")
def test_a_join_asks_for_at_least_one_row_on_the_other_side(filled: Talk) -> None:
    query = "JOINsys_user.sys_id=incident.caller_id!state=1^priority=1"
    assert filled.names("sys_user", query, "name") == filled.names(
        "sys_user", "RLQUERYincident.caller_id,>0^state=1^priority=1^ENDRLQUERY", "name"
    )
    assert filled.names("sys_user", "JOINsys_user.sys_id=incident.caller_id!state=1^ORDERBYname", "name") == [
        "Beth Anglin"
    ]
    assert filled.names("sys_user", "JOINsys_user.sys_id=incident.caller_id!state=99", "name") == []
    everyone = filled.names("sys_user", "ORDERBYname", "name")
    assert filled.names("sys_user", "JOINsys_user.sys_id=no_such.caller_id!^ORDERBYname", "name") == everyone


@pytest.mark.behaviour("2.3", evidence="assumption: collation", switch="case_insensitive_strings")
def test_text_may_be_compared_by_case_by_switch(filled: Talk) -> None:
    filled.control("PUT", "switches", {"case_insensitive_strings": False})
    assert _found(filled, "description=PRINTER") == ""
    assert _found(filled, "descriptionLIKEmail") == "b"


@pytest.mark.behaviour("1.5", evidence="measured by others: SL")
def test_a_keyset_sweep_sees_every_row_once(talk: Talk) -> None:
    talk.instance.load("incident", [{"short_description": str(n)} for n in range(137)])
    seen: list[str] = []
    while rows := talk.names("incident", f"sys_id>{seen[-1] if seen else ''}^ORDERBYsys_id", "sys_id")[:25]:
        seen += rows
    assert len(seen) == len(set(seen)) == 137


@pytest.mark.behaviour("1.5", evidence="documentation: encoded-query-guide.md")
def test_the_tuple_cursor_of_an_incremental_read(talk: Talk) -> None:
    stamps: Iterable[str] = [f"2025-01-01 00:00:0{n // 10}" for n in range(40)]
    talk.instance.load("incident", [{"sys_id": f"{n:032x}", "sys_updated_on": stamp} for n, stamp in enumerate(stamps)])
    query = (
        f"sys_updated_on>2025-01-01 00:00:01^NQsys_updated_on=2025-01-01 00:00:01^sys_id>{15:032x}"
        "^ORDERBYsys_updated_on^ORDERBYsys_id"
    )
    assert talk.names("incident", query, "sys_id") == [f"{n:032x}" for n in range(16, 40)]
