"""Carries a `Request` to one instance and brings the whole `Response` back. The only importer of aiohttp (ADR 0003).

It repeats what may be repeated, keeps to the budget, and reads bodies to their end: a body cut short is a failure,
never an answer. It follows no redirect and keeps no cookie: a shared session makes an instance run its calls one
after the other and answer 202 to what it dropped (servicenow-api.md 1.9). What an answer means is not decided here.
"""

from __future__ import annotations

import ipaddress
import logging
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from nowbridge.model.errors import NowbridgeError, Retry, Stop, Unsettled
from nowbridge.transport.budget import Usual
from nowbridge.transport.gate import Gate, Heard, Supply
from nowbridge.transport.messages import Headers, Request, Response, read_date
from nowbridge.transport.redact import describe, redact_text
from nowbridge.transport.retry import Backoff, Failure, asked_to_wait, is_transient, wait_before_next

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

_log = logging.getLogger("nowbridge.http")
_LONGEST_HEADER: Final = 65_536  # a Link header repeats the whole URL up to four times
_READ_AHEAD: Final = 1_048_576  # a page is megabytes, and every stop and go on of the socket costs a turn of the loop
_REFUSED: Final = 429
_CLOSED_AT_MOST: Final = 60.0  # a limit may be lifted, or be about something else: ask again after a minute


@dataclass(frozen=True, slots=True)
class Limits:
    """`in_flight` requests at a time, `timeout_seconds` for one try from start to last byte, `attempts` tries in all.
    With a `supply`, `in_flight` are had only as far as others leave them.
    """

    in_flight: int = 4
    timeout_seconds: float = 90.0
    attempts: int = 5
    backoff: Backoff = field(default_factory=Backoff)
    supply: Supply | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """The way to the instance: `ca_file` of a private authority (PEM), `client_certificate` (PEM, with its key), `proxy` as
    an http(s) URL (it may hold user info), a ready `tls` context instead of the files, and `allow_plain` for http to hosts
    other than this one.
    """

    ca_file: Path | None = None
    client_certificate: Path | None = None
    proxy: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    allow_plain: bool = False


class Client:
    def __init__(
        self,
        base_url: str,
        *,
        limits: Limits,
        sleep: Callable[[float], Awaitable[None]],
        monotonic: Callable[[], float],
        random: Callable[[], float],
        route: Route | None = None,
    ) -> None:
        """Raises Stop `settings.instance_url`, `settings.tls`, `settings.proxy`. Connects to nothing yet."""
        route = route or Route()
        self.base_url = checked_base_url(base_url, allow_plain=route.allow_plain)
        self.gate = Gate(limits.in_flight, supply=limits.supply, monotonic=monotonic)
        self._usual: dict[str, Usual] = {}
        self._limits = limits
        self._sleep = sleep
        self.monotonic = monotonic
        self._random = random
        self._tls = _tls_context(route)
        self._proxy = _checked_proxy(route.proxy)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: Request) -> Response:
        """The answer to `request`, whatever its status, after as many tries as it may have.

        Raises Retry `network.unreachable`, `network.timeout`, `answer.cut`; Stop `network.certificate`;
        Unsettled `write.unsettled` when a write may have arrived but no answer came back.
        """
        attempt = 1
        while True:
            outcome = await self._try(request)
            wait = wait_before_next(attempt, outcome, request, self._random(), self._limits.backoff)
            if wait is None or attempt >= self._limits.attempts:
                break
            _log.debug("%s: again in %.1f s", describe(request), wait)
            await self._sleep(wait)
            attempt += 1
        if isinstance(outcome, Failure):
            raise _no_answer(request, outcome, attempt)
        return outcome

    async def close(self) -> None:
        """Close all connections. Requests under way fail."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        await self.gate.close()

    async def _try(self, request: Request) -> Response | Failure:
        async with self.gate.slot():
            if request.leaves is not None:
                await request.leaves()
            started = self.monotonic()
            try:
                outcome: Response | Failure = await self._exchange(request, started)
            except aiohttp.ClientConnectorCertificateError as error:
                raise _untrusted(request, error) from error
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                outcome = _failure(error)
            elapsed = self.monotonic() - started
        self.gate.note(self._heard(request, outcome, elapsed))
        _log.debug("%s: %s in %.3f s", describe(request), outcome, elapsed)
        return outcome

    def _heard(self, request: Request, outcome: Response | Failure, elapsed: float) -> Heard:
        subject = subject_of(request.path)
        if isinstance(outcome, Failure):
            return Heard(subject, elapsed, failed=True, slow=outcome is Failure.TIMED_OUT)
        refused = outcome.status == _REFUSED
        if refused or is_transient(outcome, reads=request.reads):
            told = asked_to_wait(outcome) or 0.0
            return Heard(subject, elapsed, refused, failed=not refused, closed_for=min(told, _CLOSED_AT_MOST))
        usual = self._usual.setdefault(f"{request.method} {request.path}", Usual())
        return Heard(subject, elapsed, slow=usual.slow(elapsed))

    async def _exchange(self, request: Request, started: float) -> Response:
        async with self._open_session().request(
            request.method,
            URL(self.base_url + request.target, encoded=True),
            headers=[("Accept-Encoding", "gzip"), *request.headers],
            data=request.body,
            allow_redirects=False,
            proxy=self._proxy,
        ) as answer:
            body = await answer.read()
            headers = Headers(tuple(answer.headers.items()))
            elapsed = self.monotonic() - started
            return Response(answer.status, headers, body, elapsed, read_date(headers.get("Date")))

    def _open_session(self) -> aiohttp.ClientSession:
        """Made at the first call, because it belongs to the running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._limits.timeout_seconds),
                skip_auto_headers=("User-Agent", "Content-Type"),
                headers={"User-Agent": "nowbridge"},
                max_line_size=_LONGEST_HEADER,
                max_field_size=_LONGEST_HEADER,
                read_bufsize=_READ_AHEAD,
            )
        return self._session


