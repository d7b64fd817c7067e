"""Random histories with SQL writers: they write, roll back, are cancelled and killed, amid changes in ServiceNow, faults,
dead writers and the applier's work. After quiet ServiceNow, replica and log agree, and nothing was done twice.

The seed is in the test's name, so a failure can be played again; `--histories N` plays a quarter of N.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass

import psycopg
import pytest

from nowbridge.delivery.deliver import Manner
from nowbridge.store import hints
from nowbridge.writethrough.settling import Settler
from nowtwin.behaviour.faults import FaultRule, Kind
from nowtwin.query.parse import parse
from nowtwin.records.selecting import select
from tests.support.replica import without_waiting
from tests.writethrough.conftest import Writing

KINDS: tuple[Kind, ...] = ("status", "drop_before", "drop_after", "delay", "truncate")
STEPS = 25
NOTHING_SENT = "nothing was sent"
AUDIT = ("documentkey", "fieldname", "oldvalue", "newvalue")

pytestmark = pytest.mark.req("Q47")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:  # each takes as long as several of the replica's
        metafunc.parametrize("seed", range(1, 1 + max(2, (metafunc.config.getoption("--histories") or 8) // 4)))


@dataclass(frozen=True, slots=True)
class Told:
    """What a client was told of its transaction: `texts` it set, `notes` it added."""

    texts: tuple[str, ...]
    notes: tuple[str, ...]
    sqlstate: str  # "": committed; "rolled back": by itself; "gone": killed


class History:
    """One history: what happens is drawn from the seed alone, but for who is quicker."""

    def __init__(self, writing: Writing, seed: int) -> None:
        self.writing, self.bench = writing, writing.bench
        self.chance = random.Random(seed)
        self.number = 0
        self.told: list[Told] = []
        self.clients: dict[asyncio.Task[None], psycopg.AsyncConnection[tuple[object, ...]]] = {}
        self.hinted: list[str] = []
        self.settler = Settler(writing.writer)

    def text(self, by: str) -> str:
        """A text that is written once only."""
        self.number += 1
        return f"{by} {self.number}"

    async def begin(self) -> None:
        await self.writing.more_incidents(self.chance.randint(4, 12))

    async def step(self) -> None:
        acts = [self.change, self.change, self.create, self.delete, self.break_something, self.mend, self.tell]
        for _ in range(self.chance.randint(0, 2)):
            self.chance.choice(acts)()
        writes = [self.write, self.write, self.write, self.cancel, self.terminate, self.kill_writer]
        works = [self.poll, self.read, self.settle, self.look, self.turn, self.finish_some]
        await self.poll()
        await self.chance.choice(writes)()
        await self.chance.choice(works)()

    # -- in ServiceNow ---------------------------------------------------------------------------------------------

    def living(self) -> list[str]:
        return sorted(row["sys_id"] for row in self.writing.stored("incident"))

    def change(self) -> None:
        if living := self.living():
            column = self.chance.choice(["short_description", "description"])
            self.writing.change_in_servicenow(self.chance.choice(living), **{column: self.text("there")})

    def create(self) -> None:
        self.bench.twin.instance.insert("incident", {"short_description": self.text("there")}, user="admin")

    def delete(self) -> None:
        if len(living := self.living()) > 3:
            self.bench.twin.instance.delete("incident", self.chance.choice(living), user="admin")

    def break_something(self) -> None:
        kind = self.chance.choice(KINDS)
        method = self.chance.choice(["", "PATCH", "POST", "GET", "DELETE"])
        rule = FaultRule(kind=kind, method=method, table="incident", count=self.chance.randint(1, 3))
        if kind == "status":
            rule = FaultRule(kind=kind, method=method, table="incident", count=1, status=self.chance.choice([429, 503]))
        elif kind == "delay":
            rule = FaultRule(kind=kind, method=method, table="incident", count=1, seconds=0.3)
        self.bench.twin.instance.faults.arm([rule])

    def mend(self) -> None:
        self.bench.twin.instance.faults.arm([])

    def tell(self) -> None:
        self.hinted += self.living()

    # -- SQL users -------------------------------------------------------------------------------------------------

    async def write(self) -> None:
        client = await self.writing.connect()
        held = [row[0] for row in await self.bench.rows("SELECT sys_id FROM incident ORDER BY sys_id")]
        statements: list[tuple[str, tuple[object, ...]]] = []
        texts: list[str] = []
        notes: dict[str, str] = {}
        for _ in range(self.chance.randint(1, 3)):
            kind = self.chance.choice(["update", "update", "update", "insert", "delete", "note"])
            some = sorted(self.chance.sample(held, min(len(held), self.chance.randint(1, 3))))
            text = self.text("sql")
            if kind == "insert":
                statements.append(("INSERT INTO incident (short_description) VALUES (%s)", (text,)))
                texts.append(text)
            elif kind == "delete":
                statements.append(("DELETE FROM incident WHERE sys_id = %s", (some[0],)))
                notes = {note: sys_id for note, sys_id in notes.items() if sys_id != some[0]}  # they are not sent
            elif kind == "note":
                notes[text] = some[0]
                statements.append(("UPDATE incident SET work_notes = %s WHERE sys_id = %s", (text, some[0])))
            else:
                texts.append(text)
                statements.append(("UPDATE incident SET short_description = %s WHERE sys_id = ANY(%s)", (text, some)))
        back = self.chance.random() < 0.15
        task = asyncio.create_task(self.carry(client, statements, (tuple(texts), tuple(notes)), back))
        self.clients[task] = client
        task.add_done_callback(self.clients.pop)
        await self.turn()

    async def carry(
        self,
        client: psycopg.AsyncConnection[tuple[object, ...]],
        statements: list[tuple[str, tuple[object, ...]]],
        marks: tuple[tuple[str, ...], tuple[str, ...]],
        back: bool,
    ) -> None:
        state = "rolled back" if back else ""
        nowhere: set[object] = set()  # what was written into a record that was gone by then
        try:
            async with client, client.transaction(force_rollback=back):
                await client.execute("SET LOCAL nowbridge.write_timeout = '20s'")
                for statement, values in statements:
                    cursor = await client.execute(statement.encode(), values)
                    nowhere.update(() if cursor.rowcount else values[:1])
        except psycopg.Error as error:
            state = NOTHING_SENT if "nothing was sent" in str(error).lower() else error.sqlstate or "gone"
        texts, notes = marks
        self.told.append(Told(texts, tuple(note for note in notes if note not in nowhere), state))

    async def cancel(self) -> None:
        if self.clients:
            await self.chance.choice(list(self.clients.values())).cancel_safe()

    async def terminate(self) -> None:
        if self.clients:
            pid = self.chance.choice(list(self.clients.values())).info.backend_pid
            self.writing.maintenance.execute("SELECT pg_terminate_backend(%s)", (pid,))

    # -- Nowbridge -------------------------------------------------------------------------------------------------

    async def kill_writer(self) -> None:
        """Whatever it was doing; its leases run out, and another takes over."""
        await self.turn()
        for task in list(self.writing.running):
            task.cancel()
        await asyncio.gather(*self.writing.running, return_exceptions=True)
        while self.bench.twin.instance.calls.running:  # noqa: ASYNC110 - the instance is to end what it began
            await asyncio.sleep(0)
        self.bench.now.pass_(seconds=31)

    async def turn(self) -> None:
        for _ in range(self.chance.randint(0, 300)):
            await asyncio.sleep(0)

    async def finish_some(self) -> None:
        if self.clients:
            await asyncio.wait(list(self.clients), return_when=asyncio.FIRST_COMPLETED, timeout=5)

    async def poll(self) -> None:
        self.bench.twin.instance.clock.advance(self.chance.choice([0.5, 3]))
        self.bench.now.pass_(seconds=2)
        for lease in await self.bench.replica.claim_due_streams(2):
            await self.bench.replica.poll(lease)

    async def read(self) -> None:
        told = [hints.Told("incident", sys_id, "incident", None, None, False) for sys_id in self.hinted]
        self.hinted = []
        async with self.bench.database.transaction() as connection:
            await hints.add(connection, self.bench.connection_id, told, now=self.bench.now())
        await self.bench.replica.read_hints()

    async def settle(self) -> None:
        await self.settler.settle()

    async def look(self) -> None:
        await self.settler.look_for_unknown()

    # -- the end ---------------------------------------------------------------------------------------------------

    async def be_quiet(self) -> None:
        self.mend()
        while self.clients:
            if not self.writing.running:
                self.bench.now.pass_(seconds=31)
                await self.settler.look_for_unknown()
            if waiting := list(self.clients):  # the last one may have ended while this looked
                await asyncio.wait(waiting, timeout=0.5)
        await self.writing.pause()
        for _ in range(4):
            self.bench.now.pass_(hours=1)
            await self.settler.look_for_unknown()
            await self.settler.settle()
            while await self.bench.replica.read_hints() is not None:
                pass
        await self.bench.catch_up()
        self.bench.twin.instance.clock.advance(10)


def audited(writing: Writing) -> dict[tuple[str, str], list[str]]:
    """By record and text that a client set in it: what stood there before, each time that it was set."""
    rows = select(writing.bench.twin.instance, "sys_audit", parse("tablename=incident"), AUDIT)
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["newvalue"].startswith("sql ") and row["fieldname"] == "short_description":
            found.setdefault((row["documentkey"], row["newvalue"]), []).append(row["oldvalue"])
    return found


async def test_after_quiet_servicenow_replica_and_log_agree(writing: Writing, seed: int) -> None:
    writing.writer.manner = Manner(sleep=without_waiting, longest=120.0)
    history = History(writing, seed)
    await history.begin()
    for _ in range(STEPS):
        await history.step()
    await history.be_quiet()
    print(f"seed {seed}: clients were told {Counter(told.sqlstate for told in history.told)}")  # noqa: T201

    found = await writing.bench.verify("incident", repair=True)
    assert (found.missing, found.differing) == ([], [])
    assert (await writing.bench.verify("incident")).wrong == 0
    open_ = "SELECT id, state FROM nowbridge.write_log WHERE settled IS NULL AND state <> 'abandoned'"
    assert await writing.bench.rows(open_) == []

    notes = Counter(row["value"] for row in writing.stored("sys_journal_field"))
    assert [note for note, times in notes.items() if times > 1] == []
    assert_nothing_twice(history, audited(writing))
    for told in history.told:
        if told.sqlstate == "":
            assert all(notes[note] == 1 for note in told.notes), told
        elif told.sqlstate in ("rolled back", NOTHING_SENT):
            assert not any(notes[note] for note in told.notes), told


def assert_nothing_twice(history: History, changes: dict[tuple[str, str], list[str]]) -> None:
    """A text goes into a record once; again only where a client's failed write on top of it was taken back. The log
    knows of no second create, and what a client was told to have failed without a trace has left none.
    """
    failed = {text for told in history.told if told.sqlstate for text in told.texts}
    for (sys_id, text), before in changes.items():
        again = [old for old in before[1:] if old not in failed]
        assert not again, (sys_id, text, before)
    written = {text for _, text in changes}
    for told in history.told:
        if told.sqlstate in ("rolled back", NOTHING_SENT):
            assert written.isdisjoint(told.texts), told
