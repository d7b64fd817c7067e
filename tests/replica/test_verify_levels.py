"""The levels of verify: what each finds, what each may claim, and what it costs."""

import asyncio

import pytest

from nowbridge.model.errors import Stop
from nowbridge.replica.run import Replica
from nowbridge.replica.verify import Level, Order, Verdict
from nowtwin.access.hiding import HideRule
from tests.support.replica import Bench

SMALL = 20
"""Keys a page, so that a few hundred rows make a tree: a part of more than sixteen pages is divided."""


async def verify(bench: Bench, level: Level, *, repair: bool = False, page: int = SMALL) -> Verdict:
    """Verify incident as the worker does, as of where its change stream stands."""
    replica: Replica = bench.replica
    object.__setattr__(replica.verifier, "keys_a_page", page)
    loader = await replica.loader(await bench.table_id("incident"))
    [(proven_to,)] = await bench.rows("SELECT proven_to FROM nowbridge.stream")
    return await replica.verifier.verify(loader, Order(proven_to, repair=repair), level)


async def loaded(bench: Bench, rows: int = 600) -> list[str]:
    ids = bench.make_incidents(rows, sys_mod_count="2", sys_updated_on="2025-01-01 00:00:00")
    await bench.load("incident")
    await bench.let_pass(60)
    await bench.catch_up()
    return ids


async def test_equal_tables_are_checked_in_two_calls(bench: Bench) -> None:
    await loaded(bench)
    verdict = await verify(bench, Level.CHECKED)
    assert (verdict.equal, verdict.rows, verdict.calls) == (True, 600, 2)
    assert await bench.rows("SELECT level, rows::int, calls::int FROM nowbridge.proof") == [("checked", 600, 2)]


@pytest.mark.parametrize("what", ["missing", "stale", "extra"])
async def test_one_bad_row_is_found_by_counts_and_repaired(bench: Bench, what: str) -> None:
    ids = await loaded(bench)
    async with bench.database.transaction() as connection:
        if what == "missing":
            await connection.execute("DELETE FROM incident WHERE sys_id = %s", (ids[77],))
        elif what == "stale":
            await connection.execute(
                "UPDATE incident SET sys_mod_count = 1, short_description = 'old' WHERE sys_id = %s", (ids[77],)
            )
        else:
            await connection.execute(
                "INSERT INTO incident (sys_id, sys_mod_count, sys_updated_on) VALUES (%s, 2, '2025-01-01')",
                ("71" * 16,),
            )
    found = await verify(bench, Level.CHECKED)
    bad = {"missing": found.missing, "stale": [d.sys_id for d in found.differing], "extra": found.extra}
    assert {kind: len(ids) for kind, ids in bad.items()} == {"missing": 0, "stale": 0, "extra": 0} | {what: 1}
    assert not found.equal
    assert found.calls < 2 + 16 + 5
    assert (await verify(bench, Level.CHECKED, repair=True)).equal
    after = await verify(bench, Level.CHECKED)
    assert (after.equal, after.calls) == (True, 2)


@pytest.mark.trap("26")
async def test_a_missed_insert_and_a_missed_delete_that_cancel_out_are_not_called_proven(bench: Bench) -> None:
    """Same sys_mod_count, same times: every count agrees. Checked says so and claims no more; proven finds both."""
    ids = await loaded(bench)
    async with bench.database.transaction() as connection:
        await connection.execute("UPDATE incident SET sys_id = %s WHERE sys_id = %s", (ids[77][:-1] + "7", ids[77]))
    checked = await verify(bench, Level.CHECKED)
    assert checked.equal
    assert checked.level == "checked"
    assert await bench.rows("SELECT DISTINCT level FROM nowbridge.proof") == [("checked",)]
    proven = await verify(bench, Level.PROVEN)
    assert (proven.missing, proven.extra) == ([ids[77]], [ids[77][:-1] + "7"])
    assert not proven.equal
    assert (await verify(bench, Level.PROVEN, repair=True)).equal
    assert (await verify(bench, Level.PROVEN)).wrong == 0


async def test_a_changed_value_under_the_same_version_is_found_by_content_alone(bench: Bench) -> None:
    ids = await loaded(bench)
    async with bench.database.transaction() as connection:
        await connection.execute("UPDATE incident SET short_description = 'x' WHERE sys_id = %s", (ids[77],))
    assert (await verify(bench, Level.CHECKED)).equal
    assert (await verify(bench, Level.PROVEN)).equal
    assert not (await verify(bench, Level.CONTENT)).equal


