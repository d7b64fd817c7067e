"""The way to an instance: a private authority, our own certificate, a proxy on the way with or without a password."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from nowbridge.model.errors import NowbridgeError, Stop
from nowbridge.settings import load
from nowbridge.wiring import Credentials, SignIn, instance_of, route_of
from nowtwin.instance import Instance
from nowtwin.testing import RunningServer, serve
from tests.support.program import PASSWORD, Program
from tests.support.scripted_server import Heard, answer, scripted

PATH = "/api/now/table/sys_user"
PROXY_PASSWORD = "pr0xy/p@ss:word"


def sign_in(**options: str) -> SignIn:
    password = PROXY_PASSWORD if "@" in options.get("proxy", "") else ""
    return SignIn("basic", "admin", None, Credentials(password="admin", proxy_password=password), options)


async def fetch(tmp_path: Path, url: str, **options: str) -> int:
    settings = load({"HOME": str(tmp_path)})
    async with instance_of(settings, url, sign_in(**options), attempts=1) as instance:
        return (await instance.get(PATH, (("sysparm_limit", "1"),), asked="ask")).status


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem and, signed by it, server.pem and client.pem with their keys."""
    folder = tmp_path_factory.mktemp("authority")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a private authority")])
    for number, who in enumerate(("ca", "server", "client"), start=1):
        own = key if who == "ca" else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = name if who == "ca" else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)])
        hosts = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(own.public_key())
            .serial_number(number)
            .not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=36_500))
            .add_extension(hosts, critical=False)
            .add_extension(x509.BasicConstraints(ca=who == "ca", path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        private = own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / f"{who}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return folder


async def test_an_instance_behind_a_private_authority(tmp_path: Path, authority: Path) -> None:
    """nowtwin's own certificate is trusted when it is named, and not otherwise."""
    with Instance() as instance, serve(instance, tls=True) as server:
        assert server.certificate is not None
        assert await fetch(tmp_path, server.url, ca_file=str(server.certificate)) == 200
        for options in ({}, {"ca_file": str(authority / "ca.pem")}):
            with pytest.raises(Stop) as untrusted:
                await fetch(tmp_path, server.url, **options)
            assert untrusted.value.code == "network.certificate"
        for missing in (tmp_path / "missing.pem", tmp_path):
            with pytest.raises(Stop) as unusable:
                await fetch(tmp_path, server.url, ca_file=str(missing))
            assert unusable.value.code == "settings.tls"


async def right(heard: Heard) -> bytes:
    return answer()


async def test_our_own_certificate_is_shown_to_an_instance_that_asks_for_it(tmp_path: Path, authority: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem")
    context.load_verify_locations(authority / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    files = {"ca_file": str(authority / "ca.pem"), "client_certificate": str(authority / "client.pem")}
    async with scripted(right, context) as server:
        assert await fetch(tmp_path, server.url, **files) == 200
        with pytest.raises(NowbridgeError) as refused:
            await fetch(tmp_path, server.url, ca_file=files["ca_file"])
        assert refused.value.code == "network.unreachable"


@dataclass
class ForwardProxy:
    """A proxy as companies have them: CONNECT for https, whole URLs for http, a password if one is set."""

    wanted: str = ""
    asked: list[str] = field(default_factory=list)
    port: int = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.splitlines()[0].split(" ")
        self.asked.append(f"{method} {target}")
        if self.wanted and f"proxy-authorization: basic {self.wanted}".lower() not in head.lower():
            writer.write(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            where = target if method == "CONNECT" else target.split("/")[2]
            host, _, port = where.rpartition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Go on\r\n\r\n")
            else:
                plain = head.replace(f"http://{where}", "", 1).replace("\r\n", "\r\nConnection: close\r\n", 1)
                far_writer.write(plain.encode())
            await asyncio.gather(self.carry(reader, far_writer), self.carry(far_reader, writer))
        with suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while part := await reader.read(65_536):
                writer.write(part)
                await writer.drain()
            writer.close()


@asynccontextmanager
async def forward_proxy(user: str = "") -> AsyncIterator[ForwardProxy]:
    wanted = base64.b64encode(f"{user}:{PROXY_PASSWORD}".encode()).decode() if user else ""
    proxy = ForwardProxy(wanted)
    async with await asyncio.start_server(proxy.talk, "127.0.0.1", 0) as server:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy


async def test_https_goes_through_the_proxy_as_a_tunnel(tmp_path: Path) -> None:
    with Instance() as instance, serve(instance, tls=True) as server:
        host = server.url.removeprefix("https://")
        async with forward_proxy() as proxy:
            options = {"proxy": f"http://127.0.0.1:{proxy.port}", "ca_file": str(server.certificate)}
            assert await fetch(tmp_path, server.url, **options) == 200
        assert proxy.asked == [f"CONNECT {host}"]


@pytest.mark.parametrize("tls", [True, False])
async def test_a_proxy_that_wants_a_password_gets_it(tmp_path: Path, tls: bool) -> None:
    with Instance() as instance, serve(instance, tls=tls) as server:
        trusted = {"ca_file": str(server.certificate)} if tls else {}
        async with forward_proxy("ada") as proxy:
            there = f"127.0.0.1:{proxy.port}"
            assert await fetch(tmp_path, server.url, proxy=f"http://ada@{there}", **trusted) == 200
            with pytest.raises(NowbridgeError) as refused:
                await fetch(tmp_path, server.url, proxy=f"http://{there}", **trusted)
        assert PROXY_PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    ("environment", "options", "proxy"),
    [
        ({"https": "http://p:1"}, {}, "http://p:1"),
        ({"https": "http://p:1"}, {"proxy": "none"}, None),
        ({"https": "http://p:1"}, {"proxy": "http://q:2"}, "http://q:2"),
        ({"http": "http://p:1"}, {}, None),
        ({"https": "http://p:1", "no": "other.example, .service-now.com"}, {}, None),
        ({"https": "http://p:1", "no": "*"}, {}, None),
        ({"https": "http://p:1", "no": "now.com"}, {}, "http://p:1"),
    ],
)
def test_which_proxy_is_taken(environment: dict[str, str], options: dict[str, str], proxy: str | None) -> None:
    assert route_of("https://acme.service-now.com", sign_in(**options), environment).proxy == proxy


async def test_the_commands_keep_the_way_and_show_no_password(program: Program, account: RunningServer) -> None:
    async with forward_proxy("ada") as proxy:
        connected = await asyncio.to_thread(
            program.run,
            *("connect", account.url, "--name", "twin", "--auth", "basic", "--username", "svc.nowbridge"),
            *("--proxy", f"http://ada@127.0.0.1:{proxy.port}", "--secret-expires", "2030-01-01"),
            NOWBRIDGE_PASSWORD=PASSWORD,
            NOWBRIDGE_PROXY_PASSWORD=PROXY_PASSWORD,
        )
        assert connected.code == 0, connected.err
        loaded = await asyncio.to_thread(program.run, "replicate", "incident", "--json")
        assert loaded.code == 0, loaded.err
        assert len(proxy.asked) >= 2, "every call takes this way"
    away = await asyncio.to_thread(program.run, "verify", "incident", "--json")
    assert away.code == 4, "the proxy is gone, and nothing goes around it"
    for ran in (connected, loaded, away):
        assert PROXY_PASSWORD not in ran.out + ran.err
    assert program.run("connect", account.url, "--proxy", "http://u:p@h:1", "--auth", "basic").code == 2
