"""The control API under `/_nowtwin/`: time, faults, latency, journals, hidden rows, loading and reset.

It is for tests and demos, answers loopback clients only and needs no credentials. docs/nowtwin.md is its reference.
"""

import ipaddress
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from nowtwin import nesting
from nowtwin.access.hiding import HideRule
from nowtwin.apps.install import applications
from nowtwin.behaviour.faults import FaultRule, Latency, Operation, check_latency
from nowtwin.behaviour.nodes import Node
from nowtwin.behaviour.switches import Switches
from nowtwin.clock import STAMP
from nowtwin.control import operation_routes as control_operations
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request, json_answer, query_pairs, refusal
from nowtwin.instance import Instance
from nowtwin.seeds import load_demo, load_file


class ClockChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Applied in this order: `set` (UTC, `yyyy-MM-dd HH:mm:ss`), `advance` (seconds), `rate`, `frozen`."""

    set: str | None = None
    advance: float | None = None
    rate: float | None = None
    frozen: bool | None = None


class HiddenRows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    table: str
    query: str = ""
    elements: tuple[str, ...] = ()
    user: str | None = None


class Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    table: str
    rows: list[dict[str, str]]


class NewUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`one_time_code` is what the user's authenticator shows, for an account with multi-factor authentication."""

    user_name: str
    password: str
    roles: tuple[str, ...] = ()
    columns: dict[str, str] = {}
    one_time_code: str = ""


class AppPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: str


