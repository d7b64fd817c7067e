"""`nowbridge status --storage`: what each table takes and how long it is kept; pruning holds to it."""

from __future__ import annotations

import asyncio

from nowbridge.store.database import Database
from nowbridge.wiring import worker_of
from nowtwin.testing import RunningServer
from tests.support.program import Program


async def test_every_internal_table_is_shown_with_its_size_and_keeping(
    program: Program, account: RunningServer
) -> None:
    await program.store_connection(account.url)
    assert program.run("replicate", "incident", NOWBRIDGE_KEEP_CHANGES_DAYS="3").code == 0
    told = program.run("status", "--storage", "--json", NOWBRIDGE_KEEP_CHANGES_DAYS="3").json
    tables = {(table["schema"], table["table"]): table for table in told["tables"]}
    assert tables[("public", "incident")]["bytes"] > 0
    assert tables[("public", "incident")]["kept_days"] is None
    assert tables[("public", "_sync_cdc")]["kept_days"] == 3
    assert tables[("nowbridge", "notice")]["kept_days"] == 90
    assert ("nowbridge_jobs", "procrastinate_jobs") in tables
    assert told["bytes"] == sum(table["bytes"] for table in told["tables"])
    assert "MB in all" in program.run("status", "--storage").out
    assert program.run("status", "--storage", "--watch").code == 2


async def test_what_the_settings_say_is_what_is_pruned(program: Program) -> None:
    old = "now() - interval '91 days'"
    async with Database(program.settings.database_url) as database:
        async with database.transaction() as connection:
            await connection.execute(
                "INSERT INTO nowbridge.notice (at, subject, kind, state, words)"
                f" SELECT at, 's', 'k', 'x', 'w' FROM (VALUES (now()), ({old})) AS t (at)"
            )
            await connection.execute(
                "INSERT INTO nowbridge.call_tally (url, hour, subject, purpose, calls, failures, refused, seconds)"
                f" SELECT 'u', at, 's', 'poll', 1, 0, 0, 0 FROM (VALUES (now()), ({old})) AS t (at)"
            )
        await worker_of(program.settings, database, asyncio.Event()).prune()
        async with database.transaction() as connection:
            counted = await connection.execute(
                "SELECT (SELECT count(*) FROM nowbridge.notice), (SELECT count(*) FROM nowbridge.call_tally)"
            )
            assert await counted.fetchone() == (1, 1)


async def test_the_rows_of_a_large_table_are_estimated_and_said_to_be(program: Program, account: RunningServer) -> None:
    await program.store_connection(account.url)
    assert program.run("replicate", "incident").code == 0
    (shown,) = program.run("status", "--json").json["tables"]
    assert (shown["rows"], shown["rows_estimated"]) == (5, False)
    async with Database(program.settings.database_url) as database, database.session() as connection:
        await connection.execute("INSERT INTO incident (sys_id) SELECT md5(n::text) FROM generate_series(1, 110000) n")
        await connection.execute("ANALYZE incident (sys_id)")
    (shown,) = program.run("status", "--json").json["tables"]
    assert shown["rows_estimated"]
    assert 105_000 < shown["rows"] < 115_000
    assert "~1" in program.run("status").out
