"""Puts the parts together: settings in, database, instances and worker out. The only place that reads the clock, draws
random numbers and opens credentials; everything below is handed what it needs.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit
from urllib.request import getproxies_environment

import msgspec

from nowbridge.api.hooks import Receiver
from nowbridge.delivery.deliver import Manner
from nowbridge.jobs import notices, queue
from nowbridge.jobs.notices import Notifier
from nowbridge.jobs.worker import Duties, OpenReplica, Worker
from nowbridge.jobs.writes import Writes, WriteSettings
from nowbridge.model.errors import Retry, Stop
from nowbridge.replica.apply import TableLoader
from nowbridge.replica.run import Replica
from nowbridge.replica.spec import Pace
from nowbridge.replica.upkeep import Upkeep
from nowbridge.servicenow import auth as auths
from nowbridge.servicenow.instance import Instance
from nowbridge.settings import Settings
from nowbridge.store import backup, connections, embedded, migrate, provision, write_log
from nowbridge.store import sealed as sealed_store
from nowbridge.store.budget import SharedBudget
from nowbridge.store.connections import ConnectionRow
from nowbridge.store.database import Connection, Database, translated
from nowbridge.store.hooks import HookRow
from nowbridge.store.leases import Holder
from nowbridge.store.notices import Notice
from nowbridge.store.secrets import Keyring, key_of
from nowbridge.store.tables import TableRow
from nowbridge.store.write_log import Ended
from nowbridge.transport import mail
from nowbridge.transport.budget import Purpose
from nowbridge.transport.client import Client, Limits, Route
from nowbridge.transport.gate import Supply
from nowbridge.transport.messages import Headers, Request
from nowbridge.transport.purpose import calling_for
from nowbridge.writethrough.enable import enable_writes
from nowbridge.writethrough.settling import OnAbort

_SUCCESS = 2  # hundred


class Credentials(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is sealed with a connection. Which fields are set depends on how it signs in."""

    password: str = ""
    client_secret: str = ""
    api_key: str = ""
    proxy_password: str = ""

    def __repr__(self) -> str:
        return "Credentials(...)"


@dataclass(frozen=True, slots=True)
class SignIn:
    """How to sign in to an instance, as entered: `auth` is basic, oauth_password, client_credentials or api_key.
    `options` are those of its connection (OPTIONS).
    """

    auth: str
    username: str | None
    client_id: str | None
    credentials: Credentials
    options: Mapping[str, Any] = field(default_factory=dict)


