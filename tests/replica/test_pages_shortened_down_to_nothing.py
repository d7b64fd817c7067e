"""Access rules take rows out of pages after they were cut, down to empty pages while more rows follow: in a load
(test_rows_hidden_by_access_rules has its cases), in the changes of one second, in a listing of keys.
"""

from __future__ import annotations

import pytest

from nowbridge.replica.verify import Level
from nowtwin.access.hiding import HideRule
from tests.support.replica import Bench


def hide(bench: Bench, query: str) -> None:
    bench.twin.instance.access.rules.append(HideRule("incident", query=query, user="admin"))


@pytest.mark.trap("25")
async def test_a_load_with_one_visible_row_at_the_very_end(bench: Bench) -> None:
    bench.make_incidents(400)
    hide(bench, "number!=INC0000399")
    await bench.load("incident")
    assert await bench.rows("SELECT number FROM incident") == [("INC0000399",)]
    assert await bench.rows("SELECT sum(hidden)::int FROM nowbridge.shard") == [(399,)]


@pytest.mark.trap("25")
@pytest.mark.parametrize("seconds", [1, 40])
async def test_changes_behind_pages_of_hidden_changes(bench: Bench, seconds: int) -> None:
    """200 rows change, 199 of them out of sight, in one second or over many."""
    keys = bench.make_incidents(200)
    hide(bench, "number!=INC0000199")
    await bench.load("incident")
    await bench.let_pass(5)
    bench.twin.instance.clock.freeze()
    for at, key in enumerate(keys):
        bench.twin.instance.update("incident", key, {"short_description": "changed"}, user="admin")
        if at % 5 == 0 and seconds > 1:
            bench.twin.instance.clock.advance(1)
    bench.twin.instance.clock.run(1.0)
    await bench.catch_up()
    assert await bench.rows("SELECT number, short_description FROM incident") == [("INC0000199", "changed")]


@pytest.mark.trap("25")
@pytest.mark.parametrize("level", [Level.PROVEN, Level.CONTENT])
async def test_a_comparison_behind_empty_pages(bench: Bench, level: Level) -> None:
    bench.make_incidents(400)
    hide(bench, "number<INC0000390")
    await bench.load("incident")
    await bench.catch_up()
    async with bench.database.transaction() as connection:
        await connection.execute("DELETE FROM incident WHERE number = 'INC0000395'")
    verdict = await bench.verify("incident", repair=True, level=level)
    assert (len(verdict.missing), len(verdict.extra), verdict.hidden) == (1, 0, 390)
    assert await bench.rows("SELECT count(*) FROM incident") == [(10,)]
