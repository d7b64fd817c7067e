"""The ASGI side: bytes to a Request, faults and latency around the API, the Answer back to bytes.

Short requests run on the event loop, since a hand-over to a thread costs more than they do; long lists and
compression of large bodies run in a thread, so that other requests go on meanwhile.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from email.utils import format_datetime
from typing import Any, Protocol
from urllib.parse import unquote

from starlette.routing import Route, Router

from nowtwin import control, faults, limits, nodes, routes, sign_in
from nowtwin.admission import TurnedAwayError
from nowtwin.apis import table
from nowtwin.calls import Call
from nowtwin.clock import skewed, wall_seconds
from nowtwin.faults import FaultRule, Target
from nowtwin.http import Answer, Request, query_pairs
from nowtwin.instance import Instance
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
    """Open connections by the client's address, for faults that cut one."""

    def abort(self, client: tuple[str, int]) -> None: ...


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
        if request.path.startswith("/_nowtwin/"):
            answer = await asyncio.to_thread(control.answer, self._instance, request, scope["client"][0])
            await self._send(send, request, answer)
            return
        target = Target(request.method, request.path, sign_in.claimed_user(self._instance, request))
        call = self._instance.calls.start(request.method, request.path, _journal_params(request), wall_seconds())
        call.user = target.user
        try:
            await self._serve(scope, receive, send, request, target, call)
        finally:
            self._instance.calls.finish(call, wall_seconds())

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, request: Request, target: Target, call: Call
    ) -> None:
        rule = self._instance.faults.strike(target)
        call.fault = rule.kind if rule else None
        if self._instance.faults.latency.rtt:
            await asyncio.sleep(self._instance.faults.latency.rtt)
        if rule and rule.kind == "drop_before":
            await asyncio.sleep(rule.seconds)
            await self._cut(scope, receive)
            return
        node = self._instance.nodes.pick(sign_in.cookie(request, nodes.COOKIE))
        nodes.CURRENT.set(node)
        with skewed(node.skew):
            answer = await self._answer(scope, request, rule, call)
            call.status = answer.status
            if rule and rule.kind == "drop_after":
                await self._cut(scope, receive)
                return
            await self._send(send, request, answer, rule)
        if rule and rule.kind == "truncate":
            await self._cut(scope, receive)

    async def _answer(self, scope: Scope, request: Request, rule: FaultRule | None, call: Call) -> Answer:
        """What the node answers once the request's turn has come; service time is spent inside that turn."""
        replaced = faults.replacement(rule) if rule else None
        if rule and replaced:
            await asyncio.sleep(rule.seconds)
            return replaced
        instance = self._instance
        session = sign_in.cookie(request, "JSESSIONID")
        known = instance.accounts.session_user(session) is not None
        try:
            async with instance.admission.admit(request.path, session if known else "", instance.switches):
                if rule and rule.seconds:
                    await asyncio.sleep(rule.seconds)
                answer = await self._execute(scope, request)
                call.rows = answer.rows
                answer, seconds = limits.in_time(answer, request.path, instance.faults.latency, instance.switches)
                if seconds:
                    await asyncio.sleep(seconds)
        except TurnedAwayError as turned:
            return limits.turned_away(turned.place, instance.switches)
        return faults.spoiled(rule, answer) if rule else answer

    async def _execute(self, scope: Scope, request: Request) -> Answer:
        if _url_length(scope, request) > self._instance.switches.url_limit:
            return Answer(
                414, b"<html><body><h1>414 Request-URI Too Large</h1></body></html>", content_type="text/html"
            )
        if site.PATHS.fullmatch(request.path):
            return await asyncio.to_thread(site.answer, self._instance, request)
        long_list = request.method == "GET" and table.listing_of(request).limit > _LONG_LIST
        if long_list or self._instance.scripts.may_block(writes=request.method not in {"GET", "HEAD"}):
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
        if len(body) > _WORTH_PACKING and "gzip" in request.headers.get("accept-encoding", ""):
            body = await asyncio.to_thread(_gzip, body) if len(body) > _BIG_BODY else _gzip(body)
            headers.append(("Content-Encoding", "gzip"))
        if answer.status not in {204, 304}:
            headers.append(("Content-Length", str(len(body))))
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        if rule and rule.kind == "truncate":
            part = body[: max(1, int(len(body) * rule.fraction))]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        else:
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
