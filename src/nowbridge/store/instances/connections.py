"""Connections to ServiceNow instances. Secrets are stored sealed (store.instances.secrets); this file never sees them open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from nowbridge.model.errors import Stop
from nowbridge.store.database import Connection


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """`auth` is basic, oauth_password, client_credentials, api_key or authorization_code. `sealed` is AES-256-GCM over the secrets. `stopped`
    says why nobody works on it until somebody has looked: {reason, found, since}; the reason is clone or restored.
    """

    id: int
    name: str
    url: str
    auth: str
    username: str | None
    client_id: str | None
    sealed: bytes
    schema_name: str
    options: dict[str, Any] = field(default_factory=dict)
    stopped: dict[str, Any] | None = None
    secret_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewConnection:
    """A connection as it is entered. `secret_kept`: what is sealed in it is what was stored before."""

    name: str
    url: str
    auth: str
    username: str | None
    client_id: str | None
    sealed: bytes
    options: dict[str, Any] = field(default_factory=dict)
    secret_expires_at: datetime | None = None
    secret_kept: bool = False


COLUMNS = "id, name, url, auth, username, client_id, sealed, schema_name, options, stopped, secret_expires_at"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a connection besides how to use it. `declared_in` is the configuration file that says how it is;
    `tested` how the last test went.
    """

    declared_in: str | None
    secret_changed_at: datetime | None
    tested: dict[str, Any] | None
    tables: int


async def save(
    connection: Connection, new: NewConnection, *, now: datetime, same_instance: bool = False, declared_in: str = ""
) -> ConnectionRow:
    """Make the connection, or give an existing one of that name new credentials. The address of one that has tables
    changes only with `same_instance`, for who has recognised the instance there: else its replica would silently belong
    to two. `declared_in` is the configuration file that says all this.
    """
    held = await connection.execute(
        "SELECT c.url FROM nowbridge.connection c WHERE c.name = %s"
        " AND EXISTS (SELECT 1 FROM nowbridge.replica_table t WHERE t.connection_id = c.id)",
        (new.name,),
    )
    row = await held.fetchone()
    if row is not None and row[0] != new.url and not same_instance:
        raise Stop(
            "connection.other_instance",
            asked=f"point connection {new.name} at {new.url}",
            answered=f"its tables hold the records of {row[0]}",
            hint="If the same instance has a new address, change it in the console, which compares the two. Another one gets"
            " a connection of its own: `nowbridge connect URL --name NAME`.",
        )
    schema_name = "public" if await _is_first(connection, new.name) else new.name
    cursor = await connection.execute(
        "INSERT INTO nowbridge.connection AS connection (name, url, auth, username, client_id, sealed, schema_name, created_at,"
        "   options, secret_expires_at, declared_in, secret_changed_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (name) DO UPDATE SET url = excluded.url, auth = excluded.auth, username = excluded.username,"
        "   client_id = excluded.client_id, sealed = excluded.sealed, options = excluded.options,"
        "   secret_expires_at = excluded.secret_expires_at, declared_in = excluded.declared_in,"
        "   secret_changed_at = CASE WHEN %s THEN connection.secret_changed_at ELSE excluded.secret_changed_at END,"
        "   tested = NULL"
        f" RETURNING {COLUMNS}",
        (
            new.name,
            new.url,
            new.auth,
            new.username,
            new.client_id,
            new.sealed,
            schema_name,
            now,
            Jsonb(new.options),
            new.secret_expires_at,
            declared_in or None,
            now,
            new.secret_kept,
        ),
    )
    made = await cursor.fetchone()
    if made is None:
        raise AssertionError("an upsert that returns nothing")
    return ConnectionRow(*made)


async def load(connection: Connection, name: str | None = None, *, connection_id: int | None = None) -> ConnectionRow:
    """The connection of that name or id; without either, the only one there is."""
    cursor = await connection.execute(
        f"SELECT {COLUMNS} FROM nowbridge.connection"
        " WHERE (%(name)s::text IS NULL OR name = %(name)s) AND (%(id)s::integer IS NULL OR id = %(id)s) ORDER BY id",
        {"name": name, "id": connection_id},
    )
    rows = await cursor.fetchall()
    if not rows:
        raise Stop(
            "connection.unknown",
            asked=f"use connection {name}" if name else "use the connection to ServiceNow",
            answered="there is none" if name is None else "there is none of that name",
            hint="Make one: `nowbridge connect https://YOURINSTANCE.service-now.com`.",
        )
    if len(rows) > 1:
        raise Stop(
            "connection.ambiguous",
            asked="use the connection to ServiceNow",
            answered=f"there are {len(rows)}: {', '.join(row[1] for row in rows)}",
            hint="Name one with --connection.",
        )
    return ConnectionRow(*rows[0])


