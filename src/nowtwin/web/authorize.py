"""The consent page of the OAuth authorization endpoint, `/oauth_auth.do` (D:c_OAuthAuthorizationCodeFlow.md,
authorization-workflow.md; servicenow-api.md 7.1): a signed-in user allows or denies, and goes back to the client.

A request that names no client, or an address that the client did not register, gets a page and no redirect. A public
client must send a PKCE challenge. `state` is required unless the property `glide.oauth.state.parameter.required` is false.
"""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Final
from urllib.parse import urlencode

from nowtwin.accounts.registry import Application
from nowtwin.accounts.users import Code
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request
from nowtwin.instance import Instance
from nowtwin.permission.sign_in import may_use_pages
from nowtwin.web.frame import page, redirect
from nowtwin.web.markup import tag
from nowtwin.web.visitor import Visitor, form_of, refuse_foreign, refuse_unproven

PATH: Final = "/oauth_auth.do"
_LIFETIME: Final = timedelta(seconds=60)
"""How long a code may wait for its exchange; no source says."""
_KEPT: Final = (
    "response_type",
    "client_id",
    "redirect_uri",
    "state",
    "scope",
    "code_challenge",
    "code_challenge_method",
)
_METHODS: Final = frozenset({"", "S256", "plain"})


def authorize(instance: Instance, request: Request, visitor: Visitor) -> Answer:
    """Show the question (GET), or take the answer to it (POST). Raises Refused for what cannot be asked."""
    if not may_use_pages(instance, request.caller):
        raise Refused(403, "Log in refused", "This account is for web services only.")
    form = form_of(request) if request.method == "POST" else dict(request.query)
    asked = {name: form.get(name, "") for name in _KEPT}
    application = _application(instance, asked)
    if request.method != "POST":
        return _question(application, asked, visitor)
    refuse_foreign(request)
    refuse_unproven(visitor, form)
    if form.get("sys_action") != "allow":
        return _back(asked, {"error": "access_denied"})
    if asked["response_type"] == "token":
        token = instance.accounts.grant(application.client, request.caller.user_name, instance.clock.now())
        left = int((token.access_ends - instance.clock.now()).total_seconds())
        said = {"access_token": token.access, "token_type": "Bearer", "expires_in": str(left)}
        return _back(asked, said, "#")
    code = Code(
        application.client.client_id,
        request.caller.user_name,
        asked["redirect_uri"],
        asked["code_challenge"],
        asked["code_challenge_method"] or "plain",
        instance.clock.now() + _LIFETIME,
    )
    return _back(asked, {"code": instance.accounts.issue_code(code)})


def _application(instance: Instance, asked: dict[str, str]) -> Application:
    """The client, if its request is one that may be asked. Raises Refused 400."""
    application = instance.registry.find(asked["client_id"])
    if application is None:
        raise Refused(400, "Invalid client_id")
    if asked["redirect_uri"] not in application.redirects:
        raise Refused(400, "Invalid redirect_uri")
    if asked["response_type"] not in {"code", "token"} or not application.allows("authorization_code"):
        raise Refused(400, "Unsupported response_type")
    if not asked["state"] and instance.property("glide.oauth.state.parameter.required") != "false":
        raise Refused(400, "Missing State parameter in request")
    if application.public and not asked["code_challenge"]:
        raise Refused(400, "Missing code_challenge", "A public client must use PKCE.")
    if asked["code_challenge_method"] not in _METHODS:
        raise Refused(400, "Unsupported code_challenge_method")
    return application


def _question(application: Application, asked: dict[str, str], visitor: Visitor) -> Answer:
    name = application.columns.get("name") or application.client.client_id
    form = tag(
        "form",
        tag("h1", f"{name} would like to connect to your account"),
        tag("p", "It will be able to do what you can do."),
        *(tag("input", type="hidden", name=key, value=value) for key, value in asked.items()),
        tag("input", type="hidden", name="sysparm_ck", value=visitor.token),
        tag("button", "Allow", name="sys_action", value="allow", class_="button"),
        tag("button", "Deny", name="sys_action", value="deny", class_="button"),
        method="post",
        action=PATH,
        class_="log-in",
    )
    return _leaving_for(page("Authorize", visitor.user, form), asked["redirect_uri"])


def _leaving_for(done: Answer, address: str) -> Answer:
    """Browsers hold `form-action` against the redirect that follows a form, too; so it names the client's address."""
    place = re.match(r"https?://[\w.:-]+", address)
    own = "form-action 'self'"
    allowed = f"{own} {place[0]}" if place else own
    return replace(done, headers=tuple((name, value.replace(own, allowed)) for name, value in done.headers))


def _back(asked: dict[str, str], said: dict[str, str], mark: str = "?") -> Answer:
    """To the client, with `state` as it came."""
    address = asked["redirect_uri"]
    joint = "&" if mark == "?" and "?" in address else mark
    more = {**said, **({"state": asked["state"]} if asked["state"] else {})}
    return redirect(f"{address}{joint}{urlencode(more)}")
