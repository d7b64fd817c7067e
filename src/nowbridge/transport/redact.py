"""Takes secrets out of whatever is logged or raised. Pure.

Two nets: values are dropped by the name they go by (headers, parameters, form fields, JSON members), and text of
unknown origin is searched for the shapes that credentials have. What is shown of a request is built from its safe
parts, never by removing parts from the whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nowbridge.transport.messages import Headers, Request

HIDDEN: Final = "***"
_SECRET_HEADERS: Final = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-sn-apikey",
        "x-usertoken",
        "x-nowbridge-signature",
    }
)
_SECRET_NAME: Final = re.compile(
    r"pass(?:word|wd|phrase)?|secret|token|api[-_]?key|apikey|authorization|assertion|credential|code_verifier|^code$|^pwd$",
    re.IGNORECASE,
)
_SHOWN_PARAMS: Final = frozenset(
    {"sysparm_limit", "sysparm_offset", "sysparm_no_count", "sysparm_display_value", "sysparm_exclude_reference_link"}
)
_SCHEME: Final = re.compile(r"\b(Basic|Bearer|Digest|Negotiate)(\s+)[^\s\"',;]+", re.IGNORECASE)
_USERINFO: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/?#]*@", re.IGNORECASE)
_PAIR: Final = re.compile(
    r"""((?:[\w-]*(?:pass(?:word|wd|phrase)?|secret|token|api[-_]?key|authorization|assertion|credential|code_verifier)[\w-]*|\bpwd)
        ["']?\s*[:=]\s*)                          # the name, maybe quoted, and what sets it off
        ("(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s&"',;}]+)  # the value: quoted (perhaps cut short) or bare
    """,
    re.IGNORECASE | re.VERBOSE,
)


def redact_headers(headers: Headers) -> tuple[tuple[str, str], ...]:
    """The header lines with secret values hidden."""
    return tuple((name, HIDDEN if _is_secret_header(name) else redact_text(value)) for name, value in headers)


def redact_text(text: str) -> str:
    """`text` without user info in URLs, credentials of an authorization scheme and values that go by a secret's name.

    Works on query strings, form bodies and JSON alike; it may hide too much, which is the right side to err on.
    """
    text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
    text = _PAIR.sub(rf"\1{HIDDEN}", text)
    return _SCHEME.sub(rf"\1\2{HIDDEN}", text)


def describe(request: Request) -> str:
    """A request for a log line: method, path and parameters, of whose values only harmless ones are shown."""
    shown = [
        f"{name}={value if name in _SHOWN_PARAMS else f'<{len(value)} characters>'}"
        for name, value in request.params
        if not _SECRET_NAME.search(name)
    ]
    return " ".join([request.method, redact_text(request.path), *shown])


def _is_secret_header(name: str) -> bool:
    return name.lower() in _SECRET_HEADERS or _SECRET_NAME.search(name) is not None
