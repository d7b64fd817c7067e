"""Where the contests take place: a durable Postgres, nowtwin and the static source, each a process of its own, all of
them gone at the end.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks import incidents
from benchmarks.contest import REPOSITORY
from nowbridge.store.server import embedded
from nowbridge.store.server.embedded import EmbeddedServer
from nowbridge.store.server.provision import provision

SEED = 20_260_101
_ENDING = 20.0


class Databases:
    """Empty databases of one server, each owned by the product's role, as a user's is."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._numbers = itertools.count(1)

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The URL of an empty database; everything written before is on disk when it is handed out."""
        name = f"bench_{next(self._numbers)}"
        dsn = provision(self._server, database=name)
        self._run(sql.SQL("CHECKPOINT"))
        try:
            yield dsn
        finally:
            self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def settings(self) -> dict[str, str]:
        names = ("server_version", "fsync", "synchronous_commit", "wal_compression", "shared_buffers")
        with psycopg.connect(self._server.superuser_dsn()) as connection:
            rows = connection.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(names),))
            return dict(rows.fetchall())

    def _run(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self._server.superuser_dsn(), autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def durable_postgres() -> Iterator[Databases]:
    """The embedded server as an installation runs it: fsync and full_page_writes on."""
    with tempfile.TemporaryDirectory(prefix="nowbridge-bench-") as directory:
        home = Path(directory)
        try:
            yield Databases(embedded.ensure_running(home))
        finally:
            embedded.stop(home, mode="immediate")
            place = home / "postgres"
            if place.is_symlink():
                shutil.rmtree(place.resolve())


@contextmanager
def twin(folder: Path, rows: int, filled: Mapping[str, float] = incidents.FILLED) -> Iterator[str]:
    """The URL of a nowtwin that holds `rows` incidents and what they refer to; `filled` as in `incidents.incidents`."""
    dice = random.Random(SEED)
    records = incidents.referenced(dice, min(1.0, rows / 20_000))
    (folder / "schema.json").write_text(json.dumps(incidents.schema()), encoding="utf-8")
    table = {incidents.TABLE: list(incidents.incidents(dice, rows, records, filled))}
    (folder / "rows.json").write_text(json.dumps(records | table), encoding="utf-8")
    arguments = [*("-m", "nowtwin.cli", "serve", "--port", "0", "--data", "empty")]
    arguments += ["--data", str(folder / "schema.json"), "--data", str(folder / "rows.json")]
    with _server(arguments) as said:
        yield said.partition(" at ")[2].split()[0]


@contextmanager
def static_source(file: Path, times: int = 1) -> Iterator[str]:
    """The URL under which the recording in `file` is served, every row of it `times` times."""
    with _server(["-m", "benchmarks.static_source", str(file), str(times)]) as said:
        yield said.strip()


@contextmanager
def _server(arguments: list[str]) -> Iterator[str]:
    """A Python process that prints a line when it is ready: that line."""
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            if not said:
                raise RuntimeError(f"{arguments[1]} ended before it was ready")
            yield said
        finally:
            process.terminate()
            try:
                process.wait(_ENDING)
            except subprocess.TimeoutExpired:
                process.kill()
