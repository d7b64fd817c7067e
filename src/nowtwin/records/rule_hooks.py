"""What the platform's own rules derive from a write (servicenow-api.md 11.1): priority, states, active, stamps.

Pure: takes the record before and after, and says what else changes. Only tables of the task family have such rules.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Values = Mapping[str, str]

_PRIORITY = {
    ("1", "1"): "1", ("1", "2"): "2", ("1", "3"): "3",
    ("2", "1"): "2", ("2", "2"): "3", ("2", "3"): "4",
    ("3", "1"): "3", ("3", "2"): "4", ("3", "3"): "5",
}  # fmt: skip
_TASK_CLOSED = frozenset({"3", "4"})
_NEW, _PROBLEM_NEW = "1", "101"  # problem_state begins with 1 too
_INCIDENT_ON_HOLD = "3"
_INCIDENT_IN_PROGRESS = "2"
_INCIDENT_RESOLVED = "6"
_INCIDENT_CLOSED = frozenset({"7", "8"})
_INCIDENT_DONE = frozenset({"6", "7"})
"""States that an incident is reopened from (the hint of `reopen_count`)."""
_PROBLEM_RESOLVED = "106"
_PROBLEM_CLOSED = frozenset({"107", "4"})
_CHANGE_CLOSED = frozenset({"3", "4"})
_PRIORITY_TABLES = frozenset({"incident", "problem", "change_request"})


@dataclass(frozen=True, slots=True)
class Write:
    """A write that is about to happen: the class with its ancestors, the record before and as it would become."""

    lineage: tuple[str, ...]
    before: Values
    after: Values
    user_id: str
    stamp: str
    priority_looked_up: bool = True
    skipped: str = "7"
    """The state of a task that closes it beside the two of the base table."""
    caller_commented: bool = False
    """Whether the caller of an incident commented on it, where that reopens."""

    def changed(self, element: str) -> bool:
        return self.before.get(element, "") != self.after.get(element, "")

    def moves(self, element: str, twin: str, first: str) -> bool:
        """Whether the column decides and its twin follows: it alone was written, which on an insert shows in the twin
        having its default (`first`), and the column another than its own.
        """
        if self.before:
            return self.changed(element) and not self.changed(twin)
        return self.after.get(element, "") not in {"", _NEW} and self.after.get(twin, "") in {"", first}


def derive(write: Write) -> dict[str, str]:
    """The further columns that the platform's rules set."""
    if "task" not in write.lineage:
        return {}
    more: dict[str, str] = {}
    if write.priority_looked_up and _PRIORITY_TABLES.intersection(write.lineage):
        more |= _priority(write)
    rule = next((rule for table, rule in _OF_TABLE.items() if table in write.lineage), _task)
    more |= rule(write)
    if write.after.get("number"):
        more["task_effective_number"] = write.after["number"]
    return {element: value for element, value in more.items() if write.after.get(element, "") != value}


def _priority(write: Write) -> dict[str, str]:
    """The priority look-up over impact and urgency; it overrides a priority that was written."""
    found = _PRIORITY.get((write.after.get("impact", ""), write.after.get("urgency", "")))
    return {} if found is None else {"priority": found}


def _incident(write: Write) -> dict[str, str]:
    """`state` and `incident_state` move together, `state` first when both were written; 7 and 8 close."""
    element = "incident_state" if write.moves("incident_state", "state", _NEW) else "state"
    state = write.after.get(element, "")
    if not state:
        return {}
    if write.caller_commented and state == _INCIDENT_RESOLVED and not write.changed(element):
        return _reopened(write, "reopened_time") | dict.fromkeys(("state", "incident_state"), _INCIDENT_IN_PROGRESS)
    more = {"state": state, "incident_state": state, "active": "false" if state in _INCIDENT_CLOSED else "true"}
    if not write.changed(element) and write.before:
        return more
    if write.before.get("state") == _INCIDENT_ON_HOLD and state != _INCIDENT_ON_HOLD:
        more["hold_reason"] = ""  # an assumption: the reason goes with the state it explains
    if write.before.get("state") in _INCIDENT_DONE and state not in _INCIDENT_CLOSED | _INCIDENT_DONE:
        more |= _reopened(write, "reopened_time")
    if state == _INCIDENT_RESOLVED and not write.after.get("resolved_at"):
        more |= {"resolved_at": write.stamp, "resolved_by": write.after.get("resolved_by") or write.user_id}
    if state in _INCIDENT_CLOSED and not write.after.get("closed_at"):
        more |= {"closed_at": write.stamp, "closed_by": write.after.get("closed_by") or write.user_id}
    return more


def _problem(write: Write) -> dict[str, str]:
    """`state` and `problem_state` move together; 107 (4 in the older model) closes, 106 resolves."""
    element = "problem_state" if write.moves("problem_state", "state", _PROBLEM_NEW) else "state"
    state = write.after.get(element, "")
    if not state:
        return {}
    more = {"state": state, "problem_state": state} | _opened(write, closed=state in _PROBLEM_CLOSED)
    done = _PROBLEM_CLOSED | {_PROBLEM_RESOLVED}
    if write.before.get("state") in done and state not in done:
        more |= _reopened(write, "reopened_at")
    if state == _PROBLEM_RESOLVED and write.changed(element) and not write.after.get("resolved_at"):
        more |= {"resolved_at": write.stamp, "resolved_by": write.after.get("resolved_by") or write.user_id}
    return more


def _reopened(write: Write, stamped: str) -> dict[str, str]:
    """How often, by whom and when a record was opened again, unless the write says so itself (D: reopening-incident.md, and
    the hints of the columns).
    """
    count = write.after.get("reopen_count", "")
    more = {"reopen_count": str(int(count) + 1 if count.isdecimal() else 1)}
    more |= {"reopened_by": write.user_id, stamped: write.stamp}
    return {element: value for element, value in more.items() if not write.changed(element)}


def _change(write: Write) -> dict[str, str]:
    """3 (closed) and 4 (canceled) close."""
    if not write.after.get("state") or not write.changed("state"):
        return {}
    return _opened(write, closed=write.after["state"] in _CHANGE_CLOSED)


def _opened(write: Write, *, closed: bool) -> dict[str, str]:
    """`active`, and who closed when."""
    more = {"active": "false" if closed else "true"}
    if closed and not write.after.get("closed_at"):
        more |= {"closed_at": write.stamp, "closed_by": write.after.get("closed_by") or write.user_id}
    return more


def _task(write: Write) -> dict[str, str]:
    """Base task: a closed state clears `active`, and `active` moved by itself moves the state."""
    closed = write.after.get("state", "") in _TASK_CLOSED | {write.skipped}
    if write.changed("state"):
        return _opened(write, closed=closed)
    if write.before and write.changed("active"):
        opened = write.after.get("active") == "true"
        if opened and closed:
            return {"state": "1"}
        if not opened and not closed:
            return {"state": "3"} | _opened(write, closed=True)
    return {}


_OF_TABLE: Mapping[str, Callable[[Write], dict[str, str]]] = {
    "incident": _incident,
    "problem": _problem,
    "change_request": _change,
}
