"""Columns of replica tables after the table was made: new ones, other names, states, the sweep that fills them.

Whoever reads a replica table is never kept waiting: statements that need the whole table for a moment run under a lock
time-out of 200 ms, everything in one short transaction of their own (traps, finding 20). Nothing is dropped or retyped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from nowbridge.model.errors import LostLease, Retry, Stop
from nowbridge.store.database import Connection, Database
from nowbridge.store.ddl import ColumnDefinition, Relation, index_name
from nowbridge.store.rows.load import Target
from nowbridge.store.rows.tables import TableRow
from nowbridge.store.work import duties
from nowbridge.store.work.duties import DutyLease

LOCK_TIMEOUT = "200ms"


@dataclass(frozen=True, slots=True)
class StateRow:
    """A column that is not simply there and complete; `since` is kept while its state stays the same."""

    column: str
    source: str
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class ColumnStatus:
    """One line of `nowbridge schema`. `filled_to` is the sys_id up to which a filling column is complete."""

    relation: Relation
    source_table: str
    column: str
    source: str
    state: str
    since: datetime
    detail: str
    filled_to: str | None


@dataclass(frozen=True, slots=True)
class ContractStatus:
    """`stopped` is why the table stands still, None if it does not; `words_learned`: the account may not read the choices."""

    relation: Relation
    source: str
    contract: str
    selection: dict[str, Any]
    stopped: dict[str, Any] | None
    checked_at: datetime | None
    error: dict[str, Any] | None
    learned_from: str
    words_learned: bool


@dataclass(frozen=True, slots=True)
class Fill:
    sources: tuple[str, ...]
    position: dict[str, Any] | None


@asynccontextmanager
async def briefly(database: Database) -> AsyncIterator[Connection]:
    """A transaction for DDL on a table that others use. Raises Retry `schema.busy` when it cannot have it at once."""
    try:
        async with database.transaction() as connection:
            await connection.execute("SELECT set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
            try:
                yield connection
            except psycopg.errors.LockNotAvailable as error:  # else it would pass for an unreachable database
                raise _Busy from error
    except _Busy as busy:
        raise Retry(
            "schema.busy",
            asked="change the columns of a replica table",
            answered=f"others hold it locked for longer than {LOCK_TIMEOUT}",
            hint="A long transaction on the table delays it; it is tried again.",
        ) from busy


class _Busy(Exception):
    pass


async def set_layout(connection: Connection, row: TableRow, layout: dict[str, Any]) -> None:
    """Another layout for the table, provided that it still has the one of `row`. Every claim on the table is taken back,
    so nobody writes by the old one any more. Raises LostLease.
    """
    cursor = await connection.execute(
        "UPDATE nowbridge.replica_table SET layout = %s, layout_epoch = layout_epoch + 1"
        " WHERE id = %s AND layout_epoch = %s",
        (Jsonb(layout), row.id, row.layout_epoch),
    )
    if cursor.rowcount != 1:
        raise LostLease("lease.lost", asked=f"change the columns of {row.source}", answered="somebody else just did")
    for table in ("shard", "stream"):
        await connection.execute(
            f"UPDATE nowbridge.{table} SET epoch = epoch + 1, owner = NULL, lease_until = NULL WHERE table_id = %s",
            (row.id,),
        )


async def set_words(connection: Connection, row: TableRow, layout: dict[str, Any]) -> None:
    """A layout that loads rows the same way as the one of `row`. Raises LostLease as `set_layout`."""
    cursor = await connection.execute(
        "UPDATE nowbridge.replica_table SET layout = %s WHERE id = %s AND layout_epoch = %s",
        (Jsonb(layout), row.id, row.layout_epoch),
    )
    if cursor.rowcount != 1:
        raise LostLease("lease.lost", asked=f"change the columns of {row.source}", answered="somebody else just did")


async def require_layout(connection: Connection, row: TableRow) -> None:
    """Make sure, to the end of the transaction, that the table's layout is the one of `row`. Raises LostLease."""
    cursor = await connection.execute(
        "SELECT 1 FROM nowbridge.replica_table WHERE id = %s AND layout_epoch = %s FOR SHARE",
        (row.id, row.layout_epoch),
    )
    if await cursor.fetchone() is None:
        raise LostLease("lease.lost", asked=f"load {row.source}", answered="its columns have changed meanwhile")


