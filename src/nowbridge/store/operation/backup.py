"""What is ours as one file: everything in our schema and the change feed, in one consistent snapshot; the rows of the
replica if they are asked for, else their tables alone, to be loaded again.

The file is a zip: `manifest.json`, a script for each replica table, and the rows of each table as COPY writes them. It is
restored into a database that holds nothing of ours: first the schema as it was when the file was made, then the rows,
then the migrations that this version has beyond it. So a file of an older version is also how an upgrade is tested.
Credentials are in it as they are stored: sealed. The master key is not, unless it is put in.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
from psycopg import sql

from nowbridge.model.errors import Stop
from nowbridge.store import migrate
from nowbridge.store.database import translated
from nowbridge.store.instances.secrets import key_of

FORM: Final = 1
_PASSING: Final = (  # of processes that run, of people who are signed in, or in the manifest
    *("migration", "worker", "budget_claim", "notice_to_send"),
    *("console_session", "consent", "sign_in_failure"),
)
_FEED: Final = ("public", "_sync_cdc")


class TableInside(msgspec.Struct, frozen=True):
    """One table of the file; `script` makes it, and is empty for what migrations make."""

    schema: str
    name: str
    columns: tuple[str, ...]
    script: tuple[str, ...] = ()
    rows: bool = True


class Manifest(msgspec.Struct, frozen=True):
    """What the file says of itself. `keys` are the ids of the master keys that its credentials are sealed with."""

    form: int
    version: str
    made_at: str
    migrations: tuple[str, ...]
    keys: tuple[str, ...]
    tables: tuple[TableInside, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """What a backup is to hold: the rows of the replica, and the lines of the master key file."""

    version: str
    made_at: str
    with_rows: bool = False
    key_lines: bytes = field(default=b"", repr=False)


def make(dsn: str, file: Path, order: Order) -> Manifest:
    """Write the file, readable by its owner alone. Raises Stop `backup.file` when it is there or cannot be written."""
    try:
        descriptor = file.open("xb")
    except OSError as error:
        raise _refused("write", file, error.strerror or str(error), "Choose another place.") from error
    with descriptor as opened, translated("read the Nowbridge database"), psycopg.connect(dsn) as connection:
        file.chmod(0o600)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        manifest = _described(connection, order)
        with zipfile.ZipFile(opened, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
            archive.writestr("manifest.json", msgspec.json.encode(manifest))
            if order.key_lines:
                archive.writestr("master.key", order.key_lines)
            _write_all(connection, archive, manifest)
    return manifest


def _write_all(connection: psycopg.Connection, archive: zipfile.ZipFile, manifest: Manifest) -> None:
    for table in manifest.tables:
        if table.rows:
            _write_rows(connection, archive, table)


def _described(connection: psycopg.Connection, order: Order) -> Manifest:
    names = connection.execute("SELECT name FROM nowbridge.migration ORDER BY name").fetchall()
    own = [
        TableInside(schema, name, _columns(connection, schema, name))
        for schema, name in _in_order(connection)
        if name not in _PASSING
    ]
    replica = [
        TableInside(
            schema, name, _columns(connection, schema, name), _script(connection, schema, name), order.with_rows
        )
        for schema, name in connection.execute("SELECT schema_name, relation FROM nowbridge.replica_table ORDER BY id")
        if _exists(connection, schema, name)
    ]
    keys = {key_of(bytes(value)) for (value,) in connection.execute("SELECT sealed FROM nowbridge.connection")}
    for table in ("hook", "refresh_token"):
        if _exists(connection, "nowbridge", table):
            query = sql.SQL("SELECT sealed FROM nowbridge.{}").format(sql.Identifier(table))
            keys |= {key_of(bytes(value)) for (value,) in connection.execute(query)}
    feed = TableInside(*_FEED, _columns(connection, *_FEED))
    applied = tuple(name for (name,) in names)
    return Manifest(FORM, order.version, order.made_at, applied, tuple(sorted(keys)), (*own, feed, *replica))


def _in_order(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """Our tables, each behind those that it refers to."""
    tables = [
        name
        for (name,) in connection.execute(
            "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'nowbridge'::regnamespace AND c.relkind = 'r' ORDER BY 1"
        )
    ]
    needs: dict[str, set[str]] = {name: set() for name in tables}
    for name, other in connection.execute(
        "SELECT c.relname, o.relname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid"
        " JOIN pg_class o ON o.oid = k.confrelid WHERE k.contype = 'f' AND c.oid <> o.oid"
        " AND c.relnamespace = 'nowbridge'::regnamespace"
    ):
        needs[name].add(other)
    ordered: list[str] = []
    while len(ordered) < len(tables):
        ready = [name for name in tables if name not in ordered and needs[name] <= {*ordered}]
        if not ready:
            raise AssertionError("tables that refer to each other in a circle")
        ordered += ready
    return [("nowbridge", name) for name in ordered]


def _exists(connection: psycopg.Connection, schema: str, name: str) -> bool:
    found = connection.execute(
        "SELECT to_regclass(%s)", (sql.Identifier(schema, name).as_string(connection),)
    ).fetchone()
    return found is not None and found[0] is not None


def _columns(connection: psycopg.Connection, schema: str, name: str) -> tuple[str, ...]:
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attgenerated = '' ORDER BY attnum",
        (sql.Identifier(schema, name).as_string(connection),),
    ).fetchall()
    return tuple(column for (column,) in rows)


def _script(connection: psycopg.Connection, schema: str, name: str) -> tuple[str, ...]:
    """Statements that make a replica table as it is: columns, key, indexes, comments."""
    table = sql.Identifier(schema, name).as_string(connection)
    columns = connection.execute(
        "SELECT quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)"
        "  || CASE WHEN a.attcollation <> t.typcollation THEN ' COLLATE ' || quote_ident(l.collname) ELSE '' END"
        "  || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END"
        " FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_collation l ON l.oid = a.attcollation"
        " WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        (table,),
    ).fetchall()
    keys = connection.execute(
        "SELECT 'ALTER TABLE ' || conrelid::regclass::text || ' ADD ' || pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = %s::regclass AND contype = 'p'",
        (table,),
    ).fetchall()
    indexes = connection.execute(
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass AND NOT indisprimary", (table,)
    ).fetchall()
    comments = connection.execute(
        "SELECT objsubid, description, quote_ident(attname) FROM pg_description LEFT JOIN pg_attribute"
        "  ON attrelid = objoid AND attnum = objsubid WHERE objoid = %s::regclass AND classoid = 'pg_class'::regclass",
        (table,),
    ).fetchall()
    said = [
        f"COMMENT ON {'COLUMN ' + table + '.' + column if number else 'TABLE ' + table}"
        f" IS {sql.Literal(words).as_string(connection)}"
        for number, words, column in comments
    ]
    return (
        f"CREATE SCHEMA IF NOT EXISTS {sql.Identifier(schema).as_string(connection)}",
        f"CREATE TABLE {table} ({', '.join(column for (column,) in columns)}) WITH (fillfactor = 90)",
        *(line for (line,) in (*keys, *indexes)),
        *said,
    )


def _write_rows(connection: psycopg.Connection, archive: zipfile.ZipFile, table: TableInside) -> None:
    statement = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(
        _list(table.columns), sql.Identifier(table.schema, table.name)
    )
    with archive.open(_place(table), "w", force_zip64=True) as member, connection.cursor().copy(statement) as copy:
        for part in copy:
            member.write(part)


def read_manifest(file: Path) -> tuple[Manifest, bytes]:
    """The manifest, and the lines of the master key if they are inside. Raises Stop `backup.file`."""
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = msgspec.json.decode(archive.read("manifest.json"), type=Manifest)
            key = archive.read("master.key") if "master.key" in archive.namelist() else b""
    except (OSError, KeyError, zipfile.BadZipFile, msgspec.DecodeError) as error:
        raise _refused("read", file, str(error), "It must be a file that `nowbridge backup` wrote.") from error
    if manifest.form != FORM:
        raise _refused("read", file, "it has a form that this version does not know", "Install a newer Nowbridge.")
    return manifest, key


def restore(dsn: str, file: Path, manifest: Manifest, *, now: str) -> None:
    """Into a database that holds nothing of ours, in one transaction. Every connection is stopped: the original may run
    still. Raises Stop `backup.not_empty`, `database.newer`, `backup.file`.
    """
    with translated("restore into the Nowbridge database"), psycopg.connect(dsn) as connection:
        _clear(connection)
        migrate.apply(connection, only=manifest.migrations)
        with zipfile.ZipFile(file) as archive:
            _read_all(connection, archive, manifest)
        _count_on(connection, manifest.tables)
        _begin_anew(connection, [table for table in manifest.tables if table.script and not table.rows])
        migrate.apply(connection)
        why = {
            "reason": "restored",
            "found": "this database is a restored copy, and the original may run still",
            "since": now,
        }
        connection.execute(
            "UPDATE nowbridge.connection SET stopped = %s::jsonb WHERE stopped IS NULL",
            (msgspec.json.encode(why).decode(),),
        )


def _read_all(connection: psycopg.Connection, archive: zipfile.ZipFile, manifest: Manifest) -> None:
    for table in manifest.tables:
        for statement in table.script:
            connection.execute(sql.SQL(statement))
        if table.rows:
            _read_rows(connection, archive, table)


def _clear(connection: psycopg.Connection) -> None:
    """Take our schema away if nobody has used it; refuse else."""
    if _exists(connection, "nowbridge", "connection"):
        used = connection.execute("SELECT EXISTS (SELECT 1 FROM nowbridge.connection)").fetchone()
        if used is not None and used[0]:
            raise Stop(
                "backup.not_empty",
                asked="restore a backup",
                answered="this database has connections of its own",
                hint="Restore into a fresh one: another home, or another DATABASE_URL.",
            )
        connection.execute("DROP VIEW IF EXISTS public._sync_deleted, public._sync_columns")
        connection.execute("DROP SCHEMA nowbridge CASCADE")
        connection.execute("DROP TABLE IF EXISTS public._sync_cdc")


def _read_rows(connection: psycopg.Connection, archive: zipfile.ZipFile, table: TableInside) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table.schema, table.name), _list(table.columns)
    )
    with archive.open(_place(table)) as member, connection.cursor().copy(statement) as copy:
        while part := member.read(1 << 20):
            copy.write(part)


def _count_on(connection: psycopg.Connection, tables: Iterable[TableInside]) -> None:
    """Let ids be given out from where they had come to."""
    for table in tables:
        if table.script:
            continue
        name = sql.Identifier(table.schema, table.name)
        for (column,) in connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attidentity <> '' AND NOT attisdropped",
            (name.as_string(connection),),
        ).fetchall():
            connection.execute(
                sql.SQL("SELECT setval(pg_get_serial_sequence(%s, %s), greatest((SELECT max({}) FROM {}), 1))").format(
                    sql.Identifier(column), name
                ),
                (name.as_string(connection), column),
            )


def _begin_anew(connection: psycopg.Connection, tables: Sequence[TableInside]) -> None:
    """Nobody holds a claim in the copy; tables whose rows are not in the file are loaded again."""
    for name in ("shard", "stream", "duty"):
        connection.execute(
            sql.SQL("UPDATE nowbridge.{} SET epoch = epoch + 1, owner = NULL, lease_until = NULL").format(
                sql.Identifier(name)
            )
        )
    for table in tables:
        where: tuple[Any, ...] = (table.schema, table.name)
        these = "table_id IN (SELECT id FROM nowbridge.replica_table WHERE schema_name = %s AND relation = %s)"
        for name in ("shard", "stream", "tombstone"):
            connection.execute(sql.SQL(f"DELETE FROM nowbridge.{name} WHERE {these}"), where)
        connection.execute(
            "UPDATE nowbridge.replica_table SET phase = 'planned', backfilled_at = NULL"
            " WHERE schema_name = %s AND relation = %s",
            where,
        )


def _list(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _place(table: TableInside) -> str:
    return f"rows/{table.schema}.{table.name}"


def _refused(verb: str, file: Path, why: str, hint: str) -> Stop:
    return Stop("backup.file", asked=f"{verb} the backup {file}", answered=why, hint=hint)
