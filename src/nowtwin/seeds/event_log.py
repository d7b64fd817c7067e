"""The UCI incident event log: the audit history of a real ServiceNow instance, as rows and changes.

One CSV row is one saved state of one incident, ordered by `sys_mod_count`; dates are `D/M/YYYY HH:MM` (read as UTC,
the log names no zone), `?` is unknown. Source: "Incident management process enriched event log", Amaral, Fantinato,
Peres, UCI Machine Learning Repository, CC BY 4.0. The log is read from a path and never shipped.

The log is turned back into the life it records: a cut in time parts what the instance already holds (each incident in
its last state before the cut) from what is still to happen (`Change`s in time order). Three things follow from the log
being an extract: columns of the resolution, which the log repeats on every row from the first, appear only in the
state that has them; a save without a visible difference becomes a work note, since something was saved; and numbers
missing in `sys_mod_count` stay missing. Pure; `event_log_file` reads the file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Any, Final

from nowtwin.seeds.display_values import duration_of_seconds, stored
from nowtwin.seeds.event_log_file import UNKNOWN, Event, EventLogError, time_of
from nowtwin.seeds.event_log_names import LogNames
from nowtwin.seeds.history import Change, Operation
from nowtwin.seeds.platform_facts import choice_entries, column_entry, schema_of
from nowtwin.seeds.references import Row
from nowtwin.seeds.sys_ids import sys_id_of

_RESOLVED, _CLOSED = "6", "7"
# state, hold_reason; "-100" is a state the log's authors could not name: the incident stays in the state it had.
_STATES: Final[dict[str, tuple[str, str]]] = {
    "New": ("1", ""),
    "Active": ("2", ""),
    "Awaiting User Info": ("3", "1"),
    "Awaiting Evidence": ("3", "2"),
    "Awaiting Problem": ("3", "3"),
    "Awaiting Vendor": ("3", "4"),
    "Resolved": (_RESOLVED, ""),
    "Closed": (_CLOSED, ""),
}
_UNNAMED_STATE: Final = "-100"
_NO_CODE: Final = "No resolution provided"
_CONTACT_TYPES: Final[Mapping[str, str]] = {
    "Phone": "phone",
    "Self service": "self-service",
    "Email": "email",
    "IVR": "ivr",
    "Direct opening": "direct_opening",
}
_NOTIFY: Final[Mapping[str, str]] = {"Do Not Notify": "1", "Send Email": "2"}
_SAME: Final = (
    "active",
    "reassignment_count",
    "reopen_count",
    "made_sla",
    "knowledge",
    "u_priority_confirmation",
    "category",
    "subcategory",
    "u_symptom",
)
_same = attrgetter(*_SAME)
# What every incident of a stock instance has from its defaults.
_DEFAULTS: Final[Mapping[str, str]] = {
    "severity": "3",
    "escalation": "0",
    "approval": "not requested",
    "upon_approval": "proceed",
    "upon_reject": "cancel",
    "child_incidents": "0",
    "sys_domain": "global",
    "sys_domain_path": "/",
}
_STAMPS: Final = frozenset({"sys_mod_count", "sys_updated_on", "sys_updated_by", "sys_created_on", "sys_created_by"})


@dataclass(frozen=True, slots=True)
class State:
    """An incident as it was saved at one time."""

    event: Event
    code: tuple[str, str]
    """state and hold_reason, stored values."""
    at: datetime
    first: Event
    """The first state of the incident in the log: who and when where the log does not say who created it."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A log parted at a cut: rows that are there, and what is still to happen."""

    cut: datetime
    rows: Mapping[str, Sequence[Row]]
    """Stored rows by table, referenced tables first; the incidents last."""
    states: Sequence[tuple[State, State | None]]
    """The states after the cut with the state before each (None: the incident is new), in time order."""
    names: LogNames

    def changes(self) -> Iterator[Change]:
        last: dict[str, Row] = {}
        for state, before in self.states:
            number = state.event.number
            row = row_of(state, self.names)
            if before is None:
                yield _insert(state, row, self.names)
            else:
                yield _update(state, row, last.get(number) or row_of(before, self.names), self.names)
            last[number] = row


