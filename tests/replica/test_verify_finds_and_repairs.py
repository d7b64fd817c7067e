"""Every way in which a replica can differ from its source is found, named and mended; nothing else is."""

from tests.support.replica import Bench


async def test_rows_missing_extra_and_altered_are_found_and_mended(bench: Bench) -> None:
    ids = bench.make_incidents(150)
    await bench.load("incident")
    async with bench.database.transaction() as connection:
        await connection.execute("DELETE FROM incident WHERE number = 'INC0000010'")
        await connection.execute(
            "UPDATE incident SET short_description = 'x', active = true WHERE number = 'INC0000020'"
        )
    bench.twin.instance.delete("incident", ids[30])
    found = await bench.verify("incident")
    assert not found.equal
    assert found.missing == [ids[10]]
    assert [(d.sys_id, set(d.columns)) for d in found.differing] == [(ids[20], {"short_description", "active"})]
    assert found.extra == [ids[30]]
    assert await bench.rows("SELECT level, rows::int, differing::int, repaired::int FROM nowbridge.proof") == [
        ("proven by content", 149, 3, 0)
    ]
    mended = await bench.verify("incident", repair=True)
    assert mended.repaired == 3
    assert mended.equal
    assert (await bench.verify("incident")).wrong == 0
    feed = await bench.rows("SELECT sys_id, operation, source FROM _sync_cdc WHERE sys_id IS NOT NULL ORDER BY sys_id")
    assert feed == [(ids[10], "insert", "verify"), (ids[20], "repair", "verify"), (ids[30], "delete", "verify")]


async def test_a_change_that_the_stream_is_still_to_bring_is_no_difference(bench: Bench) -> None:
    ids = bench.make_incidents(20)
    await bench.load("incident")
    bench.twin.instance.clock.advance(10)
    bench.twin.instance.update("incident", ids[5], {"short_description": "just now"}, user="admin")
    verdict = await bench.verify("incident", seconds_ago=5)
    assert verdict.equal
    assert verdict.pending == 1
    await bench.catch_up()
    assert (await bench.verify("incident")).pending == 0


async def test_a_wrong_label_is_found(bench: Bench) -> None:
    bench.twin.instance.load("sys_user", [{"sys_id": "a" * 32, "user_name": "ada", "name": "Ada"}])
    bench.make_incidents(3, assigned_to="a" * 32)
    await bench.load("incident")
    async with bench.database.transaction() as connection:
        await connection.execute("UPDATE nowbridge.label SET label = 'Eve' WHERE key = %s", ("a" * 32,))
        await connection.execute("UPDATE incident SET assigned_to = 'Eve'")
    bench.replica.labeller.forget()
    verdict = await bench.verify("incident")
    assert not verdict.equal
    assert {column for _, column in verdict.wrong_labels} == {"assigned_to"}
