"""What stands in an instance for a connection: its secret, sealed, and the tables that have a rule."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nowbridge.store.database import Connection


@dataclass(frozen=True, slots=True)
class HookRow:
    """`connection` is the connection's name; `clock_ahead` in seconds, of the instance's clock against ours."""

    connection_id: int
    connection: str
    hook_id: str
    url: str
    sealed: bytes
    clock_ahead: float
    refused: int = 0
    refused_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HookTable:
    """A table with a rule. `active_from` is the instance's time from which its changes are expected to be hinted; None
    for a rule that is still to be loaded from a file.
    """

    connection_id: int
    table: str
    version: int
    active_from: datetime | None
    last_hint_at: datetime | None


_COLUMNS = "h.connection_id, c.name, h.hook_id, h.url, h.sealed, h.clock_ahead, h.refused, h.refused_at"


async def load(connection: Connection, connection_id: int) -> HookRow | None:
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM nowbridge.hook h JOIN nowbridge.connection c ON c.id = h.connection_id"
        " WHERE h.connection_id = %s",
        (connection_id,),
    )
    row = await cursor.fetchone()
    return HookRow(*row) if row else None


async def by_name(connection: Connection, name: str) -> HookRow | None:
    """The hook of the connection of that name."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM nowbridge.hook h JOIN nowbridge.connection c ON c.id = h.connection_id"
        " WHERE c.name = %s",
        (name,),
    )
    row = await cursor.fetchone()
    return HookRow(*row) if row else None


async def save(connection: Connection, hook: HookRow, *, now: datetime) -> None:
    """Make it, or give it another address, secret or clock."""
    await connection.execute(
        "INSERT INTO nowbridge.hook (connection_id, hook_id, url, sealed, clock_ahead, made_at)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (connection_id) DO UPDATE SET url = excluded.url,"
        "   sealed = excluded.sealed, clock_ahead = excluded.clock_ahead",
        (hook.connection_id, hook.hook_id, hook.url, hook.sealed, hook.clock_ahead, now),
    )


async def forget(connection: Connection, connection_id: int) -> None:
    """Everything about the connection's hook, hints that wait included: the poll brings what they told of."""
    await connection.execute(
        "DELETE FROM nowbridge.hint_tally y USING nowbridge.replica_table t"
        " WHERE y.table_id = t.id AND t.connection_id = %s",
        (connection_id,),
    )
    await connection.execute(
        "DELETE FROM nowbridge.unhinted u USING nowbridge.replica_table t"
        " WHERE u.table_id = t.id AND t.connection_id = %s",
        (connection_id,),
    )
    await connection.execute("DELETE FROM nowbridge.hint WHERE connection_id = %s", (connection_id,))
    await connection.execute("DELETE FROM nowbridge.hook WHERE connection_id = %s", (connection_id,))


async def set_tables(
    connection: Connection, connection_id: int, versions: Mapping[str, int], *, active_from: datetime | None
) -> None:
    """Exactly these tables have a rule now; `active_from` holds for those that had none. None: somebody will load it from
    a file, and it is active when its first hint comes.
    """
    await connection.execute(
        "DELETE FROM nowbridge.hook_table WHERE connection_id = %s AND NOT table_name = ANY(%s)",
        (connection_id, list(versions)),
    )
    for table, version in versions.items():
        await connection.execute(
            "INSERT INTO nowbridge.hook_table (connection_id, table_name, version, active_from)"
            " VALUES (%s, %s, %s, coalesce(%s::timestamptz, 'infinity'))"
            " ON CONFLICT (connection_id, table_name) DO UPDATE SET version = excluded.version,"
            "   active_from = least(hook_table.active_from, excluded.active_from)",
            (connection_id, table, version, active_from),
        )


async def tables_of(connection: Connection, connection_id: int) -> list[HookTable]:
    """The tables with a rule, in the order of their names, each with the time of its last hint."""
    cursor = await connection.execute(
        "SELECT h.connection_id, h.table_name, h.version, nullif(h.active_from, 'infinity'),"
        "  (SELECT max(last_at) FROM nowbridge.hint i"
        "    WHERE i.connection_id = h.connection_id AND i.rule_table = h.table_name)"
        " FROM nowbridge.hook_table h WHERE h.connection_id = %s ORDER BY h.table_name",
        (connection_id,),
    )
    return [HookTable(*row) for row in await cursor.fetchall()]


async def inactive_tables(connection: Connection, connection_id: int) -> frozenset[str]:
    """Tables whose rule was handed out as a file, and of which no hint has come yet."""
    cursor = await connection.execute(
        "SELECT table_name FROM nowbridge.hook_table WHERE connection_id = %s AND active_from = 'infinity'",
        (connection_id,),
    )
    return frozenset(row[0] for row in await cursor.fetchall())


async def activate(connection: Connection, connection_id: int, tables: Collection[str], *, since: datetime) -> None:
    """The first hint came: from now on changes of these tables are expected to be hinted."""
    await connection.execute(
        "UPDATE nowbridge.hook_table SET active_from = %s WHERE connection_id = %s AND table_name = ANY(%s)"
        " AND active_from = 'infinity'",
        (since, connection_id, list(tables)),
    )


async def note_clock(connection: Connection, connection_id: int, ahead: float) -> None:
    """Keep how far the instance's clock is from ours, when that has changed by more than a delay would explain."""
    await connection.execute(
        "UPDATE nowbridge.hook SET clock_ahead = %(ahead)s WHERE connection_id = %(connection)s"
        " AND abs(clock_ahead - %(ahead)s) > 15",
        {"ahead": ahead, "connection": connection_id},
    )


async def note_refused(connection: Connection, connection_id: int, number: int, *, now: datetime) -> None:
    await connection.execute(
        "UPDATE nowbridge.hook SET refused = refused + %s, refused_at = %s WHERE connection_id = %s",
        (number, now, connection_id),
    )


async def accepted_tables(connection: Connection, connection_id: int) -> frozenset[str]:
    """Tables whose hints are taken: those with a rule, and those that are replicated."""
    cursor = await connection.execute(
        "SELECT table_name FROM nowbridge.hook_table WHERE connection_id = %(id)s"
        " UNION SELECT source FROM nowbridge.replica_table WHERE connection_id = %(id)s",
        {"id": connection_id},
    )
    return frozenset(row[0] for row in await cursor.fetchall())


def covering(lineage: Sequence[str], hooked: Mapping[str, HookTable]) -> HookTable | None:
    """The rule that tells of a table's changes: its own, or that of its nearest ancestor that has one."""
    return next((hooked[name] for name in lineage if name in hooked), None)
