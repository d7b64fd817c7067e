"""The file: connections with their tables, without secrets. Everything odd is refused with file, line and key.

A secret is named, not written: `env:NAME`, `file:PATH`, or `stored` for what the database has already.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from nowbridge.model.errors import Stop

VERSION: Final = 1
AUTHS: Final = ("basic", "oauth_password", "client_credentials", "api_key", "authorization_code")
SECRETS: Final = ("password", "client_secret", "api_key", "proxy_password")
SETTINGS: Final = (
    "poll_seconds",
    "safety_lag_seconds",
    "page_rows",
    "requests_in_flight",
    "requests_per_hour",
    "audit_seconds",
    "check_seconds",
    "compare_seconds",
)
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SOURCE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SECRET: Final = re.compile(r"stored|env:[A-Za-z_][A-Za-z0-9_]*|file:.+")


@dataclass(frozen=True, slots=True)
class TableEntry:
    """One table, as in the file. `line` is not compared."""

    source: str
    name: str
    filter: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    contract: str = "evolve"
    deletes: str = "hard"
    sql_deletes: str = "allow"
    paused: bool = False
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ConnectionEntry:
    """One connection, as in the file. `secrets` names where each secret is found; `settings` hold for it alone."""

    name: str
    url: str
    auth: str
    username: str = ""
    client_id: str = ""
    proxy: str = ""
    ca_file: str = ""
    client_certificate: str = ""
    secret_expires: str = ""
    secrets: tuple[tuple[str, str], ...] = ()
    settings: tuple[tuple[str, float], ...] = ()
    tables: tuple[TableEntry, ...] = ()
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Document:
    connections: tuple[ConnectionEntry, ...] = ()
    file: str = field(default="", compare=False)

    @property
    def place(self) -> str:
        """The file's full name, by which the console tells what it declares."""
        return str(Path(self.file).absolute())


@dataclass(frozen=True, slots=True)
class Key:
    """What stands behind one key: its JSON Schema, and whether it must be there."""

    schema: Mapping[str, Any]
    required: bool = False


def _text(words: str, **more: Any) -> Key:  # noqa: ANN401 - members of a JSON Schema
    return Key({"type": "string", "description": words, **more})


def _texts(words: str) -> Key:
    return Key({"type": "array", "items": {"type": "string"}, "description": words})


SQL_DELETES: Final = re.compile(r"allow|refuse|[0-9]{1,7}")
_RENAMES: Final = {"type": "object", "additionalProperties": {"type": "string"}}
COLUMNS: Final[Mapping[str, Key]] = {
    "include": _texts("Only these columns; without it all."),
    "exclude": _texts("Not these columns."),
    "rename": Key({**_RENAMES, "description": "Names here, by the column's name in ServiceNow."}),
}
TABLE: Final[Mapping[str, Key]] = {
    "as": _text("The table's name here; its own without it.", pattern=f"^{_NAME.pattern}$"),
    "filter": _text("An encoded query that limits what is fetched, passed on unchanged."),
    "columns": Key({"type": "object", "description": "Which columns, and their names here."}),
    "contract": _text("What becomes of a change of the source's columns.", enum=["evolve", "freeze", "discard"]),
    "deletes": _text("Whether deleted rows are kept in _sync_deleted.", enum=["hard", "soft"]),
    "sql_deletes": _text(
        "What SQL users may delete: allow, refuse, or a number above which they must confirm.",
        pattern=f"^({SQL_DELETES.pattern})$",
    ),
    "paused": Key({"type": "boolean", "description": "Whether nobody works on it."}),
}
CONNECTION: Final[Mapping[str, Key]] = {
    "url": Key({"type": "string", "description": "https://<name>.service-now.com"}, required=True),
    "auth": Key({"type": "string", "enum": list(AUTHS), "description": "How to sign in."}, required=True),
    "username": _text("User ID of the service account."),
    "client_id": _text("Client ID of the OAuth application."),
    "secrets": Key(
        {"type": "object", "description": "env:NAME, file:PATH or stored, by secret; without it all are stored."}
    ),
    "secret_expires": _text("The day on which the secret ends.", format="date"),
    "proxy": _text("http://[USER@]HOST:PORT, shared (the setting shared_proxy) or none; without it the environment's."),
    "ca_file": _text("The certificate (PEM) of a private authority."),
    "client_certificate": _text("Our own certificate with its key (PEM)."),
    "settings": Key(
        {"type": "object", "description": "Settings that hold for this connection alone (docs/settings.md)."}
    ),
    "tables": Key({"type": "object", "description": "Tables, by their names in ServiceNow."}),
}
TOP: Final[Mapping[str, Key]] = {
    "version": Key({"const": VERSION, "description": "Of this form."}, required=True),
    "connections": Key({"type": "object", "description": "Connections, by their names here."}, required=True),
}


