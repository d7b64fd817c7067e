"""What people read for a stored value: labels of records and of choices, and the queue of labels that changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import sql
from psycopg.types.json import Jsonb

from nowbridge.model.errors import LostLease
from nowbridge.store.database import Connection
from nowbridge.store.ddl import Relation
from nowbridge.store.work.leases import Holder

_LOCK = 0x6E6C  # "nl": the class of our advisory locks on carrying renames
CHOICES = "(choices)"  # stands among the tables whose words are followed


@dataclass(frozen=True, slots=True)
class LabelSource:
    """A table whose records are referenced. `display` is the column that stands for one, None if there is none."""

    table: str
    display: str | None


@dataclass(frozen=True, slots=True)
class LabelChange:
    """A record of `table_name` is now called `label`; rows that show its old name are still to be rewritten. With
    `column` it is a value of that column's choices, `key`, that is called otherwise.
    """

    id: int
    table_name: str
    key: str
    label: str | None
    column: str | None


@dataclass(frozen=True, slots=True)
class ChoiceRow:
    """`learned`: from rows, as the account may not read the choices themselves."""

    table: str
    column: str
    dependent: str
    value: str
    label: str
    learned: bool = False


@dataclass(frozen=True, slots=True)
class SourceLease:
    """A claim on following the renames of one table. `listed`: all its labels are held, not only those that were met."""

    connection_id: int
    table: str
    display: str | None
    listed: bool
    cursor_time: datetime | None
    cursor_id: str
    every: timedelta | None
    epoch: int


async def add_source(
    connection: Connection, connection_id: int, source: LabelSource, *, start: datetime, now: datetime
) -> None:
    """A table whose records' names are wanted; its renames are followed from `start` on, the instance's time."""
    await connection.execute(
        "INSERT INTO nowbridge.label_source AS s (connection_id, table_name, display, cursor_time, next_at, listed_at)"
        " VALUES (%(connection)s, %(table)s, %(display)s, %(start)s, %(now)s,"
        "   CASE WHEN %(table)s = %(choices)s THEN %(now)s::timestamptz END)"
        " ON CONFLICT (connection_id, table_name) DO UPDATE SET display = excluded.display,"
        "   cursor_time = coalesce(s.cursor_time, excluded.cursor_time), next_at = coalesce(s.next_at, excluded.next_at)",
        {
            "connection": connection_id,
            "table": source.table,
            "display": source.display,
            "start": start,
            "now": now,
            "choices": CHOICES,
        },
    )


async def claim_source(
    connection: Connection, connection_id: int, holder: Holder, *, now: datetime
) -> SourceLease | None:
    """The table whose renames have been due for longest, unless its rows are replicated whole and bring their labels."""
    cursor = await connection.execute(
        "UPDATE nowbridge.label_source SET epoch = epoch + 1, owner = %(owner)s, lease_until = %(until)s"
        " WHERE connection_id = %(connection)s AND table_name = (SELECT s.table_name FROM nowbridge.label_source s"
        "   WHERE s.connection_id = %(connection)s AND (s.next_at IS NULL OR s.next_at <= %(now)s)"
        "     AND (s.lease_until IS NULL OR s.lease_until <= %(now)s)"
        "     AND (s.display IS NOT NULL OR s.table_name = %(choices)s)"
        "     AND NOT EXISTS (SELECT 1 FROM nowbridge.replica_table t WHERE t.connection_id = s.connection_id"
        "       AND t.source = s.table_name AND t.phase = 'live' AND t.query = '' AND t.paused_at IS NULL"
        "       AND t.stopped IS NULL AND NOT t.layout->'columns' @> '[{\"state\": \"left out\"}]')"
        "     AND EXISTS (SELECT 1 FROM nowbridge.replica_table t WHERE t.connection_id = s.connection_id"
        "       AND t.phase = 'live' AND t.paused_at IS NULL)"
        "   ORDER BY s.next_at NULLS FIRST LIMIT 1 FOR UPDATE OF s SKIP LOCKED)"
        " RETURNING connection_id, table_name, display, listed_at IS NOT NULL, cursor_time, cursor_id, every, epoch",
        {
            "owner": holder.name,
            "until": now + holder.lease,
            "connection": connection_id,
            "now": now,
            "choices": CHOICES,
        },
    )
    row = await cursor.fetchone()
    return SourceLease(*row) if row else None


async def advance_source(connection: Connection, lease: SourceLease, time: datetime, sys_id: str) -> None:
    """Move the cursor in the transaction that holds the labels. Raises LostLease under an old epoch."""
    cursor = await connection.execute(
        "UPDATE nowbridge.label_source SET cursor_time = %s, cursor_id = %s, calls = calls + 1"
        " WHERE connection_id = %s AND table_name = %s AND epoch = %s",
        (time, sys_id, lease.connection_id, lease.table, lease.epoch),
    )
    if cursor.rowcount != 1:
        raise LostLease(
            "lease.lost", asked=f"follow renames in {lease.table}", answered="another worker has taken over"
        )


async def finish_source(
    connection: Connection, lease: SourceLease, *, every: timedelta, error: dict[str, str] | None, now: datetime
) -> None:
    """Give the claim back, to be taken up again after `every`."""
    await connection.execute(
        "UPDATE nowbridge.label_source SET lease_until = NULL, owner = NULL, every = %s, next_at = %s, last_error = %s"
        " WHERE connection_id = %s AND table_name = %s AND epoch = %s",
        (every, now + every, Jsonb(error) if error else None, lease.connection_id, lease.table, lease.epoch),
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


async def known_several(
    connection: Connection, connection_id: int, keys: Mapping[str, Collection[str]]
) -> dict[str, dict[str, str | None]]:
    """As `known`, of several tables in one question."""
    pairs = [(table, key) for table, of_table in keys.items() for key in of_table]
    cursor = await connection.execute(
        "SELECT l.table_name, l.key, l.label FROM unnest(%s::text[], %s::text[]) AS w(table_name, key)"
        " JOIN nowbridge.label l USING (table_name, key) WHERE l.connection_id = %s",
        ([table for table, _ in pairs], [key for _, key in pairs], connection_id),
    )
    found: dict[str, dict[str, str | None]] = {}
    for table, key, label in await cursor.fetchall():
        found.setdefault(table, {})[key] = label
    return found


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
    connection: Connection,
    connection_id: int,
    covered: Collection[tuple[str, str]],
    rows: Sequence[ChoiceRow],
    *,
    now: datetime,
    queue: bool = False,
) -> int:
    """Set the choice lists of the columns `covered`, (table, column). Values that are called otherwise than before are
    queued, of lists that there were none of only with `queue`. Returns how many.
    """
    before = await choices(connection, connection_id)
    after = _by_column(rows)
    changed = [
        (connection_id, *column, value)
        for column in covered
        if (column in before or queue) and before.get(column) != after.get(column)
        for value in before.get(column, {}).keys() | after.get(column, {}).keys()
        if before.get(column, {}).get(value, value) != after.get(column, {}).get(value, value)
    ]
    touched = [column for column in covered if column in before]
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "DELETE FROM nowbridge.choice WHERE connection_id = %s AND table_name = %s AND column_name = %s",
            [(connection_id, *column) for column in touched],
        )
        await cursor.executemany(
            "INSERT INTO nowbridge.choice (connection_id, table_name, column_name, dependent, value, label, learned)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [(connection_id, r.table, r.column, r.dependent, r.value, r.label, r.learned) for r in rows],
        )
        await cursor.executemany(
            "INSERT INTO nowbridge.label_change (connection_id, table_name, column_name, key, changed_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            [(*change, now) for change in changed],
        )
    if before != await choices(connection, connection_id):
        await new_generation(connection, connection_id)
    return len(changed)


def _by_column(rows: Iterable[ChoiceRow]) -> dict[tuple[str, str], dict[str, str]]:
    """As `choices` reads them: a value's label without a dependent value counts."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in sorted(rows, key=lambda row: row.dependent, reverse=True):
        found.setdefault((row.table, row.column), {})[row.value] = row.label
    return found