def subject_of(path: str) -> str:
    """What a call is about, for counting: the table in the path, else the API (`oauth_token.do`, `batch`)."""
    parts = [part for part in path.split("/") if part]
    for name in ("table", "stats", "attachment"):
        if name in parts[:-1]:
            return parts[parts.index(name) + 1]
    return parts[-1] if parts else "/"


def checked_base_url(base_url: str, *, allow_plain: bool = False) -> str:
    """The instance URL without a trailing slash. Raises Stop `settings.instance_url`.

    Plain http is for this machine only, unless allowed: credentials travel with every call.
    """
    try:
        parts = urlsplit(base_url.strip())
        port = parts.port
    except ValueError as error:
        raise _bad_url("it is not a URL") from error
    host = parts.hostname
    if parts.scheme not in {"http", "https"} or not host:
        raise _bad_url("it does not have the form https://<name>.service-now.com")
    if parts.username is not None or parts.password is not None:
        raise _bad_url("it holds a user name or password")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise _bad_url("it has something behind the host")
    if parts.scheme == "http" and not allow_plain and not _is_loopback(host):
        raise _bad_url("it uses http, so credentials would travel in the clear")
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + (f":{port}" if port is not None else "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked_proxy(proxy: str | None) -> URL | None:
    if proxy is None:
        return None
    try:
        url = URL(proxy)
    except ValueError as error:
        raise _bad_proxy() from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise _bad_proxy()
    return url


def _tls_context(route: Route) -> ssl.SSLContext:
    """TLS 1.2 or later with verified certificates."""
    if route.tls is not None:
        if route.tls.minimum_version < ssl.TLSVersion.TLSv1_2 or route.tls.verify_mode is not ssl.CERT_REQUIRED:
            raise _bad_tls("the TLS context allows TLS below 1.2 or unverified certificates")
        return route.tls
    try:
        context = ssl.create_default_context(cafile=None if route.ca_file is None else str(route.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise _bad_tls(f"the CA file {route.ca_file} cannot be used ({type(error).__name__})") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if route.client_certificate is not None:
        try:
            context.load_cert_chain(route.client_certificate)
        except (OSError, ssl.SSLError) as error:
            why = f"the client certificate {route.client_certificate} cannot be used ({type(error).__name__})"
            raise _bad_tls(why) from error
    return context


def _failure(error: Exception) -> Failure:
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)):
        return Failure.NOT_SENT
    if isinstance(error, TimeoutError):
        return Failure.TIMED_OUT
    if isinstance(error, aiohttp.ClientPayloadError):
        return Failure.CUT
    return Failure.BROKEN


def _no_answer(request: Request, failure: Failure, attempts: int) -> NowbridgeError:
    answered = f"{failure.value} ({attempts} tries)"
    if not request.idempotent and failure is not Failure.NOT_SENT:
        return Unsettled(
            "write.unsettled", asked=request.asked, answered=answered, hint="It may have been carried out all the same."
        )
    if failure is Failure.CUT:
        return Retry("answer.cut", asked=request.asked, answered=answered)
    if failure is Failure.TIMED_OUT:
        return Retry("network.timeout", asked=request.asked, answered=answered, hint="Smaller pages take less time.")
    return Retry(
        "network.unreachable", asked=request.asked, answered=answered, hint="Check name, port, firewall and proxy."
    )


def _untrusted(request: Request, error: aiohttp.ClientConnectorCertificateError) -> Stop:
    return Stop(
        "network.certificate",
        asked=request.asked,
        answered=redact_text(str(error.certificate_error)),
        hint="For an instance behind a private authority, give its CA file: `nowbridge connect ... --ca-file FILE`.",
    )


def _bad_url(why: str) -> Stop:
    return Stop(
        "settings.instance_url",
        asked="use the instance URL",
        answered=why,
        hint="Write https://<name>.service-now.com.",
    )


def _bad_proxy() -> Stop:
    return Stop("settings.proxy", asked="use the proxy URL", answered="it does not have the form http://host:port")


def _bad_tls(why: str) -> Stop:
    return Stop(
        "settings.tls", asked="prepare TLS", answered=why, hint="Give a PEM file with the authority's certificate."
    )
