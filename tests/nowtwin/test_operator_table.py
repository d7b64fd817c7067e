"""The operator table of servicenow-api.md 2.2, line by line: every spelling, and what it finds.

Evidence: r_OpAvailableFiltersQueries.md and encoded-query-guide.md unless a line's own mark says otherwise.
"""

import pytest

from nowtwin.instance import ADMIN_ID
from nowtwin.query import parse
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour(
    "2.2", evidence="documentation: r_OpAvailableFiltersQueries.md, encoded-query-guide.md"
)
GROUP = "a" * 32
LABEL = "b" * 32
ME = "90d1921e5f510100a9ad2572f2b477fe"
MY_GROUPS = "d6435e965f510100a9ad2572f2b477fe"
DEPARTMENT = "d" * 32

EVERYTHING = "pqr"
"""What a dropped condition leaves: all three incidents."""

# operator: (query, what it finds); p has everything, q has other values, r is empty apart from its name
TABLE: dict[str, tuple[tuple[str, str], ...]] = {
    "=": (("priority=1", "p"), ("priority=", "r"), ("active=false", "qr")),
    "!=": (("priority!=1", "q"), ("active!=true", "qr")),
    "<": (("reassignment_count<5", "p"),),
    "<=": (("reassignment_count<=5", "pq"),),
    ">": (("opened_at>2025-01-02 10:00:00", "q"),),
    ">=": (("opened_at>=2025-01-02 10:00:00", "pq"),),
    "LIKE": (("descriptionLIKEserver", "p"), ("caller_idLIKEadmin", "p")),
    "*": (("description*server", "p"),),
    "CONTAINS": (("descriptionCONTAINSserver", "p"),),
    "NOT LIKE": (("descriptionNOT LIKEserver", "q"),),
    "NOTLIKE": (("descriptionNOTLIKEserver", "q"),),
    "!*": (("description!*server", "q"),),
    "DOES NOT CONTAIN": (("descriptionDOES NOT CONTAINserver", "q"),),
    "STARTSWITH": (("descriptionSTARTSWITHmail", "p"),),
    "ENDSWITH": (("descriptionENDSWITHdown", "p"),),
    "%": (("description%down", "p"),),
    "IN": (("priorityIN1,2,9", "pq"),),
    "NOT IN": (("priorityNOT IN2,9", "p"),),
    "ISEMPTY": (("descriptionISEMPTY", "r"),),
    "ISNOTEMPTY": (("descriptionISNOTEMPTY", "pq"),),
    "EMPTYSTRING": (("descriptionEMPTYSTRING", "r"),),
    "ANYTHING": (("descriptionANYTHING", "pqr"),),
    "BETWEEN": (("reassignment_countBETWEEN2@5", "pq"), ("opened_atBETWEEN2025-01-02@2025-01-03", "p")),
    "SAMEAS": (("opened_atSAMEASclosed_at", "p"), ("opened_atSAMEASclosed_at@month", "pq")),
    "NSAMEAS": (("opened_atNSAMEASclosed_at", "q"),),
    "GT_FIELD": (("reassignment_countGT_FIELDreopen_count", "q"),),
    "LT_FIELD": (("reassignment_countLT_FIELDreopen_count", "p"),),
    "GT_OR_EQUALS_FIELD": (("reassignment_countGT_OR_EQUALS_FIELDreopen_count", "q"),),
    "LT_OR_EQUALS_FIELD": (("reassignment_countLT_OR_EQUALS_FIELDreopen_count", "p"),),
    "MORETHAN": (("opened_atMORETHANclosed_at@day@before@1", "q"),),
    "LESSTHAN": (("opened_atLESSTHANclosed_at@hour@before@1", "p"),),
    "ON": (("opened_atONx@javascript:gs.beginningOfYesterday()@javascript:gs.endOfYesterday()", "p"),),
    "NOTON": (("opened_atNOTONx@javascript:gs.beginningOfYesterday()@javascript:gs.endOfYesterday()", "q"),),
    "DATEPART": (
        ("opened_atDATEPARTThursday@javascript:gs.datePart('dayofweek','thursday','EE')", "p"),
        ("opened_atDATEPARTx@javascript:gs.datePart('year','2025','LE')", "pq"),
    ),
    "RELATIVEGT": (("opened_atRELATIVEGT@hour@ago@12", "q"),),
    "RELATIVELT": (("opened_atRELATIVELT@hour@ago@12", "p"),),
    "RELATIVEGE": (("opened_atRELATIVEGE@dayofweek@ago@5", "pq"),),
    "RELATIVELE": (("opened_atRELATIVELE@dayofweek@ahead@5", "pq"),),
    "RELATIVEEE": (("opened_atRELATIVEEE@month@ago@0", "pq"),),
    "DYNAMIC": (
        (f"caller_idDYNAMIC{ME}", "p"),
        (f"assignment_groupDYNAMIC{MY_GROUPS}", "p"),
        (f"caller_idDYNAMIC{'0' * 32}", EVERYTHING),
    ),
    "IN_HIERARCHY": ((f"caller_id.departmentIN_HIERARCHYx@{DEPARTMENT}", "p"),),
    "IN_HIERARCHY_DYNAMIC": (
        (f"assignment_groupIN_HIERARCHY_DYNAMICx@{ME}", "p"),
        (f"caller_id.departmentIN_HIERARCHY_DYNAMICx@{DEPARTMENT}", "p"),
        (f"caller_id.managerIN_HIERARCHY_DYNAMICx@{ME}", EVERYTHING),
    ),
    "INSTANCEOF": (("sys_class_nameINSTANCEOFtask", "pqr"), ("sys_class_nameINSTANCEOFproblem", "")),
    "VALCHANGES": (("priorityVALCHANGES", EVERYTHING),),
    "CHANGESFROM": (("priorityCHANGESFROM1", EVERYTHING),),
    "CHANGESTO": (("priorityCHANGESTO1", EVERYTHING),),
    "DOESNOTHAVE": ((f"sys_tags.{LABEL}DOESNOTHAVE{LABEL}", "qr"), ("priorityDOESNOTHAVE1", EVERYTHING)),
    "EXCLUDING": ((f"sys_tagsEXCLUDING{LABEL}", "qr"),),
}
OTHERS: tuple[tuple[str, str], ...] = (
    (f"sys_tags.{LABEL}={LABEL}", "p"),
    (f"sys_tags.{LABEL}!={LABEL}", "qr"),
    (f"sys_tagsIN{LABEL},{'0' * 32}", "p"),
    ("sys_tagsISNOTEMPTY", "p"),
    ("sys_tagsISEMPTY", "qr"),
    ("123TEXTQUERY321=mail DOWN", "p"),
    ("123TEXTQUERY321=nothing", ""),
    ("123TEXTINDEXGROUP321=portal_index_group", EVERYTHING),
    ("123TEXTQUERY321=mail^123TEXTINDEXGROUP321=g", "p"),
    ("RLQUERYlabel_entry.table_key,>0^ENDRLQUERY", "p"),
    ("RLQUERYlabel_entry.table_key,=0^ENDRLQUERY", "qr"),
    ("JOINincident.sys_id=label_entry.table_key!table=incident", "p"),
    ("priority=1^GROUPBYpriority", "p"),
    ("GROUPBYpriority^ORDERBYDESCpriority", "pqr"),
)


