"""What is repeated, and when: nothing that may have happened and must not happen twice."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowbridge.transport.messages import Headers, Request, Response
from nowbridge.transport.retry import Backoff, Failure, asked_to_wait, wait_before_next, was_cancelled

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
READ = Request("GET", "/")
WRITE = Request("POST", "/", idempotent=False)
CANCELLED = b'{"result":[{}],"error":{"message":"Transaction cancelled: maximum execution time exceeded"}}'

bodies = st.sampled_from([b"", b'{"result":[]}', CANCELLED])
responses = st.builds(
    Response, status=st.sampled_from([200, 202, 400, 401, 403, 404, 429, 500, 502, 503, 504]), body=bodies
)
outcomes = st.one_of(responses, st.sampled_from(Failure))
fractions = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 9), outcomes, fractions)
def test_a_write_is_repeated_only_when_it_was_surely_not_carried_out(
    attempt: int, outcome: Response | Failure, fraction: float
) -> None:
    wait = wait_before_next(attempt, outcome, WRITE, fraction, Backoff())
    refused = outcome is Failure.NOT_SENT or (isinstance(outcome, Response) and outcome.status == 429)
    assert (wait is not None) == refused


@given(st.integers(1, 9), outcomes, fractions)
def test_a_read_is_repeated_when_a_later_try_may_do_better(
    attempt: int, outcome: Response | Failure, fraction: float
) -> None:
    wait = wait_before_next(attempt, outcome, READ, fraction, Backoff())
    transient = isinstance(outcome, Failure) or (
        outcome.status in {429, 500, 502, 503, 504}
        or outcome.body == CANCELLED
        or (outcome.status == 202 and not outcome.body)
    )
    assert (wait is not None) == transient


@given(st.integers(1, 30), fractions)
def test_waits_double_up_to_the_highest_and_half_of_each_is_chance(attempt: int, fraction: float) -> None:
    backoff = Backoff(first=1, highest=16, longest=60)
    wait = wait_before_next(attempt, Failure.BROKEN, READ, fraction, backoff)
    assert wait is not None
    full = min(16, 2 ** (attempt - 1))
    assert full / 2 <= wait <= full


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((("Retry-After", "30"),), 30.0),
        ((("Retry-After", "Thu, 01 Jan 2026 12:01:00 GMT"),), 60.0),
        ((("Retry-After", "Thu, 01 Jan 2026 11:00:00 GMT"),), 0.0),
        ((("Retry-After", "soon"),), None),
        ((("X-RateLimit-Reset", str(int(NOON.timestamp()) + 45)),), 45.0),
        ((("X-RateLimit-Reset", "1"),), 0.0),
        ((("Retry-After", "5"), ("X-RateLimit-Reset", str(int(NOON.timestamp()) + 45))), 5.0),
        ((), None),
    ],
)
def test_the_instance_says_how_long_to_wait(headers: tuple[tuple[str, str], ...], seconds: float | None) -> None:
    """servicenow-api.md 1.8: `Retry-After` in seconds, `X-RateLimit-Reset` as a moment, measured on the server's clock."""
    assert asked_to_wait(Response(429, Headers(headers), server_time=NOON)) == seconds


def test_what_the_instance_says_is_the_least_wait() -> None:
    told = Response(429, Headers((("Retry-After", "40"),)))
    assert wait_before_next(1, told, READ, 0.0, Backoff()) == 40
    assert wait_before_next(1, told, READ, 0.0, Backoff(longest=39)) is None


@pytest.mark.parametrize(
    ("body", "cancelled"),
    [
        (CANCELLED, True),
        (b'{"result":[' + b'{"a":"b"},' * 9_000 + b"]," + CANCELLED[1:], True),
        (b'{"result":[{"short_description":"maximum execution time exceeded"}]}', False),
        (b'{"error":{"message":"No Record found"}}', False),
    ],
)
def test_a_cancelled_transaction_is_told_from_a_record_about_one(body: bytes, cancelled: bool) -> None:
    assert was_cancelled(body) is cancelled
