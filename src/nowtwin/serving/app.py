"""The ASGI side: bytes to a Request, faults and latency around the API, the Answer back to bytes.

Short requests run on the event loop, since a hand-over to a thread costs more than they do; long lists and
compression of large bodies run in a thread, so that other requests go on meanwhile.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, replace
from email.utils import format_datetime
from typing import Any, Protocol
from urllib.parse import unquote

from starlette.routing import Route, Router

from nowtwin.apis import table
from nowtwin.behaviour import nodes
from nowtwin.behaviour.faults import FaultRule, Latency, Operation, Target
from nowtwin.behaviour.nodes import Node
from nowtwin.clock import skewed, wall_seconds
from nowtwin.control import routes as control
from nowtwin.http.messages import Answer, Request, query_pairs
from nowtwin.instance import Instance
from nowtwin.limits import documented as limits
from nowtwin.limits import fault_answers
from nowtwin.limits.admission import TurnedAwayError
from nowtwin.limits.calls import Call
from nowtwin.permission import sign_in
from nowtwin.serving import routes
from nowtwin.web import site

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_LONG_LIST = 1_000
_BIG_BODY = 65_536
_WORTH_PACKING = 1_024
_NO_CACHE = (
    ("Cache-Control", "no-cache,no-store,must-revalidate,max-age=-1"),
    ("Pragma", "no-store,no-cache"),
    ("Expires", "0"),
    ("Server", "ServiceNow"),
)


class Connections(Protocol):
    """Open connections by the client's address, for faults that cut one and for who the client is."""

    def abort(self, client: tuple[str, int]) -> None: ...
    def certificate(self, client: tuple[str, int]) -> bytes:
        """That of the client (DER); empty where none was asked for."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """A request with what lies in wait for it: the fault that strikes it, and its latency."""

    request: Request
    rule: FaultRule | None
    pace: Latency
    call: Call


class App:
    """Serves one Instance."""

    def __init__(self, instance: Instance, connections: Connections, controls: Sequence[Route] = ()) -> None:
        """`controls` are further routes of the control API, such as those of a player."""
        self._instance = instance
        self._connections = connections
        self._controls = Router(list(controls))
        self._control_paths = frozenset(route.path for route in controls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"nowtwin serves HTTP only, not {scope['type']}")
        if scope["path"] in self._control_paths and control.is_local(scope["client"][0]):
            await self._controls(scope, receive, send)
            return
        request = await _read(scope, receive)
        if scope.get("scheme") == "https":
            request = replace(request, certificate=self._connections.certificate(tuple(scope["client"])))
        if request.path.startswith("/_nowtwin/"):
            answer = await asyncio.to_thread(control.answer, self._instance, request, scope["client"][0])
            await self._send(send, request, answer)
            return
        call = self._instance.calls.start(request.method, request.path, _journal_params(request), wall_seconds())
        try:
            await self._serve(scope, receive, send, self._turn(request, call))
        except asyncio.CancelledError:  # the server ends and waits no longer
            await self._cut(scope, receive)
        finally:
            self._instance.calls.finish(call, wall_seconds())

    def _turn(self, request: Request, call: Call) -> _Turn:
        """What lies in wait for a request; counts it at the fault rules."""
        faults = self._instance.faults
        target = Target(request.method, request.path, sign_in.claimed_user(self._instance, request))
        rule = faults.strike(target)
        call.user, call.fault = target.user, rule.kind if rule else None
        return _Turn(request, rule, faults.latency.at(target), call)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, turn: _Turn) -> None:
        rule, instance = turn.rule, self._instance
        if turn.pace.rtt:
            await asyncio.sleep(turn.pace.rtt)
        if rule and rule.operation:
            await self._operate(rule.operation, turn.call)
        if rule and rule.kind == "drop_before":
            await asyncio.sleep(rule.seconds)
            await self._cut(scope, receive)
            return
        node = instance.nodes.pick(sign_in.cookie(turn.request, nodes.COOKIE))
        nodes.CURRENT.set(node)
        with skewed(node.skew):
            answer = self._node_is_out(node) or await self._answer(scope, turn)
            turn.call.status = answer.status
            if rule and rule.kind == "drop_after":
                await self._cut(scope, receive)
                return
            await self._send(send, turn.request, answer, rule)
        if rule and rule.kind == "truncate":
            await self._cut(scope, receive)

    async def _operate(self, operation: Operation, call: Call) -> None:
        """The control operation of a fault, before the request that it strikes; a refused one shows in the journal."""
        refused = await asyncio.to_thread(control.operate, self._instance, operation)
        if refused:
            call.fault = f"operation refused: {refused}"

    def _node_is_out(self, node: Node) -> Answer | None:
        outage = self._instance.nodes.outage(node, self._instance.clock.now())
        if outage is None:
            return None
        return fault_answers.upgrading() if outage.upgrading else fault_answers.gateway(outage.status)

    async def _answer(self, scope: Scope, turn: _Turn) -> Answer:
        """What the node answers once the request's turn has come; service time is spent inside that turn."""
        rule, request, instance = turn.rule, turn.request, self._instance
        in_json = instance.switches.overload_in_json
        replaced = fault_answers.replacement(rule, overload_in_json=in_json) if rule else None
        if rule and replaced:
            await asyncio.sleep(rule.seconds)
            return replaced
        session = sign_in.cookie(request, "JSESSIONID")
        known = instance.accounts.session_user(session) is not None
        try:
            async with instance.admission.admit(request.path, session if known else "", instance.switches):
                with skewed(-await self._wait(rule), onto=True):
                    answer = await self._execute(scope, request)
                turn.call.rows = answer.rows
                answer, seconds = limits.in_time(answer, request.path, turn.pace, instance.switches)
                if seconds:
                    await asyncio.sleep(seconds)
        except TurnedAwayError as turned:
            return limits.turned_away(turned.place, instance.switches)
        return fault_answers.spoiled(rule, answer) if rule else answer

    async def _wait(self, rule: FaultRule | None) -> float:
        """What a fault makes a request wait; returns by how many seconds its stamps are late, which is 0 unless its
        commit is what waited.
        """
        if rule is None:
            return 0.0
        began = self._instance.clock.now()
        if rule.seconds and rule.kind != "drip":
            await asyncio.sleep(rule.seconds)
        if rule.kind != "late_commit":
            return 0.0
        waited = (self._instance.clock.now() - began).total_seconds()
        return waited if rule.behind is None else rule.behind

    async def _execute(self, scope: Scope, request: Request) -> Answer:
        if _url_length(scope, request) > self._instance.switches.url_limit:
            return Answer(
                414, b"<html><body><h1>414 Request-URI Too Large</h1></body></html>", content_type="text/html"
            )
        if site.PATHS.fullmatch(request.path):
            return await asyncio.to_thread(site.answer, self._instance, request)
        long_list = request.method == "GET" and table.listing_of(request).limit > _LONG_LIST
        scripted = bool(self._instance.scripted_apis.resources()) and not request.path.startswith("/api/now/")
        writes = request.method not in {"GET", "HEAD"}
        if long_list or scripted or self._instance.scripts.may_block(writes=writes):
            return await asyncio.to_thread(routes.answer, self._instance, request)
        return routes.answer(self._instance, request)

    async def _cut(self, scope: Scope, receive: Receive) -> None:
        """Break the connection without another byte, and wait until the server has noticed."""
        self._connections.abort(tuple(scope["client"]))
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _send(self, send: Send, request: Request, answer: Answer, rule: FaultRule | None = None) -> None:
        headers = [("Date", format_datetime(self._instance.clock.now(), usegmt=True)), *_NO_CACHE, *answer.headers]
        body = answer.body
        if answer.content_type and body:
            headers.append(("Content-Type", answer.content_type))
        if rule and rule.kind == "broken_gzip" and body:
            body = fault_answers.garbled(_gzip(body))
            headers.append(("Content-Encoding", "gzip"))
        elif len(body) > _WORTH_PACKING and "gzip" in request.headers.get("accept-encoding", ""):
            body = await asyncio.to_thread(_gzip, body) if len(body) > _BIG_BODY else _gzip(body)
            headers.append(("Content-Encoding", "gzip"))
        if answer.status not in {204, 304}:
            headers.append(("Content-Length", str(len(body))))
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        if rule and rule.kind == "truncate":
            part = body[: max(1, int(len(body) * rule.fraction))]
            await send({"type": "http.response.body", "body": part, "more_body": True})
            return
        if rule and rule.kind == "drip":
            for start in range(0, len(body), rule.chunk_bytes):
                await asyncio.sleep(rule.seconds)
                await send(
                    {"type": "http.response.body", "body": body[start : start + rule.chunk_bytes], "more_body": True}
                )
            body = b""
        await send({"type": "http.response.body", "body": body})


async def _read(scope: Scope, receive: Receive) -> Request:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = bool(message.get("more_body", False))
    return Request(
        method=scope["method"].upper(),
        path=unquote(scope["raw_path"].decode("latin-1")),
        query=query_pairs(scope["query_string"].decode("latin-1")),
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        body=bytes(body),
    )


def _url_length(scope: Scope, request: Request) -> int:
    host = request.headers.get("host", "")
    query = scope["query_string"]
    return len(f"{scope.get('scheme', 'http')}://{host}") + len(scope["raw_path"]) + len(query) + bool(query)


def _journal_params(request: Request) -> dict[str, str]:
    secret = {"password", "client_secret", "token", "access_token", sign_in.KEY}
    return {name: "…" if name in secret else value for name, value in request.query}


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
