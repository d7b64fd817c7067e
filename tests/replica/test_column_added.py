"""A column is added in ServiceNow: it appears without a reload, is filled behind the scenes, and takes no lock for long."""

import asyncio

import pytest

from nowbridge.model.errors import Stop
from nowbridge.replica.layout import Selection
from nowbridge.replica.spec import TableSpec
from nowbridge.servicenow import tables as source
from tests.support.replica import Bench


def add_column(bench: Bench, element: str, internal_type: str = "string", **more: str) -> None:
    bench.twin.instance.insert(
        "sys_dictionary",
        {"name": "incident", "element": element, "internal_type": internal_type, "column_label": "Cost centre", **more},
    )


async def columns_of(bench: Bench, table: str = "incident") -> dict[str, str]:
    found = await bench.rows(
        "SELECT column_name, data_type FROM information_schema.columns"
        f" WHERE table_schema = 'public' AND table_name = '{table}'"
    )
    return dict(found)


async def fill(bench: Bench) -> int:
    """Fill to the end; returns how many turns it took."""
    turns = 1
    while (await bench.tend("fill")).more:
        turns += 1
    return turns


@pytest.mark.req("Q36")
async def test_it_appears_is_filled_and_shown_as_incomplete_until_then(bench: Bench) -> None:
    stamps = {"sys_created_on": "2026-01-05 10:00:00", "sys_updated_on": "2026-01-05 10:00:00"}
    ids = bench.make_incidents(1_200, **stamps)
    await bench.load("incident")
    await bench.tend("schema")
    assert await bench.rows("SELECT * FROM _sync_columns") == []

    add_column(bench, "u_cost", "integer")
    costs = [
        {"sys_id": key, "number": f"INC{at:07}", "short_description": f"no {at}", "u_cost": str(at), **stamps}
        for at, key in enumerate(ids)
    ]
    bench.twin.instance.load("incident", costs)
    done = await bench.tend("schema")
    assert done.told == "u_cost: new ( -> integer)"
    assert (await columns_of(bench))["u_cost"] == "integer"
    states = "SELECT column_name, state, filled_to FROM _sync_columns"
    assert await bench.rows(states) == [("u_cost", "filling", "")]
    comment = "SELECT col_description('incident'::regclass, attnum) FROM pg_attribute WHERE attname = 'u_cost'"
    assert await bench.rows(comment) == [("Cost centre",)]

    assert (await bench.tend("fill")).more
    [(_, state, filled_to)] = await bench.rows(states)
    assert state == "filling"
    assert await bench.rows(f"SELECT count(*) FROM incident WHERE u_cost IS NULL AND sys_id <= '{filled_to}'") == [(0,)]
    assert await bench.rows("SELECT count(u_cost) FROM incident") == [(500,)]
    assert await fill(bench) == 2
    assert await bench.rows(states) == []
    assert await bench.rows("SELECT count(u_cost), sum(u_cost) FROM incident") == [(1_200, 1_199 * 600)]
    assert (await bench.verify("incident")).equal
    assert await bench.rows("SELECT count(*) FROM _sync_cdc WHERE sys_id IS NOT NULL") == [(0,)]


async def test_a_fill_asks_for_the_new_column_alone_and_goes_on_where_it_stood(bench: Bench) -> None:
    bench.make_incidents(690)
    await bench.load("incident")
    add_column(bench, "u_note")
    await bench.tend("schema")
    await bench.tend("fill")
    bench.twin.instance.calls.clear()
    await bench.tend("fill", bench.open_replica("worker-2"))
    asked = [call for call in bench.twin.instance.calls.entries if "/table/incident" in call.path]
    assert len(asked) == 4  # of 14 pages ten were read by the other worker
    assert {call.params["sysparm_fields"] for call in asked} == {"sys_id,sys_mod_count,sys_updated_on,u_note"}


async def test_changes_that_come_meanwhile_have_it_and_are_not_undone_by_the_fill(bench: Bench) -> None:
    ids = bench.make_incidents(200)
    await bench.load("incident")
    add_column(bench, "u_note")
    await bench.tend("schema")
    bench.twin.instance.update("incident", ids[150], {"u_note": "by the stream"})
    await bench.catch_up()
    assert await bench.rows("SELECT u_note FROM incident WHERE u_note IS NOT NULL") == [("by the stream",)]
    bench.twin.instance.update("incident", ids[151], {"u_note": "not yet polled"})
    await fill(bench)
    assert await bench.rows(f"SELECT u_note FROM incident WHERE sys_id = '{ids[151]}'") == [(None,)]
    await bench.catch_up()
    assert (await bench.verify("incident")).equal


