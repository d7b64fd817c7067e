"""Scripted REST APIs as rows of sys_ws_definition, sys_ws_operation and sys_ws_version.

A resource is found by method and path: `base_uri` of the API (else `/api/<namespace>/<service_id>`) and the relative
path of the resource, in which `{name}` stands for one segment. With versions, the version's id stands behind the
namespace; the path without one leads to the default version. Without authentication the script runs as guest.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from nowtwin.errors import Refused
from nowtwin.storage.rows import Storage

TABLES: Final = ("sys_ws_definition", "sys_ws_operation", "sys_ws_version")
_STEP = re.compile(r"\{([^{}/]+)\}")
Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Resource:
    """One operation of an API, with the paths that lead to it."""

    sys_id: str
    name: str
    method: str
    paths: tuple["re.Pattern[str]", ...]
    names: tuple[str, ...]
    """Of the segments that a path leaves open."""
    script: str
    authenticated: bool
    rules: tuple[str, ...]
    """sys_ids of access rules; empty where none is asked for."""

    def params(self, path: str) -> dict[str, str] | None:
        found = next((match for pattern in self.paths if (match := pattern.fullmatch(path))), None)
        return dict(zip(self.names, found.groups(), strict=True)) if found else None


class ScriptedApis:
    """The resources of an instance, read again when one of their tables was written."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: tuple[tuple[int, ...], tuple[Resource, ...]] | None = None

    def resources(self) -> tuple[Resource, ...]:
        version = tuple(self._storage.versions.get(table, 0) for table in TABLES)
        if self._known is None or self._known[0] != version:
            with self._storage.lock:
                self._known = (version, tuple(_resources(self._storage)))
        return self._known[1]

    def find(self, method: str, path: str) -> tuple[Resource, dict[str, str]] | None:
        """The resource for a call and its path parameters. Raises Refused 405 where only other methods are there."""
        found = [(resource, params) for resource in self.resources() if (params := resource.params(path)) is not None]
        found.sort(key=lambda pair: len(pair[1]))  # a literal segment before an open one
        for resource, params in found:
            if resource.method == method:
                return resource, params
        if found:
            raise Refused(405, "Method not supported", f"{method} is not supported here")
        return None


# -- rows to resources ---------------------------------------------------------------------------------------------


def _resources(storage: Storage) -> Iterator[Resource]:
    definitions = {row["sys_id"]: row for row in _rows(storage, "sys_ws_definition") if _on(row, "active")}
    versions = {row["sys_id"]: row for row in _rows(storage, "sys_ws_version")}
    for row in _rows(storage, "sys_ws_operation"):
        definition = definitions.get(row.get("web_service_definition", ""))
        version = versions.get(row.get("web_service_version", ""))
        if definition is None or not _on(row, "active") or (version is not None and not _on(version, "active")):
            continue
        relative = row.get("relative_path", "").strip("/")
        bases = _bases(definition, version)
        paths = tuple(re.compile(_pattern(f"{base}/{relative}".rstrip("/"))) for base in bases)
        yield Resource(
            sys_id=row["sys_id"],
            name=row.get("name", ""),
            method=row.get("http_method", "GET").upper(),
            paths=paths,
            names=tuple(_STEP.findall(relative)),
            script=row.get("operation_script", ""),
            authenticated=_on(row, "requires_authentication"),
            rules=_rules(row, definition),
        )


def _bases(definition: Row, version: Row | None) -> tuple[str, ...]:
    base = definition.get("base_uri", "").rstrip("/")
    base = base or f"/api/{definition.get('namespace', 'global')}/{definition.get('service_id', '')}"
    if version is None:
        return (base,)
    head, _, service = base.rpartition("/")
    versioned = f"{head}/{version.get('version_id', 'v1')}/{service}"
    return (versioned, base) if version.get("is_default") == "true" else (versioned,)


def _pattern(path: str) -> str:
    parts = _STEP.split(path)
    return "".join("([^/]+)" if at % 2 else re.escape(part) for at, part in enumerate(parts)) + "/?"


def _rules(operation: Row, definition: Row) -> tuple[str, ...]:
    """The access rules of a resource, else of its API; nothing where the resource does without."""
    if operation.get("requires_acl_authorization") != "true":
        return ()
    listed = operation.get("enforce_acl") or definition.get("enforce_acl", "")
    return tuple(sys_id for sys_id in listed.split(",") if sys_id)


def _on(row: Row, column: str) -> bool:
    return row.get(column, "true") != "false"


def _rows(storage: Storage, table: str) -> list[Row]:
    storage.ensure(table)
    found = (storage.get(table, str(sys_id)) for (sys_id,) in storage.rows(f"SELECT sys_id FROM {table}"))  # noqa: S608 - a fixed name
    return [{name: str(value) for name, value in row.items()} for row in found if row]