@lru_cache(maxsize=131_072)
def _stored_time(text: str) -> str:
    at = time_of(text)
    return stored(at) if at else ""


def cut_at(events: Sequence[Event], until: datetime | float) -> datetime:
    """The time of the cut: itself, or the time by which that fraction (0..1) of the events had happened."""
    if isinstance(until, datetime):
        return until
    if not 0 <= until <= 1:
        raise EventLogError(f"a fraction of the log lies between 0 and 1, not {until}")
    times = sorted(at for at in (time_of(event.sys_updated_at) for event in events) if at)
    if not times:
        raise EventLogError("the log has no events")
    return times[min(int(until * len(times)), len(times) - 1)] if until < 1 else datetime.max.replace(tzinfo=UTC)


def part(events: Sequence[Event], until: datetime | float) -> Replay:
    """The log (sorted as `read_event_log` does) as it stood at the cut, exclusive, and what came after."""
    _check(events)
    cut = cut_at(events, until)
    names = LogNames()
    names.collect(events)
    incidents: list[Row] = []
    later: list[tuple[State, State | None]] = []
    for _, group in groupby(events, key=attrgetter("number")):
        states = _states(list(group))
        before = [state for state in states if state.at < cut]
        if before:
            incidents.append(row_of(before[-1], names))
        else:
            later.append((states[0], None))
        later.extend((state, last) for last, state in pairwise(states) if state.at >= cut)
    later.sort(key=lambda pair: (pair[0].at, pair[0].event.number, int(pair[0].event.sys_mod_count)))
    return Replay(cut, {**names.rows(), "incident": incidents}, later, names)


def _check(events: Sequence[Event]) -> None:
    """Refuse a spelling the log does not have now, and not when its state is played."""
    for listed, column in (
        (_STATES | {_UNNAMED_STATE: ("", "")}, "incident_state"),
        (_CONTACT_TYPES, "contact_type"),
        (_NOTIFY, "notify"),
    ):
        strange = sorted({getattr(event, column) for event in events} - listed.keys())
        if strange:
            raise EventLogError(f"{column}: {', '.join(map(repr, strange))} is none of {', '.join(listed)}")
    for column in ("opened_at", "sys_created_at", "sys_updated_at", "resolved_at", "closed_at"):
        for text in {getattr(event, column) for event in events}:
            time_of(text)


def _states(events: Sequence[Event]) -> list[State]:
    """The saved states of one incident; a save dated before its predecessor is dated with it."""
    states: list[State] = []
    code = ("1", "")
    for event in events:
        if event.incident_state != _UNNAMED_STATE:
            code = _STATES[event.incident_state]
        at = time_of(event.sys_updated_at) or time_of(event.opened_at)
        if at is None:
            raise EventLogError(f"{event.number}: a state without a time")
        states.append(State(event, code, max(at, states[-1].at) if states else at, events[0]))
    return states


def row_of(state: State, names: LogNames) -> Row:
    """All stored values of the incident in this state."""
    event = state.event
    state_code, hold_reason = state.code
    row = {
        "number": event.number,
        "sys_id": sys_id_of("incident", event.number),
        "task_effective_number": event.number,
        "state": state_code,
        "incident_state": state_code,
        "hold_reason": hold_reason,
        "impact": event.impact[:1],
        "urgency": event.urgency[:1],
        "priority": event.priority[:1],
        "contact_type": _CONTACT_TYPES[event.contact_type],
        "notify": _NOTIFY[event.notify],
        **{element: value for element, value in zip(_SAME, _same(event), strict=True) if value != UNKNOWN},
        **names.references(event),
        **_texts(event),
        **_DEFAULTS,
        **_stamps(state, names),
    }
    if state_code in (_RESOLVED, _CLOSED):
        row |= _resolution(event, state_code, names)
    return {element: value for element, value in row.items() if value}


