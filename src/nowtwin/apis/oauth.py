"""The OAuth token endpoint (servicenow-api.md 7.1): password, refresh and client credentials grants, revocation.

Form-encoded only. Almost every failure is the same 401, so that clients cannot read the cause out of it.
"""

import base64
import binascii
from datetime import datetime
from urllib.parse import unquote_plus

from nowtwin.http import Answer, Request, json_answer, query_pairs
from nowtwin.instance import Instance
from nowtwin.users import Client, Token


def issue_token(instance: Instance, request: Request) -> Answer:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method != "POST" or content_type != "application/x-www-form-urlencoded":
        return _denied()
    form = dict(query_pairs(request.body.decode("utf-8", "replace")))
    now = instance.clock.now()
    client = instance.accounts.client(*_client_credentials(request, form))
    if client is None:
        return _denied()
    token = _granted(instance, form, client, now)
    if token is None or instance.user(token.user_name) is None:
        return _denied()
    granted = {"access_token": token.access, "scope": "useraccount", "token_type": "Bearer"}
    if form.get("grant_type") != "client_credentials":  # that grant has no refresh token
        granted["refresh_token"] = token.refresh
    return json_answer(200, {**granted, "expires_in": int((token.access_ends - now).total_seconds())})


def _client_credentials(request: Request, form: dict[str, str]) -> tuple[str, str]:
    """Out of the form, else out of a Basic header, as RFC 6749 2.3.1 has it and PySNC sends it."""
    if "client_secret" in form:
        return form.get("client_id", ""), form["client_secret"]
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        client_id, _, client_secret = base64.b64decode(secret, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote_plus(client_id), unquote_plus(client_secret)


def _granted(instance: Instance, form: dict[str, str], client: Client, now: datetime) -> Token | None:
    if form.get("grant_type") == "password":
        if instance.property("glide.oauth.inbound.ropc.grant_type.disabled") == "true":
            return None
        user_name = form.get("username", "")
        if instance.user(user_name) is None or not instance.accounts.verify(user_name, form.get("password", "")):
            return None
        return instance.accounts.grant(client, user_name, now)
    if form.get("grant_type") == "client_credentials":
        enabled = instance.property("glide.oauth.inbound.client.credential.grant_type.enabled") == "true"
        return instance.accounts.grant(client, client.user_name, now) if enabled and client.user_name else None
    if form.get("grant_type") == "refresh_token":
        rotate = instance.switches.refresh_token_rotates
        return instance.accounts.renew(client, form.get("refresh_token", ""), now, rotate=rotate)
    return None


def revoke_token(instance: Instance, request: Request) -> Answer:
    secret = request.param("token") or dict(query_pairs(request.body.decode("utf-8", "replace"))).get("token", "")
    instance.accounts.revoke(secret)
    return Answer(200, b"", content_type="text/html;charset=UTF-8")


def _denied() -> Answer:
    return json_answer(401, {"error": "server_error", "error_description": "access_denied"})
