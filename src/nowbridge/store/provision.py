"""Makes the product's role and database on a server of which we hold the superuser: the embedded one.

The role owns its database and may make roles (readers and writers of the replica), but is no superuser. A server of
the user's own is prepared by its administrator; docs say how.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import psycopg
from psycopg import sql

from nowbridge.store.embedded import EmbeddedServer

ROLE = "nowbridge"
DATABASE = "nowbridge"


def provision(server: EmbeddedServer, *, role: str = ROLE, database: str = DATABASE) -> str:
    """Make role and database when missing. Returns the role's connection URL; repeating it changes nothing.

    The role's password is generated and kept beside the superuser's, readable by the owner of the home only.
    """
    password = _password(server.data.parent / f"{role}-password")
    with psycopg.connect(server.superuser_dsn(), autocommit=True) as connection:
        # Two processes may start at once, and CREATE DATABASE has no IF NOT EXISTS.
        connection.execute("SELECT pg_advisory_lock(hashtext('nowbridge provision'))")
        name = sql.Identifier(role)
        if not _exists(connection, "SELECT FROM pg_roles WHERE rolname = %s", role):
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE").format(name))
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, sql.Literal(_verifier(connection, password, role)))
        )
        connection.execute(sql.SQL("ALTER ROLE {} SET timezone = 'UTC'").format(name))
        if not _exists(connection, "SELECT FROM pg_database WHERE datname = %s", database):
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), name))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
    return server.dsn(user=role, password=password, database=database)


def _verifier(connection: psycopg.Connection, password: str, role: str) -> str:
    """The SCRAM verifier, computed on this side, so that the password never stands in a statement (or a log of it)."""
    return connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()


def _exists(connection: psycopg.Connection, query: str, name: str) -> bool:
    return connection.execute(query, (name,)).fetchone() is not None


def _password(file: Path) -> str:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return file.read_text(encoding="ascii")
    password = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w", encoding="ascii") as opened:
        opened.write(password)
    return password
