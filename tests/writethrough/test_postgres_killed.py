"""Postgres is killed at each point of a write and comes back: the worker goes on by itself; ServiceNow, replica and log agree
when the log's row is settled; nothing was done twice and nothing is lost. With a worker process and a server of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection

from nowbridge.store.database import Database
from nowbridge.store.server import embedded
from nowbridge.store.server.provision import provision
from nowbridge.wiring import install
from nowtwin.behaviour.faults import FaultRule
from nowtwin.query.parse import parse
from nowtwin.records.selecting import select
from nowtwin.testing import RunningServer
from tests.replica.test_postgres_restarted import SMALL, own_server, until
from tests.support.program import Program, environment_for, interrupt

pytestmark = [pytest.mark.trap("7"), pytest.mark.req("Q47")]

QUICK = {**SMALL, "NOWBRIDGE_WRITE_LONGEST_SECONDS": "1"}
WAITS = """
CREATE TABLE public.slow (at integer);
CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON public.slow DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.dawdle();
GRANT INSERT ON public.slow TO desk
"""
FIELDS = ("sys_id", "short_description", "sys_mod_count")


@dataclass(slots=True)
class Site:
    """The instance, a server that can be killed, a worker beside it, and a SQL user."""

    account: RunningServer
    home: Path
    server: embedded.EmbeddedServer
    dsn: str
    program: Program
    desk: str = ""
    workers: list[subprocess.Popen[str]] = field(default_factory=list)

    def start_worker(self) -> None:
        self.workers.append(self.program.start("worker", **QUICK))

    def kill_worker(self) -> None:
        self.workers[-1].kill()
        self.workers.pop().communicate()

    def kill_postgres(self, how: str) -> None:
        if how == "immediate":
            assert embedded.stop(self.home, mode="immediate")
        else:
            process = embedded.status(self.home).process
            assert process is not None
            os.kill(process, signal.SIGKILL)

    def start_postgres(self) -> None:
        assert embedded.ensure_running(self.home).port == self.server.port

    def incidents(self) -> set[tuple[str, str, int]]:
        rows = select(self.account.instance, "incident", parse(""), FIELDS)
        return {(r["sys_id"], r["short_description"], int(r["sys_mod_count"] or 0)) for r in rows}

    def notes(self) -> Counter[str]:
        rows = select(self.account.instance, "sys_journal_field", parse(""), ("value",))
        return Counter(row["value"] for row in rows)

    def calls(self) -> Counter[tuple[str, str]]:
        """The writes that the instance has had since this was asked last, by method and path."""
        entries = self.account.instance.calls.entries
        writes = Counter((c.method, c.path) for c in entries if c.method != "GET" and "incident" in c.path)
        self.account.instance.calls.clear()
        return writes

    def arm(self, *rules: FaultRule) -> None:
        self.account.instance.faults.arm(list(rules))

    async def state(self, *states: str) -> None:
        """Wait until the newest write stands so."""
        listed = ", ".join(f"'{state}'" for state in states)
        await until(self.dsn, f"SELECT state IN ({listed}) FROM nowbridge.write_log ORDER BY id DESC LIMIT 1")

    async def agree(self, point: str) -> None:
        """Wait until the replica holds what the instance has."""
        async with Database(self.dsn) as database:
            for _ in range(400):
                async with database.transaction() as connection:
                    cursor = await connection.execute("SELECT sys_id, short_description, sys_mod_count FROM incident")
                    here = set(await cursor.fetchall())
                if here == self.incidents():
                    return
                await asyncio.sleep(0.05)
            async with database.transaction() as connection:
                cursor = await connection.execute(
                    "SELECT id, state, settled, message, outcome FROM nowbridge.write_log"
                )
                log = await cursor.fetchall()
        raise AssertionError((point, here ^ self.incidents(), log))


@asynccontextmanager
async def site(account: RunningServer, folder: Path) -> AsyncIterator[Site]:
    with own_server() as (home, server):
        dsn = provision(server)
        install(dsn)
        program = Program({**environment_for(folder), "DATABASE_URL": dsn})
        program.prepare()
        await program.store_connection(account.url)
        assert program.run("replicate", "incident", "--detach", **SMALL).code == 0
        made = Site(account, home, server, dsn, program)
        added = program.run("sql-user", "add", "desk", "--write")
        assert added.code == 0, added.err
        made.desk = added.out.strip()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(WAITS)
        made.start_worker()
        try:
            await until(dsn, "SELECT phase = 'live' FROM nowbridge.replica_table")
            await until(dsn, "SELECT count(*) = 1 FROM nowbridge.write_table")
            yield made
        finally:
            code, _, said = await asyncio.to_thread(interrupt, made.workers[-1])
        assert code == 0, said
        assert "Traceback" not in said
        assert '"bug"' not in said
        assert " bug " not in said


def slow(kind: str, method: str, seconds: float, count: int | None = 1) -> FaultRule:
    return FaultRule(kind=kind, method=method, table="incident", count=count, seconds=seconds)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Point:
    """Where Postgres is killed, and how. `reached` waits for the point; `slow_commit`: COMMIT waits after the answer.
    `forgettable`: what the log says then need not be on disk, as nothing was sent yet.
    """

    name: str
    how: str
    fault: FaultRule | None
    reached: Callable[[Site, str], Awaitable[None]]
    slow_commit: bool = False
    worker_too: bool = False
    forgettable: bool = False


async def taken(site: Site, _text: str) -> None:
    await site.state("taken")


async def sent(site: Site, _text: str) -> None:
    await site.state("sent")


async def carried_out(site: Site, text: str) -> None:
    """The first call of several is carried out; its answer is on the way."""
    while not any(row[1] == text for row in site.incidents()):  # noqa: ASYNC110 - another process's call
        await asyncio.sleep(0.01)


async def answered(site: Site, _text: str) -> None:
    await site.state("done")


POINTS = (
    Point("before send", "immediate", slow("delay", "GET", 2.0, count=None), taken, forgettable=True),
    Point("sent, not carried out", "SIGKILL", slow("delay", "PATCH", 2.0), sent),
    Point("carried out, not answered", "immediate", slow("drip", "PATCH", 0.02), carried_out),
    Point("the same, the worker too", "SIGKILL", slow("drip", "PATCH", 0.02), carried_out, worker_too=True),
    Point("answered, not committed", "SIGKILL", None, answered, slow_commit=True),
    Point("committed, not settled", "SIGKILL", None, answered),
)


@pytest.mark.timeout(150)
async def test_whatever_was_under_way_servicenow_replica_and_log_agree(tmp_path: Path, account: RunningServer) -> None:
    """A transaction of all four kinds, killed at each point: all of it is there when the client was told so, else none but
    the journal entry, which nothing takes back, and which is there once at most.
    """
    async with site(account, tmp_path) as made:
        for point in POINTS:
            await at(made, point)
        assert made.program.run("verify", "incident").code == 0


async def at(made: Site, point: Point) -> None:
    made.arm()
    one, two, three, *_ = sorted(row[0] for row in made.incidents())
    before = {row[:2] for row in made.incidents()}
    made.calls()
    text = f"written {point.name}"
    made.arm(*((point.fault,) if point.fault is not None else ()))

    async def write() -> None:
        async with await AsyncConnection.connect(made.desk) as client:
            await client.execute("UPDATE incident SET short_description = %s WHERE sys_id = %s", (text, one))
            await client.execute("INSERT INTO incident (short_description) VALUES (%s)", (f"made {point.name}",))
            await client.execute("UPDATE incident SET work_notes = %s WHERE sys_id = %s", (f"note {point.name}", two))
            await client.execute("DELETE FROM incident WHERE sys_id = %s", (three,))
            if point.slow_commit:
                await client.execute("INSERT INTO slow VALUES (1)")

    writing = asyncio.create_task(write())
    await point.reached(made, text)
    committed = not point.slow_commit and point.reached is answered
    if committed:
        await writing
    await asyncio.to_thread(made.kill_postgres, point.how)
    if not committed:
        with pytest.raises(psycopg.OperationalError):
            await writing
    if point.worker_too:
        await asyncio.to_thread(made.kill_worker)
    await asyncio.to_thread(made.start_postgres)
    if point.worker_too:
        made.start_worker()
    await until(
        made.dsn,
        "SELECT coalesce((SELECT settled IS NOT NULL OR state = 'abandoned' FROM nowbridge.write_log ORDER BY id DESC"
        f" LIMIT 1), {point.forgettable})",
    )
    made.arm()
    await made.agree(point.name)

    now = {row[:2] for row in made.incidents()}
    notes = made.notes()[f"note {point.name}"]
    if committed:
        assert {key for key, _ in before - now} == {one, three}, point
        assert {said for _, said in now - before} == {text, f"made {point.name}"}, point
        assert notes == 1, point
    else:
        assert now == before, point
        assert notes <= 1, point
    twice = {call: number for call, number in made.calls().items() if number > 1}
    post, patch = ("POST", "/api/now/table/incident"), ("PATCH", f"/api/now/table/incident/{one}")
    assert twice.keys() <= ({post, patch} if not committed else set()), (point, twice)
    assert max(twice.values(), default=0) <= 2, (point, twice)  # once, and once to take it back
