"""A sweep reads everything, whatever is hidden, inserted or deleted meanwhile, and it knows what it could not see."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nowbridge.model.errors import Stop
from nowbridge.servicenow import query as queries
from nowbridge.servicenow.pages import ChangeSweep, Cursor, IdSweep, PageRequest
from tests.support.ordered_table import OrderedTable, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
IDS = st.text("0123456789abcdef", min_size=1, max_size=4)
HIGH = 4_000


def drive(sweep: IdSweep | ChangeSweep, table: OrderedTable, between: Callable[[], object] = lambda: None) -> set[str]:
    """Run a sweep to its end. `between` is called before each request, as the world goes on in the meantime."""
    seen: set[str] = set()
    while (request := sweep.next_request()) is not None:
        between()
        rows, total = table.answer(request)
        ids = [row.sys_id for row in rows]
        sweep.received(ids, rows[-1].sys_updated_on if rows else None, len(rows), total)
        seen.update(ids)
        assert table.calls < HIGH, "the sweep does not end"
    return seen


def numbered(runs: list[tuple[int, bool]]) -> dict[str, bool]:
    """Ids in order, and which of them are visible, from runs of equally visible rows."""
    shown = [visible for length, visible in runs for _ in range(length)]
    return {f"{number:03x}": visible for number, visible in enumerate(shown)}


runs = st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=10).map(numbered)
rows_by_id = runs | st.dictionaries(IDS, st.booleans(), max_size=40)
page_sizes = st.integers(1, 6) | st.integers(1, 20)
bounds = st.one_of(st.none(), IDS)


@given(rows_by_id, page_sizes, bounds, bounds)
@pytest.mark.trap("25")
def test_a_sweep_by_id_reads_each_visible_row_of_its_range_and_counts_the_others(
    visible: dict[str, bool], page_size: int, low: str | None, high: str | None
) -> None:
    table = OrderedTable({sys_id: Row(sys_id, visible=shown) for sys_id, shown in visible.items()})
    sweep = IdSweep(queries.EVERYTHING, low, high, page_size)
    seen = drive(sweep, table)
    inside = {i for i in visible if (not low or i > low) and (not high or i <= high)}
    assert seen == {i for i in inside if visible[i]}
    assert sweep.hidden == sum(not visible[i] for i in inside)
    assert sweep.done


@st.composite
def steps(draw: st.DrawFn) -> list[list[tuple[str, str, bool]]]:
    """What happens between one request and the next: inserts, or deletes, never both (the documented limit of offsets)."""
    step = st.tuples(st.sampled_from(["insert", "delete"]), st.lists(st.tuples(IDS, st.booleans()), max_size=3))
    return [[(verb, i, shown) for i, shown in changes] for verb, changes in draw(st.lists(step, max_size=25))]


def happen(table: OrderedTable, disturbed: set[str], changes: Iterator[list[tuple[str, str, bool]]]) -> None:
    for verb, sys_id, shown in next(changes, []):
        if verb == "insert" and sys_id not in table.rows:
            table.insert(Row(sys_id, "2026-01-01 11:00:00", visible=shown))
            disturbed.add(sys_id)
        elif verb == "delete" and table.rows:
            victim = min(table.rows, key=lambda other: (other < sys_id, other))
            del table.rows[victim]
            disturbed.add(victim)


@given(rows_by_id, page_sizes, steps())
@settings(max_examples=200)
@pytest.mark.trap("25")
def test_a_sweep_by_id_loses_no_row_while_others_come_and_go(
    visible: dict[str, bool], page_size: int, world: list[list[tuple[str, str, bool]]]
) -> None:
    table = OrderedTable({sys_id: Row(sys_id, visible=shown) for sys_id, shown in visible.items()})
    disturbed: set[str] = set()
    changes = iter(world)
    seen = drive(IdSweep("", None, None, page_size), table, lambda: happen(table, disturbed, changes))
    assert seen >= {sys_id for sys_id, shown in visible.items() if shown} - disturbed


@given(rows_by_id, page_sizes, st.sets(st.integers(0, 30)))
def test_a_sweep_by_id_can_be_resumed_from_its_stored_position(
    visible: dict[str, bool], page_size: int, crashes: set[int]
) -> None:
    table = OrderedTable({sys_id: Row(sys_id, visible=shown) for sys_id, shown in visible.items()})
    sweep = IdSweep("", None, None, page_size)
    seen: set[str] = set()
    while (request := sweep.next_request()) is not None:
        rows, total = table.answer(request)
        seen.update(row.sys_id for row in rows)
        sweep.received([row.sys_id for row in rows], None, len(rows), total)
        if table.calls in crashes:
            sweep = IdSweep.resume(queries.EVERYTHING, json.loads(json.dumps(sweep.position)), page_size)
        assert table.calls < HIGH
    assert seen == {sys_id for sys_id, shown in visible.items() if shown}


seconds = st.integers(0, 4).map(lambda n: queries.stamp(NOON + timedelta(seconds=n)))


@st.composite
def changes_in_runs(draw: st.DrawFn) -> dict[str, tuple[str, bool]]:
    return {sys_id: (draw(seconds), shown) for sys_id, shown in draw(runs).items()}


changed_rows = changes_in_runs() | st.dictionaries(IDS, st.tuples(seconds, st.booleans()), max_size=40)


def table_of(changed: dict[str, tuple[str, bool]]) -> OrderedTable:
    return OrderedTable({i: Row(i, moment, visible=shown) for i, (moment, shown) in changed.items()})


@given(changed_rows, page_sizes, st.integers(-1, 4), IDS | st.just(""), st.integers(-1, 5))
@settings(max_examples=200)
def test_a_sweep_of_changes_reads_each_visible_change_between_its_cursor_and_hi(
    changed: dict[str, tuple[str, bool]], page_size: int, second: int, after: str, hi_second: int
) -> None:
    cursor, hi = Cursor(NOON + timedelta(seconds=second), after), NOON + timedelta(seconds=hi_second)
    start, end = queries.stamp(cursor.time), queries.stamp(hi)
    sweep = ChangeSweep(queries.EVERYTHING, cursor, hi, page_size)
    seen = drive(sweep, table_of(changed))
    due = {i for i, (t, _) in changed.items() if start < t <= end or (t == start and i > after)}
    assert seen == {i for i in due if changed[i][1]}
    assert sweep.hidden == sum(not changed[i][1] for i in due)


@given(changed_rows, page_sizes, steps())
@settings(max_examples=200)
def test_a_sweep_of_changes_loses_no_row_while_others_come_and_go(
    changed: dict[str, tuple[str, bool]], page_size: int, world: list[list[tuple[str, str, bool]]]
) -> None:
    table = table_of(changed)
    disturbed: set[str] = set()
    changes = iter(world)
    sweep = ChangeSweep("", Cursor(NOON - timedelta(hours=2)), NOON + timedelta(seconds=9), page_size)
    seen = drive(sweep, table, lambda: happen(table, disturbed, changes))
    assert seen >= {i for i, (_, shown) in changed.items() if shown} - disturbed


@given(changed_rows, page_sizes, st.sets(st.integers(0, 60)))
def test_a_sweep_of_changes_can_be_resumed_from_its_stored_position(
    changed: dict[str, tuple[str, bool]], page_size: int, crashes: set[int]
) -> None:
    table = table_of(changed)
    hi = NOON + timedelta(seconds=9)
    sweep = ChangeSweep("", Cursor(NOON), hi, page_size)
    seen: set[str] = set()
    while (request := sweep.next_request()) is not None:
        rows, total = table.answer(request)
        seen.update(row.sys_id for row in rows)
        last = rows[-1].sys_updated_on if rows else None
        sweep.received([row.sys_id for row in rows], last, len(rows), total)
        if table.calls in crashes:
            sweep = ChangeSweep.resume("", json.loads(json.dumps(sweep.position)), hi, page_size)
        assert table.calls < HIGH
    assert seen == {i for i, (_, shown) in changed.items() if shown}


@pytest.mark.trap("25")
def test_a_short_page_in_the_middle_is_measured_and_not_taken_for_the_end() -> None:
    """Page 2 comes without a count and short; only the count of a later answer could end the sweep, and it does not."""
    visible = [True] * 10 + [True, False] * 5 + [True] * 20
    table = OrderedTable({f"{n:02x}": Row(f"{n:02x}", visible=shown) for n, shown in enumerate(visible)})
    sweep = IdSweep("", None, None, 10)
    assert len(drive(sweep, table)) == 35
    assert sweep.hidden == 5


@pytest.mark.trap("25")
def test_rows_behind_a_block_of_hidden_rows_are_read_in_few_calls() -> None:
    """The simulation of the finding: ending at an empty page read 5,000 of these 18,000 rows."""
    table = OrderedTable()
    for number in range(20_000):
        table.insert(Row(f"{number:08x}", visible=not 5_000 <= number < 7_000))
    sweep = IdSweep("", None, None, 1_000)
    assert len(drive(sweep, table)) == 18_000
    assert sweep.hidden == 2_000
    assert table.calls <= 24


@pytest.mark.trap("29")
def test_a_hundred_thousand_rows_take_eleven_calls_and_three_counts() -> None:
    table = OrderedTable({f"{n:08x}": Row(f"{n:08x}") for n in range(100_000)})
    assert len(drive(IdSweep("", None, None, 10_000), table)) == 100_000
    assert (table.calls, table.counts) == (11, 3)


def test_a_shard_that_fits_a_page_takes_one_call() -> None:
    table = OrderedTable({f"{n:08x}": Row(f"{n:08x}") for n in range(900)})
    assert len(drive(IdSweep("", None, None, 1_000), table)) == 900
    assert table.calls == 1


def test_an_idle_stream_takes_two_calls() -> None:
    table = OrderedTable({"a": Row("a", queries.stamp(NOON))})
    assert drive(ChangeSweep("", Cursor(NOON, "a"), NOON + timedelta(seconds=5), 100), table) == set()
    assert table.calls == 2


def test_more_rows_in_one_second_than_a_page_holds_are_all_read() -> None:
    table = OrderedTable({f"{n:04x}": Row(f"{n:04x}", queries.stamp(NOON)) for n in range(1_000)})
    sweep = ChangeSweep("", Cursor(NOON - timedelta(seconds=1)), NOON, 30)
    assert len(drive(sweep, table)) == 1_000
    assert sweep.cursor == Cursor(NOON, f"{999:04x}")


def test_a_resumed_sweep_goes_on_behind_its_anchor_and_up_to_its_end() -> None:
    sweep = IdSweep("", "a", "m", 2)
    first(sweep)
    sweep.received(["b", "c"], None, 2, 9)
    assert first(IdSweep.resume("", sweep.position, 2)).query == "sys_id>c^sys_id<=m^ORDERBYsys_id"


def test_the_cursor_is_repeated_in_each_branch_of_the_users_filter() -> None:
    sweep = IdSweep(queries.parse("active=true^NQpriority=1^ORDERBYnumber"), "a", "b", 5)
    request = sweep.next_request()
    assert request is not None
    assert request.query == (
        "active=true^sys_id>a^sys_id<=b^NQpriority=1^sys_id>a^sys_id<=b^ORDERBYsys_id"  # his order would break ours
    )


def test_the_page_size_may_change_on_the_way() -> None:
    table = OrderedTable({f"{n:04x}": Row(f"{n:04x}", visible=n % 3 > 0) for n in range(200)})
    sweep = IdSweep("", None, None, 64)

    def shrink() -> None:
        sweep.page_size = max(1, sweep.page_size // 2)

    assert len(drive(sweep, table, shrink)) == 133
    assert sweep.hidden == 67


def first(sweep: IdSweep) -> PageRequest:
    request = sweep.next_request()
    assert request is not None
    return request


def test_an_instance_without_counts_is_an_error_and_not_an_end() -> None:
    sweep = IdSweep("", None, None, 2)
    assert first(sweep).with_count
    sweep.received(["a", "b"], None, 2, None)
    assert first(sweep).with_count
    with pytest.raises(Stop, match=r"count\.missing"):
        sweep.received([], None, 0, None)


@pytest.mark.parametrize(
    ("ids", "rows", "code"),
    [
        (["b", "b"], 2, "order.broken"),
        (["a", "b"], 2, "order.broken"),
        (["b", ""], 2, "rights.sys_id"),
        ([], 2, "rights.sys_id"),
    ],
)
def test_a_page_that_cannot_be_trusted_is_refused(ids: Sequence[str], rows: int, code: str) -> None:
    sweep = IdSweep("", "a", None, 5)
    first(sweep)
    with pytest.raises(Stop) as caught:
        sweep.received(ids, None, rows, 9)
    assert caught.value.code == code


def test_changes_without_their_time_are_refused() -> None:
    sweep = ChangeSweep("", Cursor(NOON), NOON + timedelta(seconds=1), 5)
    sweep.next_request()
    with pytest.raises(Stop) as caught:
        sweep.received(["a"], "", 1, 1)
    assert caught.value.code == "rights.sys_updated_on"


def test_an_answer_that_nobody_asked_for_is_a_bug() -> None:
    with pytest.raises(ValueError, match="nobody asked"):
        IdSweep("", None, None, 5).received([], None, 0, 0)
