"""The JSON resources below /api/v1: the same functions as the console's pages, and so the same roles.

| | |
|---|---|
| `POST /session` | `{name, password}`: sign in; the answer sets a cookie and has the form token |
| `GET /session`, `DELETE /session` | who is signed in; sign out |
| `GET /status` | what `nowbridge status --json` prints |
| `GET /connections`, `GET /connections/NAME` | connections, without secrets |
| `POST /connections`, `PUT /connections/NAME` | make one, change one; 422 with the trial when it was not stored |
| `POST /connections/NAME/test` | try every right |

What changes anything asks for the header `X-Form-Token`. Errors are `{"error": {code, asked, answered, hint}}`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nowbridge.api import connections, standing
from nowbridge.api.access import Visitor, refuse_unless_may_configure
from nowbridge.api.connections import Form
from nowbridge.api.console import Console
from nowbridge.api.door import (
    COOKIE,
    as_json,
    body_of,
    error_as_json,
    refuse_foreign_host,
    set_cookie,
    unreadable,
    visitor_of,
)
from nowbridge.model.errors import NowbridgeError

TOKEN_HEADER: Final = "X-Form-Token"  # noqa: S105 - the name of a header
_SAFE: Final = frozenset({"GET", "HEAD"})
Answer = Callable[[Console, Request, Visitor], Awaitable[Response]]
T = TypeVar("T")


class _Account(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    password: str


def routes(console: Console) -> list[Route]:
    def route(path: str, **answers: Answer) -> Route:
        async def answer(request: Request) -> Response:
            try:
                refuse_foreign_host(console, request)
                visitor = await visitor_of(console, request)
                if request.method not in _SAFE:
                    console.doors.refuse_foreign_form(
                        request.cookies.get(COOKIE, ""), request.headers.get(TOKEN_HEADER, "")
                    )
                return await answers[request.method if request.method != "HEAD" else "GET"](console, request, visitor)
            except NowbridgeError as error:
                return error_as_json(error)

        return Route(f"/api/v1{path}", answer, methods=list(answers))

    async def sign_in(request: Request) -> Response:
        try:
            refuse_foreign_host(console, request)
            account = await _read(request, _Account)
            cookie = await console.doors.sign_in(account.name, account.password)
            visitor = await console.doors.visitor(cookie)
        except NowbridgeError as error:
            return error_as_json(error)
        assert visitor is not None
        answer = as_json(_who(visitor))
        set_cookie(console, request, answer, cookie)
        return answer

    return [
        Route("/api/v1/session", sign_in, methods=["POST"]),
        route("/session", GET=_session, DELETE=_sign_out),
        route("/status", GET=_status),
        route("/connections", GET=_connections, POST=_make),
        route("/connections/{name}", GET=_connection, PUT=_change),
        route("/connections/{name}/test", POST=_test),
    ]


def _who(visitor: Visitor) -> dict[str, str]:
    return {"name": visitor.name, "role": visitor.role.value, "form_token": visitor.form_token}


async def _session(_: Console, __: Request, visitor: Visitor) -> Response:
    return as_json(_who(visitor))


async def _sign_out(console: Console, _: Request, visitor: Visitor) -> Response:
    await console.doors.sign_out(visitor)
    answer = Response(status_code=HTTPStatus.NO_CONTENT)
    answer.delete_cookie(COOKIE)
    return answer


async def _status(console: Console, _: Request, visitor: Visitor) -> Response:
    del visitor  # every account may see it
    now = await standing.read_standing(console.database, at=console.clock(), seen_within=console.seen_within)
    return as_json(standing.as_json(now))


async def _connections(console: Console, _: Request, visitor: Visitor) -> Response:
    return as_json({"connections": await connections.list_connections(console, visitor)})


async def _connection(console: Console, request: Request, visitor: Visitor) -> Response:
    return as_json(await connections.show_connection(console, visitor, request.path_params["name"]))


async def _make(console: Console, request: Request, visitor: Visitor) -> Response:
    return await _save(console, request, visitor, None)


async def _change(console: Console, request: Request, visitor: Visitor) -> Response:
    return await _save(console, request, visitor, request.path_params["name"])


async def _save(console: Console, request: Request, visitor: Visitor, name: str | None) -> Response:
    refuse_unless_may_configure(visitor, "change a connection")
    name, trial = await connections.save_connection(console, visitor, name, await _read(request, Form))
    status = HTTPStatus.OK if trial.saved else HTTPStatus.UNPROCESSABLE_ENTITY
    return as_json({"name": name, "trial": trial}, status)


async def _test(console: Console, request: Request, visitor: Visitor) -> Response:
    return as_json({"trial": await connections.try_connection(console, visitor, request.path_params["name"])})


async def _read(request: Request, form: type[T]) -> T:
    """The body as JSON. Only that type is taken: no form of another site can send it. Raises Stop `access.unreadable`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise unreadable(f"{kind or 'no type'} is not application/json")
    try:
        return msgspec.json.decode(await body_of(request), type=form)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise unreadable(_place(error)) from None


def _place(error: Exception) -> str:
    """What is wrong and where; the library's words hold no values of fields."""
    return str(error) if isinstance(error, msgspec.ValidationError) else "it is no JSON"
