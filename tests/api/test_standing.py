"""How everything stands, in figures."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from nowbridge.api.standing import Standing, as_json, seconds_left, total_words
from tests.api.test_health import NOW, table


def test_a_first_load_says_how_long_it_will_still_take() -> None:
    """By its speed so far; rows that the account does not see are not waited for."""
    begun = NOW - timedelta(seconds=100)
    loading = replace(
        table("backfill", None), started_at=begun, backfilled_at=None, loaded=20_000, total_count=61_000, hidden=1_000
    )
    assert seconds_left(loading, NOW) == 200
    assert total_words(loading, NOW) == "61,000, 3 min left"
    told = as_json(Standing(NOW, (loading,), ()))["tables"]
    assert isinstance(told, list)
    assert told[0]["seconds_left"] == 200
    assert total_words(replace(loading, loaded=60_000), NOW) == "61,000, 0.0 s left"
    assert total_words(replace(loading, loaded=0), NOW) == "61,000", "there is no speed yet"
    assert total_words(replace(loading, paused_at=NOW), NOW) == "61,000"
    assert total_words(replace(loading, phase="live"), NOW) == ""
