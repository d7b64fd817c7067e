"""What an operator may set, read once at the start: `<home>/nowbridge.toml`, then the environment, which wins.

Connections, tables and credentials are no settings: they live in the database, credentials sealed. Only `cli` and
`wiring` see this module; every other part is handed the few values it needs. docs/settings.md lists them all, and a
test holds that page and this class equal.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from nowbridge.model.errors import Stop

FILE: Final = "nowbridge.toml"
_LOCAL: Final = ("127.0.0.1", "::1", "localhost")
_PAGE: Final = "docs/settings.md lists every setting."

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Port = Annotated[int, Meta(ge=1, le=65_535)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Each field's description is the line of docs/settings.md."""

    home: Annotated[
        str, Meta(description="The folder for the settings file, the master key and the embedded database.")
    ]
    database_url: Annotated[
        str, Meta(description="A PostgreSQL of your own (15 or later). Empty: the embedded one, started when needed.")
    ] = ""
    postgres_port: Annotated[
        Port | None,
        Meta(description="The port of the embedded PostgreSQL. Without it a free one is chosen once and kept."),
    ] = None
    key_file: Annotated[
        str, Meta(description="The master key that seals credentials; a relative path counts from the home.")
    ] = "master.key"
    health_host: Annotated[
        str,
        Meta(
            description="The address on which `up` and `serve` answer /health, /metrics, /hooks and the console. Another one than 127.0.0.1 opens them to its network, without TLS: that is your decision; a proxy with https on this machine is the safer way."
        ),
    ] = "127.0.0.1"
    health_port: Annotated[Port, Meta(description="The port for them.")] = 8765
    console_url: Annotated[
        str,
        Meta(
            description="The address under which browsers reach the console: https://, or http on this machine. Empty: only on this machine, at the health port. Instances send people back to it (OAuth)."
        ),
    ] = ""
    caller_ip: Annotated[
        str,
        Meta(
            description="The IP address from which instances are called, as the console shows it for allow lists. Empty: that of this machine's route."
        ),
    ] = ""
    shared_proxy: Annotated[
        str,
        Meta(
            description="The proxy for connections that use the proxy user (`proxy: shared`), so that instances see one address: http://[USER@]HOST:PORT. Its password is read from NOWBRIDGE_SHARED_PROXY_PASSWORD."
        ),
    ] = ""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least serious lines that are logged.")
    ] = "info"
    log_format: Annotated[Literal["text", "json"], Meta(description="Lines for people or for a log collector.")] = (
        "text"
    )
    poll_seconds: Annotated[Seconds, Meta(description="The wait between two looks for changes of one table.")] = 30.0
    poll_hooked_seconds: Annotated[
        Seconds,
        Meta(
            description="The same for a table whose hints (`nowbridge hooks`) have lately missed nothing; never less than poll_seconds."
        ),
    ] = 300.0
    safety_lag_seconds: Annotated[
        Annotated[float, Meta(ge=0, le=300)],
        Meta(
            description="How old, by the instance's clock, a change must be before the cursor passes it: a slow transaction may commit with an older time."
        ),
    ] = 2.0
    page_rows: Annotated[Annotated[int, Meta(ge=1, le=10_000)], Meta(description="Rows asked for in one read.")] = 2_000
    requests_in_flight: Annotated[
        Annotated[int, Meta(ge=1, le=64)],
        Meta(
            description="Requests to one instance at a time, by all workers together; ServiceNow allows about four per node. Of workers with different settings the lowest holds."
        ),
    ] = 4
    worker_requests_in_flight: Annotated[
        Annotated[int, Meta(ge=1, le=64)] | None,
        Meta(description="How many of these one worker may have at a time. Without it all of them."),
    ] = None
    requests_per_hour: Annotated[
        Annotated[int, Meta(ge=0, le=10_000_000)],
        Meta(description="Requests to one instance in any sixty minutes, by all workers together; 0 is no limit."),
    ] = 0
    audit_seconds: Annotated[
        Seconds, Meta(description="The wait between two readings of the journal of deletions, for one table.")
    ] = 60.0
    check_seconds: Annotated[
        Annotated[float, Meta(gt=0, le=31_536_000)],
        Meta(description="The wait between two checks of one table by counts (`verify --level checked`)."),
    ] = 3_600.0
    compare_seconds: Annotated[
        Annotated[float, Meta(gt=0, le=31_536_000)],
        Meta(
            description="The wait between two comparisons of all keys and versions of one table (`verify --level proven`)."
        ),
    ] = 86_400.0
    recent_seconds: Annotated[
        Seconds,
        Meta(description="The wait between two comparisons of keys and versions of what changed lately in one table."),
    ] = 600.0
    recent_window_seconds: Annotated[
        Seconds,
        Meta(
            description="How far back those go: longer than the longest transaction, which may commit with an old time."
        ),
    ] = 3_600.0
    schema_seconds: Annotated[
        Seconds, Meta(description="The wait between two looks for changed columns of one table; one call each.")
    ] = 600.0
    labels_seconds: Annotated[
        Seconds,
        Meta(
            description="The shortest wait between two looks for renamed records of one referenced table that is not replicated, and for renamed choices; it grows to twelve times as much while nothing is renamed."
        ),
    ] = 300.0
    heartbeat_seconds: Annotated[Seconds, Meta(description="How often a worker says that it lives.")] = 5.0
    stalled_after_seconds: Annotated[
        Seconds, Meta(description="Silence after which a worker counts as dead and its jobs are given back.")
    ] = 20.0
    lease_seconds: Annotated[
        Seconds, Meta(description="How long claimed work stays with a worker that does not renew its claim.")
    ] = 25.0
    keep_changes_days: Annotated[
        Annotated[int, Meta(ge=1, le=3_650)], Meta(description="How long the change feed `_sync_cdc` is kept.")
    ] = 7
    keep_tombstones_days: Annotated[
        Annotated[int, Meta(ge=1, le=3_650)],
        Meta(description="How long deleted rows are remembered; soft-deleted ones are kept for good."),
    ] = 30
    keep_notices_days: Annotated[
        Annotated[int, Meta(ge=1, le=3_650)], Meta(description="How long notices are kept.")
    ] = 90
    keep_hints_days: Annotated[
        Annotated[int, Meta(ge=1, le=3_650)],
        Meta(description="How long it is remembered what was hinted, and what was found that no hint had told of."),
    ] = 7
    keep_writes_days: Annotated[
        Annotated[int, Meta(ge=1, le=3_650)],
        Meta(description="How long the log of SQL writes is kept; it holds the values that were written."),
    ] = 90
    write_rows: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)],
        Meta(description="How many records one SQL transaction may write; more are refused before anything is sent."),
    ] = 10_000
    write_deletes: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)],
        Meta(
            description="How many records one SQL transaction may delete without `SET nowbridge.confirm_deletes = 'on'`."
        ),
    ] = 100
    write_on_abort: Annotated[
        Literal["revert", "keep"],
        Meta(
            description="What becomes of a SQL write whose COMMIT fails for a reason of Postgres after ServiceNow has accepted it: taken back, or kept and brought into the replica."
        ),
    ] = "revert"
    write_longest_seconds: Annotated[
        Seconds,
        Meta(
            description="The longest that a transaction of the instance can take: only after it, a write whose answer was lost counts as not carried out."
        ),
    ] = 60.0
    keep_calls_days: Annotated[
        Annotated[int, Meta(ge=1, le=3_650)], Meta(description="How long the tallies of calls by hour are kept.")
    ] = 90
    notify_lag_seconds: Annotated[
        Seconds, Meta(description="A table whose last proven position is older than this is noticed as behind.")
    ] = 600.0
    notify_webhook: Annotated[
        str, Meta(description="Where notices are posted as JSON: https, or http on this machine. Empty: nowhere.")
    ] = ""
    smtp_host: Annotated[
        str,
        Meta(
            description="The mail server for notices. Empty: no mails. The password is read from NOWBRIDGE_SMTP_PASSWORD."
        ),
    ] = ""
    smtp_port: Annotated[Port, Meta(description="Its port.")] = 587
    smtp_security: Annotated[
        Literal["starttls", "tls", "none"], Meta(description="none is for a server on this machine only.")
    ] = "starttls"
    smtp_user: Annotated[str, Meta(description="Who logs in to it. Empty: nobody.")] = ""
    smtp_from: Annotated[str, Meta(description="The sender of notices.")] = ""
    smtp_to: Annotated[str, Meta(description="Who gets notices, separated by commas.")] = ""

    def __repr__(self) -> str:
        # database_url may hold a password.
        return f"Settings(home={self.home!r})"

    @property
    def key_path(self) -> Path:
        return Path(self.home) / self.key_file