async def add(connection: Connection, relation: Relation, columns: Sequence[ColumnDefinition]) -> None:
    """Make columns, empty. Raises Stop `schema.column_taken` where there is one of that name that is not ours."""
    held = await present(connection, relation)
    if taken := sorted(column.name for column in columns if column.name in held):
        raise Stop(
            "schema.column_taken",
            asked=f"add column {taken[0]} to {relation.schema}.{relation.name}",
            answered="the table has a column of that name that Nowbridge did not make",
            hint="Rename yours: ALTER TABLE ... RENAME COLUMN ...",
        )
    if not columns:
        return
    added = sql.SQL(", ").join(
        sql.SQL("ADD COLUMN {} {}").format(sql.Identifier(c.name), sql.SQL(c.pg_type)) for c in columns
    )
    await connection.execute(sql.SQL("ALTER TABLE {} {}").format(relation.identifier, added))


async def rename(connection: Connection, relation: Relation, renames: Sequence[tuple[str, str]]) -> None:
    """Rename columns, one after the other, and our indexes on them. Raises Stop `schema.column_taken`."""
    held = await present(connection, relation)
    for old, new in renames:
        if new in held:
            raise Stop(
                "schema.column_taken",
                asked=f"call column {old} of {relation.schema}.{relation.name} {new}",
                answered="the table has a column of that name",
                hint="Choose another name, or rename that one first: ALTER TABLE ... RENAME COLUMN ...",
            )
        held = held - {old} | {new}
        await connection.execute(
            sql.SQL("ALTER TABLE {} RENAME COLUMN {} TO {}").format(
                relation.identifier, sql.Identifier(old), sql.Identifier(new)
            )
        )
        await connection.execute(
            sql.SQL("ALTER INDEX IF EXISTS {} RENAME TO {}").format(
                sql.Identifier(relation.schema, index_name(relation, old)), sql.Identifier(index_name(relation, new))
            )
        )


async def comment(connection: Connection, relation: Relation, comments: Sequence[tuple[str, str]]) -> None:
    """Set these columns' comments: (name, words)."""
    for name, words in comments:
        await connection.execute(
            sql.SQL("COMMENT ON COLUMN {}.{} IS {}").format(
                relation.identifier, sql.Identifier(name), sql.Literal(words)
            )
        )


async def present(connection: Connection, relation: Relation) -> set[str]:
    cursor = await connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        (relation.identifier.as_string(connection),),
    )
    return {row[0] for row in await cursor.fetchall()}


async def dependents(connection: Connection, relation: Relation, columns: Sequence[str]) -> list[str]:
    """Views and materialized views that read these columns, as schema.name."""
    cursor = await connection.execute(
        "SELECT DISTINCT n.nspname || '.' || v.relname FROM pg_depend d"
        " JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
        " JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass"
        " JOIN pg_class v ON v.oid = r.ev_class JOIN pg_namespace n ON n.oid = v.relnamespace"
        " WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = %s::regclass AND a.attname = ANY(%s) ORDER BY 1",
        (relation.identifier.as_string(connection), list(columns)),
    )
    return [row[0] for row in await cursor.fetchall()]


async def note_states(connection: Connection, table_id: int, states: Sequence[StateRow], *, now: datetime) -> None:
    """Exactly these columns of the table are in a state worth telling."""
    await connection.execute(
        "DELETE FROM nowbridge.column_state WHERE table_id = %s AND NOT column_name = ANY(%s)",
        (table_id, [row.column for row in states]),
    )
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO nowbridge.column_state AS s (table_id, column_name, source, state, since, detail)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (table_id, column_name) DO UPDATE SET"
            "   since = CASE WHEN s.state = excluded.state THEN s.since ELSE excluded.since END,"
            "   source = excluded.source, state = excluded.state, detail = excluded.detail",
            [(table_id, row.column, row.source, row.state, now, row.detail) for row in states],
        )


