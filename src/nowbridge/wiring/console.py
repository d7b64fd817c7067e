"""What makes, tries and stores connections; and the console on top of it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from nowbridge.api.access import Doorkeeper
from nowbridge.api.console import Console
from nowbridge.connecting.connect import Connector
from nowbridge.connecting.consent import Consents
from nowbridge.servicenow.instance import Instance
from nowbridge.settings import Settings
from nowbridge.store.database import Database
from nowbridge.store.instances.connections import ConnectionRow
from nowbridge.wiring.clock import now
from nowbridge.wiring.credentials import SignIn, keyring, sealed, sealed_refresh, unsealed
from nowbridge.wiring.replicas import instance_of, kept_by

_ATTEMPTS = 2  # somebody waits for the answer


def connector_of(settings: Settings, database: Database) -> Connector:
    @asynccontextmanager
    async def opening(url: str, sign_in: SignIn, row: ConnectionRow | None) -> AsyncIterator[Instance]:
        same = row is not None and (row.auth, row.url, row.client_id) == (sign_in.auth, url, sign_in.client_id)
        kept = kept_by(settings, database, row) if row is not None and same else None
        async with instance_of(settings, url, sign_in, attempts=_ATTEMPTS, kept=kept) as instance:
            yield instance

    return Connector(
        database,
        now,
        opening,
        lambda name, url, credentials: sealed(settings, name, url, credentials),
        lambda name, token: sealed_refresh(settings, name, token),
    )


def console_of(settings: Settings, database: Database) -> Console:
    """The console of this home. Keys are read from their file for each use, so that a rotation is taken up."""
    connector = connector_of(settings, database)
    consents = Consents(
        connector,
        lambda text, context: keyring(settings).seal(text, context),
        lambda value, context: keyring(settings).unseal(value, context),
        lambda: keyring(settings).derived("consent"),
        secrets.token_bytes,
    )
    return Console(
        database,
        now,
        Doorkeeper(database, now, lambda: keyring(settings).derived("console"), secrets.token_bytes),
        connector,
        consents,
        lambda row: unsealed(settings, row),
        timedelta(seconds=settings.stalled_after_seconds),
        settings.console_url.rstrip("/"),
        settings.caller_ip,
        settings.shared_proxy,
    )
