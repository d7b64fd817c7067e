"""Logging in: which headers a call carries, and how a token is got and renewed. Pure: no I/O, time is passed in.

`obtain` and `exchange` are generators: they yield the request to make, take its response, and return the token. Access
tokens live in memory only. Facts: servicenow-api.md 7.

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


@dataclass(frozen=True, slots=True)
class OAuthCode:
    """Grant `authorization_code`: a person allows it at the instance once, and refresh tokens go on from there. The account
    is the person's.
    """

    client_id: str
    client_secret: str = field(repr=False)


Auth = Basic | OAuthPassword | ClientCredentials | ApiKey | OAuthCode
WithToken = OAuthPassword | ClientCredentials | OAuthCode


@dataclass(frozen=True, slots=True)
class Token:
    access: str = field(repr=False)
    renew_at: datetime
    refresh: str | None = field(default=None, repr=False)


def uses_token(auth: Auth) -> bool:
    return isinstance(auth, WithToken)


def headers(auth: Auth, token: Token | None) -> tuple[tuple[str, str], ...]:
    """What to add to each call. `token` is the one from `obtain`; the other kinds of account need none."""
    match auth:
        case Basic(username, password):
            credentials = b64encode(f"{username}:{password}".encode()).decode()
            return (("Authorization", f"Basic {credentials}"),)
        case ApiKey(key):
            return (("x-sn-apikey", key),)
        case OAuthPassword() | ClientCredentials() | OAuthCode():
            if token is None:
                raise ValueError("this account needs a token first")
            return (("Authorization", f"Bearer {token.access}"),)
    assert_never(auth)


def obtain(auth: WithToken, held: Token | None, now: datetime) -> Generator[Request, Response, Token]:
    """A token valid from `now` on. A refresh token that is no longer accepted leads back to the first grant, where that
    can be done without a person.

    Raises Stop `auth.refused` or `auth.consent`, and Retry `auth.unavailable`.
    """
    if held is not None and held.refresh is not None:
        refreshed = yield _token_request(auth, (("grant_type", "refresh_token"), ("refresh_token", held.refresh)))
        if not _is_refusal(refreshed):
            return _read_token(refreshed, now, held.refresh)
    if isinstance(auth, OAuthCode):
        raise Stop(
            "auth.consent",
            asked="renew the sign-in that somebody allowed in ServiceNow",
            answered="the instance does not accept it any more" if held is not None else "nobody has allowed it yet",
            hint="Open the connection in the console and press Connect with ServiceNow.",
        )
    return _read_token((yield _token_request(auth, _first_grant(auth))), now, None)


def authorize_params(auth: OAuthCode, redirect_uri: str, state: str, challenge: str) -> tuple[tuple[str, str], ...]:
    """What a browser takes to `/oauth_auth.do`. `challenge` is the SHA-256 of the verifier (PKCE, RFC 7636)."""
    return (
        ("response_type", "code"),
        ("client_id", auth.client_id),
        ("redirect_uri", redirect_uri),
        ("state", state),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
    )


def exchange(
    auth: OAuthCode, code: str, redirect_uri: str, verifier: str, now: datetime
) -> Generator[Request, Response, Token]:
    """The token for a code that the instance gave to the browser. Raises as `obtain`."""
    grant = (("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect_uri))
    return _read_token((yield _token_request(auth, (*grant, ("code_verifier", verifier)))), now, None)


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


def _token_request(auth: WithToken, grant: tuple[tuple[str, str], ...]) -> Request:
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
