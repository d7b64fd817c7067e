"""The webhook cannot be reached for an hour: nothing is lost, the poll brings it, and it is noticed."""

from datetime import timedelta

import pytest

from nowbridge.jobs.notices import Notifier
from tests.support.hooks import HookBench


@pytest.mark.req("Q22")
async def test_the_backlog_comes_by_the_poll_and_somebody_is_told(hooked: HookBench) -> None:
    bench = hooked.bench
    ids = bench.make_incidents(20)
    await bench.load("incident")
    await hooked.cover("incident")
    notifier = Notifier(bench.database, bench.now, timedelta(hours=2), {})
    await hooked.deliver(await hooked.update(ids[0], short_description="told"))
    await hooked.read_all()
    await bench.catch_up()
    await notifier.look()
    polled = []
    for number in range(1, 13):  # five minutes each
        await hooked.update(ids[number], short_description=f"untold {number}")
        await bench.let_pass(299)
        polled.append(await bench.catch_up())
    assert sum(polled) == 12
    loss = await hooked.loss()
    assert loss.lost == 12
    assert loss.state(bench.now()) == "silent"
    told = [notice for notice in await notifier.look() if notice.kind == "hints"]
    assert [(notice.subject, notice.state) for notice in told] == [("public.incident", "silent")]
    assert (await bench.rows("SELECT poll_every FROM nowbridge.stream"))[0][0] == bench.pace.poll
    assert (await bench.verify("incident")).equal

    await hooked.deliver(await hooked.update(ids[0], short_description="back again"))
    assert await hooked.read_all() == 1
    bench.now.pass_(hours=1)
    assert [(n.kind, n.state) for n in await notifier.look() if n.kind == "hints"] == [("hints", "works")]
    await bench.catch_up()
    assert (await bench.rows("SELECT poll_every FROM nowbridge.stream"))[0][0] == bench.pace.poll_hooked


async def test_hints_wait_while_no_worker_runs(hooked: HookBench) -> None:
    """The other way round: the webhook takes what comes, and whoever reads it comes an hour later."""
    bench = hooked.bench
    ids = bench.make_incidents(20)
    await bench.load("incident")
    await hooked.cover("incident")
    for number, key in enumerate(ids):
        await hooked.deliver(await hooked.update(key, short_description=f"waits {number}"))
    bench.twin.instance.clock.advance(3_600)
    bench.now.pass_(hours=1)
    bench.twin.instance.calls.clear()
    assert await hooked.read_all() == 20
    assert len([call for call in bench.twin.instance.calls.entries if call.path == "/api/now/table/incident"]) == 1
    assert await bench.catch_up() == 0
    assert (await hooked.loss()).lost == 0
