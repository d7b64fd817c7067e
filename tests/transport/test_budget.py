"""Requests in flight: halved at once when the instance is full, grown back slowly, never beyond what was allowed."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowbridge.transport.budget import Allowance, Bucket, Claim, Purpose, Usual, Want, share_of
from nowbridge.transport.gate import Gate, Heard
from nowbridge.transport.purpose import calling_for


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
    gate.note(Heard("incident", 0.1, refused=True))
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
        async with asyncio.timeout(60), gate.slot():
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


WANTS = st.lists(st.builds(Want, st.sampled_from(Purpose), st.floats(0, 60)), max_size=6).map(tuple)


@given(st.lists(st.tuples(WANTS, st.integers(0, 6), st.booleans()), max_size=6), st.integers(1, 12))
def test_shares_never_exceed_what_is_allowed_and_leave_nothing_unused(
    told: list[tuple[tuple[Want, ...], int, bool]], allowed: int
) -> None:
    claims = [Claim(f"w{n}", wants, granted, settled) for n, (wants, granted, settled) in enumerate(told)]
    shares = [share_of(claim.holder, claims, allowed) for claim in claims]
    assert all(share <= len(claim.wants) for share, claim in zip(shares, claims, strict=True))
    assert sum(shares) == min(allowed, sum(len(claim.wants) for claim in claims))


def test_equal_workers_get_equal_shares_and_urgent_calls_go_first() -> None:
    backfill = tuple(Want(Purpose.BACKFILL, 1.0) for _ in range(4))
    four = [Claim(f"w{n}", backfill) for n in range(4)]
    assert [share_of(c.holder, four, 4) for c in four] == [1, 1, 1, 1]
    writer = Claim("writer", (Want(Purpose.WRITE, 0.0),))
    assert share_of("writer", [*four, writer], 1) == 1


def test_nobody_starves_behind_urgent_calls() -> None:
    polls = Claim("a", tuple(Want(Purpose.POLL, 0.1) for _ in range(8)))
    waiting = Claim("b", (Want(Purpose.BACKFILL, 29.0),))
    assert share_of("b", [polls, waiting], 2) == 0
    overdue = Claim("b", (Want(Purpose.BACKFILL, 31.0),))
    assert share_of("b", [polls, overdue], 2) == 1


@given(st.integers(1, 5_000), st.lists(st.tuples(st.floats(0, 900), st.integers(0, 400)), max_size=40))
def test_no_sixty_minutes_have_more_calls_than_allowed(per_hour: int, asks: list[tuple[float, int]]) -> None:
    bucket, at, made = Bucket(per_hour, Bucket(per_hour, 0).most), 0.0, list[tuple[float, int]]()
    for after, wanted in asks:
        at += after
        given_now, bucket = bucket.filled(after).take(wanted, Purpose.POLL)
        made.append((at, given_now))
    for begin, _ in made:
        assert sum(n for t, n in made if begin <= t < begin + 3_600) <= per_hour


def test_the_last_of_the_hour_is_kept_for_the_urgent() -> None:
    bucket = Bucket(1_000, 12.0)
    assert bucket.take(50, Purpose.BACKFILL)[0] == 2
    assert bucket.take(50, Purpose.POLL)[0] == 12


def test_an_answer_far_slower_than_its_like_narrows_and_a_new_pace_is_learned() -> None:
    usual = Usual()
    assert [usual.slow(s) for s in (0.5, 0.6, 0.4, 1.9)] == [False] * 4
    assert usual.slow(9.0)
    assert not all(usual.slow(9.0) for _ in range(20))
    assert Allowance(4, 4).after_slow() == Allowance(3, 4)


async def test_the_urgent_are_let_in_first() -> None:
    gate, entered, done = Gate(1), list[int](), asyncio.Event()
    async with gate.slot():
        tasks = []
        for number, purpose in enumerate((Purpose.BACKFILL, Purpose.VERIFY, Purpose.WRITE, Purpose.POLL)):
            with calling_for(purpose):
                tasks.append(asyncio.create_task(holds(gate, entered, number, done)))
        await settle()
    done.set()
    await asyncio.gather(*tasks)
    assert entered == [2, 3, 1, 0]
