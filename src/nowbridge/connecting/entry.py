"""How to sign in to an instance, as a person enters it. Plain values; sealing and sending happen elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from nowbridge.model.errors import Stop

OPTIONS: Final = ("proxy", "ca_file", "client_certificate", "settings")
"""Of a connection: the way to it, and settings that hold for it alone."""

BY_CONSENT: Final = "authorization_code"
SHARED_PROXY: Final = "shared"
"""As the option `proxy`: the way out that the setting shared_proxy names."""

TAKES: Final[Mapping[str, tuple[str, ...]]] = {
    "oauth_password": ("client_id", "client_secret", "username", "password"),
    "basic": ("username", "password"),
    "client_credentials": ("client_id", "client_secret"),
    BY_CONSENT: ("client_id", "client_secret"),
    "api_key": ("api_key",),
}
"""What each way to sign in takes: plain values and secrets, in the order in which they are asked for."""

SECRETS: Final[Mapping[str, str]] = {
    "password": "Password",
    "client_secret": "OAuth client secret",
    "api_key": "API key",
}


class Credentials(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is sealed with a connection. Which fields are set depends on how it signs in."""

    password: str = ""
    client_secret: str = ""
    api_key: str = ""
    proxy_password: str = ""

    def __repr__(self) -> str:
        return "Credentials(...)"


@dataclass(frozen=True, slots=True)
class SignIn:
    """How to sign in to an instance, as entered: `auth` is one of TAKES. `options` are those of its connection (OPTIONS)."""

    auth: str
    username: str | None
    client_id: str | None
    credentials: Credentials
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entered:
    """A form as it was filled in. A secret that was left empty stays as it is stored. `options` are complete."""

    url: str
    auth: str
    username: str = ""
    client_id: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)


def sign_in_of(entered: Entered, held: SignIn | None, held_url: str) -> SignIn:
    """What was entered, with stored secrets where none was. They are not carried to another address: whoever may enter
    one could have a secret sent to it that he cannot read. Raises Stop `connection.incomplete`.
    """
    takes = TAKES.get(entered.auth)
    if takes is None:
        raise _incomplete("the way to sign in", f"{entered.auth or 'none'} is none that is known here")
    plain = {"username": entered.username, "client_id": entered.client_id}
    for name in takes:
        if name in plain and not plain[name]:
            raise _incomplete({"username": "the user name", "client_id": "the OAuth client ID"}[name], "it is empty")
    stored = held.credentials if held is not None and entered.url == held_url else Credentials()
    given = {name: entered.secrets.get(name) or getattr(stored, name) for name in (*SECRETS, "proxy_password")}
    for name in takes:
        if name in SECRETS and not given[name]:
            why = (
                "the address is another one, so stored secrets are not sent to it"
                if held is not None
                else "it is empty"
            )
            raise _incomplete(f"the {SECRETS[name]}", why)
    kept = {name: given[name] if name in takes or name == "proxy_password" else "" for name in given}
    username, client_id = (plain[name] if name in takes else None for name in plain)
    return SignIn(entered.auth, username, client_id, Credentials(**kept), _checked(entered.options))


def _checked(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """A password has no place in a proxy's URL, which is shown."""
    if urlsplit(str(options.get("proxy", ""))).password is not None:
        raise _incomplete("the proxy", "its URL holds a password, which has a field of its own")
    return options


def _incomplete(what: str, why: str) -> Stop:
    return Stop("connection.incomplete", asked=f"use {what} of the connection", answered=why, hint="Fill it in.")
