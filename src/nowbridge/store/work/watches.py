"""What is known of a table's deletes: how far the journal is read, what waits for somebody, which rows are out of sight."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from nowbridge.store.database import Connection
from nowbridge.store.ddl import Relation


@dataclass(frozen=True, slots=True)
class Watch:
    """`journal` is unknown, readable, partly or unreadable; `held` is {reason, wanted, rows, since} or None."""

    journal: str
    journal_to: datetime | None
    journal_asked: datetime | None
    compared_at: datetime | None
    held: dict[str, Any] | None
    allowed: int | None


@dataclass(frozen=True, slots=True)
class DeleteStatus:
    """One line of `nowbridge deletes`. `mode` is hard or soft, `by_sql` what SQL users may delete."""

    source: str
    relation: Relation
    mode: str
    by_sql: str
    watch: Watch
    deleted: int
    invisible: int
    audit_done_at: datetime | None
    audit_error: dict[str, Any] | None


_COLUMNS = "journal, journal_to, journal_asked, compared_at, held, allowed"


async def load(connection: Connection, table_id: int) -> Watch:
    await connection.execute(
        "INSERT INTO nowbridge.delete_watch (table_id) VALUES (%s) ON CONFLICT DO NOTHING", (table_id,)
    )
    cursor = await connection.execute(f"SELECT {_COLUMNS} FROM nowbridge.delete_watch WHERE table_id = %s", (table_id,))
    row = await cursor.fetchone()
    assert row is not None
    return Watch(*row)


async def added_at(connection: Connection, table_id: int) -> datetime:
    """When the table was added: what was deleted before that never was in the replica."""
    cursor = await connection.execute("SELECT added_at FROM nowbridge.replica_table WHERE id = %s", (table_id,))
    row = await cursor.fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment


async def read_journal(connection: Connection, table_id: int, *, journal: str, to: datetime) -> None:
    await connection.execute(
        "UPDATE nowbridge.delete_watch SET journal = %s, journal_to = %s WHERE table_id = %s", (journal, to, table_id)
    )


async def asked_horizon(connection: Connection, table_id: int, *, journal: str, now: datetime) -> None:
    await connection.execute(
        "UPDATE nowbridge.delete_watch SET journal = %s, journal_asked = %s WHERE table_id = %s",
        (journal, now, table_id),
    )


async def compared(connection: Connection, table_id: int, *, now: datetime) -> None:
    """All keys were compared; what somebody had allowed for it is used up."""
    await connection.execute(
        "UPDATE nowbridge.delete_watch SET compared_at = %s, allowed = NULL WHERE table_id = %s", (now, table_id)
    )


async def hold(connection: Connection, table_id: int, why: dict[str, Any] | None) -> None:
    """Hold the table's deletes, or with None let them go on."""
    await connection.execute(
        "INSERT INTO nowbridge.delete_watch (table_id, held) VALUES (%(table)s, %(why)s)"
        " ON CONFLICT (table_id) DO UPDATE SET held = excluded.held",
        {"table": table_id, "why": Jsonb(why) if why else None},
    )


async def allow(connection: Connection, table_id: int, number: int) -> None:
    """Somebody has confirmed: the next comparison may delete so many rows."""
    await connection.execute("UPDATE nowbridge.delete_watch SET allowed = %s WHERE table_id = %s", (number, table_id))


async def set_mode(connection: Connection, table_id: int, mode: str) -> None:
    await connection.execute("UPDATE nowbridge.replica_table SET delete_mode = %s WHERE id = %s", (mode, table_id))


async def set_by_sql(connection: Connection, table_id: int, policy: str) -> None:
    """`policy` is allow, refuse, or a number as text."""
    await connection.execute("UPDATE nowbridge.replica_table SET sql_deletes = %s WHERE id = %s", (policy, table_id))


async def invisible_among(connection: Connection, table_id: int, sys_ids: Collection[str]) -> set[str]:
    """Those of `sys_ids` that were out of sight before."""
    cursor = await connection.execute(
        "SELECT sys_id FROM nowbridge.invisible WHERE table_id = %s AND sys_id = ANY(%s)", (table_id, list(sys_ids))
    )
    return {row[0] for row in await cursor.fetchall()}


async def note_invisible(
    connection: Connection, table_id: int, unseen: Collection[str], *, prefix: str, now: datetime
) -> None:
    """After a listing of the keys that begin with `prefix` ("" for all): exactly `unseen` of them are out of sight."""
    await connection.execute(
        "DELETE FROM nowbridge.invisible WHERE table_id = %s AND starts_with(lower(sys_id), %s)"
        " AND NOT sys_id = ANY(%s)",
        (table_id, prefix, list(unseen)),
    )
    await connection.execute(
        "INSERT INTO nowbridge.invisible (table_id, sys_id, since) SELECT %s, unnest(%s::text[]), %s"
        " ON CONFLICT DO NOTHING",
        (table_id, list(unseen), now),
    )


async def classes_held(connection: Connection, relation: Relation, column: str) -> list[str]:
    """The classes of the rows that the replica holds, by walking the distinct values of `column`."""
    cursor = await connection.execute(
        sql.SQL("SELECT DISTINCT {} FROM {} WHERE {} IS NOT NULL ORDER BY 1").format(
            sql.Identifier(column), relation.identifier, sql.Identifier(column)
        )
    )
    return [row[0] for row in await cursor.fetchall()]


async def status(connection: Connection) -> list[DeleteStatus]:
    """How every table's deletes stand, in the order in which the tables were added."""
    cursor = await connection.execute(
        "SELECT t.source, t.schema_name, t.relation, t.delete_mode, t.sql_deletes, coalesce(w.journal, 'unknown'), w.journal_to,"
        "  w.journal_asked, w.compared_at, w.held, w.allowed,"
        "  (SELECT count(*) FROM nowbridge.tombstone d WHERE d.table_id = t.id),"
        "  (SELECT count(*) FROM nowbridge.invisible i WHERE i.table_id = t.id), a.done_at, a.last_error"
        " FROM nowbridge.replica_table t LEFT JOIN nowbridge.delete_watch w ON w.table_id = t.id"
        " LEFT JOIN nowbridge.duty a ON a.table_id = t.id AND a.kind = 'audit' ORDER BY t.id"
    )
    return [
        DeleteStatus(source, Relation(schema, relation), mode, by_sql, Watch(*rest[:6]), *rest[6:])
        for source, schema, relation, mode, by_sql, *rest in await cursor.fetchall()
    ]
