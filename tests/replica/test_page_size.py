"""Pages are as large as the setting says, unless they are too heavy for the instance or for us."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from nowbridge.replica.page_size import HEAVY_BYTES, HEAVY_SECONDS, LEAST, PageSize
from nowtwin.behaviour.faults import FaultRule
from tests.support.replica import Bench


def test_a_page_that_is_too_heavy_is_followed_by_one_as_much_smaller() -> None:
    assert PageSize(2_000, 2_000).after(2_000, 2 * HEAVY_BYTES, 1).rows == 1_000
    assert PageSize(2_000, 2_000).after(2_000, 1_000, 3 * HEAVY_SECONDS).rows == 666
    assert PageSize(2_000, 2_000).after(2_000, 1_000, 50 * HEAVY_SECONDS).rows == 500, "not to nothing at once"


def test_light_full_pages_grow_back_to_the_setting() -> None:
    size = PageSize.first(2_000, failures=3)
    assert size.rows == 250
    for expected in (500, 1_000, 2_000, 2_000):
        size = size.after(size.rows, 1_000, 0.1)
        assert size.rows == expected


def test_a_short_page_says_nothing_about_larger_ones() -> None:
    assert PageSize(2_000, 500).after(20, 1_000, 0.1).rows == 500


@given(
    most=st.integers(1, 10_000),
    failures=st.integers(0, 100),
    pages=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10**9), st.floats(0, 600))),
)
def test_it_stays_between_the_least_and_the_setting(
    most: int, failures: int, pages: list[tuple[int, int, float]]
) -> None:
    size = PageSize.first(most, failures)
    for page in pages:
        size = size.after(*page)
        assert min(LEAST, most) <= size.rows <= most


async def test_a_table_whose_pages_are_cancelled_is_read_in_smaller_ones(bench: Bench) -> None:
    """Each failure halves the page that the next try begins with, until the instance can answer."""
    bench.pace = bench.pace.__class__(page_rows=800, poll=bench.pace.poll, safety_lag=bench.pace.safety_lag)
    bench.replica.pace = bench.pace
    bench.make_incidents(500)
    await bench.add("incident")
    await bench.replica.prepare()
    bench.twin.instance.faults.arm([FaultRule(kind="error_in_body", table="incident", count=10)])
    bench.twin.instance.calls.clear()
    for _ in range(4):
        await bench.load_shards()
        bench.now.pass_(minutes=10)
    asked = [c.params["sysparm_limit"] for c in bench.twin.instance.calls.entries if c.path.endswith("/table/incident")]
    assert asked[0] == "800"
    assert {"400", "200"} <= set(asked)
    assert asked[-1] == "400", "the next after a full light page is larger"
    assert await bench.rows("SELECT count(*) FROM incident") == [(500,)]


async def test_changes_that_are_cancelled_are_read_in_smaller_pages_that_grow_back(bench: Bench) -> None:
    bench.replica.pace = bench.pace = replace(bench.pace, page_rows=400)
    ids = bench.make_incidents(350)
    await bench.load("incident")
    await bench.catch_up()
    stamp = bench.twin.instance.clock.stamp()
    changed = [{"sys_id": key, "sys_updated_on": stamp, "sys_mod_count": "7"} for key in ids]
    bench.twin.instance.load("incident", changed)
    bench.twin.instance.clock.advance(60)
    bench.twin.instance.faults.arm([FaultRule(kind="error_in_body", table="incident", count=10)])
    bench.twin.instance.calls.clear()
    for _ in range(4):
        bench.now.pass_(minutes=10)
        for stream in await bench.replica.claim_due_streams(1):
            await bench.replica.poll(stream)
    asked = [c.params["sysparm_limit"] for c in bench.twin.instance.calls.entries if c.path.endswith("/table/incident")]
    assert (asked[0], asked[11:14]) == ("400", ["100", "200", "400"])
    assert await bench.rows("SELECT count(*) FROM incident WHERE sys_mod_count = 7") == [(350,)]
