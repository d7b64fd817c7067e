"""The account loses a role while the replica is being followed: rows vanish from its sight, and nothing is deleted."""

import pytest

from nowbridge.replica.deletion_rules import Hold
from nowtwin.access.hiding import HideRule
from tests.support.replica import Bench


@pytest.mark.trap("30")
@pytest.mark.parametrize("duty", ["check", "compare"])
async def test_all_deletes_of_the_table_are_held_until_the_rows_are_seen_again(bench: Bench, duty: str) -> None:
    ids = bench.make_incidents(200)
    await bench.load("incident")
    await bench.let_pass(10)
    await bench.catch_up()
    rule = HideRule("incident", query="number>=INC0000100", user="admin")
    bench.twin.instance.access.rules.append(rule)
    bench.twin.instance.delete("incident", ids[3], user="admin")
    assert (await bench.tend("compare")).held is Hold.SHRUNK
    assert await bench.rows("SELECT count(*) FROM incident") == [(200,)]
    held = "SELECT held->>'reason' FROM nowbridge.delete_watch"
    assert await bench.rows(held) == [("shrunk",)]

    # While they are held neither the journal nor a check deletes, and a comparison does not take it for the new normal.
    assert (await bench.tend("audit")).removed == 0
    assert (await bench.tend(duty)).removed == 0
    assert await bench.rows("SELECT count(*) FROM incident") == [(200,)]

    bench.twin.instance.access.rules.remove(rule)
    assert (await bench.tend("compare")).removed == 1
    assert await bench.rows(held) == [(None,)]
    assert await bench.rows("SELECT count(*) FROM incident") == [(199,)]


async def test_a_few_rows_out_of_sight_are_kept_and_noted(bench: Bench) -> None:
    ids = bench.make_incidents(100)
    await bench.load("incident")
    await bench.let_pass(10)
    await bench.catch_up()
    rule = HideRule("incident", query="number=INC0000007", user="admin")
    bench.twin.instance.access.rules.append(rule)
    bench.twin.instance.delete("incident", ids[3], user="admin")
    done = await bench.tend("compare")
    assert (done.removed, done.held) == (1, None)
    assert await bench.rows("SELECT sys_id FROM nowbridge.invisible") == [(ids[7],)]
    bench.twin.instance.delete("incident", ids[7], user="admin")
    assert (await bench.tend("compare")).removed == 1
    assert await bench.rows("SELECT sys_id FROM nowbridge.invisible") == []
    assert await bench.rows("SELECT count(*) FROM incident") == [(98,)]


async def test_a_table_closed_altogether_stops_its_duty_and_deletes_nothing(bench: Bench) -> None:
    bench.make_incidents(60)
    await bench.load("incident")
    await bench.let_pass(10)
    await bench.catch_up()
    bench.twin.instance.access.rules.append(HideRule("incident", query="sys_idISNOTEMPTY", user="admin"))
    assert (await bench.tend("compare")).held is Hold.SHRUNK
    assert await bench.rows("SELECT count(*) FROM incident") == [(60,)]
