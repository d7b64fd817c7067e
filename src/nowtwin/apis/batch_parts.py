"""The answer to a batch as `multipart/mixed` (servicenow-api.md 5; batch-api.md names the type and shows no example of it).

An assumption, therefore: one part per item, an HTTP response whole (`application/http`, RFC 9112 10.2) whose `Content-ID`
is the id of the item, its body as bytes instead of base64; or, by the switch `batch_parts_as_http`, the entry that JSON
would show. The last part is what is left of the JSON answer: the id of the batch and the items that were not serviced.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from nowtwin.http.xml import quality

MULTIPART = "multipart/mixed"


def wanted(accept: str) -> bool:
    """Whether an Accept header prefers parts to JSON, the first named of two that it ranks alike; `*/*` is JSON's."""
    ranked: list[tuple[float, bool]] = []
    for entry in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in entry.split(";"))
        if kind in {MULTIPART, "application/json"}:
            ranked.append((quality(parameters), kind == MULTIPART))
    return bool(ranked) and max(ranked, key=lambda entry: entry[0])[1]


def in_parts(answer: Mapping[str, Any], *, as_http: bool) -> tuple[bytes, str]:
    """The body and its content type, of an answer in the form of the JSON one."""
    entries = answer["serviced_requests"]
    left = {name: value for name, value in answer.items() if name != "serviced_requests"}
    parts = [_response(entry) if as_http else _json(entry, str(entry["id"])) for entry in entries]
    parts.append(_json(left, ""))
    boundary = _boundary(parts)
    lines = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return lines + b"--" + boundary + b"--\r\n", f"{MULTIPART};boundary={boundary.decode()}"


def _boundary(parts: Sequence[bytes]) -> bytes:
    """A line that none of the parts holds."""
    content = b"".join(parts)
    boundary = b"batch_" + hashlib.sha256(content).hexdigest()[:32].encode()
    return boundary if boundary not in content else _boundary((content, boundary))


def _response(entry: Mapping[str, Any]) -> bytes:
    body = base64.b64decode(entry["body"])
    head = [f"HTTP/1.1 {entry['status_code']} {entry['status_text']}"]
    head += [f"{header['name']}: {header['value']}" for header in entry["headers"]]
    head += [f"Content-Length: {len(body)}"]
    text = "\r\n".join(head).encode("latin-1", "replace")
    return _headers("application/http;msgtype=response", str(entry["id"])) + text + b"\r\n\r\n" + body


def _json(value: Mapping[str, Any], name: str) -> bytes:
    return _headers("application/json;charset=UTF-8", name) + msgspec.json.encode(value)


def _headers(kind: str, name: str) -> bytes:
    """The head of a part; ids are the client's, so what would end a line is left out of them."""
    named = "".join(sign for sign in name if sign.isprintable() and sign not in "<>")
    lines = [f"Content-Type: {kind}", *([f"Content-ID: <{named}>"] if named else [])]
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n"
