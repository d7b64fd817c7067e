"""A paused table is left alone from the next page on, and goes on from where it stood."""

from __future__ import annotations

from nowbridge.store.rows import tables
from nowbridge.store.work import pauses
from nowtwin.testing import RunningServer
from tests.support.program import Program
from tests.support.replica import Bench


async def switch(bench: Bench, *, pausing: bool) -> None:
    async with bench.database.transaction() as connection:
        ids = [row.id for row in await tables.all_of(connection)]
        await (pauses.pause if pausing else pauses.resume)(connection, ids, now=bench.now())


async def test_changes_wait_until_the_table_is_resumed(bench: Bench) -> None:
    key = bench.make_incidents(10)[0]
    await bench.load("incident")
    await bench.catch_up()
    await switch(bench, pausing=True)
    bench.twin.instance.update("incident", key, {"short_description": "meanwhile"}, user="admin")
    calls = bench.twin.instance.calls.total
    assert await bench.catch_up() == 0
    assert bench.twin.instance.calls.total == calls + 1, "only the test's own look at the clock"
    await switch(bench, pausing=False)
    assert await bench.catch_up() == 1
    assert await bench.rows("SELECT count(*) FROM incident WHERE short_description = 'meanwhile'") == [(1,)]


async def test_no_duty_of_a_paused_table_is_done(bench: Bench) -> None:
    bench.make_incidents(3)
    await bench.load("incident")
    await bench.replica.upkeep.give_duties()
    await switch(bench, pausing=True)
    bench.now.pass_(hours=24 * 30)
    calls = bench.twin.instance.calls.total
    assert await bench.replica.tend_next() is None
    assert bench.twin.instance.calls.total == calls
    await switch(bench, pausing=False)
    assert await bench.replica.tend_next() is not None


async def test_a_load_that_is_under_way_stops_at_its_page_and_goes_on_there(bench: Bench) -> None:
    bench.make_incidents(400)
    await bench.add("incident")
    await bench.replica.prepare()
    assert await bench.replica.load_next_shard()
    loaded = await bench.rows("SELECT count(*) FROM incident")
    await switch(bench, pausing=True)
    assert not await bench.replica.load_next_shard()
    await switch(bench, pausing=False)
    await bench.load_shards()
    assert loaded < await bench.rows("SELECT count(*) FROM incident") == [(400,)]
    assert await bench.rows("SELECT sum(rows)::int FROM nowbridge.shard") == [(400,)]


async def test_a_planned_table_is_not_begun(bench: Bench) -> None:
    await bench.add("incident")
    await switch(bench, pausing=True)
    assert await bench.replica.prepare() == 0
    await switch(bench, pausing=False)
    assert await bench.replica.prepare() == 1


async def test_the_commands(program: Program, account: RunningServer) -> None:
    await program.store_connection(account.url)
    assert program.run("replicate", "incident").code == 0
    assert program.run("pause").code == 2
    assert program.run("pause", "problem").code == 3
    assert program.run("pause", "incident", "--json").json == {"paused": ["incident"]}
    assert program.run("pause", "--all", "--json").json == {"paused": []}
    assert program.run("status", "--json").json["tables"][0]["paused_at"]
    assert program.run("resume", "--all", "--json").json == {"resumed": ["incident"]}
    assert program.run("status", "--json").json["tables"][0]["paused_at"] is None
