"""A column is removed in ServiceNow: here it is kept with its values and marked; what users built on it goes on working."""

import pytest

from tests.support.replica import Bench


def dictionary_entry(bench: Bench, element: str) -> str:
    answer = bench.twin.instance.export("sys_dictionary")
    return next(row["sys_id"] for row in answer if row.get("element") == element and row["name"] == "incident")


async def with_a_column(bench: Bench) -> list[str]:
    bench.twin.instance.insert(
        "sys_dictionary", {"name": "incident", "element": "u_floor", "internal_type": "string", "column_label": "Floor"}
    )
    ids = bench.make_incidents(60, u_floor="third")
    await bench.load("incident")
    await bench.tend("schema")
    return ids


@pytest.mark.trap("21")
async def test_values_views_indexes_and_grants_stay(bench: Bench) -> None:
    ids = await with_a_column(bench)
    async with bench.database.transaction() as connection:
        await connection.execute(
            "CREATE VIEW public.by_floor AS SELECT u_floor, count(*) AS n FROM incident GROUP BY 1"
        )
        await connection.execute("CREATE INDEX users_own ON incident (u_floor)")
        await connection.execute("GRANT SELECT (u_floor) ON incident TO PUBLIC")
    bench.twin.instance.delete("sys_dictionary", dictionary_entry(bench, "u_floor"))
    assert (await bench.tend("schema")).told == "u_floor: removed (string -> )"
    bench.twin.instance.update("incident", ids[0], {"short_description": "changed since"})
    assert await bench.catch_up() == 1

    assert await bench.rows("SELECT * FROM public.by_floor") == [("third", 60)]
    assert await bench.rows("SELECT indexname FROM pg_indexes WHERE indexname = 'users_own'") == [("users_own",)]
    granted = "SELECT has_column_privilege('public', 'incident', 'u_floor', 'SELECT')"
    assert await bench.rows(granted) == [(True,)]
    assert await bench.rows("SELECT column_name, state FROM _sync_columns") == [("u_floor", "removed")]
    [(comment,)] = await bench.rows(
        "SELECT col_description('incident'::regclass, attnum) FROM pg_attribute WHERE attname = 'u_floor' AND attrelid = 'incident'::regclass"
    )
    assert comment == "Floor. Nowbridge: no longer in ServiceNow; values are the last known"
    assert (await bench.verify("incident")).equal
    assert (await bench.tend("schema")).told == ""


async def test_one_that_comes_back_is_filled_again(bench: Bench) -> None:
    ids = await with_a_column(bench)
    bench.twin.instance.delete("sys_dictionary", dictionary_entry(bench, "u_floor"))
    await bench.tend("schema")
    bench.twin.instance.insert(
        "sys_dictionary", {"name": "incident", "element": "u_floor", "internal_type": "string", "column_label": "Floor"}
    )
    bench.twin.instance.update("incident", ids[7], {"u_floor": "fourth"})
    assert (await bench.tend("schema")).told == "u_floor: returned ( -> string)"
    await bench.catch_up()
    await bench.tend("fill")
    assert await bench.rows(f"SELECT u_floor FROM incident WHERE sys_id = '{ids[7]}'") == [("fourth",)]
    assert await bench.rows("SELECT * FROM _sync_columns") == []
    assert (await bench.verify("incident")).equal


async def test_rows_tell_of_it_before_the_dictionary_is_asked(bench: Bench) -> None:
    """A row that lacks a column brings the look at the dictionary forward, and does not empty the value meanwhile."""
    ids = await with_a_column(bench)
    bench.twin.instance.delete("sys_dictionary", dictionary_entry(bench, "u_floor"))
    async with bench.database.transaction() as connection:
        await connection.execute("UPDATE nowbridge.duty SET next_at = 'infinity'")
    bench.twin.instance.update("incident", ids[0], {"short_description": "changed since"})
    assert await bench.catch_up() == 1
    assert await bench.rows("SELECT DISTINCT u_floor FROM incident") == [("third",)]
    due = "SELECT kind FROM nowbridge.duty WHERE next_at < 'infinity'"
    assert await bench.rows(due) == [("schema",)]
