"""Hints that come in another order than the changes: the newest state is here all the same."""

import random

import pytest

from tests.support.hooks import HookBench


async def test_many_hints_of_one_record_are_one_row_and_one_call(hooked: HookBench) -> None:
    bench = hooked.bench
    ids = bench.make_incidents(4)
    await bench.load("incident")
    await hooked.cover("incident")
    posts = [await hooked.update(ids[0], short_description=f"state {number}") for number in range(20)]
    random.Random(5).shuffle(posts)
    await hooked.deliver(*posts)
    bench.twin.instance.calls.clear()
    done = await hooked.read()
    assert (done.hints, done.changed) == (1, 1)
    assert len([c for c in bench.twin.instance.calls.entries if c.path == "/api/now/table/incident"]) == 1
    assert await bench.rows("SELECT short_description, sys_mod_count FROM incident ORDER BY sys_id LIMIT 1") == [
        ("state 19", 20)
    ]
    assert await hooked.outcomes() == {ids[0]: "seen"}


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_the_order_the_newest_state_is_here(hooked: HookBench, seed: int) -> None:
    """Each change is told of at once, but what is told arrives later, mixed with reads of it."""
    bench, chance = hooked.bench, random.Random(seed)
    ids = bench.make_incidents(6)
    await bench.load("incident")
    await hooked.cover("incident")
    posts = []
    for number in range(30):
        posts.append(await hooked.update(chance.choice(ids), short_description=f"state {number}"))
        if chance.random() < 0.3:
            await hooked.deliver(posts.pop(chance.randrange(len(posts))))
            await hooked.read_all()
    chance.shuffle(posts)
    await hooked.deliver(*posts)
    await hooked.read_all()
    held = dict(await bench.rows("SELECT sys_id, short_description FROM incident"))
    there = {key: (bench.twin.instance.read("incident", key) or {})["short_description"] for key in ids}
    assert held == there
    assert set((await hooked.outcomes()).values()) == {"seen"}
