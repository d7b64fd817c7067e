"""GET /metrics: the same facts as `nowbridge status`, for Prometheus, in its text format (version 0.0.4).

Names of instances, tables and purposes are all that it tells. Written by hand: the format is lines of text, and the
numbers stand in the database, shared by all workers, where a client library would count its own process (ADR 0007).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nowbridge.model.errors import NowbridgeError
from nowbridge.store.database import Database
from nowbridge.store.operation import figures
from nowbridge.store.operation.figures import Figures

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ANSWER_WITHIN = 5.0  # seconds

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name without the prefix, its type (gauge or counter), what it says, and its samples."""

    name: str
    kind: str
    words: str
    samples: tuple[tuple[Labels, float], ...]


def route(database: Database, clock: Callable[[], datetime], *, seen_within: timedelta) -> Route:
    """`seen_within` is how long a silent worker counts as alive. 503 with `nowbridge_up 0` when the database is away."""

    async def metrics(_: Request) -> Response:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                found = await figures.read(database, now=clock(), seen_within=seen_within)
        except (NowbridgeError, TimeoutError):
            down = render([_up(0)])
            return Response(down, HTTPStatus.SERVICE_UNAVAILABLE, media_type=CONTENT_TYPE)
        return Response(render(families(found, clock())), media_type=CONTENT_TYPE)

    return Route("/metrics", metrics, methods=["GET"])


def families(found: Figures, now: datetime) -> list[Family]:
    tables = [((("schema", t.relation.schema), ("table", t.relation.name)), t) for t in found.tables]
    ages = tuple(
        (labels, max(0.0, (now - t.proven_to).total_seconds()))
        for labels, t in tables
        if t.phase == "live" and t.proven_to is not None
    )
    lags = [(labels, found.lags.get(t.relation)) for labels, t in tables]
    calls = [
        ((("instance", c.url), ("subject", c.subject), ("purpose", c.purpose)), c.calls, c.failures, c.refused)
        for c in found.calls
    ]
    budgets = [((("instance", b.url),), b) for b in found.budgets]
    return [
        _up(1),
        Family("workers", "gauge", "Workers that have said lately that they live.", (((), found.workers),)),
        Family("table_rows", "gauge", "Rows, as Postgres estimates them.", tuple((ls, t.rows) for ls, t in tables)),
        Family("table_proven_age_seconds", "gauge", "Age of the last proven position.", ages),
        Family(
            "table_lag_seconds",
            "gauge",
            "From a change in ServiceNow to its row here, the longest of the last 5 minutes.",
            tuple((labels, lag) for labels, lag in lags if lag is not None),
        ),
        Family(
            "table_live", "gauge", "1 once the first load is done.", tuple((ls, t.phase == "live") for ls, t in tables)
        ),
        Family("table_paused", "gauge", "1 while paused.", tuple((ls, t.paused_at is not None) for ls, t in tables)),
        Family("table_failures", "gauge", "Failures in a row.", tuple((ls, t.failures) for ls, t in tables)),
        Family(
            "table_hidden_rows",
            "gauge",
            "Rows that the account may not see.",
            tuple((ls, t.hidden) for ls, t in tables),
        ),
        Family(
            "table_value_issues", "gauge", "Values that did not fit.", tuple((ls, t.value_issues) for ls, t in tables)
        ),
        Family("table_changes_total", "counter", "Changes applied.", tuple((ls, t.changes) for ls, t in tables)),
        *_of_hints(found),
        Family("calls_total", "counter", "Calls to the instance.", tuple((ls, n) for ls, n, _, _ in calls)),
        Family(
            "call_failures_total", "counter", "Calls without a usable answer.", tuple((ls, n) for ls, _, n, _ in calls)
        ),
        Family("calls_refused_total", "counter", "Calls answered 429.", tuple((ls, n) for ls, _, _, n in calls)),
        Family("requests_in_flight", "gauge", "Requests on the wire.", tuple((ls, b.in_flight) for ls, b in budgets)),
        Family(
            "requests_allowed", "gauge", "Requests at a time, as of now.", tuple((ls, b.allowed) for ls, b in budgets)
        ),
    ]


def _of_hints(found: Figures) -> list[Family]:
    """Of tables with hooks: what told of their changes in the last 24 hours."""
    hinted = [((("schema", h.relation.schema), ("table", h.relation.name)), h) for h in found.losses]
    return [
        Family(
            "table_hinted_changes",
            "gauge",
            "Changes of the last 24 hours that a hint brought.",
            tuple((ls, h.by_hint) for ls, h in hinted),
        ),
        Family(
            "table_polled_changes",
            "gauge",
            "Changes of the last 24 hours that the poll brought, of tables with hooks.",
            tuple((ls, h.by_poll) for ls, h in hinted),
        ),
        Family(
            "table_lost_hints",
            "gauge",
            "Changes of the last 24 hours that no hint had told of.",
            tuple((ls, h.lost) for ls, h in hinted),
        ),
    ]


def render(several: Iterable[Family]) -> str:
    return "".join(line + "\n" for family in several for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    name = f"nowbridge_{family.name}"
    yield f"# HELP {name} {family.words}"
    yield f"# TYPE {name} {family.kind}"
    for labels, value in family.samples:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
        number = float(value)
        yield f"{name}{f'{{{inside}}}' if inside else ''} {int(number) if number.is_integer() else number}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _up(value: int) -> Family:
    return Family("up", "gauge", "1 while the database answers.", (((), value),))
