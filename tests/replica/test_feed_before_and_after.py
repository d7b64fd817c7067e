"""The change feed says what was there before, also where Postgres plans the merge of a page another way."""

from __future__ import annotations

import pytest

from tests.support.replica import Bench


@pytest.mark.parametrize("rows", [3, 2_000])
async def test_only_what_changed_is_in_the_feed_with_its_old_value(bench: Bench, rows: int) -> None:
    ids = bench.make_incidents(rows, state="1")
    await bench.load("incident")
    async with bench.database.session() as connection:
        await connection.execute("ANALYZE incident")  # with statistics a large table is joined by its index
    changed = ids[:: max(1, rows // 40)]
    for sys_id in changed:
        bench.twin.instance.update("incident", sys_id, {"short_description": "changed"})
    assert await bench.catch_up() == len(changed)
    feed = await bench.rows(
        "SELECT c.sys_id, c.operation, c.changes -> 'short_description' ->> 0, c.changes ? 'number', c.changes ? 'state'"
        " FROM _sync_cdc AS c WHERE table_name = 'incident' AND operation <> 'backfill' ORDER BY sys_id"
    )
    assert feed == [(sys_id, "update", f"no {ids.index(sys_id)}", False, False) for sys_id in changed]
