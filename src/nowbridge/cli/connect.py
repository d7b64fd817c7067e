"""`nowbridge connect`: credentials in, proven on the instance, sealed, stored. Nothing is stored before they worked."""

from __future__ import annotations

import os
import re
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from nowbridge.cli.entry import AsJson, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.servicenow.identity import Introduction
    from nowbridge.settings import Settings
    from nowbridge.store.database import Database
    from nowbridge.wiring import SignIn

EXAMPLES = examples(
    "nowbridge connect https://acme.service-now.com --username svc.nowbridge --client-id 5f1e...",
    "nowbridge connect acme --auth basic --username svc.nowbridge",
    "NOWBRIDGE_CLIENT_SECRET=... nowbridge connect acme --auth client-credentials --client-id 5f1e...",
    "pass show servicenow | nowbridge connect acme --auth basic --username svc.nowbridge --password-stdin",
)
_SUBDOMAIN = re.compile(r"[a-z0-9][a-z0-9-]*", re.IGNORECASE)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_RESERVED = frozenset({"public", "nowbridge", "nowbridge_jobs", "information_schema"})


class AuthMethod(StrEnum):
    """How to sign in, as written on the command line."""

    OAUTH = "oauth"
    BASIC = "basic"
    CLIENT_CREDENTIALS = "client-credentials"
    API_KEY = "api-key"


_STORED = {
    AuthMethod.OAUTH: "oauth_password",
    AuthMethod.BASIC: "basic",
    AuthMethod.CLIENT_CREDENTIALS: "client_credentials",
    AuthMethod.API_KEY: "api_key",
}
# What each way to sign in takes: plain values and secrets, in the order in which they are asked for.
_TAKES: dict[AuthMethod, tuple[str, ...]] = {
    AuthMethod.OAUTH: ("client_id", "client_secret", "username", "password"),
    AuthMethod.BASIC: ("username", "password"),
    AuthMethod.CLIENT_CREDENTIALS: ("client_id", "client_secret"),
    AuthMethod.API_KEY: ("api_key",),
}
_FROM_STDIN = {
    AuthMethod.OAUTH: "password",
    AuthMethod.BASIC: "password",
    AuthMethod.CLIENT_CREDENTIALS: "client_secret",
    AuthMethod.API_KEY: "api_key",
}
_SECRETS = {
    "password": ("NOWBRIDGE_PASSWORD", "Password"),
    "client_secret": ("NOWBRIDGE_CLIENT_SECRET", "OAuth client secret"),
    "api_key": ("NOWBRIDGE_API_KEY", "API key"),
}

Proxy = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The way out: http://[USER@]HOST:PORT, or none; else HTTPS_PROXY and NO_PROXY.",
        show_default=False,
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The certificate (PEM) of a private authority.", show_default=False),
]
ClientCertificate = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Our own certificate with its key (PEM), for mutual TLS.", show_default=False),
]
SecretExpires = Annotated[
    datetime | None,
    typer.Option(
        metavar="DATE",
        help="When the secret ends: a notice comes before.",
        formats=["%Y-%m-%d"],
        show_default=False,
    ),
]


def connect(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    instance_url: Annotated[
        str, typer.Argument(metavar="URL", help="https://YOURINSTANCE.service-now.com, or YOURINSTANCE alone.")
    ],
    *,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The connection's name here; the instance's own when left out.", show_default=False
        ),
    ] = None,
    auth: Annotated[
        AuthMethod,
        typer.Option(
            metavar="oauth|basic|client-credentials|api-key", help="How to sign in; oauth is the password grant."
        ),
    ] = AuthMethod.OAUTH,
    username: Annotated[
        str | None, typer.Option(metavar="USER", help="User ID of the service account.", show_default=False)
    ] = None,
    client_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Client ID of the OAuth application.", show_default=False)
    ] = None,
    proxy: Proxy = None,
    ca_file: CaFile = None,
    client_certificate: ClientCertificate = None,
    secret_expires: SecretExpires = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password (client secret, API key) from standard input.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sign in to an instance, and keep the credentials sealed if that worked.

    Secrets are asked for, or taken from NOWBRIDGE_PASSWORD, NOWBRIDGE_CLIENT_SECRET, NOWBRIDGE_API_KEY or standard
    input; never from the command line, which other users of the machine can see; likewise NOWBRIDGE_PROXY_PASSWORD. They are stored encrypted under the
    master key of `nowbridge init`. Running it again for the same name replaces the credentials.

    Use an account of its own for Nowbridge, with read rights on what is to be replicated and time zone UTC.
    """
    settings = settings_of(context)
    url = instance_url_of(instance_url)
    name = connection_name(name, url)
    options = way_options(proxy, ca_file, client_certificate)
    sign_in = _entered(auth, {"username": username, "client_id": client_id}, options, from_stdin=password_stdin)
    expires = secret_expires.replace(tzinfo=UTC) if secret_expires else None
    introduction = run(_connect(settings, name, url, sign_in, expires))
    _show(name, url, introduction, as_json=as_json)


def way_options(proxy: str | None, ca_file: Path | None, client_certificate: Path | None) -> dict[str, str]:
    """The options of a connection that say how its instance is reached. A password has no place among them."""
    if proxy is not None and urlsplit(proxy).password is not None:
        raise typer.BadParameter("put the password into NOWBRIDGE_PROXY_PASSWORD", param_hint="--proxy")
    files = {"ca_file": ca_file, "client_certificate": client_certificate}
    given = {name: str(file.absolute()) for name, file in files.items() if file is not None}
    return given if proxy is None else {"proxy": proxy, **given}


def instance_url_of(entered: str) -> str:
    """A subdomain alone stands for <it>.service-now.com, https may be left out, and what a browser shows behind the
    host is dropped. Raises Stop `settings.instance_url`.
    """
    from nowbridge.transport.client import checked_base_url

    entered = entered.strip()
    if _SUBDOMAIN.fullmatch(entered) and entered.lower() != "localhost":
        entered = f"{entered}.service-now.com"
    if "://" not in entered:
        entered = f"https://{entered}"
    parts = urlsplit(entered)
    return checked_base_url(parts._replace(path="", query="", fragment="").geturl())


def connection_name(given: str | None, url: str) -> str:
    """The given name, which becomes a schema's name in Postgres, else one made from the address."""
    if given is None:
        host = urlsplit(url).hostname or ""
        if host in {"127.0.0.1", "::1", "localhost"}:
            return "local"
        made = re.sub(r"[^a-z0-9]+", "_", host.partition(".")[0].lower())[:40]
        return made if _NAME.fullmatch(made) and made not in _RESERVED else f"sn_{made}"
    if not _NAME.fullmatch(given) or given in _RESERVED or given.startswith("pg_"):
        raise typer.BadParameter(
            "a name has small letters, digits and _, begins with a letter, and is no reserved schema",
            param_hint="--name",
        )
    return given


