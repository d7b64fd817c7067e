"""A table is read to its end, follows its source, and is proved equal."""

from dataclasses import replace

import pytest

from nowbridge.replica.spec import TableSpec
from nowtwin import seeds
from tests.support.replica import Bench


@pytest.mark.req("Q17", "Q31", "Q36", "Q37", "Q38", "Q39", "Q40", "Q41", "Q42", "Q43", "Q45")
async def test_a_loaded_table_shows_what_people_read_and_equals_its_source(bench: Bench) -> None:
    seeds.load_demo(bench.twin.instance)
    await bench.load("incident")
    rows = await bench.rows(
        "SELECT number, state, state__value, priority, assigned_to, assigned_to__value, closed_at FROM incident"
        " WHERE assigned_to IS NOT NULL ORDER BY number"
    )
    assert len(rows) > 10
    verdict = await bench.verify("incident")
    assert verdict.equal
    assert verdict.rows == bench.twin.instance.count("incident")
    assert verdict.labels_compared > 100
    assert ("Closed", 7) in {(row[1], row[2]) for row in rows}


@pytest.mark.trap("22")
async def test_an_empty_range_is_copied_straight_in_and_one_with_rows_is_merged(bench: Bench) -> None:
    staged = "SELECT count(*) > 0 FROM pg_class WHERE relname LIKE 'stage\\_%'"
    ids = bench.make_incidents(120, assigned_to="a" * 32, state="2")
    bench.twin.instance.load("sys_user", [{"sys_id": "a" * 32, "name": "Ada"}])
    await bench.load("incident")
    assert await bench.rows(staged) == [(False,)]
    assert await bench.rows("SELECT count(*) FROM incident WHERE assigned_to = 'Ada' AND state = 'In Progress'") == [
        (120,)
    ]
    await bench.rows(f"DELETE FROM incident WHERE sys_id = '{ids[7]}' RETURNING 1")
    await bench.rows("UPDATE incident SET sys_mod_count = 99 RETURNING 1")
    await bench.rows("UPDATE nowbridge.shard SET done_at = NULL, position = NULL RETURNING 1")
    await bench.rows("UPDATE nowbridge.replica_table SET phase = 'backfill' RETURNING 1")
    await bench.load_shards()
    assert await bench.rows(staged) == [(True,)]
    newer = "SELECT count(*) FILTER (WHERE sys_mod_count = 99), count(*) FROM incident"
    assert await bench.rows(newer) == [(119, 120)], "what is newer here stays, what was missing came"


async def test_changes_follow_and_each_is_in_the_feed_once(bench: Bench) -> None:
    seeds.load_demo(bench.twin.instance)
    await bench.load("incident", TableSpec("sys_user"))
    instance = bench.twin.instance
    sys_id, before = (await bench.rows("SELECT sys_id, short_description FROM incident ORDER BY number LIMIT 1"))[0]
    instance.update("incident", sys_id, {"short_description": "It broke", "state": "2"}, user="admin")
    made = instance.insert("incident", {"short_description": "Another"}, user="admin")
    assert await bench.catch_up() >= 2
    assert await bench.catch_up() == 0
    feed = await bench.rows(
        "SELECT sys_id, operation, changes->'short_description' FROM _sync_cdc WHERE table_name = 'incident'"
        " AND operation <> 'backfill' ORDER BY id"
    )
    assert [(row[0], row[1]) for row in feed] == [(sys_id, "update"), (made.sys_id, "insert")]
    assert before
    assert feed[0][2] == [before, "It broke"]
    assert (await bench.verify("incident")).equal


async def test_a_table_is_indexed_when_it_goes_live_whether_before_its_rows_or_after(
    bench: Bench,
) -> None:
    """Small tables are indexed before their rows come in, large ones after; here `problem` counts as large."""
    seeds.load_demo(bench.twin.instance)
    query = "SELECT tablename, indexname FROM pg_indexes WHERE schemaname = 'public' AND tablename = ANY('{incident,problem}')"
    await bench.add("incident")
    await bench.replica.prepare()
    before = {index for table, index in await bench.rows(query) if table == "incident"}
    assert {"incident_number_idx", "incident_sys_updated_on_idx"} <= before
    bench.replica.pace = replace(bench.pace, indexed_first=0)
    await bench.add("problem")
    await bench.replica.prepare()
    assert "problem_number_idx" not in {index for _, index in await bench.rows(query)}
    await bench.load_shards()
    assert {"problem_number_idx", "problem_sys_updated_on_idx"} <= {index for _, index in await bench.rows(query)}
    assert await bench.rows("SELECT DISTINCT phase FROM nowbridge.replica_table") == [("live",)]
