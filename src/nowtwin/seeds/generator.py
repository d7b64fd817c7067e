"""Lives of incidents, generated: for when no recorded log is at hand.

An incident is opened, assigned, worked on, put on hold, reassigned, reopened, resolved and closed, or canceled, or
still open at the end, in three to eight saved states. Profiles and people come from the demo records (see
`generator_pool`). The same seed gives the same changes, on every machine.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from nowtwin.seeds.display_values import duration_of_seconds, stored
from nowtwin.seeds.generator_pool import Person, Pool, demo_pool
from nowtwin.seeds.history import Change, Operation
from nowtwin.seeds.references import Row

START: Final = datetime(2024, 1, 1, 8, 0, tzinfo=UTC)
FIRST_NUMBER: Final = 100_001
MEAN_MINUTES_BETWEEN_INCIDENTS: Final = 12.0
_CANCELED, _LEFT_OPEN, _HELD, _REASSIGNED, _REOPENED = 0.03, 0.12, 0.35, 0.25, 0.08
_HOLD_REASONS: Final = ("1", "1", "1", "3", "4", "4", "5")
# Median minutes until the next save, by what the save does; drawn log-normally around it.
_MEDIAN_MINUTES: Final = {"assign": 20, "start": 45, "hold": 90, "resume": 900, "reassign": 120, "resolve": 240}
_CLOSE_AFTER: Final = timedelta(days=7)

Steps = Sequence[str]


def generate_history(seed: int, incidents: int = 5_000) -> list[Change]:
    """The saves of that many incidents in time order: inserts with all values, updates with the changed ones.

    Times run from `START`, numbers from INC0100001. The rows pointed at are those of the demo.
    """
    random = Random(seed)  # noqa: S311 - data, not secrets
    pool = demo_pool()
    opened = START
    changes: list[Change] = []
    for number in range(FIRST_NUMBER, FIRST_NUMBER + incidents):
        opened += timedelta(seconds=round(random.expovariate(1 / MEAN_MINUTES_BETWEEN_INCIDENTS) * 60))
        changes.extend(_Life(random, pool, f"INC{number:07d}", opened).changes())
    changes.sort(key=lambda change: (change.at, change.sys_id))
    return changes


def steps_of_a_life(random: Random) -> Steps:
    """What happens to an incident after it was opened: two to seven saves."""
    if random.random() < _CANCELED:
        return ("assign", "cancel")
    steps = ["assign", "start"]
    if random.random() < _REASSIGNED:
        steps.append("reassign")
    held = random.random() < _HELD
    if held:
        steps += ["hold", "resume"]
    if random.random() < _LEFT_OPEN:
        return steps[:-1] if held else steps
    steps.append("resolve")
    if not held and random.random() < _REOPENED:
        steps += ["reopen", "resolve"]
    return [*steps, "close"]


class _Life:
    """One incident while it is lived; `row` is what is stored so far."""

    def __init__(self, random: Random, pool: Pool, number: str, opened: datetime) -> None:
        self._random = random
        self._pool = pool
        self._at = opened
        self._opened = opened
        self._caller = random.choice(pool.callers)
        self._agent = random.choice(pool.resolvers)
        self._sys_id = f"{random.getrandbits(128):032x}"
        self._row = opening(random.choice(pool.profiles), self._caller, self._agent, number, stored(opened))

    def changes(self) -> Iterator[Change]:
        values = dict(self._row)
        yield Change(Operation.INSERT, "incident", self._sys_id, values, self._agent.user_name, self._at)
        for step in steps_of_a_life(self._random):
            self._at += self._pause(step)
            values = _STEPS[step](self)
            self._row.update(values)
            yield Change(Operation.UPDATE, "incident", self._sys_id, values, self._agent.user_name, self._at)

    def _pause(self, step: str) -> timedelta:
        if step == "close":
            return _CLOSE_AFTER
        minutes = _MEDIAN_MINUTES.get(step, 120) * self._random.lognormvariate(0, 0.9)
        return timedelta(seconds=max(round(minutes * 60), 1))

    def assign(self) -> Row:
        self._agent = self._random.choice(self._pool.resolvers)
        return {"assigned_to": self._agent.sys_id}

    def start(self) -> Row:
        return {**_state("2"), "work_notes": f"{self._agent.name} has started to work on this."}

    def reassign(self) -> Row:
        others = [sys_id for sys_id in self._pool.groups.values() if sys_id != self._row["assignment_group"]]
        self._agent = self._random.choice(self._pool.resolvers)
        return {
            "assignment_group": self._random.choice(others),
            "assigned_to": self._agent.sys_id,
            "reassignment_count": str(int(self._row["reassignment_count"]) + 1),
        }

    def hold(self) -> Row:
        reason = self._random.choice(_HOLD_REASONS)
        values = {**_state("3"), "hold_reason": reason}
        return values | ({"comments": "Could you send more details, please?"} if reason == "1" else {})

    def resume(self) -> Row:
        return {**_state("2"), "hold_reason": ""}

    def resolve(self) -> Row:
        return {
            **_state("6"),
            "close_code": self._random.choice(self._pool.close_codes),
            "close_notes": f"Settled with {self._caller.name}.",
            "resolved_at": stored(self._at),
            "resolved_by": self._agent.sys_id,
            **_durations(self._opened, self._at),
        }

    def reopen(self) -> Row:
        return {
            **_state("2"),
            "reopen_count": str(int(self._row["reopen_count"]) + 1),
            "reopened_time": stored(self._at),
            "reopened_by": self._caller.sys_id,
            "comments": "It happened again.",
            **dict.fromkeys(("close_code", "close_notes", "resolved_at", "resolved_by"), ""),
        }

    def close(self) -> Row:
        return {
            **_state("7"),
            "active": "false",
            "closed_at": stored(self._at),
            "closed_by": self._agent.sys_id,
            "made_sla": "true" if self._at - self._opened < timedelta(days=10) else "false",
        }

    def cancel(self) -> Row:
        return {
            **_state("8"),
            "active": "false",
            "close_code": "No resolution provided",
            "close_notes": "Withdrawn by the caller.",
            "closed_at": stored(self._at),
            "closed_by": self._agent.sys_id,
        }


_STEPS: Final = {
    "assign": _Life.assign,
    "start": _Life.start,
    "reassign": _Life.reassign,
    "hold": _Life.hold,
    "resume": _Life.resume,
    "resolve": _Life.resolve,
    "reopen": _Life.reopen,
    "close": _Life.close,
    "cancel": _Life.cancel,
}


def _state(value: str) -> Row:
    return {"state": value, "incident_state": value}


def _durations(opened: datetime, resolved: datetime) -> Row:
    seconds = int((resolved - opened).total_seconds())
    business = seconds * 8 // 24
    return {
        "calendar_duration": duration_of_seconds(seconds),
        "calendar_stc": str(seconds),
        "business_duration": duration_of_seconds(business),
        "business_stc": str(business),
    }


def opening(profile: Row, caller: Person, agent: Person, number: str, opened_at: str) -> Row:
    """A new incident, all that a service desk fills in; stored values without the system columns."""
    row = {
        **profile,
        "number": number,
        "task_effective_number": number,
        "caller_id": caller.sys_id,
        "opened_by": agent.sys_id,
        "opened_at": opened_at,
        "company": caller.company,
        "location": caller.location,
        "description": f"{profile.get('description', profile['short_description'])}\n\nReported by {caller.name}.",
        "state": "1",
        "incident_state": "1",
        "active": "true",
        "approval": "not requested",
        "upon_approval": "proceed",
        "upon_reject": "cancel",
        "escalation": "0",
        "knowledge": "false",
        "made_sla": "true",
        "reassignment_count": "0",
        "reopen_count": "0",
        "child_incidents": "0",
        "sys_domain": "global",
        "sys_domain_path": "/",
    }
    return {element: value for element, value in row.items() if value}
