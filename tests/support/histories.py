"""Many random histories in few tests: a test plays a group of seeds on one instance and one database, which go back to
the same beginning before each. So a history depends on its seed alone, and does not pay for tables being made.

`--histories N` plays the seeds 1 to N instead of those of every run, `--history SEED` plays one again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql

from nowtwin.clock import wall_seconds
from nowtwin.instance import Instance
from tests.support.twin import put_back

TABLES = (  # with the columns that can be written
    "SELECT n.nspname, c.relname, array_agg(a.attname::text) FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid"
    " WHERE c.relkind = 'r' AND n.nspname IN ('nowbridge', 'public')"
    "   AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' GROUP BY 1, 2 ORDER BY 1, 2"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--histories", type=int, help="play the random histories of the seeds 1 to N")
    parser.addoption("--history", type=int, metavar="SEED", help="play the random histories of this seed alone")


def groups(config: pytest.Config, usual: int, together: int) -> list[range]:
    """The seeds to play, in groups of so many `together`: `usual` ones unless the command line says otherwise."""
    if (one := config.getoption("--history")) is not None:
        return [range(one, one + 1)]
    last = config.getoption("--histories") or usual
    return [range(start, min(start + together, last + 1)) for start in range(1, last + 1, together)]


def named(seeds: range) -> str:
    """A group's name in the test's."""
    return f"{seeds.start}-{seeds.stop - 1}"


@contextmanager
def told_by_seed(seed: int) -> Iterator[None]:
    """Whatever fails inside says which history it was."""
    try:
        yield
    except BaseException as failed:
        failed.add_note(f"This was the history of seed {seed}; `--history {seed}` plays it again.")
        raise


@dataclass(frozen=True, slots=True)
class Beginning:
    """What an instance and a database held at a moment, to be brought back any number of times."""

    instance: Instance
    snapshot: str
    connection: psycopg.Connection
    statement: sql.Composed
    """Puts every row back."""
    ahead: float
    """Seconds by which the instance's clock had been set forward: the cursors in the database know of that time."""

    @classmethod
    def of(cls, instance: Instance, connection: psycopg.Connection) -> Beginning:
        """`connection`: a superuser's, which commits by itself. Nobody may be writing."""
        connection.execute("SET session_replication_role = replica")
        connection.execute("CREATE SCHEMA beginning")
        statements: list[sql.Composable] = []
        for schema, name, names in connection.execute(TABLES).fetchall():
            table, copy = sql.Identifier(schema, name), sql.Identifier("beginning", f"{schema}.{name}")
            columns = sql.SQL(", ").join(map(sql.Identifier, names))
            connection.execute(sql.SQL("CREATE TABLE {} AS SELECT {} FROM {}").format(copy, columns, table))
            statements.append(
                sql.SQL("DELETE FROM {0}; INSERT INTO {0} ({1}) OVERRIDING SYSTEM VALUE SELECT {1} FROM {2}").format(
                    table, columns, copy
                )
            )
        ahead = instance.clock.now().timestamp() - wall_seconds()
        return cls(instance, instance.snapshots.take(), connection, sql.SQL("; ").join(statements), ahead)

    def bring_back(self) -> None:
        self.instance.snapshots.restore(self.snapshot)
        put_back(self.instance)
        self.instance.clock.advance(self.ahead)
        with self.connection.transaction():
            self.connection.execute(self.statement)
