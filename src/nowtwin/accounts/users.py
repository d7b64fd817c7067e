"""Who may sign in: password hashes, sessions and OAuth tokens. The user's record itself is a row of sys_user.

Passwords and tokens live only here, never in a table that the API can read.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nowtwin.behaviour.nodes import CURRENT
from nowtwin.keeping import Kept

_ROUNDS = 2_000
_KEPT_SESSIONS = 10_000
ACCESS_LIFETIME = timedelta(seconds=1800)
REFRESH_LIFETIME = timedelta(seconds=8_640_000)


@dataclass(frozen=True, slots=True)
class User:
    """A signed-in user as the APIs need it."""

    sys_id: str
    user_name: str
    name: str
    roles: frozenset[str]
    zone: ZoneInfo
    date_format: str = "yyyy-MM-dd"
    time_format: str = "HH:mm:ss"
    language: str = "en"

    @property
    def admin(self) -> bool:
        return "admin" in self.roles


def zone_of(name: str | None) -> ZoneInfo:
    """The zone of that name, UTC where it is empty or unknown."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class _Credential:
    salt: bytes
    digest: bytes
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Client:
    """An entry of the Application Registry, as far as tokens go (see `registry`)."""

    client_id: str
    access_lifetime: timedelta = ACCESS_LIFETIME
    refresh_lifetime: timedelta = REFRESH_LIFETIME
    user_name: str = ""
    """The "OAuth application user" of the client credentials grant; empty: that grant is refused."""


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code: for one client, one user, one redirect address, once."""

    client_id: str
    user_name: str
    redirect_uri: str
    challenge: str
    """The PKCE challenge; empty: none was sent."""
    method: str
    ends: datetime


@dataclass(frozen=True, slots=True)
class Token:
    access: str
    refresh: str
    user_name: str
    client_id: str
    access_ends: datetime
    refresh_ends: datetime


class Accounts(Kept):
    """Credentials, live tokens, codes and sessions."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.revision = 0
        """Moves when an account's roles may have changed."""
        self._credentials: dict[str, _Credential] = {}
        self._verified: set[bytes] = set()
        self._one_time: dict[str, str] = {}
        self._codes: dict[str, Code] = {}
        self._tokens: dict[str, Token] = {}
        self._sessions: dict[str, str] = {}
        self._nodes: dict[str, str] = {}
        """The node that keeps a session."""

    def set_password(self, user_name: str, password: str, roles: frozenset[str]) -> None:
        salt = self._random.randbytes(16)
        self._verified.clear()
        self.revision += 1
        self._credentials[user_name] = _Credential(salt, _digest(salt, password), roles)

    def set_roles(self, user_name: str, roles: frozenset[str]) -> None:
        """The roles that an account has beside those of its records; harmless for one without a password."""
        known = self._credentials.get(user_name)
        self.revision += 1
        if known:
            self._credentials[user_name] = replace(known, roles=roles)

    def credentials(self) -> Mapping[str, object]:
        """What proves the users, by name; opaque."""
        return dict(self._credentials)

    def roles(self, user_name: str) -> frozenset[str]:
        credential = self._credentials.get(user_name)
        return credential.roles if credential else frozenset()

    def verify(self, user_name: str, password: str) -> bool:
        credential = self._credentials.get(user_name)
        if credential is None:
            return False
        proof = hashlib.sha256(credential.salt + user_name.encode() + b"\0" + password.encode()).digest()
        if proof in self._verified:
            return True
        if hmac.compare_digest(_digest(credential.salt, password), credential.digest):
            self._verified.add(proof)
            return True
        return False

    def set_one_time_code(self, user_name: str, code: str) -> None:
        """The code that the user's authenticator shows at present."""
        self._one_time[user_name] = code

    def one_time_code(self, user_name: str) -> str:
        return self._one_time.get(user_name, "")

    # -- sessions ----------------------------------------------------------------------------------------------

    def open_session(self, user_name: str) -> str:
        session = self._random.randbytes(16).hex().upper()
        self._sessions[session] = user_name
        self._nodes[session] = CURRENT.get().name
        if len(self._sessions) > _KEPT_SESSIONS:
            self.close_session(next(iter(self._sessions)))
        return session

    def close_session(self, session: str) -> None:
        self._sessions.pop(session, None)
        self._nodes.pop(session, None)

    def end_sessions(self, node: str) -> int:
        """A node has gone down with the sessions that it kept; returns how many."""
        ended = [session for session, kept_by in self._nodes.items() if kept_by == node]
        for session in ended:
            self.close_session(session)
        return len(ended)

    def end_all(self) -> None:
        """No session, token or code counts any more."""
        for live in (self._sessions, self._nodes, self._tokens, self._codes):
            live.clear()

    def session_user(self, session: str) -> str | None:
        return self._sessions.get(session)

    # -- OAuth -------------------------------------------------------------------------------------------------

    def issue_code(self, code: Code) -> str:
        text = self._secret()
        self._codes[text] = code
        return text

    def redeem(self, text: str, now: datetime) -> Code | None:
        """What a code stands for; it is spent by this, whatever comes of it."""
        code = self._codes.pop(text, None)
        return code if code and code.ends > now else None

    def grant(self, client: Client, user_name: str, now: datetime) -> Token:
        """The user's token for this client: the live one while it lasts, else a new one (7.1)."""
        live = next((t for t in self._of(client, user_name) if t.access_ends > now and t.refresh_ends > now), None)
        if live:
            return live
        token = Token(
            access=self._secret(),
            refresh=self._secret(),
            user_name=user_name,
            client_id=client.client_id,
            access_ends=now + client.access_lifetime,
            refresh_ends=now + client.refresh_lifetime,
        )
        self._tokens[token.access] = token
        return token

    def renew(self, client: Client, refresh: str, now: datetime, *, rotate: bool) -> Token | None:
        """A token for a refresh token; None where that is unknown, of another client, revoked or expired."""
        held = [t for t in self._tokens.values() if t.refresh == refresh and t.client_id == client.client_id]
        if not held or held[-1].refresh_ends <= now:
            return None
        last = held[-1]
        if last.access_ends > now and not rotate:
            return last
        for token in held:
            del self._tokens[token.access]
        token = Token(
            access=self._secret(),
            refresh=self._secret() if rotate else refresh,
            user_name=last.user_name,
            client_id=client.client_id,
            access_ends=now + client.access_lifetime,
            refresh_ends=last.refresh_ends,
        )
        self._tokens[token.access] = token
        return token

    def bearer(self, access: str, now: datetime) -> str | None:
        """The user name that an access token stands for, while it is valid."""
        token = self._tokens.get(access)
        return token.user_name if token and token.access_ends > now else None

    def client_of(self, access: str) -> str:
        """The OAuth client that an access token was issued to; empty for what is none."""
        token = self._tokens.get(access)
        return token.client_id if token else ""

    def revoke(self, secret: str) -> bool:
        """Forget an access or refresh token and its pair."""
        gone = [t.access for t in self._tokens.values() if secret in {t.access, t.refresh}]
        for access in gone:
            del self._tokens[access]
        return bool(gone)

    def _of(self, client: Client, user_name: str) -> list[Token]:
        return [t for t in self._tokens.values() if t.client_id == client.client_id and t.user_name == user_name]

    def _secret(self) -> str:
        return self._random.randbytes(48).hex()


def _digest(salt: bytes, password: str) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ROUNDS)
