"""One UPDATE from a SQL client changes the record in ServiceNow, or fails and changes nothing."""

from __future__ import annotations

import psycopg
import pytest

from tests.writethrough.conftest import Writing


@pytest.mark.req("Q26", "Q46", "Q47")
async def test_an_update_by_label_changes_the_record_and_the_row(writing: Writing) -> None:
    async with await writing.connect() as client:
        await client.execute(
            "UPDATE incident SET state = 'In Progress', work_notes = 'begun' WHERE number = 'INC0000001'"
        )
        row = await (
            await client.execute(
                "SELECT sys_id, state, state__value, work_notes, sys_mod_count FROM incident WHERE number = 'INC0000001'"
            )
        ).fetchone()
    assert row is not None
    sys_id, *stands = row
    assert stands == ["In Progress", 2, None, 1]
    assert writing.incident(sys_id)["state"] == "2"


@pytest.mark.req("Q48", "Q49", "Q50")
async def test_an_unknown_choice_is_a_postgres_error_and_changes_nothing(writing: Writing) -> None:
    async with await writing.connect() as client:
        with pytest.raises(psycopg.errors.CheckViolation) as refused:
            await client.execute("UPDATE incident SET state = 'invalid-state' WHERE number = 'INC0000001'")
        row = await (await client.execute("SELECT state FROM incident WHERE number = 'INC0000001'")).fetchone()
    assert refused.value.diag.message_primary == "[ServiceNow] Value `invalid-state` is not a valid value for `state`."
    assert row == ("New",)
