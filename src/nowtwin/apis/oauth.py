"""The OAuth token endpoint (servicenow-api.md 7.1): password, refresh, client credentials, authorization code and JWT
bearer grants, and revocation. The page that hands out authorization codes is `web.authorize`.

Form-encoded only. Almost every failure is the same 401, so that clients cannot read the cause out of it.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final
from urllib.parse import unquote_plus

from nowtwin.accounts import jwt_bearer
from nowtwin.accounts.registry import Application
from nowtwin.accounts.users import Token
from nowtwin.http.messages import Answer, Request, json_answer, query_pairs
from nowtwin.instance import Instance
from nowtwin.permission.auth_scopes import scopes_of

Form = Mapping[str, str]
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_WITHOUT_REFRESH: Final = frozenset({"client_credentials", JWT_BEARER})


def issue_token(instance: Instance, request: Request) -> Answer:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method != "POST" or content_type != "application/x-www-form-urlencoded":
        return _denied()
    form = dict(query_pairs(request.body.decode("utf-8", "replace")))
    if instance.property("glide.oauth.allow.parameters.in.post.body.only") == "false":
        form = {**dict(request.query), **form}
    now = instance.clock.now()
    grant_type = form.get("grant_type", "")
    application = _application(instance, request, form)
    grant = _GRANTS.get(grant_type)
    if application is None or grant is None or not application.allows(grant_type):
        return _denied()
    token = grant(instance, application, form, now)
    if token is None or instance.user(token.user_name) is None:
        if instance.switches.oauth_invalid_grant:
            return json_answer(400, {"error": "invalid_grant", "error_description": "access_denied"})
        return _denied()
    scopes = " ".join(scopes_of(instance, token.client_id).values())
    granted = {"access_token": token.access, "scope": scopes or "useraccount", "token_type": "Bearer"}
    if grant_type not in _WITHOUT_REFRESH and not application.public:
        granted["refresh_token"] = token.refresh
    return json_answer(200, {**granted, "expires_in": int((token.access_ends - now).total_seconds())})


def revoke_token(instance: Instance, request: Request) -> Answer:
    """Access or refresh token; needs no authentication."""
    secret = request.param("token") or dict(query_pairs(request.body.decode("utf-8", "replace"))).get("token", "")
    instance.accounts.revoke(secret)
    return Answer(200, b"", content_type="text/html;charset=UTF-8")


# -- the client ----------------------------------------------------------------------------------------------------


def _application(instance: Instance, request: Request, form: Form) -> Application | None:
    """The client that asks, proven by its secret; a public client proves itself by PKCE, an assertion by its key."""
    client_id, secret = _client_credentials(request, form)
    application = instance.registry.find(client_id)
    if application is None:
        return None
    grant_type = form.get("grant_type")
    if not secret and (grant_type == JWT_BEARER or (application.public and grant_type == "authorization_code")):
        return application
    return application if application.proves(secret) else None


def _client_credentials(request: Request, form: Form) -> tuple[str, str]:
    """Out of the form, else out of a Basic header, as RFC 6749 2.3.1 has it and PySNC sends it."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if "client_secret" in form or scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        client_id, _, client_secret = base64.b64decode(secret, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote_plus(client_id), unquote_plus(client_secret)


# -- grants --------------------------------------------------------------------------------------------------------


def _password(instance: Instance, application: Application, form: Form, now: datetime) -> Token | None:
    if instance.property("glide.oauth.inbound.ropc.grant_type.disabled") == "true":
        return None
    user_name = form.get("username", "")
    if instance.user(user_name) is None or not instance.accounts.verify(user_name, form.get("password", "")):
        return None
    return instance.accounts.grant(application.client, user_name, now)


def _client_credential(instance: Instance, application: Application, _form: Form, now: datetime) -> Token | None:
    enabled = instance.property("glide.oauth.inbound.client.credential.grant_type.enabled") == "true"
    user_name = application.client.user_name
    return instance.accounts.grant(application.client, user_name, now) if enabled and user_name else None


def _refresh(instance: Instance, application: Application, form: Form, now: datetime) -> Token | None:
    rotate = instance.switches.refresh_token_rotates
    return instance.accounts.renew(application.client, form.get("refresh_token", ""), now, rotate=rotate)


def _code(instance: Instance, application: Application, form: Form, now: datetime) -> Token | None:
    """A code of the consent page, for the address it was made for, with the PKCE verifier where one was announced."""
    code = instance.accounts.redeem(form.get("code", ""), now)
    if code is None or code.client_id != application.client.client_id:
        return None
    if code.redirect_uri != form.get("redirect_uri", ""):
        return None
    if (code.challenge or application.public) and not _is_answer(
        code.challenge, code.method, form.get("code_verifier", "")
    ):
        return None
    return instance.accounts.grant(application.client, code.user_name, now)


def _is_answer(challenge: str, method: str, verifier: str) -> bool:
    if not challenge or not verifier:
        return False
    if method != "plain":
        digest = hashlib.sha256(verifier.encode()).digest()
        verifier = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return hmac.compare_digest(challenge.encode(), verifier.encode())


def _jwt(instance: Instance, application: Application, form: Form, now: datetime) -> Token | None:
    assertion = jwt_bearer.read(form.get("assertion", ""))
    if assertion is None:
        return None
    endpoint = f"{instance.url}/oauth_token.do"
    user_name = instance.verifier.user_of(application, assertion, now, endpoint)
    user = instance.user(user_name) if user_name else None
    if user is None or (user.admin and instance.switches.jwt_bearer_refuses_admin):
        return None
    return instance.accounts.grant(application.client, user.user_name, now)


_GRANTS: Final[Mapping[str, Callable[[Instance, Application, Form, datetime], Token | None]]] = {
    "password": _password,
    "refresh_token": _refresh,
    "client_credentials": _client_credential,
    "authorization_code": _code,
    JWT_BEARER: _jwt,
}


def _denied() -> Answer:
    return json_answer(401, {"error": "server_error", "error_description": "access_denied"})
