"""Which page answers which path.

| path | what it is | who may |
|---|---|---|
| `/` | how everything stands | every account |
| `/connections`, `/connections/NAME` | connections; the tab Integration credentials | every account; changes: super_admin |
| `/connections/new` | a new one | super_admin |
| `/auth/servicenow/callback` | where an instance sends the browser back to | super_admin who began |
| `/sign-in`, `/sign-out` | | anybody |
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib import resources
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nowbridge.api import connections, standing
from nowbridge.api.access import Visitor, refuse_unless_may_configure
from nowbridge.api.connections import ConnectionView, Form, Trial
from nowbridge.api.console import CALLBACK, Console
from nowbridge.api.door import (
    COOKIE,
    form_of,
    redirect_uri_of,
    refuse_foreign_host,
    set_cookie,
    status_of,
    visitor_of,
)
from nowbridge.model.errors import NowbridgeError
from nowbridge.web.credentials import (
    Outcome,
    Surroundings,
    connection_page,
    connections_page,
    leaving_page,
    new_page,
    typed_form,
)
from nowbridge.web.frame import FORM_TOKEN, GUARDS, STYLE, Message, error_message, page, see
from nowbridge.web.markup import link, path_of, tag
from nowbridge.web.overview import overview_page
from nowbridge.web.sign_in import sign_in_page

Fields = dict[str, str]
Page = Callable[[Console, Request, Visitor, Fields], Awaitable[Response]]
_ASK: Final = frozenset({"access.signed_out", "access.refused", "access.throttled"})
_DONE: Final = {
    "saved": Message("done", "Saved. The test went well, and workers take it up."),
    "forced": Message("error", "Saved although the test failed. Nothing works until what is missing is there."),
    "allowed": Message("done", "ServiceNow allowed it, and the connection is saved."),
    "tested": Message("info", "Tested just now."),
}


def routes(console: Console) -> list[Route]:
    def route(path: str, **pages: Page) -> Route:
        async def answer(request: Request) -> Response:
            visitor: Visitor | None = None
            try:
                refuse_foreign_host(console, request)
                visitor = await visitor_of(console, request)
                fields: Fields = {}
                if request.method == "POST":
                    fields = await form_of(request)
                    console.doors.refuse_foreign_form(request.cookies.get(COOKIE, ""), fields.get(FORM_TOKEN, ""))
                return await pages["POST" if request.method == "POST" else "GET"](console, request, visitor, fields)
            except NowbridgeError as error:
                return _asked_or_told(console, request, visitor, error)

        return Route(path, answer, methods=list(pages))

    async def sign_in(request: Request) -> Response:
        return await _sign_in(console, request)

    return [
        Route("/sign-in", sign_in, methods=["GET", "POST"]),
        Route(STYLE, _style, methods=["GET"]),
        route("/sign-out", POST=_sign_out),
        route("/", GET=_overview),
        route("/connections", GET=_connections),
        route("/connections/new", GET=_new, POST=_make),
        route("/connections/new/consent", POST=_begin_new),
        route("/connections/{name}", GET=_connection, POST=_change),
        route("/connections/{name}/consent", POST=_begin),
        route("/connections/{name}/test", POST=_test),
        route(CALLBACK, GET=_back),
    ]


async def _style(_: Request) -> Response:
    text = resources.files("nowbridge.web").joinpath("console.css").read_text(encoding="utf-8")
    headers = GUARDS | {"Cache-Control": "public, max-age=3600"}
    return Response(text, media_type="text/css; charset=utf-8", headers=headers)


async def _sign_in(console: Console, request: Request) -> Response:
    """A form without a token of this browser is not even looked at."""
    name = ""
    try:
        refuse_foreign_host(console, request)
        if request.method != "POST":
            return _ask(console, request, None)
        fields = await form_of(request)
        name = fields.get("name", "")
        console.doors.refuse_foreign_form(request.cookies.get(COOKIE, ""), fields.get(FORM_TOKEN, ""))
        cookie = await console.doors.sign_in(name, fields.get("password", ""))
    except NowbridgeError as error:
        return _asked_or_told(console, request, None, error, name)
    answer = see("/")
    set_cookie(console, request, answer, cookie)
    return answer


def _asked_or_told(
    console: Console, request: Request, visitor: Visitor | None, error: NowbridgeError, name: str = ""
) -> Response:
    """Whoever may sign in is asked to; other errors are told."""
    if error.code not in _ASK:
        return _error_page(visitor, error)
    return _ask(console, request, error, name)


def _ask(console: Console, request: Request, error: NowbridgeError | None, name: str = "") -> Response:
    """The form to sign in with, tied to this browser before anybody is signed in."""
    cookie = request.cookies.get(COOKIE, "")
    fresh = not console.doors.is_ours(cookie)
    if fresh:
        cookie = console.doors.new_cookie()
    first = error is None or (error.code == "access.signed_out" and request.url.path != CALLBACK)
    messages = [] if first or error is None else [error_message(error)]
    status = HTTPStatus.OK if error is None else status_of(error)
    answer = sign_in_page(console.doors.form_token(cookie), name, messages, status)
    if fresh:
        set_cookie(console, request, answer, cookie)
    return answer


def _error_page(visitor: Visitor | None, error: NowbridgeError) -> Response:
    title = "Not allowed" if error.code == "access.role" else "That did not work"
    back = tag("p", link("Back to the overview", "/"))
    return page(title, visitor, back, messages=[error_message(error)], status=status_of(error))


async def _sign_out(console: Console, _: Request, visitor: Visitor, __: Fields) -> Response:
    await console.doors.sign_out(visitor)
    answer = see("/sign-in")
    answer.delete_cookie(COOKIE)
    return answer


async def _overview(console: Console, _: Request, visitor: Visitor, __: Fields) -> Response:
    now = await standing.read_standing(console.database, at=console.clock(), seen_within=console.seen_within)
    return overview_page(visitor, now)


async def _connections(console: Console, _: Request, visitor: Visitor, __: Fields) -> Response:
    return connections_page(visitor, await connections.list_connections(console, visitor))


async def _around_new(console: Console, request: Request) -> Surroundings:
    caller = await connections.caller_of_new(console)
    return Surroundings(
        redirect_uri_of(console, request), caller.address, caller.words, connections.proxy_host(console)
    )


def _around(console: Console, request: Request, view: ConnectionView) -> Surroundings:
    return Surroundings(redirect_uri_of(console, request), view.caller_ip, view.caller_words, view.shared_proxy)


async def _new(console: Console, request: Request, visitor: Visitor, _: Fields) -> Response:
    refuse_unless_may_configure(visitor, "connect an instance")
    return new_page(visitor, await _around_new(console, request))


async def _make(console: Console, request: Request, visitor: Visitor, fields: Fields) -> Response:
    refuse_unless_may_configure(visitor, "connect an instance")
    typed = typed_form(fields)
    try:
        name, trial = await connections.save_connection(console, visitor, None, typed)
    except NowbridgeError as error:
        return new_page(visitor, await _around_new(console, request), _refused(error, typed))
    if not trial.saved:
        return new_page(visitor, await _around_new(console, request), _failed(typed, trial))
    return see(f"{path_of('connections', name)}?done={'saved' if trial.ok else 'forced'}")


async def _connection(console: Console, request: Request, visitor: Visitor, _: Fields) -> Response:
    view = await connections.show_connection(console, visitor, request.path_params["name"])
    done = _DONE.get(request.query_params.get("done", ""))
    return connection_page(visitor, view, _around(console, request, view), Outcome(messages=(done,) if done else ()))


async def _change(console: Console, request: Request, visitor: Visitor, fields: Fields) -> Response:
    refuse_unless_may_configure(visitor, "change a connection")
    name, typed = request.path_params["name"], typed_form(fields)
    view = await connections.show_connection(console, visitor, name)
    around = _around(console, request, view)
    try:
        _, trial = await connections.save_connection(console, visitor, name, typed)
    except NowbridgeError as error:
        return connection_page(visitor, view, around, _refused(error, typed))
    if not trial.saved:
        return connection_page(visitor, view, around, _failed(typed, trial))
    return see(f"{path_of('connections', name)}?done={'saved' if trial.ok else 'forced'}")


def _refused(error: NowbridgeError, typed: Form) -> Outcome:
    return Outcome(typed, None, (error_message(error),), status_of(error))


def _failed(typed: Form, trial: Trial) -> Outcome:
    words = "Not saved: the test failed. Mend what it names and type the secrets again, or save it anyway."
    return Outcome(typed, trial, (Message("error", words),), HTTPStatus.UNPROCESSABLE_ENTITY)


async def _begin_new(console: Console, request: Request, visitor: Visitor, fields: Fields) -> Response:
    return await _consent(console, request, visitor, fields, None)


async def _begin(console: Console, request: Request, visitor: Visitor, fields: Fields) -> Response:
    return await _consent(console, request, visitor, fields, request.path_params["name"])


async def _consent(console: Console, request: Request, visitor: Visitor, fields: Fields, name: str | None) -> Response:
    redirect_uri = redirect_uri_of(console, request)
    address = await connections.begin_consent(console, visitor, name, typed_form(fields), redirect_uri)
    return leaving_page(visitor, address)


async def _test(console: Console, request: Request, visitor: Visitor, _: Fields) -> Response:
    name = request.path_params["name"]
    await connections.try_connection(console, visitor, name)
    return see(f"{path_of('connections', name)}?done=tested#test")


async def _back(console: Console, request: Request, visitor: Visitor, _: Fields) -> Response:
    """An instance that denies sends `error` in place of a code; its words are not repeated here."""
    state, code = request.query_params.get("state", ""), request.query_params.get("code", "")
    name = await connections.end_consent(console, visitor, state, code)
    return see(f"{path_of('connections', name)}?done=allowed")
