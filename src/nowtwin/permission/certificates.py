"""Certificate-based authentication (D:platform-security, set-up-mutual-auth.md): rows of sys_user_certificate map the PEM
certificate that is attached to them to a user, as whom a request with that client certificate runs.

Whether a certificate is good, and signed by a known authority, is the business of the TLS side (`--tls-client-ca`),
which is the load balancer of an instance. A user may have several certificates; one certificate is one user's.
"""

from collections.abc import Iterator
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from nowtwin.instance import Instance
from nowtwin.rules import attachments

TABLE: Final = "sys_user_certificate"
_ENABLED: Final = "glide.authenticate.mutual.enabled"


def user_of(instance: Instance, certificate: bytes) -> str:
    """The name of the user that a certificate (DER) is mapped to; empty where there is none."""
    if not certificate or instance.property(_ENABLED) == "false":
        return ""
    storage = instance.storage
    storage.ensure(TABLE, ("user", "active"))
    sql = f"SELECT sys_id, user FROM {TABLE} WHERE ifnull(active, 'true') <> 'false' AND user IS NOT NULL"  # noqa: S608 - a fixed name
    for sys_id, user in storage.rows(sql):
        if certificate in _attached(instance, str(sys_id)):
            row = storage.get("sys_user", str(user))
            return str(row.get("user_name") or "") if row else ""
    return ""


def _attached(instance: Instance, sys_id: str) -> Iterator[bytes]:
    """The certificate (DER) of each PEM file at a mapping: its first, behind which its chain may stand."""
    instance.storage.ensure(attachments.TABLE, ("table_name", "table_sys_id"))
    sql = "SELECT sys_id FROM sys_attachment WHERE table_name = ? AND table_sys_id = ?"
    for (attachment,) in instance.storage.rows(sql, (TABLE, sys_id)):
        try:
            (first, *_) = x509.load_pem_x509_certificates(attachments.content(instance, str(attachment)))
        except ValueError:
            continue
        yield first.public_bytes(Encoding.DER)
