"""The pool of connections, transactions, and Postgres' errors as ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from nowbridge.model.errors import NowbridgeError, Retry, Stop

Connection = AsyncConnection[TupleRow]


class Database:
    """One database and our connections to it. `async with Database(dsn) as database: ...`"""

    def __init__(self, dsn: str, *, max_size: int = 12, application: str = "nowbridge") -> None:
        self.dsn = dsn
        self._settings: dict[str, Any] = {
            "application_name": application,
            "options": "-c TimeZone=UTC -c DateStyle=ISO",
        }
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn, min_size=1, max_size=max_size, open=False, timeout=30, kwargs=self._settings
        )

    async def __aenter__(self) -> Self:
        with translated("connect to the database"):
            await self._pool.open(wait=True, timeout=15)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def own_connection(self) -> Connection:
        """One beside the pool, where each statement commits by itself, for who keeps something in it. The caller closes it."""
        with translated("connect to the database"):
            return await AsyncConnection.connect(self.dsn, autocommit=True, **self._settings)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside a transaction: committed at the end, rolled back on any error."""
        with translated("work in the database"):
            async with self._pool.connection() as connection, connection.transaction():
                yield connection

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A connection of one's own, outside a transaction: each statement commits by itself."""
        with translated("work in the database"):
            async with self._pool.connection() as connection, _committing(connection):
                yield connection


@asynccontextmanager
async def _committing(connection: Connection) -> AsyncIterator[None]:
    await connection.set_autocommit(True)
    try:
        yield
    finally:
        if not connection.closed:
            await connection.set_autocommit(False)


@asynccontextmanager
async def searching(connection: Connection, path: str) -> AsyncIterator[None]:
    """Another search path for the statements inside, in a savepoint: an error inside leaves the transaction usable."""
    row = await (await connection.execute("SELECT current_setting('search_path')")).fetchone()
    before = row[0] if row else ""
    async with connection.transaction():
        await connection.execute("SELECT set_config('search_path', %s, true)", (path,))
        yield
        await connection.execute("SELECT set_config('search_path', %s, true)", (before,))


def client_environment(dsn: str) -> dict[str, str]:
    """The variables that let psql and any other libpq client connect, so that no password stands on a command line."""
    options = psycopg.pq.Conninfo.parse(dsn.encode())
    return {o.envvar.decode(): o.val.decode() for o in options if o.envvar is not None and o.val is not None}


# Their messages name relations and columns, never values.
CHANGED = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InsufficientPrivilege)


@contextmanager
def translated(asked: str) -> Iterator[None]:
    """Turn the driver's errors about the server into ours. Errors of data and of programming pass as they are."""
    try:
        yield
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise unreachable(error, asked) from error
    except CHANGED as error:
        raise Stop(
            "database.changed",
            asked=asked,
            answered=str(error).strip().splitlines()[0],
            hint="A table of the replica or a right on it was changed behind Nowbridge's back; put it back as it was.",
        ) from error


def unreachable(error: Exception, asked: str) -> NowbridgeError:
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, (psycopg.errors.InvalidPassword, psycopg.errors.InvalidAuthorizationSpecification)):
        return Stop(
            "database.refused",
            asked=asked,
            answered=said,
            hint="Check user and password in DATABASE_URL; for the embedded server run `nowbridge init`.",
        )
    if isinstance(error, psycopg.errors.DiskFull):
        return Retry(
            "database.full",
            asked=asked,
            answered=said,
            hint="Make room on the disk of Postgres; the work goes on by itself then. `nowbridge status --storage` shows what takes it.",
        )
    return Retry(
        "database.unreachable",
        asked=asked,
        answered=said,
        hint="Is Postgres running? `nowbridge up` starts the embedded one; else check DATABASE_URL.",
    )
