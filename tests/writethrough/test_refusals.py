"""What cannot be written is a Postgres error with a fitting SQLSTATE, and changes nothing anywhere."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
import pytest

from nowbridge.delivery.deliver import Delivery, Manner
from nowbridge.delivery.outcomes import Fate
from nowbridge.model.plan import Operation, Plan, Step
from nowtwin.query.parse import parse
from nowtwin.records.selecting import select
from tests.writethrough.conftest import USER, Writing


async def refused(writing: Writing, statement: str, sqlstate: str) -> psycopg.Error:
    """The error of a statement that changes nothing in ServiceNow and nothing here."""
    before, held = writing.everything(), await writing.rows()
    async with await writing.connect() as client:
        with pytest.raises(psycopg.Error) as raised:
            await client.execute(statement)
    assert raised.value.sqlstate == sqlstate
    assert raised.value.diag.message_primary is not None
    assert raised.value.diag.message_primary.startswith("[ServiceNow] ")
    assert raised.value.diag.message_hint, "what to do"
    assert raised.value.diag.message_detail != ""
    now = writing.everything()
    assert [{name: row.get(name, "") for name in held} for row, held in zip(now, before, strict=True)] == before
    assert await writing.rows() == held
    return raised.value


@pytest.mark.req("Q49", "Q50")
@pytest.mark.parametrize(
    ("assignment", "sqlstate"),
    [
        ("state__value = 99", "23514"),
        ("state = 'Resolved', state__value = 2", "22023"),
        ("caller_id = 'Nobody of this name'", "23514"),
        ("caller_id = 'Twin Name'", "21000"),
        ("caller_id__value = 'abc'", "23514"),
        ("caller_id__value = repeat('d', 32)", "23503"),
        ("short_description = repeat('x', 161)", "22001"),
        ("category = 'Software', subcategory = 'IP Address'", "23514"),
    ],
)
async def test_a_value_that_does_not_fit_is_refused(writing: Writing, assignment: str, sqlstate: str) -> None:
    await refused(writing, f"UPDATE incident SET {assignment} WHERE number = 'INC0000001'", sqlstate)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE incident SET short_description = 'x' WHERE number = 'INC0000001'",
        "INSERT INTO incident (short_description) VALUES ('x')",
    ],
)
async def test_an_account_that_servicenow_does_not_let_in_writes_nothing(writing: Writing, statement: str) -> None:
    writing.bench.twin.instance.set_admin_password("changed")
    error = await refused(writing, statement, "28000")
    assert "User Not Authenticated" in str(error) + str(error.diag.message_detail)


async def test_a_value_that_must_be_unique_in_servicenow_is_refused_when_it_is_there(writing: Writing) -> None:
    instance = writing.bench.twin.instance
    column = parse("name=task^element=correlation_id")
    ((entry,),) = [list(select(instance, "sys_dictionary", column, ("sys_id",)))]
    instance.update("sys_dictionary", entry["sys_id"], {"unique": "true"}, user="admin")
    async with await writing.connect() as client:
        await client.execute("UPDATE incident SET correlation_id = 'one' WHERE number = 'INC0000001'")
    await refused(writing, "UPDATE incident SET correlation_id = 'one' WHERE number = 'INC0000002'", "23505")


@pytest.mark.parametrize("sys_id", ["a" * 31, "A" * 32, "z" * 32, "a" * 40, "a,b", "../x"])
async def test_a_new_record_takes_a_sys_id_that_servicenow_takes(writing: Writing, sys_id: str) -> None:
    """Any other one it would replace by its own: then there were two records, one here and one there."""
    error = await refused(writing, f"INSERT INTO incident (sys_id) VALUES ('{sys_id}')", "22000")
    assert "is not a valid value for `sys_id`" in str(error)


async def test_a_record_that_servicenow_makes_under_another_sys_id_is_taken_back(writing: Writing) -> None:
    """Which the twin does where ours is too long."""

    async def begin() -> bool:
        return True

    step = Step(Operation.CREATE, "incident", "f" * 40, (("short_description", "new"),))
    delivery = Delivery(writing.writer.instance, Manner(), lambda _: ("sys_id", "sys_mod_count", "short_description"))
    report = await delivery.run(Plan((step,)), begin)
    assert report.refusal is not None
    assert "ServiceNow gave the record another one" in report.refusal.message
    assert [one.fate for one in report.outcomes] == [Fate.REFUSED]
    assert writing.texts() == {"no 0", "no 1", "no 2"}


async def test_what_only_servicenow_sets_cannot_be_changed(writing: Writing) -> None:
    """The key not at all, the rest only with the value that it has: ORMs name every column."""
    changed = {"sys_updated_on": "now() + interval '1 hour'", "sys_mod_count": "7", "sys_created_by": "'me'"}
    for column, value in changed.items():
        error = await refused(writing, f"UPDATE incident SET {column} = {value}", "428C9")
        assert f"`{column}` cannot be written" in str(error)
    async with await writing.connect() as client:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await client.execute("UPDATE incident SET sys_id = sys_id")
        before = writing.calls()
        for column in changed:
            await client.execute(f"UPDATE incident SET {column} = {column}")
    assert writing.calls() == before


@pytest.mark.req("Q48")
async def test_a_data_policy_of_the_instance_is_told_in_its_own_words(writing: Writing) -> None:
    error = await refused(writing, "UPDATE incident SET state = 'Resolved' WHERE number = 'INC0000001'", "23502")
    assert error.diag.message_detail is not None
    assert "The following fields are mandatory: Resolution code, Resolution notes" in error.diag.message_detail


@pytest.mark.req("Q48")
async def test_a_business_rule_that_aborts_fails_the_statement(writing: Writing) -> None:
    writing.rule("current.setAbortAction(true);")
    error = await refused(writing, "UPDATE incident SET short_description = 'x' WHERE number = 'INC0000001'", "23514")
    assert error.diag.message_detail is not None
    assert "aborted by Business Rule 'a rule" in error.diag.message_detail


async def test_a_field_that_servicenow_ignores_is_an_error(writing: Writing) -> None:
    writing.rule("current.setValue('short_description', previous.getValue('short_description'));")
    error = await refused(writing, "UPDATE incident SET short_description = 'x' WHERE number = 'INC0000001'", "42501")
    assert "`short_description` was not changed" in str(error)


async def test_a_field_that_a_rule_overwrites_is_a_notice_with_both_values(writing: Writing) -> None:
    writing.rule("current.setValue('short_description', 'by the rule');")
    heard = []
    async with await writing.connect() as client:
        client.add_notice_handler(lambda notice: heard.append(notice.message_primary))
        await client.execute("UPDATE incident SET short_description = 'by me' WHERE number = 'INC0000001'")
        row = await (
            await client.execute("SELECT short_description FROM incident WHERE number = 'INC0000001'")
        ).fetchone()
    assert row == ("by the rule",)
    assert heard == [
        "[ServiceNow] A rule of the instance changed what was written: `short_description` is `by the rule`, sent was `by me`"
    ]


@pytest.mark.trap("12")
async def test_a_record_that_was_changed_meanwhile_is_a_serialization_failure(writing: Writing) -> None:
    writing.change_in_servicenow(writing.ids[1], short_description="by somebody else")
    error = await refused(writing, "UPDATE incident SET short_description = 'x' WHERE number = 'INC0000001'", "40001")
    assert "`short_description` was changed in ServiceNow meanwhile" in str(error)


@pytest.mark.trap("12")
async def test_another_field_that_was_changed_meanwhile_is_no_hindrance(writing: Writing) -> None:
    writing.change_in_servicenow(writing.ids[1], description="by somebody else")
    async with await writing.connect() as client:
        await client.execute("UPDATE incident SET short_description = 'x' WHERE number = 'INC0000001'")
        row = await (await client.execute("SELECT description FROM incident WHERE number = 'INC0000001'")).fetchone()
    assert row == ("by somebody else",)


@pytest.mark.trap("5")
async def test_truncate_and_a_changed_key_are_refused(writing: Writing) -> None:
    """By the rights of the role; and by the triggers, where somebody gave it more."""
    async with await writing.connect() as client:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await client.execute("TRUNCATE incident")
        async with writing.bench.database.transaction() as connection:
            await connection.execute("GRANT TRUNCATE, UPDATE ON incident TO ada")
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="cannot be truncated"):
            await client.execute("TRUNCATE incident")
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="sys_id of a record cannot be changed"):
            await client.execute("UPDATE incident SET sys_id = repeat('9', 32) WHERE number = 'INC0000001'")
    assert len(await writing.rows()) == 3


@pytest.mark.trap("18")
@pytest.mark.req("Q46")
@pytest.mark.parametrize(
    ("assignment", "stored"),
    [
        ("state = 'In Progress'", {"state": "2"}),
        ("state = '2'", {"state": "2"}),
        ("state__value = 2", {"state": "2"}),
        ("state = 'In Progress', state__value = 2", {"state": "2"}),
        ("caller_id = 'Only One'", {"caller_id": USER}),
        (f"caller_id = '{USER}'", {"caller_id": USER}),
        (f"caller_id__value = '{USER}'", {"caller_id": USER}),
        ("watch_list = ARRAY['Only One', 'a@example.com']", {"watch_list": f"{USER},a@example.com"}),
        ("caller_id = NULL", {"caller_id": ""}),
        ("knowledge = true", {"knowledge": "true"}),
        ("opened_at = '2026-03-04 05:06:07.8+02'", {"opened_at": "2026-03-04 03:06:07"}),
        ("time_worked = '1 day 02:03:04'", {"time_worked": "1970-01-02 02:03:04"}),
        (
            'short_description = $$it\'s "quoted" \\ and ^ = & <b>ü 🎉</b>$$',
            {"short_description": 'it\'s "quoted" \\ and ^ = & <b>ü 🎉</b>'},
        ),
        ("category = 'Network', subcategory = 'IP Address'", {"category": "network", "subcategory": "ip address"}),
    ],
)
async def test_labels_and_stored_values_are_both_written(
    writing: Writing, assignment: str, stored: Mapping[str, str]
) -> None:
    async with await writing.connect() as client:
        await client.execute(f"UPDATE incident SET {assignment} WHERE number = 'INC0000001'")
    there = writing.incident(writing.ids[1])
    assert {name: there.get(name, "") for name in stored} == stored
