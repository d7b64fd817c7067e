"""Installs applications and update sets as records of the instance, and takes an application away again.

Records are stored as their package has them: no business rules run and no defaults are filled, as when the platform
loads update XML. Tables and columns come into being through sys_db_object, sys_dictionary, sys_choice and sys_number;
a record of a table that the twin does not know makes that table. What an application brought stands in
sys_update_version (`source` is the application), so installing it again removes what its new version lacks.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from nowtwin.apps.package import read_package
from nowtwin.apps.update_xml import Update, read_payload
from nowtwin.query.parse import parse
from nowtwin.records.ground import Ground
from nowtwin.records.selecting import Row, equalities, find, select
from nowtwin.rules.reshaping import drop_rows
from nowtwin.schema import metadata
from nowtwin.schema.dictionary import Table
from nowtwin.values import number_of

_FIRST = ("sys_app", "sys_scope", "sys_store_app", "sys_db_object", "sys_dictionary", "sys_number", "sys_choice")
"""What other records lean on; the rest follows in the order of the package."""
_PACKAGING = frozenset({"sys_scope", "sys_package", "sys_update_name", "sys_policy", "sys_name", "sys_class_name"})
"""Columns that package records have and data tables lack."""
_VERSIONS = "sys_update_version"


class Host(Ground, Protocol):
    """The instance, as far as installing needs it."""

    def load_schema(self, schema: Mapping[str, Any]) -> None: ...


class Installed(msgspec.Struct, frozen=True):
    """What came in. `learned` are tables that the twin did not know, `ignored` columns that it lacks, by table."""

    kind: str
    """`application`, `update_set` or `records`."""
    name: str
    scope: str
    sys_id: str
    version: str
    records: dict[str, int]
    removed: int
    learned: tuple[str, ...]
    ignored: dict[str, tuple[str, ...]]


@dataclass(slots=True)
class _Log:
    """What is being done, for `Installed`."""

    records: Counter[str] = field(default_factory=Counter)
    removed: int = 0
    learned: list[str] = field(default_factory=list)
    ignored: dict[str, set[str]] = field(default_factory=dict)


def install(host: Host, source: Path | bytes) -> Installed:
    """All of a package or nothing. Raises ValueError that says what is wrong with it."""
    package = read_package(source)
    updates = [u for update in package.updates for u in _unfolded(update)]
    application, update_set = package.application, package.update_set
    owner = application or update_set
    log = _Log()
    with host.storage.lock, host.storage.transaction():
        host.prepare("sys_db_object")
        before = {(u.table, u.sys_id): u for u in _recorded(host, owner.sys_id)} if owner else {}
        for document in package.documents:
            if document.schema:
                host.load_schema(document.schema)
        for update in sorted(updates, key=lambda u: _FIRST.index(u.table) if u.table in _FIRST else len(_FIRST)):
            _apply(host, update, log)
        kept = {(u.table, u.sys_id) for u in updates}
        if application:
            gone = [update for key, update in before.items() if key not in kept]
            log.removed += _remove(host, gone)
        if owner:
            _record(host, owner, updates)
        if update_set:
            _commit(host, update_set, log)
    return _installed(owner, "application" if application else "update_set" if update_set else "records", log)


def _installed(owner: Update | None, kind: str, log: _Log) -> Installed:
    values = owner.values if owner else {}
    return Installed(
        kind=kind,
        name=values.get("name", ""),
        scope=values.get("scope") or values.get("application_scope", ""),
        sys_id=owner.sys_id if owner else "",
        version=values.get("version", ""),
        records=dict(log.records),
        removed=log.removed,
        learned=tuple(log.learned),
        ignored={table: tuple(sorted(elements)) for table, elements in log.ignored.items()},
    )


def _unfolded(update: Update) -> Iterable[Update]:
    """A customer update and the records in its payload."""
    yield update
    if update.table == "sys_update_xml" and update.values.get("payload", "").strip():
        yield from read_payload(update.values["payload"])


# -- one record ----------------------------------------------------------------------------------------------------


def _apply(host: Host, update: Update, log: _Log) -> None:
    if update.action == "delete_multiple":
        if update.table in host.dictionary.tables:
            for row in select(host, update.table, parse(update.query), ("sys_id",)):
                _take_away(host, update.table, row["sys_id"])  # the package brings them again
        return
    if update.action.upper() == "DELETE":
        log.removed += _take_away(host, update.table, update.sys_id)
        return
    if update.table not in host.dictionary.tables:
        _learn(host, update)
        log.learned.append(update.table)
    values = _resolved(host, update)
    known = host.dictionary.declared_columns(update.table).keys() | {"sys_class_name"}
    unknown = {element for element, text in values.items() if element not in known and text} - _PACKAGING
    if unknown:
        log.ignored.setdefault(update.table, set()).update(unknown)
    row = {element: text for element, text in values.items() if element in known}
    _displace(host, update.table, row)
    host.load(update.table, [_over_existing(host, update.table, row)])
    _take_in(host, update.table, row)
    log.records[update.table] += 1


def _learn(host: Host, update: Update) -> None:
    """A table of the platform that the twin lacks: its columns are those of the record, as texts."""
    elements = [e for e in update.values if e not in host.dictionary.columns("sys_metadata")]
    columns = [{"table": update.table, "element": e, "internal_type": "string", "max_length": 4000} for e in elements]
    host.load_schema({"tables": [{"name": update.table, "super_class": "sys_metadata"}], "columns": columns})


def _resolved(host: Host, update: Update) -> dict[str, str]:
    """The record's columns; a reference to no record becomes one to the record that its keys describe."""
    values = dict(update.values)
    for element, keys in update.keys.items():
        column = host.dictionary.column(update.table, element)
        target = column.reference if column else None
        if target is None or target not in host.dictionary.tables or column is None or column.reference_key != "sys_id":
            continue
        known = keys.keys() <= host.dictionary.columns(target).keys()
        if known and host.read(target, values[element]) is None:
            found = find(host, target, keys, ("sys_id",))
            values[element] = found["sys_id"] if found else values[element]
    return values