_TEXTS: Final[Mapping[str, str]] = {
    "database_url": "a URL `postgresql://...`",
    "health_host": "an IP address",
    "console_url": "a URL `https://...`",
    "caller_ip": "an IP address",
    "shared_proxy": "a URL `http://...`",
    "notify_webhook": "a URL `https://...`",
    "smtp_host": "a host name",
    "smtp_user": "a text",
    "smtp_from": "a mail address",
    "smtp_to": "mail addresses",
}

VARIABLES: Final[Mapping[str, str]] = {
    field: {"database_url": "DATABASE_URL", "log_level": "NOWBRIDGE_LOG"}.get(field, f"NOWBRIDGE_{field.upper()}")
    for field in Settings.__struct_fields__
}


def load(environment: Mapping[str, str] = os.environ, *, home: Path | None = None) -> Settings:
    """Read and check everything. `home` wins over NOWBRIDGE_HOME. An empty variable counts as not set.

    Raises Stop `settings.unknown`, `settings.value` or `settings.file`, naming the file or variable at fault.
    """
    folder = home or home_of(environment)
    file = folder / FILE
    values: dict[str, Any] = {"home": str(folder.absolute())}
    for name, value in _written(file).items():
        values[name] = _checked(name, value, f"{name} in {file}", strict=True)
        if name == "database_url":
            _refuse_password(value, file)
    for name, variable in VARIABLES.items():
        if name != "home" and (text := environment.get(variable, "")):
            values[name] = _checked(name, text, f"the environment variable {variable}", strict=False)
    settings = Settings(**values)
    _refuse_contradictions(settings)
    return settings


