"""What can be refused before anything is sent, in the words of a Postgres error. Pure.

The SQLSTATEs are those that clients and ORMs know: 22001 too long, 23502 mandatory, 23503 a reference to nothing, 428C9
a column that only ServiceNow sets, 54000 too many rows. docs/errors.md lists them all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nowbridge.delivery.outcomes import Fate, Outcome, Report, fates
from nowbridge.model.errors import NowbridgeError
from nowbridge.model.plan import Operation, Plan, Refusal, Step
from nowbridge.writethrough.collected import WritableTable

SYSTEM = frozenset(
    {"sys_id", "sys_created_on", "sys_created_by", "sys_updated_on", "sys_updated_by", "sys_mod_count", "sys_tags"}
)
NAMED = 1_000  # records that a DETAIL lists, about 80 kB; of more it gives the number
FEW = 10  # of those that one line names
_SYS_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Records that one transaction may write, and delete; `confirmed`: the client said that they are meant. `policies` of
    deleted records, by sys_id: what each replica table that holds it says (allow, refuse or a number).
    """

    rows: int
    deletes: int
    confirmed: bool = False
    policies: Mapping[str, Sequence[str]] = field(default_factory=dict)


def check(
    plan: Plan, tables: Mapping[str, WritableTable], limits: Limits, *, restoring: bool = False
) -> Refusal | None:
    """The first reason not to send this plan. `tables` is the table of each record, by sys_id. `restoring`: these values
    have stood in ServiceNow, so whether they fit is not asked.
    """
    if (refusal := _too_many(plan, limits)) is not None:
        return refusal
    for step in plan.steps:
        refusal = _unwritable(step, tables[step.sys_id])
        if refusal is None and not restoring:
            refusal = _unfit(step, tables[step.sys_id])
        if refusal is not None:
            return refusal
    return None


def _too_many(plan: Plan, limits: Limits) -> Refusal | None:
    if len(plan.steps) > limits.rows:
        return Refusal(
            "54000",
            f"[ServiceNow] This transaction writes {len(plan.steps)} records; {limits.rows} are allowed.",
            "Nothing was sent.",
            "Write in smaller transactions, or raise the setting write_rows.",
        )
    return _too_many_deletes(plan, limits)


def _too_many_deletes(plan: Plan, limits: Limits) -> Refusal | None:
    """A table's own number takes the place of the setting's."""
    counted: dict[tuple[str, int], int] = {}
    for step in plan.steps:
        if step.operation is not Operation.DELETE:
            continue
        policies = limits.policies.get(step.sys_id, ())
        if "refuse" in policies:
            return _no_deletes(step.table)
        own = [int(policy) for policy in policies if policy.isdecimal()]
        kind = (step.table, min(own)) if own else ("", limits.deletes)
        counted[kind] = counted.get(kind, 0) + 1
    above = next(((number, most) for (_, most), number in counted.items() if number > most), None)
    if above is None or limits.confirmed:
        return None
    return Refusal(
        "54000",
        f"[ServiceNow] This transaction deletes {above[0]} records; more than {above[1]} must be confirmed.",
        "Nothing was sent.",
        "SET nowbridge.confirm_deletes = 'on' and delete again, if they are meant.",
    )


def _no_deletes(table: str) -> Refusal:
    return Refusal(
        "42501",
        f"[ServiceNow] Records of {table} may not be deleted by SQL.",
        "Nothing was sent.",
        f"`nowbridge deletes {table} --by-sql allow` lets SQL users delete them.",
    )


def _unwritable(step: Step, table: WritableTable) -> Refusal | None:
    """Which of this step's columns cannot be written, whatever the value."""
    columns = {column.key: column for column in table.columns.values()}
    for name, _ in step.fields:
        column = columns.get(name)
        if column is not None and column.closed:
            return _closed(name)
        if column is None or name in SYSTEM or column.read_only:
            return _read_only(name)
    return None


def _unfit(step: Step, table: WritableTable) -> Refusal | None:
    """Why this step's values cannot be written."""
    columns = {column.key: column for column in table.columns.values()}
    for name, text in step.fields:
        column = columns[name]
        if column.max_length is not None and len(text) > column.max_length and column.pg_type == "text":
            return Refusal(
                "22001",
                f"[ServiceNow] Value too long for `{column.name}`: it takes {column.max_length} characters.",
                f"It has {len(text)}; ServiceNow would cut it. Nothing was sent.",
                "Write a shorter text.",
            )
        if column.mandatory and not text:
            return _mandatory(column.name)
    if step.operation is not Operation.CREATE:
        return None
    if not _SYS_ID.fullmatch(step.sys_id):  # the instance would give the record another one
        return Refusal(
            "22000",
            f"[ServiceNow] Value `{step.sys_id}` is not a valid value for `sys_id`.",
            "Nothing was sent.",
            "Leave it out, or give 32 hexadecimal digits in small letters.",
        )
    given = step.written
    missing = [c for c in columns.values() if c.mandatory and not c.journal and not given.get(c.key)]
    return _mandatory(missing[0].name) if missing else None


