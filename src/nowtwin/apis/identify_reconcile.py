"""The Identification and Reconciliation API (servicenow-api.md 6.5): parse a payload, run it, shape the result.

HTTP 200 even when items fail; only a malformed body (400) or malformed `options` (500, as documented) are refused.
"""

import re
from dataclasses import replace

from nowtwin.apis.roles_needed import require_cmdb_role
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request, json_answer
from nowtwin.instance import Instance
from nowtwin.ire.answers import body_of
from nowtwin.ire.engine import Engine
from nowtwin.ire.outcome import Options
from nowtwin.ire.payload import payload_of

_PATH = re.compile(r"/api/now(?:/v\d)?/identifyreconcile(?:/(?P<mode>enhanced|query|queryEnhanced))?/?")
_NAMES = frozenset({"partial_payloads", "partial_commits", "deduplicate_payloads", "generate_summary"})


def identify_and_reconcile(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    if request.method != "POST":
        raise Refused(405, "Method not supported", f"{request.method} is not supported here")
    require_cmdb_role(instance, request)
    mode = found["mode"] or ""
    enhanced = mode in {"enhanced", "queryEnhanced"}
    options = Options(enhanced=enhanced, commit=not mode.startswith("query"))
    if enhanced:
        options = options_of(request.param("options"), options)
    payload = payload_of(request.body)
    instance.prepare("cmdb_ci")
    with instance.storage.lock:
        engine = Engine(instance, payload, request.param("sysparm_data_source"), request.caller, options)
        result = body_of(engine.run())
    return json_answer(200, {"result": result}, rows=len(payload.items))


def options_of(text: str, options: Options) -> Options:
    """`name:true,name:false`. Raises Refused 500 as documented for a chunk in another form."""
    for chunk in filter(None, text.split(",")):
        name, colon, value = chunk.strip().partition(":")
        if not colon or value.strip().lower() not in {"true", "false"}:
            raise Refused(500, "Internal server error", f"Chunk [{chunk}] is not a valid entry")
        if name in _NAMES:
            options = replace(options, **{name: value.strip().lower() == "true"})
    return options


ROUTES = ((_PATH, identify_and_reconcile),)
