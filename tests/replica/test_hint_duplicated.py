"""A hint that comes more than once, or while the record is being read: one row, no call for nothing, nothing forgotten."""

from nowbridge.store.work import hints
from tests.support.hooks import HookBench


async def test_a_hint_that_comes_again_about_what_is_here_costs_no_call(hooked: HookBench) -> None:
    bench = hooked.bench
    ids = bench.make_incidents(4)
    await bench.load("incident")
    await hooked.cover("incident")
    await hooked.deliver(await hooked.update(ids[0], short_description="new"))
    assert await hooked.read_all() == 1
    bench.twin.instance.calls.clear()
    await hooked.deliver(hooked.post("incident", ids[0]), hooked.post("incident", ids[0]))
    assert await bench.replica.read_hints() is None
    assert not bench.twin.instance.calls.entries
    assert await bench.rows("SELECT arrivals FROM nowbridge.hint") == [(3,)]


async def test_a_hint_that_comes_while_the_record_is_read_is_not_forgotten(hooked: HookBench) -> None:
    """Whoever works on a hint finishes only what had been told when he took it up."""
    bench = hooked.bench
    ids = bench.make_incidents(4)
    await bench.load("incident")
    await hooked.cover("incident")
    await hooked.deliver(await hooked.update(ids[0], short_description="one"))
    async with bench.database.transaction() as connection:
        taken = await hints.claim(
            connection, bench.connection_id, lease=bench.replica.holder.lease, now=bench.now(), limit=10
        )
    await hooked.deliver(await hooked.update(ids[0], short_description="two"))
    assert await bench.replica.read_hints() is None, "it is in somebody's hands"
    async with bench.database.transaction() as connection:
        await hints.done(connection, [(hint, "seen") for hint in taken], now=bench.now())
    assert await hooked.read_all() == 1
    assert await hooked.outcomes() == {ids[0]: "seen"}


async def test_a_dead_worker_s_hints_are_taken_over(hooked: HookBench) -> None:
    bench = hooked.bench
    ids = bench.make_incidents(4)
    await bench.load("incident")
    await hooked.cover("incident")
    await hooked.deliver(await hooked.update(ids[0], short_description="one"))
    lease = bench.replica.holder.lease
    async with bench.database.transaction() as connection:
        taken = await hints.claim(connection, bench.connection_id, lease=lease, now=bench.now(), limit=10)
    assert await bench.replica.read_hints() is None
    bench.now.pass_(seconds=lease.total_seconds() + 1)
    other = await bench.open_replica("worker-2").read_hints()
    assert other is not None
    assert other.changed == 1
    async with bench.database.transaction() as connection:
        await hints.put_off(connection, [(hint, bench.now()) for hint in taken])  # the first one wakes up
    assert await hooked.outcomes() == {ids[0]: "seen"}
