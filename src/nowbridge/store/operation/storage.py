"""How much room our own tables and the replica take: of every relation, what Postgres says."""

from __future__ import annotations

from dataclasses import dataclass

from nowbridge.store.database import Connection


@dataclass(frozen=True, slots=True)
class Room:
    """One table with its indexes and long values, in bytes; `rows` is Postgres' estimate."""

    schema: str
    name: str
    rows: int
    bytes: int


async def taken(connection: Connection) -> list[Room]:
    """Of our tables, the queue's, the change feed and every replica table, the largest first."""
    cursor = await connection.execute(
        "SELECT s.schemaname, s.relname, s.n_live_tup, pg_total_relation_size(s.relid)"
        " FROM pg_stat_user_tables s LEFT JOIN nowbridge.replica_table t"
        "   ON t.schema_name = s.schemaname AND t.relation = s.relname"
        " WHERE t.id IS NOT NULL OR s.schemaname IN ('nowbridge', 'nowbridge_jobs')"
        "   OR (s.schemaname = 'public' AND s.relname = '_sync_cdc')"
        " ORDER BY 4 DESC, 1, 2"
    )
    return [Room(schema, name, int(rows), int(size)) for schema, name, rows, size in await cursor.fetchall()]
