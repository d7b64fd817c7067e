"""Which page answers which path, and what a visitor who is not signed in sees: the log-in page.

| path | page |
| --- | --- |
| `/`, `/navpage.do`, `/home.do`, `/now/nav/ui/home` | start: tables and modules, search |
| `/<table>_list.do`, `/<table>.do` | list and form |
| `/nav_to.do?uri=`, `/now/nav/ui/classic/params/target/` | redirect to a list or a form |
| `/login.do`, `/logout.do` | session |
| `/sys_attachment.do?sys_id=` | a file |
| `/<table>_list.do?CSV`, `?XML`, `/<table>.do?JSONv2` | the list as a file (`exports`) |
| `/oauth_auth.do` | consent for an OAuth client |
| `/angular.do`, `/xmlhttp.do`, `/sn_appclient_upload_processor.do` | for now-sdk (`tools`) |
"""

import re
from functools import cache
from importlib.resources import files
from urllib.parse import urlencode

from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request
from nowtwin.instance import Instance
from nowtwin.permission.sign_in import authenticate, cookie
from nowtwin.web import authorize, exports, sign_in, tools
from nowtwin.web.files import send_file
from nowtwin.web.forms import show_form, take_form
from nowtwin.web.frame import STYLE, failure, redirect
from nowtwin.web.lists import show_list
from nowtwin.web.own_paths import own_path
from nowtwin.web.start import show_start
from nowtwin.web.visitor import Visitor

_START = frozenset({"/", "/navpage.do", "/home.do", "/welcome.do", "/now/nav/ui/home"})
_CLASSIC = "/now/nav/ui/classic/params/target/"
_NOT_HERE = "oauth_token|oauth_revoke_token|stats"
_LIST = re.compile(r"/(?P<table>[A-Za-z0-9_$]+)_list\.do")
PATHS = re.compile(
    rf"/|/now/nav/ui/home|{re.escape(_CLASSIC)}.*|{re.escape(STYLE)}|/favicon\.ico"
    rf"|/(?!(?:{_NOT_HERE})\.do)[A-Za-z0-9_$]+\.do",
    re.DOTALL,
)


def answer(instance: Instance, request: Request) -> Answer:
    """The page of a path that `PATHS` matches; a refusal is a page too."""
    visitor = _visitor(instance, request)
    if request.path in tools.PATHS:
        return tools.answer(instance, request, visitor)
    try:
        return _open(instance, request, visitor) or _closed(instance, request, visitor)
    except Refused as refused:
        return failure(refused, visitor.user)


def _visitor(instance: Instance, request: Request) -> Visitor:
    """Who asks, by session cookie or by the ways of the APIs; without a live session of his own he gets one."""
    try:
        user = authenticate(instance, request)
    except Refused:
        return Visitor(None)
    session = cookie(request, "JSESSIONID")
    if instance.accounts.session_user(session) == user.user_name:
        return Visitor(user, session)
    return Visitor(user, instance.accounts.open_session(user.user_name), fresh=True)


def _open(instance: Instance, request: Request, visitor: Visitor) -> Answer | None:
    """Pages for everyone."""
    if request.path == STYLE:
        return Answer(200, _style(), content_type="text/css;charset=UTF-8")
    if request.path == "/favicon.ico":
        return Answer(204, content_type=None)
    if request.path == sign_in.PATH:
        return sign_in.log_in(instance, request) if request.method == "POST" else sign_in.show_log_in(request)
    if request.path == "/logout.do":
        return sign_in.log_out(instance, visitor)
    return None


def _closed(instance: Instance, request: Request, visitor: Visitor) -> Answer:
    """Pages for users; a session that is new is made known."""
    if visitor.user is None:
        return sign_in.to_log_in(instance, request)
    done = _page(instance, request.signed_in(visitor.user), visitor)
    if not visitor.fresh:
        return done
    return Answer(
        done.status,
        done.body,
        (*done.headers, *sign_in.session_cookie(visitor.session)),
        content_type=done.content_type,
        rows=done.rows,
    )


def _page(instance: Instance, request: Request, visitor: Visitor) -> Answer:
    path = request.path
    if path in _START:
        return show_start(instance, request)
    if path == "/nav_to.do" or path.startswith(_CLASSIC):
        return redirect(own_path(_target(request)) or "/")
    if path == "/sys_attachment.do" and request.method in {"GET", "HEAD"} and request.param("sys_id") not in {"", "-1"}:
        return send_file(instance, request)
    if kind := exports.format_of(request):
        return exports.send_export(instance, request, kind)
    if found := _LIST.fullmatch(path):
        return show_list(instance, request, found["table"])
    take = authorize.authorize if path == authorize.PATH else _form
    return take(instance, request, visitor)


def _form(instance: Instance, request: Request, visitor: Visitor) -> Answer:
    table = request.path.strip("/").removesuffix(".do")
    if request.method == "POST":
        return take_form(instance, request, visitor, table)
    return show_form(instance, request, visitor, table)


def _target(request: Request) -> str:
    """What follows the prefix; a target whose `?` was not encoded comes apart into path and parameters."""
    if request.path == "/nav_to.do":
        return request.param("uri")
    target = request.path.removeprefix(_CLASSIC)
    return f"{target}?{urlencode(request.query)}" if request.query and "?" not in target else target


@cache
def _style() -> bytes:
    return (files("nowtwin.web") / "style.css").read_bytes()