def _over_existing(host: Host, table: str, row: Mapping[str, str]) -> dict[str, str]:
    """Over what is stored: columns that the package leaves out stay, and the count of updates goes on."""
    stored = host.read(table, row["sys_id"])
    if stored is None:
        return dict(row)
    count = int(number_of(stored.get("sys_mod_count", "")) or 0) + 1
    stamps = {"sys_updated_on": host.clock.stamp(), "sys_mod_count": str(count)}
    return {**stored, **stamps, **row}


def _displace(host: Host, table: str, row: Mapping[str, str]) -> None:
    """Take away the record of the same table, column or choice that has another sys_id."""
    keys = metadata.KEYS.get(table)
    if keys is None or not all(row.get(key) for key in keys[:1]):
        return
    query = equalities({key: row.get(key, "") for key in keys})
    for other in select(host, table, query, ("sys_id",)):
        if other["sys_id"] != row["sys_id"]:
            host.storage.delete(host.dictionary.root(table), other["sys_id"])


def _take_in(host: Host, table: str, row: Mapping[str, str]) -> None:
    """The dictionary follows rows of metadata tables."""
    dictionary = host.dictionary
    if table == "sys_db_object" and row.get("name"):
        parent = host.read("sys_db_object", row.get("super_class", "")) or {}
        metadata.take_in(dictionary, table, {**row, "super_class": parent.get("name", "")})
    elif table == "sys_number" and row.get("category"):
        start = number_of(row.get("number", ""))
        owner = Table(
            row["category"], number_prefix=row.get("prefix"), number_start=None if start is None else int(start)
        )
        dictionary.add_table(owner)
        host.records.numbering.forget()
    else:
        metadata.take_in(dictionary, table, row)
        if table == "sys_dictionary" and row.get("display") == "true" and row.get("element"):
            dictionary.add_table(Table(row["name"], display=row["element"]))


