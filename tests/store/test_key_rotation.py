"""A new master key: killed at any step it goes on where it stood, and at every moment all that is stored opens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nowbridge.model.errors import Stop
from nowbridge.store.database import Database
from nowbridge.store.instances import connections, hooks
from nowbridge.store.instances.secrets import key_of
from nowbridge.wiring import Credentials, keyring, new_hook, now, opened, opened_secret, sealed
from tests.support.program import PASSWORD, Program

ROTATE = """
import asyncio, os, signal, sys
from nowbridge.settings import load
from nowbridge.store.database import Database
from nowbridge.wiring import rotate_keys

steps = 0

def told(words):
    global steps
    steps += 1
    if steps == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    settings = load()
    async with Database(settings.database_url) as database:
        await rotate_keys(settings, database, told)

asyncio.run(main())
"""


async def store(program: Program) -> None:
    """Two connections and a hook."""
    settings = program.settings
    async with Database(settings.database_url) as database, database.transaction() as connection:
        for name in ("one", "two"):
            value = sealed(settings, name, "http://127.0.0.1:1", Credentials(password=PASSWORD))
            new = connections.NewConnection(name, "http://127.0.0.1:1", "basic", "u", None, value)
            row = await connections.save(connection, new, now=now())
        await hooks.save(connection, new_hook(settings, row, "http://127.0.0.1:2"), now=now())


async def all_opens(program: Program) -> set[str]:
    """The ids of the keys that are in use; everything opens."""
    settings = program.settings
    async with Database(settings.database_url) as database, database.transaction() as connection:
        rows = await connections.every(connection)
        hook = await hooks.by_name(connection, "two")
    assert {opened(settings, row).credentials.password for row in rows} == {PASSWORD}
    assert hook is not None
    assert opened_secret(settings, hook)
    return {*(key_of(row.sealed) for row in rows), key_of(hook.sealed)}


@pytest.mark.req("H39", "L8")
@pytest.mark.parametrize("die_at", [1, 2, 3, 4, 5])
async def test_killed_at_any_step_it_goes_on(program: Program, tmp_path: Path, die_at: int) -> None:
    await store(program)
    (before,) = await all_opens(program)
    script = tmp_path / "rotate.py"
    script.write_text(ROTATE)
    killed = subprocess.run(  # noqa: ASYNC221 - a moment
        [sys.executable, script, str(die_at)], env={**os.environ, **program.environment}, check=False, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(await all_opens(program)) == (2 if die_at in {2, 3} else 1)
    done = program.run("keys", "rotate", "--json")
    assert done.code == 0, done.err
    assert await all_opens(program) == {keyring(program.settings).current} != {before}
    assert len(keyring(program.settings).held) == 1
    assert program.run("keys", "show", "--json").json["older"] == []


async def test_what_the_old_key_alone_opens_is_not_lost_with_it(program: Program) -> None:
    """A value that cannot be opened stops the rotation before the old key is forgotten."""
    await store(program)
    async with Database(program.settings.database_url) as database, database.transaction() as connection:
        await connection.execute("UPDATE nowbridge.connection SET sealed = set_byte(sealed, 30, 7) WHERE name = 'two'")
    assert program.run("keys", "rotate").code == 3
    assert len(keyring(program.settings).held) == 2
    with pytest.raises(Stop):
        await all_opens(program)
