"""From a change in ServiceNow to the row in Postgres, by hints: 1,000 changes at 20 a second, with the rules run at once and
after two seconds.

Everything runs as a user would run it, each in a process of its own: `nowtwin serve`, `nowbridge up` on its embedded
PostgreSQL with all defaults, rules put in by `nowbridge hooks install`. A change begins when nowtwin has stored it and ends when
another SQL client sees it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib import request

from benchmarks.result import Measure, Options, Ratio, Result
from nowbridge.settings import load as load_settings
from nowbridge.store.database import Database
from nowbridge.store.server import embedded
from nowbridge.wiring import find_database
from nowtwin.seeds import generate_incidents

NAME = "freshness"
CHANGES = 1_000
PER_SECOND = 20.0
ROWS = 2_000
DELAYS = (0.0, 2.0)  # seconds until an async rule runs
BAR, AIM = 1.0, 0.3  # seconds, of the 95th percentile, with rules run at once
LOOK_EVERY = 0.004
PATIENCE = 60.0
BIN = Path(sys.executable).parent
_DIRECT = request.build_opener(request.ProxyHandler({}))

Version = tuple[str, int]
"""sys_id and sys_mod_count."""


def run(options: Options) -> Result:
    """`--rows N` plays N changes instead of 1,000."""
    changes = options.rows if options.rows != Options().rows else CHANGES
    home = Path(tempfile.mkdtemp(prefix="nowbridge-freshness-"))
    lags: list[list[float]] = []
    try:
        with _running(home) as (twin, dsn):
            for delay in DELAYS:
                call(twin, "PUT", "/_nowtwin/switches", {"async_rule_delay_ms": int(delay * 1000)})
                lags.append(asyncio.run(measure(twin, dsn, changes, f"rules after {delay:g} s")))
            lost = asyncio.run(_one(dsn, "SELECT count(*) FROM nowbridge.unhinted"))
    finally:
        embedded.stop(home)
        shutil.rmtree((home / "postgres").resolve(), ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)
    measures = [
        Measure(f"p{share:g}, rules after {delay:g} s", "ms", (1000 * percentile(found, share / 100),), 0.0)
        for delay, found in zip(DELAYS, lags, strict=True)
        for share in (50, 95, 99)
    ]
    p95 = percentile(lags[0], 0.95)
    return Result(
        NAME,
        (
            f"{changes:,} changes of {ROWS:,} incidents at {PER_SECOND:g}/s by the Table API, incident and sys_user replicated,",
            "hooks on, poll in the background at its default; stored in nowtwin -> seen by another SQL client",
        ),
        tuple(measures),
        (Ratio(f"{BAR:g} s / p95, rules at once", (BAR / p95,), bar=1.0, aim=BAR / AIM),),
        f"load {os.getloadavg()[0]:.1f}; the seconds that a rule waits are in its figures",
        (f"changes that a poll found before their hint: {lost}",),
    )


async def measure(twin: str, dsn: str, changes: int, words: str) -> list[float]:
    """Seconds from stored to seen, of every change. `words` differ from run to run: what changes nothing is no change."""
    chance = random.Random(7)
    journal = json.loads(call(twin, "GET", "/_nowtwin/writes?after=0"))["next"]
    ids = [row["sys_id"] for row in json.loads(call(twin, "GET", "/_nowtwin/export?table=incident"))["rows"]]
    seen: dict[Version, float] = {}
    ended = asyncio.Event()
    async with Database(dsn, max_size=2) as database:
        watching = asyncio.create_task(_watch(database, seen, ended))
        begun = time.monotonic()
        for at in range(changes):
            await asyncio.sleep(max(0.0, begun + at / PER_SECOND - time.monotonic()))
            body = {"short_description": f"{words}: {at}", "impact": chance.choice("123")}
            await asyncio.to_thread(call, twin, "PATCH", f"/api/now/table/incident/{chance.choice(ids)}", body)
        written = json.loads(call(twin, "GET", f"/_nowtwin/writes?after={journal}"))["writes"]
        wanted = [(one["sys_id"], one["sys_mod_count"], one["at"]) for one in written if one["table"] == "incident"]
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and any(_arrival(seen, key, version) is None for key, version, _ in wanted):  # noqa: ASYNC110 - another process' work, seen in the database
            await asyncio.sleep(0.05)
        ended.set()
        await watching
    found = [(_arrival(seen, key, version), at) for key, version, at in wanted]
    if len(found) < changes or any(arrived is None for arrived, _ in found):
        raise AssertionError(f"of {changes} changes {sum(arrived is not None for arrived, _ in found)} arrived")
    return [arrived - at for arrived, at in found if arrived is not None]


async def _watch(database: Database, seen: dict[Version, float], ended: asyncio.Event) -> None:
    async with database.session() as connection:
        row = await (await connection.execute("SELECT coalesce(max(id), 0) FROM public._sync_cdc")).fetchone()
        last = row[0] if row else 0
        while not ended.is_set():
            cursor = await connection.execute(
                "SELECT id, sys_id, version FROM public._sync_cdc WHERE id > %s AND table_name = 'incident'"
                " AND version IS NOT NULL ORDER BY id",
                (last,),
            )
            at = time.time()  # noqa: TID251 - compared with the twin's journal, on the same machine
            for number, sys_id, version in await cursor.fetchall():
                last = number
                seen[sys_id, version] = at
            await asyncio.sleep(LOOK_EVERY)


def _arrival(seen: dict[Version, float], sys_id: str, version: int) -> float | None:
    """When this version was seen, or a later one that took its place."""
    return next((seen[sys_id, later] for later in range(version, version + 20) if (sys_id, later) in seen), None)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@contextmanager
def _running(home: Path) -> Iterator[tuple[str, str]]:
    """The twin's URL and the database's, with both products running and the tables loaded."""
    rows = home / "incidents.json"
    rows.write_text(json.dumps({"incident": list(generate_incidents(1, ROWS, first_number=1))}))
    with _process("nowtwin", "serve", "--port", "0", "--data", str(rows), out=True) as twin:
        line = twin.stdout.readline() if twin.stdout else ""
        url = next(word for word in line.split() if word.startswith("http://"))
        port = _free_port()
        _nowbridge(home, "init")
        _nowbridge(home, "connect", url, "--name", "bench", "--auth", "basic", "--username", "admin")
        _nowbridge(home, "replicate", "incident", "sys_user", "--json")
        hook = f"http://127.0.0.1:{port}/hooks/bench"
        _nowbridge(home, "hooks", "install", "--url", hook, "--admin-user", "admin")
        with _process("nowbridge", "--home", str(home), "up", "--health-port", str(port), "--log", "json"):
            dsn = find_database(load_settings({}, home=home))
            _until_answered(f"http://127.0.0.1:{port}/health")
            yield url, dsn


@contextmanager
def _process(name: str, *arguments: str, out: bool = False) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        (str(BIN / name), *arguments),
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if out else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _nowbridge(home: Path, *arguments: str) -> None:
    command = (str(BIN / "nowbridge"), "--home", str(home), *arguments)
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"nowbridge {arguments[0]}: {done.stderr}")


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k != "DATABASE_URL" and not k.startswith(("NOWBRIDGE_", "PG"))}
    return {**kept, "NOWBRIDGE_PASSWORD": "admin", "NOWBRIDGE_ADMIN_PASSWORD": "admin", "PYTHONUNBUFFERED": "1"}


def call(base: str, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    basic = base64.b64encode(b"admin:admin").decode()
    lines = {"Content-Type": "application/json", "Accept": "application/json", "Authorization": f"Basic {basic}"}
    with _DIRECT.open(request.Request(base + path, data=data, method=method, headers=lines), timeout=60) as answer:
        content: bytes = answer.read()
        if answer.status not in {200, 201}:
            raise AssertionError(f"{method} {path} was answered {answer.status}")
        return content


def _until_answered(url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _answers(url):
        if time.monotonic() > deadline:
            raise AssertionError("nowbridge up did not answer")
        threading.Event().wait(0.2)  # nobody sets it: another process comes up meanwhile


def _answers(url: str) -> bool:
    try:
        with _DIRECT.open(url, timeout=5):
            return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def _one(dsn: str, query: str) -> Any:  # noqa: ANN401 - one value
    async with Database(dsn, max_size=2) as database, database.transaction() as connection:
        row = await (await connection.execute(query)).fetchone()
        return row[0] if row else None
