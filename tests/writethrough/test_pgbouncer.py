"""Writes through pgbouncer in transaction mode: clients take turns on one backend of Postgres. pgbouncer is a package of
Debian (and others); where it is not installed the tests are skipped and say so.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from nowbridge.delivery.deliver import Manner
from nowbridge.store.server.embedded import binary
from nowbridge.writethrough.settling import Settler
from nowtwin.behaviour.faults import FaultRule
from tests.support.replica import without_waiting
from tests.writethrough.conftest import PASSWORD, Writing
from tests.writethrough.test_sql_clients import UPDATE, refuse, url

pytestmark = [pytest.mark.req("Q24", "Q26", "Q27", "Q47"), pytest.mark.trap("14", "15")]

CONFIGURATION = """\
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 1
log_connections = 0
log_disconnections = 0
"""


@pytest.fixture
async def pooled(writing: Writing) -> AsyncIterator[str]:
    """The URL of the user `ada` through a pgbouncer that has one backend for all its clients."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not tried: it is not installed on this machine (Debian: apt install pgbouncer)")
    direct = urlsplit(url(writing))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        own = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="nowbridge-pgbouncer-") as folder:
        place = Path(folder)
        text = CONFIGURATION.format(host=direct.hostname, port=direct.port, own=own, folder=folder)
        (place / "pgbouncer.ini").write_text(text)
        (place / "users").write_text(f'"ada" "{PASSWORD}"\n')
        as_nobody: tuple[str, ...] = ()
        if os.getuid() == 0:  # it does not run as root
            for path in (place, place / "pgbouncer.ini", place / "users"):
                shutil.chown(path, "nobody")
            as_nobody = ("-u", "nobody")
        process = await asyncio.create_subprocess_exec(
            program, *as_nobody, str(place / "pgbouncer.ini"), stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        said = b""
        while b"listening on" not in said:
            line = await process.stderr.readline()
            assert line, said.decode()
            said += line
        yield direct._replace(netloc=f"{direct.netloc.rpartition('@')[0]}@127.0.0.1:{own}").geturl()
        process.kill()
        await process.communicate()


async def connect(pooled: str) -> AsyncConnection[TupleRow]:
    return await AsyncConnection.connect(pooled, autocommit=True, prepare_threshold=None)


async def backend(client: AsyncConnection[TupleRow]) -> object:
    return await (await client.execute("SELECT pg_backend_pid()")).fetchone()


async def test_clients_that_share_a_backend_write_and_hear_their_own_errors(writing: Writing, pooled: str) -> None:
    refuse(writing)
    async with await connect(pooled) as one, await connect(pooled) as other:
        assert await backend(one) == await backend(other)
        await one.execute(UPDATE.format("by one", 0))
        await other.execute(UPDATE.format("by other", 1))
        with pytest.raises(psycopg.errors.CheckViolation, match=r"\[ServiceNow\]"):
            await one.execute(UPDATE.format("bad", 2))
        async with other.transaction():
            await other.execute(UPDATE.format("by other again", 1))
        async with asyncio.timeout(60):
            await asyncio.gather(
                one.execute(UPDATE.format("side", 0)),
                other.execute(UPDATE.format("by side", 2)),
            )
        assert await backend(one) == await backend(other)
    assert writing.texts() == {"side", "by other again", "by side"}


async def test_what_one_client_opened_is_of_no_use_to_the_next(writing: Writing, pooled: str) -> None:
    """The way out of a transaction stays open in the backend that they share."""
    async with await connect(pooled) as one, await connect(pooled) as other:
        await one.execute(UPDATE.format("by one", 0))
        for attack in (
            "SELECT * FROM nowbridge_dblink.dblink('nowbridge_loopback', 'SELECT current_user') AS x(y text)",
            "SELECT nowbridge_dblink.dblink_exec('nowbridge_loopback', 'ALTER ROLE ada SUPERUSER')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await other.execute(attack)


async def test_the_write_of_a_client_that_is_dropped_in_mid_wait_is_completed(writing: Writing, pooled: str) -> None:
    writing.writer.manner = Manner(sleep=without_waiting, longest=2.0)
    slow = FaultRule(kind="delay", method="PATCH", table="incident", count=1, seconds=0.7)
    writing.bench.twin.instance.faults.arm([slow])
    dropped = await asyncio.create_subprocess_exec(
        *(str(binary("psql")), "-X", "-q", pooled, "-c", UPDATE.format("written", 1)), stderr=asyncio.subprocess.DEVNULL
    )
    await writing.until("SELECT count(*) FROM nowbridge.write_log WHERE state = 'sent'", 1)
    dropped.kill()
    await dropped.wait()
    async with await connect(pooled) as other:
        await other.execute(UPDATE.format("by the next", 2))
    await writing.until("SELECT count(*) FROM incident WHERE short_description = 'written'", 1)
    await Settler(writing.writer).settle()
    assert writing.texts() == {"no 0", "written", "by the next"}
    log = await writing.bench.rows("SELECT DISTINCT state, settled FROM nowbridge.write_log")
    assert log == [("done", "committed")]
