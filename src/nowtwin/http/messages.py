"""A request and an answer as values, apart from any server, so that APIs can be called by the Batch API too."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from nowtwin.accounts.users import User
from nowtwin.errors import Refused
from nowtwin.http.single_quotes import double_quoted

JSON = "application/json;charset=UTF-8"
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    """Decoded, without the query string."""
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name."""
    body: bytes = b""
    user: User | None = None
    client_id: str = ""
    """The OAuth client whose token signed the request in."""
    certificate: bytes = b""
    """That of the client (DER), where the connection asked for one."""

    def param(self, name: str, default: str = "") -> str:
        """The last value of a query parameter."""
        return next((value for key, value in reversed(self.query) if key == name), default)

    def flag(self, name: str) -> bool:
        return self.param(name).lower() == "true"

    def signed_in(self, user: User) -> "Request":
        return replace(self, user=user)

    @property
    def caller(self) -> User:
        if self.user is None:
            raise RuntimeError("an API was reached without authentication")
        return self.user


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes = b""
    headers: Headers = ()
    content_type: str | None = JSON
    rows: int = 0
    """Records in the body, for latency and the journal of calls."""
    seconds: float | None = None
    """Service time, where it is not that of `rows`."""


def query_pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple(parse_qsl(text, keep_blank_values=True, errors="replace"))


def json_answer(status: int, value: object, *, headers: Headers = (), rows: int = 0) -> Answer:
    return Answer(status, msgspec.json.encode(value), headers, rows=rows)


def refusal(refused: Refused) -> Answer:
    """The error body of servicenow-api.md 1.8."""
    error = {"message": refused.message, "detail": refused.detail}
    headers: Headers = (("WWW-Authenticate", 'BASIC realm="Service-now"'),) if refused.status == 401 else ()  # noqa: PLR2004 - HTTP
    headers += refused.headers
    return json_answer(refused.status, {"error": error, "status": "failure"}, headers=headers)


def json_object(body: bytes) -> dict[str, Any]:
    """The record of a write: an object, or the first element of an array (servicenow-api.md 1.1)."""
    if not body.strip():
        return {}
    try:
        value = _decoded(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, "Exception while reading request", f"The payload is not valid JSON: {error}") from error
    if isinstance(value, list):
        value = value[0] if value else {}
    if not isinstance(value, dict):
        raise Refused(400, "Exception while reading request", "The payload is not a JSON object.")
    return value


def _decoded(body: bytes) -> Any:  # noqa: ANN401 - whatever JSON was sent
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        if b"'" not in body:
            raise
        try:
            return msgspec.json.decode(double_quoted(body.decode()))
        except msgspec.DecodeError:
            raise error from None
