"""Rows into replica tables: by COPY straight into an empty range, else by COPY into a staging table and one merge.

The merge takes a row only where its version is newer, so replays and reordering change nothing, and it writes the
change feed in the same statement. Callers own the transaction: rows, feed and cursor commit together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal

import psycopg
from psycopg import sql

from nowbridge.store.database import Connection
from nowbridge.store.ddl import Relation
from nowbridge.store.rows.changed import joined, pair

COPY_OPTIONS = sql.SQL("(FORMAT text, DELIMITER E'\\x1f', NULL '')")
Source = Literal["backfill", "poll", "hint", "recent", "verify"]
Encoded = Iterable[bytes]
"""Rows as COPY text, in parts that may be made only when they are asked for."""


@dataclass(frozen=True, slots=True)
class Target:
    """A replica table and the columns that a load fills, in the order of the COPY fields. `stage` is unique for the
    table and its layout: the staging table is kept for the life of a database connection.
    """

    relation: Relation
    columns: tuple[str, ...]
    stage: str
    versioned: bool = True

    @property
    def column_list(self) -> sql.Composed:
        return _list(self.columns)


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge wrote; `sys_ids` are those of the rows."""

    inserted: int
    updated: int
    sys_ids: tuple[str, ...] = ()

    @property
    def changed(self) -> int:
        return self.inserted + self.updated

    def plus(self, other: Merged) -> Merged:
        return Merged(self.inserted + other.inserted, self.updated + other.updated, self.sys_ids + other.sys_ids)


class NotEmpty(Exception):
    """A row that was to be new is there already."""


class Unstorable(Exception):
    """A value does not fit its column's type; which one is for `replica.misfits` to find."""


async def copy_new(connection: Connection, target: Target, rows: Encoded) -> None:
    """COPY rows that are not there yet. Raises NotEmpty when one is: then stage and merge, in a new transaction."""
    await _copy(connection, (target.relation.schema, target.relation.name), target.columns, rows)


async def stage(connection: Connection, target: Target, rows: Encoded) -> None:
    """COPY rows into the connection's own staging table; it is empty again at the end of the transaction."""
    table = sql.Identifier("pg_temp", target.stage)
    found = await (await connection.execute("SELECT to_regclass(%s)", (f"pg_temp.{target.stage}",))).fetchone()
    if found is None or found[0] is None:
        await connection.execute(
            sql.SQL("CREATE TEMP TABLE {} ON COMMIT DELETE ROWS AS SELECT {} FROM {} WITH NO DATA").format(
                sql.Identifier(target.stage), target.column_list, target.relation.identifier
            )
        )
    else:
        await connection.execute(sql.SQL("TRUNCATE {}").format(table))
    await _copy(connection, ("pg_temp", target.stage), target.columns, rows)


async def merge(
    connection: Connection, target: Target, *, source: Source, now: datetime, repair: bool = False
) -> Merged:
    """Bring the staged rows into the table. `repair` also takes rows whose version is equal but whose content differs
    (the verifier's finding); without it an equal version is a replay and changes nothing.
    """
    cursor = await connection.execute(
        _merge_statement(target, repair=repair, feed_inserts=source != "backfill"),
        {"schema": target.relation.schema, "table": target.relation.name, "source": source, "now": now},
    )
    row = await cursor.fetchone()
    return Merged(row[0], row[1], tuple(row[2] or ())) if row else Merged(0, 0)


async def forget_versions(connection: Connection, target: Target) -> None:
    """Let the staged rows win whatever their versions say, in the transaction that merges them: the instance was put
    back, so that its older versions are what is true now.
    """
    versions = [name for name in ("sys_mod_count", "sys_updated_on") if name in target.columns]
    if versions:
        await connection.execute(
            sql.SQL(
                "UPDATE {table} t SET {nothing} FROM {stage} n WHERE n.sys_id = t.sys_id AND {held} > {come}"
            ).format(
                table=target.relation.identifier,
                stage=sql.Identifier("pg_temp", target.stage),
                nothing=sql.SQL(", ").join(sql.SQL("{} = NULL").format(sql.Identifier(name)) for name in versions),
                held=_row_of("t", versions),
                come=_row_of("n", versions),
            )
        )


async def delete_rows(
    connection: Connection, target: Target, sys_ids: Sequence[str], *, source: Source, now: datetime
) -> int:
    """Remove rows that are proved to be gone from the source; the feed keeps their last state."""
    statement = sql.SQL(
        "WITH gone AS (DELETE FROM {table} WHERE sys_id = ANY(%(ids)s) RETURNING *)"
        " INSERT INTO public._sync_cdc (schema_name, table_name, sys_id, operation, changes, source, applied_at)"
        " SELECT %(schema)s, %(table)s, sys_id, 'delete',"
        "  (SELECT jsonb_object_agg(k, jsonb_build_array(v, NULL)) FROM jsonb_each(jsonb_strip_nulls(to_jsonb(gone))) AS e(k, v)),"
        "  %(source)s, %(now)s FROM gone"
    ).format(table=target.relation.identifier)
    cursor = await connection.execute(
        statement,
        {
            "ids": list(sys_ids),
            "schema": target.relation.schema,
            "table": target.relation.name,
            "source": source,
            "now": now,
        },
    )
    return cursor.rowcount


async def mark_complete(connection: Connection, relation: Relation, *, now: datetime) -> None:
    """The feed's mark that a table's first load is complete: everything after it is in the feed."""
    await connection.execute(
        "INSERT INTO public._sync_cdc (schema_name, table_name, operation, source, applied_at)"
        " VALUES (%s, %s, 'backfill', 'backfill', %s)",
        (relation.schema, relation.name, now),
    )


