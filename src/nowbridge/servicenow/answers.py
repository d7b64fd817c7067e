"""Is this answer what was asked for? Pure: a request and its response in, nothing or an error out.

ServiceNow answers 200 to reads that it cut short, to instances that sleep and to log-in pages (servicenow-api.md 1.9),
so every answer passes here before anybody reads it. Errors carry ServiceNow's own message and detail, cut to a length
that fits a log line; they never carry what was sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

from nowbridge.model.errors import NowbridgeError, Park, Retry, Stop, Unsettled
from nowbridge.transport.retry import CANCELLED, asked_to_wait

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nowbridge.transport.messages import Request, Response

_LONGEST_TEXT = 500
_RAISE_RIGHTS = "Ask an administrator of the instance to grant the account the rights, or leave the table out."


class _Envelope(msgspec.Struct):
    """The outermost object only: members stay raw bytes, so a 20 MB page is checked in some milliseconds."""

    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    serviced_requests: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Complaint(msgspec.Struct):
    message: str | None = None
    detail: str | None = None


class _Refusal(msgspec.Struct):
    error: _Complaint | str | None = None


_envelope = msgspec.json.Decoder(_Envelope)
_complaint = msgspec.json.Decoder(_Complaint)
_refusal = msgspec.json.Decoder(_Refusal)


@dataclass(frozen=True, slots=True)
class _Said:
    """What ServiceNow wrote into the `error` member."""

    message: str = ""
    detail: str = ""

    @property
    def text(self) -> str:
        return ": ".join(part for part in (self.message, self.detail) if part)[:_LONGEST_TEXT]


def check(request: Request, response: Response, *, body: bool = True) -> None:
    """Return when `response` is a complete, honest answer; else raise by reaction, with a code of docs/errors.md. Without
    `body`, who reads the body sees to it by the way, and calls `check_body` when it is not what it should be.
    """
    status = response.status
    if _is_hibernating(response):
        raise _stop(
            "instance.hibernating",
            request,
            "the developer instance is asleep",
            "Wake it at developer.servicenow.com, then resume.",
        )
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise _stop(
            "answer.redirected",
            request,
            f"HTTP {status} to another address",
            "Use the instance's own URL (https://<name>.service-now.com) and an account that logs in without single sign-on.",
        )
    if status >= HTTPStatus.BAD_REQUEST:
        raise _failure(request, response)
    if status == HTTPStatus.ACCEPTED or (not response.body and status != HTTPStatus.NO_CONTENT):
        raise _dropped(request, response)
    if response.body and "html" in response.headers.get("Content-Type").lower():
        raise _stop(
            "answer.login_page",
            request,
            "a web page instead of JSON",
            "The URL leads to a log-in page or a proxy; use the instance's own URL and an account for web services.",
        )
    if response.body and body:
        check_body(request, response.body)


def check_body(request: Request, body: bytes) -> None:
    """Whether a body is complete JSON with a result and without an error; raises as `check`."""
    try:
        envelope = _envelope.decode(body)
    except msgspec.ValidationError as error:
        raise _cut(request, "JSON that is not an object") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _cut(request, f"{len(body)} bytes that are not complete JSON") from error
    if isinstance(envelope.error, msgspec.Raw):
        raise _error_in_success(request, bytes(envelope.error))
    if envelope.result is msgspec.UNSET and envelope.serviced_requests is msgspec.UNSET:
        raise _stop(
            "answer.unexpected",
            request,
            "JSON without `result`",
            "Check that the URL leads to a ServiceNow instance and not to something in front of it.",
        )


def _error_in_success(request: Request, raw: bytes) -> NowbridgeError:
    """200 with an `error` member: the transaction was cancelled while it wrote its answer (servicenow-api.md 1.9)."""
    try:
        complaint = _complaint.decode(raw)
        said = _Said(complaint.message or "", complaint.detail or "")
    except msgspec.DecodeError:
        said = _Said()
    if not request.idempotent:
        return _unsettled(request, f"HTTP 200 with an error inside: {said.text}")
    if CANCELLED in said.text:
        return Retry(
            "busy.quota",
            asked=request.asked,
            answered=f"the instance ran out of its time for one transaction ({said.text})",
            hint="Smaller pages or fewer columns take less time.",
        )
    return Retry("answer.error", asked=request.asked, answered=f"HTTP 200 with an error inside: {said.text}")


def _failure(request: Request, response: Response) -> NowbridgeError:
    said, status = _said(response), response.status
    if status == HTTPStatus.UNAUTHORIZED:
        return _not_authenticated(request, response, said)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _rate_limited(request, response, said)
    if CANCELLED in said.text and request.idempotent:
        return Retry("busy.quota", asked=request.asked, answered=f"HTTP {status} {said.text}")
    if (rule := _RULES.get(status)) is not None:
        return rule(request, said)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _unavailable(request, f"HTTP {status} {said.text}".rstrip())
    return _stop("answer.unexpected", request, f"HTTP {status} {said.text}".rstrip(), "")


def _rate_limited(request: Request, response: Response, said: _Said) -> Retry:
    return Retry(
        "busy.rate_limit",
        asked=request.asked,
        answered=f"HTTP 429 {said.text}".rstrip(),
        hint="Lower the number of requests in flight or ask for a higher rate limit.",
        after=asked_to_wait(response),
    )


def _bad_request(request: Request, said: _Said) -> NowbridgeError:
    if said.message.startswith("Invalid table"):
        return _stop("table.unknown", request, said.text, "Check the table's name; it is written as in its URL.")
    if said.message.startswith("Requested URI"):
        return _stop("path.unknown", request, said.text, "The instance does not have this API; is its release too old?")
    if said.message.startswith("Pagination not supported"):
        return _too_long(request, said)
    if request.reads:
        return _stop("query.refused", request, f"HTTP 400 {said.text}", "Check the filter and the columns.")
    return _refused(request, said)


def _not_authenticated(request: Request, response: Response, said: _Said) -> NowbridgeError:
    if "X-MFA_TOKEN" in response.headers:
        hint = "The account wants a second factor; use an account for web services without one."
    else:
        hint = (
            "Check user and password (or client and secret, or key), and that the account is active and not locked out."
        )
    return _stop("auth.refused", request, said.text or "HTTP 401", hint)


def _forbidden(request: Request, said: _Said) -> NowbridgeError:
    if said.message.startswith("Insufficient rights to query"):
        return _stop(
            "query.rights",
            request,
            said.text,
            "Leave columns out of the filter that the account may not read, or grant them.",
        )
    if "API level ACL" in said.text or said.message.startswith("User Not Authorized"):
        return _stop("rights.api", request, said.text, "The account lacks the role for this REST API.")
    if request.reads:
        return _stop("rights.table", request, said.text or "HTTP 403", _RAISE_RIGHTS)
    return _refused(request, said)


def _not_found(request: Request, said: _Said) -> NowbridgeError:
    if said.message.startswith("No Record found"):
        return Park(
            "record.missing",
            asked=request.asked,
            answered=said.text,
            hint="ServiceNow gives the same answer for a deleted record and for one that the account may not see.",
        )
    return _stop("path.unknown", request, f"HTTP 404 {said.text}".rstrip(), "Check the instance URL.")


def _refused(request: Request, said: _Said) -> NowbridgeError:
    return Park(
        "record.refused",
        asked=request.asked,
        answered=said.text or "refused without a reason",
        hint="The instance's rules, policies or rights forbid it. Of this record nothing was written.",
    )


def _dropped(request: Request, response: Response) -> NowbridgeError:
    if not request.idempotent:
        return _unsettled(request, f"HTTP {response.status} without a body")
    if response.status == HTTPStatus.ACCEPTED:
        return Retry("busy.session", asked=request.asked, answered="HTTP 202: the instance put the call aside")
    return _cut(request, f"HTTP {response.status} without a body")


def _locked(request: Request, said: _Said) -> NowbridgeError:
    return _unavailable(request, f"HTTP 409 {said.text}".rstrip())


def _unsupported(request: Request, said: _Said) -> NowbridgeError:
    return _stop(
        "request.unsupported", request, said.text or "method or format not supported", "This is a fault of Nowbridge."
    )


def _unavailable(request: Request, answered: str) -> NowbridgeError:
    if not request.idempotent:
        return _unsettled(request, answered)
    return Retry(
        "busy.unavailable", asked=request.asked, answered=answered, hint="The instance restarts or is overloaded."
    )


def _unsettled(request: Request, answered: str) -> Unsettled:
    return Unsettled(
        "write.unsettled", asked=request.asked, answered=answered, hint="It may have been carried out all the same."
    )


def _cut(request: Request, answered: str) -> NowbridgeError:
    if not request.idempotent:
        return _unsettled(request, answered)
    return Retry("answer.cut", asked=request.asked, answered=answered, hint="The answer was cut short on its way.")


def _too_long(request: Request, said: _Said) -> NowbridgeError:
    answered = said.text or "the URL is longer than the instance takes"
    return _stop("query.too_long", request, answered, "Shorten the filter or take fewer columns.")


def _stop(code: str, request: Request, answered: str, hint: str) -> Stop:
    return Stop(code, asked=request.asked, answered=answered, hint=hint)


def _said(response: Response) -> _Said:
    try:
        error = _refusal.decode(response.body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Said()
    match error:
        case _Complaint():
            return _Said(error.message or "", error.detail or "")
        case str():
            return _Said(error)
        case None:
            return _Said()


def _is_hibernating(response: Response) -> bool:
    """servicenow-api.md 1.9: usually 200 with a web page, sometimes 503, sometimes a redirect to the developer site."""
    if "developer.servicenow.com" in response.headers.get("Location"):
        return True
    return "html" in response.headers.get("Content-Type").lower() and b"hibernating" in response.body[:20_000].lower()


_RULES: Final[Mapping[int, Callable[[Request, _Said], NowbridgeError]]] = {
    HTTPStatus.BAD_REQUEST: _bad_request,
    HTTPStatus.FORBIDDEN: _forbidden,
    HTTPStatus.NOT_FOUND: _not_found,
    HTTPStatus.METHOD_NOT_ALLOWED: _unsupported,
    HTTPStatus.NOT_ACCEPTABLE: _unsupported,
    HTTPStatus.CONFLICT: _locked,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _refused,
    HTTPStatus.REQUEST_URI_TOO_LONG: _too_long,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: _unsupported,
}