def json_schema() -> dict[str, Any]:
    """For editors: what the file may hold."""
    columns = _object(COLUMNS)
    table = _object(TABLE, columns=columns)
    secrets = {"type": "object", "additionalProperties": False}
    secrets["properties"] = {name: {"type": "string", "pattern": f"^({_SECRET.pattern})$"} for name in SECRETS}
    settings = {"type": "object", "additionalProperties": False}
    settings["properties"] = {name: {"type": "number"} for name in SETTINGS}
    tables = {"type": "object", "additionalProperties": {"anyOf": [table, {"type": "null"}]}}
    connection = _object(CONNECTION, secrets=secrets, settings=settings, tables=tables)
    top = _object(TOP, connections={"type": "object", "additionalProperties": connection})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Nowbridge", **top}


def _object(keys: Mapping[str, Key], **inner: Mapping[str, Any]) -> dict[str, Any]:
    properties = {name: {**key.schema, **inner.get(name, {})} for name, key in keys.items()}
    required = [name for name, key in keys.items() if key.required]
    made: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**made, "required": required} if required else made


@dataclass(frozen=True, slots=True)
class _At:
    """A node and where it stands, for what is said of it."""

    node: Node
    file: str
    key: str

    def refused(self, why: str, hint: str = "", *, code: str = "config.value") -> Stop:
        line = self.node.start_mark.line + 1
        page = "docs/config.md describes the file."
        return Stop(code, asked=f"read {self.file}:{line} ({self.key})", answered=why, hint=f"{hint} {page}".strip())

    def children(self, keys: Mapping[str, Key] | None) -> dict[str, _At]:
        """The members of a mapping; with `keys` only those that are known."""
        if isinstance(self.node, ScalarNode) and self.node.value in {"", "~", "null"}:
            return {}
        if not isinstance(self.node, MappingNode):
            raise self.refused("it is no mapping (key: value)")
        found: dict[str, _At] = {}
        for name_node, value in self.node.value:
            name = str(name_node.value)
            at = _At(name_node, self.file, f"{self.key}.{name}".lstrip("."))
            if name in found:
                raise at.refused("the key is there twice", code="config.key")
            if keys is not None and name not in keys:
                close = difflib.get_close_matches(name, list(keys), n=1)
                hint = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(keys)}."
                raise at.refused("there is no such key", hint, code="config.key")
            found[name] = _At(value, self.file, at.key)
        for name in [name for name, key in (keys or {}).items() if key.required and name not in found]:
            raise self.refused(f"{name} is missing", code="config.key")
        return found

    def text(self, pattern: re.Pattern[str] | None = None, allowed: Sequence[str] = ()) -> str:
        if not isinstance(self.node, ScalarNode):
            raise self.refused("it is no text")
        value = str(self.node.value)
        if allowed and value not in allowed:
            raise self.refused(f"{value} is not allowed", f"Allowed: {', '.join(allowed)}.")
        if pattern is not None and not pattern.fullmatch(value):
            raise self.refused(f"{value} does not have the right form")
        return value

    def texts(self) -> tuple[str, ...]:
        if not isinstance(self.node, SequenceNode):
            raise self.refused("it is no list")
        return tuple(_At(node, self.file, self.key).text() for node in self.node.value)

    def truth(self) -> bool:
        return self.text(allowed=("true", "false")) == "true"

    def day(self) -> str:
        try:
            return date.fromisoformat(self.text()).isoformat()
        except ValueError:
            raise self.refused("it is no day, as 2027-01-31") from None


def read(file: Path, check_setting: Callable[[str, str], float]) -> Document:
    """`check_setting(name, text)` gives the value of a setting, or raises Stop with what is allowed.

    Raises Stop `config.file`, `config.key`, `config.value`, each with file, line and key.
    """
    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, str(error)) from error
    except yaml.YAMLError as error:
        raise _unreadable(file, " ".join(str(error).split())) from error
    if node is None:
        raise _unreadable(file, "it is empty")
    top = _At(node, str(file), "").children(TOP)
    top["version"].text(allowed=(str(VERSION),))
    entries = [_connection(name, at, check_setting) for name, at in top["connections"].children(None).items()]
    return Document(tuple(sorted(entries, key=lambda entry: entry.name)), str(file))


