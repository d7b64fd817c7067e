"""What is sent and what comes back, as values. No I/O: `transport.client` carries them, everybody else only makes and reads them.

Secrets live in headers and bodies, users' values in parameters, so none of them is part of a `repr`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Headers:
    """Header lines in order. Names compare without case (RFC 9110); the first of several equal names wins."""

    lines: tuple[tuple[str, str], ...] = ()

    def get(self, name: str, default: str = "") -> str:
        wanted = name.lower()
        return next((value for key, value in self.lines if key.lower() == wanted), default)

    def __contains__(self, name: str) -> bool:
        wanted = name.lower()
        return any(key.lower() == wanted for key, _ in self.lines)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.lines)

    def with_(self, *lines: tuple[str, str]) -> Headers:
        """These lines in place of the ones with the same names."""
        replaced = {name.lower() for name, _ in lines}
        return Headers((*(line for line in self.lines if line[0].lower() not in replaced), *lines))


@dataclass(frozen=True, slots=True)
class Request:
    """One call. `path` starts at the root of the instance; `params` keep their order.

    `asked` says in words for people what the call is for ("read a page of incident"); it goes into errors, so it
    holds no secret and no value of a record. `idempotent` says that sending it twice does what sending it once does.
    `leaves` is called right before each try, when nothing stands between it and the wire any more; what it raises stops the call.
    """

    method: str
    path: str
    params: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    headers: Headers = field(default=Headers(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    asked: str = "call the instance"
    idempotent: bool = True
    leaves: Callable[[], Awaitable[None]] | None = field(default=None, repr=False, compare=False)

    @property
    def target(self) -> str:
        """Path and query as they stand in the request line."""
        query = encode_params(self.params)
        return f"{self.path}?{query}" if query else self.path

    @property
    def reads(self) -> bool:
        return self.method in {"GET", "HEAD"}


@dataclass(frozen=True, slots=True)
class Response:
    """One complete answer. `elapsed` is in seconds; `server_time` is the `Date` header, None when absent or unreadable."""

    status: int
    headers: Headers = Headers()
    body: bytes = field(default=b"", repr=False)
    elapsed: float = 0.0
    server_time: datetime | None = None


def encode_params(params: tuple[tuple[str, str], ...]) -> str:
    """Percent-encode everything but letters, digits, `_.-~` and the comma, which `sysparm_fields` is full of
    (servicenow-api.md 2.5: `^`, `=`, `&`, `+`, `%`, `#` and spaces must be encoded).
    """
    return "&".join(f"{quote(name, safe='')}={quote(value, safe=',')}" for name, value in params)


def read_date(text: str) -> datetime | None:
    """An HTTP date (RFC 9110) as an aware datetime; None when it is not one."""
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
