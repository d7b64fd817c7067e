"""Which API answers which path, who is asking, and what a refusal looks like: Request in, Answer out, no server."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from nowtwin import errors, nesting
from nowtwin.accounts.users import User
from nowtwin.apis import (
    attachment,
    batch,
    cmdb_instance,
    cmdb_meta,
    current_user,
    identify_reconcile,
    import_set,
    oauth,
    order_guides,
    progress,
    schema_doc,
    scripted_rest,
    service_catalog,
    session_debug,
    stats,
    table,
    tiny_url,
)
from nowtwin.apis.batch_parts import MULTIPART
from nowtwin.behaviour import nodes
from nowtwin.errors import Refused
from nowtwin.http import xml as xml_format
from nowtwin.http.messages import Answer, Request, refusal
from nowtwin.instance import Instance
from nowtwin.permission.auth_scopes import require_scope
from nowtwin.permission.sign_in import KEY, authenticate, client_of, cookie
from nowtwin.permission.web_services import require_api, require_web_access

Handler = Callable[[Instance, Request, "re.Match[str]"], Answer]
TABLE = re.compile(r"/api/now(?:/(?P<version>v1|v2))?/table/(?P<table>[^/]+)(?:/(?P<sys_id>[^/]+))?/?")
_STATS = re.compile(r"/api/now(?:/v1)?/stats/(?P<table>[^/]+)/?")
_BATCH = re.compile(r"/api/now(?:/v\d)?/batch/?")
_CURRENT_USER = re.compile(r"/api/now(?:/v\d)?/ui/user/current_user")
_VERBS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


def answer(instance: Instance, request: Request) -> Answer:
    """The answer to a request, refusals included. `request.user` is set by the authentication here."""
    request = _overridden(request)
    try:
        if request.path in OPEN:
            return OPEN[request.path](instance, request)
        public = scripted_rest.guest_answer(instance, request)
        if public:
            return xml_format.answered(request, public)
        user = authenticate(instance, request)
        client = client_of(instance, request)
        request = replace(request.signed_in(user), query=_without_secrets(request), client_id=client)
        allowance = instance.rate_limits.take(user, request)
        if allowance:
            allowance.require()
        done = dispatch(instance, request)
        instance.scripts.schedules.run_due()  # what was written may be due, or has to be planned
        if allowance:
            done = replace(done, headers=(*allowance.headers, *done.headers))
        return _with_session(instance, request, user, done)
    except Refused as refused:
        if refused.status == 405 and not instance.switches.refused_methods_explained:  # noqa: PLR2004 - HTTP
            return Answer(405, content_type=None)
        return xml_format.answered(request, refusal(refused))


def dispatch(instance: Instance, request: Request) -> Answer:
    """The answer of the API that the path names, for a signed-in request. Raises Refused."""
    instance.consequences.run_due()
    require_scope(instance, request)
    attached = attachment.PATHS.fullmatch(request.path) is not None
    if len(request.body) > instance.switches.body_limit and not attached:
        raise Refused(
            400,
            "Exception while reading request",
            f"Rejected large REST payload with content-length = {len(request.body)} bytes. "
            f"Max allowed: {instance.switches.body_limit} bytes.",
        )
    if not attached:
        if request.path.startswith("/api/"):
            _refuse_accept(request)
        if nesting.too_deep(request.body):
            raise Refused(400, "Exception while reading request", "The payload is nested too deeply.")
        scripted = scripted_rest.answer(instance, request)
        if scripted:
            return xml_format.answered(request, scripted)
        request = tiny_url.expanded(instance, xml_format.understood(request))
    for pattern, handler in ROUTES:
        if found := pattern.fullmatch(request.path):
            if pattern in _RULED:
                require_api(instance, request.caller, _RULED[pattern])
                require_web_access(instance, found.groupdict().get("table") or "")
            done = handler(instance, request, found)
            if pattern is attachment.BYTES:  # a file goes out as it came in
                return done
            return xml_format.answered(request, session_debug.with_debug_logs(instance, request, done))
    raise Refused(instance.switches.unknown_path_status, errors.no_such_resource().message)


def _item(instance: Instance, request: Request) -> Answer:
    """As `dispatch`, for a request inside a batch, which may have a limit of its own."""
    if instance.switches.batch_items_rate_limited:
        allowance = instance.rate_limits.take(request.caller, request)
        if allowance:
            allowance.require()
    return dispatch(instance, request)


def _without_secrets(request: Request) -> tuple[tuple[str, str], ...]:
    """The query without what only signs in, so that it is no filter."""
    return tuple((name, value) for name, value in request.query if name not in {KEY, "access_token"})


def _overridden(request: Request) -> Request:
    """`X-HTTP-Method-Override` lets a POST stand for another verb (1.1)."""
    wanted = request.headers.get("x-http-method-override", "").upper()
    if request.method == "POST" and wanted in _VERBS:
        return replace(request, method=wanted)
    return request


def _refuse_accept(request: Request) -> None:
    accept = request.headers.get("accept", "*/*")
    kinds = ("*/*", "application/*", "json", "/xml", *((MULTIPART,) if _BATCH.fullmatch(request.path) else ()))
    if not any(kind in accept for kind in kinds):
        raise Refused(406, "Not acceptable", f"Cannot produce any of the accepted content types: {accept}")


# -- sessions ------------------------------------------------------------------------------------------------------


def _with_session(instance: Instance, request: Request, user: User, done: Answer) -> Answer:
    """Session headers; a caller without a live session of its own gets the cookies of a new one."""
    headers = (("X-Is-Logged-In", "true"), *done.headers)
    if instance.accounts.session_user(cookie(request, "JSESSIONID")) != user.user_name:
        session = instance.accounts.open_session(user.user_name)
        headers += (
            ("Set-Cookie", f"JSESSIONID={session}; Path=/; HttpOnly"),
            ("Set-Cookie", f"{nodes.COOKIE}={nodes.route_of(nodes.CURRENT.get())}; Path=/; HttpOnly"),
            ("Set-Cookie", "BIGipServerpool_nowtwin=nowtwin; Path=/; HttpOnly"),
        )
    return replace(done, headers=headers)


# -- the Table API -------------------------------------------------------------------------------------------------


def _table(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    name, sys_id, version = found["table"], found["sys_id"], found["version"] or ""
    method = "GET" if request.method == "HEAD" else request.method
    if sys_id is None:
        if method == "GET":
            return table.list_records(instance, request, name, version)
        if method == "POST":
            return table.insert_record(instance, request, name)
    elif method == "GET":
        return table.read_record(instance, request, name, sys_id)
    elif method in {"PUT", "PATCH"}:
        return table.update_record(instance, request, name, sys_id)
    elif method == "DELETE":
        return table.delete_record(instance, request, name, sys_id)
    raise Refused(405, "Method not supported", f"{request.method} is not supported here")


def _stats(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    if request.method not in {"GET", "HEAD"}:
        raise Refused(405, "Method not supported", f"{request.method} is not supported here")
    return stats.read_stats(instance, request, found["table"])


def _batch(instance: Instance, request: Request, _found: "re.Match[str]") -> Answer:
    if request.method != "POST":
        raise Refused(405, "Method not supported", f"{request.method} is not supported here")
    return batch.run_batch(instance, request, _item)


def _current_user(instance: Instance, request: Request, _found: "re.Match[str]") -> Answer:
    return current_user.read_current_user(instance, request)


OPEN: Mapping[str, Callable[[Instance, Request], Answer]] = {
    "/oauth_token.do": oauth.issue_token,
    "/oauth_revoke_token.do": oauth.revoke_token,
}
"""What is answered before anyone has signed in."""
ROUTES: tuple[tuple["re.Pattern[str]", Handler], ...] = (
    (TABLE, _table),
    (_STATS, _stats),
    (_BATCH, _batch),
    (_CURRENT_USER, _current_user),
    *current_user.ROUTES,
    *attachment.ROUTES,
    *cmdb_instance.ROUTES,
    *cmdb_meta.ROUTES,
    *identify_reconcile.ROUTES,
    *import_set.ROUTES,
    *order_guides.ROUTES,
    *schema_doc.ROUTES,
    *service_catalog.ROUTES,
    *progress.ROUTES,
    *session_debug.ROUTES,
    *tiny_url.ROUTES,
)
_RULED: Mapping["re.Pattern[str]", str] = {
    TABLE: "Table API",
    _STATS: "Aggregate API",
    **dict.fromkeys((pattern for pattern, _ in import_set.ROUTES), "Import Set API"),
    **dict.fromkeys((pattern for pattern, _ in attachment.ROUTES), "Attachment API"),
}
"""APIs with an access rule of their own that may be made active."""
