"""Records that we know well enough to tell an instance by: the latest of a table, each with its version."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from nowbridge.store.database import Connection
from nowbridge.store.ddl import Relation


@dataclass(frozen=True, slots=True)
class Witness:
    """One row of the replica. `updated_on` is the instance's time."""

    sys_id: str
    mod_count: int
    updated_on: datetime


async def latest(connection: Connection, relation: Relation, limit: int) -> list[Witness]:
    """The rows of a table that changed last."""
    cursor = await connection.execute(
        sql.SQL(
            "SELECT sys_id, sys_mod_count, sys_updated_on FROM {} WHERE sys_mod_count IS NOT NULL"
            " AND sys_updated_on IS NOT NULL ORDER BY sys_updated_on DESC LIMIT %s"
        ).format(relation.identifier),
        (limit,),
    )
    return [Witness(*row) for row in await cursor.fetchall()]


async def begin_anew(connection: Connection, connection_id: int) -> int:
    """Tables whose first load was under way are to be loaded from the start. Returns how many."""
    cursor = await connection.execute(
        "SELECT id, schema_name, relation FROM nowbridge.replica_table WHERE connection_id = %s AND phase = 'backfill'",
        (connection_id,),
    )
    rows = await cursor.fetchall()
    for table_id, schema, name in rows:
        await connection.execute(sql.SQL("TRUNCATE {}").format(Relation(schema, name).identifier))
        await connection.execute("DELETE FROM nowbridge.shard WHERE table_id = %s", (table_id,))
        await connection.execute("UPDATE nowbridge.replica_table SET phase = 'planned' WHERE id = %s", (table_id,))
    return len(rows)


async def forget_labels(connection: Connection, connection_id: int) -> None:
    """The words of all referenced records are to be read again."""
    await connection.execute(
        "UPDATE nowbridge.label_source SET listed_at = NULL WHERE connection_id = %s", (connection_id,)
    )
