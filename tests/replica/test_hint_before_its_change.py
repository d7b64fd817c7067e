"""A hint that is here before its change can be seen: a transaction that commits late with an old timestamp, or another node."""

from nowbridge.replica import hints
from tests.support.hooks import HookBench


async def test_an_insert_that_is_told_of_before_it_can_be_seen_is_waited_for(hooked: HookBench) -> None:
    bench = hooked.bench
    bench.make_incidents(4)
    await bench.load("incident")
    await hooked.cover("incident")
    early = hooked.signed(
        {
            "hints": [
                {
                    "table": "incident",
                    "sys_id": "ab" * 16,
                    "operation": "insert",
                    "sys_mod_count": "0",
                    "sys_updated_on": "2026-01-01 10:00:00",
                    "rule": "incident",
                }
            ]
        }
    )
    await hooked.deliver(early)
    done = await hooked.read()
    assert (done.changed, done.put_off) == (0, 1)
    assert await bench.replica.read_hints() is None, "not at once again"
    row = {
        "sys_id": "ab" * 16,
        "short_description": "late",
        "sys_updated_on": "2026-01-01 10:00:00",
        "sys_mod_count": "0",
    }
    bench.twin.instance.load("incident", [row])
    bench.now.pass_(seconds=1)
    assert await hooked.read_all() == 1
    assert await bench.rows("SELECT source FROM _sync_cdc WHERE operation = 'insert'") == [("hint",)]
    assert await bench.catch_up() == 0, "its time is older than the cursor: no poll would have found it"


async def test_an_update_that_is_told_of_before_it_can_be_seen_is_waited_for(hooked: HookBench) -> None:
    bench = hooked.bench
    ids = bench.make_incidents(4)
    await bench.load("incident")
    await hooked.cover("incident")
    before = bench.twin.instance.read("incident", ids[0])
    assert before is not None
    post = await hooked.update(ids[0], short_description="new")
    after = bench.twin.instance.read("incident", ids[0])
    assert after is not None
    bench.twin.instance.load("incident", [before])
    await hooked.deliver(post)
    assert (await hooked.read()).put_off == 1
    bench.twin.instance.load("incident", [after])
    bench.now.pass_(seconds=1)
    assert await hooked.read_all() == 1


async def test_what_never_comes_is_given_up_after_a_while(hooked: HookBench) -> None:
    bench = hooked.bench
    ids = bench.make_incidents(4)
    await bench.load("incident")
    await hooked.cover("incident")
    post = hooked.post("incident", ids[0])
    ahead = hooked.signed(
        {
            "hints": [
                {
                    "table": "incident",
                    "sys_id": ids[0],
                    "operation": "update",
                    "sys_mod_count": "99",
                    "rule": "incident",
                }
            ]
        }
    )
    await hooked.deliver(post, ahead)
    rounds = 0
    while (await hooked.outcomes())[ids[0]] is None:
        bench.now.pass_(seconds=hints.LONGEST_WAIT.total_seconds())
        await hooked.read_all()
        rounds += 1
    assert await hooked.outcomes() == {ids[0]: "not seen"}
    assert rounds <= 25
