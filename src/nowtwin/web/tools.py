"""What `now-sdk` asks of an instance besides the APIs: a log-in that tools use, the upload of an application, its removal.

| path | what |
| --- | --- |
| `/angular.do?sysparm_type=view_form.login` | log-in by a form, answered in JSON |
| `/angular.do?sysparm_type=get_user` | without the session's token 401, with the token in `X-UserToken-Response` |
| `/sn_appclient_upload_processor.do` | multipart upload of the zip of `now-sdk pack`; answers with a tracker |
| `/xmlhttp.do` | `AppsAjaxProcessor`: changes the current application, deletes one |

Evidence: the code of @servicenow/sdk 4.9.0 (sdk-cli UISession, sdk-api Connector), which the tests run against this.
"""

import hmac
from collections.abc import Callable
from xml.sax.saxutils import quoteattr

from nowtwin import errors
from nowtwin.apis.progress import FAILED, SUCCESSFUL, TABLE
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request, json_answer, refusal
from nowtwin.http.multipart import parts_of
from nowtwin.instance import Instance
from nowtwin.web.sign_in import session_cookie
from nowtwin.web.visitor import Visitor, form_of

PATHS = frozenset({"/angular.do", "/sn_appclient_upload_processor.do", "/xmlhttp.do"})
_DELETE = frozenset({"deleteApplication", "uninstallApplication"})


def answer(instance: Instance, request: Request, visitor: Visitor) -> Answer:
    """JSON or XML, refusals included."""
    try:
        return _answer(instance, request, visitor)
    except Refused as refused:
        return refusal(refused)


def _answer(instance: Instance, request: Request, visitor: Visitor) -> Answer:
    if request.method != "POST":
        raise Refused(405, "Method not supported", f"{request.method} is not supported here")
    if request.path == "/angular.do":
        return _angular(instance, request, visitor)
    if visitor.user is None:
        raise errors.not_authenticated()
    if not visitor.user.admin:
        raise Refused(401, "User Not Authorized", "Applications are installed and deleted by admins")
    if request.path == "/xmlhttp.do":
        return _processor(instance, request, visitor)
    return _upload(instance, request, visitor)


def _angular(instance: Instance, request: Request, visitor: Visitor) -> Answer:
    if request.param("sysparm_type") == "view_form.login":
        form = form_of(request)
        name = form.get("user_name", "")
        known = instance.accounts.verify(name, form.get("user_password", ""))
        user = instance.user(name) if known else None
        if user is None:
            return json_answer(200, {"status": "error", "message": "User name or password invalid"})
        cookie = session_cookie(instance.accounts.open_session(user.user_name))
        return json_answer(200, {"status": "success", "message": "Login Success"}, headers=cookie)
    if visitor.user is None:
        raise errors.not_authenticated()
    if not _proven(request, visitor, ""):
        refused = refusal(Refused(401, "User Not Authenticated", "The session's token is missing"))
        return Answer(401, refused.body, (("X-UserToken-Response", visitor.token),))
    user = visitor.user
    return json_answer(200, {"sys_id": user.sys_id, "user_name": user.user_name, "name": user.name})


def _proven(request: Request, visitor: Visitor, token: str) -> bool:
    """A request of a session needs its token, in the form or in X-UserToken; a bearer token is proof in itself."""
    if request.headers.get("authorization", "").lower().startswith("bearer "):
        return True
    given = token or request.headers.get("x-usertoken", "")
    return hmac.compare_digest(given.encode(), visitor.token.encode())


def _require_proof(request: Request, visitor: Visitor, token: str) -> None:
    if not _proven(request, visitor, token):
        raise Refused(403, "Form refused", "Its token (sysparm_ck) is not of your session.")


def _upload(instance: Instance, request: Request, visitor: Visitor) -> Answer:
    """Installs the uploaded package at once; a refusal is a failed tracker, as the tool expects."""
    parts = parts_of(request.headers.get("content-type", ""), request.body)
    fields = {part.name: part.content for part in parts}
    _require_proof(request, visitor, fields.get("sysparm_ck", b"").decode("utf-8", "replace"))
    package = fields.get("attachFile")
    if package is None:
        raise Refused(400, "No application", "The part attachFile is missing")
    scope = request.param("sysparm_fluent_scope_name")
    tracker = _tracked(instance, f"Install {scope}".strip(), lambda: _installed(instance, package))
    context = instance.records.new_id()
    instance.load("sys_rollback_context", [{"sys_id": context, "name": f"Install {scope}", "state": "recorded"}])
    return json_answer(200, {"executionTracker": tracker, "rollbackContext": context})


def _installed(instance: Instance, package: bytes) -> str:
    installed = instance.install_app(package)
    stamp = instance.clock.stamp()
    history = {"to_version": installed.scope, "upgrade_started": stamp, "upgrade_finished": stamp}
    instance.load("sys_upgrade_history", [history])
    return f"Installed {installed.name} {installed.version}".strip()


def _processor(instance: Instance, request: Request, visitor: Visitor) -> Answer:
    form = form_of(request)
    _require_proof(request, visitor, form.get("sysparm_ck", ""))
    if not form.get("sysparm_processor", "").endswith("AppsAjaxProcessor"):
        raise Refused(400, "Unknown processor", form.get("sysparm_processor"))
    given = ""
    if form.get("sysparm_function") in _DELETE:
        application = form.get("sysparm_sys_id", "")
        given = _tracked(instance, "Delete application", lambda: _deleted(instance, application))
    return Answer(200, f"<xml answer={quoteattr(given)}/>".encode(), content_type="text/xml;charset=UTF-8")


def _deleted(instance: Instance, application: str) -> str:
    return f"Deleted the application and {instance.uninstall_app(application)} records"


def _tracked(instance: Instance, name: str, work: Callable[[], str]) -> str:
    """The sys_id of a tracker that says how the work went."""
    started = instance.clock.stamp()
    try:
        state, message = SUCCESSFUL, work()
    except ValueError as error:
        state, message = FAILED, str(error)
    row = {"sys_id": instance.records.new_id(), "name": name, "state": state, "message": message}
    row |= {"percent_complete": "100", "start_time": started, "completion_time": instance.clock.stamp()}
    instance.load(TABLE, [row])
    return row["sys_id"]