def home_of(environment: Mapping[str, str]) -> Path:
    """NOWBRIDGE_HOME, else ~/.nowbridge, else (for accounts without a home) .nowbridge in the current folder."""
    if given := environment.get("NOWBRIDGE_HOME"):
        return Path(given).expanduser()
    return Path(environment.get("HOME") or ".") / ".nowbridge"


def allowed(name: str) -> str:
    """The values that a setting takes, in words: `1 to 65535`."""
    hint = _hints()[name]
    metas, kinds = _taken_apart(hint)
    if name in _TEXTS:
        return _TEXTS[name]
    literals = [value for kind in kinds for value in get_args(kind)]
    if literals:
        return ", ".join(literals)
    if str in kinds:
        return "a path"
    unit = "a whole number" if int in kinds else "a number"
    low = next((f"from {_plain(m.ge)}" for m in metas if m.ge is not None), None)
    low = low or next((f"above {_plain(m.gt)}" for m in metas if m.gt is not None), "")
    high = next((f"to {_plain(m.le)}" for m in metas if m.le is not None), "")
    return f"{unit} {low} {high}"


def checked_number(name: str, text: str) -> float:
    """The value of a setting that is a number. Raises Stop `settings.value` with what is allowed."""
    value: float = _checked(name, text, name, strict=False)
    return value


def description(name: str) -> str:
    metas, _ = _taken_apart(_hints()[name])
    return next(meta.description for meta in metas if meta.description)


def _hints() -> dict[str, Any]:
    return get_type_hints(Settings, include_extras=True)


