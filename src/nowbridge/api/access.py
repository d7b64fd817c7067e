"""Who may do what in the console: accounts, roles, signing in, and the tokens that tie forms to a browser.

A browser holds a random key in a cookie, signed with a key of the product, so that a made-up one does not even reach the
database; there only its digest stands. A form carries a token made from the key, which no page of another site can know.
Tries to sign in are counted by the name that was typed before they are looked at: after five that failed a name waits, ever
longer. Whether there is such an account makes no difference to any answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import structlog
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from nowbridge.model.errors import Retry, Stop
from nowbridge.store.database import Database
from nowbridge.store.operation import accounts
from nowbridge.store.operation.accounts import AccountRow

log = structlog.get_logger("nowbridge.console")

ENDS_AFTER: Final = timedelta(hours=12)
IDLE_AFTER: Final = timedelta(hours=1)
SHORTEST_PASSWORD: Final = 12
_LONGEST: Final = 1_000  # characters of a password that are looked at
_LONGEST_NAME: Final = 64
_FREE_TRIES: Final = 5
_FIRST_WAIT: Final = timedelta(seconds=10)
_LONGEST_WAIT: Final = timedelta(minutes=15)
_FORGOTTEN_AFTER: Final = timedelta(hours=1)
_NOTED_EVERY: Final = timedelta(minutes=1)
_KEY_BYTES: Final = 32
_SALT_BYTES: Final = 16
_MEMORY: Final = 19_456  # KiB; with two passes the least that OWASP names for Argon2id


class Role(StrEnum):
    """`viewer` sees how things stand; `super_admin` configures too."""

    SUPER_ADMIN = "super_admin"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is signed in. `session` tells this sign-in from others; `form_token` belongs into each of its forms."""

    name: str
    role: Role
    session: bytes = field(repr=False)
    form_token: str = field(repr=False)

    @property
    def may_configure(self) -> bool:
        return self.role is Role.SUPER_ADMIN


def refuse_unless_may_configure(visitor: Visitor, asked: str) -> None:
    """Raises Stop `access.role`."""
    if not visitor.may_configure:
        raise Stop(
            "access.role",
            asked=asked,
            answered=f"{visitor.name} has the role {visitor.role.value}, and this needs {Role.SUPER_ADMIN.value}",
            hint="Ask somebody with that role; `nowbridge account list` names them.",
        )


def hashed(password: str, salt: bytes) -> str:
    """Argon2id with its salt and cost, as one text."""
    return Argon2id(salt=salt, length=32, iterations=2, lanes=1, memory_cost=_MEMORY).derive_phc_encoded(
        password.encode()
    )


def refuse_weak(password: str) -> None:
    """Raises Stop `account.password`."""
    if not SHORTEST_PASSWORD <= len(password) <= _LONGEST:
        raise Stop(
            "account.password",
            asked="use the password",
            answered=f"it has {len(password)} characters",
            hint=f"Use {SHORTEST_PASSWORD} or more; a sentence is good.",
        )


@dataclass(slots=True)
class Doorkeeper:
    """Lets people in. `key` is a secret of the product; `random` makes so many bytes."""

    database: Database
    clock: Callable[[], datetime]
    key: Callable[[], bytes]
    random: Callable[[int], bytes]
    _hashing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    _nobody: str = ""

    async def visitor(self, cookie: str) -> Visitor | None:
        """Who holds the cookie; None when it is none of ours, or its sign-in has ended."""
        if not self.is_ours(cookie):
            return None
        digest, now = _digest(cookie), self.clock()
        async with self.database.transaction() as connection:
            found = await accounts.session(connection, digest, now=now, idle=IDLE_AFTER)
            if found is None:
                return None
            if now - found.used_at > _NOTED_EVERY:
                await accounts.use_session(connection, digest, now=now)
        return Visitor(found.account, Role(found.role), digest, self.form_token(cookie))

    def new_cookie(self) -> str:
        """For a browser that has none; nobody is signed in by it."""
        key = urlsafe_b64encode(self.random(_KEY_BYTES)).decode()
        return f"{key}.{self._mac('cookie', key)}"

    def is_ours(self, cookie: str) -> bool:
        key, _, mac = cookie.partition(".")
        return bool(key) and hmac.compare_digest(mac.encode(), self._mac("cookie", key).encode())

    def form_token(self, cookie: str) -> str:
        return self._mac("form", cookie)

    def refuse_foreign_form(self, cookie: str, token: str) -> None:
        """Raises Stop `access.form` for a form that was not shown to this browser."""
        if not self.is_ours(cookie) or not hmac.compare_digest(token.encode(), self.form_token(cookie).encode()):
            raise Stop(
                "access.form",
                asked="take the form",
                answered="it was not shown to this browser, or too long ago",
                hint="Load the page again and repeat what you did.",
            )

    async def sign_in(self, name: str, password: str) -> str:
        """The cookie for who has an account and its password. Raises Stop `access.refused` and Retry `access.throttled`."""
        name = name.strip()[:_LONGEST_NAME]
        account = await self._let_try(name)
        if not await self._is_right(account, password[:_LONGEST]) or account is None:
            log.warning("sign-in refused", account=name if account is not None else None)
            raise Stop(
                "access.refused",
                asked="sign in",
                answered="there is no account of that name with that password",
                hint="`nowbridge account password NAME` sets a new one.",
            )
        cookie, now = self.new_cookie(), self.clock()
        async with self.database.transaction() as connection:
            await accounts.forget_tries(connection, name)
            await accounts.begin_session(connection, _digest(cookie), name, now=now, ends_at=now + ENDS_AFTER)
        log.info("signed in", account=name)
        return cookie

    async def sign_out(self, visitor: Visitor) -> None:
        async with self.database.transaction() as connection:
            await accounts.end_session(connection, visitor.session)

    async def _let_try(self, name: str) -> AccountRow | None:
        """The account of that name, with one more try counted against it."""
        now = self.clock()
        async with self.database.transaction() as connection:
            failures, last = await accounts.count_try(connection, name, now=now, forget_before=now - _FORGOTTEN_AFTER)
            wait = wait_after(failures) - (now - last)
            if wait > timedelta(0):
                raise Retry(
                    "access.throttled",
                    asked="sign in",
                    answered=f"it failed {failures} times",
                    hint=f"Try again in {wait.total_seconds():.0f} seconds.",
                    after=wait.total_seconds(),
                )
            await accounts.note_try(connection, name, now=now)
            return await accounts.find(connection, name)

    async def _is_right(self, account: AccountRow | None, password: str) -> bool:
        """As slow for a name that does not exist."""
        self._nobody = self._nobody or hashed("", self.random(_SALT_BYTES))
        held = account.password_hash if account is not None else self._nobody
        async with self._hashing:  # each takes 19 MB for a moment
            return await asyncio.to_thread(_verified, held, password) and account is not None

    def _mac(self, purpose: str, text: str) -> str:
        return hmac.digest(self.key(), f"{purpose}:{text}".encode(), "sha256").hex()


def wait_after(failures: int) -> timedelta:
    """How long a name waits after so many failures."""
    over = failures - _FREE_TRIES
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(over, 10)) if over >= 0 else timedelta(0)


def _verified(held: str, password: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password.encode(), held)
    except InvalidKey:
        return False
    return True


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
