"""Records that change their class: they keep their sys_id, leave the tables of their old class and come into those of the
new one. A parent table sees it happen; this remembers which rows of its descendants are to be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from nowbridge.store.database import Connection
from nowbridge.store.ddl import Relation
from nowbridge.store.rows.load import Target
from nowbridge.store.work import duties

KIND = "classes"  # of duty


@dataclass(frozen=True, slots=True)
class Descendant:
    """A replica table of a class below another one."""

    table_id: int
    relation: Relation


async def descendants(connection: Connection, table_id: int) -> list[Descendant]:
    """The live replica tables of the same connection that are below this table in the class tree."""
    cursor = await connection.execute(
        "SELECT c.id, c.schema_name, c.relation FROM nowbridge.replica_table t JOIN nowbridge.replica_table c"
        " ON c.connection_id = t.connection_id AND c.phase = 'live' AND c.layout->'ancestors' ? t.source"
        " WHERE t.id = %s AND c.id <> t.id ORDER BY c.id",
        (table_id,),
    )
    return [Descendant(found, Relation(schema, name)) for found, schema, name in await cursor.fetchall()]


async def note_moves(connection: Connection, parent: Target, child: Descendant, *, now: datetime) -> None:
    """Of the rows staged for `parent`: those that `child` holds under another class are to be looked at."""
    if "sys_class_name" not in parent.columns:
        return
    cursor = await connection.execute(
        sql.SQL(
            "INSERT INTO nowbridge.class_change (table_id, sys_id) SELECT {}, n.sys_id FROM {} n JOIN {} t USING (sys_id)"
            " WHERE t.sys_class_name IS DISTINCT FROM n.sys_class_name ON CONFLICT DO NOTHING"
        ).format(sql.Literal(child.table_id), sql.Identifier("pg_temp", parent.stage), child.relation.identifier)
    )
    if cursor.rowcount:
        await duties.bring_forward(connection, child.table_id, KIND, now=now)


async def moved(connection: Connection, table_id: int) -> list[str]:
    """Rows of a table that may have left it for another class."""
    cursor = await connection.execute(
        "SELECT sys_id FROM nowbridge.class_change WHERE table_id = %s ORDER BY sys_id", (table_id,)
    )
    return [row[0] for row in await cursor.fetchall()]


async def settled(connection: Connection, table_id: int, sys_ids: list[str]) -> None:
    """These rows have been looked at."""
    await connection.execute(
        "DELETE FROM nowbridge.class_change WHERE table_id = %s AND sys_id = ANY(%s)", (table_id, sys_ids)
    )
