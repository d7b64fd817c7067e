"""Secrets are planted everywhere, things go well and go wrong with everything logged, and then all that was said or stored
is searched: no secret in any form that opens it, and no record in a log.
"""

from __future__ import annotations

import asyncio
import base64
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest

from nowbridge.store.database import Database
from nowtwin.behaviour.faults import FaultRule
from nowtwin.instance import OAUTH_SECRET
from nowtwin.testing import RunningServer
from tests.support.program import PASSWORD, Program, interrupt

WRONG = "n0t-the-passw0rd-of-anybody"
MAIL = "m@il-passw0rd-in-the-environment"
PROXY = "pr0xy-passw0rd-in-the-environment"
BODY = "a sentence of a record that belongs in no log"
LOUD = {"NOWBRIDGE_LOG": "debug", "NOWBRIDGE_LOG_FORMAT": "json", "NOWBRIDGE_SMTP_PASSWORD": MAIL}


def forms(secret: str) -> list[str]:
    """As it is, in a URL, in a Basic header."""
    basic = base64.b64encode(f"svc.nowbridge:{secret}".encode()).decode()
    return [secret, quote(secret, safe=""), basic, base64.b64encode(secret.encode()).decode().rstrip("=")]


async def followed(program: Program, account: RunningServer) -> str:
    """What a worker says while it follows changes, is refused, and goes on."""
    worker = program.start("worker", **LOUD)
    async with Database(program.settings.database_url) as database:

        async def until(query: str) -> None:
            while True:
                async with database.transaction() as connection:
                    row = await (await connection.execute(query)).fetchone()
                if row is not None and row[0]:
                    return
                await asyncio.sleep(0.05)

        await until("SELECT count(*) > 0 FROM nowbridge.worker")
        account.instance.faults.arm([FaultRule(kind="status", status=401, table="incident")])
        await until("SELECT bool_or(last_error IS NOT NULL) FROM nowbridge.stream")
        account.instance.faults.arm([])
    code, out, err = await asyncio.to_thread(interrupt, worker)
    assert code == 0
    return out + err


@pytest.mark.timeout(240)
async def test_no_secret_and_no_record_is_said_or_kept_in_the_open(
    program: Program, account: RunningServer, tmp_path: Path
) -> None:
    account.instance.insert("incident", {"short_description": BODY})
    said = []

    def run(*arguments: str, **more: str) -> None:
        ran = program.run(*arguments, **LOUD, **more)
        said.append(ran.out + ran.err)

    given = {"NOWBRIDGE_PASSWORD": PASSWORD, "NOWBRIDGE_CLIENT_SECRET": OAUTH_SECRET}
    sign_in = ("connect", account.url, "--name", "twin", "--auth", "oauth", "--username", "svc.nowbridge")
    client = ("--client-id", "0f1e2d3c4b5a69788796a5b4c3d2e1f0")
    run(*sign_in, *client, **(given | {"NOWBRIDGE_PASSWORD": WRONG}))
    run(*sign_in, *client, "--proxy", "http://ada@127.0.0.1:1", **given, NOWBRIDGE_PROXY_PASSWORD=PROXY)
    run(*sign_in, *client, "--proxy", "none", **given, NOWBRIDGE_PROXY_PASSWORD=PROXY)
    for command in (("replicate", "incident"), ("check",), ("status", "--json"), ("notices",), ("verify", "--json")):
        run(*command)
    said.append(await followed(program, account))
    run("export")
    run("backup", str(tmp_path / "backup.zip"), "--json")

    logs = "\n".join(said)
    assert len(logs) > 5_000, "something was said"
    assert BODY not in logs
    with zipfile.ZipFile(tmp_path / "backup.zip") as archive:
        stored = "\n".join(archive.read(name).decode(errors="replace") for name in archive.namelist())
    for secret in (PASSWORD, OAUTH_SECRET, WRONG, MAIL, PROXY):
        for form in forms(secret):
            assert form not in logs
            assert form not in stored