def _taken_apart(hint: Any) -> tuple[list[Meta], list[Any]]:  # noqa: ANN401 - a type is no type of its own
    """The notes on an annotation, at any depth, and the types under them."""
    if hasattr(hint, "__metadata__"):
        metas, kinds = _taken_apart(hint.__origin__)
        return [*hint.__metadata__, *metas], kinds
    if isinstance(hint, type) or getattr(hint, "__origin__", None) is Literal:
        return [], [hint]
    parts = [_taken_apart(part) for part in get_args(hint)]
    return [meta for metas, _ in parts for meta in metas], [kind for _, kinds in parts for kind in kinds]


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def _written(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            content = tomllib.load(opened)
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Stop(
            "settings.file",
            asked=f"read the settings file {file}",
            answered=str(error),
            hint="It is a TOML file: name = value.",
        ) from error
    known = [name for name in Settings.__struct_fields__ if name != "home"]
    for name in content:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise Stop(
                "settings.unknown",
                asked=f"read the settings file {file}",
                answered=f"there is no setting {name}",
                hint=f"Did you mean {close[0]}? {_PAGE}" if close else _PAGE,
            )
    return content


def _checked(name: str, value: object, where: str, *, strict: bool) -> Any:  # noqa: ANN401 - of the field's own type
    try:
        checked = msgspec.convert(value, _hints()[name], strict=strict)
    except msgspec.ValidationError:
        raise _bad(
            where, f"{value!r} is not allowed" if name != "database_url" else "it is no text", allowed(name)
        ) from None
    if name == "database_url" and checked and urlsplit(str(checked)).scheme not in {"postgresql", "postgres"}:
        raise _bad(where, "it is no URL of a PostgreSQL database", allowed(name))
    return checked


def _bad(where: str, answered: str, wanted: str) -> Stop:
    return Stop("settings.value", asked=f"use {where}", answered=answered, hint=f"Allowed: {wanted}. {_PAGE}")


def _refuse_password(url: str, file: Path) -> None:
    if urlsplit(url).password is not None:
        raise Stop(
            "settings.value",
            asked=f"use database_url in {file}",
            answered="it holds a password, and settings hold no secrets",
            hint="Put the password into ~/.pgpass, or the whole URL into the environment variable DATABASE_URL.",
        )


def _refuse_contradictions(settings: Settings) -> None:
    _refuse_lost_work(settings)
    _refuse_bad_address(settings)
    _refuse_bad_console(settings)
    _refuse_bad_channels(settings)


def _refuse_bad_channels(settings: Settings) -> None:
    """Notices must have somewhere to go, and neither they nor a password may travel in the clear."""
    webhook = urlsplit(settings.notify_webhook)
    if settings.notify_webhook and (not webhook.hostname or webhook.username is not None):
        raise _bad("notify_webhook", "it is no URL, or it holds a user name", allowed("notify_webhook"))
    if webhook.scheme != "https" and webhook.hostname not in {None, *_LOCAL}:
        raise _bad("notify_webhook", "notices would travel in the clear", allowed("notify_webhook"))
    if settings.smtp_host and not (settings.smtp_from and settings.smtp_to):
        raise _bad("smtp_host", "smtp_from or smtp_to is not set", "smtp_host together with smtp_from and smtp_to")
    if settings.smtp_host and settings.smtp_security == "none" and settings.smtp_host not in _LOCAL:
        raise _bad("smtp_security", "mails and password would travel in the clear", "starttls or tls")


def _refuse_bad_address(settings: Settings) -> None:
    try:
        ip_address(settings.health_host)
    except ValueError:
        raise _bad("health_host", f"{settings.health_host!r} is no IP address", allowed("health_host")) from None


def _refuse_bad_console(settings: Settings) -> None:
    """Passwords are typed into it, and it shows the proxy."""
    url = urlsplit(settings.console_url)
    if settings.console_url and (
        not url.hostname or url.username is not None or url.path not in {"", "/"} or url.query
    ):
        raise _bad("console_url", "it is no address of a web site, or has something behind the host", "https://HOST")
    if settings.console_url and url.scheme != "https" and (url.scheme != "http" or url.hostname not in _LOCAL):
        raise _bad("console_url", "passwords would travel in the clear", "https://HOST, or http on this machine")
    proxy = urlsplit(settings.shared_proxy)
    if settings.shared_proxy and (proxy.scheme not in {"http", "https"} or not proxy.hostname or proxy.password):
        raise _bad("shared_proxy", "it is no URL of a proxy, or it holds a password", "http://[USER@]HOST:PORT")
    try:
        ip_address(settings.caller_ip or "0.0.0.0")  # noqa: S104 - any address will do here
    except ValueError:
        raise _bad("caller_ip", f"{settings.caller_ip!r} is no IP address", allowed("caller_ip")) from None


def _refuse_lost_work(settings: Settings) -> None:
    """A worker must be able to miss a heartbeat without losing its work."""
    for name in ("stalled_after_seconds", "lease_seconds"):
        seconds = getattr(settings, name)
        if seconds < 2 * settings.heartbeat_seconds:
            raise Stop(
                "settings.value",
                asked=f"use {name} = {seconds:g} with heartbeat_seconds = {settings.heartbeat_seconds:g}",
                answered="a worker that misses one heartbeat would lose its work",
                hint=f"Set {name} to at least twice heartbeat_seconds.",
            )