def _unreadable(file: Path, why: str) -> Stop:
    return Stop("config.file", asked=f"read {file}", answered=why, hint="docs/config.md describes the file.")


def _connection(name: str, at: _At, check_setting: Callable[[str, str], float]) -> ConnectionEntry:
    if not _NAME.fullmatch(name):
        raise at.refused("a connection's name has small letters, digits and _, and begins with a letter")
    keys = at.children(CONNECTION)
    plain = {key: keys[key].text() for key in _PLAIN if key in keys}
    if "auth" in keys:
        keys["auth"].text(allowed=AUTHS)
    tables = keys["tables"].children(None) if "tables" in keys else {}
    entries = [_table(source, table) for source, table in tables.items()]
    return ConnectionEntry(
        name,
        **plain,
        secret_expires=keys["secret_expires"].day() if "secret_expires" in keys else "",
        secrets=_secrets(keys["secrets"]) if "secrets" in keys else (),
        settings=_settings(keys["settings"], check_setting) if "settings" in keys else (),
        tables=tuple(sorted(entries, key=lambda entry: entry.source)),
        line=at.node.start_mark.line,
    )


_PLAIN: Final = ("url", "auth", "username", "client_id", "proxy", "ca_file", "client_certificate")


def _secrets(at: _At) -> tuple[tuple[str, str], ...]:
    found = at.children({name: Key({}) for name in SECRETS})
    for secret in found.values():
        if not isinstance(secret.node, ScalarNode) or not _SECRET.fullmatch(str(secret.node.value)):
            raise secret.refused("a secret is named, not written", "Write env:NAME, file:PATH or stored.")  # not shown
    return tuple(sorted((name, str(secret.text())) for name, secret in found.items() if secret.text() != "stored"))


def _settings(at: _At, check_setting: Callable[[str, str], float]) -> tuple[tuple[str, float], ...]:
    found = []
    for name, value in at.children({name: Key({}) for name in SETTINGS}).items():
        try:
            found.append((name, check_setting(name, value.text())))
        except Stop as refused:
            raise value.refused(refused.answered, refused.hint) from None
    return tuple(sorted(found))


def _table(source: str, at: _At) -> TableEntry:
    if not _SOURCE.fullmatch(source):
        raise at.refused("it is no name of a table")
    keys = at.children(TABLE)
    columns = keys["columns"].children(COLUMNS) if "columns" in keys else {}
    renamed = columns["rename"].children(None) if "rename" in columns else {}
    return TableEntry(
        source,
        name=keys["as"].text(_NAME) if "as" in keys else source,
        filter=keys["filter"].text() if "filter" in keys else "",
        include=tuple(sorted(columns["include"].texts())) if "include" in columns else (),
        exclude=tuple(sorted(columns["exclude"].texts())) if "exclude" in columns else (),
        rename=tuple(sorted((column, name.text(_NAME)) for column, name in renamed.items())),
        contract=keys["contract"].text(allowed=("evolve", "freeze", "discard")) if "contract" in keys else "evolve",
        deletes=keys["deletes"].text(allowed=("hard", "soft")) if "deletes" in keys else "hard",
        sql_deletes=keys["sql_deletes"].text(SQL_DELETES) if "sql_deletes" in keys else "allow",
        paused=keys["paused"].truth() if "paused" in keys else False,
        line=at.node.start_mark.line + 1,
    )


def write(document: Document) -> str:
    """The file that says what the document says; what is as by default is left out."""
    content = {"version": VERSION, "connections": {entry.name: _written(entry) for entry in document.connections}}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def _written(entry: ConnectionEntry) -> dict[str, Any]:
    plain = {key: getattr(entry, key) for key in (*_PLAIN, "secret_expires") if getattr(entry, key)}
    if entry.secrets:
        plain["secrets"] = dict(entry.secrets)
    if entry.settings:
        plain["settings"] = dict(entry.settings)
    return {**plain, "tables": {table.source: _written_table(table) for table in entry.tables}}


def _written_table(table: TableEntry) -> dict[str, Any]:
    columns = {"include": list(table.include), "exclude": list(table.exclude), "rename": dict(table.rename)}
    columns = {key: value for key, value in columns.items() if value}
    every = {
        "as": "" if table.name == table.source else table.name,
        "filter": table.filter,
        "columns": columns,
        "contract": "" if table.contract == "evolve" else table.contract,
        "deletes": "" if table.deletes == "hard" else table.deletes,
        "sql_deletes": "" if table.sql_deletes == "allow" else table.sql_deletes,
        "paused": table.paused,
    }
    return {key: value for key, value in every.items() if value}
