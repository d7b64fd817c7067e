"""Workers by themselves: a new column and a renamed choice reach the rows without anybody asking."""

from dataclasses import replace

from nowbridge.jobs.worker import Worker
from tests.jobs.test_worker import DUTIES, replicate, running, until, worker
from tests.support.replica import Bench

STAMPS = {"sys_created_on": "2026-01-05 10:00:00", "sys_updated_on": "2026-01-05 10:00:00"}


def tending(bench: Bench, name: str) -> Worker:
    made = worker(bench, name)
    made.duties = replace(DUTIES, tend=0.02)
    return made


async def test_a_new_column_appears_and_is_filled(bench: Bench) -> None:
    ids = bench.make_incidents(700, **STAMPS)
    await replicate(bench, "incident")
    async with running(tending(bench, "one"), tending(bench, "two")):
        await until(bench, "SELECT count(*) FROM nowbridge.replica_table WHERE phase = 'live'", 1)
        await until(bench, "SELECT count(*) FROM nowbridge.duty WHERE kind = 'schema' AND done_at IS NOT NULL", 1)
        entry = {"name": "incident", "element": "u_floor", "internal_type": "string", "column_label": "Floor"}
        bench.twin.instance.insert("sys_dictionary", entry)
        rows = [
            {"sys_id": key, "number": f"INC{at:07}", "u_floor": f"floor {at % 7}", **STAMPS}
            for at, key in enumerate(ids)
        ]
        bench.twin.instance.load("incident", rows)
        bench.now.pass_(minutes=11)
        await until(bench, "SELECT count(*) FROM pg_attribute WHERE attname = 'u_floor'", 1)
        await until(bench, "SELECT count(*) FROM incident WHERE u_floor IS NOT NULL", 700)
        await until(bench, "SELECT count(*) FROM _sync_columns", 0)


async def test_a_renamed_choice_reaches_the_rows(bench: Bench) -> None:
    bench.make_incidents(120, state="2")
    await replicate(bench, "incident")
    async with running(tending(bench, "one"), tending(bench, "two")):
        await until(bench, "SELECT count(*) FROM nowbridge.replica_table WHERE phase = 'live'", 1)
        await until(bench, "SELECT count(*) FROM nowbridge.metadata_seen WHERE subject = 'choices'", 1)
        choices = bench.twin.instance.export("sys_choice")
        named = ("incident", "state", "2")
        found = next(c["sys_id"] for c in choices if (c.get("name"), c.get("element"), c.get("value")) == named)
        bench.twin.instance.update("sys_choice", found, {"label": "Being worked on"}, user="admin")
        bench.now.pass_(hours=2)
        await until(bench, "SELECT count(*) FROM incident WHERE state = 'Being worked on'", 120)
        await until(bench, "SELECT count(*) FROM nowbridge.label_change", 0)
