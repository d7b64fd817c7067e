"""A table that is there already gets another name or another filter: its rows, views and indexes stay, and what is asked
now is what is there in the end.
"""

import pytest

from nowbridge.model.errors import LostLease, Stop
from nowbridge.replica.amendments import change_filter, rename_table
from nowbridge.replica.spec import TableSpec
from nowbridge.store.rows import tables
from nowbridge.store.rows.tables import TableRow
from tests.support.replica import Bench, without_waiting


async def the_table(bench: Bench) -> TableRow:
    async with bench.database.transaction() as connection:
        (row,) = await tables.all_of(connection)
        return row


async def call_it(bench: Bench, name: str) -> None:
    await rename_table(bench.database, await the_table(bench), name, without_waiting)


async def filter_by(bench: Bench, query: str) -> None:
    row = await the_table(bench)
    async with bench.database.transaction() as connection:
        await change_filter(connection, row, query, bench.now)


async def test_a_renamed_table_keeps_views_and_indexes_and_is_followed(bench: Bench) -> None:
    ids = bench.make_incidents(60)
    await bench.load("incident")
    await bench.tend("index")
    async with bench.database.transaction() as connection:
        await connection.execute("CREATE VIEW public.mine AS SELECT sys_id, short_description FROM incident")
    indexes = "SELECT count(*) FROM pg_indexes WHERE tablename IN ('incident', 'tickets')"
    while (await bench.tend("index")).more:
        pass
    before = await bench.rows(indexes)
    held = (await bench.replica.claim_due_streams(1))[0]
    await call_it(bench, "tickets")
    assert isinstance((await bench.replica.poll(held)).error, LostLease), "whoever was at work on it begins anew"
    bench.twin.instance.update("incident", ids[0], {"short_description": "by its new name"}, user="admin")
    assert await bench.catch_up() == 1
    assert await bench.rows("SELECT short_description FROM mine WHERE sys_id LIKE '00%'") == [("by its new name",)]
    assert await bench.rows("SELECT to_regclass('incident')") == [(None,)]
    assert await bench.rows("SELECT table_name, operation FROM _sync_cdc ORDER BY id") == [
        ("incident", "backfill"),
        ("tickets", "update"),
    ]
    assert not (await bench.tend("index")).more
    assert await bench.rows(indexes) == before
    assert (await bench.verify("incident")).equal


async def test_a_name_that_is_taken_is_refused(bench: Bench) -> None:
    bench.make_incidents(3)
    await bench.load("incident")
    async with bench.database.transaction() as connection:
        await connection.execute("CREATE TABLE public.tickets ()")
    with pytest.raises(Stop, match=r"table\.name_taken"):
        await call_it(bench, "tickets")
    assert await bench.rows("SELECT count(*) FROM incident") == [(3,)]


async def test_what_matches_another_filter_comes_and_what_does_not_leaves(bench: Bench) -> None:
    ids = bench.make_incidents(120, active="true", state="1")
    for key in ids[:70]:
        bench.twin.instance.load("incident", [{"sys_id": key, "active": "false", "state": "7"}])
    await bench.load(TableSpec("incident", "active=true"))
    await bench.rows("UPDATE nowbridge.replica_table SET delete_mode = 'soft' RETURNING 1")
    await bench.verify("incident")
    await bench.let_pass(60)
    await filter_by(bench, "active=false")
    assert await bench.rows("SELECT count(*) FROM nowbridge.proof") == [(0,)], "that proof was of another filter"
    await bench.catch_up()
    done = await bench.tend("compare")
    assert (done.held, done.removed) == (None, 50)
    assert {row[0] for row in await bench.rows("SELECT sys_id FROM incident")} == set(ids[:70])
    assert await bench.rows("SELECT count(*) FROM _sync_deleted") == [(50,)]
    assert (await bench.verify("incident")).equal
    await bench.let_pass(60)
    await filter_by(bench, "")
    await bench.tend("compare")
    assert await bench.rows("SELECT count(*) FROM incident") == [(120,)]
    assert (await bench.verify("incident")).equal
    assert await bench.rows("SELECT allowed FROM nowbridge.delete_watch") == [(None,)]


async def test_a_filter_that_changes_during_the_first_load_begins_it_anew(bench: Bench) -> None:
    ids = bench.make_incidents(200, active="true")
    bench.twin.instance.load("incident", [{"sys_id": key, "active": "false"} for key in ids[:20]])
    await bench.add(TableSpec("incident", "active=true"))
    await bench.replica.prepare()
    assert await bench.replica.load_next_shard()
    assert await bench.rows("SELECT count(*) > 0 FROM incident") == [(True,)]
    await filter_by(bench, "active=false")
    await bench.replica.prepare()
    await bench.load_shards()
    await bench.catch_up()
    await bench.tend("compare")
    assert {row[0] for row in await bench.rows("SELECT sys_id FROM incident")} == set(ids[:20])
    assert (await bench.verify("incident")).equal