async def _copy(connection: Connection, table: tuple[str, str], columns: tuple[str, ...], rows: Encoded) -> None:
    try:
        async with connection.cursor() as cursor, cursor.copy(_copy_statement(table, columns)) as copy:
            for part in rows:
                await copy.write(part)
                await asyncio.sleep(0)  # to make a part takes milliseconds: heartbeats and answers go on in between
    except psycopg.errors.UniqueViolation as error:
        raise NotEmpty from error
    except psycopg.DataError as error:
        raise Unstorable from error


@lru_cache(maxsize=64)
def _copy_statement(table: tuple[str, str], columns: tuple[str, ...]) -> bytes:
    """To put together what names 132 columns takes half a millisecond, and it is wanted with every page."""
    return (
        sql.SQL("COPY {} ({}) FROM STDIN {}")
        .format(sql.Identifier(*table), _list(columns), COPY_OPTIONS)
        .as_bytes(None)
    )


@lru_cache(maxsize=512)
def _merge_statement(target: Target, *, repair: bool, feed_inserts: bool) -> bytes:
    """As bytes: to put 130 columns together costs as much as to encode a hundred rows."""
    others = [name for name in target.columns if name != "sys_id"]
    return (
        sql.SQL(
            "WITH old AS MATERIALIZED (SELECT t.* FROM {table} AS t JOIN {stage} AS n USING (sys_id)"
            "   ORDER BY t.sys_id FOR NO KEY UPDATE OF t),"
            # Reading `old` here makes Postgres lock and remember the rows before it writes them: a lock taken later passes
            # over rows that the same command has written, and the feed would show them as new.
            " written AS (INSERT INTO {table} AS t ({columns}) SELECT {columns} FROM {stage}"
            "   WHERE (SELECT count(*) FROM old) IS NOT NULL ORDER BY sys_id"
            "   ON CONFLICT (sys_id) DO UPDATE SET {assignments} WHERE {newer}"
            "   RETURNING t.sys_id, t.xmax = 0 AS fresh),"
            " feed AS (INSERT INTO public._sync_cdc"
            "   (schema_name, table_name, sys_id, operation, changes, source, version, changed_at, applied_at)"
            "   SELECT %(schema)s, %(table)s, sys_id, CASE WHEN w.fresh THEN 'insert' ELSE {operation} END,"
            "     ('{{' || substr(nullif({pairs}, ''), 2) || '}}')::jsonb,"
            "     %(source)s, {version}, {changed_at}, %(now)s"
            "   FROM written AS w JOIN {stage} AS n USING (sys_id) LEFT JOIN old AS o USING (sys_id)"
            "   WHERE {fed} ORDER BY {feed_order})"
            " SELECT count(*) FILTER (WHERE fresh), count(*) FILTER (WHERE NOT fresh), array_agg(sys_id) FROM written"
        )
        .format(
            table=target.relation.identifier,
            stage=sql.Identifier("pg_temp", target.stage),
            columns=target.column_list,
            assignments=sql.SQL(", ").join(
                sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in others
            ),
            newer=_newer(target, repair=repair),
            operation=sql.Literal("repair" if repair else "update"),
            pairs=joined([pair(name, "o.{0}", "n.{0}", "o.{0} IS DISTINCT FROM n.{0}") for name in others]),
            version=sql.SQL("n.sys_mod_count" if "sys_mod_count" in target.columns else "NULL::integer"),
            changed_at=sql.SQL("n.sys_updated_on" if "sys_updated_on" in target.columns else "NULL::timestamptz"),
            fed=sql.SQL("true" if feed_inserts else "NOT w.fresh"),
            feed_order=sql.SQL("n.sys_updated_on, sys_id" if "sys_updated_on" in target.columns else "sys_id"),
        )
        .as_bytes()
    )


def _list(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _row_of(alias: str, names: Sequence[str]) -> sql.Composed:
    return sql.SQL("ROW({})").format(
        sql.SQL(", ").join(sql.SQL("{}.{}").format(sql.Identifier(alias), sql.Identifier(n)) for n in names)
    )


def _values(alias: str, target: Target) -> sql.Composed:
    """The columns that a load fills, and no others: those that are left alone are never what differs."""
    names = (sql.SQL("{}.{}").format(sql.Identifier(alias), sql.Identifier(name)) for name in target.columns)
    return sql.SQL("ROW({})").format(sql.SQL(", ").join(names))


def _newer(target: Target, *, repair: bool) -> sql.Composable:
    """sys_mod_count first: the clock that stamps sys_updated_on is the writing node's (model.versions). A record that was
    created later than the one we hold is another one under the same sys_id, whose versions began anew.
    """
    keys = [
        sql.SQL("coalesce({0}.sys_mod_count, -1)") if "sys_mod_count" in target.columns else None,
        sql.SQL("coalesce({0}.sys_updated_on, '-infinity')") if "sys_updated_on" in target.columns else None,
    ]
    version = [key for key in keys if key is not None]
    content = sql.SQL("({}) IS DISTINCT FROM ({})").format(_values("t", target), _values("excluded", target))
    if not version:  # a table without versions: whatever differs is taken
        return content
    held = sql.SQL("({})").format(sql.SQL(", ").join(key.format(sql.SQL("t")) for key in version))
    come = sql.SQL("({})").format(sql.SQL(", ").join(key.format(sql.SQL("excluded")) for key in version))
    newer = sql.SQL("{} < {}").format(held, come)
    if "sys_created_on" in target.columns:
        newer = sql.SQL("({} OR t.sys_created_on < excluded.sys_created_on)").format(newer)
    if not repair:
        return newer
    return sql.SQL("{} OR ({} = {} AND {})").format(newer, held, come, content)