OPTIONS = ("proxy", "ca_file", "client_certificate", "settings")
"""Of a connection: the way to it, and settings that hold for it alone."""


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the one clock that is injected everywhere else


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare_home` had to make: the master key, and these migrations."""

    key_made: bool
    migrations: tuple[str, ...]


def prepare_home(settings: Settings) -> Prepared:
    """Home folder, master key, database, reader role. Repeating it changes nothing. Raises Stop `home.unusable`."""
    try:
        Path(settings.home).mkdir(mode=0o700, parents=True, exist_ok=True)
        key_made = not settings.key_path.exists()
        if key_made:
            Keyring.create(settings.key_path)
    except OSError as error:
        raise Stop(
            "home.unusable",
            asked=f"make the folder {settings.home}",
            answered=error.strerror or str(error),
            hint="Choose another one with --home or NOWBRIDGE_HOME.",
        ) from error
    keyring(settings)
    dsn = start_database(settings)
    migrations = install(dsn)
    reader_dsn(settings, dsn)
    return Prepared(key_made, migrations)


def install(dsn: str) -> tuple[str, ...]:
    """Bring a database to what this version needs, queue included. Returns the migrations applied now."""
    with translated("prepare the database"):
        applied = migrate.migrate(dsn)
        queue.install(dsn)
    return applied


def start_database(settings: Settings) -> str:
    """The URL of the database as the product's role: DATABASE_URL, else the embedded server, started if need be."""
    if settings.database_url:
        return settings.database_url
    server = embedded.ensure_running(Path(settings.home), port=settings.postgres_port)
    with translated("prepare the embedded database"):
        return provision.provision(server)


def find_database(settings: Settings, *, upgrade: bool = False) -> str:
    """The URL of a database that was made before, started if need be. Raises Stop where there is none yet; an older
    one is brought up to date if `upgrade` says so, else refused.
    """
    if not settings.database_url and embedded.status(Path(settings.home)).server is None:
        raise Stop(
            "home.empty",
            asked="open the Nowbridge database",
            answered=f"{settings.home} holds none",
            hint="Run `nowbridge init` first, or set NOWBRIDGE_HOME or DATABASE_URL.",
        )
    dsn = start_database(settings)
    if upgrade:
        install(dsn)
        return dsn
    with translated("open the Nowbridge database"):
        missing = migrate.missing(dsn)
    if missing:
        raise Stop(
            "database.older",
            asked="open the Nowbridge database",
            answered=f"it lacks {missing[0]}, which this version needs",
            hint="Run `nowbridge init`: it brings the database up to date and keeps what is there.",
        )
    return dsn


def keyring(settings: Settings) -> Keyring:
    return Keyring.open(settings.key_path)


async def rotate_keys(settings: Settings, database: Database, told: Callable[[str], None] = lambda _: None) -> int:
    """A new master key, everything sealed anew under it, the old one forgotten. `told` hears of each step. What was broken
    off goes on where it stood: while the file holds several keys, no further one is made. Returns how many values were
    sealed anew.
    """
    ring = keyring(settings)
    if len(ring.held) == 1:
        ring = Keyring.renew(settings.key_path)
        told(f"new key {ring.current}")
    number = 0
    while True:
        async with database.transaction() as connection:
            old = [one for one in await sealed_store.every(connection) if key_of(one.value) != ring.current]
        if not old:
            break
        for one in old:
            context = _context(one.place, one.mark) if one.kind == "connection" else _hook_context(one.place, one.mark)
            anew = ring.seal(ring.unseal(one.value, context), context)
            async with database.transaction() as connection:
                number += await sealed_store.exchange(connection, one, anew)
            told(f"{one.kind} {one.place}")
    Keyring.forget_old(settings.key_path)
    told("the old key is forgotten")
    return number


def back_up(settings: Settings, file: Path, *, with_rows: bool, with_key: bool) -> backup.Manifest:
    """Raises Stop `backup.file`."""
    dsn = find_database(settings)
    lines = settings.key_path.read_bytes() if with_key else b""
    return backup.make(dsn, file, backup.Order(version("nowbridge"), now().isoformat(), with_rows, lines))


def restore(settings: Settings, file: Path, *, without_key: bool) -> backup.Manifest:
    """Into this home's database, which must hold nothing yet. The keys of the file, if any, are added to this home's.
    Raises Stop `backup.key` where the credentials could not be opened here.
    """
    manifest, lines = backup.read_manifest(file)
    Path(settings.home).mkdir(mode=0o700, parents=True, exist_ok=True)
    made = not settings.key_path.exists()
    if made and not lines and manifest.keys and not without_key:
        raise _no_key(manifest.keys, "this home has no master key")
    if made:
        Keyring.create(settings.key_path)
    ring = Keyring.add(settings.key_path, lines.split())
    if not without_key and (missing := sorted({*manifest.keys} - {*ring.held})):
        raise _no_key(missing, f"{settings.key_path} holds {', '.join(ring.held)}")
    dsn = start_database(settings)
    backup.restore(dsn, file, manifest, now=now().isoformat(timespec="seconds"))
    install(dsn)
    reader_dsn(settings, dsn)
    return manifest


def _no_key(keys: Sequence[str], answered: str) -> Stop:
    return Stop(
        "backup.key",
        asked=f"open the backup's credentials, which are sealed with the key {', '.join(keys)}",
        answered=f"the key is not in the backup, and {answered}",
        hint="Put the original's master.key into this home first; or restore --without-key and connect again.",
    )


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


def duties_of(settings: Settings) -> Duties:
    return Duties(
        parallel=own_in_flight(settings),
        heartbeat=settings.heartbeat_seconds,
        keep_feed=timedelta(days=settings.keep_changes_days),
        keep_tallies=timedelta(days=settings.keep_calls_days),
        keep_notices=timedelta(days=settings.keep_notices_days),
        keep_hints=timedelta(days=settings.keep_hints_days),
        keep_writes=timedelta(days=settings.keep_writes_days),
        stalled_after=settings.stalled_after_seconds,
        keep_tombstones=timedelta(days=settings.keep_tombstones_days),
    )


def new_holder(settings: Settings) -> Holder:
    """A name that no other worker has, now or after a restart."""
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    return Holder(name, timedelta(seconds=settings.lease_seconds))


def flow_of(sign_in: SignIn) -> auths.Auth:
    held = sign_in.credentials
    match sign_in.auth:
        case "basic":
            return auths.Basic(sign_in.username or "", held.password)
        case "oauth_password":
            return auths.OAuthPassword(
                sign_in.client_id or "", held.client_secret, sign_in.username or "", held.password
            )
        case "client_credentials":
            return auths.ClientCredentials(sign_in.client_id or "", held.client_secret)
        case "api_key":
            return auths.ApiKey(held.api_key)
        case other:
            raise Stop("connection.auth", asked="sign in", answered=f"{other} is no way to sign in that is known here")


@asynccontextmanager
async def instance_of(
    settings: Settings, url: str, sign_in: SignIn, *, attempts: int | None = None, database: Database | None = None
) -> AsyncIterator[Instance]:
    """An instance to talk to for a while. `attempts` per call; fewer where somebody waits for the answer. With the
    database the calls come out of the budget that workers share.
    """
    supply = None if database is None else _supply(settings, database, url, new_holder(settings))
    client = _client(settings, url, sign_in, attempts=attempts, supply=supply)
    try:
        yield Instance(client, flow_of(sign_in), now=now)
    finally:
        await client.close()


def sealed(settings: Settings, name: str, url: str, credentials: Credentials) -> bytes:
    """Credentials as they are stored: bound to the connection's name and address."""
    return keyring(settings).seal(msgspec.json.encode(credentials).decode(), _context(name, url))


def opened(settings: Settings, row: ConnectionRow) -> SignIn:
    """Raises Stop `connection.stopped`, and what the keyring raises."""
    connections.refuse_stopped(row)
    return unsealed(settings, row)


def unsealed(settings: Settings, row: ConnectionRow) -> SignIn:
    """Also of a connection that is stopped: for whoever lets it go on."""
    text = keyring(settings).unseal(row.sealed, _context(row.name, row.url))
    credentials = msgspec.json.decode(text, type=Credentials)
    return SignIn(row.auth, row.username, row.client_id, credentials, row.options)


def settings_for(settings: Settings, row: ConnectionRow) -> Settings:
    """The settings, with those that hold for this connection alone."""
    return msgspec.structs.replace(settings, **row.options.get("settings", {}))


async def open_replica(settings: Settings, database: Database, row: ConnectionRow, holder: Holder) -> OpenReplica:
    settings, sign_in = settings_for(settings, row), opened(settings, row)
    client = _client(settings, row.url, sign_in, supply=_supply(settings, database, row.url, holder))
    instance = Instance(client, flow_of(sign_in), now=now)
    replica = Replica(database, instance, row.id, holder, pace_of(settings), now)
    return OpenReplica(row, replica, client.close)


def worker_of(settings: Settings, database: Database, stop: asyncio.Event) -> Worker:
    async def opener(row: ConnectionRow, holder: Holder) -> OpenReplica:
        return await open_replica(settings, database, row, holder)

    notifier = notifier_of(settings, database)
    return Worker(
        database, new_holder(settings), duties_of(settings), now, opener, stop, notifier, write_settings_of(settings)
    )


async def make_writable(settings: Settings, database: Database) -> None:
    """Give the tables of every connection the triggers that SQL writes need."""
    async with database.transaction() as connection:
        rows = await connections.every(connection)
    for row in rows:
        async with instance_of(settings, row.url, opened(settings, row), database=database) as instance:
            await enable_writes(database, instance, row.id)


async def undo_write(settings: Settings, database: Database, write_id: int) -> Ended:
    """Carry the opposite of a write out, here and now. Returns how it ended."""
    holder = new_holder(settings)
    async with database.transaction() as connection:
        await write_log.add_undo(connection, write_id, role="nowbridge undo", now=now())
        rows = await connections.every(connection)
    for row in rows:
        replica = await open_replica(settings, database, row, holder)
        try:
            writes = Writes(database, holder, now, write_settings_of(settings))
            await writes.carry([replica.replica])
            await writes.end()
            await writes.settle([replica.replica])
            await replica.replica.read_hints()
        finally:
            await replica.close()
    async with database.transaction() as connection:
        return (await write_log.latest(connection, limit=1, only=write_id))[0]


def write_settings_of(settings: Settings) -> WriteSettings:
    manner = Manner(longest=settings.write_longest_seconds, parallel=own_in_flight(settings))
    return WriteSettings(settings.write_rows, settings.write_deletes, OnAbort(settings.write_on_abort), manner)


def receiver_of(settings: Settings, database: Database) -> Receiver:
    """Takes the hints of every connection that has hooks."""
    return Receiver(database, now, lambda row: opened_secret(settings, row))


def opened_secret(settings: Settings, row: HookRow) -> bytes:
    """What a connection's hints are signed with."""
    return base64.b64decode(keyring(settings).unseal(row.sealed, _hook_context(row.connection, row.hook_id)))


def new_hook(settings: Settings, row: ConnectionRow, url: str, *, like: HookRow | None = None) -> HookRow:
    """A hook with a new secret for a connection; `like` one that stands already, if there is one."""
    hook_id = like.hook_id if like is not None else secrets.token_hex(4)
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    sealed_secret = keyring(settings).seal(secret, _hook_context(row.name, hook_id))
    ahead = like.clock_ahead if like is not None else 0.0
    return HookRow(row.id, row.name, hook_id, url, sealed_secret, ahead)


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


@asynccontextmanager
async def verifier_of(
    settings: Settings, database: Database, row: ConnectionRow, tables: Sequence[TableRow]
) -> AsyncIterator[tuple[Upkeep, dict[int, TableLoader]]]:
    """What verifying these tables of a connection takes: their upkeep, and a loader by table id."""
    settings = settings_for(settings, row)
    opening = instance_of(settings, row.url, opened(settings, row), database=database)
    with calling_for(Purpose.VERIFY):
        async with opening as instance:
            replica = Replica(database, instance, row.id, new_holder(settings), pace_of(settings), now)
            yield replica.upkeep, {table.id: await replica.loader(table.id) for table in tables}


@asynccontextmanager
async def replica_of(settings: Settings, database: Database, row: ConnectionRow) -> AsyncIterator[Replica]:
    """The replica of a connection, also of one that is stopped: for whoever lets it go on."""
    settings = settings_for(settings, row)
    opening = instance_of(settings, row.url, unsealed(settings, row), database=database)
    with calling_for(Purpose.VERIFY):
        async with opening as instance:
            yield Replica(database, instance, row.id, new_holder(settings), pace_of(settings), now)


async def only_connection(connection: Connection, name: str | None) -> ConnectionRow:
    return await connections.load(connection, name)


def reader_dsn(settings: Settings, dsn: str) -> str:
    """The URL of the role that may only read the replica; made when missing. In a database of the user's own, where
    we may not make roles, the product's own URL.
    """
    if settings.database_url:
        return dsn
    return provision.ensure_reader(dsn, Path(settings.home))


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
        route=route_of(url, sign_in, getproxies_environment()),
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


def _context(name: str, url: str) -> str:
    return f"connection:{name}:{url}"


def _hook_context(name: str, hook_id: str) -> str:
    return f"hook:{name}:{hook_id}"
