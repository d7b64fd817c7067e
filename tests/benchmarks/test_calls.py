"""The figures of the benchmarks that are counts, at a scale at which a test can afford them."""

from __future__ import annotations

import pytest

from benchmarks import load_calls, verify_calls
from nowtwin.testing import RunningServer

ROWS = 20_000


@pytest.fixture
def filled(twin: RunningServer) -> RunningServer:
    """The instance with that many locations of random ids."""
    twin.instance.load(
        load_calls.TABLE,
        (
            {"sys_id": key, "sys_mod_count": changes, "sys_updated_on": stamp, "sys_created_on": stamp}
            for key, changes, stamp in verify_calls.rows(ROWS)
        ),
    )
    return twin


async def test_the_data_of_a_table_takes_at_most_two_and_a_half_calls_a_page(
    filled: RunningServer, database_dsn: str
) -> None:
    """Ten pages hold the table, as 100,000 rows in pages of 10,000; the bar for those is 25 calls."""
    assert load_calls.PAGES_OF <= await load_calls.load(filled, database_dsn, ROWS) <= load_calls.BAR


async def test_to_verify_takes_no_more_calls_than_are_allowed(filled: RunningServer, database_dsn: str) -> None:
    """A check asks for figures alone, so its calls do not grow with the table; to prove keys takes a call for 10,000."""
    checked, proven, found = [verdict for verdict, _ in await verify_calls.measure(filled, database_dsn, ROWS)]
    assert (checked.wrong, proven.wrong, found.wrong) == (0, 0, 1)
    assert checked.calls <= 17
    assert proven.calls <= ROWS // 10_000 + 10
    assert found.calls <= 60
