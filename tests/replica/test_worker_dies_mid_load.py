"""A worker that dies, stalls or is refused in the middle of a load loses the page it was on and nothing else."""

import asyncio
from datetime import timedelta

import pytest

from nowbridge.model.errors import LostLease
from nowbridge.servicenow.wire import PageDecoder
from nowbridge.store.work import leases
from nowbridge.store.work.leases import AtWork, Holder, ShardProgress
from nowtwin.behaviour.faults import FaultRule
from tests.support.replica import Bench

HOLDER = Holder("worker-1", timedelta(seconds=30))


async def make_one_range(bench: Bench) -> None:
    """The whole table is one range of many pages."""
    async with bench.database.transaction() as connection:
        await connection.execute("DELETE FROM nowbridge.shard WHERE id > (SELECT min(id) FROM nowbridge.shard)")
        await connection.execute("UPDATE nowbridge.shard SET low = NULL, high = NULL")


@pytest.mark.parametrize("pages", [0, 1, 3, 5])
async def test_a_load_goes_on_where_it_broke_off(bench: Bench, pages: int) -> None:
    """The instance fails for good after some pages; an hour later it is back."""
    bench.make_incidents(260)
    await bench.add("incident")
    await bench.replica.prepare()
    bench.twin.instance.faults.arm([FaultRule(kind="status", status=503, table="incident", skip=pages)])
    await bench.load_shards()
    loaded = (await bench.rows("SELECT count(*) FROM incident"))[0][0]
    assert loaded < 260
    assert (await bench.rows("SELECT count(*) FROM nowbridge.shard WHERE last_error IS NOT NULL"))[0][0] > 0
    bench.twin.instance.faults.arm([])
    bench.now.pass_(hours=1)
    await bench.load_shards(bench.open_replica("worker-2"))
    assert await bench.rows("SELECT count(*), count(DISTINCT number) FROM incident") == [(260, 260)]
    assert await bench.rows("SELECT sum(rows)::int FROM nowbridge.shard") == [(260,)]
    assert await bench.rows("SELECT phase FROM nowbridge.replica_table") == [("live",)]


@pytest.mark.req("Q17")
async def test_a_range_of_many_pages_goes_on_behind_the_last_that_was_stored(bench: Bench) -> None:
    """What is here is not asked for again: a load that breaks off every hour still comes to its end."""
    bench.make_incidents(260)
    await bench.add("incident")
    await bench.replica.prepare()
    await make_one_range(bench)
    bench.twin.instance.faults.arm([FaultRule(kind="status", status=503, table="incident", skip=3)])
    await bench.load_shards()
    assert (await bench.rows("SELECT count(*) FROM incident"))[0][0] >= 100
    bench.twin.instance.faults.arm([])
    bench.now.pass_(hours=1)
    await bench.load_shards(bench.open_replica("worker-2"))
    assert await bench.rows("SELECT count(*) FROM incident") == [(260,)]
    assert await bench.rows("SELECT sum(rows)::int FROM nowbridge.shard") == [(260,)], "and nothing was read twice"


async def test_a_worker_that_is_told_to_stop_ends_its_page_and_gives_the_rest_back_at_once(bench: Bench) -> None:
    bench.make_incidents(260)
    await bench.add("incident")
    await bench.replica.prepare()
    await make_one_range(bench)
    while not bench.now.readings.empty():
        bench.now.readings.get_nowait()
    working = asyncio.create_task(bench.load_shards())
    await bench.now.read(2)  # of the claim and of the first page
    bench.replica.stopping = True
    await working
    loaded = (await bench.rows("SELECT count(*) FROM incident"))[0][0]
    assert 50 <= loaded < 260
    assert await bench.rows("SELECT owner, lease_until, last_error FROM nowbridge.shard") == [(None, None, None)]
    await bench.load_shards(bench.open_replica("worker-2"))
    assert await bench.rows("SELECT count(*) FROM incident") == [(260,)]
    assert await bench.rows("SELECT sum(rows)::int FROM nowbridge.shard") == [(260,)]


