"""Instances and replicas: a connection's settings, its way out, the shared budget, and what works on its tables."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit
from urllib.request import getproxies_environment

import msgspec

from nowbridge.connecting.entry import SHARED_PROXY
from nowbridge.jobs.worker import OpenReplica
from nowbridge.model.errors import Stop
from nowbridge.replica.apply import TableLoader
from nowbridge.replica.run import Replica
from nowbridge.replica.spec import Pace
from nowbridge.replica.upkeep import Upkeep
from nowbridge.servicenow.instance import Instance
from nowbridge.settings import Settings
from nowbridge.store.database import Connection, Database
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import ConnectionRow
from nowbridge.store.rows.tables import TableRow
from nowbridge.store.work.budget import SharedBudget
from nowbridge.store.work.leases import Holder
from nowbridge.transport.budget import Purpose
from nowbridge.transport.client import Client, Limits, Route
from nowbridge.transport.gate import Supply
from nowbridge.transport.purpose import calling_for
from nowbridge.wiring.clock import now
from nowbridge.wiring.credentials import KeptRefresh, SignIn, flow_of, kept_refresh, opened, unsealed


def pace_of(settings: Settings) -> Pace:
    return Pace(
        page_rows=settings.page_rows,
        poll=timedelta(seconds=settings.poll_seconds),
        safety_lag=timedelta(seconds=settings.safety_lag_seconds),
        audit=timedelta(seconds=settings.audit_seconds),
        check=timedelta(seconds=settings.check_seconds),
        compare=timedelta(seconds=settings.compare_seconds),
        schema=timedelta(seconds=settings.schema_seconds),
        labels=timedelta(seconds=settings.labels_seconds),
        labels_at_most=timedelta(seconds=settings.labels_seconds * 12),
        poll_hooked=timedelta(seconds=settings.poll_hooked_seconds),
        recent=timedelta(seconds=settings.recent_seconds),
        recent_window=timedelta(seconds=settings.recent_window_seconds),
    )


def new_holder(settings: Settings) -> Holder:
    """A name that no other worker has, now or after a restart."""
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    return Holder(name, timedelta(seconds=settings.lease_seconds))


def settings_for(settings: Settings, row: ConnectionRow) -> Settings:
    """The settings, with those that hold for this connection alone."""
    return msgspec.structs.replace(settings, **row.options.get("settings", {}))


async def only_connection(connection: Connection, name: str | None) -> ConnectionRow:
    return await connections.load(connection, name)


@asynccontextmanager
async def instance_of(
    settings: Settings,
    url: str,
    sign_in: SignIn,
    *,
    attempts: int | None = None,
    database: Database | None = None,
    kept: KeptRefresh | None = None,
) -> AsyncIterator[Instance]:
    """An instance to talk to for a while. `attempts` per call; fewer where somebody waits for the answer. With the
    database the calls come out of the budget that workers share. `kept` is the connection's, from `kept_by`.
    """
    supply = None if database is None else _supply(settings, database, url, new_holder(settings))
    client = _client(settings, url, sign_in, attempts=attempts, supply=supply)
    try:
        yield Instance(client, flow_of(sign_in), now=now, kept=kept)
    finally:
        await client.close()


def kept_by(settings: Settings, database: Database, row: ConnectionRow) -> KeptRefresh | None:
    """Where the connection's refresh token is kept, if somebody has allowed it at the instance."""
    return kept_refresh(settings, database, row, now)


@asynccontextmanager
async def stored_instance(
    settings: Settings, row: ConnectionRow, database: Database, *, attempts: int | None = None, shared: bool = False
) -> AsyncIterator[Instance]:
    """The instance of a stored connection. `shared`: its calls come out of the budget that workers share."""
    sign_in, kept = opened(settings, row), kept_by(settings, database, row)
    budget = database if shared else None
    async with instance_of(settings, row.url, sign_in, attempts=attempts, database=budget, kept=kept) as instance:
        yield instance


async def open_replica(settings: Settings, database: Database, row: ConnectionRow, holder: Holder) -> OpenReplica:
    settings, sign_in = settings_for(settings, row), opened(settings, row)
    client = _client(settings, row.url, sign_in, supply=_supply(settings, database, row.url, holder))
    instance = Instance(client, flow_of(sign_in), now=now, kept=kept_by(settings, database, row))
    replica = Replica(database, instance, row.id, holder, pace_of(settings), now)
    return OpenReplica(row, replica, client.close)


