"""Access rules with conditions and scripts where a dotted column reaches another record."""

from dataclasses import replace

import pytest

from tests.nowtwin.talk import Record, Talk

pytestmark = pytest.mark.behaviour(
    "1.6",
    evidence="documentation: exploring-access-control-list.md; assumption: for each record that is reached",
    switch="dot_walks_check_records",
)

BETH, ABEL = "1" * 32, "2" * 32
FIELDS = "number,caller_id.email,caller_id.manager.email"


@pytest.fixture
def guarded(talk: Talk) -> Talk:
    """Access control is on, and `ida` (itil) reads incidents and users. Abel is Beth's manager; one incident has no caller."""
    instance = talk.instance
    instance.load(
        "sys_user",
        [
            {"sys_id": BETH, "user_name": "beth", "name": "Beth", "email": "beth@example.com", "manager": ABEL},
            {"sys_id": ABEL, "user_name": "abel", "name": "Abel", "email": "abel@example.com", "vip": "true"},
        ],
    )
    instance.load(
        "incident",
        [{"number": "INC1", "caller_id": BETH}, {"number": "INC2", "caller_id": ABEL}, {"number": "INC3"}],
    )
    instance.add_user("ida", "p", roles=("itil",))
    instance.switches = replace(instance.switches, access_control=True)
    return talk


def guard(talk: Talk, name: str, condition: str = "", **more: str) -> None:
    rule = {"name": name, "operation": "read", "type": "record", "active": "true", "condition": condition, **more}
    assert talk.post("sys_security_acl", rule).status == 201


def seen(talk: Talk) -> list[Record]:
    return talk.as_user("ida", "p").rows("incident", "ORDERBYnumber", sysparm_fields=FIELDS)


def test_a_condition_of_the_table_behind_a_reference_decides_for_each_record(guarded: Talk) -> None:
    whole = seen(guarded)
    assert whole == [
        {"number": "INC1", "caller_id.email": "beth@example.com", "caller_id.manager.email": "abel@example.com"},
        {"number": "INC2", "caller_id.email": "abel@example.com", "caller_id.manager.email": ""},
        {"number": "INC3", "caller_id.email": "", "caller_id.manager.email": ""},
    ]
    guard(guarded, "sys_user", "vip=true^EQ", decision_type="deny")  # whom the condition does not name is hidden
    assert seen(guarded) == [{"number": "INC1"}, whole[1], whole[2]]
    guarded.control("PUT", "switches", {"dot_walks_check_records": False})
    assert seen(guarded) == whole


def test_a_condition_of_a_column_behind_a_reference_decides_too(guarded: Talk) -> None:
    guard(guarded, "sys_user.email", "vip=true")
    assert seen(guarded) == [
        {"number": "INC1", "caller_id.manager.email": "abel@example.com"},
        {"number": "INC2", "caller_id.email": "abel@example.com", "caller_id.manager.email": ""},
        {"number": "INC3", "caller_id.email": "", "caller_id.manager.email": ""},
    ]


def test_a_condition_of_the_reference_itself_closes_the_way(guarded: Talk) -> None:
    guard(guarded, "incident.caller_id", "number=INC2")
    assert seen(guarded) == [
        {"number": "INC1"},
        {"number": "INC2", "caller_id.email": "abel@example.com", "caller_id.manager.email": ""},
        {"number": "INC3"},
    ]


def test_a_script_looks_at_each_record_that_is_reached(guarded: Talk) -> None:
    script = "answer = current.user_name == 'abel' && gs.getUserName() == 'ida';"
    guard(guarded, "sys_user", advanced="true", script=script, decision_type="deny")
    assert [sorted(row) for row in seen(guarded)] == [
        ["number"],
        ["caller_id.email", "caller_id.manager.email", "number"],
        ["caller_id.email", "caller_id.manager.email", "number"],
    ]


def test_display_values_and_single_records_follow_the_same_rules(guarded: Talk) -> None:
    guard(guarded, "sys_user", "vip=true", decision_type="deny")
    ida = guarded.as_user("ida", "p")
    for row in guarded.rows("incident", "numberININC1,INC2^ORDERBYnumber", sysparm_fields="sys_id,number"):
        found = ida.get(f"table/incident/{row['sys_id']}", sysparm_fields=FIELDS, sysparm_display_value="all").result
        assert ("caller_id.email" in found) == (row["number"] == "INC2")


def test_an_administrator_sees_every_record(guarded: Talk) -> None:
    before = guarded.rows("incident", "ORDERBYnumber", sysparm_fields=FIELDS)
    guard(guarded, "sys_user", "vip=true", admin_overrides="true")
    assert guarded.rows("incident", "ORDERBYnumber", sysparm_fields=FIELDS) == before
