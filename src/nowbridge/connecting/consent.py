"""A person allows a connection at the instance: OAuth authorization code with PKCE (RFC 7636) and a state that is used once.

`begin` keeps what was entered, sealed, and says where the browser goes: the instance's /oauth_auth.do. The instance sends
it back with a code, and `finish` exchanges that, tries the sign-in and stores the connection with its refresh token.
Whoever brings a code must be signed in to the console as the one who began; so nobody can slip his own instance in.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from nowbridge.connecting.connect import Connector, Draft
from nowbridge.connecting.entry import BY_CONSENT, Credentials, SignIn
from nowbridge.model.errors import Stop
from nowbridge.servicenow import identity
from nowbridge.servicenow.auth import OAuthCode, authorize_params
from nowbridge.servicenow.identity import Introduction
from nowbridge.store.instances import consents
from nowbridge.store.instances.connections import ConnectionRow

WITHIN: Final = timedelta(minutes=15)
_STATE_BYTES: Final = 32
_ASKED: Final = "take the answer of ServiceNow to Connect with ServiceNow"


class _Waiting(msgspec.Struct, frozen=True):
    """What was entered. It waits sealed."""

    name: str
    url: str
    client_id: str
    credentials: Credentials
    options: dict[str, Any]
    secret_expires_at: datetime | None
    redirect_uri: str
    is_new: bool

    def __repr__(self) -> str:
        return "_Waiting(...)"


@dataclass(frozen=True, slots=True)
class Consents:
    """`seal` and `unseal` take a context; `key` is a secret of the product; `random` makes so many bytes."""

    connector: Connector
    seal: Callable[[str, str], bytes]
    unseal: Callable[[bytes, str], str]
    key: Callable[[], bytes]
    random: Callable[[int], bytes]

    async def begin(self, session: bytes, draft: Draft, redirect_uri: str) -> str:
        """The URL at the instance that asks the person. `session` tells who began."""
        state = _text(self.random(_STATE_BYTES))
        digest = hashlib.sha256(state.encode()).digest()
        sign_in = draft.sign_in
        waiting = _Waiting(
            draft.name,
            draft.url,
            sign_in.client_id or "",
            sign_in.credentials,
            dict(sign_in.options),
            draft.secret_expires_at,
            redirect_uri,
            draft.held is None,
        )
        sealed = self.seal(msgspec.json.encode(waiting).decode(), _context(digest))
        now = self.connector.clock()
        async with self.connector.database.transaction() as connection:
            await consents.begin(connection, digest, session, sealed, now=now, ends_at=now + WITHIN)
        account = OAuthCode(sign_in.client_id or "", sign_in.credentials.client_secret)
        challenge = _text(hashlib.sha256(self._verifier(state).encode()).digest())
        return f"{draft.url}/oauth_auth.do?{urlencode(authorize_params(account, redirect_uri, state, challenge))}"

    async def finish(self, session: bytes, state: str, code: str) -> tuple[ConnectionRow, Introduction]:
        """Raises Stop `consent.unknown` for an answer that nobody here waits for, and what signing in and storing raise."""
        waiting = await self._taken(session, state)
        if not code:
            raise Stop("consent.denied", asked=_ASKED, answered="it was not allowed there", hint="Nothing was changed.")
        held = await self.connector.find(waiting.name)
        if waiting.is_new and held is not None:
            raise Stop(
                "consent.unknown",
                asked=_ASKED,
                answered=f"a connection {waiting.name} was made meanwhile",
                hint="Open it and begin again.",
            )
        sign_in = SignIn(BY_CONSENT, None, waiting.client_id, waiting.credentials, waiting.options)
        async with self.connector.open(waiting.url, sign_in, None) as instance:
            token = await instance.redeem(code, waiting.redirect_uri, self._verifier(state))
            if token.refresh is None:
                raise Stop(
                    "consent.no_refresh",
                    asked=_ASKED,
                    answered="the instance gave no refresh token, so the sign-in would end within the hour",
                    hint="Set a Refresh Token Lifespan in the instance's Application Registry (100 days is usual).",
                )
            introduction = await identity.introduce(instance, user_name=None, now=self.connector.clock)
            known = replace(sign_in, username=introduction.user.user_name)
            draft = Draft(waiting.name, waiting.url, known, waiting.secret_expires_at, held)
            row = await self.connector.store(draft, instance=instance, refresh=token.refresh)
        return row, introduction

    async def _taken(self, session: bytes, state: str) -> _Waiting:
        digest = hashlib.sha256(state.encode()).digest()
        async with self.connector.database.transaction() as connection:
            sealed = await consents.take(connection, digest, session, now=self.connector.clock())
        if sealed is None:
            raise Stop(
                "consent.unknown",
                asked=_ASKED,
                answered="nobody waits for it in this browser: it was used before, is too old, or began elsewhere",
                hint="Open the connection and press Connect with ServiceNow again.",
            )
        return msgspec.json.decode(self.unseal(sealed, _context(digest)), type=_Waiting)

    def _verifier(self, state: str) -> str:
        """Made from the state and a secret of ours, so that it need not be stored."""
        return _text(hmac.digest(self.key(), state.encode(), "sha256"))


def _context(digest: bytes) -> str:
    return f"consent:{digest.hex()}"


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
