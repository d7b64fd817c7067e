"""The HTTP server around an Instance: uvicorn in a thread of its own, on loopback, with or without TLS.

It listens before `start` returns, on a free port when asked for port 0, and stops without leaving connections open.
"""

import asyncio
import ipaddress
import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from nowtwin.instance import Instance
from nowtwin.serving.app import App

_BACKLOG = 1024
_KEEP_ALIVE = 75
_GLANCE = 0.2
"""Seconds after which a start looks whether the server still lives."""


class _Transports:
    """Open connections by the client's address."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], asyncio.Transport] = {}

    def add(self, client: tuple[str, int], transport: asyncio.Transport) -> None:
        self._open[client] = transport

    def remove(self, client: tuple[str, int]) -> None:
        self._open.pop(client, None)

    def abort(self, client: tuple[str, int]) -> None:
        transport = self._open.pop(client, None)
        if transport is not None:
            transport.abort()

    def certificate(self, client: tuple[str, int]) -> bytes:
        """What a TLS client showed (DER); empty where it showed none."""
        transport = self._open.get(client)
        tls = transport.get_extra_info("ssl_object") if transport else None
        return (tls.getpeercert(binary_form=True) if tls else None) or b""


def _protocol(transports: _Transports) -> type[H11Protocol]:
    class Protocol(H11Protocol):
        """uvicorn's protocol that also tells which transport belongs to which client."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if self.client:
                transports.add(self.client, transport)

        def connection_lost(self, exc: Exception | None) -> None:
            if self.client:
                transports.remove(self.client)
            super().connection_lost(exc)

        def shutdown(self) -> None:
            """As uvicorn's, but an idle TLS connection ends at once instead of waiting for the client's goodbye."""
            idle = self.cycle is None or self.cycle.response_complete
            super().shutdown()
            if idle:
                self.transport.abort()

    return Protocol


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate for loopback, in PEM files."""

    certificate: Path
    key: Path


class CannotListen(ValueError):
    """An address that is not loopback, a port that cannot be had, authorities that cannot be read; says which and why."""


def loopback(host: str) -> str:
    """The loopback address that a host means. Raises CannotListen."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise CannotListen(f"{host} is no loopback address, and nowtwin listens on nothing else (127.0.0.1, ::1)")
    return str(address)


def _refuse_unreadable(authorities: Path) -> None:
    """Raises CannotListen unless the file has certificates in PEM."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(authorities)
    except OSError as error:  # SSLError is one
        raise CannotListen(f"{authorities} has no certificates in PEM: {error.strerror or error}") from error


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise CannotListen(f"port {port} of {host} cannot be had: {os.strerror(error.errno or 0)}") from error
    # Accepted sockets inherit it. asyncio sets it only on sockets made with an explicit protocol number, and without
    # it every small answer waits 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def make_certificate(directory: Path) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nowtwin")])
    now = datetime.now(UTC)  # noqa: TID251 - clients check the certificate against the real time
    addresses = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))
    names = [x509.DNSName("localhost"), *(x509.IPAddress(address) for address in addresses)]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(directory / "nowtwin.crt", directory / "nowtwin.key")
    made.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    made.key.chmod(0o600)
    return made


class _Announcing(uvicorn.Server):
    """uvicorn's server that also tells other threads when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answers = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answers.set()


class Server:
    """Serves one Instance at `port`, and over TLS at `tls_port` if that is given. Port 0 picks a free one. With
    `client_authorities` (PEM) a TLS client must show a certificate that one of them signed.

    Raises CannotListen, and leaves nothing open then.
    """

    def __init__(
        self,
        instance: Instance,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls_port: int | None = None,
        client_authorities: Path | None = None,
        controls: Sequence[Route] = (),
    ) -> None:
        self._host = loopback(host)
        self._controls = controls
        if client_authorities:
            _refuse_unreadable(client_authorities)
        self._client_authorities = client_authorities
        self._sockets = [_listen(self._host, port)]
        if tls_port is not None:
            try:
                self._sockets.append(_listen(self._host, tls_port))
            except CannotListen:
                self._sockets[0].close()
                raise
        self._directory = tempfile.TemporaryDirectory(prefix="nowtwin-tls-")
        self.certificate: Path | None = None
        self._servers = [self._make(instance, None)]
        if tls_port is not None:
            made = make_certificate(Path(self._directory.name))
            self.certificate = made.certificate
            self._servers.append(self._make(instance, made))
        self._thread = threading.Thread(target=self._run, name="nowtwin", daemon=True)
        instance.url = self.url

    @property
    def url(self) -> str:
        return f"http://{self._place(0)}"

    @property
    def tls_url(self) -> str | None:
        return f"https://{self._place(1)}" if self.certificate else None

    def _place(self, number: int) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._sockets[number].getsockname()[1]}"

    def start(self) -> None:
        """Serve; returns when every port answers."""
        self._thread.start()
        for server in self._servers:
            while not server.answers.wait(_GLANCE):
                if not self._thread.is_alive():
                    raise RuntimeError("the server ended before it answered")

    def stop(self) -> None:
        for server in self._servers:
            server.should_exit = True
        self._thread.join()
        self._directory.cleanup()

    def _make(self, instance: Instance, certificate: Certificate | None) -> _Announcing:
        transports = _Transports()
        config = uvicorn.Config(
            App(instance, transports, self._controls),
            http=_protocol(transports),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            date_header=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=1,
            ssl_certfile=certificate.certificate if certificate else None,
            ssl_keyfile=certificate.key if certificate else None,
            ssl_version=ssl.PROTOCOL_TLS_SERVER,
            ssl_ca_certs=str(self._client_authorities) if certificate and self._client_authorities else None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if self._client_authorities else ssl.CERT_NONE,
        )
        return _Announcing(config)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        pairs = zip(self._servers, self._sockets, strict=True)
        await asyncio.gather(*(server.serve(sockets=[listener]) for server, listener in pairs))
