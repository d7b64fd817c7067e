"""Hints as an instance posts them, without the instance: a test decides which come, how often, when and in what order."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import pytest

from nowbridge.api.hooks import Receiver
from nowbridge.replica.hints import HintPass
from nowbridge.servicenow import hint_message
from nowbridge.store.instances import hooks
from nowbridge.store.instances.hooks import HookRow
from nowbridge.store.work import loss
from nowbridge.store.work.loss import Loss
from tests.support.replica import Bench

SECRET = b"a secret of thirty-two bytes ...!"


@dataclass(frozen=True, slots=True)
class Post:
    """What one rule sent."""

    time: str
    signature: str
    body: bytes


@dataclass(slots=True)
class HookBench:
    """The receiver of `bench`'s connection, and posts to it."""

    bench: Bench
    receiver: Receiver
    _nonces: itertools.count[int] = field(default_factory=itertools.count)

    async def cover(self, *tables: str) -> None:
        """These tables have a rule from now on."""
        async with self.bench.database.transaction() as connection:
            hook = HookRow(self.bench.connection_id, "twin", "abcd1234", "http://127.0.0.1/hooks/twin", b"sealed", 0.0)
            await hooks.save(connection, hook, now=self.bench.now())
            since = self.instance_time() - timedelta(seconds=1)
            await hooks.set_tables(connection, self.bench.connection_id, dict.fromkeys(tables, 1), active_from=since)

    def instance_time(self) -> datetime:
        return datetime.strptime(self.bench.twin.instance.clock.stamp(), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)

    def post(
        self, table: str, sys_id: str, operation: str = "update", *, rule: str = "", at: datetime | None = None
    ) -> Post:
        """What the rule on `rule` posts of a record as it is now."""
        row = self.bench.twin.instance.read(table, sys_id) or {}
        hint = {
            "table": table,
            "sys_id": sys_id,
            "operation": operation,
            "sys_mod_count": str(row.get("sys_mod_count", "")),
            "sys_updated_on": str(row.get("sys_updated_on", "")),
            "rule": rule or table,
        }
        return self.signed({"hints": [hint]}, at=at)

    def signed(self, body: dict[str, object], *, at: datetime | None = None, secret: bytes = SECRET) -> Post:
        text = json.dumps({"nonce": f"{next(self._nonces):032x}", **body}).encode()
        time = str(int((at or self.instance_time()).timestamp()))
        return Post(time, hint_message.signature(secret, time, text), text)

    async def deliver(self, *posts: Post, name: str = "twin") -> HTTPStatus:
        """The answer to the last of them."""
        answers = [await self.receiver.receive(name, post.time, post.signature, post.body) for post in posts]
        return answers[-1]

    async def update(self, sys_id: str, *, table: str = "incident", **values: str) -> Post:
        """Change a record; returns the post of its rule, not delivered."""
        self.bench.twin.instance.update(table, sys_id, values, user="admin")
        return self.post(table, sys_id)

    async def read(self) -> HintPass:
        """One round over the hints that are due, of which there must be some."""
        done = await self.bench.replica.read_hints()
        assert done is not None
        if done.error is not None:
            raise done.error
        return done

    async def read_all(self) -> int:
        """Rounds until no hint is due; the rows that changed or were removed."""
        changed = 0
        while (done := await self.bench.replica.read_hints()) is not None:
            changed += done.changed + done.removed
        return changed

    async def loss(self, table: str = "incident") -> Loss:
        """The meter of one table, once hints have had their time to come."""
        self.bench.now.pass_(seconds=loss.GRACE.total_seconds() + 1)
        async with self.bench.database.transaction() as connection:
            return next(one for one in await loss.losses(connection, now=self.bench.now()) if one.source == table)

    async def outcomes(self) -> dict[str, str | None]:
        """What became of the hints by sys_id; None for those that wait."""
        rows = await self.bench.rows(
            "SELECT sys_id, CASE WHEN done_at IS NOT NULL THEN outcome END FROM nowbridge.hint"
        )
        return dict(rows)


@pytest.fixture
def hooked(bench: Bench) -> HookBench:
    return HookBench(bench, Receiver(bench.database, bench.now, lambda row: SECRET))
