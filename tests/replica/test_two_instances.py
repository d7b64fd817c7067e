"""Two instances in one database: each has its own tables, and nobody asks one for the other's records."""

from collections.abc import Iterator

import pytest

from nowbridge.replica.run import add_tables
from nowbridge.replica.spec import TableSpec
from nowbridge.store import connections
from nowbridge.store.connections import NewConnection
from nowtwin.instance import Instance
from nowtwin.testing import RunningServer, serve
from tests.support.replica import Bench


@pytest.fixture
def other_twin() -> Iterator[RunningServer]:
    with Instance(seed=2) as instance, serve(instance) as server:
        yield server


async def test_the_second_connections_tables_stand_in_a_schema_of_its_name(
    bench: Bench, other_twin: RunningServer
) -> None:
    bench.make_incidents(60)
    other_twin.instance.load("incident", [{"sys_id": "f" * 32, "number": "INC9999999"}])
    await bench.add("incident")
    async with bench.database.transaction() as connection:
        new = NewConnection("emea", other_twin.url, "basic", "admin", None, b"sealed elsewhere")
        owner = await connections.save(connection, new, now=bench.now())
        other = bench.open_replica_of(owner.id, other_twin.url)
        await add_tables(connection, other.instance, owner, [TableSpec("incident")], bench.now)
    await bench.replica.prepare()
    await other.prepare()
    await bench.load_shards(other)
    assert await bench.rows("SELECT number FROM emea.incident") == [("INC9999999",)]
    assert await bench.rows("SELECT count(*) FROM public.incident") == [(0,)], "that is the first connection's work"
    await bench.load_shards()
    assert await bench.rows("SELECT count(*) FROM public.incident") == [(60,)]
