"""Notices: once per change, by every channel that is set, and kept until they are delivered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from nowbridge.jobs.notices import Notifier, Send, conditions_of
from nowbridge.model.errors import Retry, Stop
from nowbridge.settings import load
from nowbridge.store.operation import notices
from nowbridge.store.operation.notices import Notice
from nowbridge.store.rows import tables
from nowbridge.store.work import watches
from nowbridge.wiring import notifier_of
from nowtwin.testing import RunningServer
from tests.support.program import Program
from tests.support.replica import Bench


class Mailbox:
    """An SMTP server on loopback that takes every mail."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        self.port = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())

        say("220 mailbox")
        while line := (await reader.readline()).decode().strip():
            if line.upper() == "DATA":
                say("354 go on")
                self.mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
            say("221 bye" if line.upper() == "QUIT" else "250 ok")
            if line.upper() == "QUIT":
                break
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def mailbox() -> AsyncIterator[Mailbox]:
    box = Mailbox()
    async with await asyncio.start_server(box.talk, "127.0.0.1", 0) as server:
        box.port = server.sockets[0].getsockname()[1]
        yield box


@asynccontextmanager
async def hook(status: int = 200) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A web server that keeps what is posted to it."""
    posted: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(next(line for line in head.splitlines() if line.startswith("content-length")).split(":")[1])
        posted.append(await reader.readexactly(length))
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/in?x=1", posted


def notifier(bench: Bench, **channels: Send) -> Notifier:
    return Notifier(bench.database, bench.now, timedelta(seconds=600), channels)


async def kinds(one: Notifier) -> list[tuple[str, str]]:
    return [(notice.kind, notice.state) for notice in await one.look()]


@pytest.mark.req("Q19")
async def test_a_mail_says_that_the_backfill_is_done_and_all_data_loaded(bench: Bench, tmp_path: Path) -> None:
    bench.make_incidents(7)
    async with mailbox() as box, hook() as (url, posted):
        environment = {
            "HOME": str(tmp_path),
            "NOWBRIDGE_SMTP_HOST": "127.0.0.1",
            "NOWBRIDGE_SMTP_PORT": str(box.port),
            "NOWBRIDGE_SMTP_SECURITY": "none",
            "NOWBRIDGE_SMTP_FROM": "nowbridge@example.com",
            "NOWBRIDGE_SMTP_TO": "ada@example.com, bob@example.com",
            "NOWBRIDGE_NOTIFY_WEBHOOK": url,
        }
        one = notifier_of(load(environment), bench.database)
        await bench.add("incident")
        assert await kinds(one) == []
        await bench.replica.prepare()
        await bench.load_shards()
        assert await kinds(one) == [("backfill", "done, 1 tables")]
        assert await kinds(one) == [], "once per change"
        while await one.send_next():
            pass
    (mail,) = box.mails
    assert "Subject: Nowbridge: twin: the backfill is done, all 1 tables are loaded (7 rows)" in mail.replace(
        "\r\n ", " "
    )
    assert "To: ada@example.com, bob@example.com" in mail
    assert len(posted) == 1
    assert b'"kind": "backfill"' in posted[0]
    assert await bench.rows("SELECT count(*) FROM nowbridge.notice_to_send") == [(0,)]


async def test_a_backfill_that_ended_before_anybody_looked_is_noticed_too(bench: Bench) -> None:
    bench.make_incidents(3)
    await bench.load("incident")
    assert await kinds(notifier(bench)) == [("backfill", "done, 1 tables")]


async def test_a_table_that_stops_and_works_again_makes_two_notices(bench: Bench) -> None:
    bench.make_incidents(3)
    await bench.load("incident")
    one = notifier(bench)
    await one.look()
    bench.twin.instance.set_admin_password("changed")
    for _ in range(3):
        bench.now.pass_(seconds=600)
        for lease in await bench.replica.claim_due_streams(10):
            await bench.replica.poll(lease)
        await one.look()
    bench.twin.instance.set_admin_password("admin")
    bench.now.pass_(seconds=600)
    await bench.catch_up()
    await one.look()
    told = await bench.rows("SELECT state FROM nowbridge.notice WHERE kind = 'failing' ORDER BY id")
    assert told == [("auth.refused",), ("works",)]


async def test_age_and_values_are_noticed_once_and_paused_tables_are_not(bench: Bench) -> None:
    bench.make_incidents(3)
    await bench.load("incident")
    async with bench.database.transaction() as connection:
        (table,) = await tables.status(connection)
    now, limit = bench.now(), timedelta(seconds=60)
    old = replace(table, proven_to=now - timedelta(seconds=61), value_issues=2)

    def states(which: tables.TableStatus, was: str = "fresh") -> dict[str, str]:
        before = {("public.incident", "lag"): was}
        return {c.kind: c.state for c in conditions_of([which], {}, before, now=now, lag=limit)}

    assert states(old) == {"failing": "works", "values": "some do not fit", "lag": "behind"}
    recovering = replace(old, proven_to=now - timedelta(seconds=45))
    assert (states(recovering, "behind")["lag"], states(recovering, "fresh")["lag"]) == ("behind", "fresh")
    assert states(replace(old, paused_at=now)) == {}


async def test_a_secret_that_is_about_to_expire_is_noticed_in_time(bench: Bench) -> None:
    one = notifier(bench)
    async with bench.database.transaction() as connection:
        await connection.execute(
            "UPDATE nowbridge.connection SET secret_expires_at = %s", (bench.now() + timedelta(20),)
        )
    told = []
    for _ in range(22):
        told += [state for kind, state in await kinds(one) if kind == "secret"]
        bench.now.pass_(days=1)
    assert told == ["expires within 14 days", "expires within 2 days", "expired"]


async def test_deletes_that_wait_for_somebody_are_noticed(bench: Bench) -> None:
    bench.make_incidents(3)
    await bench.load("incident")
    table = await bench.table_id("incident")
    one = notifier(bench)
    await one.look()
    for held in ({"reason": "too_many", "wanted": 99, "rows": 100, "invisible": 0, "since": "x"}, None):
        async with bench.database.transaction() as connection:
            await watches.hold(connection, table, held)
        await one.look()
        assert await kinds(one) == [], "once per change"
    told = await bench.rows("SELECT subject, state FROM nowbridge.notice WHERE kind = 'deletes' ORDER BY id")
    assert told == [("public.incident", "held: too_many"), ("public.incident", "go on")]


async def test_refused_sql_writes_are_noticed_once_by_why_and_when_they_are_taken_again(bench: Bench) -> None:
    one = notifier(bench)
    write = (
        "INSERT INTO nowbridge.write_log (connection_id, role, statement, changes, submitted_at, ended_at, state, sqlstate)"
        " VALUES (%s, 'ada', 'UPDATE ...', '[]', %s, %s, %s, %s)"
    )
    seen = []
    for state, sqlstate in (("done", None), ("refused", "42501"), ("refused", "42501"), ("refused", "23514")):
        async with bench.database.transaction() as connection:
            now = bench.now()
            await connection.execute(write, (bench.connection_id, now, now, state, sqlstate))
        seen.append(await kinds(one))
    assert seen == [[], [("writes", "refused: 42501")], [], [("writes", "refused: 23514, 42501")]]
    bench.now.pass_(seconds=3_601)
    assert await kinds(one) == [("writes", "taken")]
    assert await kinds(one) == []


async def test_two_workers_that_look_at_once_make_one_notice(bench: Bench) -> None:
    bench.make_incidents(3)
    await bench.load("incident")
    made = await asyncio.gather(*(notifier(bench).look() for _ in range(4)))
    assert sum(len(one) for one in made) == 1


async def test_what_cannot_be_sent_waits_longer_each_time_and_is_given_up_in_the_end(bench: Bench) -> None:
    tries = 0

    async def refuse(notice: Notice) -> None:
        nonlocal tries
        tries += 1
        raise Retry("mail.unsent", asked="send", answered=f"no {notice.id}")

    bench.make_incidents(1)
    await bench.load("incident")
    one = notifier(bench, mail=refuse)
    await one.look()
    assert await one.send_next()
    assert not await one.send_next(), "it waits"
    async with bench.database.transaction() as connection:
        assert [row[1:] for row in await notices.unsent(connection)] == [("mail", 1, "no 1 [mail.unsent]")]
    for _ in range(20):
        bench.now.pass_(hours=2)
        await one.send_next()
    assert tries == 10


async def test_a_webhook_that_refuses_is_a_failure(bench: Bench, tmp_path: Path) -> None:
    async with hook(status=500) as (url, posted):
        one = notifier_of(load({"HOME": str(tmp_path), "NOWBRIDGE_NOTIFY_WEBHOOK": url}), bench.database)
        bench.make_incidents(1)
        await bench.load("incident")
        await one.look()
        assert await one.send_next()
    assert len(posted) == 1
    assert await bench.rows("SELECT tries FROM nowbridge.notice_to_send") == [(1,)]


@pytest.mark.parametrize(
    "bad",
    [
        {"NOTIFY_WEBHOOK": "http://example.com/x"},
        {"NOTIFY_WEBHOOK": "https://u:p@example.com/x"},
        {"SMTP_HOST": "mail.example.com"},
        {"SMTP_HOST": "mail.example.com", "SMTP_FROM": "a@b.c", "SMTP_TO": "a@b.c", "SMTP_SECURITY": "none"},
    ],
)
def test_channels_that_would_lose_or_leak_are_refused(tmp_path: Path, bad: dict[str, str]) -> None:
    with pytest.raises(Stop) as refused:
        load({"HOME": str(tmp_path)} | {f"NOWBRIDGE_{name}": value for name, value in bad.items()})
    assert refused.value.code == "settings.value"


async def test_the_command_shows_them(program: Program, account: RunningServer) -> None:
    await program.store_connection(account.url)
    assert program.run("replicate", "incident").code == 0
    told = program.run("notices", "--json").json
    assert [notice["kind"] for notice in told["notices"]] == ["backfill"], "the worker looked before it ended"
    assert told["unsent"] == []
