"""Knows what is, and makes what a plan says: step by step, each in a transaction of its own, so that after a failure the
next plan shows what is left.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from nowbridge import wiring
from nowbridge.configuration.difference import Change, Kind
from nowbridge.configuration.document import ConnectionEntry, Document, TableEntry
from nowbridge.jobs import queue
from nowbridge.model.errors import Stop
from nowbridge.replica import amendments
from nowbridge.replica.layout import Selection
from nowbridge.replica.run import add_tables
from nowbridge.replica.spec import TableSpec
from nowbridge.servicenow import identity
from nowbridge.settings import Settings
from nowbridge.store.database import Connection, Database
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import ConnectionRow, NewConnection
from nowbridge.store.rows import columns, tables
from nowbridge.store.rows.tables import TableRow
from nowbridge.store.work import pauses, watches
from nowbridge.wiring import Credentials, SignIn

_NEEDS = {
    "basic": ("password",),
    "oauth_password": ("client_secret", "password"),
    "client_credentials": ("client_secret",),
    "api_key": ("api_key",),
    "authorization_code": ("client_secret",),
}


async def what_is(connection: Connection) -> Document:
    """The configuration as it is stored; secrets are not in it."""
    rows = await tables.all_of(connection)
    modes = {line.relation: line.mode for line in await watches.status(connection)}
    paused = await pauses.paused(connection)
    entries = []
    for row in await connections.every(connection):
        own = [_table_entry(table, modes[table.relation], paused) for table in rows if table.connection_id == row.id]
        entries.append(_connection_entry(row, own))
    return Document(tuple(sorted(entries, key=lambda entry: entry.name)))


def _connection_entry(row: ConnectionRow, own: list[TableEntry]) -> ConnectionEntry:
    expires = row.secret_expires_at
    return ConnectionEntry(
        row.name,
        row.url,
        row.auth,
        row.username or "",
        row.client_id or "",
        row.options.get("proxy", ""),
        row.options.get("ca_file", ""),
        row.options.get("client_certificate", ""),
        f"{expires.astimezone(UTC):%Y-%m-%d}" if expires else "",
        settings=tuple(sorted(row.options.get("settings", {}).items())),
        tables=tuple(sorted(own, key=lambda entry: entry.source)),
    )


def _table_entry(row: TableRow, mode: str, paused: frozenset[int]) -> TableEntry:
    selection = _selected(row)
    return TableEntry(
        row.source,
        row.relation.name,
        row.query,
        selection.include,
        selection.exclude,
        tuple(sorted(selection.names.items())),
        row.contract,
        mode,
        row.sql_deletes,
        row.id in paused,
    )


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the steps of a plan. `environment` holds the secrets that the file names."""

    settings: Settings
    database: Database
    wanted: Document
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    async def make(self, steps: list[Change], done: Callable[[Change], None]) -> None:
        """Raises Stop `config.secret`, and what signing in, adding and changing raise; steps before that are made."""
        entries = {entry.name: entry for entry in self.wanted.connections}
        for step in steps:
            if step.kind is Kind.REMOVE:
                await self._remove(step)
            elif not step.source:
                await self._save(entries[step.connection], new=step.kind is Kind.ADD)
            else:
                entry = next(t for t in entries[step.connection].tables if t.source == step.source)
                await self._table(step, entry)
            done(step)
        async with self.database.transaction() as connection:
            await connections.declare(connection, list(entries), self.wanted.place)

    async def _save(self, entry: ConnectionEntry, *, new: bool) -> None:
        """Sign in, and store the connection if that worked."""
        held: ConnectionRow | None = None
        if not new:
            async with self.database.transaction() as connection:
                held = await connections.load(connection, entry.name)
        sign_in = self._sign_in(entry, held)
        kept = wiring.kept_by(self.settings, self.database, held) if held is not None else None
        async with wiring.instance_of(self.settings, entry.url, sign_in, attempts=2, kept=kept) as instance:
            await identity.introduce(instance, user_name=sign_in.username, now=wiring.now)
        expires = datetime.fromisoformat(entry.secret_expires).replace(tzinfo=UTC) if entry.secret_expires else None
        sealed = wiring.sealed(self.settings, entry.name, entry.url, sign_in.credentials)
        made = NewConnection(
            entry.name,
            entry.url,
            entry.auth,
            sign_in.username,
            sign_in.client_id,
            sealed,
            dict(sign_in.options),
            expires,
        )
        async with self.database.transaction() as connection:
            await connections.save(connection, made, now=wiring.now(), declared_in=self.wanted.place)

    def _sign_in(self, entry: ConnectionEntry, held: ConnectionRow | None) -> SignIn:
        stored = wiring.opened(self.settings, held).credentials if held is not None else Credentials()
        named = {name: self._secret(entry, name, where) for name, where in entry.secrets}
        credentials = msgspec.structs.replace(stored, **named)
        for name in _NEEDS[entry.auth]:
            if not getattr(credentials, name):
                raise _no_secret(entry, name, "it is not stored, and the file does not say where it is")
        options: dict[str, object] = {
            name: getattr(entry, name) for name in ("proxy", "ca_file", "client_certificate") if getattr(entry, name)
        }
        if entry.settings:
            options["settings"] = dict(entry.settings)
        return SignIn(entry.auth, entry.username or None, entry.client_id or None, credentials, options)

    def _secret(self, entry: ConnectionEntry, name: str, where: str) -> str:
        kind, _, place = where.partition(":")
        if kind == "env":
            found = self.environment.get(place, "")
        else:
            try:
                found = Path(place).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise _no_secret(entry, name, f"{place} cannot be read ({type(error).__name__})") from None
        if not found:
            raise _no_secret(entry, name, f"{where} holds nothing")
        return found

    async def _table(self, step: Change, entry: TableEntry) -> None:
        async with self.database.transaction() as connection:
            owner = await connections.load(connection, step.connection)
            if step.kind is Kind.ADD:
                spec = TableSpec(
                    entry.source,
                    entry.filter,
                    entry.name,
                    _selection(entry),
                    entry.contract,
                )
                async with wiring.stored_instance(self.settings, owner, self.database, attempts=3) as instance:
                    await add_tables(connection, instance, owner, [spec], wiring.now)
                await queue.defer_prepare(connection, owner.id)
            row = next(r for r in await tables.all_of(connection, owner.id) if r.source == entry.source)
            await self._settle(connection, row, entry)
        if _selected(row) != _selection(entry):
            async with wiring.replica_of(self.settings, self.database, owner) as replica:
                await amendments.change_columns(replica, row.id, _selection(entry))
        if row.relation.name != entry.name:
            async with self.database.transaction() as connection:
                row = await tables.load(connection, row.id)
            await amendments.rename_table(self.database, row, entry.name, asyncio.sleep)

    async def _settle(self, connection: Connection, row: TableRow, entry: TableEntry) -> None:
        now = wiring.now()
        if row.contract != entry.contract:
            await columns.set_contract(connection, row, entry.contract, now=now)
        await watches.set_mode(connection, row.id, entry.deletes)
        await watches.set_by_sql(connection, row.id, entry.sql_deletes)
        if row.query != entry.filter:
            await amendments.change_filter(connection, row, entry.filter, wiring.now)
            await queue.defer_prepare(connection, row.connection_id)
        await (pauses.pause if entry.paused else pauses.resume)(connection, [row.id], now=now)

    async def _remove(self, step: Change) -> None:
        """Stop replicating; the table itself stays in Postgres as it is."""
        async with self.database.transaction() as connection:
            owner = await connections.load(connection, step.connection)
            if step.source:
                row = next(r for r in await tables.all_of(connection, owner.id) if r.source == step.source)
                await tables.forget(connection, row.id)
            else:
                await connections.forget(connection, owner.id)


def _selected(row: TableRow) -> Selection:
    """What a table's columns are, in the order of the file."""
    held = msgspec.convert(row.selection, Selection)
    return Selection(tuple(sorted(held.include)), tuple(sorted(held.exclude)), held.names)


def _selection(entry: TableEntry) -> Selection:
    return Selection(entry.include, entry.exclude, dict(entry.rename))


def _no_secret(entry: ConnectionEntry, name: str, why: str) -> Stop:
    return Stop(
        "config.secret",
        asked=f"find {name} of connection {entry.name}",
        answered=why,
        hint=f"Write secrets: {{{name}: env:NAME}} or file:PATH, and see that it is there.",
    )
