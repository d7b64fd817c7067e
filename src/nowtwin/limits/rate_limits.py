"""Rate limits for REST requests: rows of sys_rate_limit_rules, counted per user and hour of the twin's clock
(D:api-reference/rest-api-explorer/inbound-REST-API-rate-limiting.md, create-REST-API-rate-limits.md).

A rule for the user comes before rules for his roles (the lowest limit counts), these before rules for all users. Each
node keeps its own count and tells the others every 30 seconds, so that with several nodes a limit can be overshot.
Raising or lowering a limit starts its count anew. No rule exists by default.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from nowtwin.accounts.users import User
from nowtwin.behaviour.nodes import CURRENT
from nowtwin.errors import Refused
from nowtwin.http.messages import Headers, Request
from nowtwin.records.ground import Ground
from nowtwin.schema import metadata
from nowtwin.storage.rows import Storage
from nowtwin.values import number_of

_HOUR: Final = 3600
_PATH: Final = re.compile(r"/api/(?P<space>\w+)(?:/(?P<version>v\d+))?/(?P<rest>.*)")
_NAMES: Final[Mapping[str, str]] = {
    "table": "Table API",
    "stats": "Aggregate API",
    "batch": "Batch API",
    "import": "Import Set API",
    "attachment": "Attachment API",
    "identifyreconcile": "Identification and Reconciliation API",
    "cmdb/instance": "CMDB Instance API",
    "cmdb/meta": "CMDB Meta API",
}
_SEEN: Final = ("name", "rest_api", "version", "resource", "method", "table", "import_set_table", "rate_limit")
_COLUMNS: Final = ("sys_id", *_SEEN, "type", "user", "role", "active")


@dataclass(frozen=True, slots=True)
class Call:
    """A request as rules see it."""

    api: str
    """The name of its API: `Table API`; for APIs without a known name the first word of the path."""
    version: str
    """`v1`, `v2`, or empty where the path has none."""
    method: str
    path: str
    """Below `/api`, without the version: `/now/table/incident`."""
    table: str


def call_of(request: Request) -> Call | None:
    """None for what is no REST API."""
    found = _PATH.fullmatch(request.path)
    if found is None:
        return None
    rest = found["rest"].strip("/")
    first, _, more = rest.partition("/")
    two = "/".join(rest.split("/")[:2])
    api = _NAMES.get(two) or _NAMES.get(first) or first
    method = "GET" if request.method == "HEAD" else request.method
    table = more.partition("/")[0] if first in {"table", "stats", "import"} else ""
    return Call(api, found["version"] or "", method, f"/{found['space']}/{rest}", table)


@dataclass(frozen=True, slots=True)
class Rule:
    sys_id: str
    limit: int
    user: str
    role: str
    columns: Mapping[str, str]

    def covers(self, call: Call) -> bool:
        """Whether the rule is for this resource; what a rule leaves open matches everything."""
        wanted = self.columns
        names = {call.api.lower(), call.path.partition("/")[2].lower(), f"now/{call.api.lower()}"}
        return (
            (not wanted["rest_api"] or wanted["rest_api"].lower() in names)
            and wanted["version"].lower() in {"", "latest", call.version}
            and wanted["method"].upper() in {"", call.method}
            and wanted["table"] in {"", call.table}
            and wanted["import_set_table"] in {"", call.table}
            and (not wanted["resource"] or is_resource(wanted["resource"], call))
        )


def is_resource(resource: str, call: Call) -> bool:
    """`GET /now/v2/table/incident` or `/now/table/{tableName}`, the verb and the version being optional."""
    method, _, path = resource.strip().rpartition(" ")
    pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path.removeprefix("/api")))
    pattern = re.sub(r"/v\d+(?=/)", "", pattern)
    return method.upper() in {"", call.method} and re.fullmatch(pattern, call.path) is not None


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a matching rule leaves a caller."""

    rule: Rule
    api: str
    reset: int
    """Unix time at which the count starts anew."""
    denied: bool
    retry_after: int

    @property
    def headers(self) -> Headers:
        shown = (
            ("X-RateLimit-Limit", str(self.rule.limit)),
            ("X-RateLimit-Reset", str(self.reset)),
            ("X-RateLimit-Rule", self.rule.sys_id),
        )
        return (*shown, ("Retry-After", str(self.retry_after))) if self.denied else shown

    def require(self) -> None:
        """Raises Refused 429 when the limit is reached."""
        if self.denied:
            detail = f"Rate limit of {self.rule.limit} requests per hour for {self.api} exceeded"
            raise Refused(429, "Rate limit exceeded", detail, self.headers)


