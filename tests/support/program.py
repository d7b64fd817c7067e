"""The program `nowbridge` as a user runs it: in a process of its own, with an environment of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nowbridge.settings import Settings, load
from nowbridge.store.database import Database
from nowbridge.store.instances.connections import NewConnection, save
from nowbridge.wiring import Credentials, now, prepare_home, sealed
from nowtwin.instance import OAUTH_CLIENT, OAUTH_SECRET
from nowtwin.testing import RunningServer

PROGRAM = Path(sys.executable).parent / "nowbridge"
PASSWORD = "tr0ub4dor-and-3-horses"
SECRETS = (PASSWORD, OAUTH_SECRET)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended. No secret was in what it said: `Program.run` sees to that."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the command printed
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Program:
    environment: Mapping[str, str]

    def run(self, *arguments: str, stdin: str = "", **variables: str) -> Ran:
        """Run one command to its end; `variables` are added to its environment."""
        done = subprocess.run(
            (PROGRAM, *arguments),
            env={**self.environment, **variables},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        for secret in SECRETS:
            assert secret not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command that runs until it is told to stop, in a process group of its own."""
        return subprocess.Popen(
            (PROGRAM, *arguments),
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def prepare(self) -> None:
        """What `nowbridge init` does, without the cost of a process."""
        prepare_home(self.settings)

    async def store_connection(self, url: str) -> None:
        """What `nowbridge connect --auth basic` stores, without the cost of a process."""
        settings = self.settings
        new = NewConnection(
            name="twin",
            url=url,
            auth="basic",
            username="svc.nowbridge",
            client_id=None,
            sealed=sealed(settings, "twin", url, Credentials(password=PASSWORD)),
        )
        async with Database(settings.database_url) as database, database.transaction() as connection:
            await save(connection, new, now=now())

    @property
    def settings(self) -> Settings:
        return load(self.environment)

    def connect(self, url: str, *options: str, auth: str = "oauth", password: str = PASSWORD) -> Ran:
        client = ("--client-id", OAUTH_CLIENT) if auth == "oauth" else ()
        return self.run(
            *("connect", url, "--name", "twin", "--auth", auth, "--username", "svc.nowbridge", *client, *options),
            NOWBRIDGE_PASSWORD=password,
            NOWBRIDGE_CLIENT_SECRET=OAUTH_SECRET,
        )


def environment_for(home: Path) -> dict[str, str]:
    """Nothing of whoever runs the tests but the path."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "NOWBRIDGE_HOME": str(home / "nowbridge"),
        "NOWBRIDGE_POLL_SECONDS": "0.5",
        "NOWBRIDGE_SAFETY_LAG_SECONDS": "1",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def program(tmp_path: Path, database_dsn: str) -> Iterator[Program]:
    """The program with a home that was initialised, on a database of this test's own."""
    made = Program({**environment_for(tmp_path), "DATABASE_URL": database_dsn})
    made.prepare()
    yield made
    assert not any(secret in file.read_text(errors="replace") for secret in SECRETS for file in _files(tmp_path))


@pytest.fixture
def account(twin: RunningServer) -> RunningServer:
    """The instance with the account `svc.nowbridge` and some records, an hour old: no change stream is to bring them."""
    twin.instance.clock.advance(-3600)
    twin.instance.add_user("svc.nowbridge", PASSWORD, roles=("admin",), first_name="Nowbridge", last_name="Service")
    group = twin.instance.insert("sys_user_group", {"name": "Network"})
    for number in range(5):
        values = {"short_description": f"Printer {number} is on fire", "assignment_group": group.values["sys_id"]}
        twin.instance.insert("incident", values | {"impact": "1", "urgency": "1", "state": "2"})
    twin.instance.clock.advance(3600)
    return twin


def interrupt(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
    """What Ctrl-C does; the exit code and everything that was said."""
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
