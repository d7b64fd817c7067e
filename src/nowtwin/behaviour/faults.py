"""Faults on demand: rules that make chosen requests fail as real instances do (servicenow-api.md 1.9, 10).

A rule names requests (route, method, table, user, alone or inside a batch), how often it strikes (skip, count,
probability; seeded) and a kind. The first rule that strikes wins. Latency is apart: seconds per round trip and per
record, for all requests or by route, table and user. What a struck client sees is made in `fault_answers`.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

Kind = Literal[
    "accepted",
    "broken_gzip",
    "delay",
    "drip",
    "drop_after",
    "drop_before",
    "error_in_body",
    "gateway",
    "hibernating",
    "late_commit",
    "login_page",
    "null_body",
    "operation",
    "overloaded",
    "status",
    "truncate",
    "truncated_json",
    "unserviced",
]
Form = Literal["page", "redirect", "unavailable"]
Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]

FIELDS: Final[Mapping[Kind, frozenset[str]]] = {
    "accepted": frozenset({"headers"}),
    "broken_gzip": frozenset(),
    "delay": frozenset(),
    "drip": frozenset({"chunk_bytes"}),
    "drop_after": frozenset(),
    "drop_before": frozenset(),
    "error_in_body": frozenset({"rows"}),
    "gateway": frozenset({"status", "headers"}),
    "hibernating": frozenset({"form", "headers"}),
    "late_commit": frozenset({"behind"}),
    "login_page": frozenset({"form", "headers"}),
    "null_body": frozenset({"headers"}),
    "operation": frozenset({"operation"}),
    "overloaded": frozenset({"headers"}),
    "status": frozenset({"status", "body", "headers"}),
    "truncate": frozenset({"fraction"}),
    "truncated_json": frozenset({"fraction"}),
    "unserviced": frozenset(),
}
"""The members that a kind has beside the selectors, the frequency and `seconds`."""
_COMMON: Final = frozenset(
    {"kind", "route", "method", "table", "user", "in_batch", "probability", "count", "skip", "seconds"}
)
_IN_BATCH: Final = frozenset(
    {
        "accepted",
        "delay",
        "error_in_body",
        "gateway",
        "null_body",
        "overloaded",
        "status",
        "truncated_json",
        "unserviced",
    }
)
"""Kinds that an item of a batch can suffer: it has no connection of its own."""


class Operation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request to the control API: `call` is what stands behind `/_nowtwin/`."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    call: str
    body: Any = None


class FaultRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to break. Empty selectors match everything."""

    kind: Kind
    route: str = ""
    """Regular expression searched in the path."""
    method: str = ""
    table: str = ""
    user: str = ""
    in_batch: bool = False
    """It strikes the items of batches, and nothing else."""
    probability: Share = 1.0
    count: Count | None = None
    """How many requests it strikes before it is spent; None: no end."""
    skip: Count = 0
    """Matching requests to let pass first."""
    status: Annotated[int, Meta(ge=200, le=599)] | None = None
    """Of `status` (500 unless given) and `gateway` (502)."""
    body: str | None = None
    headers: dict[str, str] = {}
    seconds: Seconds = 0.0
    """How long a request waits before the fault; with `drip` before each piece. An item of a batch does not wait: its
    seconds count against the budget of the batch."""
    rows: Count = 1
    """Records that `error_in_body` still delivers."""
    fraction: Share = 0.5
    """Share of the body that `truncate` and `truncated_json` still deliver."""
    chunk_bytes: Annotated[int, Meta(ge=1)] = 64
    """Size of the pieces of `drip`."""
    behind: Seconds | None = None
    """Seconds by which the stamps of `late_commit` lie in the past; None: as long as it waited."""
    form: Form = "page"
    """How `hibernating` (all three) and `login_page` (not `unavailable`) show themselves."""
    operation: Operation | None = None


class LatencyRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Latency of the requests that it names; a knob left out stays as it is for all."""

    route: str = ""
    method: str = ""
    table: str = ""
    user: str = ""
    rtt: Seconds | None = None
    service_time: Seconds | None = None


class Latency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`rtt` seconds per request, `service_time` seconds per record read or written; the first rule that names a request
    decides for it.
    """

    rtt: Seconds = 0.0
    service_time: Seconds = 0.0
    rules: tuple[LatencyRule, ...] = ()

    def at(self, target: "Target") -> "Latency":
        """Both knobs as they stand for one request."""
        rule = next((rule for rule in self.rules if _names(rule, target)), None)
        if rule is None:
            return self
        return Latency(
            self.rtt if rule.rtt is None else rule.rtt,
            self.service_time if rule.service_time is None else rule.service_time,
        )


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
    in_batch: bool = False

    @property
    def table(self) -> str:
        found = re.search(r"/(?:table|stats|import|cmdb/instance|cmdb/meta)/([^/?]+)", self.path)
        return found[1] if found else ""


def check(rules: Sequence[FaultRule]) -> None:
    """Raises ValueError, naming the member, for a rule that no request could suffer."""
    for number, rule in enumerate(rules):
        _check_route(f"$[{number}].route", rule.route)
        allowed = FIELDS[rule.kind] | _COMMON
        usual = FaultRule(kind=rule.kind)
        for name in rule.__struct_fields__:
            if name not in allowed and getattr(rule, name) != getattr(usual, name):
                raise ValueError(f"$[{number}].{name} has no meaning for kind {rule.kind}")
        if rule.in_batch and rule.kind not in _IN_BATCH:
            raise ValueError(f"$[{number}].in_batch: no item of a batch can suffer kind {rule.kind}")
        if rule.kind == "unserviced" and not rule.in_batch:
            raise ValueError(f"$[{number}].in_batch must be true for kind unserviced")
        if rule.kind == "login_page" and rule.form == "unavailable":
            raise ValueError(f"$[{number}].form: a login_page is a page or a redirect")
        if rule.kind == "operation" and rule.operation is None:
            raise ValueError(f"$[{number}].operation is missing")
        for name, value in rule.headers.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~\w-]+", name, re.ASCII) or not value.isprintable():
                raise ValueError(f"$[{number}].headers: {name!r} is no header that can be sent")


def check_latency(latency: Latency) -> None:
    """Raises ValueError, naming the member, for a route that is no regular expression."""
    for number, rule in enumerate(latency.rules):
        _check_route(f"$.rules[{number}].route", rule.route)


def _check_route(place: str, route: str) -> None:
    try:
        re.compile(route)
    except re.error as error:
        raise ValueError(f"{place} is no regular expression: {error}") from error


class Faults:
    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - repeatable rolls are the point
        self._armed: list[_Armed] = []
        self._lock = threading.Lock()
        self.latency = Latency()

    def arm(self, rules: Sequence[FaultRule]) -> None:
        """Replace the rules. Raises ValueError for one that cannot be."""
        check(rules)
        self._armed = [_Armed(rule) for rule in rules]

    def report(self) -> list[dict[str, object]]:
        return [{"rule": armed.rule, "seen": armed.seen, "struck": armed.struck} for armed in self._armed]

    def strike(self, target: Target) -> FaultRule | None:
        """The rule that hits this request, if any; counts it."""
        if not self._armed:
            return None
        with self._lock:
            for armed in self._armed:
                if armed.rule.in_batch == target.in_batch and _names(armed.rule, target) and self._falls(armed):
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


def _names(rule: FaultRule | LatencyRule, target: Target) -> bool:
    return (
        (not rule.method or rule.method.upper() == target.method)
        and (not rule.table or rule.table == target.table)
        and (not rule.user or rule.user == target.user)
        and (not rule.route or re.search(rule.route, target.path) is not None)
    )
