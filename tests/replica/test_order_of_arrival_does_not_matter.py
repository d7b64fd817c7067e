"""The version guard: whatever order states arrive in, and however often, the newest one stays."""

import random
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nowbridge.servicenow.wire import Page
from tests.support.replica import Bench

FIELDS = ("sys_id", "short_description", "sys_mod_count", "sys_updated_on")


def page(states: list[tuple[int, int, str]]) -> Page:
    """States of a few records: (record, version, text)."""
    rows = [(f"{key:032x}", text, str(version), f"2026-01-01 00:00:{version:02}") for key, version, text in states]
    columns = tuple(zip(*rows, strict=True)) if rows else ((),) * len(FIELDS)
    return Page.of(FIELDS, columns)


async def nothing(*_: object) -> None:
    return None


@pytest.mark.trap("19")
@given(seed=st.integers(0, 2**32))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_newest_state_stays(bench: Bench, seed: int) -> None:
    await in_any_order(bench, seed)


@pytest.mark.soak
@pytest.mark.trap("19")
@given(seed=st.integers(0, 2**32))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_newest_state_stays_in_many_orders(bench: Bench, seed: int) -> None:
    await in_any_order(bench, seed)


async def in_any_order(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    if not await bench.rows("SELECT 1 FROM nowbridge.replica_table"):
        await bench.load("incident")
    async with bench.database.transaction() as connection:
        await connection.execute("DELETE FROM incident")
        await connection.execute("DELETE FROM _sync_cdc")
    states = [(key, version, f"{key} at {version}") for key in range(4) for version in range(6)]
    arrivals = [state for state in states for _ in range(chance.randint(1, 2))]
    chance.shuffle(arrivals)
    loader = await bench.replica.loader(1)
    while arrivals:
        taken: dict[int, tuple[int, int, str]] = {}
        while arrivals and arrivals[-1][0] not in taken and len(taken) < chance.randint(1, 4):
            state = arrivals.pop()
            taken[state[0]] = state
        one = page(list(taken.values()))
        await (loader.load_new(one, nothing) if chance.random() < 0.3 else loader.merge_changes(one, nothing))
    assert await bench.rows("SELECT short_description FROM incident ORDER BY sys_id") == [
        (f"{key} at 5",) for key in range(4)
    ]
    texts = await bench.rows("SELECT sys_id, changes->'short_description' FROM _sync_cdc ORDER BY id")
    versions = await bench.rows("SELECT sys_id, version FROM _sync_cdc ORDER BY id")
    for key in range(4):
        mine = [version for sys_id, version in versions if sys_id == f"{key:032x}"]
        assert mine == sorted(set(mine)), "the feed tells each record's versions in order, once"
        pairs = [pair for sys_id, pair in texts if sys_id == f"{key:032x}"]
        assert all(one[1] == other[0] for one, other in pairwise(pairs)), "what was after is before the next time"
