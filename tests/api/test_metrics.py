"""/metrics: Prometheus' text format, the facts of `nowbridge status`."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from http.client import HTTPConnection

from nowbridge.api import health
from nowbridge.api.metrics import Family, render
from nowbridge.api.server import listen, serve
from nowbridge.store.database import Database
from nowbridge.store.work import workers
from tests.support.replica import Bench

_SAMPLE = re.compile(r'nowbridge_[a-z_]+(\{[a-z]+="(?:[^"\\\n]|\\.)*"(,[a-z]+="(?:[^"\\\n]|\\.)*")*\})? -?[0-9.e+]+')


def asked(port: int) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert (answer.getheader("Content-Type") or "").startswith("text/plain; version=0.0.4")
        return answer.status, answer.read().decode()
    finally:
        connection.close()


async def scrape(bench: Bench, database: Database) -> tuple[int, str]:
    stop = asyncio.Event()
    stale, seen = timedelta(seconds=60), timedelta(seconds=20)
    app = health.build(database, bench.now, stale_after=stale, seen_within=seen)
    with listen(0) as listener:
        serving = asyncio.create_task(serve(app, listener, stop))
        told = await asyncio.to_thread(asked, listener.getsockname()[1])
        stop.set()
        await serving
    return told


async def test_a_loaded_table_is_told_with_age_lag_rows_and_workers(bench: Bench) -> None:
    key = bench.make_incidents(7)[0]
    await bench.load("incident")
    bench.twin.instance.update("incident", key, {"short_description": "changed"}, user="admin")
    await bench.catch_up()
    bench.now.pass_(seconds=200)
    async with bench.database.transaction() as connection:
        await workers.beat(connection, "one", {}, now=bench.now())
        await connection.execute("SELECT pg_stat_force_next_flush()")
    status, text = await scrape(bench, bench.database)
    assert status == 200
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(_SAMPLE.fullmatch(line) for line in lines), text
    values = dict(line.rsplit(" ", 1) for line in lines)
    of_incident = '{schema="public",table="incident"}'
    assert values["nowbridge_up"] == values["nowbridge_workers"] == values[f"nowbridge_table_live{of_incident}"] == "1"
    assert values[f"nowbridge_table_changes_total{of_incident}"] == "1"
    assert values[f"nowbridge_table_failures{of_incident}"] == values[f"nowbridge_table_paused{of_incident}"] == "0"
    assert 200 <= float(values[f"nowbridge_table_proven_age_seconds{of_incident}"]) < 400
    assert float(values[f"nowbridge_table_lag_seconds{of_incident}"]) > 0


async def test_without_a_database_it_says_so(bench: Bench, database_dsn: str) -> None:
    status, text = await scrape(bench, Database(database_dsn))
    assert (status, text.splitlines()[-1]) == (503, "nowbridge_up 0")


def test_labels_are_escaped() -> None:
    family = Family("x", "gauge", "w", (((("a", 'q"\\\n'),), 1.5),))
    assert render([family]).splitlines()[-1] == 'nowbridge_x{a="q\\"\\\\\\n"} 1.5'
