"""Every released version's database goes on under this one: restored from the file that its release left
(scripts/upgrade_fixture.py), migrated, found equal to its source, followed and repaired like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from nowbridge.store import migrate
from nowbridge.store.instances import connections
from nowbridge.store.operation import backup
from nowbridge.store.server.provision import ROLE
from nowbridge.wiring import install
from scripts.upgrade_fixture import FOLDER, ROWS
from tests.support.replica import Bench

FILES = sorted(FOLDER.glob("*.zip"))


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def file(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def database_dsn(file: Path, template_dsn: str, maintenance: psycopg.Connection) -> Iterator[str]:
    """An older version's database, as this version has migrated it."""
    name = sql.Identifier("upgraded")
    maintenance.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, sql.Identifier(ROLE)))
    dsn = template_dsn.replace("/nowbridge_template?", "/upgraded?")
    manifest, _ = backup.read_manifest(file)
    backup.restore(dsn, file, manifest, now="2026-01-01T00:00:00Z")
    install(dsn)
    yield dsn
    maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def test_there_is_a_file_of_every_release() -> None:
    """The first is of the state before the first release; each release that brings migrations adds its own."""
    assert {"0004_operation", "0007_recognition"} <= {file.stem for file in FILES}
    assert {file.stem for file in FILES} <= {name for name, _ in migrate.shipped()}


@pytest.mark.timeout(180)
async def test_it_goes_on_under_this_version(bench: Bench) -> None:
    assert migrate.missing(bench.database.dsn) == ()
    (owner,) = await bench.rows("SELECT id, stopped->>'reason' FROM nowbridge.connection WHERE name = 'acme'")
    assert owner[1] == "restored"
    async with bench.database.transaction() as connection:
        await connections.go_on(connection, owner[0])
        await connection.execute("DELETE FROM nowbridge.connection WHERE name = 'twin'")
    for table, rows in ROWS.items():
        bench.twin.instance.load(table, rows)
    assert await bench.rows("SELECT count(*) FROM incident WHERE assignment_group = 'Network'") == [(40,)]
    feed = (await bench.rows("SELECT count(*) FROM _sync_cdc"))[0][0]
    assert await bench.rows("SELECT DISTINCT schema_name FROM _sync_cdc") == [("public",)]

    bench.connection_id = owner[0]
    bench.replica = bench.open_replica("worker-1")
    for table in ROWS:
        found = await bench.verify(table)
        assert (found.rows, found.equal) == (len(ROWS[table]), True), found
    waiting = await bench.rows("SELECT count(*) FROM nowbridge.hint")
    done = await bench.replica.read_hints()
    assert (0 if done is None else done.hints) == waiting[0][0], "hints that waited are read"
    key = ROWS["incident"][6]["sys_id"]
    bench.twin.instance.update("incident", key, {"short_description": "after the upgrade"}, user="admin")
    assert await bench.catch_up() == 1
    bench.twin.instance.delete("incident", ROWS["incident"][8]["sys_id"], user="admin")
    await bench.let_pass(10)
    assert (await bench.verify("incident", repair=True)).removed == 1
    assert (await bench.rows("SELECT count(*) FROM _sync_cdc"))[0][0] == feed + 2
