"""Credentials: how they are sealed and opened, and what signs in with them. The only place that opens them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from nowbridge.connecting.entry import BY_CONSENT, OPTIONS, Credentials, SignIn
from nowbridge.model.errors import Stop
from nowbridge.servicenow import auth as auths
from nowbridge.settings import Settings
from nowbridge.store.database import Connection, Database
from nowbridge.store.instances import connections, consents
from nowbridge.store.instances import sealed as sealed_store
from nowbridge.store.instances.connections import ConnectionRow
from nowbridge.store.instances.hooks import HookRow
from nowbridge.store.instances.secrets import Keyring, key_of

__all__ = ["OPTIONS", "Credentials", "SignIn"]


def keyring(settings: Settings) -> Keyring:
    return Keyring.open(settings.key_path)


def sealed(settings: Settings, name: str, url: str, credentials: Credentials) -> bytes:
    """Credentials as they are stored: bound to the connection's name and address."""
    return keyring(settings).seal(msgspec.json.encode(credentials).decode(), _context(name, url))


def opened(settings: Settings, row: ConnectionRow) -> SignIn:
    """Raises Stop `connection.stopped`, and what the keyring raises."""
    connections.refuse_stopped(row)
    return unsealed(settings, row)


def unsealed(settings: Settings, row: ConnectionRow) -> SignIn:
    """Also of a connection that is stopped: for whoever lets it go on."""
    text = keyring(settings).unseal(row.sealed, _context(row.name, row.url))
    credentials = msgspec.json.decode(text, type=Credentials)
    return SignIn(row.auth, row.username, row.client_id, credentials, row.options)


async def rotate_keys(settings: Settings, database: Database, told: Callable[[str], None] = lambda _: None) -> int:
    """A new master key, everything sealed anew under it, the old one forgotten. `told` hears of each step. What was broken
    off goes on where it stood: while the file holds several keys, no further one is made. Returns how many values were
    sealed anew.
    """
    ring = keyring(settings)
    if len(ring.held) == 1:
        ring = Keyring.renew(settings.key_path)
        told(f"new key {ring.current}")
    number = 0
    async with database.transaction() as connection:
        await consents.forget_all(connection)  # whoever is at an instance to allow a connection begins again
    while True:
        async with database.transaction() as connection:
            old = [one for one in await sealed_store.every(connection) if key_of(one.value) != ring.current]
        if not old:
            break
        for one in old:
            context = _CONTEXTS[one.kind](one.place, one.mark)
            anew = ring.seal(ring.unseal(one.value, context), context)
            async with database.transaction() as connection:
                number += await sealed_store.exchange(connection, one, anew)
            told(f"{one.kind} {one.place}")
    Keyring.forget_old(settings.key_path)
    told("the old key is forgotten")
    return number


def opened_secret(settings: Settings, row: HookRow) -> bytes:
    """What a connection's hints are signed with."""
    return base64.b64decode(keyring(settings).unseal(row.sealed, _hook_context(row.connection, row.hook_id)))


def new_hook(settings: Settings, row: ConnectionRow, url: str, *, like: HookRow | None = None) -> HookRow:
    """A hook with a new secret for a connection; `like` one that stands already, if there is one."""
    hook_id = like.hook_id if like is not None else secrets.token_hex(4)
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    sealed_secret = keyring(settings).seal(secret, _hook_context(row.name, hook_id))
    ahead = like.clock_ahead if like is not None else 0.0
    return HookRow(row.id, row.name, hook_id, url, sealed_secret, ahead)


def sealed_refresh(settings: Settings, name: str, token: str) -> bytes:
    """The refresh token of a connection, as it is stored."""
    return keyring(settings).seal(token, _refresh_context(name))


@dataclass(frozen=True, slots=True)
class _HeldRefresh:
    """Inside the transaction that holds it."""

    kept: KeptRefresh
    connection: Connection
    refresh: str | None = field(repr=False)

    async def keep(self, refresh: str) -> None:
        row, now = self.kept.row, self.kept.clock()
        sealed_token = sealed_refresh(self.kept.settings, row.name, refresh)
        await consents.keep_refresh_token(self.connection, row.id, sealed_token, now=now)


@dataclass(frozen=True, slots=True)
class KeptRefresh:
    """The refresh token of a connection that somebody has allowed, where all who use it find it."""

    settings: Settings
    database: Database
    row: ConnectionRow
    clock: Callable[[], datetime]

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[_HeldRefresh]:
        async with self.database.transaction() as connection:
            held = await consents.refresh_token(connection, self.row.id)
            context = _refresh_context(self.row.name)
            yield _HeldRefresh(self, connection, None if held is None else keyring(self.settings).unseal(held, context))


def kept_refresh(
    settings: Settings, database: Database, row: ConnectionRow, clock: Callable[[], datetime]
) -> KeptRefresh | None:
    """None for connections that sign in by themselves."""
    return KeptRefresh(settings, database, row, clock) if row.auth == BY_CONSENT else None


def flow_of(sign_in: SignIn) -> auths.Auth:
    held = sign_in.credentials
    match sign_in.auth:
        case "basic":
            return auths.Basic(sign_in.username or "", held.password)
        case "oauth_password":
            return auths.OAuthPassword(
                sign_in.client_id or "", held.client_secret, sign_in.username or "", held.password
            )
        case "client_credentials":
            return auths.ClientCredentials(sign_in.client_id or "", held.client_secret)
        case "api_key":
            return auths.ApiKey(held.api_key)
        case "authorization_code":
            return auths.OAuthCode(sign_in.client_id or "", held.client_secret)
        case other:
            raise Stop("connection.auth", asked="sign in", answered=f"{other} is no way to sign in that is known here")


def _context(name: str, url: str) -> str:
    return f"connection:{name}:{url}"


def _hook_context(name: str, hook_id: str) -> str:
    return f"hook:{name}:{hook_id}"


def _refresh_context(name: str, _: str = "") -> str:
    return f"refresh_token:{name}"


_CONTEXTS = {"connection": _context, "hook": _hook_context, "refresh_token": _refresh_context}
