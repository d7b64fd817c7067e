"""Keys and versions: a listing of the source held against the replica, and the replica counted as of a moment.

One comparison lives on one database connection: the keys that were listed are kept in a temporary table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from nowbridge.store.database import Connection
from nowbridge.store.rows.load import Target

_KEYS = sql.Identifier("pg_temp", "listed_keys")
_PAGE = sql.Identifier("pg_temp", "listed_page")

Key = tuple[str, int | None, str | None]
"""sys_id, sys_mod_count, sys_updated_on as text."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a table by its ids: those that begin with `prefix`, in whatever case; with `odd`, only those of them that
    go on with something else than a hex digit.
    """

    prefix: str = ""
    odd: bool = False

    def condition(self, column: str) -> sql.Composable:
        """As SQL: ranges of the key, in lower and in upper case, so that its index serves them."""
        name = sql.SQL(column)
        parts: list[sql.Composable] = []
        if self.prefix:
            ranges = [
                sql.SQL("{0} >= {1} AND {0} < {2}").format(name, sql.Literal(low), sql.Literal(_next(low)))
                for low in sorted({self.prefix, self.prefix.upper()})
            ]
            parts.append(sql.SQL("({})").format(sql.SQL(" OR ").join(ranges)))
        if self.odd:
            at = sql.Literal(len(self.prefix) + 1)
            parts.append(sql.SQL("substr({}, {}, 1) !~* '^[0-9a-f]$'").format(name, at))
        return sql.SQL(" AND ").join(parts) if parts else sql.SQL("true")


@dataclass(frozen=True, slots=True)
class Columns:
    """The replica's columns that hold a record's version, time of creation and class; None where it has none."""

    changes: str | None
    updated: str | None
    created: str | None
    class_name: str | None

    def of(self, source: str) -> str | None:
        return {
            "sys_mod_count": self.changes,
            "sys_updated_on": self.updated,
            "sys_created_on": self.created,
            "sys_class_name": self.class_name,
        }[source]


@dataclass(frozen=True, slots=True)
class Counted:
    """The replica's rows with one value, as `servicenow.aggregates.Group`."""

    value: str
    rows: int
    changes: int
    first_created: datetime | None
    last_created: datetime | None
    last_updated: datetime | None


async def begin(connection: Connection) -> None:
    for name in ("listed_keys", "listed_page"):
        await connection.execute(sql.SQL("DROP TABLE IF EXISTS pg_temp.{}").format(sql.Identifier(name)))
    await connection.execute('CREATE TEMP TABLE listed_keys (sys_id text COLLATE "C" PRIMARY KEY)')
    await connection.execute(
        'CREATE TEMP TABLE listed_page (sys_id text COLLATE "C", sys_mod_count bigint, sys_updated_on timestamptz)'
    )


async def compare_page(connection: Connection, target: Target, page: Iterable[Key]) -> list[str]:
    """Ids of a page that the replica lacks or holds in another version; all of them count as listed."""
    await connection.execute(sql.SQL("TRUNCATE {}").format(_PAGE))
    statement = sql.SQL("COPY {} (sys_id, sys_mod_count, sys_updated_on) FROM STDIN").format(_PAGE)
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for key in page:
            await copy.write_row(key)
    await connection.execute(
        sql.SQL("INSERT INTO {} SELECT sys_id FROM {} ON CONFLICT DO NOTHING").format(_KEYS, _PAGE)
    )
    same = [
        sql.SQL("t.{0} IS NOT DISTINCT FROM n.{0}").format(sql.Identifier(name))
        for name in ("sys_mod_count", "sys_updated_on")
        if name in target.columns
    ]
    found = await connection.execute(
        sql.SQL(
            "SELECT n.sys_id FROM {page} n LEFT JOIN {table} t USING (sys_id)"
            " WHERE t.sys_id IS NULL OR NOT ({same}) ORDER BY n.sys_id"
        ).format(page=_PAGE, table=target.relation.identifier, same=sql.SQL(" AND ").join([sql.SQL("true"), *same]))
    )
    return [row[0] for row in await found.fetchall()]


async def unlisted(connection: Connection, target: Target, part: Part) -> list[str]:
    """Ids of a part that the replica holds and the source did not list."""
    cursor = await connection.execute(
        sql.SQL(
            "SELECT t.sys_id FROM {} t WHERE {} AND NOT EXISTS (SELECT 1 FROM {} k WHERE k.sys_id = t.sys_id)"
        ).format(target.relation.identifier, part.condition("t.sys_id"), _KEYS)
    )
    return [row[0] for row in await cursor.fetchall()]


async def feed_position(connection: Connection) -> int:
    row = await (await connection.execute("SELECT coalesce(max(id), 0) FROM public._sync_cdc")).fetchone()
    return int(row[0]) if row else 0


async def changed_about(connection: Connection, target: Target, since: int, first: datetime, last: datetime) -> bool:
    """Whether the feed has entries behind `since` for changes from `first` to `last`, by the instance's clock."""
    cursor = await connection.execute(
        "SELECT 1 FROM public._sync_cdc WHERE id > %s AND schema_name = %s AND table_name = %s"
        " AND changed_at BETWEEN %s AND %s LIMIT 1",
        (since, target.relation.schema, target.relation.name, first, last),
    )
    return await cursor.fetchone() is not None


@dataclass(frozen=True, slots=True)
class AsOf:
    """The replica as the instance was at `moment`: the feed's entries behind `since` for later changes are undone. Only
    rows that were last updated up to `horizon` count.
    """

    moment: datetime
    since: int
    horizon: datetime


