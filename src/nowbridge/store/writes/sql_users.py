"""People's and programs' own roles in the replica's database: readers, and writers.

A reader may SELECT. A writer may besides INSERT, UPDATE and DELETE, column by column: never the sys_id of a record that
exists; not TRUNCATE, and not make triggers or references. Neither sees our own schema, but for the function that plans a write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg import sql
from psycopg.types.json import Jsonb

from nowbridge.model.errors import Stop
from nowbridge.store.database import Connection
from nowbridge.store.ddl import Relation

CALLABLE = ("plan_write(text)", "pending_now()", "plan_changes(text, jsonb)")


@dataclass(frozen=True, slots=True)
class Rights:
    """`tables` None: all, those added later too. `stamp` is set in every record that the user writes, by column, so that
    ServiceNow shows who it was.
    """

    writes: bool
    tables: Sequence[str] | None = None
    stamp: Mapping[str, str] = field(default_factory=dict)


async def alone(connection: Connection) -> None:
    """Until the end of this transaction nobody else gives rights or makes triggers: Postgres fails one of two who do."""
    await connection.execute("SELECT pg_advisory_xact_lock(28278, 0)")


async def add(connection: Connection, name: str, password: str, rights: Rights, *, now: datetime) -> None:
    """Make a role, or give one that we made new rights and password.

    Raises Stop `user.taken` for a role of that name that we did not make, `table.unknown`.
    """
    await alone(connection)
    ours = await (await connection.execute("SELECT FROM nowbridge.sql_user WHERE name = %s", (name,))).fetchone()
    exists = await (await connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,))).fetchone()
    if exists is not None and ours is None:
        raise Stop(
            "user.taken",
            asked=f"make SQL user {name}",
            answered="there is a role of that name already, which Nowbridge did not make",
            hint="Choose another name.",
        )
    role = sql.Identifier(name)
    if exists is None:
        await connection.execute(sql.SQL("CREATE ROLE {} LOGIN NOINHERIT").format(role))
    verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    await connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(verifier)))
    await connection.execute(sql.SQL("ALTER ROLE {} SET timezone = 'UTC'").format(role))
    # A client that vanishes in mid-wait must not abort a write that was sent already (traps, finding 15).
    await connection.execute(sql.SQL("ALTER ROLE {} SET client_connection_check_interval = 0").format(role))
    await connection.execute(
        "INSERT INTO nowbridge.sql_user (name, writes, tables, stamp, added_at) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (name) DO UPDATE SET writes = excluded.writes, tables = excluded.tables, stamp = excluded.stamp",
        (name, rights.writes, None if rights.tables is None else list(rights.tables), Jsonb(dict(rights.stamp)), now),
    )
    database = sql.Identifier(connection.info.dbname)
    await connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, role))
    await connection.execute(sql.SQL("GRANT SELECT ON public._sync_cdc, public._sync_deleted TO {}").format(role))
    if rights.writes:
        await connection.execute(sql.SQL("GRANT SELECT ON public._sync_writes TO {}").format(role))
        await connection.execute(sql.SQL("GRANT USAGE ON SCHEMA nowbridge TO {}").format(role))
        for function in CALLABLE:
            await connection.execute(
                sql.SQL("GRANT EXECUTE ON FUNCTION nowbridge.{} TO {}").format(sql.SQL(function), role)
            )
    granted = await _grant(connection, name)
    if missing := sorted(set(rights.tables or ()) - set(granted)):
        raise Stop(
            "table.unknown",
            asked=f"give SQL user {name} rights on {missing[0]}",
            answered="it is not replicated",
            hint="`nowbridge status` lists the tables.",
        )


async def remove(connection: Connection, name: str) -> None:
    """Raises Stop `user.unknown`."""
    await alone(connection)
    cursor = await connection.execute("DELETE FROM nowbridge.sql_user WHERE name = %s", (name,))
    if cursor.rowcount == 0:
        raise Stop("user.unknown", asked=f"remove SQL user {name}", answered="Nowbridge made no such user")
    role = sql.Identifier(name)
    await connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))  # what DROP OWNED asks for
    await connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
    await connection.execute(sql.SQL("DROP ROLE {}").format(role))


@dataclass(frozen=True, slots=True)
class SqlUser:
    """`tables` None: all."""

    name: str
    writes: bool
    tables: list[str] | None
    added_at: datetime


async def every(connection: Connection) -> list[SqlUser]:
    cursor = await connection.execute("SELECT name, writes, tables, added_at FROM nowbridge.sql_user ORDER BY name")
    return [SqlUser(*row) for row in await cursor.fetchall()]


async def grant_all(connection: Connection) -> None:
    """Give every user what is theirs, tables and columns that came later included."""
    await alone(connection)
    cursor = await connection.execute("SELECT name FROM nowbridge.sql_user ORDER BY name")
    for (name,) in await cursor.fetchall():
        await _grant(connection, name)


async def rename_table(connection: Connection, before: str, after: str) -> None:
    """Users whose tables are listed keep the table under its new name."""
    await connection.execute(
        "UPDATE nowbridge.sql_user SET tables = array_replace(tables, %s, %s) WHERE tables IS NOT NULL", (before, after)
    )


async def withhold(connection: Connection, connection_id: int) -> None:
    """Nobody may write a connection's tables until `grant_all`: for while their triggers are made anew."""
    cursor = await connection.execute(
        "SELECT u.name, t.schema_name, t.relation FROM nowbridge.sql_user u, nowbridge.replica_table t"
        " WHERE u.writes AND t.connection_id = %s",
        (connection_id,),
    )
    for name, schema, relation in await cursor.fetchall():
        await connection.execute(
            sql.SQL("REVOKE INSERT, UPDATE, DELETE ON {} FROM {}").format(
                Relation(schema, relation).identifier, sql.Identifier(name)
            )
        )


