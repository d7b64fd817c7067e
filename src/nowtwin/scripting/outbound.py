"""Outbound HTTP of scripts (sn_ws.RESTMessageV2). Other machines are reached only when a switch allows it.

A request runs in a thread of its own. Whoever waits for it lets go of the instance's lock meanwhile, so that the
place that is called can call the twin back.
"""

import base64
import ipaddress
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, quote, urlencode, urlsplit

_FAILED_FROM = 400
_UNREACHED = "nowtwin reaches other machines only with the switch outbound_anywhere"
_GRACE = 5.0
"""Seconds beyond the time-out of its connection that a request is waited for, so that its own error is told."""
_BODY_LIMIT = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Message:
    """A request to send; `timeout` in seconds."""

    endpoint: str
    method: str
    headers: Sequence[tuple[str, str]]
    query: Sequence[tuple[str, str]]
    body: str
    credentials: tuple[str, str] | None
    timeout: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `error` is empty after an answer below 400; status 0 means that there was no answer."""

    status: int
    body: str = ""
    headers: Sequence[tuple[str, str]] = ()
    error: str = ""
    endpoint: str = ""
    query: str = ""


@dataclass(slots=True)
class Sent:
    """A request under way; `reply` is set when it has ended."""

    timeout: float
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """Where requests may go, and whether certificates count."""

    anywhere: bool
    verifies: bool


class Outbound:
    """`lock` is let go of by those who wait."""

    def __init__(self, lock: threading.RLock) -> None:
        self._arrived = threading.Condition(lock)
        self._closed = False

    def close(self) -> None:
        """Nobody waits any longer."""
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()

    def send(self, message: Message, reach: Reach) -> Sent:
        sent = Sent(message.timeout)
        threading.Thread(target=self._exchange, args=(message, reach, sent), name="outbound", daemon=True).start()
        return sent

    def _exchange(self, message: Message, reach: Reach, sent: Sent) -> None:
        reply = exchange(message, reach)
        with self._arrived:
            sent.reply = reply
            self._arrived.notify_all()

    def wait(self, sent: Sent, seconds: float) -> Reply:
        """The reply, waiting at most so long (0: as long as the request may take)."""
        limit = seconds or sent.timeout + _GRACE
        with self._arrived:
            self._arrived.wait_for(lambda: sent.reply is not None or self._closed, limit)
            return sent.reply or Reply(0, error=f"No response received in {limit:g} s")


def exchange(message: Message, reach: Reach) -> Reply:
    """Send and receive. Errors become a reply with a text, as scripts see them."""
    try:
        place = urlsplit(message.endpoint)
        address = (place.hostname or "", place.port)
    except ValueError as error:
        return Reply(0, error=f"Invalid uri '{message.endpoint}': {error}", endpoint=message.endpoint)
    target = _target(place, message.query)
    failed = Reply(0, endpoint=message.endpoint, query=target.partition("?")[2])
    if place.scheme not in {"http", "https"} or not place.hostname:
        return replace(failed, error=f"Invalid uri '{message.endpoint}'")
    if not reach.anywhere and not is_loopback(place.hostname):
        return replace(failed, error=f"{_UNREACHED}: {place.hostname}")
    try:
        status, headers, body = _talk(place.scheme, address, target, message, reach)
    except TimeoutError:
        return replace(failed, error="Request timed out")
    except (OSError, HTTPException, ValueError) as error:
        return replace(failed, error=f"{type(error).__name__}: {error}")
    error_text = f"Method failed: ({place.path}) with code: {status}" if status >= _FAILED_FROM else ""
    return replace(failed, status=status, body=body, headers=headers, error=error_text)


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _target(place: SplitResult, query: Sequence[tuple[str, str]]) -> str:
    pairs = [place.query] if place.query else []
    pairs += [urlencode(query)] if query else []
    path = quote(place.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return path + (f"?{'&'.join(pairs)}" if pairs else "")


def _talk(
    scheme: str, address: tuple[str, int | None], target: str, message: Message, reach: Reach
) -> tuple[int, Sequence[tuple[str, str]], str]:
    connection = _connection(scheme, address, message.timeout, reach)
    try:
        body = message.body.encode() if message.body else None
        connection.request(message.method, target, body, _headers(message))
        answer = connection.getresponse()
        content = answer.read(_BODY_LIMIT)
        return answer.status, answer.getheaders(), content.decode("utf-8", "replace")
    finally:
        connection.close()


def _connection(scheme: str, address: tuple[str, int | None], timeout: float, reach: Reach) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(*address, timeout=timeout)
    context = ssl.create_default_context()
    if not reach.verifies:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return HTTPSConnection(*address, timeout=timeout, context=context)


def _headers(message: Message) -> Mapping[str, str]:
    headers = {"User-Agent": "ServiceNow/1.0", **dict(message.headers)}
    if message.credentials:
        pair = ":".join(message.credentials).encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    return headers
