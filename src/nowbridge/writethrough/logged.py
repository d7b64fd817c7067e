"""Steps and outcomes as the log keeps them, and what can be made of them again: to settle a write, or to undo it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from nowbridge.delivery.compare import Record
from nowbridge.delivery.outcomes import Fate, Outcome, Report
from nowbridge.model.plan import Operation, Plan, Step
from nowbridge.store.writes.write_log import Entry
from nowbridge.writethrough import guard
from nowbridge.writethrough.places import Place


def steps_of(entry: Entry) -> tuple[Step, ...]:
    """The steps that were sent for a write."""
    return msgspec.convert(entry.plan, Plan).steps if entry.plan is not None else ()


def told(one: Outcome) -> dict[str, Any]:
    """An outcome for the log."""
    return {
        "operation": one.step.operation.value,
        "table": one.step.table,
        "sys_id": one.step.sys_id,
        "fate": one.fate.value,
        "version": None if one.record is None else one.record.get("sys_mod_count"),
        "moved": one.moved,
        "made": {lost.field: lost.got for lost in one.differences if not lost.dropped},
        "refusal": None if one.refusal is None else one.refusal.message,
        "detail": None if one.refusal is None else one.refusal.detail,
    }


def made_of(outcome: Sequence[Mapping[str, Any]]) -> Mapping[str, Record]:
    """What is known of each record after a write, by sys_id: its version, and what a rule made of fields that we sent."""
    made: dict[str, dict[str, str]] = {}
    for one in outcome:
        record = made.setdefault(one["sys_id"], {})
        record |= one.get("made") or {}
        if one["version"] is not None:
            record["sys_mod_count"] = one["version"]
    return made


def renamed(report: Report, lineages: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Record]]:
    """By table, ancestors included, and sys_id: what may show these records from now on, all of a new one and what was
    written of another.
    """
    found: dict[str, dict[str, Record]] = {}
    for one in report.outcomes:
        if one.fate is not Fate.DONE or one.record is None:
            continue
        written = one.step.written
        record = {n: t for n, t in one.record.items() if n in written or one.step.operation is Operation.CREATE}
        for table in lineages[one.step.sys_id] if record else ():
            found.setdefault(table, {})[one.step.sys_id] = record
    return found


def moved_in(outcome: Sequence[Mapping[str, Any]]) -> set[str]:
    """The records that somebody else may have changed before it was known that they were written."""
    return {one["sys_id"] for one in outcome if one.get("moved")}


def on_what_was_made(plan: Plan, made: Mapping[str, Record]) -> Plan:
    """The plan of an undo, made on the records as the write left them: a created record that moved since stays."""
    steps = []
    for step in plan.steps:
        record = made.get(step.sys_id, {})
        base = tuple((name, record.get(name, text)) for name, text in step.base)
        if step.operation is Operation.DELETE and "sys_mod_count" in record:
            base = (*(pair for pair in base if pair[0] != "sys_mod_count"), ("sys_mod_count", record["sys_mod_count"]))
        steps.append(Step(step.operation, step.table, step.sys_id, step.fields, base))
    return Plan(tuple(steps))


def settable(plan: Plan, holders: Mapping[str, Sequence[Place]]) -> Plan:
    """An undo writes what can be written: what ServiceNow sets by itself is left to it, and a record that is made again
    lacks what was removed meanwhile or is not shown.
    """
    steps = []
    for step in plan.steps:
        columns = holders[step.sys_id][0].table.columns.values()
        again = step.operation is Operation.CREATE
        fixed = guard.SYSTEM | {c.key for c in columns if c.read_only or (c.closed and again)}
        fields = tuple(pair for pair in step.fields if pair[0] not in fixed)
        base = tuple(pair for pair in step.base if pair[0] not in fixed or step.operation is Operation.DELETE)
        steps.append(Step(step.operation, step.table, step.sys_id, fields, base))
    return Plan(tuple(steps))
