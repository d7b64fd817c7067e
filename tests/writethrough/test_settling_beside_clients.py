"""Settling goes on all the time, in every worker, while clients commit."""

from __future__ import annotations

import asyncio

import pytest

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
