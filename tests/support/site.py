"""The twin as an account sees it, with waits that take no time and a clock that the test moves."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nowbridge.servicenow.auth import Auth, Basic
from nowbridge.servicenow.instance import Instance
from nowbridge.transport.client import Client, Limits
from nowtwin.behaviour.faults import FaultRule

if TYPE_CHECKING:
    from nowtwin.access.hiding import HideRule
    from nowtwin.testing import RunningServer

ADMIN = Basic("admin", "admin")


@dataclass
class Site:
    """The twin and the clock of our side of it."""

    twin: RunningServer
    now: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)
    waits: list[float] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)

    def sign_in(self, auth: Auth = ADMIN, url: str | None = None) -> Instance:
        client = Client(
            url or self.twin.url,
            limits=Limits(attempts=3, timeout_seconds=10),
            sleep=self.sleep,
            monotonic=time.monotonic,
            random=lambda: 0.0,
        )
        self.clients.append(client)
        return Instance(client, auth, now=lambda: self.now)

    def pass_time(self, seconds: float) -> None:
        """On both sides."""
        self.now += timedelta(seconds=seconds)
        self.twin.instance.clock.advance(seconds)

    def arm(self, **rule: object) -> None:
        self.twin.instance.faults.arm([FaultRule(**rule)])  # type: ignore[arg-type]

    def hide(self, *rules: HideRule) -> None:
        self.twin.instance.access.rules.extend(rules)

    def add_incidents(self, number: int, **values: str) -> list[str]:
        ids = [f"{at:032x}" for at in range(number)]
        rows = [{"sys_id": i, "number": f"INC{at:07}", **values} for at, i in enumerate(ids)]
        self.twin.instance.load("incident", rows)
        return ids

    def calls(self, path: str) -> int:
        return sum(path in call.path for call in self.twin.instance.calls.entries)
