"""ServiceNow cannot lock a record. Of one record one write at a time is under way or waits to be settled; the next one waits
for it as it would for a row's lock (migration 0012).
"""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from nowbridge.store.work.leases import Holder
from nowbridge.store.writes import sql_users, write_log
from nowbridge.writethrough.enable import enable_writes
from nowbridge.writethrough.settling import Settler
from nowtwin.behaviour.faults import FaultRule
from nowtwin.query.parse import parse
from nowtwin.records.selecting import select
from tests.writethrough.conftest import Writing

pytestmark = pytest.mark.req("Q47")

WRITE = "UPDATE incident SET short_description = %s WHERE number = 'INC0000001'"
WAITING = "SELECT count(*) FROM nowbridge.write_log WHERE state = 'new'"
SENT = "SELECT count(*) FROM nowbridge.write_log WHERE state = 'sent'"


def story(writing: Writing, sys_id: str) -> list[tuple[str, str]]:
    """The short descriptions that a record had in ServiceNow, one after the other, each with the next."""
    asked = parse(f"fieldname=short_description^documentkey={sys_id}")
    changes = select(writing.bench.twin.instance, "sys_audit", asked, ("oldvalue", "newvalue"))
    return [(change["oldvalue"], change["newvalue"]) for change in changes]


async def test_a_write_waits_until_that_of_a_client_who_is_gone_is_taken_back(writing: Writing) -> None:
    slow = FaultRule(kind="delay", method="PATCH", table="incident", count=1, seconds=0.5)
    writing.bench.twin.instance.faults.arm([slow])
    gone = await writing.connect()
    first = asyncio.create_task(gone.execute(WRITE, ("first",)))
    await writing.until(SENT, 1)
    writing.maintenance.execute("SELECT pg_terminate_backend(%s)", (gone.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        await first
    await gone.close()
    async with await writing.connect() as client:
        second = asyncio.create_task(client.execute(WRITE, ("second",)))
        await writing.until(WAITING, 1)
        await writing.idle()
        assert await writing.bench.rows(WAITING) == [(1,)], "the first one has ended, and is to be taken back"
        await Settler(writing.writer).settle()
        await second
    assert story(writing, writing.ids[1]) == [("no 1", "first"), ("first", "no 1"), ("no 1", "second")]
    await Settler(writing.writer).settle()
    assert await writing.bench.rows("SELECT count(*) FROM nowbridge.write_hold") == [(0,)]


async def test_a_write_waits_for_one_of_which_nobody_knows_what_became_of_it(writing: Writing) -> None:
    await writing.pause()
    async with await writing.connect() as gone:
        await gone.execute("SET nowbridge.write_timeout = '300ms'")
        first = asyncio.create_task(gone.execute(WRITE, ("first",)))
        await writing.until(WAITING, 1)
        (entry,) = await writing.claimed()
        await writing.writer.end_of(entry)  # and its writer is gone before it can note the end
        with pytest.raises(psycopg.errors.TransactionResolutionUnknown):
            await first
    writing.resume()
    async with await writing.connect() as client:
        second = asyncio.create_task(client.execute(WRITE, ("second",)))
        await writing.until(WAITING, 1)
        await writing.idle()
        assert await writing.bench.rows(WAITING) == [(1,)]
        writing.bench.now.pass_(seconds=31)
        settler = Settler(writing.writer)
        await settler.look_for_unknown()
        await settler.settle()
        await second
    assert story(writing, writing.ids[1]) == [("no 1", "first"), ("first", "no 1"), ("no 1", "second")]


async def test_parts_of_one_transaction_do_not_wait_for_each_other_nor_does_what_follows_a_commit(
    writing: Writing,
) -> None:
    async with await writing.connect() as client:
        async with client.transaction():
            await client.execute("SET CONSTRAINTS ALL IMMEDIATE")
            await client.execute(WRITE, ("one",))
            await client.execute(WRITE, ("two",))
        await client.execute(WRITE, ("three",))  # nothing was settled yet
    assert story(writing, writing.ids[1]) == [("no 1", "one"), ("one", "two"), ("two", "three")]


async def test_of_two_workers_that_take_one_record_at_once_the_later_puts_its_write_back(writing: Writing) -> None:
    bench = writing.bench
    await bench.load("task")
    await enable_writes(bench.database, bench.replica.instance, bench.connection_id)
    async with bench.database.transaction() as connection:
        await sql_users.grant_all(connection)
    await writing.pause()
    lease = writing.writer.holder.lease

    async def claim(connection: psycopg.AsyncConnection[tuple[object, ...]], name: str) -> list[write_log.Entry]:
        holder = Holder(name, lease)
        return await write_log.claim(connection, bench.connection_id, holder, now=bench.now(), limit=1)

    async with await writing.connect() as by_task, await writing.connect() as by_incident:
        for client, table in ((by_task, "task"), (by_incident, "incident")):
            await client.execute("BEGIN")  # each has its own row before an UPDATE of the other would lock it
            await client.execute(f"SELECT FROM {table} WHERE number = 'INC0000001' FOR UPDATE".encode())
        await by_task.execute("UPDATE task SET short_description = 'x' WHERE number = 'INC0000001'")
        await by_incident.execute("UPDATE incident SET description = 'x' WHERE number = 'INC0000001'")
        writes = [asyncio.create_task(client.execute("COMMIT")) for client in (by_task, by_incident)]
        await writing.until(WAITING, 2)
        connect = psycopg.AsyncConnection.connect
        async with await connect(writing.dsn) as one, await connect(writing.dsn) as two:
            assert len(await claim(one, "one")) == 1
            later = asyncio.create_task(claim(two, "two"))
            await writing.until(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%write_hold%'", 1
            )
            await one.commit()
            assert await later == []
        assert await bench.rows(WAITING) == [(1,)]
        assert await bench.rows("SELECT count(*) FROM nowbridge.write_hold") == [(1,)]
        bench.now.pass_(seconds=31)
        writing.resume()
        await asyncio.gather(*writes)
    there = writing.incident(writing.ids[1])
    assert (there["short_description"], there["description"], there["sys_mod_count"]) == ("x", "x", "2")