@pytest.fixture
def filled(talk: Talk) -> Talk:
    talk.control("PUT", "clock", {"set": "2025-01-03 12:00:00", "rate": 0})  # a Friday
    load = talk.instance.load
    load("cmn_department", [{"sys_id": DEPARTMENT, "name": "top"}, {"sys_id": "e" * 32, "parent": DEPARTMENT}])
    load(
        "sys_user", [{"sys_id": ADMIN_ID, "user_name": "admin", "name": "System Administrator", "department": "e" * 32}]
    )
    load("sys_user_group", [{"sys_id": GROUP, "name": "mine", "parent": ADMIN_ID}])
    load("sys_user_grmember", [{"user": ADMIN_ID, "group": GROUP}])
    load("label", [{"sys_id": LABEL, "name": "hot"}])
    rows = [
        {
            "sys_id": "1" * 32,
            "short_description": "p",
            "priority": "1",
            "active": "true",
            "description": "mail server down",
            "reassignment_count": "2",
            "reopen_count": "3",
            "opened_at": "2025-01-02 10:00:00",
            "closed_at": "2025-01-02 10:00:00",
            "caller_id": ADMIN_ID,
            "assignment_group": GROUP,
        },
        {
            "sys_id": "2" * 32,
            "short_description": "q",
            "priority": "2",
            "active": "false",
            "description": "printer",
            "reassignment_count": "5",
            "reopen_count": "1",
            "opened_at": "2025-01-03 10:00:00",
            "closed_at": "2025-01-09 10:00:00",
            "caller_id": "9" * 32,
        },
        {"sys_id": "3" * 32, "short_description": "r"},
    ]
    load("incident", rows)
    load("label_entry", [{"label": LABEL, "table": "incident", "table_key": "1" * 32}])
    return talk


def _found(talk: Talk, query: str) -> str:
    return "".join(sorted(talk.names("incident", query)))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param(query, expected, id=f"{operator} {query}")
        for operator in TABLE
        for query, expected in TABLE[operator]
    ],
)
def test_a_line_of_the_table(filled: Talk, query: str, expected: str) -> None:
    assert _found(filled, query) == expected


@pytest.mark.behaviour("2.1, 2.2", evidence="documentation: r_OpAvailableFiltersQueries.md; measured by others: PySNC")
@pytest.mark.parametrize(("query", "expected"), OTHERS)
def test_a_condition_that_is_no_operator_on_a_column(filled: Talk, query: str, expected: str) -> None:
    assert _found(filled, query) == expected


def test_every_spelling_that_is_read_has_a_line() -> None:
    spelled = {*parse._WORDS, *parse._SYMBOLS}
    assert spelled == TABLE.keys()


@pytest.mark.behaviour("2.2", evidence="documentation: sys_filter_option_dynamic")
def test_a_dynamic_option_of_ones_own_is_worked_out_and_an_inactive_one_dropped(filled: Talk) -> None:
    option = {"label": "Early", "script": "gs.beginningOfToday()", "field_type": "glide_date_time", "active": "true"}
    made = filled.post("sys_filter_option_dynamic", option).result["sys_id"]
    filled.instance.load("incident", [{"short_description": "s", "opened_at": "2025-01-03 00:00:00"}])
    assert _found(filled, f"opened_atDYNAMIC{made}") == "s"
    filled.patch("sys_filter_option_dynamic", made, {"active": "false"})
    assert _found(filled, f"opened_atDYNAMIC{made}") == "pqrs"


@pytest.mark.behaviour("2.2", evidence="documentation: label_entry; assumption: counts follow tags")
def test_a_count_follows_a_new_tag(filled: Talk) -> None:
    query = f"sys_tags.{LABEL}={LABEL}"
    assert filled.get("table/incident", sysparm_query=query).headers["x-total-count"] == "1"
    filled.post("label_entry", {"label": LABEL, "table": "incident", "table_key": "2" * 32})
    assert filled.get("table/incident", sysparm_query=query).headers["x-total-count"] == "2"
