"""What the client of a struck request sees: answers that stand in for the real one, and real ones spoiled
(servicenow-api.md 1.8, 1.9).

Pages carry the words that clients look for; the rest of their text is an assumption.
"""

from typing import Final

import msgspec

from nowtwin.behaviour.faults import FaultRule
from nowtwin.errors import Refused
from nowtwin.http.messages import JSON, Answer, Headers, refusal

HTML: Final = "text/html;charset=UTF-8"
CANCELLED: Final = "Transaction cancelled: maximum execution time exceeded"
CANCELLED_DETAIL: Final = (
    "Transaction cancelled: maximum execution time exceeded. Check logs for error trace or enable glide.rest.debug "
    "property to verify REST request processing"
)
_GATEWAY: Final = {502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}


def page(title: str, text: str) -> bytes:
    return f"<html><head><title>{title}</title></head><body><h1>{title}</h1><p>{text}</p></body></html>".encode()


HIBERNATING: Final = page("Instance Hibernating page", "Your instance is hibernating")
LOGIN: Final = (
    b'<html><head><title>Log in | ServiceNow</title></head><body><form id="login" method="post" action="/login.do">'
    b'<input id="user_name" name="user_name"><input id="user_password" name="user_password" type="password">'
    b'<button id="sysverb_login">Log in</button></form></body></html>'
)
_FORMS: Final = {
    "hibernating": (HIBERNATING, "https://developer.servicenow.com/dev.do#!/home?wu=true"),
    "login_page": (LOGIN, "/login_with_sso.do?glide_sso_id=idp"),
}
"""The page of a kind, and where it sends a client to instead."""
_TOO_MANY: Final = page("429 Too Many Requests", "Too Many Requests")


def gateway(status: int) -> Answer:
    """What stands before the instance says that no node answers."""
    reason = _GATEWAY.get(status, "Error")
    return Answer(
        status,
        page(f"{status} {reason}", "The server is temporarily unable to service your request."),
        content_type=HTML,
    )


def upgrading() -> Answer:
    """Every node while an upgrade has the instance (text: an assumption)."""
    return Answer(503, page("Upgrade in progress", "This instance is being upgraded."), content_type=HTML)


def page_cancelled() -> Answer:
    """A page whose transaction took too long (10)."""
    return Answer(500, page("500 Internal Server Error", CANCELLED), content_type=HTML)


def overloaded(*, in_json: bool) -> Answer:
    """A full semaphore queue: 429, often not JSON (10)."""
    if in_json:
        return refusal(Refused(429, "Too Many Requests"))
    return Answer(429, _TOO_MANY, content_type=HTML)


def replacement(rule: FaultRule, *, overload_in_json: bool) -> Answer | None:
    """The answer that stands in for the real one, for kinds that never execute the request."""
    headers = tuple(rule.headers.items())
    if rule.kind == "status":
        return _status(rule, headers)
    if rule.kind == "accepted":
        return Answer(202, b"", headers, content_type=None)
    if rule.kind == "null_body":
        return Answer(200, b"null", headers)
    made = _page(rule, overload_in_json=overload_in_json)
    return made and Answer(made.status, made.body, (*made.headers, *headers), made.content_type)


def _status(rule: FaultRule, headers: Headers) -> Answer:
    status = rule.status or 500
    error = {"error": {"message": f"Status {status}", "detail": None}, "status": "failure"}
    body = msgspec.json.encode(error) if rule.body is None else rule.body.encode()
    kind = next((v for k, v in headers if k.lower() == "content-type"), JSON)
    rest = tuple((k, v) for k, v in headers if k.lower() != "content-type")
    return Answer(status, body, rest, content_type=kind)


def _page(rule: FaultRule, *, overload_in_json: bool) -> Answer | None:
    if rule.kind == "overloaded":
        return overloaded(in_json=overload_in_json)
    if rule.kind == "gateway":
        return gateway(rule.status or 502)
    if rule.kind not in _FORMS:
        return None
    words, elsewhere = _FORMS[rule.kind]
    if rule.form == "redirect":
        return Answer(302, b"", (("Location", elsewhere),), content_type=None)
    return Answer(503 if rule.form == "unavailable" else 200, words, content_type=HTML)


def spoiled(rule: FaultRule, answer: Answer) -> Answer:
    """The real answer as far as the fault lets it through; the request has been executed."""
    if rule.kind == "error_in_body":
        return cancelled(answer, rule.rows)
    if rule.kind == "truncated_json":
        body = answer.body[: int(len(answer.body) * rule.fraction)]
        return Answer(answer.status, body, answer.headers, answer.content_type, answer.rows)
    return answer


def cancelled(answer: Answer, rows: int) -> Answer:
    """An answer whose transaction was cancelled after so many records."""
    if answer.status not in {200, 201} or not (answer.content_type or "").startswith("application/json"):
        return answer
    content = msgspec.json.decode(answer.body)
    result = content.get("result") if isinstance(content, dict) else None
    error = {"message": CANCELLED, "detail": CANCELLED_DETAIL}
    body: dict[str, object] = {"error": error, "status": "failure"}
    if isinstance(result, list):
        body = {"result": result[:rows], **body}
    return Answer(200, msgspec.json.encode(body), answer.headers, rows=rows)


def garbled(packed: bytes) -> bytes:
    """A gzip stream whose second half is not what the first announces."""
    half = len(packed) // 2
    return packed[:half] + bytes(byte ^ 0x55 for byte in packed[half:])