async def _grant(connection: Connection, name: str) -> list[str]:
    """The rights of one user on the tables as they are now. Returns the tables."""
    cursor = await connection.execute(
        "SELECT t.id, t.schema_name, t.relation, u.writes FROM nowbridge.replica_table t, nowbridge.sql_user u"
        " WHERE u.name = %s AND (u.tables IS NULL OR t.relation = ANY(u.tables)) ORDER BY t.id",
        (name,),
    )
    role = sql.Identifier(name)
    granted = []
    for table_id, schema, relation, writes in await cursor.fetchall():
        table = Relation(schema, relation)
        await connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), role))
        await connection.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(table.identifier, role))
        if writes:
            await _grant_writing(connection, table_id, table, role)
        granted.append(relation)
    return granted


async def _grant_writing(connection: Connection, table_id: int, table: Relation, role: sql.Identifier) -> None:
    cursor = await connection.execute("SELECT name, shown FROM nowbridge.write_column WHERE table_id = %s", (table_id,))
    # ORMs name every column of a record that they save, those too that only ServiceNow sets: with the value that it had, or
    # NULL. Another value there is refused (guard).
    named = [name for pair in await cursor.fetchall() for name in pair if name is not None]
    if not named:
        return
    new, held = (
        sql.SQL(", ").join(map(sql.Identifier, names))
        for names in (dict.fromkeys(("sys_id", *named)), [name for name in named if name != "sys_id"])
    )
    for statement in (
        sql.SQL("REVOKE INSERT, UPDATE ON {} FROM {}").format(table.identifier, role),
        sql.SQL("GRANT INSERT ({}) ON {} TO {}").format(new, table.identifier, role),
        sql.SQL("GRANT UPDATE ({}) ON {} TO {}").format(held, table.identifier, role),
        sql.SQL("GRANT DELETE ON {} TO {}").format(table.identifier, role),
    ):
        await connection.execute(statement)
