"""Accounts of the console: made, listed, removed and given passwords by whoever has a shell on the machine
(`nowbridge account`). There is none at first, and no password that anybody could know beforehand.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from nowbridge.api.access import Role, hashed, refuse_weak
from nowbridge.model.errors import Stop
from nowbridge.store.database import Database
from nowbridge.store.operation import accounts

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    role: Role
    created_at: datetime
    password_changed_at: datetime


async def list_accounts(database: Database) -> list[Account]:
    async with database.transaction() as connection:
        rows = await accounts.every(connection)
    return [Account(row.name, Role(row.role), row.created_at, row.password_changed_at) for row in rows]


async def add_account(
    database: Database, name: str, role: Role, password: str, *, now: datetime, random: Callable[[int], bytes]
) -> None:
    """Raises Stop `account.name`, `account.password` and `account.exists`."""
    if not _NAME.fullmatch(name):
        raise Stop(
            "account.name",
            asked="make an account",
            answered="a name has 1 to 64 letters, digits and . _ @ -",
            hint="A user name or a mail address is usual.",
        )
    refuse_weak(password)
    made = await asyncio.to_thread(hashed, password, random(_SALT_BYTES))
    async with database.transaction() as connection:
        if not await accounts.add(connection, name, role.value, made, now=now):
            raise Stop(
                "account.exists",
                asked=f"make the account {name}",
                answered="there is one of that name",
                hint=f"`nowbridge account password {name}` gives it a new password; to change its role, remove it first.",
            )


async def set_password(
    database: Database, name: str, password: str, *, now: datetime, random: Callable[[int], bytes]
) -> None:
    """Whoever is signed in by the old one is signed out. Raises Stop `account.unknown` and `account.password`."""
    refuse_weak(password)
    made = await asyncio.to_thread(hashed, password, random(_SALT_BYTES))
    async with database.transaction() as connection:
        if not await accounts.set_password(connection, name, made, now=now):
            raise _unknown(name)


async def remove_account(database: Database, name: str) -> None:
    """Signed out at once. Raises Stop `account.unknown`."""
    async with database.transaction() as connection:
        if not await accounts.remove(connection, name):
            raise _unknown(name)


def _unknown(name: str) -> Stop:
    return Stop(
        "account.unknown",
        asked=f"use the account {name}",
        answered="there is none of that name",
        hint="`nowbridge account list` shows them.",
    )
