"""GET /health: is the replica fresh? For load balancers and monitors, on loopback, without credentials and without
anything but names of tables in the answer.

`ok`: every table is live and fresh. `loading`: first loads are under way. `stale` (503): a live table is older than
`stale_after` (or three polls of its own) and not paused. `down` (503): the database does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Literal

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nowbridge.api import hooks, metrics
from nowbridge.api.hooks import Receiver
from nowbridge.model.errors import NowbridgeError
from nowbridge.store.database import Database
from nowbridge.store.rows import tables
from nowbridge.store.rows.tables import TableStatus
from nowbridge.store.work import workers

_ANSWER_WITHIN = 3.0  # seconds; a monitor does not wait longer


class TableHealth(msgspec.Struct, frozen=True):
    """`age_seconds` is the age of the last proven state; null before the first."""

    table: str
    phase: str
    age_seconds: float | None
    paused: bool = False


class Health(msgspec.Struct, frozen=True):
    status: Literal["ok", "loading", "stale", "down"]
    tables: tuple[TableHealth, ...] = ()
    workers: int = 0

    @property
    def http_status(self) -> HTTPStatus:
        return HTTPStatus.OK if self.status in {"ok", "loading"} else HTTPStatus.SERVICE_UNAVAILABLE


async def read_health(database: Database, *, now: datetime, stale_after: timedelta, seen_within: timedelta) -> Health:
    """Raises what the database raises when it does not answer."""
    async with database.transaction() as connection:
        found = await tables.status(connection)
        living = await workers.living(connection, seen_since=now - seen_within)
    return judge(found, len(living), now=now, stale_after=stale_after)


def judge(found: list[TableStatus], living: int, *, now: datetime, stale_after: timedelta) -> Health:
    shown = tuple(
        TableHealth(table.source, table.phase, _age(table, now), table.paused_at is not None) for table in found
    )
    followed = [table for table in found if table.paused_at is None]
    if any(_is_stale(table, now, stale_after) for table in followed):
        return Health("stale", shown, living)
    return Health("ok" if all(table.phase == "live" or table.paused for table in shown) else "loading", shown, living)


def stale_after(poll: timedelta) -> timedelta:
    """A minute, or three polls where they are rarer: one that fails is no alarm."""
    return max(timedelta(seconds=60), 3 * poll)


def build(
    database: Database,
    clock: Callable[[], datetime],
    *,
    stale_after: timedelta,
    seen_within: timedelta,
    receiver: Receiver | None = None,
    more: Sequence[Route] = (),
) -> Starlette:
    """The application, /metrics included, /hooks with a receiver, and `more` (the console). `seen_within` is how long a
    silent worker counts as alive.
    """

    async def health(_: Request) -> Response:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                told = await read_health(database, now=clock(), stale_after=stale_after, seen_within=seen_within)
        except (NowbridgeError, TimeoutError):
            told = Health("down")
        return Response(msgspec.json.encode(told), told.http_status, media_type="application/json")

    measured = metrics.route(database, clock, seen_within=seen_within)
    taking = [hooks.route(receiver)] if receiver is not None else []
    return Starlette(routes=[Route("/health", health, methods=["GET"]), measured, *taking, *more])


def _is_stale(table: TableStatus, now: datetime, stale_after: timedelta) -> bool:
    """A table that is polled rarely because hints tell of its changes is proven as rarely."""
    age = _age(table, now)
    return age is not None and age > max(stale_after, 3 * (table.poll_every or timedelta(0))).total_seconds()


def _age(table: TableStatus, now: datetime) -> float | None:
    if table.phase != "live" or table.proven_to is None:
        return None
    return round(max(0.0, (now - table.proven_to).total_seconds()), 1)