# -- versions and removal ------------------------------------------------------------------------------------------


def _recorded(host: Host, owner: str) -> list[Update]:
    """The records that an application or update set brought, as they stand in its current versions."""
    rows = select(host, _VERSIONS, equalities({"source": owner, "state": "current"}), ("payload",))
    return [update for row in rows for update in read_payload(row["payload"])]


def _record(host: Host, owner: Update, updates: Sequence[Update]) -> None:
    """Current versions of everything in the package; earlier ones become history."""
    for row in select(host, _VERSIONS, equalities({"source": owner.sys_id, "state": "current"}), ("sys_id",)):
        host.storage.update(_VERSIONS, row["sys_id"], {"state": "previous"})
    stamp = host.clock.stamp()
    common = {"state": "current", "source_table": owner.table, "source": owner.sys_id, "recorded_at": stamp}
    rows = [
        common | {"name": update.name, "action": update.action, "payload": update.payload}
        for update in updates
        if update.payload and update.table not in {"sys_update_xml", "sys_remote_update_set"}
    ]
    host.load(_VERSIONS, rows)


def _commit(host: Host, update_set: Update, log: _Log) -> None:
    """The retrieved update set is committed: a local set stands for it."""
    stamp = host.clock.stamp()
    name = update_set.values.get("name", "")
    local = metadata.row_id("sys_update_set", update_set.sys_id)
    row = {"sys_id": local, "name": name, "state": "complete", "install_date": stamp, "completed_on": stamp}
    host.load("sys_update_set", [row])
    if update_set.table == "sys_remote_update_set":
        inserted = sum(log.records.values()) - log.records["sys_update_xml"] - log.records["sys_remote_update_set"]
        counts = {"state": "committed", "commit_date": stamp, "update_set": local, "inserted": str(inserted)}
        stored = host.read("sys_remote_update_set", update_set.sys_id) or {}
        host.load("sys_remote_update_set", [{**stored, **counts, "deleted": str(log.removed)}])


def uninstall(host: Host, application: str) -> int:
    """Take an application away: its records, its tables with all their rows. Returns how many records went.

    `application` is its scope, name or sys_id. Raises ValueError for one that is not installed.
    """
    with host.storage.lock, host.storage.transaction():
        found = _application(host, application)
        if found is None:
            raise ValueError(f"no application {application} is installed")
        updates = _recorded(host, found["sys_id"])
        gone = _remove(host, reversed(updates))
        for row in select(host, _VERSIONS, equalities({"source": found["sys_id"]}), ("sys_id",)):
            host.storage.delete(_VERSIONS, row["sys_id"])
    return gone


def _application(host: Host, wanted: str) -> Row | None:
    for element in ("scope", "sys_id", "name"):
        found = find(host, "sys_scope", {element: wanted}, ("scope", "name"))
        if found is not None and wanted and find(host, _VERSIONS, {"source": found["sys_id"]}, ("sys_id",)):
            return found
    return None


def applications(host: Host) -> list[Row]:
    """The installed applications: sys_id, name, scope and version of each."""
    rows = select(host, "sys_app", equalities({}), ("sys_id", "name", "scope", "version"))
    return [row for row in rows if find(host, _VERSIONS, {"source": row["sys_id"], "state": "current"}, ("sys_id",))]


def _remove(host: Host, updates: Iterable[Update]) -> int:
    return sum(_take_away(host, update.table, update.sys_id) for update in updates)


def _take_away(host: Host, table: str, sys_id: str) -> int:
    """Delete a record, with the table or column that it stands for; 0 where it is gone already."""
    dictionary = host.dictionary
    row = host.read(table, sys_id) if table in dictionary.tables else None
    if row is None:
        return 0
    host.storage.delete(dictionary.root(table), sys_id)
    if table == "sys_db_object" and row.get("name") in dictionary.tables:
        drop_rows(host, row["name"])
        dictionary.drop_table(row["name"])
    metadata.take_out(dictionary, table, row)
    return 1
