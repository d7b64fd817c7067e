"""The disk of Postgres is full in the middle of a load: it stops with that reason, keeps what it has, and goes on by
itself when there is room again.

The disk is a small tmpfs, which only root can mount: elsewhere this story is skipped.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from nowbridge.store.server.embedded import EmbeddedServer
from nowbridge.store.server.provision import ROLE
from nowbridge.wiring import install
from tests.support.replica import Bench


@pytest.fixture
def small_disk(postgres: EmbeddedServer) -> Iterator[Path]:
    """A file system of 40 MB below the server's own directory."""
    place = postgres.data.parent
    disk = place / f"small-{os.getpid()}"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        disk.rmdir()
        pytest.skip("to mount a small disk takes root")
    owner = postgres.data.stat()
    (disk / "space").mkdir(mode=0o700)
    os.chown(disk / "space", owner.st_uid, owner.st_gid)
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)
    disk.rmdir()


@pytest.fixture
def database_dsn(small_disk: Path, template_dsn: str, maintenance: psycopg.Connection) -> Iterator[str]:
    """As everywhere, but on the small disk."""
    name, space = sql.Identifier(f"full_{os.getpid()}"), sql.Identifier(f"small_{os.getpid()}")
    maintenance.execute(
        sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(space, sql.Literal(str(small_disk / "space")))
    )
    maintenance.execute(sql.SQL("CREATE DATABASE {} OWNER {} TABLESPACE {}").format(name, sql.Identifier(ROLE), space))
    dsn = template_dsn.replace("/nowbridge_template?", f"/full_{os.getpid()}?")
    install(dsn)
    yield dsn
    maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
    maintenance.execute(sql.SQL("DROP TABLESPACE {}").format(space))


def make_room(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=400m", disk], check=True)


async def test_the_load_waits_for_room_and_goes_on(bench: Bench, small_disk: Path) -> None:
    big = "".join(f"{n:08x}" for n in range(1_000))  # 8,000 characters that do not compress well
    bench.make_incidents(3_000, description=big)
    await bench.add("incident")
    await bench.replica.prepare()
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler.write_bytes(b"x" * (free - 2_000_000))
    await bench.load_shards()
    said = await bench.rows("SELECT DISTINCT last_error->>'code' FROM nowbridge.shard WHERE last_error IS NOT NULL")
    assert said == [("database.full",)]
    loaded, counted = (
        await bench.rows("SELECT (SELECT count(*) FROM incident), (SELECT sum(rows)::int FROM nowbridge.shard)")
    )[0]
    assert loaded == counted < 3_000
    filler.unlink()
    make_room(small_disk)
    bench.now.pass_(minutes=10)
    await bench.load_shards()
    assert await bench.rows("SELECT count(*), count(DISTINCT number) FROM incident") == [(3_000, 3_000)]
    assert await bench.rows("SELECT sum(rows)::int FROM nowbridge.shard") == [(3_000,)]
