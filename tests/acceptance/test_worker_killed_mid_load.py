"""A worker process is killed with SIGKILL again and again in the middle of a load: the next one takes over what the
dead one had claimed when its lease runs out, and in the end the replica equals its source.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from nowtwin.behaviour.faults import Latency
from nowtwin.seeds import generate_incidents
from nowtwin.testing import RunningServer

NOWBRIDGE = Path(sys.executable).with_name("nowbridge")
LEASE_SECONDS = 1.5


@pytest.fixture
def environment(database_dsn: str, tmp_path: Path) -> dict[str, str]:
    settings = {
        "NOWBRIDGE_HOME": str(tmp_path / "home"),
        "DATABASE_URL": database_dsn,
        "NOWBRIDGE_PASSWORD": "admin",
        "NOWBRIDGE_LEASE_SECONDS": str(LEASE_SECONDS),
        "NOWBRIDGE_HEARTBEAT_SECONDS": "0.5",
        "NOWBRIDGE_POLL_SECONDS": "0.2",
        "NOWBRIDGE_PAGE_ROWS": "100",
    }
    return {"PATH": os.environ["PATH"], **settings}


def nowbridge(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [NOWBRIDGE, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


@contextmanager
def worker(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [NOWBRIDGE, "worker"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(connection: psycopg.Connection, query: str) -> None:
    """Until the query's value is true: the database is asked again and again, for as long as the test may take."""
    while True:
        row = connection.execute(query).fetchone()
        if row is not None and row[0]:
            return


@pytest.mark.req("Q17")
def test_what_a_killed_worker_had_claimed_is_taken_over_and_nothing_is_lost_or_doubled(
    twin: RunningServer, database_dsn: str, environment: dict[str, str]
) -> None:
    rows = 3_000
    twin.instance.load("incident", generate_incidents(3, rows))
    twin.instance.faults.latency = Latency(rtt=0.05)
    assert nowbridge(environment, "init").returncode == 0
    connected = nowbridge(environment, "connect", twin.url, "--auth", "basic", "--username", "admin")
    assert connected.returncode == 0, connected.stderr
    ordered = nowbridge(environment, "replicate", "incident", "--detach")
    assert ordered.returncode == 0, ordered.stderr
    chance = random.Random(7)
    with psycopg.connect(database_dsn, autocommit=True) as connection:
        for _ in range(4):
            loaded = (connection.execute("SELECT count(*) FROM incident").fetchone() or (0,))[0]
            with worker(environment) as running:
                wait_for(connection, f"SELECT count(*) > {loaded + chance.randint(0, 400)} FROM incident")
                running.send_signal(signal.SIGKILL)
                running.wait()
        abandoned = connection.execute("SELECT count(*) FROM nowbridge.shard WHERE lease_until IS NOT NULL").fetchone()
        with worker(environment):
            wait_for(connection, "SELECT phase = 'live' FROM nowbridge.replica_table")
        assert abandoned is not None
        assert abandoned[0] > 0, "the kills were to leave claims behind"
        assert connection.execute("SELECT sum(rows)::int FROM nowbridge.shard").fetchone() == (rows,)
    verified = nowbridge(environment, "verify", "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert json.loads(verified.stdout)
