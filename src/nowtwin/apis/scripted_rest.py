"""Scripted REST APIs: the script of a resource (`scripted_apis`) answers a call.

What no source states: the answer of a script that fails (500) and of one that answers nothing (`{"result":{}}`).
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlencode

import msgspec

from nowtwin.access.acl import GRANTED
from nowtwin.accounts.users import User, zone_of
from nowtwin.errors import Refused
from nowtwin.http.messages import JSON, Answer, Request, json_answer, refusal
from nowtwin.http.xml import entries, is_xml
from nowtwin.instance import Instance
from nowtwin.scripting.granting import grants
from nowtwin.scripting.session import Answered, Called

_STATUSES = range(200, 600)
_REFUSALS = range(400, 600)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LINE = re.compile(r"[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff\t]*[\x21-\x7e\x80-\xff])?")


def answer(instance: Instance, request: Request) -> Answer | None:
    """The answer of the resource that the path names, for a signed-in request; None where there is none."""
    found = instance.scripted_apis.find("GET" if request.method == "HEAD" else request.method, request.path)
    if found is None:
        return None
    resource, params = found
    verdict = instance.access.endpoint_verdict(request.caller, resource.rules) if resource.rules else GRANTED
    if not grants(instance, request.caller, verdict, "", {}):
        raise Refused(403, "User Not Authorized", "Failed API level ACL Validation")
    called = _called(instance, request, params)
    answered = instance.scripts.endpoints.run(resource.name, resource.sys_id, resource.script, called, request.caller)
    if isinstance(answered, str):
        return refusal(Refused(instance.switches.scripted_api_failure_status, "Script Evaluation Exception", answered))
    return _sent(answered)


def guest_answer(instance: Instance, request: Request) -> Answer | None:
    """The answer of a resource that asks for no authentication; None where there is none of that kind."""
    if not request.path.startswith("/api/") or not instance.scripted_apis.resources():
        return None
    found = instance.scripted_apis.find(request.method, request.path)
    if found is None or found[0].authenticated:
        return None
    guest = User("guest", "guest", "Guest", frozenset({"public"}), zone_of(instance.property("glide.sys.default.tz")))
    return answer(instance, request.signed_in(guest))


def _called(instance: Instance, request: Request, params: Mapping[str, str]) -> Called:
    text = request.body.decode("utf-8", "replace")
    query = urlencode(request.query)
    return Called(
        body=text,
        parsed=_parsed(request, text),
        headers=request.headers,
        query=request.query,
        query_string=query,
        path_params={name: unquote(value) for name, value in params.items()},
        uri=request.path,
        url=f"{instance.url}{request.path}" + (f"?{query}" if query else ""),
    )


def _parsed(request: Request, text: str) -> dict[str, Any] | None:
    """The body as its type says; text of other types is what it is."""
    if not text.strip():
        return {"value": None}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and "json" not in kind and not is_xml(kind):
        return {"value": text}
    try:
        return {"value": entries(request.body) if is_xml(kind) else msgspec.json.decode(text)}
    except (ValueError, Refused):
        return None


def _sent(answered: Answered) -> Answer:
    if answered.error:
        status = answered.status if answered.status in _REFUSALS else 500
        return refusal(Refused(status, answered.error.message, answered.error.detail or None))
    status = answered.status if answered.status in _STATUSES else 500
    headers = tuple((name, value) for name, value in answered.headers.items() if _is_header(name, value))
    if status in {204, 304}:
        return Answer(status, headers=headers, content_type=None)
    if answered.written is not None:
        return Answer(
            status, answered.written.encode(), headers, answered.type if _LINE.fullmatch(answered.type) else JSON
        )
    result = msgspec.Raw(answered.result.encode()) if answered.result else {}
    return json_answer(status, {"result": result}, headers=headers)


def _is_header(name: str, value: str) -> bool:
    """Whether a script may set it: one line, and nothing about how the body is sent."""
    framing = name.lower() in {"content-length", "transfer-encoding", "content-encoding", "connection", "content-type"}
    return bool(_NAME.fullmatch(name) and (not value or _LINE.fullmatch(value))) and not framing
