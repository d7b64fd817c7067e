"""Which replica tables SQL users may write, and the columns of each, as they were when the triggers were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from psycopg import sql

from nowbridge.store.database import Connection
from nowbridge.store.ddl import Relation


@dataclass(frozen=True, slots=True)
class ColumnRow:
    """A row of nowbridge.write_column."""

    table_id: int
    name: str
    source: str
    journal: bool
    reference: str | None
    read_only: bool
    mandatory: bool
    max_length: int | None
    closed: bool


async def columns(connection: Connection, connection_id: int) -> list[ColumnRow]:
    cursor = await connection.execute(
        "SELECT w.table_id, w.name, w.source, w.journal, w.reference, w.read_only, w.mandatory, w.max_length,"
        " w.closed"
        " FROM nowbridge.write_column w JOIN nowbridge.replica_table t ON t.id = w.table_id WHERE t.connection_id = %s",
        (connection_id,),
    )
    return [ColumnRow(*row) for row in await cursor.fetchall()]


async def known(connection: Connection, connection_id: int, table: str, keys: Sequence[str]) -> set[str]:
    """Those of `keys` that are known to be records of `table`."""
    cursor = await connection.execute(
        "SELECT key FROM nowbridge.label WHERE connection_id = %s AND table_name = %s AND key = ANY(%s)"
        " AND label IS NOT NULL",
        (connection_id, table, list(keys)),
    )
    return {row[0] for row in await cursor.fetchall()}


async def held(connection: Connection, relation: Relation, sys_ids: Sequence[str]) -> set[str]:
    """Those of `sys_ids` that stand in this replica table."""
    cursor = await connection.execute(
        sql.SQL("SELECT sys_id FROM {} WHERE sys_id = ANY(%s)").format(relation.identifier), (list(sys_ids),)
    )
    return {row[0] for row in await cursor.fetchall()}


async def forget_version(connection: Connection, relation: Relation, sys_id: str) -> None:
    """Let whatever version is read next win, unless a client holds the row."""
    table = relation.identifier
    await connection.execute(
        sql.SQL(
            "UPDATE {table} SET sys_mod_count = NULL, sys_updated_on = NULL WHERE sys_id ="
            " (SELECT sys_id FROM {table} WHERE sys_id = %s FOR NO KEY UPDATE SKIP LOCKED)"
        ).format(table=table),
        (sys_id,),
    )


async def current(connection: Connection, relation: Relation, sys_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """These rows as JSON, by sys_id."""
    cursor = await connection.execute(
        sql.SQL("SELECT sys_id, to_jsonb(t) FROM {} t WHERE sys_id = ANY(%s)").format(relation.identifier),
        (list(sys_ids),),
    )
    return dict(await cursor.fetchall())


async def outdated(connection: Connection, connection_id: int) -> bool:
    """Whether somebody may write by SQL and a table of this connection lacks its triggers, or has those of an older layout."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM nowbridge.sql_user WHERE writes) AND EXISTS ("
        " SELECT FROM nowbridge.replica_table t LEFT JOIN nowbridge.write_table w ON w.table_id = t.id"
        " WHERE t.connection_id = %s AND w.layout_epoch IS DISTINCT FROM t.layout_epoch)",
        (connection_id,),
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def make_anew(connection: Connection, connection_id: int) -> None:
    """Have the triggers of all tables of a connection made anew by the next worker: they name each other's tables."""
    await connection.execute(
        "UPDATE nowbridge.write_table SET layout_epoch = 0"
        " WHERE table_id IN (SELECT id FROM nowbridge.replica_table WHERE connection_id = %s)",
        (connection_id,),
    )


async def pointed_at(
    connection: Connection, relation: Relation, columns: Mapping[str, str], sys_ids: Sequence[str]
) -> dict[str, list[str]]:
    """What these rows point at, by `columns`: ServiceNow's name of each, and the replica's; lists with commas, as there."""
    if not columns:
        return {}
    cursor = await connection.execute(_pointing(relation, tuple(columns.values())), (list(sys_ids),))
    found = list(zip(*await cursor.fetchall(), strict=True)) or [()] * len(columns)
    return {source: list(map(_as_text, values)) for source, values in zip(columns, found, strict=True)}


@lru_cache(maxsize=256)
def _pointing(relation: Relation, columns: tuple[str, ...]) -> bytes:
    named = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("SELECT {} FROM {} WHERE sys_id = ANY(%s)").format(named, relation.identifier).as_bytes()


def _as_text(value: str | list[str] | None) -> str:
    return ",".join(value) if isinstance(value, list) else value or ""
