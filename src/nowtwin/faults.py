"""Faults on demand: rules that make chosen requests fail as real instances do (servicenow-api.md 1.9, 10).

A rule names requests (route, method, table, user), how often it strikes (skip, count, probability; seeded) and a
kind. The first rule that strikes wins. Latency is apart: seconds per request and per record.
"""

import re
from dataclasses import dataclass
from random import Random
from typing import Literal

import msgspec

from nowtwin.http import JSON, Answer

Kind = Literal[
    "status", "drop_before", "drop_after", "truncate", "delay", "accepted", "hibernating", "error_in_body", "null_body"
]
HIBERNATING = (
    b"<html><head><title>Instance Hibernating page</title></head><body><h1>Your instance is hibernating</h1>"
    b"<p>Sign in to the developer site to wake it.</p></body></html>"
)
CANCELLED = "Transaction cancelled: maximum execution time exceeded"
CANCELLED_DETAIL = "Transaction cancelled: maximum execution time exceeded. Check logs for error trace or enable glide.rest.debug property to verify REST request processing"


class FaultRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to break. Empty selectors match everything."""

    kind: Kind
    route: str = ""
    """Regular expression searched in the path."""
    method: str = ""
    table: str = ""
    user: str = ""
    probability: float = 1.0
    count: int | None = None
    """How many requests it strikes before it is spent; None: no end."""
    skip: int = 0
    """Matching requests to let pass first."""
    status: int = 500
    body: str | None = None
    headers: dict[str, str] = {}
    seconds: float = 0.0
    """Of `delay`; other kinds wait so long before they act, too."""
    rows: int = 1
    """Records that `error_in_body` still delivers."""
    fraction: float = 0.5
    """Share of the body that `truncate` still delivers."""


class Latency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`rtt` seconds per request, `service_time` seconds per record read or written."""

    rtt: float = 0.0
    service_time: float = 0.0


@dataclass(slots=True)
class _Armed:
    rule: FaultRule
    seen: int = 0
    struck: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """The request that a rule is held against."""

    method: str
    path: str
    user: str | None

    @property
    def table(self) -> str:
        found = re.search(r"/(?:table|stats|import)/([^/?]+)", self.path)
        return found[1] if found else ""


class Faults:
    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - repeatable rolls are the point
        self._armed: list[_Armed] = []
        self.latency = Latency()

    def arm(self, rules: list[FaultRule]) -> None:
        self._armed = [_Armed(rule) for rule in rules]

    def report(self) -> list[dict[str, object]]:
        return [{"rule": armed.rule, "seen": armed.seen, "struck": armed.struck} for armed in self._armed]

    def strike(self, target: Target) -> FaultRule | None:
        """The rule that hits this request, if any; counts it."""
        for armed in self._armed:
            if _names(armed.rule, target) and self._falls(armed):
                return armed.rule
        return None

    def _falls(self, armed: _Armed) -> bool:
        armed.seen += 1
        spent = armed.rule.count is not None and armed.struck >= armed.rule.count
        if spent or armed.seen <= armed.rule.skip:
            return False
        if armed.rule.probability < 1 and self._random.random() >= armed.rule.probability:
            return False
        armed.struck += 1
        return True


def _names(rule: FaultRule, target: Target) -> bool:
    return (
        (not rule.method or rule.method.upper() == target.method)
        and (not rule.table or rule.table == target.table)
        and (not rule.user or rule.user == target.user)
        and (not rule.route or re.search(rule.route, target.path) is not None)
    )


def replacement(rule: FaultRule) -> Answer | None:
    """The answer that stands in for the real one, for kinds that never execute the request."""
    headers = tuple(rule.headers.items())
    if rule.kind == "status":
        error = {"error": {"message": f"Status {rule.status}", "detail": None}, "status": "failure"}
        body = msgspec.json.encode(error) if rule.body is None else rule.body.encode()
        kind = next((v for k, v in headers if k.lower() == "content-type"), JSON)
        rest = tuple((k, v) for k, v in headers if k.lower() != "content-type")
        return Answer(rule.status, body, rest, content_type=kind)
    if rule.kind == "accepted":
        return Answer(202, b"", headers, content_type=None)
    if rule.kind == "hibernating":
        return Answer(200, HIBERNATING, headers, content_type="text/html;charset=UTF-8")
    if rule.kind == "null_body":
        return Answer(200, b"null", headers)
    return None


def spoiled(rule: FaultRule, answer: Answer) -> Answer:
    """The real answer of `error_in_body`: cut after some rows, with an error member behind them (1.9)."""
    return cancelled(answer, rule.rows) if rule.kind == "error_in_body" else answer


def cancelled(answer: Answer, rows: int) -> Answer:
    """An answer whose transaction was cancelled after so many records."""
    if answer.status not in {200, 201} or not (answer.content_type or "").startswith("application/json"):
        return answer
    content = msgspec.json.decode(answer.body)
    result = content.get("result") if isinstance(content, dict) else None
    error = {"message": CANCELLED, "detail": CANCELLED_DETAIL}
    body: dict[str, object] = {"error": error, "status": "failure"}
    if isinstance(result, list):
        body = {"result": result[:rows], **body}
    return Answer(200, msgspec.json.encode(body), answer.headers, rows=rows)