def _texts(event: Event) -> Row:
    subject = " / ".join(text for text in (event.category, event.subcategory, event.u_symptom) if text != UNKNOWN)
    return {
        "short_description": subject or "No category",
        "description": f"{event.caller_id} reported by {event.contact_type.lower()}: {subject or 'no category'}",
    }


def _stamps(state: State, names: LogNames) -> Row:
    event, first = state.event, state.first
    created_at = next(t for t in (event.sys_created_at, event.opened_at, first.sys_updated_at) if t != UNKNOWN)
    created_by = next(n for n in (event.sys_created_by, event.opened_by, first.sys_updated_by) if n != UNKNOWN)
    return {
        "opened_at": _stored_time(event.opened_at),
        "sys_created_on": _stored_time(created_at),
        "sys_created_by": names.user_name(created_by),
        "sys_updated_on": stored(state.at),
        "sys_updated_by": names.user_name(event.sys_updated_by),
        "sys_mod_count": event.sys_mod_count,
    }


def _resolution(event: Event, state: str, names: LogNames) -> Row:
    """A resolved incident has a code (a data policy demands one, servicenow-api.md 11.1), the log not always."""
    code = _NO_CODE if event.closed_code == UNKNOWN else event.closed_code
    row = {
        "close_code": code,
        "close_notes": f"Closed with {code}",
        "resolved_by": names.reference("sys_user", event.resolved_by),
        "resolved_at": _stored_time(event.resolved_at),
    }
    if state == _CLOSED:
        row["closed_at"] = _stored_time(event.closed_at)
        row["closed_by"] = names.reference("sys_user", event.sys_updated_by)
        row |= _durations(event)
    return row


def _durations(event: Event) -> Row:
    opened, closed = time_of(event.opened_at), time_of(event.closed_at)
    if opened is None or closed is None or closed < opened:
        return {}
    seconds = int((closed - opened).total_seconds())
    return {"calendar_duration": duration_of_seconds(seconds), "calendar_stc": str(seconds)}


def _insert(state: State, row: Row, names: LogNames) -> Change:
    values = {element: value for element, value in row.items() if element not in _STAMPS}
    return Change(
        Operation.INSERT, "incident", row["sys_id"], values, names.user_name(state.event.sys_updated_by), state.at
    )


def _update(state: State, row: Row, before: Row, names: LogNames) -> Change:
    values = {
        element: row.get(element, "")
        for element in {**before, **row}
        if row.get(element) != before.get(element) and element not in _STAMPS
    }
    if not values:
        values["work_notes"] = f"Saved at {stored(state.at)} without a change of the recorded columns"
    return Change(
        Operation.UPDATE, "incident", row["sys_id"], values, names.user_name(state.event.sys_updated_by), state.at
    )


def log_schema(events: Sequence[Event]) -> dict[str, Any]:
    """The columns the log's instance had added, and its choices as they occur."""
    seen = {
        "category": {event.category for event in events},
        "subcategory": {event.subcategory for event in events},
        "close_code": {event.closed_code for event in events},
    }
    choices = [
        entry
        for element, values in seen.items()
        for entry in choice_entries("incident", element, ";".join(sorted(values - {UNKNOWN})))
        if entry["value"]
    ]
    choices += choice_entries("incident", "contact_type", ";".join(f"{v}={k}" for k, v in _CONTACT_TYPES.items()))
    choices += choice_entries("incident", "hold_reason", "2=Awaiting Evidence")
    columns = [
        column_entry("incident", "u_symptom:string"),
        column_entry("incident", "u_priority_confirmation:boolean"),
        column_entry("incident", "vendor:reference>core_company"),
    ]
    return schema_of([], columns, choices)
