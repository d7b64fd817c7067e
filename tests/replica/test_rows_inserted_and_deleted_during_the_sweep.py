"""Rows come and go before, behind and under the hand that reads: the load skips none, doubles none, keeps no dead one."""

from __future__ import annotations

import asyncio
import random

import pytest

from nowbridge.replica.verify import Level, Order
from tests.support.replica import Bench


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_there_in_the_end_is_in_the_replica(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    living = bench.make_incidents(300)
    await bench.add("incident")
    await bench.replica.prepare()
    while not bench.now.readings.empty():
        bench.now.readings.get_nowait()
    loading = asyncio.create_task(bench.load_shards())
    while not loading.done():
        for _ in range(chance.randint(1, 3)):
            gone = living.pop(chance.randrange(len(living)))
            bench.twin.instance.delete("incident", gone, user="admin")
            made = bench.twin.instance.insert("incident", {"short_description": f"new {seed}"}, user="admin")
            living.append(made.sys_id)
        reading = asyncio.create_task(bench.now.read(1))
        await asyncio.wait([loading, reading], return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()
    await loading
    await bench.catch_up()
    await bench.tend("audit")
    assert {key for (key,) in await bench.rows("SELECT sys_id FROM incident")} == set(living)
    assert (await bench.verify("incident")).equal


@pytest.mark.parametrize("seed", range(3))
async def test_a_comparison_meanwhile_finds_no_false_difference(bench: Bench, seed: int) -> None:
    """What differs only because it changed under the comparison is pending, and nothing living is deleted."""
    chance = random.Random(seed)
    living = bench.make_incidents(200)
    await bench.load("incident")
    await bench.catch_up()
    loader = await bench.replica.loader(await bench.table_id("incident"))
    order = Order(await bench.replica.upkeep.proven_to(loader), repair=True)
    await bench.let_pass(5)
    comparing = asyncio.create_task(bench.replica.upkeep.verify(loader, order, Level.CONTENT))
    for _ in range(45):  # more deletions than 50 would be held until somebody has looked
        if comparing.done():
            break
        gone = living.pop(chance.randrange(len(living)))
        bench.twin.instance.delete("incident", gone, user="admin")
        made = bench.twin.instance.insert("incident", {"short_description": "new"}, user="admin")
        living.append(made.sys_id)
        key = chance.choice(living)
        bench.twin.instance.update("incident", key, {"short_description": f"changed {chance.random()}"}, user="admin")
        reading = asyncio.create_task(bench.now.read(1))
        await asyncio.wait([comparing, reading], return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()
    found = await comparing
    assert (found.missing, found.differing) == ([], [])
    await bench.catch_up()
    await bench.tend("audit")
    assert {key for (key,) in await bench.rows("SELECT sys_id FROM incident")} == set(living)