def _entered(auth: AuthMethod, plain: dict[str, str | None], options: dict[str, str], *, from_stdin: bool) -> SignIn:
    from nowbridge.wiring import Credentials, SignIn

    values: dict[str, str] = {}
    for item in _TAKES[auth]:
        if item in _SECRETS:
            read_stdin = from_stdin and item == _FROM_STDIN[auth]
            values[item] = _line_of_stdin() if read_stdin else _secret(item, auth)
        else:
            values[item] = plain[item] or _asked(item, auth)
    secrets = {item: values[item] for item in _SECRETS if item in values}
    secrets["proxy_password"] = os.environ.get("NOWBRIDGE_PROXY_PASSWORD", "") if "proxy" in options else ""
    return SignIn(_STORED[auth], values.get("username"), values.get("client_id"), Credentials(**secrets), options)


def _asked(item: str, auth: AuthMethod) -> str:
    option = f"--{item.replace('_', '-')}"
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"--auth {auth.value} needs it", param_hint=option)
    entered: str = typer.prompt({"username": "Username", "client_id": "OAuth client ID"}[item], err=True)
    return entered


def _secret(item: str, auth: AuthMethod) -> str:
    variable, prompt = _SECRETS[item]
    if given := os.environ.get(variable):
        return given
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            f"--auth {auth.value} needs it, and there is no terminal to ask on: set {variable}"
            + (", or use --password-stdin" if item == _FROM_STDIN[auth] else ""),
            param_hint=prompt.lower(),
        )
    entered: str = typer.prompt(prompt, hide_input=True, err=True)
    return entered


def _line_of_stdin() -> str:
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise typer.BadParameter("standard input holds nothing", param_hint="--password-stdin")
    return line


async def _refuse_stopped(database: Database, name: str) -> None:
    from nowbridge.store import connections

    async with database.transaction() as connection:
        rows = [row for row in await connections.every(connection) if row.name == name]
    for row in rows:
        connections.refuse_stopped(row)


async def _connect(settings: Settings, name: str, url: str, sign_in: SignIn, expires: datetime | None) -> Introduction:
    from nowbridge import wiring
    from nowbridge.servicenow import identity
    from nowbridge.store import connections

    async with open_database(settings) as database:
        await _refuse_stopped(database, name)
        async with wiring.instance_of(settings, url, sign_in, attempts=2) as instance:
            introduction = await identity.introduce(instance, user_name=sign_in.username, now=wiring.now)
        async with database.transaction() as connection:
            new = connections.NewConnection(
                name=name,
                url=url,
                auth=sign_in.auth,
                username=sign_in.username,
                client_id=sign_in.client_id,
                sealed=wiring.sealed(settings, name, url, sign_in.credentials),
                options=dict(sign_in.options),
                secret_expires_at=expires,
            )
            await connections.save(connection, new, now=wiring.now())
    return introduction


def introduction_facts(introduction: Introduction) -> dict[str, object]:
    """What is known of account and instance, for JSON."""
    return {
        "user": {
            "user_name": introduction.user.user_name,
            "sys_id": introduction.user.sys_id,
            "name": introduction.user.name,
        },
        "release": introduction.release,
        "build": introduction.build,
        "time_zone": introduction.time_zone,
        "clock_ahead_seconds": round(introduction.skew.total_seconds(), 1),
        "warnings": list(introduction.warnings),
    }


def introduction_lines(introduction: Introduction) -> list[tuple[str, str]]:
    """The same for people."""
    skew = introduction.skew.total_seconds()
    return [
        ("signed in as", f"{introduction.user.user_name} ({introduction.user.name})"),
        ("release", introduction.release or "not readable for this account"),
        ("time zone", introduction.time_zone or "not readable for this account"),
        ("clock", f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine's"),
    ]


def _show(name: str, url: str, introduction: Introduction, *, as_json: bool) -> None:
    from nowbridge.cli import screen

    if as_json:
        screen.print_json({"connection": name, "url": url, **introduction_facts(introduction)})
        return
    out = screen.output()
    for label, value in introduction_lines(introduction):
        out.print(f"{label:13} {value}", markup=False, soft_wrap=True)
    for warning in introduction.warnings:
        screen.say(f"Note: {warning}", "yellow")
    out.print(f"\nStored as connection {name}, credentials sealed.", markup=False)
    out.print("Next: nowbridge replicate --preset itsm", markup=False)
