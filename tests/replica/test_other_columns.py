"""Another selection for a table that is there: new columns are filled, those left out stay, renamed ones are renamed."""

from __future__ import annotations

import pytest

from nowbridge.model.errors import Stop
from nowbridge.replica import amendments
from nowbridge.replica.labels import rewrite_renamed
from nowbridge.replica.layout import Selection
from nowbridge.replica.spec import TableSpec
from tests.support.replica import Bench

STATES = "SELECT column_name, state FROM nowbridge.column_state ORDER BY 1"


async def select(bench: Bench, wanted: Selection) -> None:
    await amendments.change_columns(bench.replica, await bench.table_id("incident"), wanted)


@pytest.mark.parametrize("contract", ["evolve", "freeze", "discard"])
@pytest.mark.req("Q36", "Q52")
async def test_what_is_selected_comes_and_what_is_not_stays_under_any_contract(bench: Bench, contract: str) -> None:
    ids = bench.make_incidents(60, category="software", close_notes="done", assigned_to="")
    await bench.load(TableSpec("incident", contract=contract, columns=Selection(exclude=("close_notes",))))
    async with bench.database.transaction() as connection:
        await connection.execute("CREATE VIEW kinds AS SELECT category, count(*) AS many FROM incident GROUP BY 1")

    await select(bench, Selection(exclude=("category",)))
    assert await bench.rows("SELECT count(*) FROM incident WHERE close_notes IS NOT NULL") == [(0,)]
    assert ("close_notes", "filling") in await bench.rows(STATES)
    await bench.tend("fill")
    assert (await bench.tend("schema")).told == "", "nothing about it is drift"
    bench.twin.instance.update("incident", ids[0], {"category": "hardware", "close_notes": "done again"})
    assert await bench.catch_up() == 1
    assert await bench.rows("SELECT close_notes, count(*) FROM incident GROUP BY 1 ORDER BY 2") == [
        ("done again", 1),
        ("done", 59),
    ]
    assert await bench.rows("SELECT * FROM kinds") == [("Software", 60)], "left out, with its values from before"
    assert await bench.rows(STATES) == [("category", "left out"), ("category__value", "left out")]
    assert await bench.rows("SELECT stopped FROM nowbridge.replica_table") == [(None,)]
    assert (await bench.verify("incident")).equal

    await select(bench, Selection())
    await bench.tend("fill")
    assert await bench.rows("SELECT category, many FROM kinds ORDER BY 2") == [("Hardware", 1), ("Software", 59)]
    assert await bench.rows(STATES) == []
    assert (await bench.verify("incident")).equal


@pytest.mark.req("Q52")
async def test_a_renamed_column_keeps_values_views_and_indexes_and_is_followed(bench: Bench) -> None:
    group = bench.twin.instance.insert("sys_user_group", {"name": "Network"}).values["sys_id"]
    ids = bench.make_incidents(20, assignment_group=group, category="software")
    await bench.load("incident")
    while (await bench.tend("index")).more:
        pass
    async with bench.database.transaction() as connection:
        await connection.execute("CREATE VIEW teams AS SELECT assignment_group AS team, category FROM incident")
    indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = 'incident'"
    before = await bench.rows(indexes)

    await select(bench, Selection(names={"assignment_group": "team", "category": "kind"}))
    assert await bench.rows("SELECT DISTINCT team, team__value, kind, kind__value FROM incident") == [
        ("Network", group, "Software", "software")
    ]
    assert await bench.rows("SELECT DISTINCT team, category FROM teams") == [("Network", "Software")]
    bench.twin.instance.update("incident", ids[0], {"category": "hardware"})
    assert await bench.catch_up() == 1
    bench.twin.instance.update("sys_user_group", group, {"name": "Networks"})
    await bench.let_pass(3_600)
    while await bench.replica.follow_labels() is not None:
        pass
    await rewrite_renamed(bench.database, bench.connection_id)
    assert await bench.rows("SELECT team, kind, count(*) FROM incident GROUP BY 1, 2 ORDER BY 3") == [
        ("Networks", "Hardware", 1),
        ("Networks", "Software", 19),
    ]
    assert (await bench.verify("incident")).equal
    assert not (await bench.tend("index")).more
    assert await bench.rows(indexes) == before, "the index by the new name is the one by the old"

    await select(bench, Selection())
    assert await bench.rows("SELECT count(*) FROM incident WHERE assignment_group = 'Networks'") == [(20,)]


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (Selection(include=("nothing_of_the_kind",)), "columns.unknown"),
        (Selection(exclude=("sys_mod_count",)), "columns.needed"),
        (Selection(names={"category": "number"}), "table.column_twice"),
        (Selection(names={"category": "mine"}), "schema.column_taken"),
        (Selection(exclude=("number",), names={"category": "number"}), "schema.column_taken"),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_is_changed(bench: Bench, wanted: Selection, code: str) -> None:
    bench.make_incidents(2)
    await bench.load("incident")
    async with bench.database.transaction() as connection:
        await connection.execute("ALTER TABLE incident ADD COLUMN mine text")
    columns = "SELECT attname FROM pg_attribute WHERE attrelid = 'incident'::regclass ORDER BY attnum"
    before = await bench.rows(columns), await bench.rows("SELECT selection, layout FROM nowbridge.replica_table")
    with pytest.raises(Stop) as refused:
        await select(bench, wanted)
    assert refused.value.code == code
    assert (
        await bench.rows(columns),
        await bench.rows("SELECT selection, layout FROM nowbridge.replica_table"),
    ) == before
    assert (await bench.verify("incident")).equal
