"""POST /hooks/CONNECTION: where the Business Rules of an instance tell that records changed.

A post counts when it is signed with the connection's secret, by a time near the instance's clock, and was not taken
before; everything else is answered 401 alike, whether there is such a connection or not. What counts is in Postgres
before it is answered 204, so it does not matter whether a worker runs. Nothing is believed of it but that something
happened (`replica.hints`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from nowbridge.model.errors import NowbridgeError
from nowbridge.servicenow import hint_message
from nowbridge.servicenow.hint_message import HintMessage
from nowbridge.store.database import Database
from nowbridge.store.instances import hooks
from nowbridge.store.instances.hooks import HookRow
from nowbridge.store.work import hints
from nowbridge.store.work.hints import Told

log = structlog.get_logger("nowbridge.hooks")

WINDOW = timedelta(minutes=5)  # around the instance's clock, in which a post counts
REMEMBERED = 2 * WINDOW + timedelta(minutes=1)  # how long a signature must be remembered for that
_KNOWN_FOR = timedelta(seconds=5)  # what is known of a hook is not asked for with every post
_SAID_EVERY = timedelta(minutes=1)
_ANSWER_WITHIN = 5.0  # seconds

Unseal = Callable[[HookRow], bytes]
"""The secret of a hook."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A hook as of `at`; `row` is None where there is none. Hints about other tables are passed over."""

    at: datetime
    row: HookRow | None = None
    secret: bytes = b""
    tables: frozenset[str] = frozenset()
    inactive: frozenset[str] = frozenset()


@dataclass(slots=True)
class Receiver:
    """Takes posts. One per process; any number of processes may take them."""

    database: Database
    clock: Callable[[], datetime]
    unseal: Unseal
    _hooks: dict[str, _Known] = field(default_factory=dict)
    _refusals: dict[int, int] = field(default_factory=dict)
    _said_at: datetime | None = None

    async def receive(self, name: str, time: str, signature: str, body: bytes) -> HTTPStatus:
        """204 when the hints are kept (or are of no interest), 401 for whatever is no valid post. Raises what the
        database raises.
        """
        hook = await self._known(name)
        why = self._why_not(hook, time, signature, body)
        if why is None and hook.row is not None:
            told = [_told(message) for message in hint_message.read_body(body) if _concerns(message, hook.tables)]
            if await self._keep(hook.row, hint_message.digest_of(signature), told, hook.inactive):
                return HTTPStatus.NO_CONTENT
            why = "the same post came before"
        await self._refuse(hook, why or "there is no such connection with hooks")
        return HTTPStatus.UNAUTHORIZED

    async def _keep(self, row: HookRow, digest: bytes, told: list[Told], inactive: frozenset[str]) -> bool:
        """False: the same post was taken before."""
        now = self.clock()
        async with self.database.session() as connection:
            taken = await hints.take(connection, row.connection_id, digest, told, now=now)
            if taken and (first := inactive & {one.rule_table for one in told}):
                since = now + timedelta(seconds=row.clock_ahead)
                await hooks.activate(connection, row.connection_id, first, since=since)
        return taken

    def _why_not(self, hook: _Known, time: str, signature: str, body: bytes) -> str | None:
        seconds = hint_message.seconds_of(time)
        signed = hint_message.is_signed(hook.secret, time, body, signature)  # for all, so that all take as long
        if hook.row is None:
            return "there is no such connection with hooks"
        if seconds is None or not signed:
            return "the signature is wrong"
        expected = self.clock().timestamp() + hook.row.clock_ahead
        if abs(seconds - expected) > WINDOW.total_seconds():
            return "its time is too far from the instance's clock"
        try:
            hint_message.read_body(body)
        except ValueError:
            return "its body is none of ours"
        return None

    async def _known(self, name: str) -> _Known:
        """Names that lead to nothing are not kept, so that nobody fills the memory with them."""
        held, now = self._hooks.get(name), self.clock()
        if held is not None and abs(now - held.at) < _KNOWN_FOR:
            return held
        async with self.database.transaction() as connection:
            row = await hooks.by_name(connection, name)
            if row is None:
                self._hooks.pop(name, None)
                return _Known(now, secret=b"\0" * 32)
            accepted = await hooks.accepted_tables(connection, row.connection_id)
            inactive = await hooks.inactive_tables(connection, row.connection_id)
            await hints.forget_signatures(connection, row.connection_id, before=now - REMEMBERED)
        known = self._hooks[name] = _Known(now, row, self.unseal(row), accepted, inactive)
        return known

    async def _refuse(self, hook: _Known, why: str) -> None:
        """Counted, and said at most once a minute: whoever posts nonsense shall not fill the log."""
        key = hook.row.connection_id if hook.row is not None else 0
        self._refusals[key] = self._refusals.get(key, 0) + 1
        now = self.clock()
        if self._said_at is not None and now - self._said_at < _SAID_EVERY:
            return
        self._said_at = now
        counted, self._refusals = self._refusals, {}
        name = hook.row.connection if hook.row is not None else None
        log.warning("posts refused", number=sum(counted.values()), last=why, connection=name)
        async with self.database.transaction() as connection:
            for connection_id, number in counted.items():
                if connection_id:
                    await hooks.note_refused(connection, connection_id, number, now=now)


def route(receiver: Receiver) -> Route:
    async def receive(request: Request) -> Response:
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        if body is None:
            return Response(status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        name = str(request.path_params["connection"])
        time, signature = (
            request.headers.get(h, "") for h in (hint_message.TIME_HEADER, hint_message.SIGNATURE_HEADER)
        )
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                status = await receiver.receive(name, time, signature, body)
        except (NowbridgeError, TimeoutError):
            return Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)
        return Response(status_code=status)

    return Route("/hooks/{connection}", receive, methods=["POST"])


async def _body(request: Request) -> bytes | None:
    """None when it is too long; no more than that is read."""
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > hint_message.MOST_BYTES:
            return None
    return bytes(parts)


def _told(message: HintMessage) -> Told:
    return Told(
        message.table,
        message.sys_id,
        message.rule_table,
        message.mod_count,
        message.updated_on,
        message.operation == "delete",
    )


def _concerns(message: HintMessage, tables: frozenset[str]) -> bool:
    return message.table in tables or message.rule_table in tables
