"""The OAuth token endpoint (servicenow-api.md 7.1): password and refresh grants, revocation.

Form-encoded only. Almost every failure is the same 401, so that clients cannot read the cause out of it.
"""

from datetime import datetime

from nowtwin.http import Answer, Request, json_answer, query_pairs
from nowtwin.instance import Instance
from nowtwin.users import Client, Token


def issue_token(instance: Instance, request: Request) -> Answer:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method != "POST" or content_type != "application/x-www-form-urlencoded":
        return _denied()
    form = dict(query_pairs(request.body.decode("utf-8", "replace")))
    now = instance.clock.now()
    client = instance.accounts.client(form.get("client_id", ""), form.get("client_secret", ""))
    if client is None:
        return _denied()
    token = _granted(instance, form, client, now)
    if token is None or instance.user(token.user_name) is None:
        return _denied()
    return json_answer(
        200,
        {
            "access_token": token.access,
            "refresh_token": token.refresh,
            "scope": "useraccount",
            "token_type": "Bearer",
            "expires_in": int((token.access_ends - now).total_seconds()),
        },
    )


def _granted(instance: Instance, form: dict[str, str], client: Client, now: datetime) -> Token | None:
    if form.get("grant_type") == "password":
        if instance.property("glide.oauth.inbound.ropc.grant_type.disabled") == "true":
            return None
        user_name = form.get("username", "")
        if instance.user(user_name) is None or not instance.accounts.verify(user_name, form.get("password", "")):
            return None
        return instance.accounts.grant(client, user_name, now)
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
