"""Makes the product's role and database on a server of which we hold the superuser: the embedded one.

The role owns its database and may make roles (readers and writers of the replica), but is no superuser. A server of
the user's own is prepared by its administrator; docs say how.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from nowbridge.store.ddl import READER
from nowbridge.store.server.embedded import EmbeddedServer
from nowbridge.store.writes import loopback

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
    loopback.allow(server.superuser_dsn(database), role)
    return server.dsn(user=role, password=password, database=database)


def ensure_reader(dsn: str, home: Path) -> str:
    """Make the role that may only read the replica, when missing; `dsn` is the product's role. Returns its URL.

    Tables made later are granted as they are made (store.ddl); a reader sees neither our own schema nor the queue's.
    """
    password = _password(home / "postgres" / f"{READER}-password")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext('nowbridge provision'))")
        name = sql.Identifier(READER)
        if not _exists(connection, "SELECT FROM pg_roles WHERE rolname = %s", READER):
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, sql.Literal(_verifier(connection, password, READER)))
        )
        connection.execute(sql.SQL("ALTER ROLE {} SET timezone = 'UTC'").format(name))
        database = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, name))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(name))
        connection.execute(
            sql.SQL("GRANT SELECT ON public._sync_cdc, public._sync_deleted, public._sync_columns TO {}").format(name)
        )
        for schema, relation in connection.execute(
            "SELECT schema_name, relation FROM nowbridge.replica_table"
        ).fetchall():
            connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), name))
            connection.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(sql.Identifier(schema, relation), name))
    return as_role(dsn, READER, password)


def as_role(dsn: str, user: str, password: str) -> str:
    """The same server and database for another role."""
    parts = urlsplit(dsn)
    where = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{where}"))


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