@dataclass(slots=True)
class _Count:
    """Requests of one user under one rule in one hour, by node."""

    own: dict[str, int] = field(default_factory=dict)
    committed: dict[str, int] = field(default_factory=dict)
    denied: int = 0

    def seen_by(self, node: str) -> int:
        return self.own.get(node, 0) + sum(n for name, n in self.committed.items() if name != node)


class RateLimits:
    def __init__(self, instance: Ground) -> None:
        self._instance = instance
        self._version: int | None = None
        self._rules: tuple[Rule, ...] = ()
        self._counts: dict[tuple[str, int, str, int], _Count] = {}
        self._committed_at = 0.0

    def forget(self) -> None:
        """Nothing was asked yet."""
        with self._instance.storage.lock:
            self._counts.clear()
            self._committed_at = 0.0

    def take(self, user: User, request: Request) -> Allowance | None:
        """Count a request; None where no rule applies."""
        with self._instance.storage.lock:
            return self._take(user, request)

    def _take(self, user: User, request: Request) -> Allowance | None:
        self._refresh()
        call = call_of(request) if self._rules else None
        rule = self._applying(user, call) if call else None
        if call is None or rule is None:
            return None
        now = self._instance.clock.now().timestamp()
        self._commit(now)
        hour = int(now) // _HOUR
        count = self._counts.setdefault((rule.sys_id, rule.limit, user.sys_id, hour), _Count())
        node = CURRENT.get().name
        denied = count.seen_by(node) >= rule.limit
        if denied:
            count.denied += 1
        else:
            count.own[node] = count.own.get(node, 0) + 1
        reset = (hour + 1) * _HOUR
        return Allowance(rule, call.api, reset, denied, max(1, reset - int(now)))

    def _applying(self, user: User, call: Call) -> Rule | None:
        matching = [rule for rule in self._rules if rule.covers(call)]
        own = [rule for rule in matching if rule.user == user.sys_id]
        by_role = [rule for rule in matching if rule.role and rule.role in user.roles]
        for_all = [rule for rule in matching if not rule.user and not rule.role]
        found = own or by_role or for_all
        return min(found, key=lambda rule: rule.limit) if found else None

    def _refresh(self) -> None:
        storage = self._instance.storage
        version = storage.versions.get("sys_rate_limit_rules", 0)
        if version != self._version:
            self._version = version
            self._rules = tuple(_read_rules(storage))

    def _commit(self, now: float) -> None:
        """Every 30 seconds the nodes' counts become common, and rows of sys_rate_limit_count and _violation."""
        if abs(now - self._committed_at) < self._instance.switches.rate_limit_commit_seconds:
            return
        self._committed_at = now
        this_hour = int(now) // _HOUR
        for count in self._counts.values():
            count.committed = dict(count.own)
        counted = {key: count for key, count in self._counts.items() if key[3] >= this_hour - 1}
        self._counts = counted
        for (rule, _, user, hour), count in counted.items():
            self._file(rule, user, hour, count)

    def _file(self, rule: str, user: str, hour: int, count: _Count) -> None:
        start = datetime.fromtimestamp(hour * _HOUR, UTC).strftime("%Y-%m-%d %H:%M:%S")
        row = {"rule": rule, "user": user, "window_start": start}
        for node, number in count.own.items():
            key = metadata.row_id("sys_rate_limit_count", rule, user, start, node)
            entry = row | {"sys_id": key, "count": str(number), "node_id": node}
            self._instance.load("sys_rate_limit_count", [entry])
        if count.denied:
            key = metadata.row_id("sys_rate_limit_violation", rule, user, start)
            self._instance.load("sys_rate_limit_violation", [row | {"sys_id": key, "count": str(count.denied)}])


def _read_rules(storage: Storage) -> Iterable[Rule]:
    storage.ensure("sys_rate_limit_rules", _COLUMNS)
    storage.ensure("sys_user_role", ("name",))
    names = {str(sys_id): str(name) for sys_id, name in storage.rows("SELECT sys_id, name FROM sys_user_role")}
    columns = ", ".join(f'"{name}"' for name in _COLUMNS)
    for row in storage.rows(f"SELECT {columns} FROM sys_rate_limit_rules ORDER BY sys_id"):  # noqa: S608 - fixed names
        texts = {name: "" if value is None else str(value) for name, value in zip(_COLUMNS, row, strict=True)}
        limit = number_of(texts["rate_limit"])
        if texts["active"] == "false" or limit is None or limit < 0:
            continue
        kind = texts["type"] or ("user" if texts["user"] else "role" if texts["role"] else "all_users")
        user = texts["user"] or "-" if kind == "user" else ""
        role = names.get(texts["role"], "-") if kind == "role" else ""
        yield Rule(texts["sys_id"], int(limit), user, role, texts)
