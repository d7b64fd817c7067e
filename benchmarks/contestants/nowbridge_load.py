"""Nowbridge as a worker runs it: discover, prepare, then as many shards at once as a worker reads, until the table is
live with its indexes. Labels of references and choices included: 132 columns from 90.
"""

from __future__ import annotations

import asyncio
import time

from psycopg import sql

from benchmarks import incidents
from benchmarks.contest import Outcome, Task, enter
from nowbridge import wiring
from nowbridge.replica.run import Replica, add_tables
from nowbridge.replica.spec import TableSpec
from nowbridge.settings import Settings
from nowbridge.store.database import Database
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import ConnectionRow, NewConnection
from nowbridge.store.rows import tables
from nowbridge.wiring import Credentials, SignIn

SIGN_IN = SignIn("basic", "admin", None, Credentials(password="admin"))
LABELLED = (*(name for names in incidents.REFERENCES.values() for name in names), *incidents.CHOICES)


def load(task: Task) -> Outcome:
    return asyncio.run(_load(task))


async def _load(task: Task) -> Outcome:
    settings = Settings(home=task.home, database_url=task.dsn)
    wiring.prepare_home(settings)
    async with Database(task.dsn) as database:
        row = await _connect(settings, database, task)
        opened = await wiring.open_replica(settings, database, row, wiring.new_holder(settings))
        parallel = wiring.duties_of(settings).parallel
        try:
            await _work_in_parallel(opened.replica, parallel)  # a worker looks for work twice a second: nothing yet
            begun = time.perf_counter()
            await opened.replica.prepare()
            prepared = time.perf_counter()
            await _work_in_parallel(opened.replica, parallel)
            loaded = time.perf_counter()
        finally:
            await opened.close()
        rows = await _live_rows(database)
        labelled = await _labelled(database)
    note = f"{len(LABELLED)} labels a row; prepare {prepared - begun:.1f} s apart"
    return Outcome(loaded - prepared, rows, note, prepared - begun, labelled)


async def _connect(settings: Settings, database: Database, task: Task) -> ConnectionRow:
    sealed = wiring.sealed(settings, "bench", task.url, SIGN_IN.credentials)
    async with database.transaction() as connection:
        new = NewConnection("bench", task.url, SIGN_IN.auth, SIGN_IN.username, None, sealed)
        row = await connections.save(connection, new, now=wiring.now())
        async with wiring.instance_of(settings, task.url, SIGN_IN) as instance:
            await add_tables(connection, instance, row, [TableSpec(task.table)], wiring.now)
    return row


async def _work_in_parallel(replica: Replica, parallel: int) -> None:
    await asyncio.gather(*(_work(replica) for _ in range(parallel)))


async def _work(replica: Replica) -> None:
    while await replica.load_next_shard():
        pass


async def _live_rows(database: Database) -> int:
    """The rows of the table if its backfill is complete, else 0."""
    async with database.transaction() as connection:
        (row,) = await tables.all_of(connection)
        return await tables.count_rows(connection, row.relation) if row.phase == "live" else 0


async def _labelled(database: Database) -> float:
    """The share of stored reference and choice values whose label is there and is not the value itself."""
    held = sql.SQL(" + ").join(sql.SQL("count({})").format(sql.Identifier(f"{name}__value")) for name in LABELLED)
    shown = sql.SQL(" + ").join(
        sql.SQL("count(*) FILTER (WHERE {} <> {}::text)").format(sql.Identifier(name), sql.Identifier(f"{name}__value"))
        for name in LABELLED
    )
    query = sql.SQL("SELECT ({})::float / ({}) FROM {}").format(shown, held, sql.Identifier("public", incidents.TABLE))
    async with database.transaction() as connection:
        row = await (await connection.execute(query)).fetchone()
    return float(row[0]) if row else 0.0


if __name__ == "__main__":
    enter(load)
