"""Replica tables as we know them: which, where, in what phase, and how each stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from nowbridge.model.errors import NowbridgeError, Stop
from nowbridge.store.database import Connection
from nowbridge.store.ddl import Relation


@dataclass(frozen=True, slots=True)
class TableRow:
    """`layout` is replica.layout.Layout as JSON data, `selection` replica.layout.Selection. `phase` is planned, backfill
    or live, `contract` evolve, freeze or discard; `sql_deletes` allow, refuse or a number (migration 0008).
    """

    id: int
    connection_id: int
    source: str
    relation: Relation
    query: str
    layout: dict[str, Any]
    layout_epoch: int
    phase: str
    contract: str = "evolve"
    selection: dict[str, Any] = field(default_factory=dict)
    sql_deletes: str = "allow"


@dataclass(frozen=True, slots=True)
class NewTable:
    """A table that is to be replicated, as `TableRow`."""

    connection_id: int
    source: str
    relation: Relation
    query: str
    layout: dict[str, Any]
    contract: str = "evolve"
    selection: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableStatus:
    """One line of `nowbridge status`. Times are timezone-aware; counts are of rows and calls."""

    source: str
    relation: Relation
    phase: str
    rows: int
    total_count: int | None
    loaded: int
    hidden: int
    shards: int
    shards_done: int
    started_at: datetime | None
    backfilled_at: datetime | None
    proven_to: datetime | None
    proven_at: datetime | None
    changes: int
    calls: int
    failures: int
    last_error: dict[str, Any] | None
    value_issues: int
    paused_at: datetime | None = None
    poll_every: timedelta | None = None  # the wait that was chosen after the last poll
    estimated: bool = False  # whether `rows` is Postgres' estimate


COUNTED_BELOW = 100_000  # rows; above that an estimate is shown

COLUMNS = "id, connection_id, source, schema_name, relation, query, layout, layout_epoch, phase, contract, selection, sql_deletes"


def _row(values: tuple[Any, ...]) -> TableRow:
    table_id, connection_id, source, schema, relation, *rest = values
    return TableRow(table_id, connection_id, source, Relation(schema, relation), *rest)


async def add(connection: Connection, new: NewTable, *, now: datetime) -> TableRow:
    cursor = await connection.execute(
        "INSERT INTO nowbridge.replica_table"
        " (connection_id, source, schema_name, relation, query, layout, contract, selection, phase, added_at)"
        f" VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'planned', %s) RETURNING {COLUMNS}",
        (
            new.connection_id,
            new.source,
            new.relation.schema,
            new.relation.name,
            new.query,
            Jsonb(new.layout),
            new.contract,
            Jsonb(new.selection),
            now,
        ),
    )
    made = await cursor.fetchone()
    if made is None:
        raise AssertionError("an insert that returns nothing")
    return _row(made)


async def all_of(connection: Connection, connection_id: int | None = None) -> list[TableRow]:
    cursor = await connection.execute(
        f"SELECT {COLUMNS} FROM nowbridge.replica_table"
        " WHERE %(id)s::integer IS NULL OR connection_id = %(id)s ORDER BY id",
        {"id": connection_id},
    )
    return [_row(values) for values in await cursor.fetchall()]


async def load(connection: Connection, table_id: int) -> TableRow:
    cursor = await connection.execute(
        f"SELECT {COLUMNS} FROM nowbridge.replica_table WHERE id = %s",
        (table_id,),
    )
    values = await cursor.fetchone()
    if values is None:
        raise Stop("table.removed", asked=f"work on replica table {table_id}", answered="it is no longer replicated")
    return _row(values)


async def version(connection: Connection, table_id: int) -> tuple[object, ...]:
    """Differs when the table's columns, its contract, or the tables beside it have changed. Raises Stop `table.removed`."""
    cursor = await connection.execute(
        "SELECT t.layout_epoch, t.contract, t.selection::text, t.query, count(*), count(*) FILTER (WHERE o.phase = 'live')"
        " FROM nowbridge.replica_table t JOIN nowbridge.replica_table o ON o.connection_id = t.connection_id"
        " WHERE t.id = %s GROUP BY t.id",
        (table_id,),
    )
    row = await cursor.fetchone()
    if row is None:
        raise Stop("table.removed", asked=f"work on replica table {table_id}", answered="it is no longer replicated")
    return tuple(row)


async def set_phase(connection: Connection, table_id: int, phase: str, *, now: datetime) -> None:
    await connection.execute(
        "UPDATE nowbridge.replica_table SET phase = %(phase)s, last_error = NULL,"
        " backfilled_at = CASE WHEN %(phase)s = 'live' THEN coalesce(backfilled_at, %(now)s) ELSE backfilled_at END"
        " WHERE id = %(id)s",
        {"phase": phase, "now": now, "id": table_id},
    )


