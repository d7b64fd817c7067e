"""Deletes that the instance's journal tells of, and what is made of a journal that is pruned or cannot be read."""

import pytest

from nowtwin.access.hiding import HideRule
from tests.support.replica import Bench


@pytest.mark.trap("30")
async def test_a_deleted_row_is_deleted_here_and_the_feed_keeps_its_last_state(bench: Bench) -> None:
    ids = bench.make_incidents(20)
    await bench.load("incident")
    await bench.let_pass(10)
    bench.twin.instance.delete("incident", ids[3], user="admin")
    await bench.let_pass(2)
    done = await bench.tend("audit")
    assert done.removed == 1
    assert await bench.rows("SELECT count(*) FROM incident") == [(19,)]
    feed = "SELECT sys_id, operation, source, changes->'number'->>0 FROM _sync_cdc WHERE sys_id IS NOT NULL"
    assert await bench.rows(feed) == [(ids[3], "delete", "audit", "INC0000003")]
    assert await bench.rows("SELECT sys_id FROM nowbridge.tombstone") == [(ids[3],)]
    assert (await bench.tend("audit")).removed == 0


async def test_deletions_are_found_under_the_real_class(bench: Bench) -> None:
    """`sys_audit_delete` is filed under the class of the record, not under the table that is replicated."""
    made = bench.twin.instance.insert("cmdb_ci_linux_server", {"name": "web-1"}, user="admin")
    await bench.load("cmdb_ci")
    await bench.let_pass(10)
    bench.twin.instance.delete("cmdb_ci", made.sys_id, user="admin")
    filed = [row["tablename"] for row in bench.twin.instance.export("sys_audit_delete")]
    assert filed == ["cmdb_ci_linux_server"]
    await bench.let_pass(2)
    assert (await bench.tend("audit")).removed == 1
    assert await bench.rows("SELECT count(*) FROM cmdb_ci") == [(0,)]


async def test_an_entry_about_a_row_that_lives_again_deletes_nothing(bench: Bench) -> None:
    """Undeleted before the journal was read: the row counts, so the entry is stale."""
    ids = bench.make_incidents(5)
    await bench.load("incident")
    await bench.let_pass(10)
    before = bench.twin.instance.read("incident", ids[2])
    assert before is not None
    bench.twin.instance.delete("incident", ids[2], user="admin")
    bench.twin.instance.load("incident", [before])
    assert (await bench.tend("audit")).removed == 0
    assert await bench.rows("SELECT count(*) FROM incident") == [(5,)]


async def test_a_journal_that_cannot_be_read_is_said_and_the_keys_are_compared(bench: Bench) -> None:
    ids = bench.make_incidents(20)
    await bench.load("incident")
    bench.twin.instance.access.rules.append(HideRule("sys_audit_delete", query="tablenameISNOTEMPTY", user="admin"))
    await bench.let_pass(10)
    bench.twin.instance.delete("incident", ids[3], user="admin")
    assert (await bench.tend("audit")).removed == 0
    assert await bench.rows("SELECT journal FROM nowbridge.delete_watch") == [("unreadable",)]
    wait = await bench.rows("SELECT next_at - done_at >= interval '1 hour' FROM nowbridge.duty WHERE kind = 'audit'")
    assert wait == [(True,)]
    assert (await bench.tend("compare")).removed == 1


async def test_a_journal_pruned_since_the_last_look_makes_a_comparison_due(bench: Bench) -> None:
    """The table cleaner went over the journal while no worker ran."""
    ids = bench.make_incidents(20)
    await bench.load("incident")
    await bench.tend("audit")
    await bench.let_pass(3_600)
    bench.twin.instance.delete("incident", ids[3], user="admin")
    for entry in list(bench.twin.instance.export("sys_audit_delete")):
        bench.twin.instance.delete("sys_audit_delete", entry["sys_id"], user="admin")
    await bench.let_pass(3_600)
    bench.twin.instance.delete("incident", ids[4], user="admin")
    await bench.let_pass(2)
    assert (await bench.tend("audit")).removed == 1
    due = "SELECT next_at <= %s FROM nowbridge.duty WHERE kind = 'compare'"
    async with bench.database.transaction() as connection:
        assert await (await connection.execute(due, (bench.now(),))).fetchall() == [(True,)]
    assert (await bench.tend("compare")).removed == 1
    assert await bench.rows("SELECT count(*) FROM incident") == [(18,)]


async def test_a_mass_delete_stops_and_asks(bench: Bench) -> None:
    """More than fifty rows and two percent in one pass: nothing is deleted until somebody has confirmed the number."""
    ids = bench.make_incidents(120)
    await bench.load("incident")
    await bench.let_pass(10)
    for key in ids[:60]:
        bench.twin.instance.delete("incident", key, user="admin")
    await bench.let_pass(2)
    done = await bench.tend("audit")
    assert done.held is not None
    assert await bench.rows("SELECT count(*) FROM incident") == [(120,)]
    held = "SELECT held->>'reason', (held->>'wanted')::int, (held->>'rows')::int FROM nowbridge.delete_watch"
    assert await bench.rows(held) == [("too_many", 60, 120)]
    assert (await bench.tend("compare")).held is not None
    async with bench.database.transaction() as connection:
        await connection.execute("UPDATE nowbridge.delete_watch SET allowed = 60")
    assert (await bench.tend("compare")).removed == 60
    assert await bench.rows("SELECT held, allowed FROM nowbridge.delete_watch") == [(None, None)]
    assert await bench.rows("SELECT count(*) FROM incident") == [(60,)]
