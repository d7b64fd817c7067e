"""Filters: encoded queries go out unchanged, and a term relative to now limits what is fetched, never what is kept."""

import dataclasses

import pytest

from nowbridge.replica.spec import TableSpec
from nowbridge.replica.verify import Level
from tests.support.replica import Bench

RECENT = "sys_created_onRELATIVEGT@hour@ago@2"
FIXED = "active=true^priority<=2^NQcategory=network"


@pytest.mark.req("S66")
async def test_a_filter_goes_out_as_it_was_written(bench: Bench) -> None:
    bench.make_incidents(20, active="true", priority="1")
    bench.twin.instance.calls.clear()
    await bench.load(TableSpec("incident", query=FIXED))
    asked = [
        call.params["sysparm_query"]
        for call in bench.twin.instance.calls.entries
        if call.path == "/api/now/table/incident" and "short_description" in call.params["sysparm_fields"]
    ]
    assert asked
    for query in asked:
        first, _, second = query.partition("^NQ")
        assert first.startswith("active=true^priority<=2")
        assert second.startswith("category=network")


@pytest.mark.req("S65", "S67")
async def test_a_filter_by_a_script_of_the_instance_goes_out_as_it_is_and_spares_all_other_rows(bench: Bench) -> None:
    lately = "active=true^sys_updated_on>=javascript:gs.hoursAgoStart(1)"
    instance = bench.twin.instance
    stamp = instance.clock.stamp()
    old = {"name": "old", "active": "true", "sys_updated_on": "2020-01-01 00:00:00"}
    instance.load("sys_user_group", [{"sys_id": f"{at:032x}", **old} for at in range(120)])
    instance.load("sys_user_group", [{"sys_id": "f" * 32, "name": "new", "active": "true", "sys_updated_on": stamp}])
    instance.calls.clear()
    await bench.load(TableSpec("sys_user_group", query=lately))
    reads = [
        call.params["sysparm_query"]
        for call in instance.calls.entries
        if call.path == "/api/now/table/sys_user_group" and "description" in call.params.get("sysparm_fields", "")
    ]
    assert reads
    assert [query for query in reads if not query.startswith(lately)] == []
    assert len(reads) < 120 / bench.pace.page_rows + 2, "without the filter it takes a call for every page"
    assert await bench.rows("SELECT name FROM sys_user_group") == [("new",)]


@pytest.mark.parametrize(("rows", "page"), [(60, 20), (130, 10_000)], ids=["by id", "by a listing"])
async def test_rows_that_have_left_a_relative_filter_are_kept_compared_and_deleted(
    bench: Bench, rows: int, page: int
) -> None:
    """They age out of the filter: nothing is deleted for it; a change or deletion since is found all the same."""
    ids = bench.make_incidents(rows)
    await bench.load(TableSpec("incident", query=RECENT))
    assert await bench.rows("SELECT count(*) FROM incident") == [(rows,)]
    await bench.let_pass(3 * 3600)
    bench.replica.upkeep = dataclasses.replace(
        bench.replica.upkeep, verifier=dataclasses.replace(bench.replica.verifier, keys_a_page=page)
    )
    fresh = bench.twin.instance.insert("incident", {"short_description": "fresh"})
    await bench.catch_up()
    bench.twin.instance.update("incident", ids[5], {"short_description": "changed when out of the filter"})
    bench.twin.instance.delete("incident", ids[6])
    await bench.let_pass(10)
    assert await bench.catch_up() == 0

    done = await bench.tend("compare")
    assert (done.wrong, done.removed, done.held) == (2, 1, None)
    found = await bench.rows("SELECT sys_id, short_description FROM incident ORDER BY sys_id")
    held = dict(found)
    assert len(held) == rows
    assert fresh.sys_id in held
    assert ids[6] not in held
    assert held[ids[5]] == "changed when out of the filter"
    assert (await bench.tend("compare")).wrong == 0
    assert (await bench.verify("incident", level=Level.CONTENT)).equal
    assert done.calls < 12


async def test_what_a_relative_filter_has_never_fetched_stays_out(bench: Bench) -> None:
    bench.make_incidents(30, sys_created_on="2020-01-01 00:00:00", sys_updated_on="2020-01-01 00:00:00")
    fresh = bench.twin.instance.insert("incident", {"short_description": "fresh"})
    await bench.load(TableSpec("incident", query=RECENT))
    await bench.let_pass(10)
    await bench.catch_up()
    for level in Level:
        verdict = await bench.verify("incident", level=level, repair=True)
        assert verdict.equal, (level, verdict)
    assert await bench.rows("SELECT sys_id FROM incident") == [(fresh.sys_id,)]
