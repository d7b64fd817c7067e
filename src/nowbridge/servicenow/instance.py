"""One instance, logged in to: sends calls, keeps the token fresh, and lets only complete, honest answers through.

Keeps no session and knows no table. What counts as an honest answer is decided in `servicenow.answers`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

from nowbridge.model.errors import Stop
from nowbridge.servicenow import answers, auth
from nowbridge.transport.messages import Headers, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractAsyncContextManager

    from nowbridge.servicenow.auth import Auth, Token
    from nowbridge.transport.client import Client

Params = tuple[tuple[str, str], ...]

_JSON: Final = ("Accept", "application/json")
_JSON_BODY: Final = ("Content-Type", "application/json")
_TIME_IS_FRESH: Final = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A checked answer. `body` is the raw JSON; `total_count` is `X-Total-Count` when it was sent; `server_time` is the
    instance's clock, in whole seconds, when it answered; `elapsed` is in seconds. `check_body` is to be called where the body
    was not checked and does not read as it should; it raises as `answers.check`.
    """

    body: bytes = field(repr=False)
    total_count: int | None
    server_time: datetime
    elapsed: float
    status: int = HTTPStatus.OK
    check_body: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)


class HeldToken(Protocol):
    """The refresh token as it is kept now."""

    @property
    def refresh(self) -> str | None: ...

    async def keep(self, refresh: str) -> None: ...


class KeptToken(Protocol):
    """Where the refresh token of a sign-in that a person has allowed is kept, for all who use the connection."""

    def alone(self) -> AbstractAsyncContextManager[HeldToken]:
        """Nobody else renews meanwhile."""
        ...


