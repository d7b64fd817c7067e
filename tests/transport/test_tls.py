"""An https URL means TLS 1.2 or later with a certificate that is trusted."""

from __future__ import annotations

import asyncio
import ssl
import time
import warnings
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from nowbridge.model.errors import Retry, Stop
from nowbridge.transport.client import Client, Limits, Route
from nowbridge.transport.messages import Request, Response
from tests.support.scripted_server import Heard, answer, scripted

if TYPE_CHECKING:
    from pathlib import Path

BORN = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One PEM file with a self-signed certificate for localhost and its key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(BORN)
        .not_valid_after(BORN + timedelta(days=36_500))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def no_wait(seconds: float) -> None:
    await asyncio.sleep(0)


async def fetch(tls: ssl.SSLContext, route: Route) -> Response:
    async def right(heard: Heard) -> bytes:
        return answer()

    async with scripted(right, tls) as server:
        client = Client(
            server.url,
            limits=Limits(attempts=2, timeout_seconds=5),
            sleep=no_wait,
            monotonic=time.monotonic,
            random=lambda: 0.0,
            route=route,
        )
        try:
            return await client.send(Request("GET", "/", asked="try TLS"))
        finally:
            await client.close()


@pytest.mark.req("L7", "L11")
async def test_the_usual_suite_of_tls_12_is_accepted(certificate: Path) -> None:
    tls = serving(certificate)
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    tls.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    assert (await fetch(tls, Route(ca_file=certificate))).status == 200


@pytest.mark.req("L11")
async def test_tls_13_is_accepted(certificate: Path) -> None:
    tls = serving(certificate)
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    assert (await fetch(tls, Route(ca_file=certificate))).status == 200


@pytest.mark.req("L11")
async def test_tls_11_is_not(certificate: Path) -> None:
    tls = serving(certificate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is deprecated is the point
        tls.minimum_version = ssl.TLSVersion.TLSv1_1
        tls.maximum_version = ssl.TLSVersion.TLSv1_1
    tls.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(Retry) as caught:
        await fetch(tls, Route(ca_file=certificate))
    assert caught.value.code == "network.unreachable"


async def test_a_certificate_nobody_vouches_for_stops_and_names_the_way_out(certificate: Path) -> None:
    with pytest.raises(Stop) as caught:
        await fetch(serving(certificate), Route())
    assert caught.value.code == "network.certificate"
    assert "CA file" in caught.value.hint


def without_checks() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize("broken", ["no such file", "no PEM in it", "unverified"])
def test_unusable_tls_settings_are_refused_at_once(broken: str, tmp_path: Path) -> None:
    (tmp_path / "no PEM in it").write_text("hello")
    route = Route(tls=without_checks()) if broken == "unverified" else Route(ca_file=tmp_path / broken)
    with pytest.raises(Stop) as caught:
        Client(
            "https://dev1.service-now.com",
            limits=Limits(),
            sleep=no_wait,
            monotonic=time.monotonic,
            random=lambda: 0.0,
            route=route,
        )
    assert caught.value.code == "settings.tls"
