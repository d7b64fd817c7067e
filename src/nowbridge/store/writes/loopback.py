"""The way out of a transaction: a connection that Postgres opens to itself, so that a write can be handed over, and
committed to the log, while the client's transaction is still open.

It goes through dblink, which is made safe first (traps, findings 1 and 4): dblink stands in a schema of its own with
EXECUTE for the product's role only; the loop-back logs in as a role that may call three functions and nothing else;
its password is generated, known to the user mapping alone, and new at every `ensure`.
"""

from __future__ import annotations

import hashlib
import secrets

import psycopg
from psycopg import sql

from nowbridge.model.errors import Stop
from nowbridge.store.database import translated

SCHEMA = "nowbridge_dblink"
SERVER = "nowbridge_loopback"
CALLABLE = (
    "submit_write(integer, xid8, text, text, text, text, boolean, jsonb)",
    "write_stands(bigint)",
    "abandon_write(bigint)",
    "abandon_write_of(xid8)",
)
ADMINISTRATOR = f"""\
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE EXTENSION IF NOT EXISTS dblink SCHEMA {SCHEMA};
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {SCHEMA} FROM PUBLIC;
GRANT USAGE ON SCHEMA {SCHEMA} TO {{role}};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {SCHEMA} TO {{role}};
GRANT USAGE ON FOREIGN DATA WRAPPER dblink_fdw TO {{role}};
"""
"""What a superuser does once per database; `role` is the product's."""


def allow(superuser_dsn: str, role: str) -> None:
    """Do what only a superuser may, in the database of `superuser_dsn`. Repeating it changes nothing."""
    with psycopg.connect(superuser_dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext('nowbridge provision'))")
        connection.execute(sql.SQL(ADMINISTRATOR).format(role=sql.Identifier(role)))


def administrators_script(role: str) -> str:
    """`ADMINISTRATOR` as text to be run by hand in a database of the user's own."""
    return sql.SQL(ADMINISTRATOR).format(role=sql.Identifier(role)).as_string()


def obstacle(dsn: str) -> str | None:
    """Why writes by SQL are not possible in this database, or None. Looks without changing anything."""
    with translated("look at the loop-back connection"), psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT n.nspname, has_foreign_data_wrapper_privilege(w.oid, 'USAGE')"
            " FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
            " LEFT JOIN pg_foreign_data_wrapper w ON w.fdwname = 'dblink_fdw' WHERE e.extname = 'dblink'"
        ).fetchone()
        if row is None:
            return "the extension dblink is not installed"
        if row[0] != SCHEMA:
            return f"the extension dblink stands in schema {row[0]}, where others may call it, and not in {SCHEMA}"
        if not row[1]:
            return "Nowbridge's role may not use the foreign data wrapper dblink_fdw"
        # An empty access list is Postgres' default for functions: everybody may call them.
        open_to_all = connection.execute(
            "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
            " LEFT JOIN LATERAL aclexplode(p.proacl) a ON a.grantee = 0"
            " WHERE n.nspname = %s AND (p.proacl IS NULL OR a.grantee = 0)",
            (SCHEMA,),
        ).fetchone()
        if open_to_all is not None and open_to_all[0]:
            return "everybody may call dblink's functions"
        return None


def ensure(dsn: str) -> None:
    """Make the loop-back of this database work, as the product's role, and try it.

    Raises Stop `writes.no_loopback` with the reason and what an administrator has to run.
    """
    why = obstacle(dsn)
    with translated("prepare the loop-back connection"), psycopg.connect(dsn) as connection:
        if why is not None:
            raise _impossible(connection.info.user, why)
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('nowbridge provision'))")
        role = _role_of(connection.info.dbname)
        password = secrets.token_urlsafe(32)
        _make_role(connection, role, password)
        _make_server(connection, role, password)
        connection.commit()
        try:
            connection.execute(f"SELECT {SCHEMA}.dblink_connect('ensure', %s)", (SERVER,))
        except psycopg.errors.SqlclientUnableToEstablishSqlconnection as error:
            raise _impossible(connection.info.user, str(error.diag.message_detail or error).strip()) from error


def _role_of(database: str) -> str:
    """One role per database: roles belong to the whole server, and each database's password is its own."""
    return "nowbridge_loop_" + hashlib.sha256(database.encode()).hexdigest()[:12]


def _make_role(connection: psycopg.Connection, role: str, password: str) -> None:
    name = sql.Identifier(role)
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN NOINHERIT").format(name))
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, sql.Literal(verifier)))
    database = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, name))
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA nowbridge TO {}").format(name))
    for function in CALLABLE:
        connection.execute(sql.SQL("GRANT EXECUTE ON FUNCTION nowbridge.{} TO {}").format(sql.SQL(function), name))


def _make_server(connection: psycopg.Connection, role: str, password: str) -> None:
    connection.execute(sql.SQL("DROP SERVER IF EXISTS {} CASCADE").format(sql.Identifier(SERVER)))
    connection.execute(
        sql.SQL(
            "CREATE SERVER {} FOREIGN DATA WRAPPER dblink_fdw OPTIONS (host {}, port {}, dbname {},"
            " application_name 'nowbridge loop-back', connect_timeout '5')"
        ).format(
            sql.Identifier(SERVER),
            sql.Literal(connection.info.host),
            sql.Literal(str(connection.info.port)),
            sql.Literal(connection.info.dbname),
        )
    )
    connection.execute(
        sql.SQL("CREATE USER MAPPING FOR CURRENT_USER SERVER {} OPTIONS (user {}, password {})").format(
            sql.Identifier(SERVER), sql.Literal(role), sql.Literal(password)
        )
    )


def _impossible(role: str, why: str) -> Stop:
    return Stop(
        "writes.no_loopback",
        asked="let SQL users write",
        answered=why,
        hint="Everything but SQL writes works without. A superuser can run in this database:\n"
        + administrators_script(role),
    )
