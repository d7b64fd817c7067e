"""What became of the steps of a plan, and what takes a step back. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from nowbridge.delivery.compare import Difference, Record
from nowbridge.model.plan import Operation, Refusal, Step


class Fate(StrEnum):
    """What became of a step."""

    DONE = "done"
    REFUSED = "refused"
    NOT_SENT = "not sent"
    REVERTED = "reverted"
    KEPT = "kept"  # written, and could not be taken back
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One step's end. `record` is the record as the instance has it now, `differences` what is not as it was sent. `traced`:
    nobody heard the answer, the record was read later; what differs may be somebody else's.
    """

    step: Step
    fate: Fate
    record: Record | None = None
    refusal: Refusal | None = None
    differences: tuple[Difference, ...] = ()
    at: datetime | None = None
    traced: bool = False

    @property
    def written(self) -> bool:
        """Whether something of the step stands in the instance, be it not as it was sent."""
        return self.fate is Fate.DONE or (self.fate is Fate.REFUSED and self.record is not None)

    @property
    def moved(self) -> bool:
        """Whether somebody may have changed what this step wrote: then nothing of it is taken back."""
        return self.traced and bool(self.differences)


@dataclass(frozen=True, slots=True)
class Report:
    """A plan's end. `refusal` is set when it was not carried out: the first thing that was in its way."""

    outcomes: tuple[Outcome, ...]
    refusal: Refusal | None = None

    @property
    def unknown(self) -> bool:
        return any(outcome.fate is Fate.UNKNOWN for outcome in self.outcomes)


def inverse(outcome: Outcome) -> Step | None:
    """The step that takes a written one back, made on the record as it was after that; None where nothing can. Fields that
    ServiceNow left as they were need not be taken back.
    """
    step = outcome.step
    if outcome.moved or (step.journals and not step.fields):
        return None
    record = outcome.record or {}
    if step.operation is Operation.CREATE:
        version = record.get("sys_mod_count")
        return Step(Operation.DELETE, step.table, step.sys_id, base=(("sys_mod_count", version),) if version else ())
    if step.operation is Operation.DELETE:
        return Step(
            Operation.CREATE, step.table, step.sys_id, tuple(p for p in step.base if not p[0].startswith("sys_"))
        )
    ignored = {one.field for one in outcome.differences if one.dropped}
    fields = tuple((name, text) for name, text in step.base if name not in ignored)
    written = tuple((name, record.get(name, text)) for name, text in step.fields)
    return Step(Operation.UPDATE, step.table, step.sys_id, fields, written) if fields else None


def taken_back(outcome: Outcome, ended: Outcome | None, moved: Refusal | None) -> Outcome:
    """The outcome of a written step after its inverse ended so; `moved`: it was not sent, as somebody had changed the record."""
    if ended is None or ended.fate not in (Fate.DONE, Fate.UNKNOWN):
        why = outcome.refusal or moved or (ended.refusal if ended is not None else None)
        return Outcome(outcome.step, Fate.KEPT, outcome.record, why, at=outcome.at)
    if ended.fate is Fate.UNKNOWN:
        return Outcome(outcome.step, Fate.UNKNOWN)
    fate = Fate.REVERTED if outcome.fate is Fate.DONE else Fate.REFUSED
    return Outcome(outcome.step, fate, ended.record, outcome.refusal, outcome.differences, ended.at)


def refused(step: Step, refusal: Refusal) -> Outcome:
    return Outcome(step, Fate.REFUSED, None, refusal)


def fates(report: Report) -> Mapping[Fate, int]:
    """How many steps ended in which way, in the order in which these ways first came."""
    return Counter(outcome.fate for outcome in report.outcomes)
