"""What a transaction's triggers noted, folded into what it comes to: one net change per record. Pure.

A record that was written several times, or through several tables of its hierarchy, is one record: the first value
before and the last value after count. Created and deleted again is nothing; deleted and created again is an update.
Journal entries are exempt: each statement that writes one adds one, in order (traps, findings 10 and 11).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nowbridge.model.plan import Operation, Plan, Refusal, Step
from nowbridge.writethrough.wire_text import wire_text


@dataclass(frozen=True, slots=True)
class Column:
    """One writable column: its replica name, its ServiceNow name (`source`) and what limits it."""

    name: str
    source: str
    pg_type: str
    journal: bool = False
    read_only: bool = False
    mandatory: bool = False
    max_length: int | None = None
    closed: bool = False  # not loaded now: removed in ServiceNow, or not shown to the account

    @property
    def key(self) -> str:
        """What a value is kept under: a closed column's name may not hide the open one of the same source."""
        return self.name if self.closed else self.source


@dataclass(frozen=True, slots=True)
class WritableTable:
    """A replica table as writes see it. `lineage` is its ServiceNow name, then its ancestors'."""

    id: int
    lineage: tuple[str, ...]
    columns: Mapping[str, Column]

    @property
    def source(self) -> str:
        return self.lineage[0]


@dataclass(frozen=True, slots=True)
class Change:
    """One row of `nowbridge.pending`. `values` are [before, after] by replica column, as `to_json` writes them."""

    table_id: int
    sys_id: str
    operation: str
    values: Mapping[str, Sequence[object]]


@dataclass(slots=True)
class _Net:
    """A record on the way to its net change."""

    operation: str
    table: WritableTable
    sys_id: str
    values: dict[str, tuple[str, str]] = field(default_factory=dict)
    journals: list[tuple[str, str]] = field(default_factory=list)
    gone: bool = False


class Unwritable(Exception):
    """A change that cannot even be planned."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def plan_of(changes: Iterable[Change], tables: Mapping[int, WritableTable]) -> Plan:
    """The net change of every record, in the order in which each was first touched. Raises Unwritable."""
    nets: dict[tuple[str, str], _Net] = {}
    for change in changes:
        table = tables[change.table_id]
        key = (table.lineage[-1], change.sys_id)
        net = nets.get(key)
        if net is None:
            net = nets[key] = _Net(change.operation, table, change.sys_id)
        else:
            _turn(net, change.operation)
        if len(table.lineage) > len(net.table.lineage):
            net.table = table
        _take(net, change, table)
    steps = (_step(net) for net in nets.values())
    return Plan(tuple(step for step in steps if step is not None))


def _turn(net: _Net, operation: str) -> None:
    """What a further statement makes of a record that was written already."""
    if operation == "delete":
        net.gone = net.operation == "insert"
        net.operation = "insert" if net.gone else "delete"
        net.journals.clear()
    elif operation == "insert":
        net.operation, net.gone = ("insert", False) if net.gone else ("update", False)


def _take(net: _Net, change: Change, table: WritableTable) -> None:
    for name, (before, after) in change.values.items():
        column = table.columns.get(name)
        if column is None or (column.closed and change.operation == "delete"):
            continue  # a label: its stored value is here as well
        if column.journal:
            if after is not None and change.operation != "delete":
                net.journals.append((column.source, str(after)))
            continue
        came = _text(column, after)
        first = net.values[column.key][0] if column.key in net.values else _text(column, before)
        net.values[column.key] = (first, came)


def _text(column: Column, value: object) -> str:
    try:
        return wire_text(column.pg_type, value)
    except ValueError as error:
        said = f"[ServiceNow] Value `{value}` is not a valid value for `{column.name}`."
        raise Unwritable(Refusal("22000", said, f"{error}. Nothing was sent.", "Write another value.")) from error


def _step(net: _Net) -> Step | None:
    if net.gone:
        return None
    operation = {"insert": Operation.CREATE, "update": Operation.UPDATE, "delete": Operation.DELETE}[net.operation]
    values = {source: pair for source, pair in net.values.items() if source != "sys_id"}
    if operation is Operation.DELETE:
        base = tuple((source, before) for source, (before, _) in values.items() if before)
        return Step(operation, net.table.source, net.sys_id, base=base)
    changed = {source: pair for source, pair in values.items() if pair[0] != pair[1]}
    if operation is Operation.UPDATE and not changed and not net.journals:
        return None
    fields = tuple((source, after) for source, (_, after) in changed.items())
    base = tuple((s, before) for s, (before, _) in changed.items()) if operation is Operation.UPDATE else ()
    return Step(operation, net.table.source, net.sys_id, fields, base, tuple(net.journals))