async def forget(connection: Connection, table_id: int) -> None:
    """The table is no longer replicated; it stays in Postgres as it is."""
    await connection.execute("DELETE FROM nowbridge.replica_table WHERE id = %s", (table_id,))


async def note_unprepared(connection: Connection, connection_id: int, error: NowbridgeError) -> None:
    """Keep for `nowbridge status` why the connection's planned tables could not be prepared."""
    await connection.execute(
        "UPDATE nowbridge.replica_table SET last_error = %s WHERE connection_id = %s AND phase = 'planned'",
        (Jsonb(described(error)), connection_id),
    )


async def set_name(connection: Connection, table_id: int, name: str) -> None:
    """What the table is called in Postgres from now on."""
    await connection.execute("UPDATE nowbridge.replica_table SET relation = %s WHERE id = %s", (name, table_id))


async def set_query(connection: Connection, table_id: int, query: str) -> None:
    """The encoded query that says which records are replicated; what was proved of the table by another is forgotten."""
    await connection.execute("UPDATE nowbridge.replica_table SET query = %s WHERE id = %s", (query, table_id))
    await connection.execute("DELETE FROM nowbridge.proof WHERE table_id = %s", (table_id,))


async def set_total(connection: Connection, table_id: int, total_count: int) -> None:
    await connection.execute(
        "UPDATE nowbridge.replica_table SET total_count = %s WHERE id = %s", (total_count, table_id)
    )


def described(error: NowbridgeError) -> dict[str, str]:
    """An error as it is stored and shown; errors carry no secrets and no record values."""
    return {"code": error.code, "asked": error.asked, "answered": error.answered, "hint": error.hint}


async def status(connection: Connection) -> list[TableStatus]:
    """How every table stands, in the order in which they were added. `rows` is left 0: counting is `count_rows`."""
    cursor = await connection.execute(
        "SELECT t.source, t.schema_name, t.relation, t.phase, t.total_count,"
        "  coalesce(s.rows, 0), coalesce(s.hidden, 0), coalesce(s.shards, 0), coalesce(s.done, 0), s.started_at,"
        "  t.backfilled_at, m.proven_to, m.proven_at, coalesce(m.changes, 0),"
        "  coalesce(s.calls, 0) + coalesce(m.calls, 0), greatest(coalesce(m.failures, 0), coalesce(s.failures, 0)),"
        "  coalesce(t.stopped, m.last_error, s.last_error, t.last_error),"
        "  (SELECT count(*) FROM nowbridge.value_issue i WHERE i.table_id = t.id), t.paused_at, m.poll_every"
        " FROM nowbridge.replica_table t LEFT JOIN nowbridge.stream m ON m.table_id = t.id"
        " LEFT JOIN (SELECT table_id, sum(rows)::bigint AS rows, sum(hidden)::bigint AS hidden, count(*) AS shards,"
        "   count(done_at) AS done, min(started_at) AS started_at, sum(calls)::bigint AS calls,"
        "   (array_agg(last_error) FILTER (WHERE last_error IS NOT NULL))[1] AS last_error, max(failures) AS failures"
        "   FROM nowbridge.shard GROUP BY table_id) s ON s.table_id = t.id ORDER BY t.id"
    )
    return [
        TableStatus(source, Relation(schema, relation), phase, 0, *rest)
        for source, schema, relation, phase, *rest in await cursor.fetchall()
    ]


async def count_rows(connection: Connection, relation: Relation) -> int:
    cursor = await connection.execute(sql.SQL("SELECT count(*) FROM {}").format(relation.identifier))
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def about_how_many(connection: Connection, relation: Relation) -> tuple[int, bool]:
    """The rows of a table, and whether that is Postgres' estimate: to count a large table reads all of it."""
    cursor = await connection.execute(
        "SELECT CASE WHEN c.reltuples > 0 THEN c.reltuples ELSE s.n_live_tup END::bigint FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid"
        " WHERE n.nspname = %s AND c.relname = %s",
        (relation.schema, relation.name),
    )
    row = await cursor.fetchone()
    if row is not None and row[0] is not None and row[0] > COUNTED_BELOW:
        return int(row[0]), True
    return await count_rows(connection, relation), False


async def record_misfits(
    connection: Connection, table_id: int, misfits: list[tuple[str, str, str]], *, now: datetime
) -> None:
    """Note values that did not fit their column: (sys_id, column, problem)."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO nowbridge.value_issue (table_id, sys_id, column_name, problem, seen_at)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (table_id, sys_id, column_name)"
            " DO UPDATE SET problem = excluded.problem, seen_at = excluded.seen_at",
            [(table_id, sys_id, column, problem, now) for sys_id, column, problem in misfits],
        )
