"""XML for callers that ask for it (servicenow-api.md 1.1): answers out of JSON, request bodies into JSON.

`{"result":{…}}` becomes `<response><result>…</result></response>`, a list repeats its element, null and empty texts are
empty elements. A request body is `<request><entry>…</entry></request>`; only the first entry counts, as of an array.
"""

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import msgspec

from nowtwin.errors import Refused
from nowtwin.http.messages import JSON, Answer, Request

XML = "application/xml;charset=UTF-8"
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_XML_TYPES = frozenset({"application/xml", "text/xml"})


def wanted(accept: str) -> bool:
    """Whether an Accept header prefers XML over JSON."""
    if "xml" not in accept:
        return False
    ranked: list[tuple[float, bool]] = []
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if kind in _XML_TYPES or kind in {"application/json", "text/json", "*/*", "application/*"}:
            ranked.append((quality(parameters), kind in _XML_TYPES))
    return bool(ranked) and max(ranked, key=lambda entry: entry[0])[1]


def quality(parameters: list[str]) -> float:
    """How much a kind of an Accept header is wanted, from what stands behind it."""
    for parameter in parameters:
        if re.fullmatch(r"q=[01](\.\d*)?", parameter):
            return float(parameter[2:])
    return 1.0


def answered(request: Request, answer: Answer) -> Answer:
    """The answer in the form that the request asks for."""
    if answer.content_type != JSON or not answer.body or not wanted(request.headers.get("accept", "")):
        return answer
    value = msgspec.json.decode(answer.body)
    body = _HEAD + _element("response", value)
    return replace(answer, body=body.encode("utf-8", "replace"), content_type=XML)


def _element(name: str, value: Any) -> str:  # noqa: ANN401 - any JSON value
    if isinstance(value, list):
        return "".join(_element(name, item) for item in value) or f"<{name}/>"
    if isinstance(value, dict):
        inner = "".join(_element(_tag(key), item) for key, item in value.items())
    elif isinstance(value, bool):
        inner = "true" if value else "false"
    else:
        inner = "" if value is None else escape(_FORBIDDEN.sub("", str(value)))
    return f"<{name}>{inner}</{name}>" if inner else f"<{name}/>"


def _tag(key: str) -> str:
    """A column name as an element name; what XML does not allow becomes an underscore."""
    name = re.sub(r"[^\w.-]", "_", key, flags=re.ASCII)
    return name if re.match(r"[A-Za-z_]", name) else f"_{name}"


def understood(request: Request) -> Request:
    """The request with an XML body turned into JSON. Raises Refused 400 for one that is not XML."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not is_xml(kind) or not request.body or request.method not in {"POST", "PUT", "PATCH"}:
        return request
    headers = {**request.headers, "content-type": "application/json"}
    return replace(request, headers=headers, body=msgspec.json.encode(entries(request.body)[0]))


def is_xml(content_type: str) -> bool:
    """Whether a content type, without parameters, is XML."""
    return content_type in _XML_TYPES


def entries(body: bytes) -> list[dict[str, str]]:
    """The records of a request body; one where it names no entries. Raises Refused 400 for one that is not XML."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise Refused(400, "Exception while reading request", "The payload declares a document type.")
    try:
        root = ET.fromstring(body)  # noqa: S314 - documents with declarations are refused above
    except (ET.ParseError, LookupError, ValueError) as error:
        raise Refused(400, "Exception while reading request", f"The payload is not valid XML: {error}") from error
    return [{child.tag: child.text or "" for child in entry} for entry in root.findall("entry") or [root]]
