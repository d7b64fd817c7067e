"""A column gets another type in ServiceNow: a second column appears beside the first, until somebody confirms the swap."""

import pytest

from nowbridge.model.errors import Stop
from nowbridge.replica import evolve
from nowbridge.store.rows import tables
from tests.support.replica import Bench


def retype(bench: Bench, element: str, internal_type: str, **more: str) -> None:
    entries = bench.twin.instance.export("sys_dictionary")
    found = next(row["sys_id"] for row in entries if row.get("element") == element and row["name"] == "incident")
    bench.twin.instance.delete("sys_dictionary", found)
    entry = {"name": "incident", "element": element, "internal_type": internal_type, "column_label": "Cost", **more}
    bench.twin.instance.insert("sys_dictionary", entry)


STAMPS = {"sys_created_on": "2026-01-05 10:00:00", "sys_updated_on": "2026-01-05 10:00:00"}


async def with_costs(bench: Bench, internal_type: str, values: list[str]) -> list[str]:
    bench.twin.instance.insert(
        "sys_dictionary",
        {"name": "incident", "element": "u_cost", "internal_type": internal_type, "column_label": "Cost"},
    )
    ids = bench.make_incidents(len(values), **STAMPS)
    set_costs(bench, ids, values)
    await bench.load("incident")
    await bench.tend("schema")
    return ids


def set_costs(bench: Bench, ids: list[str], values: list[str]) -> None:
    rows = [
        {"sys_id": key, "number": f"INC{at:07}", "u_cost": value, **STAMPS}
        for at, (key, value) in enumerate(zip(ids, values, strict=True))
    ]
    bench.twin.instance.load("incident", rows)


async def types(bench: Bench) -> dict[str, str]:
    found = await bench.rows(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'incident'"
        " AND column_name LIKE 'u_cost%'"
    )
    return dict(found)


async def confirm(bench: Bench, *, anyway: bool = False) -> list[tuple[str, str]]:
    async with bench.database.transaction() as connection:
        row = await tables.load(connection, await bench.table_id("incident"))
    return await evolve.confirm(bench.database, row, bench.now, bench.replica.sleep, anyway=anyway)


@pytest.mark.trap("21")
async def test_the_new_type_stands_beside_the_old_until_it_is_confirmed(bench: Bench) -> None:
    ids = await with_costs(bench, "string", ["10", "20", "30"])
    async with bench.database.transaction() as connection:
        await connection.execute("CREATE VIEW public.costs AS SELECT number, u_cost FROM incident")
    retype(bench, "u_cost", "integer")
    set_costs(bench, ids, ["10", "20", "30"])
    assert (await bench.tend("schema")).told == "u_cost: retyped (string -> integer)"
    assert await types(bench) == {"u_cost": "text", "u_cost__integer": "integer"}
    with pytest.raises(Stop) as refused:
        await confirm(bench)
    assert refused.value.code == "schema.filling"
    await bench.tend("fill")
    assert await bench.rows("SELECT u_cost, u_cost__integer FROM incident ORDER BY 1") == [
        ("10", 10),
        ("20", 20),
        ("30", 30),
    ]
    bench.twin.instance.update("incident", ids[0], {"u_cost": "11"})
    await bench.catch_up()
    assert await bench.rows("SELECT u_cost, u_cost__integer FROM incident WHERE u_cost = '11'") == [("11", 11)]
    assert (await bench.verify("incident")).equal
    assert (await bench.tend("schema")).told == ""

    with pytest.raises(Stop, match=r"public\.costs") as refused:
        await confirm(bench)
    assert refused.value.code == "schema.in_use"
    renames = await confirm(bench, anyway=True)
    assert renames == [("u_cost", "u_cost__was_string"), ("u_cost__integer", "u_cost")]
    assert await types(bench) == {"u_cost": "integer", "u_cost__was_string": "text"}
    assert await bench.rows("SELECT u_cost FROM public.costs ORDER BY 1") == [("11",), ("20",), ("30",)]
    assert await bench.rows("SELECT column_name, state FROM _sync_columns") == [("u_cost__was_string", "replaced")]
    bench.twin.instance.update("incident", ids[1], {"u_cost": "21"})
    await bench.catch_up()
    assert await bench.rows("SELECT u_cost, u_cost__was_string FROM incident ORDER BY 1") == [
        (11, "11"),
        (21, "20"),
        (30, "30"),
    ]
    assert (await bench.verify("incident")).equal
    assert (await bench.tend("schema")).told == ""
    assert await confirm(bench) == []


