"""Where notices go: webhook and mail, as far as they are set."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from urllib.parse import urlsplit

from nowbridge.jobs import notices
from nowbridge.jobs.notices import Notifier
from nowbridge.model.errors import Retry
from nowbridge.settings import Settings
from nowbridge.store.database import Database
from nowbridge.store.operation.notices import Notice
from nowbridge.transport import mail
from nowbridge.transport.client import Client, Limits
from nowbridge.transport.messages import Headers, Request
from nowbridge.wiring.clock import now

_SUCCESS = 2  # hundred


def notifier_of(settings: Settings, database: Database) -> Notifier:
    """Webhook and mail as far as they are set; the log always."""
    channels: dict[str, notices.Send] = {}
    if settings.notify_webhook:
        channels["webhook"] = _webhook(settings.notify_webhook)
    if settings.smtp_host:
        password = os.environ.get("NOWBRIDGE_SMTP_PASSWORD", "")
        server = mail.Server(
            settings.smtp_host, settings.smtp_port, settings.smtp_security, settings.smtp_user, password
        )

        async def post(notice: Notice) -> None:
            await mail.send(server, notices.as_mail(notice, settings.smtp_from, settings.smtp_to))

        channels["mail"] = post
    return Notifier(database, now, timedelta(seconds=settings.notify_lag_seconds), channels)


def _webhook(url: str) -> notices.Send:
    parts = urlsplit(url)
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"

    async def post(notice: Notice) -> None:
        client = Client(
            f"{parts.scheme}://{parts.netloc}",
            limits=Limits(in_flight=1, timeout_seconds=10, attempts=1),
            sleep=asyncio.sleep,
            monotonic=time.monotonic,
            random=lambda: 0.0,  # one try only: no wait to spread
        )
        lines = Headers((("Content-Type", "application/json"),))
        request = Request("POST", target, headers=lines, body=notices.as_body(notice), asked="post a notice")
        try:
            answer = await client.send(request)
        finally:
            await client.close()
        if answer.status // 100 != _SUCCESS:
            raise Retry("webhook.refused", asked="post a notice", answered=f"status {answer.status}")

    return post
