"""In which order the steps of a plan are sent. Pure.

What can be taken back goes first and what cannot goes last: updates, creates (a record before those that point at it),
journal entries, deletes (traps, finding 16). So a refusal is met while everything before it can still be reverted.
"""

from __future__ import annotations

from collections.abc import Sequence

from nowbridge.model.plan import Operation, Plan, Step

Stage = tuple[Step, ...]
"""Steps that may be sent side by side."""


def stages(plan: Plan) -> tuple[Stage, ...]:
    """The plan in stages, none of them empty. A step with fields and journals is two, its fields and then its entries;
    but for the only step of a plan, which goes as one call: nothing else can be refused after it, and a policy of the
    instance may want both together.
    """
    if len(plan.steps) == 1 and _fits_one_call(plan.steps[0]):
        return ((plan.steps[0],),)
    updates = [_without_journals(s) for s in plan.steps if s.operation is Operation.UPDATE and s.fields]
    creates = [_without_journals(s) for s in plan.steps if s.operation is Operation.CREATE]
    journals = [entry for step in plan.steps for entry in _entries(step)]
    deletes = [s for s in plan.steps if s.operation is Operation.DELETE]
    ordered = [updates, *_generations(creates), *_turns(journals), *_turns(_children_first(deletes))]
    return tuple(tuple(stage) for stage in ordered if stage)


def _fits_one_call(step: Step) -> bool:
    """One call has room for one entry of each journal column."""
    return len({element for element, _ in step.journals}) == len(step.journals)


def _without_journals(step: Step) -> Step:
    return Step(step.operation, step.table, step.sys_id, step.fields, step.base)


def _entries(step: Step) -> list[Step]:
    """One step per entry: two entries of one column cannot go in one request."""
    if step.operation is Operation.DELETE:
        return []
    return [Step(Operation.UPDATE, step.table, step.sys_id, journals=(entry,)) for entry in step.journals]


def _generations(creates: Sequence[Step]) -> list[list[Step]]:
    """Creates by how deep they stand: those that point at no other create, those that point at these, and so on. Creates
    that point at each other in a circle go together: ServiceNow takes a reference to nothing.
    """
    new = {step.sys_id for step in creates}
    waiting = {step.sys_id: {text for _, text in step.fields} & new - {step.sys_id} for step in creates}
    generations: list[list[Step]] = []
    left = list(creates)
    while left:
        free = [step for step in left if not waiting[step.sys_id]] or left
        generations.append(free)
        sent = {step.sys_id for step in free}
        left = [step for step in left if step.sys_id not in sent]
        waiting = {sys_id: needed - sent for sys_id, needed in waiting.items()}
    return generations


def _turns(steps: Sequence[Step]) -> list[list[Step]]:
    """Steps on one record one after another, those on different records side by side."""
    turns: list[list[Step]] = []
    taken: dict[tuple[str, str], int] = {}
    for step in steps:
        key = (step.table, step.sys_id)
        turn = taken.get(key, 0)
        taken[key] = turn + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(step)
    return turns


def _children_first(deletes: Sequence[Step]) -> list[Step]:
    """A record after those that point at it, so that nothing cascades into a record that is still to be deleted."""
    gone = {step.sys_id for step in deletes}
    pointed = {step.sys_id: {text for _, text in step.base} & gone - {step.sys_id} for step in deletes}
    return sorted(deletes, key=lambda step: -_depth(step.sys_id, pointed, frozenset()))


def _depth(sys_id: str, pointed: dict[str, set[str]], seen: frozenset[str]) -> int:
    if sys_id in seen:
        return 0
    return 1 + max((_depth(one, pointed, seen | {sys_id}) for one in pointed[sys_id]), default=0)
