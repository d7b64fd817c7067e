"""`nowtwin serve` as a user runs it: one line when ready, data as asked, a clean end."""

import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nowtwin.instance import Instance
from nowtwin.testing import serve
from tests.nowtwin.talk import basic


@contextmanager
def _served(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "nowtwin.cli", "serve", "--port", "0", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        assert process.stdout
        try:
            yield process, process.stdout.readline()
        finally:
            if process.poll() is None:
                process.kill()


def _count(url: str, table: str, password: str = "admin") -> int:
    request = urllib.request.Request(f"{url}/api/now/table/{table}?sysparm_limit=1")
    request.add_header("Authorization", basic("admin", password))
    with urllib.request.urlopen(request) as answer:
        return int(answer.headers["X-Total-Count"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_stops_cleanly(number: signal.Signals) -> None:
    with _served("--data", "empty") as (process, line):
        url = line.split()[3]
        assert line.startswith("nowtwin ready at http://127.0.0.1:")
        assert _count(url, "sys_user") == 1
        process.send_signal(number)
        rest, errors = process.communicate(timeout=10)
        assert (process.returncode, rest, errors) == (0, "", "")


def test_demo_data_and_another_password() -> None:
    with _served("--admin-password", "other") as (_, line):
        assert "other" not in line
        assert _count(line.split()[3], "incident", "other") >= 50


@pytest.mark.parametrize(("option", "permits"), [((), 4), (("--limits", "none"), 0)])
def test_a_served_twin_has_the_limits_of_an_instance(option: tuple[str, ...], permits: int) -> None:
    with (
        _served("--data", "empty", *option) as (_, line),
        urllib.request.urlopen(f"{line.split()[3]}/_nowtwin/switches") as answer,
    ):
        switches = json.load(answer)
    assert (switches["api_semaphore"], switches["session_queue"]) == (permits, 10 if permits else 0)


def test_rows_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"incident": [{"number": "INC1"}, {"number": "INC2"}]}))
    with _served("--data", str(path)) as (_, line):
        assert _count(line.split()[3], "incident") == 2


@pytest.mark.parametrize(
    "options", [["--data", "no/such/file.json"], ["--host", "0.0.0.0"], ["--play", "no/such/log.csv"]]
)
def test_what_cannot_be_done_is_said_in_one_line(options: list[str]) -> None:
    command = [sys.executable, "-m", "nowtwin.cli", "serve", "--port", "0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_twin_speaks_tls() -> None:
    with Instance() as instance, serve(instance, tls=True) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(server.certificate))
        request = urllib.request.Request(f"{server.url}/api/now/table/sys_user")
        request.add_header("Authorization", basic("admin", "admin"))
        with urllib.request.urlopen(request, context=context) as answer:
            assert answer.status == 200