async def test_values_that_the_old_type_cannot_hold_are_null_there_and_whole_beside_it(bench: Bench) -> None:
    ids = await with_costs(bench, "integer", ["10", "20"])
    retype(bench, "u_cost", "string")
    set_costs(bench, ids, ["10", "twenty"])
    await bench.tend("schema")
    await bench.tend("fill")
    bench.twin.instance.update("incident", ids[0], {"u_cost": "a little"})
    await bench.catch_up()
    assert await bench.rows("SELECT u_cost, u_cost__string FROM incident ORDER BY 2") == [
        (None, "a little"),
        (None, "twenty"),
    ]
    assert await bench.rows("SELECT count(*) FROM nowbridge.value_issue") == [(0,)]
    state = "SELECT state, detail FROM _sync_columns WHERE column_name = 'u_cost'"
    assert await bench.rows(state) == [("retyped", "its values by the new type are in u_cost__string")]
    assert (await bench.verify("incident")).equal


async def test_text_that_becomes_a_choice_gets_its_words_beside_it(bench: Bench) -> None:
    ids = await with_costs(bench, "string", ["low", "high"])
    retype(bench, "u_cost", "string", choice="1")
    set_costs(bench, ids, ["low", "high"])
    choice = {"name": "incident", "element": "u_cost", "value": "low", "label": "Hardly any", "language": "en"}
    bench.twin.instance.insert("sys_choice", choice)
    assert (await bench.tend("schema")).told == "u_cost: retyped (string -> string with choices)"
    await bench.tend("fill")
    assert await types(bench) == {"u_cost": "text", "u_cost__choice": "text", "u_cost__choice__value": "text"}
    assert await bench.rows("SELECT u_cost, u_cost__choice, u_cost__choice__value FROM incident ORDER BY 1") == [
        ("high", "high", "high"),
        ("low", "Hardly any", "low"),
    ]
    assert await confirm(bench) == [
        ("u_cost", "u_cost__was_string"),
        ("u_cost__choice", "u_cost"),
        ("u_cost__choice__value", "u_cost__value"),
    ]
    assert await types(bench) == {"u_cost": "text", "u_cost__value": "text", "u_cost__was_string": "text"}


async def test_a_type_that_is_taken_back_leaves_the_first_column_in_its_place(bench: Bench) -> None:
    ids = await with_costs(bench, "string", ["10", "20"])
    retype(bench, "u_cost", "integer")
    set_costs(bench, ids, ["10", "20"])
    await bench.tend("schema")
    await bench.tend("fill")
    retype(bench, "u_cost", "string")
    set_costs(bench, ids, ["10", "twenty"])
    await bench.tend("schema")
    await bench.tend("fill")
    assert await bench.rows("SELECT u_cost, u_cost__integer FROM incident ORDER BY 1") == [("10", 10), ("twenty", 20)]
    states = "SELECT column_name, state FROM _sync_columns"
    assert await bench.rows(states) == [("u_cost__integer", "replaced")]


async def test_a_longer_text_is_no_other_type(bench: Bench) -> None:
    await with_costs(bench, "string", ["a"])
    retype(bench, "u_cost", "html", max_length="65000")
    assert (await bench.tend("schema")).told == ""
    assert await types(bench) == {"u_cost": "text"}
