"""What a table's contract does when its columns change: freeze stops it until somebody has looked, discard leaves new
columns out.
"""

import pytest

from nowbridge.model.errors import Stop
from nowbridge.replica.layout import Selection
from nowbridge.replica.spec import TableSpec
from nowbridge.store.rows import columns, tables
from tests.support.replica import Bench

STATES = "SELECT column_name, state FROM _sync_columns ORDER BY 1"


def add_column(bench: Bench, element: str, internal_type: str = "string") -> None:
    entry = {"name": "incident", "element": element, "internal_type": internal_type, "column_label": element}
    bench.twin.instance.insert("sys_dictionary", entry)


async def has(bench: Bench, column: str) -> bool:
    found = await bench.rows(f"SELECT 1 FROM pg_attribute WHERE attname = '{column}'")
    return bool(found)


async def test_freeze_stops_the_table_and_says_what_has_changed(bench: Bench) -> None:
    ids = bench.make_incidents(5)
    await bench.load(TableSpec("incident", contract="freeze"))
    await bench.tend("schema")
    add_column(bench, "u_note")
    await bench.tend("schema")
    [(code, answered)] = await bench.rows("SELECT stopped->>'code', stopped->>'answered' FROM nowbridge.replica_table")
    assert code == "schema.drifted"
    assert answered == "its columns have changed in ServiceNow: u_note: new ( -> string)"
    assert not await has(bench, "u_note")

    bench.twin.instance.update("incident", ids[0], {"short_description": "not followed"})
    assert await bench.catch_up() == 0
    assert await bench.rows("SELECT count(*) FROM incident WHERE short_description = 'not followed'") == [(0,)]

    async with bench.database.transaction() as connection:
        assert await columns.accept(connection, await bench.table_id("incident"), now=bench.now())
    await bench.tend("schema")
    assert await has(bench, "u_note")
    assert await bench.catch_up() == 1
    assert await bench.rows("SELECT stopped FROM nowbridge.replica_table") == [(None,)]
    await bench.tend("fill")
    assert (await bench.verify("incident")).equal


async def test_a_frozen_table_goes_on_by_itself_when_the_change_is_taken_back(bench: Bench) -> None:
    bench.make_incidents(2)
    await bench.load(TableSpec("incident", contract="freeze"))
    add_column(bench, "u_note")
    await bench.tend("schema")
    entries = bench.twin.instance.export("sys_dictionary")
    found = next(row["sys_id"] for row in entries if row.get("element") == "u_note")
    bench.twin.instance.delete("sys_dictionary", found)
    await bench.tend("schema")
    assert await bench.rows("SELECT stopped FROM nowbridge.replica_table") == [(None,)]


async def test_discard_leaves_new_columns_out_until_the_contract_is_changed(bench: Bench) -> None:
    ids = bench.make_incidents(5)
    await bench.load(TableSpec("incident", contract="discard"))
    add_column(bench, "u_note")
    await bench.tend("schema")
    assert not await has(bench, "u_note")
    assert await bench.rows(STATES) == [("u_note", "ignored")]
    bench.twin.instance.update("incident", ids[0], {"short_description": "followed", "u_note": "now there"})
    assert await bench.catch_up() == 1

    async with bench.database.transaction() as connection:
        row = await tables.load(connection, await bench.table_id("incident"))
        await columns.set_contract(connection, row, "evolve", now=bench.now())
    await bench.tend("schema")
    await bench.tend("fill")
    assert await bench.rows("SELECT u_note FROM incident WHERE u_note IS NOT NULL") == [("now there",)]
    assert await bench.rows(STATES) == []


@pytest.mark.trap("21")
async def test_discard_does_not_take_a_new_type_either(bench: Bench) -> None:
    add_column(bench, "u_note", "string")
    bench.make_incidents(5, u_note="7")
    await bench.load(TableSpec("incident", contract="discard"))
    entries = bench.twin.instance.export("sys_dictionary")
    found = next(row["sys_id"] for row in entries if row.get("element") == "u_note")
    bench.twin.instance.delete("sys_dictionary", found)
    add_column(bench, "u_note", "integer")
    await bench.tend("schema")
    assert not await has(bench, "u_note__integer")
    assert await bench.rows(STATES) == [("u_note", "retyped")]
    assert await bench.rows("SELECT DISTINCT u_note FROM incident") == [("7",)]


async def test_another_selection_leaves_out_what_it_no_longer_names_and_fills_what_it_does(bench: Bench) -> None:
    ids = bench.make_incidents(5, category="software", close_notes="done")
    await bench.load(TableSpec("incident", columns=Selection(exclude=("close_notes",))))
    await bench.tend("schema")
    assert not await bench.rows("SELECT 1 FROM pg_attribute WHERE attname = 'close_notes'")
    async with bench.database.transaction() as connection:
        row = await tables.load(connection, await bench.table_id("incident"))
        await columns.set_selection(connection, row, {"exclude": ["category"]}, now=bench.now())
    assert (
        await bench.tend("schema")
    ).told == "close_notes: new ( -> string); category: removed (string with choices -> )"
    await bench.tend("fill")
    bench.twin.instance.update("incident", ids[0], {"category": "hardware"})
    await bench.catch_up()
    assert await bench.rows("SELECT DISTINCT close_notes, category__value FROM incident") == [("done", "software")]
    assert await bench.rows(STATES) == [("category", "left out"), ("category__value", "left out")]
    assert (await bench.verify("incident")).equal


async def test_a_selection_that_names_what_is_not_there_or_is_needed_is_refused(bench: Bench) -> None:
    with pytest.raises(Stop) as refused:
        await bench.add(TableSpec("incident", columns=Selection(include=("nothing_of_the_kind",))))
    assert refused.value.code == "columns.unknown"
    with pytest.raises(Stop) as refused:
        await bench.add(TableSpec("incident", columns=Selection(exclude=("sys_mod_count",))))
    assert refused.value.code == "columns.needed"
