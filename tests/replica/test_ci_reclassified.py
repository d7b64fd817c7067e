"""A CI changes its class and keeps its sys_id: it leaves the table of the old class as reclassified, arrives in that of the
new one, and is updated in the parent's. A record that is in several tables is the same in all of them.
"""

import pytest

from nowbridge.replica.spec import TableSpec
from tests.support.replica import Bench

CI = "c" * 32
TABLES = ("cmdb_ci", "cmdb_ci_server", "cmdb_ci_netgear")


async def loaded(bench: Bench) -> None:
    for at in range(5):
        bench.twin.instance.insert("cmdb_ci_server", {"sys_id": f"{at:032x}", "name": f"server {at}"})
    bench.twin.instance.insert("cmdb_ci_server", {"sys_id": CI, "name": "box", "serial_number": "S1"})
    await bench.load(*TABLES)
    await bench.let_pass(10)
    await bench.catch_up()


async def where(bench: Bench) -> dict[str, list[tuple[str, str]]]:
    return {
        table: [
            (row[0], row[1])
            for row in await bench.rows(f"SELECT name, sys_class_name FROM {table} WHERE sys_id = '{CI}'")
        ]
        for table in TABLES
    }


@pytest.mark.req("S32")
async def test_it_moves_from_table_to_table_and_is_no_deletion(bench: Bench) -> None:
    await loaded(bench)
    assert await where(bench) == {
        "cmdb_ci": [("box", "cmdb_ci_server")],
        "cmdb_ci_server": [("box", "cmdb_ci_server")],
        "cmdb_ci_netgear": [],
    }
    bench.twin.instance.update("cmdb_ci", CI, {"sys_class_name": "cmdb_ci_netgear"})
    await bench.catch_up()
    done = await bench.tend("classes")
    assert (done.table, done.removed) == ("cmdb_ci_server", 1)
    assert await where(bench) == {
        "cmdb_ci": [("box", "cmdb_ci_netgear")],
        "cmdb_ci_server": [],
        "cmdb_ci_netgear": [("box", "cmdb_ci_netgear")],
    }
    assert await bench.rows("SELECT source FROM nowbridge.tombstone") == [("reclassified",)]
    fed = "SELECT table_name, operation, source FROM _sync_cdc WHERE sys_id IS NOT NULL ORDER BY table_name"
    assert await bench.rows(fed) == [
        ("cmdb_ci", "update", "poll"),
        ("cmdb_ci_netgear", "insert", "poll"),
        ("cmdb_ci_server", "delete", "reclassified"),
    ]
    for table in TABLES:
        assert (await bench.verify(table)).equal
    assert await bench.rows("SELECT * FROM nowbridge.class_change") == []


async def test_one_that_comes_back_is_in_its_first_table_again(bench: Bench) -> None:
    await loaded(bench)
    bench.twin.instance.update("cmdb_ci", CI, {"sys_class_name": "cmdb_ci_netgear"})
    await bench.catch_up()
    await bench.tend("classes")
    await bench.let_pass(10)
    bench.twin.instance.update("cmdb_ci", CI, {"sys_class_name": "cmdb_ci_server"})
    await bench.catch_up()
    await bench.tend("classes")
    found = await where(bench)
    assert (len(found["cmdb_ci_server"]), len(found["cmdb_ci_netgear"])) == (1, 0)
    for table in TABLES:
        assert (await bench.verify(table)).equal


async def test_a_class_below_the_table_is_no_reason_to_leave_it(bench: Bench) -> None:
    await loaded(bench)
    bench.twin.instance.update("cmdb_ci", CI, {"sys_class_name": "cmdb_ci_win_server"})
    await bench.catch_up()
    assert (
        (await bench.tend("classes")).removed == 0 if await bench.rows("SELECT 1 FROM nowbridge.class_change") else True
    )
    assert (await where(bench))["cmdb_ci_server"] == [("box", "cmdb_ci_win_server")]
    assert (await bench.verify("cmdb_ci_server")).equal


async def test_a_record_is_the_same_in_the_parents_table_and_in_its_own(bench: Bench) -> None:
    ids = bench.make_incidents(40, priority="1")
    await bench.load("task", TableSpec("incident"))
    bench.twin.instance.update("incident", ids[7], {"short_description": "both", "state": "2"})
    await bench.catch_up()
    differing = await bench.rows(
        "SELECT count(*) FROM task t JOIN incident i USING (sys_id) WHERE"
        " (t.sys_class_name, t.number, t.short_description, t.state__value, t.priority__value, t.sys_mod_count)"
        " IS DISTINCT FROM"
        " (i.sys_class_name, i.number, i.short_description, i.state__value, i.priority__value, i.sys_mod_count)"
    )
    assert differing == [(0,)]
    both = "SELECT t.short_description, i.state FROM task t JOIN incident i USING (sys_id) WHERE i.short_description = 'both'"
    assert await bench.rows(both) == [("both", "In Progress")]