async def counted(
    connection: Connection, target: Target, columns: Columns, part: Part, *, by: str, as_of: AsOf
) -> list[Counted]:
    """Count the rows of a part by the values of the source column `by` (traps, finding 28)."""
    names = {
        "changes": (columns.changes, "bigint"),
        "updated": (columns.updated, "timestamptz"),
        "created": (columns.created, "timestamptz"),
        "class_name": (columns.class_name, "text"),
    }
    undone = sql.SQL(", ").join(_before(alias, name) for alias, (name, _) in names.items())
    kept = sql.SQL(", ").join(_kept(alias, name, kind) for alias, (name, kind) in names.items())
    gone = sql.SQL(", ").join(
        sql.SQL("{}::{}").format(sql.SQL(f"l.{alias}"), sql.SQL(kind)) for alias, (_, kind) in names.items()
    )
    cursor = await connection.execute(
        sql.SQL(
            "WITH later AS (SELECT sys_id, (array_agg(operation ORDER BY id))[1] AS operation, {undone}"
            "   FROM public._sync_cdc WHERE id > %(since)s AND schema_name = %(schema)s AND table_name = %(table)s"
            "     AND sys_id IS NOT NULL AND changed_at > %(moment)s AND operation IN ('insert', 'update', 'delete') GROUP BY sys_id),"
            " state AS (SELECT {kept} FROM {relation} t LEFT JOIN later l USING (sys_id)"
            "     WHERE l.operation IS DISTINCT FROM 'insert' AND {within}"
            "   UNION ALL SELECT {gone} FROM later l WHERE l.operation <> 'insert' AND {within_later}"
            "     AND NOT EXISTS (SELECT 1 FROM {relation} t WHERE t.sys_id = l.sys_id))"
            " SELECT coalesce({by}::text, ''), count(*), coalesce(sum(changes), 0)::bigint, min(created), max(created),"
            "   max(updated) FROM state WHERE updated <= %(horizon)s GROUP BY 1"
        ).format(
            undone=undone,
            kept=kept,
            gone=gone,
            relation=target.relation.identifier,
            within=part.condition("t.sys_id"),
            within_later=part.condition("l.sys_id"),
            by=sql.SQL("changes" if by == "sys_mod_count" else "class_name"),
        ),
        {
            "since": as_of.since,
            "schema": target.relation.schema,
            "table": target.relation.name,
            "moment": as_of.moment,
            "horizon": as_of.horizon,
        },
    )
    return [Counted(*row) for row in await cursor.fetchall()]


async def met_hidden(connection: Connection, table_id: int) -> bool:
    """Whether the first load met rows that were counted and not shown."""
    cursor = await connection.execute(
        "SELECT coalesce(sum(hidden), 0) > 0 FROM nowbridge.shard WHERE table_id = %s", (table_id,)
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def forget_hidden(connection: Connection, table_id: int) -> None:
    """What was learned of hidden rows holds no more."""
    await connection.execute("DELETE FROM nowbridge.hidden_bucket WHERE table_id = %s", (table_id,))


async def hidden_buckets(connection: Connection, table_id: int) -> dict[tuple[str, str], dict[str, tuple[int, int]]]:
    """What was learned of hidden rows: by prefix and grouping column, {value: (rows, changes)}."""
    cursor = await connection.execute(
        "SELECT prefix, grouped_by, counts FROM nowbridge.hidden_bucket WHERE table_id = %s", (table_id,)
    )
    return {
        (prefix, by): {value: (pair[0], pair[1]) for value, pair in counts.items()}
        for prefix, by, counts in await cursor.fetchall()
    }


async def learn_hidden(
    connection: Connection, table_id: int, buckets: dict[tuple[str, str], dict[str, Any]], *, anew: bool
) -> None:
    """Keep what was learned; `anew` forgets all that was known before."""
    if anew:
        await forget_hidden(connection, table_id)
    for (prefix, by), counts in buckets.items():
        await connection.execute(
            "INSERT INTO nowbridge.hidden_bucket (table_id, prefix, grouped_by, counts) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (table_id, prefix, grouped_by) DO UPDATE SET counts = excluded.counts",
            (table_id, prefix, by, Jsonb({value: list(pair) for value, pair in counts.items()})),
        )


def _next(prefix: str) -> str:
    """The first text behind all that begin with `prefix`, in the order of the key."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _before(alias: str, name: str | None) -> sql.Composable:
    """A column before the first of the changes in which it changed, and whether it changed at all."""
    if name is None:
        return sql.SQL("NULL::text AS {0}, false AS {0}_changed").format(sql.SQL(alias))
    return sql.SQL(
        "(array_agg(changes->{1}->>0 ORDER BY id) FILTER (WHERE changes ? {1}))[1] AS {0},"
        " coalesce(bool_or(changes ? {1}), false) AS {0}_changed"
    ).format(sql.SQL(alias), sql.Literal(name))


def _kept(alias: str, name: str | None, kind: str) -> sql.Composable:
    if name is None:
        return sql.SQL("NULL::{} AS {}").format(sql.SQL(kind), sql.SQL(alias))
    return sql.SQL("CASE WHEN l.{0}_changed THEN l.{0}::{1} ELSE t.{2}::{1} END AS {0}").format(
        sql.SQL(alias), sql.SQL(kind), sql.Identifier(name)
    )
