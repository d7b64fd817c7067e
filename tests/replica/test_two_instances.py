"""Two instances in one database: each has its own tables, and nobody asks one for the other's records."""

from collections.abc import Iterator

import pytest

from nowbridge.replica.deletes import Named, Settled
from nowbridge.replica.run import Replica, add_tables
from nowbridge.replica.spec import TableSpec
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import NewConnection
from nowtwin.instance import Instance
from nowtwin.testing import RunningServer, serve
from tests.support.replica import Bench


@pytest.fixture
def other_twin() -> Iterator[RunningServer]:
    with Instance(seed=2) as instance, serve(instance) as server:
        yield server


async def second_connection(bench: Bench, twin: RunningServer) -> Replica:
    """Its incidents are planned."""
    async with bench.database.transaction() as connection:
        new = NewConnection("emea", twin.url, "basic", "admin", None, b"sealed elsewhere")
        owner = await connections.save(connection, new, now=bench.now())
        other = bench.open_replica_of(owner.id, twin.url)
        await add_tables(connection, other.instance, owner, [TableSpec("incident")], bench.now)
        return other


async def test_the_second_connections_tables_stand_in_a_schema_of_its_name(
    bench: Bench, other_twin: RunningServer
) -> None:
    bench.make_incidents(60)
    other_twin.instance.load("incident", [{"sys_id": "f" * 32, "number": "INC9999999"}])
    await bench.add("incident")
    other = await second_connection(bench, other_twin)
    await bench.replica.prepare()
    await other.prepare()
    await bench.load_shards(other)
    assert await bench.rows("SELECT number FROM emea.incident") == [("INC9999999",)]
    assert await bench.rows("SELECT count(*) FROM public.incident") == [(0,)], "that is the first connection's work"
    await bench.load_shards()
    assert await bench.rows("SELECT count(*) FROM public.incident") == [(60,)]


async def test_the_feed_and_the_deleted_rows_say_whose_table_is_meant(bench: Bench, other_twin: RunningServer) -> None:
    ids = bench.make_incidents(3)
    other_twin.instance.load("incident", [{"sys_id": ids[0], "number": "INC9999999"}])
    await bench.load("incident")
    other = await second_connection(bench, other_twin)
    await other.prepare()
    await bench.load_shards(other)
    await bench.rows("UPDATE nowbridge.replica_table SET delete_mode = 'soft' RETURNING id")
    bench.twin.instance.update("incident", ids[0], {"short_description": "here"}, user="admin")
    other_twin.instance.delete("incident", ids[0], user="admin")
    await bench.catch_up()
    loader = await other.loader(2)
    assert await other.deletes.settle(loader, Named([ids[0]], "audit")) == Settled((ids[0],), (), (ids[0],), calls=1)
    feed = "SELECT schema_name, table_name, operation FROM _sync_cdc WHERE sys_id = %s ORDER BY id"
    assert await bench.rows(feed.replace("%s", f"'{ids[0]}'")) == [
        ("public", "incident", "update"),
        ("emea", "incident", "delete"),
    ]
    marks = "SELECT schema_name FROM _sync_cdc WHERE operation = 'backfill' ORDER BY id"
    assert await bench.rows(marks) == [("public",), ("emea",)]
    assert await bench.rows("SELECT schema_name, table_name FROM _sync_deleted") == [("emea", "incident")]
