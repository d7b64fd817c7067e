"""A writable replica of the twin, and SQL users on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from nowbridge.store.server.provision import as_role
from nowbridge.store.writes import loopback, sql_users, write_log
from nowbridge.writethrough.enable import enable_writes
from nowbridge.writethrough.writer import Writer
from nowtwin.query.parse import parse
from nowtwin.records.selecting import select
from tests.support.replica import Bench

USER = "3" * 32
FIELDS = {"incident": ("short_description",), "sys_journal_field": ("element_id", "value")}
PASSWORD = "for this test only"


@dataclass(slots=True)
class Writing:
    """The bench with SQL writes on, and one writer at work."""

    bench: Bench
    dsn: str
    writer: Writer
    ids: list[str]
    maintenance: psycopg.Connection
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    running: set[asyncio.Task[None]] = field(default_factory=set)
    working: asyncio.Task[None] | None = None
    looks: int = 0

    async def connect(self, user: str = "ada") -> AsyncConnection[TupleRow]:
        return await AsyncConnection.connect(as_role(self.dsn, user, PASSWORD), autocommit=True)

    async def add_user(
        self, name: str, *, writes: bool, tables: list[str] | None = None, stamp: dict[str, str] | None = None
    ) -> None:
        async with self.bench.database.transaction() as connection:
            rights = sql_users.Rights(writes, tables, stamp or {})
            await sql_users.add(connection, name, PASSWORD, rights, now=self.bench.now())

    async def work(self) -> None:
        """One writer, until it is told to stop: what a worker's loops do."""
        async with await AsyncConnection.connect(self.dsn, autocommit=True) as listening:
            await listening.execute(f"LISTEN {write_log.CHANNEL}")
            while not self.stop.is_set():
                claimed = await self.claimed()
                self.looks += 1
                for entry in claimed:
                    task = asyncio.create_task(self.writer.carry_out(entry))
                    self.running.add(task)
                    task.add_done_callback(self.running.discard)
                async for _ in listening.notifies(timeout=0.1, stop_after=1):
                    pass
            await self.quiet()

    async def idle(self) -> None:
        """Wait until the writer has looked twice in vain with nothing at work: a client that waits now waits for another."""
        seen = self.looks
        while self.looks < seen + 2:
            if self.running:
                seen = self.looks
            await asyncio.sleep(0)

    async def quiet(self) -> None:
        """Wait until the writer has ended what it took."""
        await asyncio.gather(*self.running)

    async def pause(self) -> None:
        """No writer is at work."""
        self.stop.set()
        if self.working is not None:
            await self.working

    def resume(self) -> None:
        self.stop.clear()
        self.working = asyncio.create_task(self.work())

    async def until(self, query: str, wanted: int) -> None:
        """Ask the database until it says so."""
        while await self.bench.rows(query) != [(wanted,)]:  # noqa: ASYNC110 - another process's transaction
            await asyncio.sleep(0)

    async def claimed(self) -> list[write_log.Entry]:
        return await self.writer.claim(50)

    def texts(self) -> set[str]:
        """The short descriptions of all incidents in the twin."""
        return {row["short_description"] for row in self.stored("incident")}

    def entries(self, sys_id: str) -> list[str]:
        """The journal entries of a record, in no order."""
        return [row["value"] for row in self.stored("sys_journal_field") if row["element_id"] == sys_id]

    def stored(self, table: str) -> list[dict[str, str]]:
        """All records of a table in the twin."""
        every = parse("")
        return list(select(self.bench.twin.instance, table, every, ("sys_id", *FIELDS[table])))

    def everything(self) -> list[dict[str, str]]:
        """All incidents of the twin, whole, but for their versions: a write that was taken back leaves those moved."""
        moving = ("sys_mod_count", "sys_updated_on", "sys_updated_by")
        every = (self.incident(sys_id) for sys_id in sorted(row["sys_id"] for row in self.stored("incident")))
        return [{name: text for name, text in row.items() if name not in moving} for row in every]

    async def rows(self) -> list[tuple[object, ...]]:
        return await self.bench.rows("SELECT * FROM incident ORDER BY sys_id")

    async def more_incidents(self, number: int) -> None:
        """So many incidents beside those that are there, here and in the twin."""
        self.ids = [f"{at:08x}{'e' * 24}" for at in range(number)]
        self.bench.twin.instance.load(
            "incident",
            [
                {
                    "sys_id": key,
                    "number": f"INC{100 + at:07}",
                    "short_description": f"more {at}",
                    "state": "1",
                    "category": "inquiry",
                }
                for at, key in enumerate(self.ids)
            ],
        )
        await self.bench.catch_up()
        held = await self.bench.rows("SELECT sys_id FROM incident")
        assert {row[0] for row in held} >= set(self.ids)

    def rule(self, script: str, when: str = "before", on: str = "write") -> None:
        """A Business Rule on incident in the twin, on insert and update (`on="write"`) or on delete."""
        instance = self.bench.twin.instance
        body = {
            "name": "a rule",
            "collection": "incident",
            "when": when,
            "action_insert": str(on == "write").lower(),
            "action_update": str(on == "write").lower(),
            "action_delete": str(on == "delete").lower(),
            "active": "true",
            "advanced": "true",
            "script": f"(function executeRule(current, previous) {{ {script} }})(current, previous);",
        }
        instance.records.insert("sys_script", body, instance.acting("admin"), instance.switches)

    def change_in_servicenow(self, sys_id: str, **values: str) -> None:
        instance = self.bench.twin.instance
        record = instance.records.read("incident", sys_id)
        assert record is not None
        instance.records.update(record, values, instance.acting("admin"), instance.switches)

    def calls(self) -> int:
        """The requests that the twin has had."""
        return self.bench.twin.instance.calls.total

    def incident(self, sys_id: str) -> dict[str, str]:
        found = self.bench.twin.instance.records.read("incident", sys_id)
        assert found is not None
        return dict(found.values)


@pytest.fixture
async def writing(bench: Bench, database_dsn: str, maintenance: psycopg.Connection) -> AsyncIterator[Writing]:
    """Incidents, writable, with a user `ada` who may write."""
    instance = bench.twin.instance
    for sys_id, name in (("1" * 32, "Twin Name"), ("2" * 32, "Twin Name"), (USER, "Only One")):
        body = {"sys_id": sys_id, "user_name": sys_id[:5], "name": name}
        instance.records.insert("sys_user", body, instance.acting("admin"), instance.switches)
    for category, value, label in (("network", "ip address", "IP Address"), ("software", "os", "Operating System")):
        choice = {
            "name": "incident",
            "element": "subcategory",
            "value": value,
            "label": label,
            "dependent_value": category,
            "language": "en",
        }
        instance.records.insert("sys_choice", choice, instance.acting("admin"), instance.switches)
    ids = bench.make_incidents(3, state="1", category="inquiry")
    await bench.load("incident")
    loopback.ensure(database_dsn)
    await enable_writes(bench.database, bench.replica.instance, bench.connection_id)
    replica = bench.replica
    writer = Writer(bench.database, replica.instance, bench.connection_id, replica.holder, replica.labeller, bench.now)
    made = Writing(bench, database_dsn, writer, ids, maintenance)
    await made.add_user("ada", writes=True)
    made.resume()
    yield made
    await made.pause()
    await writer.close()
    async with bench.database.transaction() as connection:
        cursor = await connection.execute("SELECT name FROM nowbridge.sql_user")
        for (name,) in await cursor.fetchall():
            await sql_users.remove(connection, name)
