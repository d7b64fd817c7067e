"""`nowbridge connect`: credentials in, proven on the instance, sealed, stored. Nothing is stored before they worked."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from nowbridge.cli.entry import AsJson, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.connecting.entry import SignIn
    from nowbridge.servicenow.identity import Introduction
    from nowbridge.settings import Settings

EXAMPLES = examples(
    "nowbridge connect https://acme.service-now.com --username svc.nowbridge --client-id 5f1e...",
    "nowbridge connect acme --auth basic --username svc.nowbridge",
    "NOWBRIDGE_CLIENT_SECRET=... nowbridge connect acme --auth client-credentials --client-id 5f1e...",
    "pass show servicenow | nowbridge connect acme --auth basic --username svc.nowbridge --password-stdin",
)


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
_FROM_STDIN = {
    AuthMethod.OAUTH: "password",
    AuthMethod.BASIC: "password",
    AuthMethod.CLIENT_CREDENTIALS: "client_secret",
    AuthMethod.API_KEY: "api_key",
}
_VARIABLES = {
    "password": "NOWBRIDGE_PASSWORD",
    "client_secret": "NOWBRIDGE_CLIENT_SECRET",
    "api_key": "NOWBRIDGE_API_KEY",
}

Proxy = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The way out: http://[USER@]HOST:PORT, shared (the setting shared_proxy), or none; else HTTPS_PROXY and NO_PROXY.",
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
    from nowbridge.connecting.address import instance_url_of

    settings = settings_of(context)
    url = instance_url_of(instance_url)
    name = _named(name, url)
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


def _named(given: str | None, url: str) -> str:
    from nowbridge.connecting.address import connection_name
    from nowbridge.model.errors import Stop

    try:
        return connection_name(given, url)
    except Stop as refused:
        raise typer.BadParameter(refused.answered, param_hint="--name") from None


def _entered(auth: AuthMethod, plain: dict[str, str | None], options: dict[str, str], *, from_stdin: bool) -> SignIn:
    from nowbridge.connecting.entry import SECRETS, TAKES, Credentials, SignIn

    values: dict[str, str] = {}
    for item in TAKES[_STORED[auth]]:
        if item in SECRETS:
            read_stdin = from_stdin and item == _FROM_STDIN[auth]
            values[item] = _line_of_stdin() if read_stdin else _secret(item, auth)
        else:
            values[item] = plain[item] or _asked(item, auth)
    secrets = {item: values[item] for item in SECRETS if item in values}
    secrets["proxy_password"] = os.environ.get("NOWBRIDGE_PROXY_PASSWORD", "") if "proxy" in options else ""
    return SignIn(_STORED[auth], values.get("username"), values.get("client_id"), Credentials(**secrets), options)


def _asked(item: str, auth: AuthMethod) -> str:
    option = f"--{item.replace('_', '-')}"
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"--auth {auth.value} needs it", param_hint=option)
    entered: str = typer.prompt({"username": "Username", "client_id": "OAuth client ID"}[item], err=True)
    return entered


def _secret(item: str, auth: AuthMethod) -> str:
    from nowbridge.connecting.entry import SECRETS

    variable, prompt = _VARIABLES[item], SECRETS[item]
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


async def _connect(settings: Settings, name: str, url: str, sign_in: SignIn, expires: datetime | None) -> Introduction:
    from nowbridge import wiring
    from nowbridge.connecting.connect import Draft

    async with open_database(settings) as database:
        connector = wiring.connector_of(settings, database)
        held = await connector.find(name)
        return await connector.connect(Draft(name, url, sign_in, expires, held))


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


def _show(name: str, url: str, introduction: Introduction, *, as_json: bool) -> None:
    from nowbridge.cli import screen
    from nowbridge.connecting.check import introduction_lines

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
