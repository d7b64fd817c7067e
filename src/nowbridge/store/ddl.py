"""Makes replica tables. Nothing that a user can see is ever dropped or retyped here (traps, findings 20 and 21)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from nowbridge.model.errors import Retry
from nowbridge.store.database import Connection

READER = "nowbridge_reader"


@dataclass(frozen=True, slots=True)
class ColumnDefinition:
    name: str
    pg_type: str
    comment: str


@dataclass(frozen=True, slots=True)
class Relation:
    """Where a replica table stands."""

    schema: str
    name: str

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


async def create_table(
    connection: Connection, relation: Relation, comment: str, columns: Sequence[ColumnDefinition]
) -> None:
    """A table with `sys_id` as its key. References get no foreign key: the record may be one we cannot see.

    Fill factor 90 leaves room for the row's next version on the same page.
    """
    await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(relation.schema)))
    definitions = sql.SQL(", ").join(
        sql.SQL("{} {}{}").format(
            sql.Identifier(column.name),
            sql.SQL(column.pg_type),  # one of layout.TYPES
            sql.SQL(' COLLATE "C" PRIMARY KEY' if column.name == "sys_id" else ""),
        )
        for column in columns
    )
    await connection.execute(
        sql.SQL("CREATE TABLE {} ({}) WITH (fillfactor = 90)").format(relation.identifier, definitions)
    )
    await connection.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(relation.identifier, sql.Literal(comment)))
    for column in columns:
        await connection.execute(
            sql.SQL("COMMENT ON COLUMN {}.{} IS {}").format(
                relation.identifier, sql.Identifier(column.name), sql.Literal(column.comment)
            )
        )
    await grant_reading(connection, relation)


async def grant_reading(connection: Connection, relation: Relation) -> None:
    """Let the reader role read the table, where that role exists (a database of the user's own may lack it)."""
    found = await (await connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (READER,))).fetchone()
    if found:
        await connection.execute(
            sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(relation.schema), sql.Identifier(READER))
        )
        await connection.execute(
            sql.SQL("GRANT SELECT ON {} TO {}").format(relation.identifier, sql.Identifier(READER))
        )


async def exists(connection: Connection, relation: Relation) -> bool:
    cursor = await connection.execute(
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
        (relation.schema, relation.name),
    )
    return await cursor.fetchone() is not None


async def create_indexes(connection: Connection, relation: Relation, columns: Sequence[str]) -> None:
    """One index a column, made after the first load, when it is cheapest.

    The planner knows the table's size from them. Its columns are left to autovacuum, which comes within a minute: to
    analyse all columns of a wide table takes longer than its whole load did.
    """
    for column in columns:
        name = index_name(relation, column)
        await connection.execute(
            sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})").format(
                sql.Identifier(name), relation.identifier, sql.Identifier(column)
            )
        )


async def ensure_index(connection: Connection, relation: Relation, column: str) -> bool:
    """Index one column without keeping anybody from reading or writing; True if that had to be done. `connection` is
    outside a transaction. An index that was left unfinished is made again.
    """
    name = index_name(relation, column)
    cursor = await connection.execute(
        "SELECT i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
        (relation.schema, name),
    )
    found = await cursor.fetchone()
    if found is not None and found[0]:
        return False
    index = sql.Identifier(relation.schema, name)
    await connection.execute(sql.SQL("SET lock_timeout = '5s'"))
    try:
        if found is not None:
            await connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(index))
        await connection.execute(
            sql.SQL("CREATE INDEX CONCURRENTLY {} ON {} ({})").format(
                sql.Identifier(name), relation.identifier, sql.Identifier(column)
            )
        )
    except psycopg.errors.LockNotAvailable as error:
        raise Retry(
            "schema.busy",
            asked=f"index {relation.name}.{column}",
            answered="a transaction has been open for longer than five seconds",
            hint="It is tried again.",
        ) from error
    finally:
        await connection.execute(sql.SQL("RESET lock_timeout"))
    return True


async def rename_table(connection: Connection, relation: Relation, name: str, columns: Sequence[str]) -> None:
    """Call the table `name`, and our indexes on `columns` accordingly, so that they are found again."""
    after = Relation(relation.schema, name)
    for column in columns:
        await connection.execute(
            sql.SQL("ALTER INDEX IF EXISTS {} RENAME TO {}").format(
                sql.Identifier(relation.schema, index_name(relation, column)),
                sql.Identifier(index_name(after, column)),
            )
        )
    await connection.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(relation.identifier, sql.Identifier(name)))


def index_name(relation: Relation, column: str) -> str:
    """The name of our index on one column; unique in its schema."""
    table, rest = relation.name[:30], column[:20]
    if (table, rest) != (relation.name, column):
        rest += "_" + hashlib.sha256(f"{relation.name}.{column}".encode()).hexdigest()[:6]
    return f"{table}_{rest}_idx"
