"""A deleted row comes back; a page that was read before the deletion does not bring it back."""

import json
from datetime import timedelta

import pytest

from nowbridge.replica.verify import Level
from nowbridge.servicenow import tables as source
from nowbridge.servicenow.wire import PageDecoder
from nowbridge.store.rows import tombstones
from nowbridge.store.rows.load import Merged
from tests.support.replica import Bench


async def test_an_undeleted_row_with_its_old_version_is_found_by_its_key(bench: Bench) -> None:
    """Undelete restores the record as it was, so no change tells of it."""
    ids = bench.make_incidents(20, sys_mod_count="4")
    await bench.load("incident")
    before = bench.twin.instance.read("incident", ids[3])
    assert before is not None
    await bench.let_pass(10)
    bench.twin.instance.delete("incident", ids[3], user="admin")
    await bench.let_pass(2)
    assert (await bench.tend("audit")).removed == 1
    bench.twin.instance.load("incident", [before])
    await bench.let_pass(10)
    verdict = await bench.verify("incident", level=Level.PROVEN, repair=True)
    assert (verdict.missing, verdict.equal) == ([ids[3]], True)
    assert await bench.rows("SELECT count(*) FROM incident") == [(20,)]
    assert await bench.rows("SELECT count(*) FROM nowbridge.tombstone") == [(0,)]


async def test_a_row_made_anew_under_its_old_id_is_taken_from_the_change_stream(bench: Bench) -> None:
    ids = bench.make_incidents(20, sys_mod_count="4")
    await bench.load("incident")
    await bench.let_pass(10)
    bench.twin.instance.delete("incident", ids[3], user="admin")
    await bench.let_pass(2)
    assert (await bench.tend("audit")).removed == 1
    await bench.let_pass(10)
    bench.twin.instance.insert("incident", {"sys_id": ids[3], "short_description": "again"}, user="admin")
    await bench.catch_up()
    assert await bench.rows(f"SELECT short_description FROM incident WHERE sys_id = '{ids[3]}'") == [("again",)]


async def test_a_deletion_that_is_heard_of_late_takes_no_row_that_was_made_anew_since(bench: Bench) -> None:
    ids = bench.make_incidents(5)
    await bench.load("incident")
    await bench.let_pass(10)
    bench.twin.instance.delete("incident", ids[3], user="admin")
    await bench.let_pass(10)
    bench.twin.instance.insert("incident", {"sys_id": ids[3], "short_description": "again"}, user="admin")
    await bench.catch_up()
    row = await bench.rows(f"SELECT sys_updated_on FROM incident WHERE sys_id = '{ids[3]}'")
    target = (await bench.replica.loader(await bench.table_id("incident"))).target
    async with bench.database.transaction() as connection:
        proved = {ids[3]: row[0][0] - timedelta(seconds=5)}
        removed = await tombstones.bury(
            connection, await bench.table_id("incident"), target, proved, source="journal", now=bench.now()
        )
    assert removed == []
    assert await bench.rows("SELECT count(*) FROM incident") == [(5,)]


async def test_a_row_made_anew_before_its_deletion_was_heard_of_is_newer_whatever_its_version_counts(
    bench: Bench,
) -> None:
    ids = bench.make_incidents(5, sys_mod_count="4")
    await bench.load("incident")
    await bench.let_pass(10)
    bench.twin.instance.delete("incident", ids[3], user="admin")
    bench.twin.instance.insert("incident", {"sys_id": ids[3], "short_description": "again"}, user="admin")
    await bench.let_pass(2)
    await bench.catch_up()
    row = f"SELECT short_description, sys_mod_count FROM incident WHERE sys_id = '{ids[3]}'"
    assert await bench.rows(row) == [("again", 0)]


@pytest.mark.trap("30")
async def test_a_late_page_does_not_revive_a_deleted_row(bench: Bench) -> None:
    ids = bench.make_incidents(5)
    await bench.load("incident")
    loader = await bench.replica.loader(await bench.table_id("incident"))
    answer = await source.read_records(bench.replica.instance, "incident", ids, loader.layout.fetched)
    late = json.loads(answer.body)
    for record in late["result"]:
        record["sys_mod_count"] = "1"  # an update before the deletion, on its way while the row is deleted
    await bench.let_pass(10)
    bench.twin.instance.delete("incident", ids[3], user="admin")
    await bench.let_pass(2)
    assert (await bench.tend("audit")).removed == 1
    page = PageDecoder(loader.layout.fetched).decode(json.dumps(late).encode())

    async def after(connection: object, merged: Merged) -> None:
        del connection
        assert merged.changed == 4

    await loader.merge_changes(page, after)
    assert await bench.rows("SELECT count(*) FROM incident") == [(4,)]


async def test_a_soft_delete_keeps_the_record_and_its_return_takes_it_back(bench: Bench) -> None:
    ids = bench.make_incidents(5)
    await bench.load("incident")
    async with bench.database.transaction() as connection:
        await connection.execute("UPDATE nowbridge.replica_table SET delete_mode = 'soft'")
    await bench.let_pass(10)
    bench.twin.instance.delete("incident", ids[3], user="admin")
    await bench.let_pass(2)
    assert (await bench.tend("audit")).removed == 1
    kept = "SELECT table_name, sys_id, record->>'number' FROM _sync_deleted"
    assert await bench.rows(kept) == [("incident", ids[3], "INC0000003")]
    assert await bench.rows("SELECT count(*) FROM incident") == [(4,)]
    await bench.let_pass(10)
    bench.twin.instance.insert("incident", {"sys_id": ids[3], "short_description": "again"}, user="admin")
    await bench.catch_up()
    assert await bench.rows(kept) == []
    assert await bench.rows("SELECT count(*) FROM incident") == [(5,)]
