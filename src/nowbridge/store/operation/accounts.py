"""Accounts of the console, who is signed in, and how often signing in failed. No password and no session key is here, only
what tells whether one is right.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nowbridge.store.database import Connection


@dataclass(frozen=True, slots=True)
class AccountRow:
    """`role` is super_admin or viewer. `password_hash` is Argon2id with its salt and cost."""

    name: str
    role: str
    password_hash: str = field(repr=False)
    created_at: datetime
    password_changed_at: datetime


@dataclass(frozen=True, slots=True)
class SessionRow:
    account: str
    role: str
    ends_at: datetime
    used_at: datetime


_COLUMNS = "name, role, password_hash, created_at, password_changed_at"


async def every(connection: Connection) -> list[AccountRow]:
    cursor = await connection.execute(f"SELECT {_COLUMNS} FROM nowbridge.account ORDER BY name")
    return [AccountRow(*row) for row in await cursor.fetchall()]


async def find(connection: Connection, name: str) -> AccountRow | None:
    cursor = await connection.execute(f"SELECT {_COLUMNS} FROM nowbridge.account WHERE name = %s", (name,))
    row = await cursor.fetchone()
    return AccountRow(*row) if row else None


async def add(connection: Connection, name: str, role: str, password_hash: str, *, now: datetime) -> bool:
    """False when there is an account of that name."""
    cursor = await connection.execute(
        f"INSERT INTO nowbridge.account ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (name, role, password_hash, now, now),
    )
    return cursor.rowcount == 1


async def set_password(connection: Connection, name: str, password_hash: str, *, now: datetime) -> bool:
    """Whoever is signed in by the old one is signed out. False when there is no such account."""
    await connection.execute("DELETE FROM nowbridge.console_session WHERE account = %s", (name,))
    await connection.execute("DELETE FROM nowbridge.sign_in_failure WHERE name = %s", (name,))
    cursor = await connection.execute(
        "UPDATE nowbridge.account SET password_hash = %s, password_changed_at = %s WHERE name = %s",
        (password_hash, now, name),
    )
    return cursor.rowcount == 1


async def remove(connection: Connection, name: str) -> bool:
    """With its sessions. False when there is no such account."""
    cursor = await connection.execute("DELETE FROM nowbridge.account WHERE name = %s", (name,))
    return cursor.rowcount == 1


async def count_try(
    connection: Connection, name: str, *, now: datetime, forget_before: datetime
) -> tuple[int, datetime]:
    """Count one more try to sign in as `name` before it is looked at, so that tries side by side count too. Returns how
    many failed before it and when the last of them was (`now` for none).
    """
    await connection.execute("DELETE FROM nowbridge.sign_in_failure WHERE last_at < %s", (forget_before,))
    await connection.execute(
        "INSERT INTO nowbridge.sign_in_failure (name, failures, last_at) VALUES (%s, 0, %s) ON CONFLICT DO NOTHING",
        (name, now),
    )
    held = await connection.execute(
        "SELECT failures, last_at FROM nowbridge.sign_in_failure WHERE name = %s FOR UPDATE", (name,)
    )
    row = await held.fetchone()
    return (int(row[0]), row[1]) if row else (0, now)


async def note_try(connection: Connection, name: str, *, now: datetime) -> None:
    await connection.execute(
        "UPDATE nowbridge.sign_in_failure SET failures = failures + 1, last_at = %s WHERE name = %s", (now, name)
    )


async def forget_tries(connection: Connection, name: str) -> None:
    await connection.execute("DELETE FROM nowbridge.sign_in_failure WHERE name = %s", (name,))


async def begin_session(
    connection: Connection, digest: bytes, account: str, *, now: datetime, ends_at: datetime
) -> None:
    """What has ended is forgotten on the way."""
    await connection.execute("DELETE FROM nowbridge.console_session WHERE ends_at < %s", (now,))
    await connection.execute(
        "INSERT INTO nowbridge.console_session (digest, account, began_at, ends_at, used_at) VALUES (%s, %s, %s, %s, %s)",
        (digest, account, now, ends_at, now),
    )


async def session(connection: Connection, digest: bytes, *, now: datetime, idle: timedelta) -> SessionRow | None:
    """Who is signed in by it, with the role of now. None when it has ended, or was not used for `idle`."""
    cursor = await connection.execute(
        "SELECT a.name, a.role, s.ends_at, s.used_at FROM nowbridge.console_session s"
        " JOIN nowbridge.account a ON a.name = s.account WHERE s.digest = %s AND s.ends_at > %s AND s.used_at > %s",
        (digest, now, now - idle),
    )
    row = await cursor.fetchone()
    return SessionRow(*row) if row else None


async def use_session(connection: Connection, digest: bytes, *, now: datetime) -> None:
    await connection.execute("UPDATE nowbridge.console_session SET used_at = %s WHERE digest = %s", (now, digest))


async def end_session(connection: Connection, digest: bytes) -> None:
    await connection.execute("DELETE FROM nowbridge.console_session WHERE digest = %s", (digest,))
