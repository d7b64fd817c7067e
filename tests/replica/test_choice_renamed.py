"""A choice is renamed in sys_choice: the rows that show it follow, and so do new pages."""

import pytest

from nowbridge.replica.label_feed import Followed
from nowbridge.replica.labels import rewrite_renamed
from nowbridge.store.rows.labels import CHOICES
from nowtwin.access.hiding import HideRule
from tests.support.replica import Bench

SHOWN = "SELECT state, state__value, count(*) FROM incident GROUP BY 1, 2 ORDER BY 2"


async def follow(bench: Bench, table: str = CHOICES) -> Followed:
    """Let this table's turn come, and look."""
    async with bench.database.transaction() as connection:
        await connection.execute("UPDATE nowbridge.label_source SET next_at = 'infinity', lease_until = NULL")
        await connection.execute(
            "UPDATE nowbridge.label_source SET next_at = '-infinity' WHERE table_name = %s", (table,)
        )
    done = await bench.replica.follow_labels()
    assert done is not None
    return done


def choice_of(bench: Bench, value: str, element: str = "state", table: str = "incident") -> str:
    rows = bench.twin.instance.export("sys_choice")
    named = [r for r in rows if (r["name"], r.get("element"), r.get("value")) == (table, element, value)]
    return named[0]["sys_id"]


async def loaded(bench: Bench) -> list[str]:
    ids = bench.make_incidents(60, state="2")
    await bench.load("incident")
    assert await bench.rows(SHOWN) == [("In Progress", 2, 60)]
    assert (await follow(bench)).renamed == 0
    return ids


@pytest.mark.req("Q43")
async def test_every_row_shows_the_new_word_and_the_feed_stays_quiet(bench: Bench) -> None:
    ids = await loaded(bench)
    bench.twin.instance.update("sys_choice", choice_of(bench, "2"), {"label": "Being worked on"})
    assert (await follow(bench)).renamed == 1
    bench.twin.instance.update("incident", ids[3], {"short_description": "newer than the rename"})
    await bench.catch_up()
    assert await rewrite_renamed(bench.database, bench.connection_id, chunk=20) == 59
    assert await bench.rows(SHOWN) == [("Being worked on", 2, 60)]
    fed = "SELECT changes ? 'state' FROM _sync_cdc WHERE sys_id IS NOT NULL"
    assert await bench.rows(fed) == [(True,)]  # of the row that changed itself
    await rewrite_renamed(bench.database, bench.connection_id)
    assert await bench.rows("SELECT count(*) FROM nowbridge.label_change") == [(0,)]
    assert (await bench.verify("incident")).equal


async def test_a_choice_that_is_added_or_removed_counts_too(bench: Bench) -> None:
    await loaded(bench)
    bench.twin.instance.delete("sys_choice", choice_of(bench, "2"))
    await follow(bench)
    await rewrite_renamed(bench.database, bench.connection_id)
    assert await bench.rows(SHOWN) == [("2", 2, 60)]
    new = {"name": "incident", "element": "state", "value": "2", "label": "Again", "language": "en"}
    bench.twin.instance.insert("sys_choice", new)
    await follow(bench)
    await rewrite_renamed(bench.database, bench.connection_id)
    assert await bench.rows(SHOWN) == [("Again", 2, 60)]


async def test_as_long_as_nothing_changes_a_look_costs_one_call_and_comes_ever_more_seldom(bench: Bench) -> None:
    await loaded(bench)
    waits = []
    for _ in range(6):
        assert (await follow(bench)).calls == 1
        waits += await bench.rows("SELECT every FROM nowbridge.label_source WHERE table_name = '(choices)'")
    seconds = [wait.total_seconds() for (wait,) in waits]
    assert seconds == [600, 1200, 2400, 3600, 3600, 3600]


@pytest.mark.req("Q40")
async def test_without_a_right_on_the_choices_words_are_learned_from_the_rows(bench: Bench) -> None:
    rule = HideRule("sys_choice", query="sys_idISNOTEMPTY", user="admin")
    bench.twin.instance.access.rules.append(rule)
    ids = bench.make_incidents(30, state="2")
    await bench.load("incident")
    assert await bench.rows(SHOWN) == [("In Progress", 2, 30)]
    assert await bench.rows("SELECT DISTINCT learned FROM nowbridge.choice") == [(True,)]

    bench.twin.instance.update("incident", ids[0], {"state": "3"})
    await bench.catch_up()
    assert await bench.rows(SHOWN) == [("In Progress", 2, 29), ("3", 3, 1)]
    assert (await follow(bench)).renamed == 1
    await rewrite_renamed(bench.database, bench.connection_id)
    assert await bench.rows(SHOWN) == [("In Progress", 2, 29), ("On Hold", 3, 1)]
