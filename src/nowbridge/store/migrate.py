"""Brings a database to the schema that this code needs: numbered SQL files, each applied once, in order, under a lock.

A file is never edited after a release; the next one changes what it made.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import psycopg
from psycopg import sql

from nowbridge.model.errors import Stop

LOCK = 0x6E6F7762  # "nowb": one migration at a time, whoever runs it


def shipped() -> tuple[tuple[str, str], ...]:
    """Name and text of every migration in this package, in order."""
    folder = resources.files("nowbridge.store") / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return tuple((f.name.removesuffix(".sql"), f.read_text(encoding="utf-8")) for f in files)


def migrate(dsn: str) -> tuple[str, ...]:
    """Apply what is missing, all in one transaction. Returns the names of the migrations that were applied now."""
    with psycopg.connect(dsn) as connection:
        return apply(connection)


def apply(connection: psycopg.Connection, *, only: Sequence[str] | None = None) -> tuple[str, ...]:
    """In the caller's transaction: everything that is missing, or of it `only` these. Raises Stop `database.newer` for a
    migration that this version does not have.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    connection.execute("CREATE SCHEMA IF NOT EXISTS nowbridge")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS nowbridge.migration"
        " (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT transaction_timestamp())"
    )
    done = {name for (name,) in connection.execute("SELECT name FROM nowbridge.migration").fetchall()}
    known = shipped()
    if newer := sorted({*done, *(only or ())} - {name for name, _ in known}):
        raise Stop(
            "database.newer",
            asked="open the Nowbridge database",
            answered=f"it was made by a newer Nowbridge (it has {newer[-1]})",
            hint="Install the version of Nowbridge that made it, or a later one.",
        )
    wanted = [(name, text) for name, text in known if name not in done and (only is None or name in only)]
    for name, text in wanted:
        connection.execute(sql.SQL(text))  # our own files, read at run time
        connection.execute("INSERT INTO nowbridge.migration (name) VALUES (%s)", (name,))
    return tuple(name for name, _ in wanted)


def applied(dsn: str) -> tuple[str, ...]:
    """The migrations that a database has had, in order."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT name FROM nowbridge.migration ORDER BY name").fetchall()
    return tuple(name for (name,) in rows)


def missing(dsn: str) -> tuple[str, ...]:
    """The migrations that this version needs and the database has not had."""
    with psycopg.connect(dsn) as connection:
        made = connection.execute("SELECT to_regclass('nowbridge.migration')").fetchone()
        rows = connection.execute("SELECT name FROM nowbridge.migration").fetchall() if made and made[0] else []
    done = {name for (name,) in rows}
    return tuple(name for name, _ in shipped() if name not in done)


def install_schema(dsn: str, schema: str, *, search_path: str, sentinel: str, text: str) -> bool:
    """Run somebody else's schema script inside a schema of its own, unless its table `sentinel` is there already.
    True if it was run now.
    """
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        found = connection.execute("SELECT to_regclass(%s)", (f"{schema}.{sentinel}",)).fetchone()
        if found is not None and found[0] is not None:
            return False
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        connection.execute("SELECT set_config('search_path', %s, true)", (search_path,))
        connection.execute(sql.SQL(text))  # the library's own script
    return True
