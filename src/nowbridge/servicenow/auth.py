"""Logging in: which headers a call carries, and how a token is got and renewed. Pure: no I/O, time is passed in.

`obtain` is a generator: it yields the request to make, takes its response, and returns the token. Tokens live in
memory only. Facts: servicenow-api.md 7.

A token's `expires_in` is believed, because an instance hands out the running token again with what is left of its
life; it is renewed a minute before its end, or at half of a life shorter than two minutes.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, assert_never
from urllib.parse import urlencode

import msgspec

from nowbridge.model.errors import Retry, Stop
from nowbridge.transport.messages import Headers, Request, Response

if TYPE_CHECKING:
    from collections.abc import Generator

_AHEAD: Final = timedelta(seconds=60)
_SHORTEST_LIFE: Final = 1.0
_DEFAULT_LIFE: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Basic:
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OAuthPassword:
    """Grant `password`, then `refresh_token` for as long as the instance accepts the refresh token."""

    client_id: str
    client_secret: str = field(repr=False)
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """Grant `client_credentials`; it has no refresh token. The account is the OAuth application user."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKey:
    key: str = field(repr=False)


Auth = Basic | OAuthPassword | ClientCredentials | ApiKey


@dataclass(frozen=True, slots=True)
class Token:
    access: str = field(repr=False)
    renew_at: datetime
    refresh: str | None = field(default=None, repr=False)


def uses_token(auth: Auth) -> bool:
    return isinstance(auth, OAuthPassword | ClientCredentials)


def headers(auth: Auth, token: Token | None) -> tuple[tuple[str, str], ...]:
    """What to add to each call. `token` is the one from `obtain`; the other kinds of account need none."""
    match auth:
        case Basic(username, password):
            credentials = b64encode(f"{username}:{password}".encode()).decode()
            return (("Authorization", f"Basic {credentials}"),)
        case ApiKey(key):
            return (("x-sn-apikey", key),)
        case OAuthPassword() | ClientCredentials():
            if token is None:
                raise ValueError("this account needs a token first")
            return (("Authorization", f"Bearer {token.access}"),)
    assert_never(auth)


def obtain(
    auth: OAuthPassword | ClientCredentials, held: Token | None, now: datetime
) -> Generator[Request, Response, Token]:
    """A token valid from `now` on. A refresh token that is no longer accepted leads back to the first grant.

    Raises Stop `auth.refused` and Retry `auth.unavailable`.
    """
    if held is not None and held.refresh is not None:
        refreshed = yield _token_request(auth, (("grant_type", "refresh_token"), ("refresh_token", held.refresh)))
        if not _is_refusal(refreshed):
            return _read_token(refreshed, now, held.refresh)
    return _read_token((yield _token_request(auth, _first_grant(auth))), now, None)


def is_due(token: Token | None, now: datetime) -> bool:
    """Whether a token has to be got before the next call."""
    return token is None or now >= token.renew_at


class _Grant(msgspec.Struct):
    access_token: str
    expires_in: float | str = _DEFAULT_LIFE
    refresh_token: str | None = None


def _first_grant(auth: OAuthPassword | ClientCredentials) -> tuple[tuple[str, str], ...]:
    match auth:
        case OAuthPassword(username=username, password=password):
            return (("grant_type", "password"), ("username", username), ("password", password))
        case ClientCredentials():
            return (("grant_type", "client_credentials"),)
    assert_never(auth)


def _token_request(auth: OAuthPassword | ClientCredentials, grant: tuple[tuple[str, str], ...]) -> Request:
    """Form-encoded and in the body: the endpoint takes neither JSON nor, where hardened, URL parameters."""
    form = urlencode((*grant, ("client_id", auth.client_id), ("client_secret", auth.client_secret)))
    return Request(
        "POST",
        "/oauth_token.do",
        headers=Headers((("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json"))),
        body=form.encode("ascii"),
        asked="log in with OAuth",
    )


def _is_refusal(response: Response) -> bool:
    return response.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


def _read_token(response: Response, now: datetime, refresh: str | None) -> Token:
    if _is_refusal(response):
        raise Stop(
            "auth.refused",
            asked="log in with OAuth",
            answered=f"HTTP {response.status}",
            hint="ServiceNow does not say which part is wrong: check client, secret, user, password, and that the grant is on.",
        )
    if response.status != HTTPStatus.OK:
        raise Retry("auth.unavailable", asked="log in with OAuth", answered=f"HTTP {response.status}")
    try:
        grant = msgspec.json.decode(response.body, type=_Grant)
        life = max(_SHORTEST_LIFE, float(grant.expires_in))
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise Retry(
            "auth.unavailable",
            asked="log in with OAuth",
            answered="an answer without a token",
            hint="Check that the instance URL leads to the instance itself; a sleeping instance answers like this too.",
        ) from error
    ahead = min(_AHEAD, timedelta(seconds=life / 2))
    return Token(grant.access_token, now + timedelta(seconds=life) - ahead, grant.refresh_token or refresh)
