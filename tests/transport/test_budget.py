"""Requests in flight: halved at once when the instance is full, grown back slowly, never beyond what was allowed."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowbridge.transport.budget import Allowance
from nowbridge.transport.gate import Gate


@given(st.integers(1, 64), st.lists(st.booleans(), max_size=400))
def test_the_allowance_stays_within_its_bounds_and_only_a_refusal_narrows_it(most: int, answers: list[bool]) -> None:
    allowance = Allowance(most, most)
    for refused in answers:
        before, allowance = allowance.now, allowance.after(refused=refused)
        assert 1 <= allowance.now <= most
        assert allowance.now == max(1, before // 2) if refused else before <= allowance.now <= before + 1


def test_it_grows_back_to_the_full_after_enough_good_answers() -> None:
    allowance = Allowance(16, 16).after(refused=True).after(refused=True)
    assert allowance.now == 4
    answers = 0
    while allowance.now < 16:
        allowance = allowance.after(refused=False)
        answers += 1
    assert answers == 8 * sum(range(4, 16))


@pytest.mark.parametrize(("now", "most"), [(0, 4), (5, 4)])
def test_an_impossible_allowance_is_refused(now: int, most: int) -> None:
    with pytest.raises(ValueError, match="not between"):
        Allowance(now, most)


async def holds(gate: Gate, entered: list[int], number: int, until: asyncio.Event) -> None:
    async with gate.slot():
        entered.append(number)
        await until.wait()


async def settle() -> None:
    """Let every task run as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_callers_enter_in_the_order_they_came() -> None:
    gate, entered, done = Gate(2), list[int](), asyncio.Event()
    tasks = [asyncio.create_task(holds(gate, entered, n, done)) for n in range(5)]
    await settle()
    assert entered == [0, 1]
    done.set()
    await asyncio.gather(*tasks)
    assert entered == [0, 1, 2, 3, 4]


async def test_a_narrowed_gate_lets_nobody_in_until_enough_have_left() -> None:
    gate, entered = Gate(4), list[int]()
    exits = [asyncio.Event() for _ in range(6)]
    tasks = [asyncio.create_task(holds(gate, entered, n, exits[n])) for n in range(6)]
    await settle()
    gate.note(refused=True)
    exits[0].set()
    exits[1].set()
    await settle()
    assert entered == [0, 1, 2, 3], "two are inside, and two are allowed"
    exits[2].set()
    await settle()
    assert entered == [0, 1, 2, 3, 4]
    for leave in exits:
        leave.set()
    await asyncio.gather(*tasks)


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_callers_that_give_up_leave_no_hole(gives_up: list[bool]) -> None:
    async def play() -> None:
        gate, entered, done = Gate(1), list[int](), asyncio.Event()
        tasks = [asyncio.create_task(holds(gate, entered, n, done)) for n in range(len(gives_up))]
        await settle()
        for task, cancelled in zip(tasks, gives_up, strict=True):
            if cancelled:
                task.cancel()
        done.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(1), gate.slot():
            pass
        assert {n for n, gone in enumerate(gives_up) if not gone} <= set(entered)

    asyncio.run(play())


async def test_a_place_given_to_a_caller_that_is_being_cancelled_goes_to_the_next() -> None:
    gate, entered, done = Gate(1), list[int](), asyncio.Event()
    async with gate.slot():
        tasks = [asyncio.create_task(holds(gate, entered, n, done)) for n in range(2)]
        await settle()
    tasks[0].cancel()  # it has its place since the line above, but has not run yet
    done.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert entered == [1]