async def ignored(connection: Connection, table_id: int) -> list[StateRow]:
    """Columns of the source that the table's contract leaves out."""
    cursor = await connection.execute(
        "SELECT column_name, source, state, detail FROM nowbridge.column_state WHERE table_id = %s AND state = 'ignored'",
        (table_id,),
    )
    return [StateRow(*row) for row in await cursor.fetchall()]


async def status(connection: Connection) -> list[ColumnStatus]:
    cursor = await connection.execute(
        "SELECT t.schema_name, t.relation, t.source, s.column_name, s.source, s.state, s.since, s.detail,"
        "  CASE WHEN s.state = 'filling' THEN coalesce(f.filled_to, '') END"
        " FROM nowbridge.column_state s JOIN nowbridge.replica_table t ON t.id = s.table_id"
        " LEFT JOIN nowbridge.fill f ON f.table_id = s.table_id ORDER BY t.id, s.column_name"
    )
    return [ColumnStatus(Relation(schema, name), *rest) for schema, name, *rest in await cursor.fetchall()]


async def contracts(connection: Connection) -> list[ContractStatus]:
    cursor = await connection.execute(
        "SELECT t.schema_name, t.relation, t.source, t.contract, t.selection, t.stopped, d.done_at, d.last_error,"
        "  coalesce(t.layout->>'learned_from', 'sys_dictionary'),"
        "  EXISTS (SELECT 1 FROM nowbridge.choice c WHERE c.connection_id = t.connection_id AND c.learned"
        "    AND c.table_name = t.source)"
        " FROM nowbridge.replica_table t LEFT JOIN nowbridge.duty d ON d.table_id = t.id AND d.kind = 'schema'"
        " ORDER BY t.id"
    )
    return [ContractStatus(Relation(schema, name), *rest) for schema, name, *rest in await cursor.fetchall()]


async def set_contract(connection: Connection, row: TableRow, contract: str, *, now: datetime) -> None:
    """evolve, freeze or discard, from the next look at the dictionary on, which is due now."""
    await connection.execute("UPDATE nowbridge.replica_table SET contract = %s WHERE id = %s", (contract, row.id))
    await look_again(connection, row, now=now)


async def set_selection(connection: Connection, row: TableRow, selection: dict[str, Any], *, now: datetime) -> None:
    """Other columns, from the next look at the dictionary on, which is due now."""
    await connection.execute(
        "UPDATE nowbridge.replica_table SET selection = %s WHERE id = %s", (Jsonb(selection), row.id)
    )
    await look_again(connection, row, now=now)


async def stop(connection: Connection, table_id: int, why: dict[str, Any] | None) -> None:
    """Let nobody work on the table until somebody has looked; None: work goes on."""
    await connection.execute(
        "UPDATE nowbridge.replica_table SET stopped = %s WHERE id = %s", (Jsonb(why) if why else None, table_id)
    )
    if why is not None:
        await connection.execute(
            "UPDATE nowbridge.stream SET epoch = epoch + 1, owner = NULL, lease_until = NULL WHERE table_id = %s",
            (table_id,),
        )


async def accept(connection: Connection, table_id: int, *, now: datetime) -> bool:
    """Somebody accepts what has stopped the table; True if something has. The next look takes it over."""
    cursor = await connection.execute(
        "UPDATE nowbridge.replica_table SET stopped = stopped || '{\"accepted\": true}' WHERE id = %s"
        " AND stopped IS NOT NULL",
        (table_id,),
    )
    if cursor.rowcount:
        await duties.bring_forward(connection, table_id, "schema", now=now)
    return cursor.rowcount > 0


async def stopped(connection: Connection, table_id: int) -> dict[str, Any] | None:
    cursor = await connection.execute("SELECT stopped FROM nowbridge.replica_table WHERE id = %s", (table_id,))
    row = await cursor.fetchone()
    return row[0] if row else None


