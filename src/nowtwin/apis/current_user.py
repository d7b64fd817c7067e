"""`GET /api/now/ui/user/current_user`: who the caller is (servicenow-api.md 6.6)."""

import re

from nowtwin import errors
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request, json_answer
from nowtwin.instance import Instance


def read_current_user(instance: Instance, request: Request) -> Answer:
    user = request.caller
    words = user.name.split()
    row = instance.storage.get("sys_user", user.sys_id) or {}
    result = {
        "user_sys_id": user.sys_id,
        "user_name": user.user_name,
        "user_display_name": user.name,
        "user_initials": "".join(word[0] for word in (words[0], words[-1])) if words else "",
        "user_avatar": str(row.get("avatar") or ""),
    }
    return json_answer(200, {"result": result}, rows=1)


def read_impersonation(instance: Instance, request: Request, _found: "re.Match[str]") -> Answer:
    """`GET /api/now/sg/impersonation/session`: the same, as UI builder asks; its members are an assumption (6.6)."""
    if not instance.switches.impersonation_session_route:
        raise errors.no_such_resource()
    if request.method not in {"GET", "HEAD"}:
        raise Refused(405, "Method not supported", f"{request.method} is not supported here")
    user = request.caller
    result = {"user_sys_id": user.sys_id, "user_name": user.user_name, "is_impersonating": False}
    return json_answer(200, {"result": result}, rows=1)


ROUTES = ((re.compile(r"/api/now(?:/v\d)?/sg/impersonation/session/?"), read_impersonation),)
