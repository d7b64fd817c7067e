"""What each request passes before anything else: its host, its cookie, its form token; and how errors become answers.

A request counts only when it names a host of ours: the public address that the setting console_url gives, or this machine.
So passwords are typed only where https is, or nothing leaves the machine; and a page of another site cannot reach the
console by a name of its own that leads here.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from nowbridge.api.access import Visitor
from nowbridge.api.console import CALLBACK, Console
from nowbridge.api.wording import described, plain
from nowbridge.model.errors import NowbridgeError, Stop

COOKIE: Final = "nowbridge"
MOST_BYTES: Final = 64 * 1024
_LOCAL: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_STATUSES: Final[Mapping[str, HTTPStatus]] = {
    "access.signed_out": HTTPStatus.UNAUTHORIZED,
    "access.refused": HTTPStatus.UNAUTHORIZED,
    "access.role": HTTPStatus.FORBIDDEN,
    "access.form": HTTPStatus.FORBIDDEN,
    "access.unreadable": HTTPStatus.BAD_REQUEST,
    "access.host": HTTPStatus.MISDIRECTED_REQUEST,
    "access.throttled": HTTPStatus.TOO_MANY_REQUESTS,
    "connection.unknown": HTTPStatus.NOT_FOUND,
    "connection.declared": HTTPStatus.CONFLICT,
    "connection.exists": HTTPStatus.CONFLICT,
}


def status_of(error: NowbridgeError) -> HTTPStatus:
    fallback = HTTPStatus.SERVICE_UNAVAILABLE if error.reaction == "retry" else HTTPStatus.UNPROCESSABLE_ENTITY
    return _STATUSES.get(error.code, fallback)


def refuse_foreign_host(console: Console, request: Request) -> None:
    """Raises Stop `access.host`."""
    if _host(request) not in {*_LOCAL, urlsplit(console.public_url).hostname}:
        raise Stop(
            "access.host",
            asked="open the console",
            answered="the address is none that it is known by",
            hint=f"Use {console.public_url or 'http://127.0.0.1 on the machine itself'}; the setting console_url names it.",
        )


async def visitor_of(console: Console, request: Request) -> Visitor:
    """Raises Stop `access.signed_out`."""
    found = await console.doors.visitor(request.cookies.get(COOKIE, ""))
    if found is None:
        raise Stop(
            "access.signed_out", asked="use the console", answered="nobody is signed in here", hint="Sign in first."
        )
    return found


def redirect_uri_of(console: Console, request: Request) -> str:
    """Where an instance sends a browser back to, as it has to be written into the instance's Application Registry."""
    return f"{console.public_url or f'http://{request.url.netloc}'}{CALLBACK}"


def set_cookie(console: Console, request: Request, response: Response, cookie: str) -> None:
    """`lax`, because an instance sends the browser back here; what changes anything asks for a form token besides."""
    public = urlsplit(console.public_url)
    secure = public.scheme == "https" and _host(request) == public.hostname
    response.set_cookie(COOKIE, cookie, httponly=True, samesite="lax", secure=secure, path="/")


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a posted form; of a field given twice the last counts. Raises Stop `access.unreadable`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise unreadable(f"{kind or 'no type'} is no form")
    try:
        pairs = parse_qsl((await body_of(request)).decode(), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise unreadable("it is no form in UTF-8") from None
    return dict(pairs)


async def body_of(request: Request) -> bytes:
    """Raises Stop `access.unreadable` for one that is too long; no more than that is read."""
    parts = bytearray()
    try:
        async for part in request.stream():
            parts += part
            if len(parts) > MOST_BYTES:
                raise unreadable(f"it has more than {MOST_BYTES:,} bytes")
    except ClientDisconnect:
        raise unreadable("it broke off") from None
    return bytes(parts)


def as_json(value: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    body = msgspec.json.encode(value, enc_hook=plain)
    return Response(body, status, headers=headers, media_type="application/json")


def error_as_json(error: NowbridgeError) -> Response:
    answer = as_json({"error": described(error)}, status_of(error))
    after = getattr(error, "after", None)
    if after is not None:
        answer.headers["Retry-After"] = str(int(after) + 1)
    return answer


def _host(request: Request) -> str | None:
    """Without its port; None where the header is none."""
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:
        return None


def unreadable(why: str) -> Stop:
    return Stop(
        "access.unreadable",
        asked="read what was sent",
        answered=why,
        hint="Pages send forms; the HTTP API takes application/json (docs/console.md).",
    )
