"""Workers: queued jobs, claimed shards, followed streams, and what becomes of a dead one's work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from nowbridge.jobs import queue
from nowbridge.jobs.worker import Duties, OpenReplica, Worker
from nowbridge.model.errors import Stop
from nowbridge.replica.run import add_tables
from nowbridge.replica.spec import TableSpec
from nowbridge.store.database import searching
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import ConnectionRow
from nowbridge.store.work import workers
from nowbridge.store.work.leases import Holder
from tests.support.replica import Bench

DUTIES = Duties(parallel=2, idle=0.02, heartbeat=0.5, stalled_after=2.0)


async def nothing() -> None:
    return None


def worker(bench: Bench, name: str) -> Worker:
    async def open_replica(row: ConnectionRow, holder: Holder) -> OpenReplica:
        return OpenReplica(row, bench.open_replica(holder.name), nothing)

    return Worker(bench.database, Holder(name, timedelta(seconds=5)), DUTIES, bench.now, open_replica)


@asynccontextmanager
async def running(*several: Worker) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one.run()) for one in several]
    try:
        yield
    finally:
        for one in several:
            one.stop.set()
        await asyncio.gather(*tasks)


async def replicate(bench: Bench, *names: str) -> None:
    async with bench.database.transaction() as connection:
        owner = await connections.load(connection)
        await add_tables(connection, bench.replica.instance, owner, [TableSpec(name) for name in names], bench.now)
        await queue.defer_prepare(connection, owner.id)


async def until(bench: Bench, query: str, expected: object) -> None:
    """Wait, as long as the test may take, until the first value of the query is the expected one."""
    while (await bench.rows(query))[0][0] != expected:  # noqa: ASYNC110 - another process' work, seen in the database
        await asyncio.sleep(0.02)


async def test_a_worker_prepares_loads_and_follows_what_is_queued(bench: Bench) -> None:
    bench.make_incidents(230)
    async with running(worker(bench, "one")):
        await replicate(bench, "incident")
        await until(bench, "SELECT count(*) FROM nowbridge.replica_table WHERE phase = 'live'", 1)
        bench.twin.instance.update("incident", "0" * 32, {"short_description": "changed"}, user="admin")
        bench.twin.instance.clock.advance(10)
        await until(bench, "SELECT count(*) FROM incident WHERE short_description = 'changed'", 1)
    assert await bench.rows("SELECT count(*) FROM incident") == [(230,)]
    assert await bench.rows("SELECT count(*) FROM nowbridge.worker") == [(0,)]
    assert await bench.rows("SELECT count(*) FROM nowbridge.stream WHERE lease_until IS NOT NULL") == [(0,)]


async def test_several_workers_do_each_thing_once(bench: Bench) -> None:
    bench.make_incidents(400)
    async with running(*(worker(bench, name) for name in ("one", "two", "three"))):
        await replicate(bench, "incident", "sys_user")
        await until(bench, "SELECT count(*) FROM nowbridge.replica_table WHERE phase = 'live'", 2)
    assert await bench.rows(
        "SELECT sum(rows)::int FROM nowbridge.shard s JOIN nowbridge.replica_table t ON t.id = s.table_id WHERE source = 'incident'"
    ) == [(400,)]
    assert await bench.rows("SELECT count(*) FROM _sync_cdc WHERE operation = 'backfill'") == [(2,)]


@pytest.mark.trap("31")
@pytest.mark.req("Q28")
async def test_the_queue_shows_no_table_to_users(bench: Bench) -> None:
    assert await bench.rows(
        "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'public' AND c.relname LIKE 'procrastinate%'"
    ) == [(0,)]
    assert (await bench.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'nowbridge_jobs'"))[0][0] >= 4


async def test_a_job_is_queued_with_the_transaction_or_not_at_all(bench: Bench) -> None:
    async with bench.database.session() as connection:
        await connection.execute("BEGIN")
        assert await queue.defer_prepare(connection, bench.connection_id)
        assert not await queue.defer_prepare(connection, bench.connection_id), "it waits already"
        await connection.execute("ROLLBACK")
    assert await bench.rows("SELECT count(*) FROM nowbridge_jobs.procrastinate_jobs") == [(0,)]
    async with bench.database.transaction() as connection:
        await queue.defer_prepare(connection, bench.connection_id)
        row = await (await connection.execute("SELECT current_setting('search_path')")).fetchone()
    assert row is not None
    assert "nowbridge_jobs" not in row[0]
    assert await bench.rows("SELECT task_name, lock FROM nowbridge_jobs.procrastinate_jobs") == [
        ("prepare", f"prepare:{bench.connection_id}")
    ]


@pytest.mark.trap("31")
async def test_a_dead_workers_job_is_given_back_by_the_leader(bench: Bench) -> None:
    bench.make_incidents(10)
    await replicate(bench, "incident")
    async with bench.database.transaction() as connection, searching(connection, queue.SEARCH_PATH):
        await connection.execute(
            "INSERT INTO nowbridge_jobs.procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 minute')"
        )
        await connection.execute(
            "UPDATE nowbridge_jobs.procrastinate_jobs SET status = 'doing',"
            " worker_id = (SELECT max(id) FROM nowbridge_jobs.procrastinate_workers)"
        )
    async with running(worker(bench, "heir")):
        await until(bench, "SELECT count(*) FROM nowbridge.replica_table WHERE phase = 'live'", 1)
    assert await bench.rows("SELECT count(*) FROM incident") == [(10,)]


async def test_what_is_kept_long_enough_is_pruned(bench: Bench) -> None:
    async with bench.database.transaction() as connection:
        await connection.execute(
            "INSERT INTO _sync_cdc (table_name, operation, source, applied_at)"
            " SELECT 'incident', 'backfill', 'backfill', now() - make_interval(days => d) FROM unnest(ARRAY[1, 6, 8, 30]) AS d"
        )
        await workers.beat(connection, "long dead", {}, now=bench.now() - timedelta(days=3))
    await worker(bench, "one").prune()
    assert await bench.rows("SELECT count(*) FROM _sync_cdc") == [(2,)]
    assert await bench.rows("SELECT count(*) FROM nowbridge.worker") == [(0,)]


async def test_credentials_that_are_refused_are_said_and_tried_again(bench: Bench) -> None:
    """The worker stays up; the reason stands with the table; mending it is all that it takes."""
    bench.make_incidents(5)
    await replicate(bench, "incident")
    bench.twin.instance.set_admin_password("changed")
    one = worker(bench, "one")
    with pytest.raises(Stop):
        await one.prepare(bench.connection_id)
    assert (await bench.rows("SELECT last_error->>'code' FROM nowbridge.replica_table"))[0][0] == "auth.refused"
    bench.twin.instance.set_admin_password("admin")
    async with running(one):
        await until(bench, "SELECT count(*) FROM nowbridge.replica_table WHERE phase = 'live'", 1)
    assert await bench.rows("SELECT last_error FROM nowbridge.replica_table") == [(None,)]


async def test_a_table_that_was_dropped_stops_itself_and_no_other(bench: Bench) -> None:
    bench.make_incidents(5)
    await replicate(bench, "incident", "sys_user")
    one = worker(bench, "one")
    async with running(one):
        await until(bench, "SELECT count(*) FROM nowbridge.replica_table WHERE phase = 'live'", 2)
        async with bench.database.transaction() as connection:
            await connection.execute("DROP TABLE incident")
        bench.twin.instance.insert("incident", {"short_description": "nowhere to go"}, user="admin")
        bench.twin.instance.insert("sys_user", {"user_name": "ada", "name": "Ada"}, user="admin")
        bench.twin.instance.clock.advance(10)
        await until(bench, "SELECT count(*) FROM sys_user WHERE user_name = 'ada'", 1)
        failing = (
            "SELECT m.last_error->>'code' FROM nowbridge.stream m JOIN nowbridge.replica_table t ON t.id = table_id"
        )
        await until(bench, failing + " WHERE source = 'incident'", "database.changed")


async def test_a_bug_in_one_duty_ends_no_other(bench: Bench) -> None:
    class Broken(Worker):
        async def rewrite_labels(self) -> bool:
            raise ZeroDivisionError("a value that belongs in no log")

    bench.make_incidents(5)
    sound = worker(bench, "one")
    broken = Broken(sound.database, sound.holder, sound.duties, sound.clock, sound.open_replica)
    async with running(broken):
        await replicate(bench, "incident")
        await until(bench, "SELECT count(*) FROM nowbridge.replica_table WHERE phase = 'live'", 1)


async def test_a_table_without_update_times_is_loaded_and_not_followed(bench: Bench) -> None:
    bench.make_incidents(5)
    await bench.add("incident")
    async with bench.database.transaction() as connection:
        await connection.execute(
            "UPDATE nowbridge.replica_table SET layout = jsonb_set(layout, '{columns}',"
            " (SELECT jsonb_agg(c) FROM jsonb_array_elements(layout->'columns') AS c WHERE c->>'source' <> 'sys_updated_on'))"
        )
    await bench.replica.prepare()
    await bench.load_shards()
    assert await bench.rows("SELECT phase FROM nowbridge.replica_table") == [("live",)]
    assert await bench.rows("SELECT count(*) FROM incident") == [(5,)]
    assert await bench.catch_up() == 0