async def pending_changes(connection: Connection, connection_id: int, *, limit: int) -> list[LabelChange]:
    cursor = await connection.execute(
        "SELECT id, table_name, key, label, column_name FROM nowbridge.label_change WHERE connection_id = %s"
        " ORDER BY id LIMIT %s",
        (connection_id, limit),
    )
    return [LabelChange(*row) for row in await cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Words:
    """Whose words: records of a table, or with `column` the choices of a column."""

    connection_id: int
    table: str
    column: str | None = None


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """A replica column that shows words: `shown` the words, `stored` what they stand for."""

    relation: Relation
    shown: str
    stored: str
    many: bool  # a list of references, text[] both


async def outdated(
    connection: Connection, column: LabelColumn, words: Words, *, keys: Sequence[str], after: str, limit: int
) -> list[str]:
    """Rows behind `after` that show outdated words for one of `keys`, in the order of sys_id. Locks nothing."""
    cursor = await connection.execute(
        sql.SQL(
            "SELECT t.sys_id FROM {table} AS t WHERE {touched} AND t.sys_id > %(after)s"
            " AND t.{shown} IS DISTINCT FROM {words} ORDER BY t.sys_id LIMIT %(limit)s"
        ).format(
            table=column.relation.identifier,
            shown=sql.Identifier(column.shown),
            words=_words(column, words),
            touched=_touched(column, words),
        ),
        {**_names(words), "keys": list(keys), "after": after, "limit": limit},
    )
    return [row[0] for row in await cursor.fetchall()]


async def rewrite_labels(
    connection: Connection, column: LabelColumn, words: Words, sys_ids: Sequence[str]
) -> tuple[int, float]:
    """Let these rows show the words of today, but for those that a client holds locked. Returns how many were written,
    and for how many seconds they have been locked. Not in the change feed: nothing changed in ServiceNow's record.
    """
    cursor = await connection.execute(
        sql.SQL(
            "WITH free AS MATERIALIZED (SELECT t.sys_id FROM {table} AS t WHERE t.sys_id = ANY(%(ids)s)"
            "   ORDER BY t.sys_id FOR NO KEY UPDATE OF t SKIP LOCKED),"
            " written AS (UPDATE {table} AS t SET {shown} = {words} FROM free WHERE t.sys_id = free.sys_id RETURNING 1)"
            " SELECT (SELECT count(*) FROM written), extract(epoch FROM clock_timestamp() - statement_timestamp())"
        ).format(table=column.relation.identifier, shown=sql.Identifier(column.shown), words=_words(column, words)),
        {**_names(words), "ids": list(sys_ids)},
    )
    row = await cursor.fetchone()
    return (int(row[0]), float(row[1])) if row else (0, 0.0)


def _names(words: Words) -> dict[str, object]:
    return {"connection": words.connection_id, "source": words.table, "column": words.column}


def _touched(column: LabelColumn, words: Words) -> sql.Composed:
    stored = sql.Identifier(column.stored)
    if words.column is not None:
        return sql.SQL("t.{}::text = ANY(%(keys)s)").format(stored)
    return sql.SQL("t.{} && %(keys)s" if column.many else "t.{} = ANY(%(keys)s)").format(stored)


def _words(column: LabelColumn, words: Words) -> sql.Composed:
    """The current words for one row; a value without a label stands for itself."""
    stored = sql.Identifier(column.stored)
    if words.column is not None:
        return sql.SQL(
            "coalesce((SELECT c.label FROM nowbridge.choice c WHERE c.connection_id = %(connection)s"
            " AND c.table_name = %(source)s AND c.column_name = %(column)s AND c.value = t.{0}::text"
            " ORDER BY c.dependent LIMIT 1), t.{0}::text)"
        ).format(stored)
    found = "FROM nowbridge.label l WHERE l.connection_id = %(connection)s AND l.table_name = %(source)s AND l.key = "
    if column.many:
        return sql.SQL(
            "(SELECT array_agg(coalesce((SELECT l.label " + found + "m.key), m.key) ORDER BY m.at)"
            " FROM unnest(t.{}) WITH ORDINALITY AS m(key, at))"
        ).format(stored)
    return sql.SQL("coalesce((SELECT l.label " + found + "t.{0}), t.{0})").format(stored)


@asynccontextmanager
async def alone(connection: Connection, connection_id: int) -> AsyncIterator[bool]:
    """Whether nobody else carries renames of this ServiceNow connection to the rows; if so, nobody else does inside.
    `connection` is outside a transaction.
    """
    held = await connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCK, connection_id))
    row = await held.fetchone()
    mine = bool(row and row[0])
    try:
        yield mine
    finally:
        if mine and not connection.closed:
            await connection.execute("SELECT pg_advisory_unlock(%s, %s)", (_LOCK, connection_id))


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