@pytest.mark.trap("27")
async def test_a_group_of_hidden_rows_is_counted_out_of_the_check(bench: Bench) -> None:
    bench.twin.instance.access.rules.append(HideRule("incident", query="numberENDSWITH7", user="admin"))
    ids = await loaded(bench)
    first = await verify(bench, Level.CHECKED)
    assert (first.equal, first.rows, first.hidden) == (True, 540, 60)
    again = await verify(bench, Level.CHECKED)
    assert (again.equal, again.rows, again.hidden, again.calls) == (True, 540, 60, 2)

    # A visible row that is missing is found all the same, one level deep.
    async with bench.database.transaction() as connection:
        await connection.execute("DELETE FROM incident WHERE sys_id = %s", (ids[101],))
    found = await verify(bench, Level.CHECKED, repair=True)
    assert (found.missing, found.equal) == ([ids[101]], True)
    assert (await verify(bench, Level.CHECKED)).calls == 2

    # Another row is hidden from the start: the counts move, its part is listed, and it is learned.
    bench.twin.instance.load(
        "incident", [{"sys_id": "51" * 16, "number": "INC9999997", "sys_updated_on": "2025-01-01 00:00:00"}]
    )
    moved = await verify(bench, Level.CHECKED)
    assert moved.equal
    assert moved.calls > 2
    known = await verify(bench, Level.CHECKED)
    assert (known.equal, known.hidden, known.calls) == (True, 61, 2)


@pytest.mark.trap("28")
async def test_rows_that_change_during_the_walk_are_no_difference(bench: Bench) -> None:
    """Changes between the horizon and the answer, and between the answer and the count here."""
    ids = await loaded(bench)
    instance = bench.twin.instance
    await bench.let_pass(30)
    for at in range(0, 100, 10):
        instance.update("incident", ids[at], {"short_description": "between"}, user="admin")
    await bench.let_pass(5)
    follow = bench.replica.verifier.follow
    changed = iter(range(1, 600, 10))

    async def follow_while_it_changes(table_id: int, moment: object) -> None:
        await bench.let_pass(5)
        instance.update("incident", ids[next(changed)], {"short_description": "after"}, user="admin")
        instance.insert("incident", {"short_description": "new"}, user="admin")
        await bench.let_pass(5)  # so that what came after the moment is brought in, too
        await follow(table_id, moment)  # type: ignore[arg-type]

    object.__setattr__(bench.replica.verifier, "follow", follow_while_it_changes)
    verdict = await verify(bench, Level.CHECKED)
    assert (verdict.equal, verdict.wrong, verdict.calls) == (True, 0, 2)
    object.__setattr__(bench.replica.verifier, "follow", follow)
    await bench.catch_up()
    assert (await verify(bench, Level.PROVEN)).wrong == 0


@pytest.mark.trap("28")
async def test_odd_ids_are_a_seventeenth_part_that_costs_no_call(bench: Bench) -> None:
    odd = ["global", "glide.maint", "-1"]
    bench.twin.instance.load(
        "incident", [{"sys_id": key, "number": key, "sys_updated_on": "2025-01-01 00:00:00"} for key in odd]
    )
    await loaded(bench)
    assert (await verify(bench, Level.CHECKED)).calls == 2
    async with bench.database.transaction() as connection:
        await connection.execute("DELETE FROM incident WHERE sys_id = 'glide.maint'")
    found = await verify(bench, Level.CHECKED, repair=True)
    assert (found.missing, found.equal) == (["glide.maint"], True)
    assert found.calls < 2 + 16 + 5
    assert (await verify(bench, Level.PROVEN)).wrong == 0


async def test_rows_inserted_and_deleted_during_the_listing_are_no_difference(bench: Bench) -> None:
    """While the keys are listed rows come and go, before and behind the page at hand, and the change stream runs on."""
    ids = await loaded(bench, 300)

    async def meddle() -> None:
        for at in range(15):
            new = {"sys_id": f"{at:04x}" + "8" * 28, "short_description": "new"}
            bench.twin.instance.insert("incident", new, user="admin")
            bench.twin.instance.delete("incident", ids[at], user="admin")
            bench.twin.instance.delete("incident", ids[299 - at], user="admin")
            await bench.catch_up(bench.open_replica("worker-2"))

    verdict, _ = await asyncio.gather(verify(bench, Level.PROVEN, repair=True), meddle())
    assert verdict.equal
    await verify(bench, Level.PROVEN, repair=True)
    after = await verify(bench, Level.PROVEN)
    assert (after.wrong, after.pending, after.rows) == (0, 0, 285)
    assert await bench.rows("SELECT count(*) FROM incident") == [(285,)]


async def test_a_table_without_versions_is_refused_but_for_its_content(bench: Bench) -> None:
    await loaded(bench, 20)
    async with bench.database.transaction() as connection:
        await connection.execute(
            "UPDATE nowbridge.replica_table SET layout = jsonb_set(layout, '{columns}', (SELECT jsonb_agg(c) FROM"
            " jsonb_array_elements(layout->'columns') c WHERE c->>'source' <> 'sys_mod_count'))"
        )
    bench.replica._loaders.clear()
    with pytest.raises(Stop, match=r"verify\.unversioned"):
        await verify(bench, Level.CHECKED)
