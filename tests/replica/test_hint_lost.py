"""A hint that never comes: the poll brings the change, and the meter counts it."""

from datetime import timedelta

import pytest

from nowbridge.api.metrics import families, render
from nowbridge.store.operation import figures
from tests.support.hooks import HookBench


@pytest.mark.req("Q20", "Q22")
async def test_a_lost_hint_is_made_up_by_the_poll_and_counted(hooked: HookBench) -> None:
    bench = hooked.bench
    ids = bench.make_incidents(4)
    await bench.load("incident")
    await hooked.cover("incident")
    told = await hooked.update(ids[0], short_description="told")
    await hooked.update(ids[1], short_description="not told")
    await hooked.deliver(told)
    assert await hooked.read_all() == 1
    assert await bench.rows("SELECT source FROM _sync_cdc WHERE operation = 'update'") == [("hint",)]
    assert await bench.catch_up() == 1
    assert await bench.rows("SELECT short_description FROM incident ORDER BY sys_id LIMIT 2") == [
        ("told",),
        ("not told",),
    ]
    loss = await hooked.loss()
    assert (loss.by_hint, loss.by_poll, loss.lost, loss.share) == (1, 1, 1, 0.5)
    found = await figures.read(bench.database, now=bench.now(), seen_within=timedelta(seconds=20))
    lines = render(families(found, bench.now())).splitlines()
    of_incident = '{schema="public",table="incident"} 1'
    for name in ("hinted_changes", "polled_changes", "lost_hints"):
        assert f"nowbridge_table_{name}{of_incident}" in lines


async def test_a_hint_that_comes_after_the_poll_is_no_loss(hooked: HookBench) -> None:
    """Async rules run when the instance gets round to them."""
    bench = hooked.bench
    ids = bench.make_incidents(4)
    await bench.load("incident")
    await hooked.cover("incident")
    post = await hooked.update(ids[0], short_description="late")
    await bench.catch_up()
    assert (await hooked.loss()).lost == 1
    await hooked.deliver(hooked.post("incident", ids[0]))
    assert (await hooked.loss()).lost == 0
    assert await hooked.read_all() == 0
    assert post.body


async def test_what_changed_before_the_rule_stood_is_not_expected_to_be_told(hooked: HookBench) -> None:
    bench = hooked.bench
    ids = bench.make_incidents(4)
    await bench.load("incident")
    bench.twin.instance.update("incident", ids[0], {"short_description": "before"}, user="admin")
    await bench.let_pass(5)
    await hooked.cover("incident")
    assert await bench.catch_up() == 1
    loss = await hooked.loss()
    assert (loss.changes, loss.lost) == (0, 0)


@pytest.mark.req("Q22")
async def test_the_poll_is_rare_while_hints_come_and_frequent_once_they_do_not(hooked: HookBench) -> None:
    bench = hooked.bench
    ids = bench.make_incidents(4)
    await bench.load("incident")
    wait = "SELECT poll_every FROM nowbridge.stream"
    await bench.catch_up()
    assert (await bench.rows(wait))[0][0] == bench.pace.poll
    await hooked.cover("incident")
    await bench.catch_up()
    assert (await bench.rows(wait))[0][0] == bench.pace.poll_hooked
    await hooked.update(ids[0], short_description="not told")
    bench.now.pass_(seconds=bench.pace.poll_hooked.total_seconds())
    await bench.catch_up()
    await hooked.loss()
    bench.now.pass_(seconds=bench.pace.poll_hooked.total_seconds())
    await bench.catch_up()
    assert (await bench.rows(wait))[0][0] == bench.pace.poll
