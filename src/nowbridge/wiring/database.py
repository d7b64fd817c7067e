"""The home and its database: made, found, brought up to date, backed up and restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from nowbridge.jobs import queue
from nowbridge.model.errors import Stop
from nowbridge.settings import Settings
from nowbridge.store import migrate
from nowbridge.store.database import translated
from nowbridge.store.instances.secrets import Keyring
from nowbridge.store.operation import backup
from nowbridge.store.server import embedded, provision
from nowbridge.wiring.clock import now
from nowbridge.wiring.credentials import keyring


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare_home` had to make: the master key, and these migrations."""

    key_made: bool
    migrations: tuple[str, ...]


def prepare_home(settings: Settings) -> Prepared:
    """Home folder, master key, database, reader role. Repeating it changes nothing. Raises Stop `home.unusable`."""
    try:
        Path(settings.home).mkdir(mode=0o700, parents=True, exist_ok=True)
        key_made = not settings.key_path.exists()
        if key_made:
            Keyring.create(settings.key_path)
    except OSError as error:
        raise Stop(
            "home.unusable",
            asked=f"make the folder {settings.home}",
            answered=error.strerror or str(error),
            hint="Choose another one with --home or NOWBRIDGE_HOME.",
        ) from error
    keyring(settings)
    dsn = start_database(settings)
    migrations = install(dsn)
    reader_dsn(settings, dsn)
    return Prepared(key_made, migrations)


def install(dsn: str) -> tuple[str, ...]:
    """Bring a database to what this version needs, queue included. Returns the migrations applied now."""
    with translated("prepare the database"):
        applied = migrate.migrate(dsn)
        queue.install(dsn)
    return applied


def start_database(settings: Settings) -> str:
    """The URL of the database as the product's role: DATABASE_URL, else the embedded server, started if need be."""
    if settings.database_url:
        return settings.database_url
    server = embedded.ensure_running(Path(settings.home), port=settings.postgres_port)
    with translated("prepare the embedded database"):
        return provision.provision(server)


def find_database(settings: Settings, *, upgrade: bool = False) -> str:
    """The URL of a database that was made before, started if need be. Raises Stop where there is none yet; an older
    one is brought up to date if `upgrade` says so, else refused.
    """
    if not settings.database_url and embedded.status(Path(settings.home)).server is None:
        raise Stop(
            "home.empty",
            asked="open the Nowbridge database",
            answered=f"{settings.home} holds none",
            hint="Run `nowbridge init` first, or set NOWBRIDGE_HOME or DATABASE_URL.",
        )
    dsn = start_database(settings)
    if upgrade:
        install(dsn)
        return dsn
    with translated("open the Nowbridge database"):
        missing = migrate.missing(dsn)
    if missing:
        raise Stop(
            "database.older",
            asked="open the Nowbridge database",
            answered=f"it lacks {missing[0]}, which this version needs",
            hint="Run `nowbridge init`: it brings the database up to date and keeps what is there.",
        )
    return dsn


def back_up(settings: Settings, file: Path, *, with_rows: bool, with_key: bool) -> backup.Manifest:
    """Raises Stop `backup.file`."""
    dsn = find_database(settings)
    lines = settings.key_path.read_bytes() if with_key else b""
    return backup.make(dsn, file, backup.Order(version("nowbridge"), now().isoformat(), with_rows, lines))


def restore(settings: Settings, file: Path, *, without_key: bool) -> backup.Manifest:
    """Into this home's database, which must hold nothing yet. The keys of the file, if any, are added to this home's.
    Raises Stop `backup.key` where the credentials could not be opened here.
    """
    manifest, lines = backup.read_manifest(file)
    Path(settings.home).mkdir(mode=0o700, parents=True, exist_ok=True)
    made = not settings.key_path.exists()
    if made and not lines and manifest.keys and not without_key:
        raise _no_key(manifest.keys, "this home has no master key")
    if made:
        Keyring.create(settings.key_path)
    ring = Keyring.add(settings.key_path, lines.split())
    if not without_key and (missing := sorted({*manifest.keys} - {*ring.held})):
        raise _no_key(missing, f"{settings.key_path} holds {', '.join(ring.held)}")
    dsn = start_database(settings)
    backup.restore(dsn, file, manifest, now=now().isoformat(timespec="seconds"))
    install(dsn)
    reader_dsn(settings, dsn)
    return manifest


def _no_key(keys: Sequence[str], answered: str) -> Stop:
    return Stop(
        "backup.key",
        asked=f"open the backup's credentials, which are sealed with the key {', '.join(keys)}",
        answered=f"the key is not in the backup, and {answered}",
        hint="Put the original's master.key into this home first; or restore --without-key and connect again.",
    )


def reader_dsn(settings: Settings, dsn: str) -> str:
    """The URL of the role that may only read the replica; made when missing. In a database of the user's own, where
    we may not make roles, the product's own URL.
    """
    if settings.database_url:
        return dsn
    return provision.ensure_reader(dsn, Path(settings.home))
