"""Random histories with SQL writers: two roles write three tables, two of them of one hierarchy, by label and by value, with
savepoints, at once or at COMMIT; they roll back, are cancelled and killed, amid changes in ServiceNow, refusals, faults, writers
that die or freeze and wake up later, and the applier's work. After quiet ServiceNow, replica and log agree; each create, change and entry that a client
was told to be done was done once, nothing that failed was left, and nothing was overwritten that its client had not seen.

Every run plays 24; the seed stands with a failure. `--histories N` plays more of them, `--history SEED` one again; who is
quicker is not the seed's to say.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
import pytest

from nowbridge.model.errors import NowbridgeError
from nowbridge.store.work import hints
from nowbridge.store.writes import sql_users
from nowbridge.writethrough.enable import enable_writes
from nowtwin.behaviour.faults import FaultRule, Kind
from nowtwin.query.parse import parse
from nowtwin.records.selecting import select
from tests.support.histories import Beginning, groups, named, told_by_seed
from tests.writethrough.conftest import USER, Writing
from tests.writethrough.freezing import LEASE, LONGEST, FreezingWorker

USUAL, TOGETHER = 24, 6
KINDS: tuple[Kind, ...] = ("status", "drop_before", "drop_after", "delay", "truncate")
STEPS = 20
GATES = 12  # that a worker passes at a write, more or less
TERMINATED = "57P01"
NOTHING_SENT = "nothing was sent"
TABLES = ("incident", "problem", "task")
STORED = ("sys_id", "short_description")
LOGGED = "SELECT settled, taken_at, changes FROM nowbridge.write_log WHERE mode = 'write' AND sent_at IS NOT NULL"
REFUSE = "if (current.getValue('description') == 'refuse me') current.setAbortAction(true);"

pytestmark = pytest.mark.req("Q47")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seeds" in metafunc.fixturenames:
        metafunc.parametrize("seeds", groups(metafunc.config, USUAL, TOGETHER), ids=named)


@dataclass(slots=True)
class Transaction:
    """What a client does, and how it ended for it. `final` are the texts that its records end with, by sys_id."""

    role: str
    statements: list[tuple[str, tuple[object, ...], str]] = field(default_factory=list)  # with the text that it sets
    notes: list[str] = field(default_factory=list)
    noted: dict[str, list[str]] = field(default_factory=dict)  # those that found a record, by sys_id
    never: list[str] = field(default_factory=list)  # planned, or in a savepoint that is rolled back
    before: list[str] = field(default_factory=list)
    back: bool = False
    final: dict[str, str] = field(default_factory=dict)
    created: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    ended: str = ""  # "": committed; "rolled back": by itself; "gone": killed; else the SQLSTATE

    @property
    def texts(self) -> list[str]:
        return [text for _, _, text in self.statements if text and text not in self.notes]

    @property
    def without_trace(self) -> bool:
        return self.ended in ("rolled back", NOTHING_SENT) and "SET CONSTRAINTS ALL IMMEDIATE" not in self.before


class History:
    """One history: what happens is drawn from the seed alone, but for who is quicker."""

    def __init__(self, writing: Writing, seed: int) -> None:
        self.writing, self.bench = writing, writing.bench
        self.chance = random.Random(seed)
        self.number = 0
        self.done: list[Transaction] = []
        self.clients: dict[asyncio.Task[None], psycopg.AsyncConnection[tuple[object, ...]]] = {}
        self.hinted: list[tuple[str, str]] = []
        self.made_at: dict[str, datetime] = {}
        self.bench.replica = self.bench.open_replica("worker-1")
        self.opened = AsyncExitStack()
        self.worker: FreezingWorker
        self.workers = 0
        self.frozen: list[tuple[FreezingWorker, set[asyncio.Task[None]]]] = []

    def text(self, by: str) -> str:
        """A text that is written once only."""
        self.number += 1
        return f"{by} {self.number}"

    async def play(self) -> None:
        async with self.opened:
            await self.begin_worker()
            self.writing.resume()
            for _ in range(STEPS):
                await self.step()
            await self.be_quiet()

    async def begin_worker(self) -> None:
        """A worker that takes writes from now on, in the place of the one before."""
        self.workers += 1
        worker = FreezingWorker(self.bench, self.writing.dsn, f"worker-{self.workers}")
        self.worker = await self.opened.enter_async_context(worker)
        self.writing.writer = self.worker.writer

    async def step(self) -> None:
        acts = [
            self.change,
            self.change,
            self.create,
            self.delete,
            self.rename,
            self.break_something,
            self.mend,
            self.tell,
        ]
        for _ in range(self.chance.randint(0, 2)):
            self.chance.choice(acts)()
        writes = [self.write, self.write, self.write, self.write, self.cancel, self.terminate, self.kill_writer]
        writes += [self.freeze, self.freeze]
        works = [self.poll, self.read, self.settle, self.look, self.turn, self.finish_some, self.thaw, self.thaw]
        await self.poll()
        await self.chance.choice(writes)()
        await self.chance.choice(works)()

    # -- in ServiceNow ---------------------------------------------------------------------------------------------

    def living(self, table: str = "incident") -> list[str]:
        return sorted(row["sys_id"] for row in select(self.bench.twin.instance, table, parse(""), ("sys_id",)))

    def some(self) -> tuple[str, str] | None:
        table = self.chance.choice(["incident", "incident", "problem"])
        living = self.living(table)
        return (table, self.chance.choice(living)) if len(living) > 2 else None

    def change(self) -> None:
        with self.bench.twin.instance.storage.lock:  # nobody deletes it between the look and the change
            if found := self.some():
                column = self.chance.choice(["short_description", "description"])
                self.bench.twin.instance.update(*found, {column: (text := self.text("there"))}, user="admin")
                self.made_at[text] = self.bench.now()

    def create(self) -> None:
        table = self.chance.choice(["incident", "problem"])
        self.bench.twin.instance.insert(table, {"short_description": self.text("there")}, user="admin")

    def delete(self) -> None:
        with self.bench.twin.instance.storage.lock:
            if found := self.some():
                self.bench.twin.instance.delete(*found, user="admin")

    def rename(self) -> None:
        self.bench.twin.instance.update(
            "sys_user", USER, {"name": self.chance.choice(["Only One", "Another"])}, user="admin"
        )

    def break_something(self) -> None:
        kind = self.chance.choice(KINDS)
        method = self.chance.choice(["", "PATCH", "POST", "GET", "DELETE"])
        table = self.chance.choice(["incident", "incident", "problem", ""])
        rule = FaultRule(kind=kind, method=method, table=table, count=self.chance.randint(1, 3))
        if kind == "status":
            rule = FaultRule(kind=kind, method=method, table=table, count=1, status=self.chance.choice([429, 503]))
        elif kind == "delay":
            rule = FaultRule(kind=kind, method=method, table=table, count=1, seconds=0.2)
        self.bench.twin.instance.faults.arm([rule])

    def mend(self) -> None:
        self.bench.twin.instance.faults.arm([])

    def tell(self) -> None:
        self.hinted += [(table, key) for table in ("incident", "problem") for key in self.living(table)]

    # -- SQL users -------------------------------------------------------------------------------------------------

    async def write(self) -> None:
        """A client begins a transaction of one to three things, in a task of its own."""
        wanted = Transaction(self.chance.choice(["ada", "ada", "bea"]), back=self.chance.random() < 0.1)
        held = {
            table: [r[0] for r in await self.bench.rows(f"SELECT sys_id FROM {table} ORDER BY 1")] for table in TABLES
        }
        if self.chance.random() < 0.2:
            wanted.before.append("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        if self.chance.random() < 0.2:
            wanted.before.append("SET CONSTRAINTS ALL IMMEDIATE")
        kinds = [self.plan, self.update, self.update, self.update, self.insert, self.family, self.erase, self.note]
        kinds += [self.by_label, self.refused, self.savepoint]
        for number in range(self.chance.randint(1, 3)):
            self.chance.choice(kinds[number > 0 :])(wanted, held)  # to plan comes first
        client = await self.writing.connect(wanted.role)
        task = asyncio.create_task(self.carry(client, wanted))
        self.clients[task] = client
        task.add_done_callback(self.clients.pop)
        await self.turn()

    def among(self, wanted: Transaction, held: dict[str, list[str]], most: int = 3) -> tuple[str, list[str]]:
        tables = ["incident"] if wanted.role == "bea" else ["incident", "incident", "task", "problem"]
        table = self.chance.choice(tables)
        return table, sorted(self.chance.sample(held[table], min(len(held[table]), self.chance.randint(1, most))))

    def update(self, wanted: Transaction, held: dict[str, list[str]]) -> None:
        table, ids = self.among(wanted, held)
        text = self.text("sql")
        statement = f"UPDATE {table} SET short_description = %s WHERE sys_id = ANY(%s) RETURNING sys_id"
        wanted.statements.append((statement, (text, ids), text))

    def by_label(self, wanted: Transaction, held: dict[str, list[str]]) -> None:
        text, ids = self.text("sql"), self.among(Transaction("bea"), held)[1]
        column = self.chance.choice(
            ["state = 'In Progress'", "state__value = 1", "caller_id = 'Only One'", "caller_id = NULL"]
        )
        statement = f"UPDATE incident SET short_description = %s, {column} WHERE sys_id = ANY(%s) RETURNING sys_id"
        wanted.statements.append((statement, (text, ids), text))

    def refused(self, wanted: Transaction, held: dict[str, list[str]]) -> None:
        """A rule of the instance refuses one of several."""
        text, ids = self.text("sql"), self.among(Transaction("bea"), held, most=5)[1]
        refuse = "description = CASE WHEN sys_id = %s THEN 'refuse me' ELSE description END"
        statement = f"UPDATE incident SET short_description = %s, {refuse} WHERE sys_id = ANY(%s) RETURNING sys_id"
        wanted.statements.append((statement, (text, self.chance.choice(ids or [""]), ids), text))

    def insert(self, wanted: Transaction, _held: dict[str, list[str]]) -> None:
        text = self.text("sql")
        statement = "INSERT INTO incident (short_description, correlation_id) VALUES (%s, %s) RETURNING sys_id"
        wanted.statements.append((statement, (text, text), text))

    def family(self, wanted: Transaction, _held: dict[str, list[str]]) -> None:
        """A child, and the parent that it points at, in one statement."""
        parent, text = f"{self.chance.getrandbits(128):032x}", self.text("sql")
        statement = (
            "INSERT INTO incident (sys_id, short_description, correlation_id, parent_incident__value)"
            " VALUES (md5(%s), %s, %s || ' child', %s), (%s, %s, %s, NULL) RETURNING sys_id"
        )
        wanted.statements.append((statement, (parent, text, text, parent, parent, text, text), text))

    def erase(self, wanted: Transaction, held: dict[str, list[str]]) -> None:
        table, ids = self.among(wanted, held, most=1)
        wanted.statements.append((f"DELETE FROM {table} WHERE sys_id = ANY(%s) RETURNING sys_id", (ids,), ""))

    def note(self, wanted: Transaction, held: dict[str, list[str]]) -> None:
        table, ids = self.among(wanted, held, most=1)
        text = self.text("sql note")
        wanted.notes.append(text)
        statement = f"UPDATE {table} SET work_notes = %s WHERE sys_id = ANY(%s) RETURNING sys_id"
        wanted.statements.append((statement, (text, ids), text))

    def savepoint(self, wanted: Transaction, held: dict[str, list[str]]) -> None:
        table, ids = self.among(wanted, held)
        wanted.never.append(text := self.text("sql"))
        update = f"UPDATE {table} SET short_description = %s WHERE sys_id = ANY(%s)"
        wanted.statements += [("SAVEPOINT s", (), ""), (update, (text, ids), ""), ("ROLLBACK TO SAVEPOINT s", (), "")]

    def plan(self, wanted: Transaction, _held: dict[str, list[str]]) -> None:
        wanted.never.append(text := self.text("sql"))
        statement = f"SELECT * FROM nowbridge.plan_write($$UPDATE incident SET short_description = '{text}'$$)"
        wanted.statements.append((statement, (), ""))

    async def carry(self, client: psycopg.AsyncConnection[tuple[object, ...]], wanted: Transaction) -> None:
        self.done.append(wanted)
        wanted.ended = "rolled back" if wanted.back else ""
        try:
            async with client, client.transaction(force_rollback=wanted.back):
                await self.say(client, wanted)
        except psycopg.Error as error:
            wanted.ended = NOTHING_SENT if "nothing was sent" in str(error).lower() else error.sqlstate or "gone"

    async def say(self, client: psycopg.AsyncConnection[tuple[object, ...]], wanted: Transaction) -> None:
        for statement in wanted.before:
            await client.execute(statement.encode())
        await client.execute("SET LOCAL nowbridge.write_timeout = '20s'")
        for statement, values, text in wanted.statements:
            cursor = await client.execute(statement.encode(), values or None)
            if "RETURNING" in statement:
                self.returned(wanted, statement, text, [str(row[0]) for row in await cursor.fetchall()])

    def returned(self, wanted: Transaction, statement: str, text: str, ids: list[str]) -> None:
        for sys_id in ids:
            if statement.startswith("DELETE"):
                wanted.erased.add(sys_id)
                wanted.final.pop(sys_id, None)
                wanted.noted.pop(sys_id, None)
                continue
            if sys_id in wanted.erased:  # in another table of its hierarchy it still stands until COMMIT
                continue
            if "work_notes" in statement:
                wanted.noted.setdefault(sys_id, []).append(text)
                continue
            wanted.final[sys_id] = text
            if statement.startswith("INSERT"):
                wanted.created.add(sys_id)

    async def cancel(self) -> None:
        if self.clients:
            await self.chance.choice(list(self.clients.values())).cancel_safe()

    async def terminate(self) -> None:
        if self.clients:
            client = self.chance.choice(list(self.clients.values()))
            if not client.closed:  # its transaction may have ended just now
                self.writing.maintenance.execute("SELECT pg_terminate_backend(%s)", (client.info.backend_pid,))

    # -- Nowbridge -------------------------------------------------------------------------------------------------

    async def kill_writer(self) -> None:
        """Whatever it was doing; its leases run out, and another takes over."""
        await self.turn()
        for task in list(self.writing.running):
            task.cancel()
        await asyncio.gather(*self.writing.running, return_exceptions=True)
        await self.instance_is_done()
        self.bench.now.pass_(seconds=31)

    async def freeze(self) -> None:
        """A worker stops wherever it is, between two of its steps: with a claim, between calls, before it notes an end or
        while it settles. Its lease may run out, and the time after which what is not there was not carried out; another
        takes its place, until it wakes up.
        """
        self.worker.frost.stop(after=self.chance.randint(0, GATES))
        if self.chance.random() < 0.3:
            task = asyncio.create_task(self.settle_beside())
            self.writing.running.add(task)
            task.add_done_callback(self.writing.running.discard)
        await self.write()
        await self.is_frozen()
        if self.chance.random() < 0.5:  # it wakes up before anybody noticed, and stops again
            self.bench.now.pass_(seconds=31)
            self.worker.frost.stop(after=self.chance.randint(1, GATES))
            await self.is_frozen()
        self.frozen.append((self.worker, set(self.writing.running)))
        self.writing.running.clear()
        await self.begin_worker()
        self.bench.now.pass_(seconds=self.chance.choice([5, 31, 31, 31 + LONGEST]))
        await self.chance.choice([self.settle, self.look, self.look, self.thaw, self.turn])()

    async def is_frozen(self) -> None:
        """The worker stands, and what it had asked of the instance has ended."""
        caught = asyncio.create_task(self.worker.frost.caught.wait())
        idle = asyncio.create_task(self.writing.idle())  # a client waits for another
        done = asyncio.gather(*self.clients, return_exceptions=True)
        await asyncio.wait((caught, idle, done), return_when=asyncio.FIRST_COMPLETED)
        caught.cancel()
        idle.cancel()
        self.worker.frost.stop()
        await self.worker.frost.still()
        await self.instance_is_done()

    async def settle_beside(self) -> None:
        """What a worker does beside writing."""
        with suppress(NowbridgeError):  # it is another's now
            await self.worker.settler.look_for_unknown()
            await self.worker.settler.settle()

    async def thaw(self) -> None:
        """Who was frozen goes on where it was."""
        for worker, tasks in self.frozen:
            worker.frost.thaw()
            for task in tasks:
                if not task.done():
                    self.writing.running.add(task)
                    task.add_done_callback(self.writing.running.discard)
        self.frozen.clear()

    async def instance_is_done(self) -> None:
        """What was asked of it by somebody who is gone has ended: the clock of the history passes faster than that."""
        while self.bench.twin.instance.calls.running:  # noqa: ASYNC110 - another thread's counter
            await asyncio.sleep(0)

    async def turn(self) -> None:
        for _ in range(self.chance.randint(0, 300)):
            await asyncio.sleep(0)

    async def finish_some(self) -> None:
        if self.clients:
            idle = asyncio.create_task(self.writing.idle())
            await asyncio.wait((idle, *self.clients), return_when=asyncio.FIRST_COMPLETED)
            idle.cancel()

    async def poll(self) -> None:
        self.bench.twin.instance.clock.advance(self.chance.choice([0.5, 3]))
        self.bench.now.pass_(seconds=2)
        for lease in await self.bench.replica.claim_due_streams(2):
            await self.bench.replica.poll(lease)

    async def read(self) -> None:
        told = [hints.Told(table, sys_id, table, None, None, False) for table, sys_id in self.hinted]
        self.hinted = []
        async with self.bench.database.transaction() as connection:
            await hints.add(connection, self.bench.connection_id, told, now=self.bench.now())
        await self.bench.replica.read_hints()

    async def settle(self) -> None:
        await self.worker.settler.settle()

    async def look(self) -> None:
        await self.worker.settler.look_for_unknown()

    # -- the end ---------------------------------------------------------------------------------------------------

    async def be_quiet(self) -> None:
        self.mend()
        await self.thaw()
        while self.clients:
            if not self.writing.running:
                self.bench.now.pass_(seconds=31)
                await self.look()
            await self.settle()  # some wait for the records of others
            await self.finish_some()
        await self.writing.pause()
        await self.instance_is_done()
        clients = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename IN ('ada', 'bea')"
        )
        await self.writing.until(clients, 0)  # a client hears that it is terminated before its transaction has ended
        for _ in range(4):
            self.bench.now.pass_(hours=1)
            await self.look()
            await self.settle()
            for entry in await self.writing.claimed():  # of clients who are gone, and waited for a record
                await self.writing.writer.carry_out(entry)
            while await self.bench.replica.read_hints() is not None:
                pass
        await self.bench.catch_up()
        self.bench.twin.instance.clock.advance(10)


@pytest.fixture
async def beginning(writing: Writing, superuser: psycopg.Connection) -> Beginning:
    """Where every history begins: incidents and problems, in their own tables and in that of tasks; two who may write."""
    bench = writing.bench
    writing.rule(REFUSE)
    bench.twin.instance.load("problem", [{"short_description": f"problem {at}"} for at in range(4)])
    await writing.more_incidents(6)
    await bench.load("task", "problem")
    await enable_writes(bench.database, bench.replica.instance, bench.connection_id)
    await writing.add_user("bea", writes=True, tables=["incident"], stamp={"correlation_display": "bea"})
    async with bench.database.transaction() as connection:
        await sql_users.grant_all(connection)
    await bench.catch_up()
    await writing.pause()
    return Beginning.of(bench.twin.instance, superuser)


@pytest.mark.timeout(600)
async def test_after_quiet_servicenow_replica_and_log_agree(
    writing: Writing, beginning: Beginning, seeds: range
) -> None:
    for seed in seeds:
        with told_by_seed(seed):
            beginning.bring_back()
            history = History(writing, seed)
            await history.play()
            print(f"seed {seed}: clients were told {Counter(one.ended for one in history.done)}")  # noqa: T201
            await assert_agreement(writing)
            changes = changes_in(writing)
            assert_done_once(history, changes)
            assert_as_logged(history, changes, await writing.bench.rows(LOGGED))


async def assert_agreement(writing: Writing) -> None:
    for table in TABLES:
        found = await writing.bench.verify(table, repair=True)
        assert (found.missing, found.differing) == ([], []), table
        assert (await writing.bench.verify(table)).wrong == 0, table
    open_ = "SELECT id, state FROM nowbridge.write_log WHERE settled IS NULL AND state <> 'abandoned'"
    assert await writing.bench.rows(open_) == []
    hasty = f"SELECT id FROM nowbridge.write_log WHERE silent_since < sent_at + interval '{LEASE.total_seconds()} s'"
    assert await writing.bench.rows(hasty) == [], "taken from a writer that had begun to send less than a lease ago"
    reverted = await writing.bench.rows(
        "SELECT s->>'sys_id', f->>1 FROM nowbridge.write_log, jsonb_array_elements(plan->'steps') s,"
        " jsonb_array_elements(s->'fields') f WHERE settled IN ('reverted', 'nothing') AND f->>0 = 'short_description'"
    )
    instance = writing.bench.twin.instance
    stored = {(r["sys_id"], r["short_description"]) for r in select(instance, "task", parse(""), STORED)}
    assert stored.isdisjoint(reverted), "what the log calls reverted, or not carried out, is not there"


def changes_in(writing: Writing) -> dict[tuple[str, str], list[str]]:
    """By record and text that a client set in it: what stood there before, each time that it was set."""
    columns = ("documentkey", "fieldname", "oldvalue", "newvalue")
    rows = select(writing.bench.twin.instance, "sys_audit", parse("fieldname=short_description"), columns)
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["newvalue"].startswith("sql "):
            found.setdefault((row["documentkey"], row["newvalue"]), []).append(row["oldvalue"])
    return found


def assert_done_once(history: History, changes: dict[tuple[str, str], list[str]]) -> None:
    """A text goes into a record once; again only where a client's failed write on top of it was taken back. What a client
    was told to be done was done, an entry and a create exactly once; what it was told to have failed left no trace.
    """
    failed = {text for one in history.done for text in (one.texts if one.ended else []) + one.never}
    for (sys_id, text), before in changes.items():
        again = [old for old in before[1:] if old not in failed]
        assert not again, (
            sys_id,
            text,
            before,
            [one for one in history.done if any(old in one.texts for old in again)],
        )
    stored = list(select(history.bench.twin.instance, "incident", parse(""), ("sys_id", "correlation_id")))
    made = Counter(row["correlation_id"] for row in stored if row["correlation_id"])
    assert [mark for mark, times in made.items() if times > 1] == []
    deleted = {
        row["documentkey"]
        for row in select(history.bench.twin.instance, "sys_audit_delete", parse(""), ("documentkey",))
    }
    there = {row["sys_id"] for row in stored} | deleted
    notes = Counter(row["value"] for row in history.writing.stored("sys_journal_field"))
    assert [note for note, times in notes.items() if times > 1] == []
    written = {text for _, text in changes} | set(made)
    for one in history.done:
        assert written.isdisjoint(one.never) or "SET CONSTRAINTS ALL IMMEDIATE" in one.before, one
        if one.ended == "":
            assert all(notes[note] == 1 for key, said in one.noted.items() for note in said if key not in deleted), one
            assert one.created & one.final.keys() <= there, one
            assert all((key, text) in changes for key, text in one.final.items() if key not in one.created), one
        elif one.without_trace:
            assert not any(notes[note] for note in one.notes), one
            assert written.isdisjoint(one.texts), one


def assert_as_logged(history: History, changes: dict[tuple[str, str], list[str]], log: list[tuple[Any, ...]]) -> None:
    """The log calls committed what its client committed. What was changed in ServiceNow before a worker took the write, which
    looks after that, was overwritten only if the client had seen it.
    """
    clients = {text: one for one in history.done for text in one.texts + one.notes + one.never}
    for settled, taken_at, changed in log:
        for (sys_id, column), (before, text) in net_of(changed).items():
            if (one := clients.get(text)) is None:
                continue
            if settled == "committed":
                assert text not in one.never, one
                assert one.ended in ("", "gone", TERMINATED), one
            stood = changes.get((sys_id, text), [before])[0]
            known = column != "short_description" or stood == before
            assert known or history.made_at.get(stood, taken_at) >= taken_at, (sys_id, before, stood, one)


def net_of(changed: list[Any]) -> dict[tuple[str, str], tuple[Any, Any]]:
    """What a transaction's changes come to: by record and column, the first value before and the last after."""
    net: dict[tuple[str, str], tuple[Any, Any]] = {}
    for _, sys_id, _, columns in changed:
        for column, (before, after) in columns.items():
            net[sys_id, column] = (net.get((sys_id, column), (before, None))[0], after)
    return net