def reference_to_nothing(table: str, field: str, keys: Sequence[str]) -> Refusal:
    value = keys[0] if len(keys) == 1 else f"one of {len(keys)} sys_ids"
    return Refusal(
        "23503",
        f"[ServiceNow] Value `{value}` is not a valid value for `{field}`.",
        f"{table} has no such record. Nothing was sent.",
        "Write the sys_id of a record that is there.",
    )


def not_reached(error: NowbridgeError) -> Refusal:
    """ServiceNow could not be asked at all, or does not let our account in."""
    state = "28000" if error.code.startswith(("auth.", "login.")) else "08001"
    return Refusal(state, f"[ServiceNow] {error.asked}: {error.answered}", "Nothing was sent.", error.hint)


def nothing_to_undo(write_id: int) -> Refusal:
    return Refusal(
        "0A000",
        f"[ServiceNow] Nothing of write {write_id} can be taken back.",
        "Journal entries stay, and what only ServiceNow sets is left to it. Nothing was sent.",
    )


def not_carried_out(found: int, sent: int) -> Refusal:
    """Nobody heard an answer, and the instance shows that the write, or a part of it, is not there."""
    taken = f"Of its {sent} steps {found} had been carried out." if found else "No step of it was carried out."
    return Refusal("08006", "[ServiceNow] The write was not carried out.", taken, "Write again.")


def with_fates(report: Report) -> Refusal:
    """The report's refusal with what became of every record in DETAIL."""
    refusal = report.refusal or Refusal("", "")
    few = len(report.outcomes) <= 1 and not any(one.fate is Fate.KEPT for one in report.outcomes)
    detail = "\n".join(filter(None, (refusal.detail, sent_meanwhile(report) if few else told_of_each(report))))
    return Refusal(refusal.sqlstate, refusal.message, detail, refusal.hint)


def told_of_each(report: Report) -> str:
    """How many ended in which way, each of them, those first that somebody must know of, and what cannot be taken back."""
    counted = ", ".join(f"{number} {fate.value}" for fate, number in fates(report).items())
    lines = [f"{o.step.table} {o.step.sys_id}: {o.fate.value}{_why(o)}" for o in _telling(report)[:NAMED]]
    lines += [f"and {len(report.outcomes) - NAMED} more"] if len(report.outcomes) > NAMED else []
    return "\n".join(filter(None, (counted, sent_meanwhile(report), *lines)))


def sent_meanwhile(report: Report) -> str:
    """Which records had been written, so that ServiceNow may have sent something for them that no revert takes back."""
    written = dict.fromkeys(
        f"{one.step.table} {one.step.sys_id}"
        for one in report.outcomes
        if one.fate in (Fate.REVERTED, Fate.KEPT) or (one.fate is Fate.REFUSED and one.record is not None)
    )
    if not written:
        return ""
    named = ", ".join(list(written)[:FEW]) + (f" and {len(written) - FEW} more" if len(written) > FEW else "")
    return (
        f"These had been written; notifications and events that ServiceNow sent for them cannot be taken back: {named}"
    )


def overwritten(one: Outcome) -> dict[str, Any]:
    """The NOTICE for a field of which a rule of the instance made something else."""
    told = ", ".join(f"`{d.field}` is `{d.got}`, sent was `{d.sent}`" for d in one.differences)
    return {
        "message": f"[ServiceNow] A rule of the instance changed what was written: {told}",
        "detail": f"{one.step.table} {one.step.sys_id}",
    }


def not_as_before(report: Report) -> str:
    """What an undo could not make as it was, for the log."""
    notices = [overwritten(one) for one in report.outcomes if one.differences]
    return "\n".join(f"{notice['detail']}: {notice['message']}" for notice in notices)


def _telling(report: Report) -> list[Outcome]:
    """Outcomes, those first that somebody must know of."""
    weight = {Fate.KEPT: 0, Fate.UNKNOWN: 1, Fate.REFUSED: 2, Fate.REVERTED: 3}
    return sorted(report.outcomes, key=lambda one: weight.get(one.fate, 4))


def _why(one: Outcome) -> str:
    if one.fate is Fate.REVERTED and one.step.journals:
        return " (but for its journal entry, which cannot be taken back)"
    if one.fate is Fate.KEPT and one.step.journals:
        return " (a journal entry cannot be taken back)"
    return f" ({one.refusal.message})" if one.refusal is not None else ""


def _read_only(name: str) -> Refusal:
    return Refusal(
        "428C9",
        f"[ServiceNow] `{name}` cannot be written.",
        "It is read-only in ServiceNow. Nothing was sent.",
        "Leave it out, or write the value that it has.",
    )


def _closed(name: str) -> Refusal:
    return Refusal(
        "428C9",
        f"[ServiceNow] `{name}` cannot be written.",
        "It was removed in ServiceNow, is left out, or is not shown to the account. Nothing was sent.",
        "Leave it out, or write NULL. `nowbridge schema` tells how it stands.",
    )


def _mandatory(name: str) -> Refusal:
    return Refusal("23502", f"[ServiceNow] `{name}` is mandatory.", "Nothing was sent.", f"Give `{name}` a value.")
