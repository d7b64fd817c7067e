r"""The queue: Procrastinate on the same Postgres, in a schema of its own so that `\dt` shows users only their tables.

Procrastinate's SQL functions name their tables without a schema (traps, finding 31), so every connection that
reaches them has its search path fixed here, and nobody defers a job but through `defer`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import procrastinate
from procrastinate import App
from procrastinate.exceptions import AlreadyEnqueued, AppNotOpen, ConnectorException

from nowbridge.model.errors import Retry
from nowbridge.store.database import Connection, searching, translated
from nowbridge.store.migrate import install_schema

SCHEMA = "nowbridge_jobs"
SEARCH_PATH = f"{SCHEMA}, pg_catalog, pg_temp"


@dataclass(frozen=True, slots=True)
class Bodies:
    """What the tasks do. Each task is one call of one of these."""

    prepare: Callable[[int], Awaitable[None]]
    prune: Callable[[], Awaitable[None]]


def install(dsn: str) -> bool:
    """Make the queue's schema when it is missing. True if it was made now."""
    text = procrastinate.schema.SchemaManager.get_schema()
    return install_schema(dsn, SCHEMA, search_path=SEARCH_PATH, sentinel="procrastinate_jobs", text=text)


def build(dsn: str, bodies: Bodies | None = None) -> App:
    """The application object. Without bodies it can only defer."""
    connector = procrastinate.PsycopgConnector(
        conninfo=dsn,
        min_size=1,
        max_size=4,
        kwargs={
            "options": f"-c search_path={SEARCH_PATH.replace(' ', '')} -c TimeZone=UTC",
            "application_name": "nowbridge queue",
        },
    )
    app = App(connector=connector)
    if bodies is not None:
        _register(app, bodies)
    return app


@asynccontextmanager
async def opened(dsn: str, bodies: Bodies) -> AsyncIterator[App]:
    """The application, connected. Raises Retry `database.unreachable`, also when the database goes away meanwhile."""
    try:
        with translated("work on the queue"):
            async with (app := build(dsn, bodies)).open_async():
                yield app
    except ConnectorException as error:
        raise Retry(
            "database.unreachable",
            asked="work on the queue",
            answered="the connection to Postgres broke",
            hint="Is Postgres running? The worker tries again by itself.",
        ) from error


def _register(app: App, bodies: Bodies) -> None:
    @app.task(name="prepare", retry=procrastinate.RetryStrategy(exponential_wait=2, max_attempts=8))
    async def prepare(connection_id: int) -> None:
        await bodies.prepare(connection_id)

    @app.periodic(cron="17 3 * * *")
    @app.task(name="prune", queueing_lock="prune")
    async def prune(timestamp: int) -> None:
        del timestamp
        await bodies.prune()


async def defer_prepare(connection: Connection, connection_id: int) -> bool:
    """Queue the preparation of a connection's planned tables, in the caller's transaction. False: it is queued already."""
    return await _defer(connection, "prepare", f"prepare:{connection_id}", {"connection_id": connection_id})


async def _defer(connection: Connection, task: str, key: str, arguments: dict[str, Any]) -> bool:
    """`key` keeps two of a kind from waiting at once and from running at the same time."""
    app = build("")  # never opened: the job is written on the caller's connection
    deferrer = app.configure_task(task, lock=key, queueing_lock=key, connection=connection, allow_unknown=True)
    try:
        async with searching(connection, SEARCH_PATH):
            await deferrer.defer_async(**arguments)
    except AlreadyEnqueued:
        return False
    return True


async def retry_stalled(app: App, *, stalled_after: float, now: datetime) -> int:
    """Give the jobs of dead workers back to the queue. Returns how many."""
    try:
        stalled = list(await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=stalled_after))
        for job in stalled:
            await app.job_manager.retry_job(job, retry_at=now)
    except AppNotOpen:  # the database went away, and the queue was closed meanwhile
        return 0
    return len(stalled)
