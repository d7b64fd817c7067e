"""A table that SQL users write gets another name: for a moment nobody may write it, then it is written by that name."""

import asyncio

import psycopg
import pytest

from nowbridge.replica.amendments import rename_table
from nowbridge.store import tables
from nowbridge.writethrough.enable import enable_writes
from tests.writethrough.conftest import Writing


async def test_it_is_written_by_its_new_name_when_its_triggers_are_made_anew(writing: Writing) -> None:
    bench = writing.bench
    async with bench.database.transaction() as connection:
        row = next(row for row in await tables.all_of(connection) if row.source == "incident")
    await rename_table(bench.database, row, "tickets", asyncio.sleep)
    change = "UPDATE tickets SET short_description = 'by its new name' WHERE sys_id = %s"
    async with await writing.connect() as client:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await client.execute(change, (writing.ids[0],))
        await enable_writes(bench.database, bench.replica.instance, bench.connection_id)
        await client.execute(change, (writing.ids[0],))
    stored = bench.twin.instance.read("incident", writing.ids[0])
    assert stored is not None
    assert stored["short_description"] == "by its new name"
