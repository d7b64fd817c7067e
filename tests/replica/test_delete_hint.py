"""Deletions that are told of: of rows that are gone, merely invisible, still there, or there again."""

import pytest

from nowbridge.replica import hints
from nowtwin.access.hiding import HideRule
from tests.support.hooks import HookBench


@pytest.mark.trap("30")
async def test_a_deletion_told_of_a_row_that_is_merely_invisible_removes_nothing(hooked: HookBench) -> None:
    bench = hooked.bench
    ids = bench.make_incidents(4)
    await bench.load("incident")
    await hooked.cover("incident")
    bench.twin.instance.access.rules.append(HideRule("incident", query=f"sys_id={ids[0]}", user="admin"))
    told = hooked.post("incident", ids[0], "delete")
    bench.twin.instance.delete("incident", ids[1], user="admin")
    await hooked.deliver(told, hooked.post("incident", ids[1], "delete"))
    assert (await hooked.read()).removed == 1
    assert [row[0] for row in await bench.rows("SELECT sys_id FROM incident ORDER BY 1")] == [ids[0], ids[2], ids[3]]
    assert await hooked.outcomes() == {ids[0]: "kept", ids[1]: "gone"}
    assert await bench.rows("SELECT sys_id, source FROM _sync_cdc WHERE operation = 'delete'") == [(ids[1], "hint")]


async def test_a_deletion_told_of_a_row_that_can_be_seen_removes_nothing(hooked: HookBench) -> None:
    bench = hooked.bench
    ids = bench.make_incidents(4)
    await bench.load("incident")
    await hooked.cover("incident")
    await hooked.deliver(hooked.post("incident", ids[0], "delete"))
    for _ in range(hints.FEW_TRIES + 1):
        bench.now.pass_(seconds=30)
        await hooked.read_all()
    assert await hooked.outcomes() == {ids[0]: "seen"}
    assert await bench.rows("SELECT count(*) FROM incident") == [(4,)]


async def test_a_row_made_anew_under_its_old_id_lives_again(hooked: HookBench) -> None:
    bench = hooked.bench
    ids = bench.make_incidents(4)
    await bench.load("incident")
    await hooked.cover("incident")
    before = bench.twin.instance.read("incident", ids[0])
    assert before is not None
    bench.twin.instance.delete("incident", ids[0], user="admin")
    await hooked.deliver(hooked.post("incident", ids[0], "delete"))
    assert (await hooked.read()).removed == 1
    bench.twin.instance.load("incident", [before])
    await hooked.deliver(hooked.post("incident", ids[0], "insert"))
    assert (await hooked.read()).changed == 1
    assert await bench.rows("SELECT count(*) FROM incident") == [(4,)]


async def test_a_mass_delete_that_trickles_in_stops_and_asks(hooked: HookBench) -> None:
    """More than fifty rows and a fifth of the table within an hour, ten at a time; a comparison of all keys decides."""
    bench = hooked.bench
    ids = bench.make_incidents(120)
    await bench.load("incident")
    await hooked.cover("incident")

    async def delete(some: list[str]) -> int:
        for key in some:
            bench.twin.instance.delete("incident", key, user="admin")
        await hooked.deliver(*(hooked.post("incident", key, "delete") for key in some))
        removed = (await hooked.read()).removed
        await bench.let_pass(60)
        return removed

    assert [await delete(ids[start : start + 10]) for start in range(0, 50, 10)] == [10] * 5
    assert await delete(ids[50:51]) == 0
    assert await delete(ids[51:55]) == 0
    held = "SELECT held->>'reason', (held->>'wanted')::int, (held->>'rows')::int FROM nowbridge.delete_watch"
    assert await bench.rows(held) == [("trickled", 4, 70)]
    assert (await bench.tend("audit")).held is not None
    assert await bench.rows("SELECT count(*) FROM incident") == [(70,)]
    assert (await bench.tend("compare")).removed == 5
    assert await bench.rows("SELECT held FROM nowbridge.delete_watch") == [(None,)]
    await bench.let_pass(3_600)
    assert await delete(ids[60:70]) == 10
