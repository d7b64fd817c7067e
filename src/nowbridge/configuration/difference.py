"""What differs between what is and what a file wants. Pure.

A connection that has tables keeps its address: their rows are that instance's, and the plan says so.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

from nowbridge.configuration.document import ConnectionEntry, Document, TableEntry

Entry = ConnectionEntry | TableEntry
_NOT_COMPARED = ("line", "tables", "secrets")


class Kind(StrEnum):
    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"
    BLOCKED = "not possible"


@dataclass(frozen=True, slots=True)
class Change:
    """One step. `source` is "" for the connection itself; `details` are (key, before, after)."""

    kind: Kind
    connection: str
    source: str = ""
    details: tuple[tuple[str, str, str], ...] = ()

    @property
    def words(self) -> str:
        what = f"table {self.source} of {self.connection}" if self.source else f"connection {self.connection}"
        shown = "; ".join(f"{key}: {before or '-'} -> {after or '-'}" for key, before, after in self.details)
        return f"{self.kind.value} {what}" + (f" ({shown})" if shown else "")


def plan(is_now: Document, wanted: Document) -> list[Change]:
    """In the order in which they are made: what is added and changed, then what is removed. Empty: nothing differs."""
    before = {entry.name: entry for entry in is_now.connections}
    after = {entry.name: entry for entry in wanted.connections}
    steps: list[Change] = []
    removals: list[Change] = []
    for name, entry in after.items():
        old = before.get(name)
        steps += _connection(old, entry)
        held = {table.source: table for table in old.tables} if old else {}
        asked = {table.source: table for table in entry.tables}
        for source, table in asked.items():
            steps += _table(name, held.get(source), table)
        removals += [Change(Kind.REMOVE, name, source) for source in held if source not in asked]
    for name, entry in before.items():
        if name not in after:
            removals += [Change(Kind.REMOVE, name, table.source) for table in entry.tables]
            removals.append(Change(Kind.REMOVE, name))
    return steps + removals


def _connection(old: ConnectionEntry | None, new: ConnectionEntry) -> list[Change]:
    details = _details(old, new, _NOT_COMPARED)
    if old is None:
        return [Change(Kind.ADD, new.name, details=details)]
    if not details:
        return []
    moved = old.url != new.url and bool(old.tables)
    return [Change(Kind.BLOCKED if moved else Kind.CHANGE, new.name, details=details)]


def _table(connection: str, old: TableEntry | None, new: TableEntry) -> list[Change]:
    details = _details(old, new, ("line", "source"))
    if old is None:
        return [Change(Kind.ADD, connection, new.source, details)]
    return [Change(Kind.CHANGE, connection, new.source, details)] if details else []


def _details(old: Entry | None, new: Entry, left_out: tuple[str, ...]) -> tuple[tuple[str, str, str], ...]:
    found = []
    for each in fields(new):
        if each.name in left_out:
            continue
        before = _shown(getattr(old, each.name)) if old is not None else ""
        after = _shown(getattr(new, each.name))
        if before != after:
            found.append((each.name, before, after))
    return tuple(found)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else ""
    if isinstance(value, tuple):
        return ", ".join(f"{one[0]}={_shown(one[1])}" if isinstance(one, tuple) else str(one) for one in value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
