"""A user is renamed: every row that shows the old name follows, whichever transaction was under way."""

import asyncio

import pytest

from nowbridge.replica.labels import rewrite_renamed
from nowbridge.store.rows import labels
from tests.support.replica import Bench

ADA = "a" * 32
BOB = "b" * 32


async def loaded(bench: Bench) -> None:
    bench.twin.instance.load(
        "sys_user",
        [
            {"sys_id": ADA, "user_name": "ada", "name": "Ada Old"},
            {"sys_id": BOB, "user_name": "bob", "name": "Bob, the second"},
        ],
    )
    bench.make_incidents(120, assigned_to=ADA, watch_list=f"{ADA},{BOB}")
    await bench.load("incident", "sys_user")
    assert await bench.rows("SELECT DISTINCT assigned_to, watch_list, watch_list__value FROM incident") == [
        ("Ada Old", ["Ada Old", "Bob, the second"], [ADA, BOB])
    ]


@pytest.mark.trap("23")
async def test_rows_that_show_the_old_name_are_rewritten_and_the_feed_stays_quiet(bench: Bench) -> None:
    await loaded(bench)
    bench.twin.instance.update("sys_user", ADA, {"name": "Ada New"}, user="admin")
    await bench.catch_up()
    assert await rewrite_renamed(bench.database, bench.connection_id, chunk=50) == 240
    assert await bench.rows("SELECT DISTINCT assigned_to, watch_list[1] FROM incident") == [("Ada New", "Ada New")]
    assert await bench.rows("SELECT count(*) FROM _sync_cdc WHERE table_name = 'incident' AND sys_id IS NOT NULL") == [
        (0,)
    ]
    assert (await bench.verify("incident")).equal
    await rewrite_renamed(bench.database, bench.connection_id)
    assert await bench.rows("SELECT count(*) FROM nowbridge.label_change") == [(0,)]


@pytest.mark.trap("23")
async def test_a_load_that_read_the_old_name_before_the_rename_leaves_no_stale_label(bench: Bench) -> None:
    """The merge opens, the rename commits and is propagated, then the merge commits the name it had read before."""
    await loaded(bench)
    async with bench.database.transaction() as merge:
        await labels.generation(merge, bench.connection_id)
        bench.twin.instance.update("sys_user", ADA, {"name": "Ada New"}, user="admin")
        await bench.catch_up()
        await rewrite_renamed(bench.database, bench.connection_id)
        await merge.execute("UPDATE incident SET assigned_to = 'Ada Old' WHERE number = 'INC0000005'")
    await rewrite_renamed(bench.database, bench.connection_id)
    assert await bench.rows("SELECT DISTINCT assigned_to FROM incident") == [("Ada New",)]
    await rewrite_renamed(bench.database, bench.connection_id)
    assert await bench.rows("SELECT count(*) FROM nowbridge.label_change") == [(0,)]


async def test_words_in_memory_are_dropped_when_somebody_else_renames(bench: Bench) -> None:
    await loaded(bench)
    other = bench.open_replica("worker-2")
    bench.twin.instance.update("incident", f"{0:032x}", {"short_description": "first"}, user="admin")
    assert await bench.catch_up(other) == 1
    bench.twin.instance.update("sys_user", ADA, {"name": "Ada New"}, user="admin")
    assert await bench.catch_up() == 1
    bench.twin.instance.update("incident", f"{0:032x}", {"short_description": "second"}, user="admin")
    assert await bench.catch_up(other) == 1
    assert await bench.rows("SELECT assigned_to FROM incident WHERE short_description = 'second'") == [("Ada New",)]


@pytest.mark.trap("23")
async def test_rows_that_a_client_holds_are_left_out_and_done_later(bench: Bench) -> None:
    await loaded(bench)
    bench.twin.instance.update("sys_user", ADA, {"name": "Ada New"}, user="admin")
    await bench.catch_up()
    async with bench.database.transaction() as client:
        await client.execute("SELECT 1 FROM incident WHERE number = 'INC0000003' FOR UPDATE")
        await rewrite_renamed(bench.database, bench.connection_id)
        left = await bench.rows("SELECT number FROM incident WHERE assigned_to = 'Ada Old'")
        assert left == [("INC0000003",)]
    await rewrite_renamed(bench.database, bench.connection_id)
    assert await bench.rows("SELECT DISTINCT assigned_to FROM incident") == [("Ada New",)]


async def test_a_user_of_a_table_that_is_not_replicated_is_followed_too(bench: Bench) -> None:
    bench.twin.instance.load("sys_user", [{"sys_id": ADA, "user_name": "ada", "name": "Ada Old"}])
    bench.make_incidents(60, assigned_to=ADA, watch_list=ADA)
    await bench.load("incident")
    bench.twin.instance.clock.advance(10)
    bench.twin.instance.update("sys_user", ADA, {"name": "Ada New"}, user="admin")
    bench.twin.instance.insert("sys_user", {"user_name": "somebody", "name": "Somebody else"}, user="admin")
    bench.twin.instance.clock.advance(10)
    bench.now.pass_(seconds=20)
    followed = {}
    while (done := await bench.replica.follow_labels()) is not None:
        assert done.error is None, done
        followed[done.table] = done.renamed
    assert followed["sys_user"] == 1
    assert await rewrite_renamed(bench.database, bench.connection_id) == 120
    assert await bench.rows("SELECT DISTINCT assigned_to, watch_list FROM incident") == [("Ada New", ["Ada New"])]
    assert (await bench.verify("incident")).equal


async def test_a_rename_while_the_users_rows_are_being_merged_reaches_all_of_them(bench: Bench) -> None:
    """Pages of rows that show the user arrive all the while: before, during and after the rename is carried out."""
    await loaded(bench)
    other = bench.open_replica("worker-2")
    for round_ in range(4):
        for at in range(round_ * 20, round_ * 20 + 20):
            changed = {"short_description": f"round {round_}"}
            bench.twin.instance.update("incident", f"{at * 2**128 // 120:032x}", changed, user="admin")
        if round_ == 1:
            bench.twin.instance.update("sys_user", ADA, {"name": "Ada New"}, user="admin")
        merging = asyncio.create_task(bench.catch_up(other if round_ % 2 else None))
        while not merging.done():
            await rewrite_renamed(bench.database, bench.connection_id, chunk=7)
            await asyncio.sleep(0)
        await merging
    for _ in range(2):
        await rewrite_renamed(bench.database, bench.connection_id)
    assert await bench.rows("SELECT DISTINCT assigned_to, watch_list[1] FROM incident") == [("Ada New", "Ada New")]
    assert await bench.rows("SELECT count(*) FROM nowbridge.label_change") == [(0,)]
    assert (await bench.verify("incident")).equal
