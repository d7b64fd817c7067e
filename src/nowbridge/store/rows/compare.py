"""The replica held against pages of its source, inside Postgres: staged rows beside the table's rows.

One comparison lives on one database connection: the ids that the source showed are kept in a temporary table, and
what the replica holds beyond them is found at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from nowbridge.store.database import Connection
from nowbridge.store.ddl import Relation
from nowbridge.store.rows.load import Target

SEEN = sql.Identifier("pg_temp", "verify_seen")


@dataclass(frozen=True, slots=True)
class Difference:
    """`columns` is empty for a row that the replica lacks."""

    sys_id: str
    columns: tuple[str, ...]


async def begin(connection: Connection) -> None:
    await connection.execute("DROP TABLE IF EXISTS pg_temp.verify_seen")
    await connection.execute('CREATE TEMP TABLE verify_seen (sys_id text COLLATE "C" PRIMARY KEY)')


async def compare_stage(connection: Connection, target: Target) -> list[Difference]:
    """Rows of the staging table that the replica lacks or holds otherwise; all staged ids count as seen."""
    await connection.execute(
        sql.SQL("INSERT INTO {} SELECT sys_id FROM {} ON CONFLICT DO NOTHING").format(
            SEEN, sql.Identifier("pg_temp", target.stage)
        )
    )
    others = [name for name in target.columns if name != "sys_id"]
    cursor = await connection.execute(
        sql.SQL(
            "SELECT n.sys_id, CASE WHEN o.sys_id IS NULL THEN '{{}}'::text[] ELSE array_remove(ARRAY[{pairs}], NULL) END"
            " FROM {stage} AS n LEFT JOIN {table} AS o USING (sys_id)"
            " WHERE o.sys_id IS NULL OR ({held}) IS DISTINCT FROM ({come}) ORDER BY n.sys_id"
        ).format(
            pairs=sql.SQL(", ").join(
                sql.SQL("CASE WHEN o.{0} IS DISTINCT FROM n.{0} THEN {1} END").format(
                    sql.Identifier(name), sql.Literal(name)
                )
                for name in others
            ),
            stage=sql.Identifier("pg_temp", target.stage),
            table=target.relation.identifier,
            held=_row("o", others),
            come=_row("n", others),
        )
    )
    return [Difference(sys_id, tuple(columns)) for sys_id, columns in await cursor.fetchall()]


async def unseen(connection: Connection, target: Target) -> list[str]:
    """Ids that the replica holds and the source did not show."""
    cursor = await connection.execute(
        sql.SQL("SELECT sys_id FROM {} AS t WHERE NOT EXISTS (SELECT 1 FROM {} AS s WHERE s.sys_id = t.sys_id)").format(
            target.relation.identifier, SEEN
        )
    )
    return [row[0] for row in await cursor.fetchall()]


async def still_to_come(connection: Connection, target: Target, moment: datetime) -> set[str]:
    """Staged rows that changed after `moment` and whose version the replica has not got: the change stream has not had to
    bring them yet. It brings nothing for a row whose version is here already, so such a row's difference is one.
    """
    if "sys_updated_on" not in target.columns:
        return set()
    version = [name for name in ("sys_updated_on", "sys_mod_count") if name in target.columns]
    cursor = await connection.execute(
        sql.SQL(
            "SELECT n.sys_id FROM {} AS n LEFT JOIN {} AS o USING (sys_id)"
            " WHERE n.sys_updated_on > %s AND ({}) IS DISTINCT FROM ({})"
        ).format(
            sql.Identifier("pg_temp", target.stage),
            target.relation.identifier,
            _row("n", version),
            _row("o", version),
        ),
        (moment,),
    )
    return {row[0] for row in await cursor.fetchall()}


async def shown(
    connection: Connection, target: Target, columns: Sequence[str], sys_ids: Sequence[str]
) -> list[tuple[str, ...]]:
    """The texts that the replica shows in these columns, sys_id first; arrays as comma-separated lists."""
    cursor = await connection.execute(
        sql.SQL("SELECT sys_id, {} FROM {} WHERE sys_id = ANY(%s)").format(
            sql.SQL(", ").join(
                sql.SQL("array_to_string(ARRAY[{}]::text[], ', ')").format(sql.Identifier(name)) for name in columns
            ),
            target.relation.identifier,
        ),
        (list(sys_ids),),
    )
    return await cursor.fetchall()


async def store_proof(
    connection: Connection,
    table_id: int,
    *,
    level: str,
    started_at: datetime,
    proven_to: datetime,
    numbers: dict[str, int],
) -> None:
    """`numbers`: rows, hidden, differing, repaired, calls."""
    await connection.execute(
        "INSERT INTO nowbridge.proof (table_id, level, started_at, proven_to, rows, hidden, differing, repaired, calls)"
        " VALUES (%(table)s, %(level)s, %(started)s, %(to)s, %(rows)s, %(hidden)s, %(differing)s, %(repaired)s, %(calls)s)",
        {"table": table_id, "level": level, "started": started_at, "to": proven_to, **numbers},
    )


@dataclass(frozen=True, slots=True)
class Proof:
    """The last result of verifying a table. `proven_to` is by the instance's clock."""

    level: str
    started_at: datetime
    proven_to: datetime
    rows: int
    hidden: int
    differing: int
    repaired: int
    calls: int


async def last_proofs(connection: Connection) -> dict[Relation, Proof]:
    """The last proof of each table that has one."""
    cursor = await connection.execute(
        "SELECT DISTINCT ON (p.table_id) t.schema_name, t.relation, p.level, p.started_at, p.proven_to, p.rows, p.hidden,"
        "  p.differing, p.repaired, p.calls FROM nowbridge.proof p JOIN nowbridge.replica_table t ON t.id = p.table_id"
        " ORDER BY p.table_id, p.id DESC"
    )
    return {Relation(schema, name): Proof(*rest) for schema, name, *rest in await cursor.fetchall()}


def _row(alias: str, names: Sequence[str]) -> sql.Composed:
    return sql.SQL("ROW({})").format(
        sql.SQL(", ").join(sql.SQL("{}.{}").format(sql.Identifier(alias), sql.Identifier(name)) for name in names)
    )
