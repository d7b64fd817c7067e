"""A backup is one consistent file; its copy stands still until somebody says that the original does not run."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from nowbridge.store.server.provision import ROLE
from nowtwin.testing import RunningServer
from tests.support.program import PASSWORD, Program, environment_for

Fresh = Callable[[str], Program]


@pytest.fixture
def fresh(maintenance: psycopg.Connection, template_dsn: str, tmp_path: Path) -> Fresh:
    """Homes of their own on empty databases."""

    def make(name: str) -> Program:
        database = f"{tmp_path.name}_{name}"[-40:]
        identifier = sql.Identifier(database)
        maintenance.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(identifier, sql.Identifier(ROLE)))
        home = tmp_path / name
        home.mkdir()
        dsn = template_dsn.replace("/nowbridge_template?", f"/{database}?")
        return Program({**environment_for(home), "DATABASE_URL": dsn})

    return make


def count(program: Program, query: str) -> str:
    return program.run("psql", "-Atc", query).out.strip()


@pytest.mark.parametrize("data", [True, False])
async def test_a_copy_stands_still_and_goes_on_when_it_is_told_to(
    program: Program, account: RunningServer, fresh: Fresh, tmp_path: Path, data: bool
) -> None:
    await program.store_connection(account.url)
    assert program.run("replicate", "incident", "sys_user_group").code == 0
    before = program.run("export").out
    feed = count(program, "SELECT count(*) FROM _sync_cdc")
    file = tmp_path / "backup.zip"
    made = program.run("backup", str(file), "--json", *(["--data"] if data else []))
    assert made.code == 0, made.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert program.run("backup", str(file)).code == 3, "an older backup is not written over"
    with zipfile.ZipFile(file) as archive:
        assert all(PASSWORD.encode() not in archive.read(name) for name in archive.namelist())
        assert "master.key" not in archive.namelist()

    copy = fresh("copy")
    refused = copy.run("restore", str(file))
    assert (refused.code, "backup.key" in refused.err) == (3, True)
    copy.settings.key_path.parent.mkdir(parents=True, exist_ok=True)
    copy.settings.key_path.write_bytes(program.settings.key_path.read_bytes())
    copy.settings.key_path.chmod(0o600)
    done = copy.run("restore", str(file))
    assert done.code == 0, done.err
    assert copy.run("restore", str(file)).code == 3, "it is not empty any more"
    assert copy.run("export").out == before
    assert count(copy, "SELECT count(*) FROM _sync_cdc") == feed
    assert count(copy, "SELECT count(*) FROM incident") == ("5" if data else "0")

    calls = account.instance.calls.total
    for command in (("replicate", "problem"), ("verify",), ("check",)):
        stopped = copy.run(*command)
        why = "table.not_loaded" if command == ("verify",) and not data else "connection.stopped"
        assert (stopped.code, why in stopped.err) == (3, True), command
    assert account.instance.calls.total == calls, "a copy asks nothing"

    assert copy.run("resume", "--restored", "--json").json == {"resumed": ["twin"]}
    assert copy.run("replicate", "incident").code == 0
    assert copy.run("verify").code == 0
    assert copy.run("replicate", "problem").code == 0, "ids are given out from where they stood"


async def test_the_key_goes_with_it_only_when_asked(
    program: Program, account: RunningServer, fresh: Fresh, tmp_path: Path
) -> None:
    await program.store_connection(account.url)
    file = tmp_path / "backup.zip"
    assert program.run("backup", str(file), "--with-key").code == 0
    copy = fresh("copy")
    assert copy.run("restore", str(file)).code == 0
    assert copy.run("resume", "--restored").code == 0
    assert copy.run("check").code in {0, 1}, "the credentials open"

    bare = tmp_path / "bare.zip"
    assert program.run("backup", str(bare)).code == 0
    other = fresh("other")
    assert other.run("restore", str(bare), "--without-key").code == 0
    assert other.run("resume", "--restored").code == 0
    wrong = other.run("check")
    assert (wrong.code, "key.wrong" in wrong.err) == (3, True)


@pytest.mark.parametrize("content", [b"", b"no zip at all"])
async def test_what_is_no_backup_is_refused(fresh: Fresh, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "odd.zip"
    file.write_bytes(content)
    refused = fresh("copy").run("restore", str(file))
    assert (refused.code, "backup.file" in refused.err) == (3, True)
