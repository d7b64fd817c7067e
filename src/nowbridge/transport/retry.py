"""Send again, and when? Pure: chance and time come in as arguments.

What was surely not carried out (no connection, 429) may be sent again. What may have been carried out is sent again
only when twice is the same as once (`Request.idempotent`). A wait longer than `Backoff.longest` is not waited out
here: the caller gets the answer, gives its lease back and comes again later.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from nowbridge.transport.messages import Response, read_date

if TYPE_CHECKING:
    from nowbridge.transport.messages import Request

_REFUSED: Final = 429
_TRANSIENT: Final = frozenset({500, 502, 503, 504})
_PUT_ASIDE: Final = 202
_EDGE: Final = 4096
CANCELLED: Final = "maximum execution time exceeded"


class Failure(Enum):
    """How a call can end without an answer."""

    NOT_SENT = "no connection could be made"
    TIMED_OUT = "no complete answer came in time"
    BROKEN = "the connection broke before the answer"
    CUT = "the answer was cut short"


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits in seconds: `first` doubles with each attempt up to `highest`; nothing longer than `longest` is waited out."""

    first: float = 0.5
    highest: float = 20.0
    longest: float = 60.0


def wait_before_next(
    attempt: int, outcome: Response | Failure, request: Request, fraction: float, backoff: Backoff
) -> float | None:
    """Seconds until `request` may be sent again after its `attempt`-th try (from 1) gave `outcome`, or None: give up.

    `fraction` in [0, 1) is the chance that spreads the waits of many callers (half of each wait is random).
    """
    if not _may_repeat(outcome, request):
        return None
    wait = min(backoff.highest, backoff.first * 2.0 ** (attempt - 1)) * (0.5 + fraction / 2)
    if isinstance(outcome, Response) and (told := asked_to_wait(outcome)) is not None:
        wait = max(wait, told)
    return wait if wait <= backoff.longest else None


def _may_repeat(outcome: Response | Failure, request: Request) -> bool:
    if isinstance(outcome, Failure):
        return request.idempotent or outcome is Failure.NOT_SENT
    if outcome.status == _REFUSED:
        return True
    return request.idempotent and is_transient(outcome, reads=request.reads)


def is_transient(response: Response, *, reads: bool) -> bool:
    """Whether the same call may well succeed a little later."""
    if response.status in _TRANSIENT or was_cancelled(response.body):
        return True
    return reads and response.status == _PUT_ASIDE and not response.body


def was_cancelled(body: bytes) -> bool:
    """Whether the instance ran out of the time for one transaction; it says so behind the rows already written
    (servicenow-api.md 1.9), so the edges of the body are enough to look at.
    """
    edges = body[:_EDGE] + body[-_EDGE:] if len(body) > 2 * _EDGE else body
    return CANCELLED.encode() in edges and b'"error"' in edges


def asked_to_wait(response: Response) -> float | None:
    """Seconds to wait as the answer says it: `Retry-After`, else `X-RateLimit-Reset` against the server's own clock."""
    told = response.headers.get("Retry-After").strip()
    if told.isdecimal():
        return float(told)
    moment = read_date(told) if told else None
    if response.server_time is None:
        return None
    if moment is not None:
        return max(0.0, (moment - response.server_time).total_seconds())
    reset = response.headers.get("X-RateLimit-Reset").strip()
    return max(0.0, float(reset) - response.server_time.timestamp()) if reset.isdecimal() else None
