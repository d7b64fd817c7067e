"""Reads of single rows while the replica applies 500 changes a second to their table, against the same table at rest: pgbench
with one client, in alternating pairs. Nothing of ours stands between a reader and Postgres; what is left is what the
applying costs the same server.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from benchmarks import places, rename
from benchmarks.contest import REPOSITORY
from benchmarks.result import Measure, Options, Ratio, Result
from nowbridge import wiring
from nowbridge.store.database import Database
from nowbridge.store.server.embedded import binary
from nowbridge.transport.client import Client, Limits
from nowtwin.instance import Instance as Twin
from nowtwin.testing import serve

NAME = "sql_reads"
ROWS = 100_000
RATE = 500  # changes a second
PAIRS = 15
SECONDS = 4
BAR = 0.9
SCRIPT = """\
\\set n random(0, {last})
SELECT number, short_description, state, priority, assignment_group, sys_updated_on FROM incident
 WHERE sys_id = lpad(to_hex(:n::integer), 32, '0');
"""


def run(options: Options) -> Result:
    """`--rows N` makes the table N rows; `--rounds N` plays N pairs."""
    rows = options.rows if options.rows != Options().rows else ROWS
    pairs = options.rounds if options.rounds != Options().rounds else PAIRS
    with (
        tempfile.TemporaryDirectory(prefix="nowbridge-sql-reads-") as folder,
        places.durable_postgres() as databases,
        databases.fresh() as dsn,
        Twin() as twin,
        serve(twin) as server,
    ):
        wiring.install(dsn)
        connection_id = asyncio.run(fill(server.url, dsn, rows))
        script = Path(folder) / "read.sql"
        script.write_text(SCRIPT.format(last=rows - 1))
        reads(dsn, script)  # warms up
        at_rest, under, rates = alternate(dsn, connection_id, rows, script, pairs)
    ratios = tuple(one / other for one, other in zip(under, at_rest, strict=True))
    return Result(
        NAME,
        (
            f"{rows:,} rows of incident's full width, about 1.5 kB each; pgbench -n -c 1 -M prepared, one row by key,",
            f"{pairs} alternating pairs of {SECONDS} s; the applier is a process of its own, on the same machine",
        ),
        (
            Measure("at rest", "reads/s", tuple(at_rest), 0.0),
            Measure(
                f"at {RATE} changes/s", "reads/s", tuple(under), 0.0, f"applied {min(rates):.0f}-{max(rates):.0f}/s"
            ),
        ),
        (Ratio("applying / at rest", ratios, bar=BAR),),
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
        ("the applier's own work (labels, encoding) takes processor time from the reader where cores are few",),
    )


def alternate(
    dsn: str, connection_id: int, rows: int, script: Path, pairs: int
) -> tuple[list[float], list[float], list[float]]:
    """Reads a second at rest and while changes are applied, pair by pair, who begins changing; and how many were applied."""
    at_rest, under, rates = [], [], []
    for turn in range(2 * pairs):
        if turn % 4 in {1, 2}:
            with applying(dsn, connection_id, rows) as rate:
                under.append(reads(dsn, script))
            rates.extend(rate)
        else:
            at_rest.append(reads(dsn, script))
    return at_rest, under, rates


def reads(dsn: str, script: Path) -> float:
    """Reads per second."""
    at = urlsplit(dsn)
    command = [str(binary("pgbench")), *("-n", "-c", "1", "-M", "prepared"), *("-T", str(SECONDS), "-f", str(script))]
    place = {
        "PGHOST": at.hostname or "",
        "PGPORT": str(at.port),
        "PGUSER": at.username or "",
        "PGDATABASE": at.path[1:],
    }
    environment = os.environ | place | {"PGPASSWORD": unquote(at.password or "")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    found = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
    if done.returncode or found is None or "number of failed transactions: 0 " not in done.stdout:
        raise AssertionError(done.stdout + done.stderr)
    return float(found[1])


@contextmanager
def applying(dsn: str, connection_id: int, rows: int) -> Iterator[list[float]]:
    """Changes are applied; at the end the list holds how many a second there were."""
    command = (sys.executable, "-m", "benchmarks.sql_applier", dsn, str(connection_id), str(rows), str(RATE))
    rate: list[float] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        if process.stdout.readline() != "applying\n":
            raise AssertionError("the applier did not start")
        try:
            yield rate
        finally:
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=60)
    done, seconds = said.split()
    rate.append(int(done) / float(seconds))


async def fill(url: str, dsn: str, rows: int) -> int:
    """A live, indexed replica of incident with so many rows. Returns the connection's id."""
    client = Client(url, limits=Limits(), sleep=asyncio.sleep, monotonic=time.monotonic, random=random.Random(1).random)
    async with Database(dsn) as database:
        replica = await rename.fill(database, client, url, rows)
        async with database.transaction() as connection:
            await connection.execute("UPDATE incident SET state__value = 1")
    await client.close()
    return replica.connection_id
