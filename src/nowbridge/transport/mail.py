"""Hands one mail to an SMTP server. The only importer of smtplib.

TLS is verified like that of the instance; without TLS only a server on this machine is talked to.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage

from nowbridge.model.errors import Retry

_PATIENCE = 15.0  # seconds


@dataclass(frozen=True, slots=True)
class Server:
    """`security` is starttls, tls or none. Without a `user` nobody logs in."""

    host: str
    port: int
    security: str
    user: str = ""
    password: str = field(default="", repr=False)


async def send(server: Server, message: EmailMessage) -> None:
    """Raises Retry `mail.unsent` with the server's own words."""
    try:
        await asyncio.to_thread(_send, server, message)
    except (OSError, smtplib.SMTPException) as error:
        raise Retry(
            "mail.unsent",
            asked=f"send a mail by {server.host}:{server.port}",
            answered=_words(error),
            hint="Check the smtp_ settings and NOWBRIDGE_SMTP_PASSWORD.",
        ) from error


def _send(server: Server, message: EmailMessage) -> None:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if server.security == "tls":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=_PATIENCE, context=context)
    else:
        connection = smtplib.SMTP(server.host, server.port, timeout=_PATIENCE)
    with connection:
        if server.security == "starttls":
            connection.starttls(context=context)
        if server.user:
            connection.login(server.user, server.password)
        connection.send_message(message)


def _words(error: Exception) -> str:
    """What the server said, without the addresses and the log-in that the exception may quote."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__} {error.smtp_code}"
    return (
        type(error).__name__
        if isinstance(error, smtplib.SMTPException)
        else str(error.args[-1:] or type(error).__name__)
    )
