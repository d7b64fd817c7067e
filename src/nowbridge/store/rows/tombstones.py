"""Deleted rows: out of the replica, into the feed, under a tombstone.

A tombstone remembers the instance's time at which the row was certainly gone. What was stamped up to then was read
before the deletion and must not bring the row back; what is stamped later, or was read by somebody who knew of the
tombstone, is a new life of the row. Merges and deletions of one table shut each other out by an advisory lock, so a
merge cannot look for tombstones just before one is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg import sql

from nowbridge.store.database import Connection
from nowbridge.store.rows.load import Target

_LOCK = 0x6E77  # "nw": the class of our advisory locks on tables


async def newest(connection: Connection) -> int:
    """The latest tombstone; who asks before reading a record and finds it knows that it lives again."""
    row = await (await connection.execute("SELECT coalesce(max(id), 0) FROM nowbridge.tombstone")).fetchone()
    return int(row[0]) if row else 0


async def settle(connection: Connection, table_id: int, target: Target, *, known: int = 0) -> None:
    """Between staging and merging: leave out what is older than its tombstone, and lift the tombstones of the others.
    `known` is the newest tombstone before the staged rows were asked for, 0 when that was not noted.
    """
    await connection.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", (_LOCK, table_id))
    newer = sql.SQL("coalesce(n.sys_updated_on > d.gone_at, false)" if _stamped(target) else "false")
    await connection.execute(
        sql.SQL(
            "WITH met AS (SELECT n.sys_id, d.id <= %(known)s OR {newer} AS lives FROM {stage} n"
            "   JOIN nowbridge.tombstone d ON d.table_id = %(table)s AND d.sys_id = n.sys_id),"
            " lifted AS (DELETE FROM nowbridge.tombstone d USING met"
            "   WHERE d.table_id = %(table)s AND d.sys_id = met.sys_id AND met.lives)"
            " DELETE FROM {stage} n USING met WHERE n.sys_id = met.sys_id AND NOT met.lives"
        ).format(newer=newer, stage=sql.Identifier("pg_temp", target.stage)),
        {"known": known, "table": table_id},
    )


async def bury(
    connection: Connection,
    table_id: int,
    target: Target,
    gone: dict[str, datetime],
    *,
    source: str,
    now: datetime,
) -> list[str]:
    """Remove rows that are proved to be gone; `gone` is the instance's time of the proof by sys_id. The feed keeps each
    row's last state, and so does the tombstone where the table has soft deletes. A row that was stamped after the proof
    lives again and stays. Returns the sys_ids that were removed. Rows that SQL clients hold are the caller's to leave
    out (`store.writes.held_rows`).
    """
    await connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_LOCK, table_id))
    older = sql.SQL("(t.sys_updated_on IS NULL OR t.sys_updated_on <= p.gone_at)" if _stamped(target) else "true")
    cursor = await connection.execute(
        sql.SQL(
            "WITH proved AS (SELECT * FROM unnest(%(ids)s::text[], %(times)s::timestamptz[]) AS p(sys_id, gone_at)),"
            " gone AS (DELETE FROM {table} t USING proved p WHERE t.sys_id = p.sys_id AND {older} RETURNING t.*),"
            " shown AS (SELECT sys_id, to_jsonb(gone) AS record FROM gone),"
            " feed AS (INSERT INTO public._sync_cdc"
            "   (schema_name, table_name, sys_id, operation, changes, source, version, changed_at, applied_at)"
            "   SELECT %(schema)s, %(name)s, sys_id, 'delete', (SELECT jsonb_object_agg(k, jsonb_build_array(v, NULL))"
            "     FROM jsonb_each(jsonb_strip_nulls(record)) AS e(k, v)), %(source)s, (record->>'sys_mod_count')::integer,"
            "     p.gone_at, %(now)s FROM shown JOIN proved p USING (sys_id) ORDER BY sys_id),"
            " unseen AS (DELETE FROM nowbridge.invisible i USING proved p"
            "   WHERE i.table_id = %(table_id)s AND i.sys_id = p.sys_id),"
            " stones AS (INSERT INTO nowbridge.tombstone (table_id, sys_id, gone_at, deleted_at, source, record)"
            "   SELECT %(table_id)s, p.sys_id, p.gone_at, %(now)s, %(source)s,"
            "     CASE WHEN r.delete_mode = 'soft' THEN s.record END"
            "   FROM proved p JOIN nowbridge.replica_table r ON r.id = %(table_id)s LEFT JOIN shown s USING (sys_id)"
            "   WHERE s.sys_id IS NOT NULL OR NOT EXISTS (SELECT 1 FROM {table} k WHERE k.sys_id = p.sys_id)"
            "   ON CONFLICT (table_id, sys_id) DO UPDATE SET gone_at = greatest(tombstone.gone_at, excluded.gone_at),"
            "     record = coalesce(excluded.record, tombstone.record))"
            " SELECT sys_id FROM shown ORDER BY sys_id"
        ).format(table=target.relation.identifier, older=older),
        {
            "ids": list(gone),
            "times": list(gone.values()),
            "schema": target.relation.schema,
            "name": target.relation.name,
            "table_id": table_id,
            "source": source,
            "now": now,
        },
    )
    return [row[0] for row in await cursor.fetchall()]


async def held_here(connection: Connection, target: Target, sys_ids: Sequence[str]) -> set[str]:
    """Those of `sys_ids` that the replica holds."""
    cursor = await connection.execute(
        sql.SQL("SELECT sys_id FROM {} WHERE sys_id = ANY(%s)").format(target.relation.identifier), (list(sys_ids),)
    )
    return {row[0] for row in await cursor.fetchall()}


async def count(connection: Connection, table_id: int, sources: Sequence[str], *, since: datetime) -> int:
    """The rows of a table that were removed since then because of one of the `sources`, and have not come back."""
    cursor = await connection.execute(
        "SELECT count(*) FROM nowbridge.tombstone WHERE table_id = %s AND deleted_at >= %s AND source = ANY(%s)",
        (table_id, since, list(sources)),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def prune(connection: Connection, *, older_than: datetime) -> int:
    """Forget hard-deleted rows that were deleted long ago; soft-deleted ones are kept."""
    cursor = await connection.execute(
        "DELETE FROM nowbridge.tombstone WHERE deleted_at < %s AND record IS NULL", (older_than,)
    )
    return cursor.rowcount


def _stamped(target: Target) -> bool:
    return "sys_updated_on" in target.columns