async def every(connection: Connection) -> list[ConnectionRow]:
    cursor = await connection.execute(f"SELECT {COLUMNS} FROM nowbridge.connection ORDER BY id")
    return [ConnectionRow(*row) for row in await cursor.fetchall()]


async def record(connection: Connection, connection_id: int) -> Record:
    cursor = await connection.execute(
        "SELECT declared_in, secret_changed_at, tested,"
        "   (SELECT count(*) FROM nowbridge.replica_table t WHERE t.connection_id = c.id)"
        " FROM nowbridge.connection c WHERE id = %s",
        (connection_id,),
    )
    row = await cursor.fetchone()
    return Record(*row) if row else Record(None, None, None, 0)


async def declare(connection: Connection, names: Sequence[str], file: str) -> None:
    """From here on these connections, and no others, are what that configuration file says."""
    await connection.execute(
        "UPDATE nowbridge.connection SET declared_in = CASE WHEN name = ANY(%(names)s) THEN %(file)s END"
        " WHERE name = ANY(%(names)s) OR declared_in = %(file)s",
        {"names": list(names), "file": file},
    )


async def keep_test(connection: Connection, connection_id: int, told: dict[str, Any]) -> None:
    await connection.execute("UPDATE nowbridge.connection SET tested = %s WHERE id = %s", (Jsonb(told), connection_id))


def refuse_stopped(row: ConnectionRow) -> None:
    """Raises Stop `connection.stopped`."""
    if row.stopped is None:
        return
    hints = {
        "clone": "If this is the instance that you mean: `nowbridge adopt`. Everything is compared first.",
        "restored": "If the original does not run any more: `nowbridge resume --restored`.",
    }
    raise Stop(
        "connection.stopped",
        asked=f"use connection {row.name}",
        answered=f"it is stopped: {row.stopped['found']}",
        hint=hints.get(row.stopped["reason"], ""),
    )


async def stop(connection: Connection, connection_id: int, *, reason: str, found: str, now: datetime) -> bool:
    """Nobody works on the connection from here on: claims pass it by, and whoever is at work stops at his next page.
    False if it was stopped before.
    """
    why = {"reason": reason, "found": found, "since": now.isoformat(timespec="seconds")}
    cursor = await connection.execute(
        "UPDATE nowbridge.connection SET stopped = %s WHERE id = %s AND stopped IS NULL", (Jsonb(why), connection_id)
    )
    for table in ("shard", "stream", "duty"):
        await connection.execute(
            f"UPDATE nowbridge.{table} SET epoch = epoch + 1, owner = NULL, lease_until = NULL"
            " WHERE table_id IN (SELECT id FROM nowbridge.replica_table WHERE connection_id = %s)",
            (connection_id,),
        )
    return cursor.rowcount == 1


async def go_on(connection: Connection, connection_id: int) -> None:
    await connection.execute("UPDATE nowbridge.connection SET stopped = NULL WHERE id = %s", (connection_id,))


async def note_away(connection: Connection, connection_id: int, error: dict[str, str]) -> None:
    """Keep for `nowbridge status` why nothing is done for the connection's tables."""
    await connection.execute(
        "UPDATE nowbridge.stream SET last_error = %s, failures = failures + 1"
        " WHERE table_id IN (SELECT id FROM nowbridge.replica_table WHERE connection_id = %s)",
        (Jsonb(error), connection_id),
    )
    await connection.execute(
        "UPDATE nowbridge.replica_table SET last_error = %s WHERE connection_id = %s AND phase <> 'live'",
        (Jsonb(error), connection_id),
    )


async def forget(connection: Connection, connection_id: int) -> None:
    """Of a connection without tables."""
    await connection.execute("DELETE FROM nowbridge.connection WHERE id = %s", (connection_id,))


async def likeness(connection: Connection, connection_id: int) -> tuple[dict[str, str], datetime | None]:
    """What the instance called itself when it was last known, and when that was."""
    cursor = await connection.execute(
        "SELECT coalesce(likeness, '{}'), looked_at FROM nowbridge.connection WHERE id = %s", (connection_id,)
    )
    row = await cursor.fetchone()
    return (row[0], row[1]) if row else ({}, None)


async def keep_likeness(connection: Connection, connection_id: int, names: dict[str, str], *, now: datetime) -> None:
    await connection.execute(
        "UPDATE nowbridge.connection SET likeness = %s, looked_at = %s WHERE id = %s",
        (Jsonb(names), now, connection_id),
    )


async def _is_first(connection: Connection, name: str) -> bool:
    cursor = await connection.execute("SELECT name FROM nowbridge.connection ORDER BY id LIMIT 1")
    row = await cursor.fetchone()
    return row is None or row[0] == name