class SnapshotId(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str


class Seed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`demo`, or a file on this machine (as `--data`)."""

    data: str


class NewClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    client_id: str
    client_secret: str
    name: str = ""
    access_seconds: int = 1800
    user_name: str = ""


def is_local(client: str) -> bool:
    return ipaddress.ip_address(client).is_loopback


def answer(instance: Instance, request: Request, client: str) -> Answer:
    """The answer to a control request; 403 for clients that are not on this machine."""
    if not is_local(client):
        return refusal(Refused(403, "The control API answers loopback clients only"))
    return _done(instance, request)


def operate(instance: Instance, operation: Operation) -> str:
    """Do what a fault asks for; returns why it was refused, empty if it was not."""
    path, _, query = operation.call.partition("?")
    body = b"" if operation.body is None else msgspec.json.encode(operation.body)
    done = _done(instance, Request(operation.method, f"/_nowtwin/{path}", query_pairs(query), {}, body))
    return "" if done.status == 200 else done.body.decode()  # noqa: PLR2004 - HTTP


def _done(instance: Instance, request: Request) -> Answer:
    handler = ROUTES.get((request.method, request.path.removeprefix("/_nowtwin/").rstrip("/")))
    if handler is None:
        return refusal(Refused(404, "No such control", f"{request.method} {request.path}"))
    if request.body[:1] in {b"{", b"["} and nesting.too_deep(request.body):
        return refusal(Refused(400, "Bad control request", "The body is nested too deeply."))
    try:
        return json_answer(200, handler(instance, request))
    except Refused as refused:
        return refusal(refused)
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError) as error:
        return refusal(Refused(400, "Bad control request", str(error)))


def _reset(instance: Instance, _request: Request) -> object:
    instance.reset()
    return {"ok": True}


def _snapshot(instance: Instance, _request: Request) -> object:
    return {"id": instance.snapshots.take()}


def _restore(instance: Instance, request: Request) -> object:
    instance.snapshots.restore(msgspec.json.decode(request.body, type=SnapshotId).id)
    return {"ok": True}


def _seed(instance: Instance, request: Request) -> object:
    """Load more data on top of what is there; returns rows by table."""
    data = msgspec.json.decode(request.body, type=Seed).data
    if data == "demo":
        return {"loaded": load_demo(instance)}
    if not Path(data).is_file():
        raise ValueError(f"there is no file {data}")
    return {"loaded": load_file(instance, Path(data))}


def _clock(instance: Instance, _request: Request) -> dict[str, object]:
    return {"now": instance.clock.now().isoformat(), "stamp": instance.clock.stamp(), "rate": instance.clock.rate}


def _set_clock(instance: Instance, request: Request) -> dict[str, object]:
    change = msgspec.json.decode(request.body, type=ClockChange)
    if change.set is not None:
        instance.clock.set(datetime.strptime(change.set, STAMP).replace(tzinfo=UTC))
    if change.advance is not None:
        instance.clock.advance(change.advance)
    if change.rate is not None:
        instance.clock.run(change.rate)
    if change.frozen is not None:
        instance.clock.run(0.0 if change.frozen else change.rate or 1.0)
    return _clock(instance, request)


def _faults(instance: Instance, _request: Request) -> object:
    return {"rules": instance.faults.report()}


def _set_faults(instance: Instance, request: Request) -> object:
    rules = msgspec.json.decode(request.body, type=list[FaultRule])
    for number, rule in enumerate(rules):
        wanted = rule.operation
        if wanted and (wanted.method, wanted.call.partition("?")[0]) not in ROUTES:
            raise ValueError(f"$[{number}].operation: there is no control {wanted.method} {wanted.call}")
    instance.faults.arm(rules)
    return _faults(instance, request)


def _clear_faults(instance: Instance, request: Request) -> object:
    instance.faults.arm([])
    return _faults(instance, request)


def _latency(instance: Instance, _request: Request) -> object:
    return instance.faults.latency


def _set_latency(instance: Instance, request: Request) -> object:
    latency = msgspec.json.decode(request.body, type=Latency)
    check_latency(latency)
    instance.faults.latency = latency
    return instance.faults.latency


def _calls(instance: Instance, request: Request) -> object:
    after = int(request.param("after", "0"))
    entries = [call for call in instance.calls.entries if call.number > after]
    calls = instance.calls
    return {"total": calls.total, "in_flight": calls.running, "in_flight_max": calls.most_running, "calls": entries}


def _clear_calls(instance: Instance, _request: Request) -> object:
    instance.calls.clear()
    return {"ok": True}


def _writes(instance: Instance, request: Request) -> object:
    """Entries from number `after` on (0: all); `next` is the number to go on from."""
    after = int(request.param("after", "0"))
    with instance.storage.lock:
        written = instance.written
        entries = instance.writes_after(after)
    return {"next": written, "writes": entries}


def _hidden(instance: Instance, _request: Request) -> object:
    return {"rules": instance.access.rules}


def _set_hidden(instance: Instance, request: Request) -> object:
    rules = msgspec.json.decode(request.body, type=list[HiddenRows])
    for rule in rules:
        instance.prepare(rule.table)
    instance.access.rules = [HideRule(r.table, r.query, r.elements, r.user) for r in rules]
    return _hidden(instance, request)


def _load(instance: Instance, request: Request) -> object:
    rows = msgspec.json.decode(request.body, type=Rows)
    instance.prepare(rows.table)
    return {"loaded": instance.load(rows.table, rows.rows)}


def _load_schema(instance: Instance, request: Request) -> object:
    schema: dict[str, Any] = msgspec.json.decode(request.body, type=dict[str, Any])
    instance.load_schema(schema)
    return {"tables": len(instance.dictionary.tables)}


def _export(instance: Instance, request: Request) -> object:
    return {"rows": list(instance.export(request.param("table")))}


def _count(instance: Instance, request: Request) -> object:
    return {"count": instance.count(request.param("table"), request.param("query"))}


def _add_user(instance: Instance, request: Request) -> object:
    user = msgspec.json.decode(request.body, type=NewUser)
    instance.accounts.set_one_time_code(user.user_name, user.one_time_code)
    return {"sys_id": instance.add_user(user.user_name, user.password, roles=user.roles, **user.columns)}


def _add_client(instance: Instance, request: Request) -> object:
    client = msgspec.json.decode(request.body, type=NewClient)
    instance.add_oauth_client(
        client.client_id,
        client.client_secret,
        name=client.name,
        access_seconds=client.access_seconds,
        user_name=client.user_name,
    )
    return {"ok": True}


def _apps(instance: Instance, _request: Request) -> object:
    return {"apps": applications(instance)}


def _install_app(instance: Instance, request: Request) -> object:
    """The body is a zip or an update XML, or JSON that names a file or folder on this machine."""
    if request.body.lstrip().startswith(b"{"):
        return instance.install_app(Path(msgspec.json.decode(request.body, type=AppPath).path))
    return instance.install_app(request.body)


def _uninstall_app(instance: Instance, request: Request) -> object:
    return {"removed": instance.uninstall_app(request.param("application"))}


def _switches(instance: Instance, _request: Request) -> object:
    return instance.switches


def _set_switches(instance: Instance, request: Request) -> object:
    """Takes some or all switches; the others keep their value."""
    changes = msgspec.json.decode(request.body, type=dict[str, bool | int | float])
    merged = msgspec.to_builtins(instance.switches) | changes
    unknown = set(changes) - set(Switches.__slots__)
    if unknown:
        raise ValueError(f"no such switch: {', '.join(sorted(unknown))}")
    instance.switches = msgspec.convert(merged, Switches)
    return instance.switches


def _jobs(instance: Instance, _request: Request) -> object:
    return {"pending": instance.scripts.jobs.pending()}


def _settle_jobs(instance: Instance, request: Request) -> object:
    """Run what is queued without its delay; `settled` is False when something was still going on after `timeout`."""
    instance.consequences.run_jobs()
    instance.scripts.schedules.run_due()
    settled = instance.scripts.jobs.settle(float(request.param("timeout", "30")))
    return {"settled": settled, "pending": instance.scripts.jobs.pending()}


def _nodes(instance: Instance, _request: Request) -> object:
    return {"nodes": instance.nodes.all}


def _set_nodes(instance: Instance, request: Request) -> object:
    instance.nodes.set(msgspec.json.decode(request.body, type=list[Node]))
    return _nodes(instance, request)


def _secret(instance: Instance, request: Request) -> object:
    """A secret in clear, as the lock icon of the record's form shows it: `sys_id`, `element`."""
    return {"secret": instance.vault.reveal(request.param("sys_id"), request.param("element"))}


ROUTES: dict[tuple[str, str], Callable[[Instance, Request], object]] = {
    ("POST", "reset"): _reset,
    ("POST", "snapshot"): _snapshot,
    ("POST", "restore"): _restore,
    ("POST", "seed"): _seed,
    ("GET", "clock"): _clock,
    ("PUT", "clock"): _set_clock,
    ("GET", "faults"): _faults,
    ("PUT", "faults"): _set_faults,
    ("DELETE", "faults"): _clear_faults,
    ("GET", "latency"): _latency,
    ("PUT", "latency"): _set_latency,
    ("GET", "calls"): _calls,
    ("DELETE", "calls"): _clear_calls,
    ("GET", "writes"): _writes,
    ("GET", "hidden"): _hidden,
    ("PUT", "hidden"): _set_hidden,
    ("POST", "rows"): _load,
    ("POST", "schema"): _load_schema,
    ("GET", "export"): _export,
    ("GET", "count"): _count,
    ("POST", "users"): _add_user,
    ("POST", "oauth_clients"): _add_client,
    ("GET", "jobs"): _jobs,
    ("POST", "jobs"): _settle_jobs,
    ("GET", "apps"): _apps,
    ("POST", "apps"): _install_app,
    ("DELETE", "apps"): _uninstall_app,
    ("GET", "secret"): _secret,
    ("GET", "nodes"): _nodes,
    ("PUT", "nodes"): _set_nodes,
    ("GET", "switches"): _switches,
    ("PUT", "switches"): _set_switches,
    **control_operations.ROUTES,
}
