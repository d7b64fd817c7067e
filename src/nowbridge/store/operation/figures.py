"""The numbers that monitors ask for every few seconds: cheap to read, whatever the size of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nowbridge.store.database import Connection, Database
from nowbridge.store.ddl import Relation
from nowbridge.store.rows import tables
from nowbridge.store.rows.tables import TableStatus
from nowbridge.store.work import budget, loss, workers
from nowbridge.store.work.budget import BudgetStatus
from nowbridge.store.work.loss import Loss


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls about one subject for one purpose, as far as tallies are kept."""

    url: str
    subject: str
    purpose: str
    calls: int
    failures: int
    refused: int


@dataclass(frozen=True, slots=True)
class Figures:
    """`rows` of each table is Postgres' estimate; `lags` in seconds, of tables that changed in the last 5 minutes."""

    tables: tuple[TableStatus, ...]
    lags: Mapping[Relation, float]
    calls: tuple[Calls, ...]
    budgets: tuple[BudgetStatus, ...]
    workers: int
    losses: tuple[Loss, ...] = ()


async def read(database: Database, *, now: datetime, seen_within: timedelta) -> Figures:
    async with database.transaction() as connection:
        estimates = await _estimates(connection)
        found = tuple(
            replace(table, rows=estimates.get(table.relation, 0)) for table in await tables.status(connection)
        )
        lags = await _lags(connection, now - timedelta(minutes=5))
        return Figures(
            found,
            {table.relation: lags[table.relation] for table in found if table.relation in lags},
            await _calls(connection),
            tuple(await budget.status(connection)),
            len(await workers.living(connection, seen_since=now - seen_within)),
            tuple(await loss.losses(connection, now=now)),
        )


async def _estimates(connection: Connection) -> dict[Relation, int]:
    cursor = await connection.execute(
        "SELECT s.schemaname, s.relname, s.n_live_tup FROM pg_stat_user_tables s"
        " JOIN nowbridge.replica_table t ON t.schema_name = s.schemaname AND t.relation = s.relname"
    )
    return {Relation(schema, name): int(rows) for schema, name, rows in await cursor.fetchall()}


async def _lags(connection: Connection, since: datetime) -> dict[Relation, float]:
    cursor = await connection.execute(
        "SELECT schema_name, table_name, extract(epoch FROM max(lag))::double precision FROM"
        " (SELECT schema_name, table_name, lag, applied_at FROM public._sync_cdc WHERE lag IS NOT NULL AND source <> 'backfill'"
        "   ORDER BY id DESC LIMIT 10000) AS latest WHERE applied_at >= %s GROUP BY 1, 2",
        (since,),
    )
    return {Relation(schema, name): float(lag) for schema, name, lag in await cursor.fetchall()}


async def _calls(connection: Connection) -> tuple[Calls, ...]:
    cursor = await connection.execute(
        "SELECT url, subject, purpose, sum(calls)::bigint, sum(failures)::bigint, sum(refused)::bigint"
        " FROM nowbridge.call_tally GROUP BY url, subject, purpose ORDER BY url, subject, purpose"
    )
    return tuple(Calls(*row) for row in await cursor.fetchall())
