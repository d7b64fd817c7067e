"""Two things around a session: the debug header and `/stats.do`.

`X-WantSessionDebugMessages: true` adds `session.debug_logs` to a JSON body (rest-session-debug-header.md). `stats.do`
names build, node and sessions in HTML; clients look for the build lines (servicenow-api.md 6.6).
"""

import re
from dataclasses import replace

import msgspec

from nowtwin.clock import STAMP
from nowtwin.http.messages import JSON, Answer, Request
from nowtwin.instance import Instance

_STATS = re.compile(r"/stats\.do")


def with_debug_logs(instance: Instance, request: Request, answer: Answer) -> Answer:
    """The answer with `session.debug_logs`, if the request wants them and the body is a JSON object."""
    if request.headers.get("x-wantsessiondebugmessages", "").lower() != "true":
        return answer
    if answer.content_type != JSON or not answer.body.endswith(b"}"):
        return answer
    at = instance.clock.now().strftime("%H:%M:%S.%f")[:-3]
    line = f"{at}: {request.method} {request.path}: {answer.rows} rows for {request.caller.user_name}"
    logs = [{"type": "log", "customerUpdate": False, "line": line, "debugClassSet": ""}]
    session = msgspec.json.encode({"debug_logs": logs})
    separator = b"" if answer.body == b"{}" else b","
    return replace(answer, body=answer.body[:-1] + separator + b'"session":' + session + b"}")


def read_stats(instance: Instance, _request: Request, _found: "re.Match[str]") -> Answer:
    names = ("glide.buildname", "glide.builddate", "glide.buildtag", "glide.war")
    builds = dict(zip(("Build name", "Build date", "Build tag", "WAR"), map(instance.property, names), strict=True))
    lines = [
        *(f"{label}: {value}" for label, value in builds.items()),
        f"Instance ID: {instance.property('instance_id')}",
        "Node: nowtwin",
        f"Current time: {instance.clock.now().strftime(STAMP)}",
        f"Transactions: {instance.calls.total}",
    ]
    body = "<html><head><title>Servlet statistics</title></head><body>" + "<br/>\n".join(lines) + "</body></html>"
    return Answer(200, body.encode(), content_type="text/html;charset=UTF-8")


ROUTES = ((_STATS, read_stats),)