@asynccontextmanager
async def replica_of(settings: Settings, database: Database, row: ConnectionRow) -> AsyncIterator[Replica]:
    """The replica of a connection, also of one that is stopped: for whoever lets it go on."""
    settings = settings_for(settings, row)
    kept = kept_by(settings, database, row)
    opening = instance_of(settings, row.url, unsealed(settings, row), database=database, kept=kept)
    with calling_for(Purpose.VERIFY):
        async with opening as instance:
            yield Replica(database, instance, row.id, new_holder(settings), pace_of(settings), now)


@asynccontextmanager
async def verifier_of(
    settings: Settings, database: Database, row: ConnectionRow, tables: Sequence[TableRow]
) -> AsyncIterator[tuple[Upkeep, dict[int, TableLoader]]]:
    """What verifying these tables of a connection takes: their upkeep, and a loader by table id."""
    settings = settings_for(settings, row)
    opening = stored_instance(settings, row, database, shared=True)
    with calling_for(Purpose.VERIFY):
        async with opening as instance:
            replica = Replica(database, instance, row.id, new_holder(settings), pace_of(settings), now)
            yield replica.upkeep, {table.id: await replica.loader(table.id) for table in tables}


def own_in_flight(settings: Settings) -> int:
    """How many requests this process may have on the wire to one instance."""
    return min(settings.requests_in_flight, settings.worker_requests_in_flight or settings.requests_in_flight)


def _supply(settings: Settings, database: Database, url: str, holder: Holder) -> SharedBudget:
    return SharedBudget(
        database,
        url,
        holder.name,
        most=settings.requests_in_flight,
        per_hour=settings.requests_per_hour,
        lease=holder.lease / 2,
    )


def _client(
    settings: Settings, url: str, sign_in: SignIn, *, attempts: int | None = None, supply: Supply | None = None
) -> Client:
    limits = Limits(in_flight=own_in_flight(settings), supply=supply)
    return Client(
        url,
        limits=limits if attempts is None else replace(limits, attempts=attempts),
        sleep=asyncio.sleep,
        monotonic=time.monotonic,
        random=random.random,  # noqa: S311 - spreads retries; nothing secret depends on it
        route=route_of(url, _by_shared_proxy(settings, sign_in), getproxies_environment()),
    )


def _by_shared_proxy(settings: Settings, sign_in: SignIn) -> SignIn:
    """The way of a connection that takes the shared proxy, which instances may know as the one caller they allow. Raises
    Stop `settings.shared_proxy` where there is none.
    """
    if sign_in.options.get("proxy") != SHARED_PROXY:
        return sign_in
    if not settings.shared_proxy:
        raise Stop(
            "settings.shared_proxy",
            asked="go out by the shared proxy, as the connection says",
            answered="none is set",
            hint="Set shared_proxy (docs/settings.md), or give the connection another way out.",
        )
    password = os.environ.get("NOWBRIDGE_SHARED_PROXY_PASSWORD", "")
    return replace(
        sign_in,
        options={**sign_in.options, "proxy": settings.shared_proxy},
        credentials=msgspec.structs.replace(sign_in.credentials, proxy_password=password),
    )


def route_of(url: str, sign_in: SignIn, environment: Mapping[str, str]) -> Route:
    """The way to an instance: the connection's own proxy ("none" for none at all), else that of the environment's
    HTTP(S)_PROXY and NO_PROXY.
    """
    proxy = sign_in.options.get("proxy")
    if proxy is None:
        parts = urlsplit(url)
        spared = _is_spared(parts.hostname or "", environment.get("no", ""))
        proxy = None if spared else environment.get(parts.scheme)
    elif proxy == "none":
        proxy = None
    elif sign_in.credentials.proxy_password:
        parts = urlsplit(proxy)
        user = f"{parts.username or ''}:{quote(sign_in.credentials.proxy_password, safe='')}"
        proxy = urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}"))
    return Route(_file(sign_in, "ca_file"), _file(sign_in, "client_certificate"), proxy)


def _file(sign_in: SignIn, option: str) -> Path | None:
    return Path(sign_in.options[option]) if sign_in.options.get(option) else None


def _is_spared(host: str, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host, a domain above it, or everything (*)."""
    names = [name.strip().lstrip(".").lower() for name in no_proxy.split(",") if name.strip()]
    return any(name in {"*", host} or host.endswith(f".{name}") for name in names)
