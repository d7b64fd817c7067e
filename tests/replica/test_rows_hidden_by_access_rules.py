"""ServiceNow hides rows after it has cut the page: pages come short or empty while more rows follow."""

import pytest

from nowtwin.access.hiding import HideRule
from tests.support.replica import Bench


@pytest.mark.trap("25")
@pytest.mark.parametrize("hidden", ["number<INC0000300", "number>=INC0000100^number<INC0000320", "numberENDSWITH3"])
async def test_every_visible_row_is_read_and_the_hidden_ones_are_counted(bench: Bench, hidden: str) -> None:
    bench.make_incidents(400)
    bench.twin.instance.access.rules.append(HideRule("incident", query=hidden, user="admin"))
    unseen = bench.twin.instance.count("incident", hidden)
    assert unseen >= 40
    await bench.load("incident")
    assert await bench.rows("SELECT count(*) FROM incident") == [(400 - unseen,)]
    assert await bench.rows("SELECT sum(hidden)::int FROM nowbridge.shard") == [(unseen,)]
    verdict = await bench.verify("incident")
    assert verdict.equal
    assert verdict.hidden == unseen


@pytest.mark.trap("30")
async def test_a_row_that_became_invisible_is_not_taken_for_a_deleted_one(bench: Bench) -> None:
    ids = bench.make_incidents(20)
    await bench.load("incident")
    bench.twin.instance.access.rules.append(HideRule("incident", query="number=INC0000007", user="admin"))
    bench.twin.instance.delete("incident", ids[3])
    verdict = await bench.verify("incident", repair=True)
    assert verdict.extra == [ids[3]]
    assert verdict.hidden >= 1
    assert await bench.rows("SELECT count(*) FROM incident") == [(19,)]
    assert await bench.rows("SELECT operation FROM _sync_cdc WHERE sys_id IS NOT NULL") == [("delete",)]


async def test_a_column_that_became_unreadable_is_null_and_said(bench: Bench) -> None:
    bench.make_incidents(5)
    bench.twin.instance.access.rules.append(HideRule("incident", elements=("short_description",), user="admin"))
    await bench.load("incident")
    assert await bench.rows("SELECT DISTINCT short_description FROM incident") == [(None,)]
