"""Another instance is cloned over the one behind a connection, or it is put back to last night: everything for that
connection stops before a row is changed, says so, and goes on when somebody has said that this is the one.
"""

from __future__ import annotations

import asyncio

import pytest

from nowbridge.jobs.notices import Notifier
from nowbridge.model.errors import Stop
from nowbridge.replica.adoption import adopt
from nowbridge.replica.recognition import Evidence, strangeness
from nowbridge.store.instances import connections
from nowtwin.access.hiding import HideRule
from nowtwin.control.upheavals import clone_over
from tests.jobs.test_worker import running, until, worker
from tests.support.replica import Bench

KNOWN = {"instance_id": "1", "instance_name": "acme"}


def hide_properties(bench: Bench) -> None:
    """A humble account: nothing tells by name."""
    bench.twin.instance.access.rules.append(HideRule("sys_properties", query="nameISNOTEMPTY", user="admin"))


async def loaded(bench: Bench) -> list[str]:
    keys = bench.make_incidents(60)
    await bench.load("incident")
    await bench.catch_up()
    assert await bench.replica.look() is None
    return keys


@pytest.mark.parametrize("humble", [False, True])
async def test_a_clone_is_told_by_its_name_or_else_by_its_records(bench: Bench, humble: bool) -> None:
    if humble:
        hide_properties(bench)
    keys = await loaded(bench)
    night = bench.twin.instance.snapshots.take()
    for key in keys[:25]:
        bench.twin.instance.update("incident", key, {"short_description": "since then"}, user="admin")
    await bench.catch_up()
    assert await bench.replica.look() is None
    clone_over(bench.twin.instance, "snapshot", night)
    strange = await bench.replica.look()
    assert strange is not None
    assert ("older there than here" in strange) == humble


@pytest.mark.trap("33")
async def test_a_worker_stops_before_it_changes_anything_and_adopting_goes_on(bench: Bench) -> None:
    keys = await loaded(bench)
    night = bench.twin.instance.snapshots.take()
    for key in keys[:25]:
        bench.twin.instance.update("incident", key, {"short_description": "since then"}, user="admin")
    made = bench.twin.instance.insert("incident", {"short_description": "made since then"}, user="admin")
    await bench.catch_up()
    clone_over(bench.twin.instance, "snapshot", night)
    bench.twin.instance.insert("incident", {"short_description": "of the clone"}, user="admin")
    bench.twin.instance.clock.advance(60)
    before = await bench.rows("SELECT * FROM incident ORDER BY sys_id")

    async with running(worker(bench, "one")):
        await until(bench, "SELECT stopped->>'reason' FROM nowbridge.connection", "clone")
        await asyncio.sleep(0)
    assert await bench.rows("SELECT * FROM incident ORDER BY sys_id") == before
    assert await bench.replica.claim_due_streams(10) == []
    assert await bench.replica.tend_next() is None
    await Notifier(bench.database, bench.now, bench.pace.check, {}).look()
    assert await bench.rows("SELECT state FROM nowbridge.notice WHERE kind = 'instance'") == [("stopped: clone",)]
    async with bench.database.transaction() as connection:
        with pytest.raises(Stop) as stopped:
            connections.refuse_stopped(await connections.load(connection))
    assert stopped.value.code == "connection.stopped"

    verdicts = await adopt(bench.open_replica("somebody"))
    assert [verdict.equal for verdict in verdicts] == [True]
    assert await bench.rows("SELECT stopped FROM nowbridge.connection") == [(None,)]
    told = {row[0]: row[1] for row in await bench.rows("SELECT short_description, count(*) FROM incident GROUP BY 1")}
    assert ("since then" in told, "made since then" in told, told["of the clone"]) == (False, False, 1)
    assert await bench.rows(f"SELECT count(*) FROM incident WHERE sys_id = '{made.sys_id}'") == [(0,)]
    assert await bench.replica.look() is None
    assert (await bench.verify("incident")).equal


async def test_no_first_load_is_taken_up_while_the_connection_is_stopped(bench: Bench) -> None:
    bench.make_incidents(5)
    await bench.add("incident")
    await bench.replica.prepare()
    async with bench.database.transaction() as connection:
        await connection.execute("UPDATE nowbridge.connection SET stopped = %s", ('{"reason": "clone", "found": "x"}',))
    assert not await bench.replica.load_next_shard()
    assert await bench.rows("SELECT count(*) FROM incident") == [(0,)]
    async with bench.database.transaction() as connection:
        await connections.go_on(connection, bench.connection_id)
    await bench.load_shards()
    assert await bench.rows("SELECT count(*) FROM incident") == [(5,)]


async def test_a_load_that_was_under_way_begins_anew(bench: Bench) -> None:
    bench.make_incidents(400)
    bench.twin.instance.insert("problem", {"short_description": "draws an id"}, user="admin")
    await bench.add("incident")
    await bench.replica.prepare()
    assert await bench.replica.load_next_shard()
    assert await bench.replica.look() is None
    clone_over(bench.twin.instance, "data", "empty")
    bench.twin.instance.load("incident", [{"number": "INC1", "short_description": "the only one"}])
    assert await bench.replica.look() is not None
    await adopt(bench.replica)
    await bench.replica.prepare()
    await bench.load_shards()
    assert await bench.rows("SELECT short_description FROM incident") == [("the only one",)]


@pytest.mark.parametrize(
    ("names", "told", "strange"),
    [
        (KNOWN, Evidence(100, 0, 0), False),
        (KNOWN, Evidence(), False),
        ({}, Evidence(100, 2, 0), False),  # put back from an export
        ({}, Evidence(100, 0, 60), False),  # deleted in one go
        ({}, Evidence(100, 1, 60), True),
        ({}, Evidence(20, 0, 20), True),
        ({}, Evidence(4, 0, 4), False),
        (KNOWN | {"instance_id": "2"}, Evidence(100, 0, 0), True),
        ({"glide.db.name": "acme_7"}, Evidence(), False),  # readable for the first time
    ],
)
def test_what_is_believed(names: dict[str, str], told: Evidence, strange: bool) -> None:
    assert (strangeness(KNOWN, names, told) is not None) == strange


async def test_an_instance_that_cannot_be_asked_is_said_and_nothing_is_done(bench: Bench) -> None:
    await loaded(bench)
    bench.twin.instance.set_admin_password("changed")
    async with running(worker(bench, "one")):
        await until(bench, "SELECT last_error->>'code' FROM nowbridge.stream", "auth.refused")
    assert await bench.rows("SELECT owner FROM nowbridge.stream") == [(None,)]
