"""What clients and writers do side by side: the bell that wakes a client, and settling, which goes on all the time."""

from __future__ import annotations

import asyncio

import pytest

from nowbridge.model.errors import Retry
from nowbridge.writethrough.settling import Settler
from tests.writethrough.conftest import Writing


@pytest.mark.req("Q50")
async def test_a_write_whose_client_commits_at_this_moment_is_not_taken_back(writing: Writing) -> None:
    """The transaction's end and its mark become visible at once; looked at one before the other they disagreed."""
    settler, ended = Settler(writing.writer), asyncio.Event()

    async def settle() -> None:
        while not ended.is_set():
            await settler.settle()

    settling = asyncio.create_task(settle())
    async with await writing.connect() as client:
        for at in range(40):
            await client.execute(
                "UPDATE incident SET short_description = %s WHERE sys_id = %s", (f"{at}", writing.ids[0])
            )
    ended.set()
    await settling
    await settler.settle()
    found = await writing.bench.rows("SELECT settled, count(*) FROM nowbridge.write_log GROUP BY settled")
    assert found == [("committed", 40)]
    assert "39" in writing.texts()


@pytest.mark.trap("6")
async def test_who_holds_the_locks_that_wake_clients_stops_nobody(writing: Writing) -> None:
    """Any user can take an advisory lock. Then clients ask, as they do where no writer rings."""
    async with await writing.connect() as rude, await writing.connect() as client:
        await rude.execute("SELECT pg_advisory_lock(28276, n), pg_advisory_lock(28277, n) FROM generate_series(1, 9) n")
        await client.execute("UPDATE incident SET short_description = 'written' WHERE sys_id = %s", (writing.ids[0],))
    assert "written" in writing.texts()


async def test_a_writer_whose_own_connection_is_ended_opens_another(writing: Writing) -> None:
    await writing.pause()
    async with writing.writer.desk.connection() as connection:
        pid = connection.info.backend_pid
    writing.maintenance.execute("SELECT pg_terminate_backend(%s)", (pid,))
    with pytest.raises(Retry):
        await writing.claimed()
    writing.resume()
    async with await writing.connect() as client:
        await client.execute("UPDATE incident SET short_description = 'written' WHERE sys_id = %s", (writing.ids[0],))
    assert "written" in writing.texts()
