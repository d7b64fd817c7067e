"""The JWT bearer grant (D:platform-security/authentication/configure-an-oauth-jwt-bearer-grant.md, jwt-bearer-grant.md):
a client proves itself and names the user with a signed assertion.

Keys come from rows: jwt_verifier_map names a certificate (sys_certificate) or holds a shared key, chosen by `kid`. A key
set at a URL (`jwks_url`) is not fetched. Claims: `iss` and `aud` are the client id (or `aud` the token endpoint), `sub`
is looked up in the user column that the entry names, `exp` and `iat` may be off by its clock skew, a `jti` counts once.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509 import load_pem_x509_certificate

from nowtwin.accounts.registry import Application
from nowtwin.accounts.vault import Vault
from nowtwin.storage.rows import Storage
from nowtwin.values import number_of

_PARTS: Final = 3
_SKEW: Final = 300
_DIGESTS: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
_HMACS: Final = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}


@dataclass(frozen=True, slots=True)
class Assertion:
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def read(text: str) -> Assertion | None:
    """The parts of an assertion, unproven; None for what is none."""
    parts = text.split(".")
    if len(parts) != _PARTS:
        return None
    try:
        header, claims = (msgspec.json.decode(_unpacked(part), type=dict[str, Any]) for part in parts[:2])
        return Assertion(header, claims, ".".join(parts[:2]).encode(), _unpacked(parts[2]))
    except (msgspec.DecodeError, binascii.Error, ValueError):
        return None


def _unpacked(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


class Verifier:
    def __init__(self, storage: Storage, vault: Vault) -> None:
        self._storage = storage
        self._vault = vault
        self._used: set[tuple[str, str]] = set()
        storage.ensure("jwt_verifier_map", ("oauth_jwt", "kid", "sys_certificate"))

    def forget(self) -> None:
        """No assertion was used yet."""
        self._used.clear()

    def user_of(self, application: Application, assertion: Assertion, now: datetime, endpoint: str) -> str | None:
        """The user name that a proven assertion stands for."""
        if not self._timely(application, assertion.claims, now) or not self._signed(application, assertion):
            return None
        claims = assertion.claims
        client_id = application.client.client_id
        if claims.get("iss") != client_id or claims.get("aud") not in {client_id, endpoint}:
            return None
        if application.columns.get("enable_jti_verification") != "false":
            used = (client_id, str(claims.get(application.columns.get("jti_claim") or "jti", "")))
            if not used[1] or used in self._used:
                return None
            self._used.add(used)
        return self._user_name(application.columns.get("user_field") or "email", str(claims.get("sub", "")))

    def _timely(self, application: Application, claims: Mapping[str, Any], now: datetime) -> bool:
        skew = number_of(application.columns.get("clock_skew", "")) or _SKEW
        expires, issued = claims.get("exp"), claims.get("iat")
        if not isinstance(expires, int | float) or not isinstance(issued, int | float):
            return False
        return issued - skew <= now.timestamp() <= expires + skew

    def _signed(self, application: Application, assertion: Assertion) -> bool:
        kid = str(assertion.header.get("kid", ""))
        rows = self._storage.rows(
            "SELECT sys_id, sys_certificate FROM jwt_verifier_map WHERE oauth_jwt = ? AND ifnull(kid, '') IN (?, '')",
            (application.sys_id, kid),
        )
        return any(self._proves(str(sys_id), certificate, assertion) for sys_id, certificate in rows)

    def _proves(self, sys_id: str, certificate: object, assertion: Assertion) -> bool:
        algorithm = str(assertion.header.get("alg", ""))
        kind, size = algorithm[:2], algorithm[2:]
        if size not in _DIGESTS:
            return False
        if kind == "HS":
            key = self._vault.reveal(sys_id, "shared_key").encode()
            wanted = hmac.new(key, assertion.signed, _HMACS[size]).digest()
            return bool(key) and hmac.compare_digest(wanted, assertion.signature)
        row = self._storage.get("sys_certificate", str(certificate)) if certificate else None
        if row is None or row.get("active") == "false":
            return False
        return _signed_by(str(row.get("pem_certificate") or ""), kind, size, assertion)

    def _user_name(self, field: str, subject: str) -> str | None:
        if not subject or not self._storage.has("sys_user", field):
            return None
        quoted = field.replace('"', '""')
        rows = self._storage.rows(f'SELECT user_name FROM sys_user WHERE "{quoted}" = ?', (subject,))  # noqa: S608 - a known column
        return str(rows[0][0]) if len(rows) == 1 else None


def _signed_by(pem: str, kind: str, size: str, assertion: Assertion) -> bool:
    """Whether the key of a certificate, or a bare public key, made the signature."""
    digest = _DIGESTS[size]
    try:
        certified = "BEGIN CERTIFICATE" in pem
        key: object = (
            load_pem_x509_certificate(pem.encode()).public_key()
            if certified
            else serialization.load_pem_public_key(pem.encode())
        )
        if kind == "RS" and isinstance(key, rsa.RSAPublicKey):
            key.verify(assertion.signature, assertion.signed, padding.PKCS1v15(), digest)
            return True
        if kind == "ES" and isinstance(key, ec.EllipticCurvePublicKey):
            half = len(assertion.signature) // 2
            numbers = (int.from_bytes(assertion.signature[:half]), int.from_bytes(assertion.signature[half:]))
            key.verify(encode_dss_signature(*numbers), assertion.signed, ec.ECDSA(digest))
            return True
    except (InvalidSignature, ValueError):
        return False
    return False
