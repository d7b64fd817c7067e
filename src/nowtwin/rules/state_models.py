"""Which states a change request or a problem may go to: the rules "Change Model: Check State Transition" and "Problem
Model: Check State Transition" (servicenow-api.md 11.1).

Each rule is a record of sys_script, so it can be switched off there as on an instance; its work is done here. A jump is
refused, or left undone by the switch `state_jumps_held`; reports of instances show both. Transitions are the shipped
models' without their conditions (approvals, tasks, mandatory columns).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from nowtwin import errors
from nowtwin.records.ground import Ground
from nowtwin.records.write_rules import Pending
from nowtwin.schema.metadata import row_id

Transitions = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Model:
    """`created` are the states that a new record may have, the first of them the usual one."""

    sys_id: str
    name: str
    table: str
    created: tuple[str, ...]
    by_type: Mapping[str, Transitions]
    """The transitions by `type`; the empty one for every other type."""

    def allows(self, kind: str, before: str, after: str) -> bool:
        transitions = self.by_type.get(kind, self.by_type[""])
        return after in transitions.get(before, frozenset())


def _line(states: str, *more: tuple[str, str]) -> Transitions:
    """One state after the other; `more` are further steps as (from, to), several apart by spaces."""
    row = states.split()
    steps: dict[str, set[str]] = {state: {after} for state, after in pairwise(row)}
    for before, after in more:
        for state in before.split():
            steps.setdefault(state, set()).update(after.split())
    return {state: frozenset(reached) for state, reached in steps.items()}


_CANCEL: Final = ("-5 -4 -3 -2 -1 0", "4")
MODELS: Final = (
    Model(
        "b6dae9e15317101034d1ddeeff7b1278",
        "Change Model: Check State Transition",
        "change_request",
        ("-5", "-4", "-3", "-2", "-1"),
        {
            "": _line("-5 -4 -3 -2 -1 0 3", _CANCEL, ("-4 -3 -2", "-5")),
            "emergency": _line("-5 -3 -2 -1 0 3", _CANCEL, ("-3 -2", "-5")),
            "standard": _line("-5 -2 -1 0 3", _CANCEL, ("-2", "-5")),
        },
    ),
    Model(
        row_id("sys_script", "problem model"),
        "Problem Model: Check State Transition",
        "problem",
        ("101",),
        {"": _line("101 102 103 104 106 107", ("102 103", "106"), ("102 103 104", "107"), ("106 107", "103"))},
    ),
)
"""The sys_id of the first is that of stock instances; the other's is not known."""


def rule_rows() -> Iterator[dict[str, str]]:
    """The rules as rows of sys_script."""
    for model in MODELS:
        yield {
            "sys_id": model.sys_id,
            "name": model.name,
            "collection": model.table,
            "when": "before",
            "order": "100",
            "active": "true",
            "action_insert": "true",
            "action_update": "true",
            "description": "Done by the platform; only `active` is read from this record.",
        }


class StateModels:
    def __init__(self, instance: Ground) -> None:
        self._instance = instance

    def require(self, pending: Pending) -> None:
        """Hold a state that may not be reached, or raise Refused 403 as an aborting rule does."""
        model = self._model(pending)
        if model is None or not pending.workflow:
            return
        before, after = pending.before.get("state", ""), pending.values.get("state", "")
        kind = pending.values.get("type", "")
        if not after or after == before:
            return
        if after in model.created if pending.operation == "insert" else model.allows(kind, before, after):
            return
        if self._instance.switches.state_jumps_held:
            pending.values["state"] = before or model.created[0]
            return
        raise errors.failed(
            f"Operation against file '{pending.table}' was aborted by Business Rule "
            f"'{model.name}^{model.sys_id}'. Business Rule Stack:{model.name}"
        )

    def _model(self, pending: Pending) -> Model | None:
        switches = self._instance.switches
        checked = {"change_request": switches.change_states_checked, "problem": switches.problem_states_checked}
        for model in MODELS:
            if checked[model.table] and pending.table == model.table and self._is_active(model):
                return model
        return None

    def _is_active(self, model: Model) -> bool:
        row = self._instance.storage.get("sys_script", model.sys_id)
        return row is not None and row.get("active") == "true"