class Instance:
    """Calls to one instance as one account. `now` is read for token lifetimes and where an answer has no `Date`. `kept` is
    for `auth.OAuthCode`, which cannot begin anew by itself.
    """

    def __init__(
        self, client: Client, auth: Auth, *, now: Callable[[], datetime], kept: KeptToken | None = None
    ) -> None:
        self._kept = kept
        self._client = client
        self._auth = auth
        self._now = now
        self._token: Token | None = None
        self._renewing = asyncio.Lock()
        self._log_in_refused: Stop | None = None
        self._heard: tuple[datetime, float] | None = None

    @property
    def base_url(self) -> str:
        return self._client.base_url

    async def get(self, path: str, params: Params = (), *, asked: str) -> Answer:
        """Raises what `answers.check` and `Client.send` raise; likewise the other verbs."""
        return await self.call(Request("GET", path, params, asked=asked))

    async def post(
        self, path: str, body: bytes, params: Params = (), *, asked: str, idempotent: bool = False
    ) -> Answer:
        return await self.call(Request("POST", path, params, body=body, asked=asked, idempotent=idempotent))

    async def patch(
        self, path: str, body: bytes, params: Params = (), *, asked: str, idempotent: bool = False
    ) -> Answer:
        """`idempotent` may be said of plain columns; a journal column gets its entry once per call."""
        return await self.call(Request("PATCH", path, params, body=body, asked=asked, idempotent=idempotent))

    async def delete(self, path: str, params: Params = (), *, asked: str) -> Answer:
        """Repeated after a lost answer, so Park `record.missing` may also mean that this call deleted it."""
        return await self.call(Request("DELETE", path, params, asked=asked))

    async def call(self, request: Request, *, body_checked: bool = True) -> Answer:
        """Any request in JSON: log in, send, check."""
        lines = (_JSON,) if request.body is None else (_JSON, _JSON_BODY)
        plain = request.headers.with_(*lines)
        response = await self._authenticated(request, plain)
        answers.check(request, response, body=body_checked)
        answer = self.answer_of(response)
        return answer if body_checked else replace(answer, check_body=partial(answers.check_body, request, answer.body))

    def answer_of(self, response: Response) -> Answer:
        total = response.headers.get("X-Total-Count").strip()
        return Answer(
            body=response.body,
            total_count=int(total) if total.isdecimal() else None,
            server_time=response.server_time or self._now(),
            elapsed=response.elapsed,
            status=response.status,
        )

    async def server_now(self) -> datetime:
        """The instance's clock: the last `Date` heard when that was within a second, else asked for.

        Never ahead of the instance, because a `Date` is cut to whole seconds and is older than its arrival. Raises
        Stop `answer.undated` when the instance sends no `Date`.
        """
        if self._heard is None or self._client.monotonic() - self._heard[1] > _TIME_IS_FRESH:
            params = (("sysparm_limit", "1"), ("sysparm_fields", "sys_id"), ("sysparm_no_count", "true"))
            self._heard = None
            try:
                await self.get("/api/now/table/sys_user", params, asked="ask for the time")
            except Stop as error:
                if not error.code.startswith("rights."):  # a refusal for want of rights tells the time as well
                    raise
        if self._heard is None:
            raise Stop(
                "answer.undated",
                asked="ask for the time",
                answered="the answer has no Date header",
                hint="Something between Nowbridge and the instance removes it; changes cannot be followed without it.",
            )
        return self._heard[0]

    async def _authenticated(self, request: Request, plain: Headers) -> Response:
        """Send with credentials; on 401 renew the token and send once more (the first try was refused, not carried out)."""
        token = await self._fresh_token()
        response = await self._send(request, plain, token)
        if response.status == HTTPStatus.UNAUTHORIZED and token is not None:
            response = await self._send(request, plain, await self._renewed(token))
        return response

    async def _send(self, request: Request, plain: Headers, token: Token | None) -> Response:
        lines = plain.with_(*auth.headers(self._auth, token))
        response = await self._client.send(replace(request, headers=lines))
        if response.server_time is not None:
            self._heard = (response.server_time, self._client.monotonic())
        return response

    async def _fresh_token(self) -> Token | None:
        if not auth.uses_token(self._auth):
            return None
        if auth.is_due(self._token, self._now()):
            return await self._renewed(self._token)
        return self._token

    async def _renewed(self, stale: Token | None) -> Token:
        """A token other than `stale`. Callers that want one at the same time share one log-in and its refusal: a wrong
        password tried by each of them would lock the account out.
        """
        refused_before = self._log_in_refused
        async with self._renewing:
            if self._token is not None and self._token is not stale:
                return self._token
            if self._log_in_refused is not None and self._log_in_refused is not refused_before:
                raise self._log_in_refused
            try:
                self._token = await self._log_in()
            except Stop as refusal:
                self._log_in_refused = refusal
                raise
            return self._token

    async def redeem(self, code: str, redirect_uri: str, verifier: str) -> Token:
        """Sign in with a code that the instance gave to a person's browser. Raises as signing in does."""
        assert isinstance(self._auth, auth.OAuthCode)
        self._token = await self._carry(auth.exchange(self._auth, code, redirect_uri, verifier, self._now()))
        return self._token

    async def _log_in(self) -> Token:
        assert isinstance(self._auth, auth.WithToken)
        if self._kept is None:
            return await self._carry(auth.obtain(self._auth, self._token, self._now()))
        return await self._log_in_kept(self._auth, self._kept)

    async def _log_in_kept(self, account: auth.WithToken, kept: KeptToken) -> Token:
        """Instances may give a new refresh token with each renewal and forget the old one, so workers take turns."""
        async with kept.alone() as held:
            now = self._now()
            stale = None if held.refresh is None else auth.Token("", now, held.refresh)
            token = await self._carry(auth.obtain(account, stale, now))
            if token.refresh is not None and token.refresh != held.refresh:
                await held.keep(token.refresh)
        return token

    async def _carry(self, flow: Generator[Request, Response, Token]) -> Token:
        request = next(flow)
        while True:
            response = await self._client.send(request)
            try:
                request = flow.send(response)
            except StopIteration as done:
                token: Token = done.value
                return token
