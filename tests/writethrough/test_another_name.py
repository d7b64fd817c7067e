"""A table that SQL users write gets another name, or one of its columns does: for a moment nobody may write it, then it is
written by that name.
"""

import asyncio

import psycopg
import pytest

from nowbridge.replica.amendments import change_columns, rename_table
from nowbridge.replica.layout import Selection
from nowbridge.store.rows import tables
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


async def test_columns_are_written_by_their_new_names_when_the_triggers_are_made_anew(writing: Writing) -> None:
    bench = writing.bench
    await change_columns(
        bench.replica, await bench.table_id("incident"), Selection(names={"short_description": "summary"})
    )
    change = "UPDATE incident SET summary = 'by its new name' WHERE sys_id = %s"
    async with await writing.connect() as client:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await client.execute(change, (writing.ids[0],))
        await enable_writes(bench.database, bench.replica.instance, bench.connection_id)
        await client.execute(change, (writing.ids[0],))
    stored = bench.twin.instance.read("incident", writing.ids[0])
    assert stored is not None
    assert stored["short_description"] == "by its new name"
