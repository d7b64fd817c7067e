"""What people read for a stored value: labels of records and of choices, and the queue of labels that changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from nowbridge.store.database import Connection
from nowbridge.store.ddl import Relation


@dataclass(frozen=True, slots=True)
class LabelSource:
    """A table whose records are referenced. `display` is the column that stands for one, None if there is none."""

    table: str
    display: str | None


@dataclass(frozen=True, slots=True)
class LabelChange:
    """A record of `table_name` is now called `label`; rows that show its old name are still to be rewritten."""

    id: int
    table_name: str
    key: str
    label: str | None


async def add_source(connection: Connection, connection_id: int, source: LabelSource) -> None:
    await connection.execute(
        "INSERT INTO nowbridge.label_source (connection_id, table_name, display) VALUES (%s, %s, %s)"
        " ON CONFLICT (connection_id, table_name) DO UPDATE SET display = excluded.display",
        (connection_id, source.table, source.display),
    )


async def sources(connection: Connection, connection_id: int, *, unlisted: bool = False) -> list[LabelSource]:
    """The tables that labels are known for; with `unlisted` only those whose labels have not been read yet."""
    cursor = await connection.execute(
        "SELECT table_name, display FROM nowbridge.label_source WHERE connection_id = %s"
        " AND (listed_at IS NULL OR NOT %s) ORDER BY table_name",
        (connection_id, unlisted),
    )
    return [LabelSource(*row) for row in await cursor.fetchall()]


async def mark_listed(connection: Connection, connection_id: int, table: str, *, now: datetime) -> None:
    await connection.execute(
        "UPDATE nowbridge.label_source SET listed_at = %s WHERE connection_id = %s AND table_name = %s",
        (now, connection_id, table),
    )


async def known(connection: Connection, connection_id: int, table: str, keys: Sequence[str]) -> dict[str, str | None]:
    """Labels of these records of one table, as far as they have been looked for. None: looked for and not readable."""
    cursor = await connection.execute(
        "SELECT key, label FROM nowbridge.label WHERE connection_id = %s AND table_name = %s AND key = ANY(%s)",
        (connection_id, table, list(keys)),
    )
    return dict(await cursor.fetchall())


async def known_all(connection: Connection, connection_id: int, table: str, *, most: int) -> dict[str, str | None]:
    """As `known`, of every record of the table; nothing when there are more than `most`."""
    cursor = await connection.execute(
        "SELECT key, label FROM nowbridge.label WHERE connection_id = %s AND table_name = %s LIMIT %s",
        (connection_id, table, most + 1),
    )
    return dict(await cursor.fetchall()) if cursor.rowcount <= most else {}


async def generation(connection: Connection, connection_id: int) -> int:
    """How many times labels have changed. Takes a transaction id first: from now on `settle_change` waits for this
    transaction, so whatever it writes by labels of this generation is gone over again if they change meanwhile.
    """
    cursor = await connection.execute(
        "SELECT pg_current_xact_id(), (SELECT generation FROM nowbridge.label_generation WHERE connection_id = %s)",
        (connection_id,),
    )
    row = await cursor.fetchone()
    return int(row[1] or 0) if row else 0


async def remember(
    connection: Connection, connection_id: int, table: str, labels: Mapping[str, str | None], *, now: datetime
) -> int:
    """Store labels; those that differ from what rows already show are queued. Returns how many were queued."""
    if not labels:
        return 0
    cursor = await connection.execute(
        "WITH new AS (SELECT key, label FROM unnest(%(keys)s::text[], %(labels)s::text[]) AS u(key, label)),"
        " old AS MATERIALIZED (SELECT key, label FROM nowbridge.label"
        "   WHERE connection_id = %(connection)s AND table_name = %(table)s AND key = ANY(%(keys)s)),"
        " written AS (INSERT INTO nowbridge.label AS l (connection_id, table_name, key, label, seen_at)"
        "   SELECT %(connection)s, %(table)s, key, label, %(now)s FROM new ORDER BY key"
        "   ON CONFLICT (connection_id, table_name, key) DO UPDATE SET label = excluded.label, seen_at = excluded.seen_at"
        "   WHERE l.label IS DISTINCT FROM excluded.label RETURNING key, label)"
        " INSERT INTO nowbridge.label_change (connection_id, table_name, key, label, changed_at)"
        " SELECT %(connection)s, %(table)s, w.key, w.label, %(now)s FROM written w JOIN old o USING (key)",
        {
            "connection": connection_id,
            "table": table,
            "keys": list(labels),
            "labels": list(labels.values()),
            "now": now,
        },
    )
    queued = cursor.rowcount
    if queued:
        await new_generation(connection, connection_id)
    return queued


async def new_generation(connection: Connection, connection_id: int) -> None:
    """Words have changed: what workers hold in memory is to be read again."""
    await connection.execute(
        "INSERT INTO nowbridge.label_generation AS g (connection_id, generation) VALUES (%s, 1)"
        " ON CONFLICT (connection_id) DO UPDATE SET generation = g.generation + 1",
        (connection_id,),
    )


async def choices(connection: Connection, connection_id: int) -> dict[tuple[str, str], dict[str, str]]:
    """Every choice list: {(table, column): {value: label}}."""
    cursor = await connection.execute(
        "SELECT table_name, column_name, value, label FROM nowbridge.choice WHERE connection_id = %s"
        " ORDER BY table_name, column_name, dependent DESC",
        (connection_id,),
    )
    found: dict[tuple[str, str], dict[str, str]] = {}
    for table, column, value, label in await cursor.fetchall():
        found.setdefault((table, column), {})[value] = label
    return found


async def replace_choices(
    connection: Connection, connection_id: int, rows: Iterable[tuple[str, str, str, str, str]]
) -> None:
    """Set the choice lists of the tables named in `rows`: (table, column, dependent, value, label)."""
    listed = list(rows)
    await connection.execute(
        "DELETE FROM nowbridge.choice WHERE connection_id = %s AND table_name = ANY(%s)",
        (connection_id, sorted({row[0] for row in listed})),
    )
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO nowbridge.choice (connection_id, table_name, column_name, dependent, value, label)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [(connection_id, *row) for row in listed],
        )


async def pending_changes(connection: Connection, connection_id: int, *, limit: int) -> list[LabelChange]:
    cursor = await connection.execute(
        "SELECT id, table_name, key, label FROM nowbridge.label_change WHERE connection_id = %s ORDER BY id LIMIT %s",
        (connection_id, limit),
    )
    return [LabelChange(*row) for row in await cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """A replica column that shows labels of one referenced table: `shown` the words, `stored` the sys_ids."""

    relation: Relation
    shown: str
    stored: str
    many: bool  # a list of references, text[] both


async def rewrite_labels(
    connection: Connection, column: LabelColumn, *, source: tuple[int, str], keys: Sequence[str], chunk: int
) -> tuple[int, int]:
    """Rewrite up to `chunk` rows that show an outdated label of these records of `source` (connection, table).

    Returns (rewritten, found): rows that a client holds locked are found and not rewritten. Not in the change feed:
    nothing changed in ServiceNow's record.
    """
    cursor = await connection.execute(
        sql.SQL(
            "WITH stale AS MATERIALIZED (SELECT t.sys_id, {words} AS words FROM {table} AS t WHERE {touched}"
            "   AND t.{shown} IS DISTINCT FROM {words} ORDER BY t.sys_id LIMIT %(chunk)s),"
            " free AS MATERIALIZED (SELECT t.sys_id FROM {table} AS t JOIN stale USING (sys_id)"
            "   ORDER BY t.sys_id FOR NO KEY UPDATE OF t SKIP LOCKED),"
            " written AS (UPDATE {table} AS t SET {shown} = stale.words FROM stale JOIN free USING (sys_id)"
            "   WHERE t.sys_id = stale.sys_id RETURNING 1)"
            " SELECT (SELECT count(*) FROM written), (SELECT count(*) FROM stale)"
        ).format(
            table=column.relation.identifier,
            shown=sql.Identifier(column.shown),
            words=_words(column),
            touched=sql.SQL("t.{} && %(keys)s" if column.many else "t.{} = ANY(%(keys)s)").format(
                sql.Identifier(column.stored)
            ),
        ),
        {"connection": source[0], "source": source[1], "keys": list(keys), "chunk": chunk},
    )
    row = await cursor.fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def _words(column: LabelColumn) -> sql.Composed:
    """The current words for one row, by the label table; a value without a label stands for itself."""
    found = "FROM nowbridge.label l WHERE l.connection_id = %(connection)s AND l.table_name = %(source)s AND l.key = "
    if column.many:
        return sql.SQL(
            "(SELECT array_agg(coalesce((SELECT l.label " + found + "m.key), m.key) ORDER BY m.at)"
            " FROM unnest(t.{}) WITH ORDINALITY AS m(key, at))"
        ).format(sql.Identifier(column.stored))
    return sql.SQL("coalesce((SELECT l.label " + found + "t.{0}), t.{0})").format(sql.Identifier(column.stored))


async def stamp_change(connection: Connection, change: LabelChange) -> bool:
    """Whether every transaction that may have read the old label has ended (traps, finding 23). The first call, made
    after the rename was committed, notes which those are.
    """
    cursor = await connection.execute(
        "UPDATE nowbridge.label_change"
        " SET settle_after = coalesce(settle_after, pg_snapshot_xmax(pg_current_snapshot())) WHERE id = %s"
        " RETURNING settle_after <= pg_snapshot_xmin(pg_current_snapshot())",
        (change.id,),
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def settle_change(connection: Connection, change: LabelChange) -> None:
    """Take the change off the queue: no row shows the old label and nobody can still write it."""
    await connection.execute("DELETE FROM nowbridge.label_change WHERE id = %s", (change.id,))