async def test_a_page_that_was_read_without_it_is_not_written_any_more(bench: Bench) -> None:
    """A worker that read by the old columns comes too late with its page: another version than it knows has been made."""
    ids = bench.make_incidents(60)
    await bench.load("incident")
    late = bench.open_replica("worker-2")
    loader = await late.loader(await bench.table_id("incident"))
    add_column(bench, "u_note")
    bench.twin.instance.update("incident", ids[3], {"u_note": "new", "short_description": "newer"})
    await bench.let_pass(10)
    [lease] = await late.claim_due_streams(10)
    await bench.tend("schema")
    assert (await late.poll(lease)).error is not None
    assert await bench.rows("SELECT count(*) FROM incident WHERE short_description = 'newer'") == [(0,)]
    await bench.catch_up()
    assert await bench.rows("SELECT u_note FROM incident WHERE short_description = 'newer'") == [("new",)]
    assert loader is not await late.loader(await bench.table_id("incident"))


async def test_a_new_reference_and_a_new_choice_come_with_their_words(bench: Bench) -> None:
    bench.twin.instance.load("core_company", [{"sys_id": "c" * 32, "name": "Acme"}])
    ids = bench.make_incidents(70)
    await bench.load("incident")
    add_column(bench, "u_supplier", "reference", reference="core_company")
    add_column(bench, "u_kind", choice="1")
    bench.twin.instance.insert(
        "sys_choice", {"name": "incident", "element": "u_kind", "value": "k1", "label": "Kind one", "language": "en"}
    )
    bench.twin.instance.update("incident", ids[1], {"u_supplier": "c" * 32, "u_kind": "k1"})
    await bench.tend("schema")
    await fill(bench)
    await bench.catch_up()
    found = "SELECT u_supplier, u_supplier__value, u_kind, u_kind__value FROM incident WHERE u_kind IS NOT NULL"
    assert await bench.rows(found) == [("Acme", "c" * 32, "Kind one", "k1")]
    verdict = await bench.verify("incident")
    assert verdict.equal
    assert verdict.labels_compared > 0


@pytest.mark.trap("20")
async def test_readers_are_not_kept_waiting_behind_a_client_that_holds_the_table(bench: Bench) -> None:
    bench.make_incidents(10)
    await bench.load("incident")
    add_column(bench, "u_note")
    waited: list[float] = []

    async def client_lets_go(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            held.set()
        await asyncio.sleep(0)

    bench.replica.sleep = client_lets_go
    held = asyncio.Event()

    async def client() -> None:
        async with bench.database.transaction() as connection:
            await connection.execute("SELECT 1 FROM incident LIMIT 1")
            reading.set()
            await held.wait()

    reading = asyncio.Event()
    holding = asyncio.create_task(client())
    await reading.wait()
    looking = asyncio.create_task(bench.tend("schema"))
    longest = 0.0
    while not looking.done():
        begun = asyncio.get_running_loop().time()
        await bench.rows("SELECT count(*) FROM incident")
        longest = max(longest, asyncio.get_running_loop().time() - begun)
    await looking
    await holding
    assert waited == [0.2, 0.4]
    assert longest < 1.0
    assert "u_note" in await columns_of(bench)


async def test_a_column_of_that_name_that_somebody_made_is_not_touched(bench: Bench) -> None:
    bench.make_incidents(3)
    await bench.load("incident")
    async with bench.database.transaction() as connection:
        await connection.execute("ALTER TABLE incident ADD COLUMN u_note jsonb")
    add_column(bench, "u_note")
    with pytest.raises(Stop) as refused:
        await bench.tend("schema")
    assert refused.value.code == "schema.column_taken"
    assert (await columns_of(bench))["u_note"] == "jsonb"


@pytest.mark.req("Q36")
async def test_only_columns_of_the_selection_are_copied_under_the_names_that_were_given(bench: Bench) -> None:
    ids = bench.make_incidents(5, category="software")
    chosen = Selection(include=("number", "state", "category"), names={"category": "kind"})
    await bench.load(TableSpec("incident", name="request", columns=chosen))
    assert set(await columns_of(bench, "request")) == {
        *("sys_id", "number", "state", "state__value", "kind", "kind__value"),
        *("sys_class_name", "sys_created_on", "sys_mod_count", "sys_updated_on"),
    }
    assert await bench.rows("SELECT DISTINCT kind, kind__value FROM request") == [("Software", "software")]
    add_column(bench, "u_note")
    assert (await bench.tend("schema")).told == ""
    bench.twin.instance.update("incident", ids[0], {"category": "hardware", "u_note": "no"})
    await bench.catch_up()
    assert await bench.rows(f"SELECT kind FROM request WHERE sys_id = '{ids[0]}'") == [("Hardware",)]
    assert (await bench.verify("incident")).equal
    assert await source.count(bench.replica.instance, "incident") == 5
