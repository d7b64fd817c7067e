"""What `sn_ws.RESTMessageV2` asks of the host: saved messages, requests and their answers."""

from time import monotonic

import msgspec

from nowtwin.accounts.vault import MARK
from nowtwin.records.pipeline import texts_of
from nowtwin.scripting import mid_queue
from nowtwin.scripting.outbound import Message, Reach, Reply
from nowtwin.scripting.scope import Scope
from nowtwin.values import number_of

Pairs = tuple[tuple[str, str], ...]
_PROFILES = "sys_auth_profile_basic"


class Saved(msgspec.Struct, frozen=True):
    name: str
    method: str


class SavedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A saved REST message with one of its functions; what the function says goes before what the message says."""

    endpoint: str
    method: str
    content: str
    headers: Pairs
    query: Pairs
    user: str = ""
    password: str = ""
    profile: str = ""


class Sending(msgspec.Struct, frozen=True):
    endpoint: str
    method: str
    headers: Pairs
    query: Pairs
    body: str
    user: str
    password: str
    profile: str
    timeout_ms: int
    mid_server: str = ""
    correlator: str = ""
    parameters: Pairs = ()


class Waiting(msgspec.Struct, frozen=True):
    ticket: int
    seconds: float


def rest_message(scope: Scope, asked: Saved) -> SavedMessage:
    storage = scope.platform.storage
    storage.ensure("sys_rest_message", ("name",))
    storage.ensure("sys_rest_message_fn", ("rest_message", "function_name"))
    rows = storage.rows(
        "SELECT m.sys_id, f.sys_id FROM sys_rest_message m JOIN sys_rest_message_fn f ON f.rest_message = m.sys_id "
        "WHERE m.name = ? AND f.function_name = ?",
        (asked.name, asked.method),
    )
    if not rows:
        raise ValueError(f"REST message {asked.name} has no function {asked.method}")
    message = texts_of(storage.get("sys_rest_message", str(rows[0][0])) or {})
    function = texts_of(storage.get("sys_rest_message_fn", str(rows[0][1])) or {})
    inherits = function.get("authentication_type", "inherit_from_parent") == "inherit_from_parent"
    signing = message if inherits and not function.get("basic_auth_user") else function
    headers = dict(_pairs(scope, "sys_rest_message_headers", "rest_message", message["sys_id"]))
    headers |= dict(_pairs(scope, "sys_rest_message_fn_headers", "rest_message_function", function["sys_id"]))
    return SavedMessage(
        endpoint=function.get("rest_endpoint") or message.get("rest_endpoint", ""),
        method=function.get("http_method", "get").upper(),
        content=function.get("content", ""),
        headers=tuple(headers.items()),
        query=_pairs(scope, "sys_rest_message_fn_parameters", "rest_message_function", function["sys_id"]),
        user=signing.get("basic_auth_user", ""),
        password=_secret(scope, signing, "basic_auth_password"),
        profile=signing.get("basic_auth_profile", ""),
    )


def _pairs(scope: Scope, table: str, owner: str, sys_id: str) -> Pairs:
    """Names and values of the rows that belong to a record."""
    root = scope.platform.dictionary.root(table)
    scope.platform.storage.ensure(root, (owner, "name", "value", "order"))
    rows = scope.platform.storage.rows(
        f'SELECT name, value FROM "{root}" WHERE sys_class_name = ? AND "{owner}" = ? ORDER BY CAST("order" AS REAL), name',  # noqa: S608 - fixed names
        (table, sys_id),
    )
    return tuple((str(name or ""), str(value or "")) for name, value in rows)


def _secret(scope: Scope, row: dict[str, str], element: str) -> str:
    """A password of a record: kept in the vault, or as an update set brought it."""
    stored = row.get(element, "")
    return scope.platform.vault.reveal(row["sys_id"], element) if stored == MARK else stored


def outbound(scope: Scope, asked: Sending) -> int:
    """Send; the result is the number under which the answer is asked for."""
    switches = scope.platform.switches
    credentials = (asked.user, asked.password) if asked.user else None
    if asked.profile:
        row = scope.platform.storage.get(scope.platform.dictionary.root(_PROFILES), asked.profile)
        if row is None:
            raise ValueError(f"There is no basic authentication profile {asked.profile}")
        profile = texts_of(row)
        credentials = (profile.get("username", ""), _secret(scope, profile, "password"))
    if not asked.method.isalpha():
        raise ValueError(f"Invalid HTTP method {asked.method}")
    message = Message(
        asked.endpoint, asked.method, asked.headers, asked.query, asked.body, credentials, _seconds(scope, asked)
    )
    if asked.mid_server:
        scope.sent.append(mid_queue.queue(scope, asked.mid_server, asked.correlator, message, asked.parameters))
    else:
        reach = Reach(switches.outbound_anywhere, switches.outbound_verifies_certificates)
        scope.sent.append(scope.outbound.send(message, reach))
    return len(scope.sent) - 1


def _seconds(scope: Scope, asked: Sending) -> float:
    """The script's time-out, within the platform's limit where that is on (servicenow-api.md 8.1)."""
    wanted = asked.timeout_ms / 1000 or (number_of(scope.platform.property("glide.http.timeout")) or 175_000) / 1000
    if scope.platform.property("glide.http.outbound.max_timeout.enabled") == "false":
        return wanted
    return min(wanted, number_of(scope.platform.property("glide.http.outbound.max_timeout")) or 30)


def outbound_answer(scope: Scope, asked: Waiting) -> Reply:
    if not 0 <= asked.ticket < len(scope.sent):
        raise ValueError("no such request")
    since = monotonic()
    try:
        return scope.outbound.wait(scope.sent[asked.ticket], max(0.0, asked.seconds))
    finally:
        scope.waited(since)