async def test_a_worker_that_dies_after_its_last_page_leaves_no_table_behind(bench: Bench) -> None:
    """Every row is there, every shard is done, and nobody has let the table go live."""
    bench.make_incidents(20)
    await bench.load("incident")
    async with bench.database.transaction() as connection:
        await connection.execute("UPDATE nowbridge.replica_table SET phase = 'backfill'")
    await bench.load_shards(bench.open_replica("worker-2"))
    assert await bench.rows("SELECT phase FROM nowbridge.replica_table") == [("live",)]


@pytest.mark.parametrize("readings", [1, 2, 4, 6, 9])
async def test_a_cancelled_load_gives_its_shard_back_at_once(bench: Bench, readings: int) -> None:
    """Cancelled at one point or another: while claiming, while reading, while a page is written."""
    bench.make_incidents(120)
    await bench.add("incident")
    await bench.replica.prepare()
    while not bench.now.readings.empty():
        bench.now.readings.get_nowait()
    working = asyncio.create_task(bench.load_shards())
    await bench.now.read(readings)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    await bench.load_shards(bench.open_replica("worker-2"))
    assert await bench.rows("SELECT count(*) FROM incident") == [(120,)]


@pytest.mark.trap("31")
async def test_a_paused_worker_that_wakes_up_brings_in_no_change_and_moves_no_cursor(bench: Bench) -> None:
    """Worker 1 claims a stream and stalls; worker 2 follows it; worker 1 goes on by the old cursor."""
    ids = bench.make_incidents(5)
    await bench.load("incident")
    await bench.catch_up()
    bench.twin.instance.update("incident", ids[0], {"short_description": "first"}, user="admin")
    await bench.let_pass(60)
    [stale] = await bench.replica.claim_due_streams(1)
    other = bench.open_replica("worker-2")
    assert await bench.catch_up(other) == 1
    bench.twin.instance.update("incident", ids[1], {"short_description": "second"}, user="admin")
    await bench.let_pass(60)
    stream = "SELECT cursor_time, cursor_id, proven_to, epoch, changes FROM nowbridge.stream"
    stood = await bench.rows(stream)
    assert isinstance((await bench.replica.poll(stale)).error, LostLease)
    assert await bench.rows(stream) == stood
    assert await bench.rows("SELECT count(*) FROM incident WHERE short_description = 'second'") == [(0,)]
    assert await bench.catch_up(other) == 1


@pytest.mark.trap("31")
async def test_a_paused_worker_that_wakes_up_changes_nothing(bench: Bench) -> None:
    """Worker 1 claims a shard and stalls; its lease runs out, worker 2 loads everything; worker 1 goes on."""
    bench.make_incidents(40)
    await bench.add("incident")
    await bench.replica.prepare()
    async with bench.database.transaction() as connection:
        stale = await leases.claim_shard(connection, bench.connection_id, HOLDER, now=bench.now())
    assert stale is not None
    other = bench.open_replica("worker-2")
    await bench.load_shards(other)
    assert await bench.rows("SELECT count(*) FROM incident") == [(0,)], "the lease still stands"
    bench.now.pass_(seconds=31)
    await bench.load_shards(other)
    bench.twin.instance.update("incident", f"{0:032x}", {"short_description": "newer"}, user="admin")

    loader = await bench.replica.loader(stale.table_id)
    page = PageDecoder(("sys_id", "short_description")).decode(
        b'{"result":[{"sys_id":"%032x","short_description":"from the grave"}]}' % 1
    )

    async def move(connection: object, changed: int) -> None:
        del changed
        progress = ShardProgress(position={}, rows=1, hidden=0, calls=1, done=True)
        await leases.advance_shard(connection, stale, HOLDER, progress, now=bench.now())  # type: ignore[arg-type]

    with pytest.raises(LostLease):
        await loader.load_new(page, move)
    assert await bench.rows("SELECT count(*) FROM incident WHERE short_description = 'from the grave'") == [(0,)]
    assert await bench.rows("SELECT count(*) FROM incident") == [(40,)]


