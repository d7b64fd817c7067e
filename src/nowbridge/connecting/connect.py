"""A connection proved on its instance, and stored. Nothing is stored before it worked, unless somebody insists."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime

from nowbridge.connecting import check
from nowbridge.connecting.check import Report
from nowbridge.connecting.entry import BY_CONSENT, Credentials, SignIn
from nowbridge.model.errors import Stop
from nowbridge.replica.recognition import Recognition
from nowbridge.servicenow import identity
from nowbridge.servicenow.identity import Introduction
from nowbridge.servicenow.instance import Instance
from nowbridge.store.database import Database
from nowbridge.store.instances import connections, consents
from nowbridge.store.instances.connections import ConnectionRow, NewConnection
from nowbridge.store.rows import tables

Opener = Callable[[str, SignIn, ConnectionRow | None], AbstractAsyncContextManager[Instance]]
"""An instance to talk to for a while; the row is that of the connection as it is stored, where there is one."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A connection as it is to be. `held` is how it is stored now."""

    name: str
    url: str
    sign_in: SignIn
    secret_expires_at: datetime | None = None
    held: ConnectionRow | None = None
    secret_kept: bool = False

    @property
    def moves(self) -> bool:
        return self.held is not None and self.held.url != self.url


@dataclass(frozen=True, slots=True)
class Connector:
    """Tries and stores connections. `seal` closes the secrets of the connection of that name and address,
    `seal_refresh` the refresh token of the connection of that name.
    """

    database: Database
    clock: Callable[[], datetime]
    open: Opener
    seal: Callable[[str, str, Credentials], bytes]
    seal_refresh: Callable[[str, str], bytes]

    async def find(self, name: str) -> ConnectionRow | None:
        """Raises Stop `connection.stopped`."""
        async with self.database.transaction() as connection:
            rows = [row for row in await connections.every(connection) if row.name == name]
        for row in rows:
            connections.refuse_stopped(row)
        return rows[0] if rows else None

    async def connect(self, draft: Draft) -> Introduction:
        """Sign in, and store the connection if that worked. Raises what signing in raises, and as `store`."""
        async with self.open(draft.url, draft.sign_in, draft.held) as instance:
            introduction = await identity.introduce(instance, user_name=draft.sign_in.username, now=self.clock)
        await self.store(draft)
        return introduction

    async def examine(self, draft: Draft, preset: str | None = None) -> Report:
        """Try every right, as `nowbridge check` does."""
        held: list[tables.TableRow] = []
        if draft.held is not None:
            async with self.database.transaction() as connection:
                held = await tables.all_of(connection, draft.held.id)
        wanted = check.wanted_of(held, preset)
        async with self.open(draft.url, draft.sign_in, draft.held) as instance:
            return await check.examine(instance, draft.sign_in.username, wanted, self.clock)

    async def store(
        self, draft: Draft, *, instance: Instance | None = None, refresh: str | None = None
    ) -> ConnectionRow:
        """Keep it, untried but for this: a connection with tables gets another address only when its instance is
        recognised there. `instance` is signed in to it already, `refresh` the token of a sign-in that somebody allowed.
        Raises Stop `connection.other_instance` and what asking the instance raises.
        """
        same = await self._is_same(draft, instance) if draft.moves else False
        new = NewConnection(
            name=draft.name,
            url=draft.url,
            auth=draft.sign_in.auth,
            username=draft.sign_in.username,
            client_id=draft.sign_in.client_id,
            sealed=self.seal(draft.name, draft.url, draft.sign_in.credentials),
            options=dict(draft.sign_in.options),
            secret_expires_at=draft.secret_expires_at,
            secret_kept=draft.secret_kept,
        )
        now = self.clock()
        async with self.database.transaction() as connection:
            row = await connections.save(connection, new, now=now, same_instance=same)
            if refresh is not None:
                await consents.keep_refresh_token(connection, row.id, self.seal_refresh(row.name, refresh), now=now)
            elif row.auth != BY_CONSENT:
                await consents.forget_refresh_token(connection, row.id)
        return row

    async def _is_same(self, draft: Draft, instance: Instance | None) -> bool:
        """That the instance is the one whose records the connection's tables hold; true also where there are none."""
        assert draft.held is not None
        async with self.database.transaction() as connection:
            if not await tables.all_of(connection, draft.held.id):
                return True
        if instance is not None:
            return await self._recognise(draft, instance)
        async with self.open(draft.url, draft.sign_in, draft.held) as opened:
            return await self._recognise(draft, opened)

    async def _recognise(self, draft: Draft, instance: Instance) -> bool:
        assert draft.held is not None
        strange = await Recognition(self.database, instance, draft.held.id, self.clock).is_certain()
        if strange is None:
            return True
        raise Stop(
            "connection.other_instance",
            asked=f"point connection {draft.name} at {draft.url}",
            answered=f"its tables hold the records of {draft.held.url}, and that instance is not recognised there: {strange}",
            hint="Give another instance a connection of its own.",
        )
