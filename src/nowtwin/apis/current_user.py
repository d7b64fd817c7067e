"""`GET /api/now/ui/user/current_user`: who the caller is (servicenow-api.md 6.6)."""

from nowtwin.http import Answer, Request, json_answer
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