@pytest.mark.trap("31")
async def test_a_paused_worker_that_wakes_up_moves_no_cursor_while_its_heir_is_at_work(bench: Bench) -> None:
    bench.make_incidents(40)
    await bench.add("incident")
    await bench.replica.prepare()
    heir = Holder("worker-2", HOLDER.lease)
    progress = ShardProgress(position={"after": "nowhere"}, rows=1, hidden=0, calls=1, done=False)
    async with bench.database.transaction() as connection:
        stale = await leases.claim_shard(connection, bench.connection_id, HOLDER, now=bench.now())
        assert stale is not None
        bench.now.pass_(seconds=31)
        taken = await leases.claim_shard(connection, bench.connection_id, heir, now=bench.now())
        assert taken is not None
        assert taken.id == stale.id
        with pytest.raises(LostLease):
            await leases.advance_shard(connection, stale, HOLDER, progress, now=bench.now())
        await leases.release_shard(connection, stale)
    shard = "SELECT position, rows, owner FROM nowbridge.shard WHERE id = (SELECT min(id) FROM nowbridge.shard)"
    assert await bench.rows(shard) == [(None, 0, "worker-2")]


async def test_a_claim_that_its_worker_renews_outlasts_its_lease(bench: Bench) -> None:
    """A page of a slow instance may take longer than a lease; what was taken over meanwhile is not won back."""
    bench.make_incidents(40)
    await bench.add("incident")
    await bench.replica.prepare()
    async with bench.database.transaction() as connection:
        claimed = await leases.claim_shard(connection, bench.connection_id, HOLDER, now=bench.now())
        assert claimed is not None
        at_work = AtWork(shards={claimed.id})
        bench.now.pass_(seconds=25)
        assert await leases.renew(connection, HOLDER, at_work, now=bench.now()) == 1
        bench.now.pass_(seconds=25)
        assert (
            await leases.claim_shard(connection, bench.connection_id, Holder("worker-2", HOLDER.lease), now=bench.now())
            is None
        )
        bench.now.pass_(seconds=6)
        assert (
            await leases.claim_shard(connection, bench.connection_id, Holder("worker-2", HOLDER.lease), now=bench.now())
            is not None
        )
        assert await leases.renew(connection, HOLDER, at_work, now=bench.now()) == 0


async def test_two_workers_share_a_load_and_read_nothing_twice(bench: Bench) -> None:
    bench.make_incidents(400)
    await bench.add("incident")
    await bench.replica.prepare()
    await asyncio.gather(bench.load_shards(), bench.load_shards(bench.open_replica("worker-2")))
    assert await bench.rows("SELECT count(*) FROM incident") == [(400,)]
    assert await bench.rows("SELECT sum(rows)::int FROM nowbridge.shard") == [(400,)]
    assert await bench.rows("SELECT count(*) FROM _sync_cdc WHERE operation = 'backfill'") == [(1,)]


@pytest.mark.trap("31")
async def test_a_claim_whose_work_broke_off_is_not_renewed(bench: Bench) -> None:
    """The database was away when the shard was to be given back: its worker lives on and must not keep it for good."""
    bench.make_incidents(40)
    await bench.add("incident")
    await bench.replica.prepare()
    async with bench.database.transaction() as connection:
        assert await leases.claim_shard(connection, bench.connection_id, HOLDER, now=bench.now()) is not None
        bench.now.pass_(seconds=25)
        assert await leases.renew(connection, HOLDER, AtWork(), now=bench.now()) == 0
    bench.now.pass_(seconds=6)
    await bench.load_shards()
    assert await bench.rows("SELECT count(*) FROM incident") == [(40,)]
