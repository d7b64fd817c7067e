"""`nowtwin serve` as a user runs it: one line when ready, data as asked, a clean end."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from nowtwin.instance import Instance
from nowtwin.serving.server import make_certificate
from nowtwin.testing import serve
from tests.nowtwin.talk import basic

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "nowtwin.md"


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
        assert process.stdout
        assert process.stderr
        rest, errors = process.stdout.read(), process.stderr.read()  # communicate() misses what readline() read ahead
        assert (process.wait(timeout=60), rest, errors) == (0, "", "")


def test_a_request_that_takes_long_does_not_hold_up_the_end() -> None:
    with _served("--data", "empty", "--json") as (process, line), ThreadPoolExecutor(1) as other:
        said = json.loads(line)
        slow = b'[{"kind":"delay","seconds":60,"table":"incident"}]'
        urllib.request.urlopen(urllib.request.Request(f"{said['control_url']}faults", slow, method="PUT")).close()
        asked = other.submit(_count, said["url"], "incident")
        while _in_flight(said["control_url"]) == 0:
            assert not asked.done()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        assert "Traceback" not in errors
        assert isinstance(asked.exception(timeout=20), OSError)


def _in_flight(control: str) -> int:
    with urllib.request.urlopen(f"{control}calls") as answer:
        count: int = json.load(answer)["in_flight"]
    return count


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


def _refused(*options: str, code: int = 1) -> str:
    """What a command that cannot be done says."""
    command = [sys.executable, "-m", "nowtwin.cli", "serve", "--port", "0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "no/such/file.json"], "--data takes `demo`, `empty` or a file"),
        (["--data", ""], "--data takes `demo`, `empty` or a file"),
        (["--data", "."], ". is a folder"),
        (["--play", "no/such/log.csv"], "--play takes `generated` or an incident event log"),
        (["--app", "no/such/app"], "cannot install no/such/app: there is no file or folder"),
        (["--host", "0.0.0.0"], "0.0.0.0 is no loopback address"),
        (["--host", "example.com"], "example.com is no loopback address"),
        (["--directory", "/dev/null"], "cannot keep its rows in /dev/null"),
        (["--admin-password", ""], "--admin-password is empty"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(options: list[str], said: str) -> None:
    line = _refused(*options)
    assert said in line
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    "options", [["--port", "65536"], ["--tls-port", "-1"], ["--play-rate", "0"], ["--access", "no"]]
)
def test_a_value_out_of_range_is_a_wrong_call(options: list[str]) -> None:
    assert options[0] in _refused(*options, code=2)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cut.json", b'{"incident": [', "cut.json cannot be read"),
        ("binary.json", b"\xff\xfe", "binary.json cannot be read"),
        ("plain.json.gz", b"{}", "plain.json.gz cannot be read"),
        ("number.json", b'{"incident": [{"impact": 1}]}', "incident.impact is 1, but every value is a string"),
        ("column.json", b'{"incident": [{"nope": "x"}]}', "table incident has no column nope"),
        ("schema.json", b'{"tables": [{}], "columns": [], "choices": []}', "missing required field `name`"),
        (
            "below.json",
            b'{"tables": [{"name": "a", "super_class": "a"}], "columns": [], "choices": []}',
            "below itself",
        ),
        ("demo.json", b'{"records": {"incident": [{}]}, "references": {}}', "is no seed that is known"),
    ],
)
def test_a_file_that_is_no_seed_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    line = _refused("--data", str(tmp_path / name))
    assert said in line
    assert len(line.splitlines()) == 1


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for option in ("--port", "--tls-port"):
            assert f"port {port} of 127.0.0.1 cannot be had: Address already in use" in _refused(
                "--data", "empty", option, port
            )


def test_the_line_may_be_json_for_machines() -> None:
    with _served("--data", "empty", "--tls-port", "0", "--json", "--admin-password", "hush") as (_, line):
        said = json.loads(line)
        assert sorted(said) == ["certificate", "control_url", "tls_url", "url", "user"]
        assert "hush" not in line
        context = ssl.create_default_context(cafile=said["certificate"])
        request = urllib.request.Request(f"{said['tls_url']}/api/now/table/sys_user")
        request.add_header("Authorization", basic(said["user"], "hush"))
        with urllib.request.urlopen(request, context=context) as answer:
            assert answer.status == 200
        with urllib.request.urlopen(f"{said['control_url']}clock") as answer:
            assert answer.status == 200


def test_localhost_and_the_other_loopback_are_places_to_listen_at() -> None:
    with _served("--data", "empty", "--host", "localhost") as (_, line):
        assert line.split()[3].startswith("http://127.0.0.1:")
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with _served("--data", "empty", "--host", "::1") as (_, line):
        assert _count(line.split()[3], "sys_user") == 1


def test_a_folder_has_one_instance_and_begins_empty(tmp_path: Path) -> None:
    """Also after a kill, whose write-ahead log must not come back to life."""
    with _served("--directory", str(tmp_path)) as (process, line):
        assert _count(line.split()[3], "incident") >= 50
        assert "another instance has the folder" in _refused("--data", "empty", "--directory", str(tmp_path))
        assert _count(line.split()[3], "incident") >= 50
        process.kill()
        process.wait()
    assert (tmp_path / "rows.sqlite").is_file()
    with _served("--data", "empty", "--directory", str(tmp_path)) as (_, line):
        assert _count(line.split()[3], "incident") == 0


def test_every_option_is_documented() -> None:
    section = DOCUMENT.read_text().split("## Run it", 1)[1].split("\n## ", 1)[0]
    named = set(re.findall(r"`(--[a-z-]+)", section.partition("| option | meaning |")[2]))
    command = [sys.executable, "-m", "nowtwin.cli", "serve", "--help"]
    wide = {**os.environ, "COLUMNS": "250"}
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=wide).stdout
    assert named == set(re.findall(r"^\W*(--[a-z-]+)", shown, re.MULTILINE)) - {"--help"}


def test_a_version_and_help_are_there() -> None:
    for options in (["--version"], ["--help"], ["serve", "--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "nowtwin.cli", *options], capture_output=True, text=True, check=True
        )
        assert done.stdout


def test_a_twin_speaks_tls() -> None:
    with Instance() as instance, serve(instance, tls=True) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(server.certificate))
        request = urllib.request.Request(f"{server.url}/api/now/table/sys_user")
        request.add_header("Authorization", basic("admin", "admin"))
        with urllib.request.urlopen(request, context=context) as answer:
            assert answer.status == 200


@pytest.mark.behaviour("7.2", evidence="documentation: mutual authentication; assumption: asked for by the port")
def test_https_may_ask_for_the_certificate_of_a_client(tmp_path: Path) -> None:
    mine = make_certificate(tmp_path)
    with _served("--data", "empty", "--tls-port", "0", "--tls-client-ca", str(mine.certificate), "--json") as (_, line):
        said = json.loads(line)
        request = urllib.request.Request(f"{said['tls_url']}/api/now/table/sys_user")
        request.add_header("Authorization", basic("admin", "admin"))
        context = ssl.create_default_context(cafile=said["certificate"])
        with pytest.raises(OSError, match=r"(?i)certificate|closed|reset|EOF"):
            urllib.request.urlopen(request, context=context)
        context.load_cert_chain(mine.certificate, mine.key)
        with urllib.request.urlopen(request, context=context) as answer:
            assert answer.status == 200
        assert _count(said["url"], "sys_user") == 1  # HTTP asks for none


def test_authorities_that_cannot_be_used_are_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    ports = ("--port", "0", "--data", "empty")
    for options, said in (
        (("--tls-client-ca", str(tmp_path / "empty.pem")), "give --tls-port too"),
        (("--tls-port", "0", "--tls-client-ca", str(tmp_path / "empty.pem")), "no certificates in PEM"),
        (("--tls-port", "0", "--tls-client-ca", str(tmp_path / "none.pem")), "no certificates in PEM"),
    ):
        command = [sys.executable, "-m", "nowtwin.cli", "serve", *ports, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert said in done.stderr
