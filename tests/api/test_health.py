"""The health port: what it says, and that it says so when the database is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection

import pytest

from nowbridge.api import health
from nowbridge.api.server import listen, serve
from nowbridge.model.errors import Stop
from nowbridge.store.database import Database
from nowbridge.store.ddl import Relation
from nowbridge.store.rows.tables import TableStatus

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def table(phase: str, age: float | None) -> TableStatus:
    proven = None if age is None else NOW - timedelta(seconds=age)
    return TableStatus(
        source="incident",
        relation=Relation("public", "incident"),
        phase=phase,
        rows=1,
        total_count=1,
        loaded=1,
        hidden=0,
        shards=1,
        shards_done=1,
        started_at=NOW,
        backfilled_at=NOW,
        proven_to=proven,
        proven_at=proven,
        changes=0,
        calls=1,
        failures=0,
        last_error=None,
        value_issues=0,
    )


@pytest.mark.parametrize(
    ("tables", "status", "code"),
    [
        ([table("live", 3)], "ok", 200),
        ([], "ok", 200),
        ([table("live", 3), table("backfill", 500)], "loading", 200),
        ([table("live", 61)], "stale", 503),
        ([table("planned", None), table("live", 61)], "stale", 503),
    ],
)
def test_a_live_table_older_than_a_minute_is_stale(tables: list[TableStatus], status: str, code: int) -> None:
    judged = health.judge(tables, 1, now=NOW, stale_after=timedelta(seconds=60))
    assert (judged.status, judged.http_status) == (status, code)


def test_rare_polls_are_no_alarm() -> None:
    assert health.stale_after(timedelta(seconds=2)) == timedelta(seconds=60)
    assert health.stale_after(timedelta(minutes=5)) == timedelta(minutes=15)


def test_a_table_that_is_polled_rarely_because_hints_tell_of_it_is_not_stale_meanwhile() -> None:
    rare = replace(table("live", age=290), poll_every=timedelta(minutes=5))
    assert health.judge([rare], 1, now=NOW, stale_after=timedelta(seconds=60)).status == "ok"
    forgotten = replace(table("live", age=1_000), poll_every=timedelta(minutes=5))
    assert health.judge([forgotten], 1, now=NOW, stale_after=timedelta(seconds=60)).status == "stale"


@asynccontextmanager
async def served(database: Database) -> AsyncIterator[int]:
    stop = asyncio.Event()
    app = health.build(database, lambda: NOW, stale_after=timedelta(seconds=60), seen_within=timedelta(seconds=20))
    with listen(0) as listener:
        serving = asyncio.create_task(serve(app, listener, stop))
        yield listener.getsockname()[1]
        stop.set()
        await serving


def asked(port: int) -> tuple[int, dict[str, object]]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


async def test_the_port_answers_and_turns_503_when_the_database_goes_away(database_dsn: str) -> None:
    database = Database(database_dsn)
    async with served(database) as port:
        async with database:
            assert await asyncio.to_thread(asked, port) == (200, {"status": "ok", "tables": [], "workers": 0})
        assert await asyncio.to_thread(asked, port) == (503, {"status": "down", "tables": [], "workers": 0})


async def test_a_port_that_is_taken_is_an_error_with_words() -> None:
    with listen(0) as taken, pytest.raises(Stop) as refused:
        listen(taken.getsockname()[1])
    assert refused.value.code == "health.port"
    assert "--health-port" in refused.value.hint


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_it_listens_on_the_address_that_was_chosen_and_on_no_other(host: str) -> None:
    with listen(0, host) as listener:
        assert listener.getsockname()[0] == host
        port = listener.getsockname()[1]
        with listen(port, "127.0.0.3") as other:
            assert other.getsockname()[1] == port
