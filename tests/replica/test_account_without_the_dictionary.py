"""The account may read neither the dictionary nor the choices: columns, types and words come from what the records and the
schema document show, and the table says so.
"""

import pytest

from nowbridge.store.rows import columns
from nowtwin.access.hiding import HideRule
from tests.support.replica import Bench

ADA, GROUP = "a" * 32, "d" * 32
METADATA = ("sys_dictionary", "sys_db_object", "sys_choice")


def close_metadata(bench: Bench) -> None:
    for table in METADATA:
        bench.twin.instance.access.rules.append(HideRule(table, query="sys_idISNOTEMPTY", user="admin"))


@pytest.mark.req("Q40", "Q41", "Q42", "Q43")
async def test_words_and_names_come_all_the_same_and_the_table_says_from_where(bench: Bench) -> None:
    close_metadata(bench)
    bench.twin.instance.load("sys_user", [{"sys_id": ADA, "user_name": "ada", "name": "Ada"}])
    bench.twin.instance.load("sys_user_group", [{"sys_id": GROUP, "name": "Service Desk"}])
    ids = bench.make_incidents(30, state="2", assigned_to=ADA, assignment_group=GROUP, opened_at="2026-01-05 10:00:00")
    await bench.load("incident")
    shown = "SELECT DISTINCT state, assigned_to, assignment_group, state__value::text, assigned_to__value FROM incident"
    assert await bench.rows(shown) == [("In Progress", "Ada", "Service Desk", "2", ADA)]
    async with bench.database.transaction() as connection:
        [line] = await columns.contracts(connection)
    assert line.learned_from != "sys_dictionary"
    assert line.words_learned

    bench.twin.instance.update("incident", ids[3], {"short_description": "changed"})
    assert await bench.catch_up() == 1
    assert (await bench.tend("schema")).told == ""
    assert (await bench.verify("incident")).equal


async def test_a_dictionary_that_closes_later_takes_nothing_away(bench: Bench) -> None:
    bench.make_incidents(10)
    await bench.load("incident")
    await bench.tend("schema")
    close_metadata(bench)
    async with bench.database.transaction() as connection:
        await connection.execute("DELETE FROM nowbridge.metadata_seen")
    await bench.tend("schema")
    assert await bench.rows("SELECT * FROM _sync_columns WHERE state IN ('removed', 'retyped')") == []
    assert (await bench.verify("incident")).equal