async def plan_fill(connection: Connection, table_id: int, sources: Sequence[str], *, now: datetime) -> None:
    """These source columns are to be filled, from the first row on; a fill that is under way begins again with them."""
    if sources:
        await connection.execute(
            "INSERT INTO nowbridge.fill (table_id, sources, started_at) VALUES (%s, %s, %s) ON CONFLICT (table_id)"
            " DO UPDATE SET sources = excluded.sources, position = NULL, filled_to = NULL",
            (table_id, list(sources), now),
        )
    else:
        await connection.execute("DELETE FROM nowbridge.fill WHERE table_id = %s", (table_id,))


async def fill_of(connection: Connection, table_id: int) -> Fill | None:
    cursor = await connection.execute("SELECT sources, position FROM nowbridge.fill WHERE table_id = %s", (table_id,))
    row = await cursor.fetchone()
    return Fill(tuple(row[0]), row[1]) if row else None


async def advance_fill(
    connection: Connection, lease: DutyLease, position: dict[str, Any], *, filled_to: str | None, rows: int
) -> None:
    """Move the fill's cursor in the transaction that holds its rows."""
    await connection.execute(
        "UPDATE nowbridge.fill SET position = %s, filled_to = coalesce(%s, filled_to), rows = rows + %s,"
        " calls = calls + 1 WHERE table_id = %s",
        (Jsonb(position), filled_to, rows, lease.table_id),
    )


async def fill_rows(connection: Connection, target: Target) -> int:
    """Values of the staged rows into the rows that are held in the same version: a row that is newer here has them
    already, one that is newer there is still to be brought by the change stream. Not in the change feed: nothing
    changed in ServiceNow. Raises Retry `schema.busy` where somebody holds one of the rows.
    """
    version = [name for name in ("sys_mod_count", "sys_updated_on") if name in target.columns]
    others = [name for name in target.columns if name not in ("sys_id", *version)]
    if not others:
        return 0
    same = [sql.SQL("t.{0} IS NOT DISTINCT FROM n.{0}").format(sql.Identifier(name)) for name in version]
    statement = sql.SQL(
        "UPDATE {table} t SET {assignments} FROM {stage} n WHERE {same} AND ({held}) IS DISTINCT FROM ({come})"
    ).format(
        table=target.relation.identifier,
        stage=sql.Identifier("pg_temp", target.stage),
        assignments=sql.SQL(", ").join(sql.SQL("{0} = n.{0}").format(sql.Identifier(name)) for name in others),
        same=sql.SQL(" AND ").join([sql.SQL("t.sys_id = n.sys_id"), *same]),
        held=sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(name)) for name in others),
        come=sql.SQL(", ").join(sql.SQL("n.{}").format(sql.Identifier(name)) for name in others),
    )
    await connection.execute("SELECT set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
    try:
        return (await connection.execute(statement)).rowcount
    except psycopg.errors.LockNotAvailable as error:
        raise Retry(
            "schema.busy",
            asked=f"fill columns of {target.relation.name}",
            answered="somebody holds one of its rows locked",
            hint="It is tried again.",
        ) from error


async def seen(connection: Connection, connection_id: int, subject: str) -> tuple[str, datetime] | None:
    """What was last seen of some metadata, and when all of it was last read."""
    cursor = await connection.execute(
        "SELECT seen, read_at FROM nowbridge.metadata_seen WHERE connection_id = %s AND subject = %s",
        (connection_id, subject),
    )
    row = await cursor.fetchone()
    return (row[0], row[1]) if row else None


async def look_again(connection: Connection, row: TableRow, *, now: datetime) -> None:
    """Have the whole dictionary of a table read again, now."""
    await connection.execute(
        "DELETE FROM nowbridge.metadata_seen WHERE connection_id = %s AND subject = %s",
        (row.connection_id, f"columns:{row.source}"),
    )
    await duties.bring_forward(connection, row.id, "schema", now=now)


async def note_seen(connection: Connection, connection_id: int, subject: str, what: str, *, now: datetime) -> None:
    await connection.execute(
        "INSERT INTO nowbridge.metadata_seen (connection_id, subject, seen, read_at) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (connection_id, subject) DO UPDATE SET seen = excluded.seen, read_at = excluded.read_at",
        (connection_id, subject, what, now),
    )
