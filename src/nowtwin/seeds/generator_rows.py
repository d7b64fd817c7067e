"""Many full-width incident rows, fast: for benches and for tables of a million rows.

Shapes are made first, each a complete incident in some state with all columns that have a sensible value (about 80,
17 references, 4 lists, 14 choices); a row is a shape with a sys_id, a number, people and times of its own. So rows
cost microseconds, and still no two are alike in what identifies them. For lives of incidents see `generator`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from nowtwin.seeds.display_values import duration_of_seconds, stored
from nowtwin.seeds.generator import FIRST_NUMBER, opening
from nowtwin.seeds.generator_pool import Pool, demo_pool
from nowtwin.seeds.references import Row

SPAN_START: Final = datetime(2022, 1, 1, tzinfo=UTC)
_SPAN_DAYS: Final = 730
_SHAPES: Final = 512
_DAY: Final = 86_400
_MINUTES_OF_A_DAY: Final = tuple(f"{minute // 60:02d}:{minute % 60:02d}" for minute in range(1_440))
_SECONDS: Final = tuple(f":{second:02d}" for second in range(60))
_LATEST_DELAY_DAYS: Final = 60
# stored state -> weight
_STATES: Final = {"1": 10, "2": 18, "3": 7, "6": 8, "7": 54, "8": 3}
_SETTLED: Final = frozenset({"6", "7"})
_OVER: Final = frozenset({"7", "8"})


def generate_incidents(seed: int, n: int, *, first_number: int = FIRST_NUMBER) -> Iterator[Row]:
    """`n` stored rows of `incident` with system columns; the rows they point at are those of the demo."""
    random = Random(seed)  # noqa: S311 - data, not secrets
    pool = demo_pool()
    shapes = [_Shape(random, pool) for _ in range(_SHAPES)]
    days = _days()
    for number in range(first_number, first_number + n):
        yield random.choice(shapes).row(random, pool, f"INC{number:07d}", days)


def _days() -> tuple[str, ...]:
    """The dates of the span and of the longest life after it."""
    return tuple(
        (SPAN_START + timedelta(days=day)).strftime("%Y-%m-%d") for day in range(_SPAN_DAYS + _LATEST_DELAY_DAYS)
    )


class _Shape:
    """An incident without identity: `fixed` columns, and how long after opening each of the `delays` came (seconds)."""

    def __init__(self, random: Random, pool: Pool) -> None:
        profile = random.choice(pool.profiles)
        state = random.choices(list(_STATES), weights=list(_STATES.values()))[0]
        caller, agent = random.choice(pool.callers), random.choice(pool.resolvers)
        self.fixed = {**opening(profile, caller, agent, "", ""), **_wide(random, pool)}
        self.fixed |= {"state": state, "incident_state": state, "active": "false" if state in _OVER else "true"}
        self.delays: dict[str, int] = {"sys_created_on": 0, "expected_start": 3_600, "activity_due": 7_200}
        self.delays |= {"due_date": 5 * _DAY, "follow_up": 2 * _DAY, "sla_due": 3 * _DAY}
        self.assigned = state != "1"
        self._settle(random, pool, state)
        self.delays["sys_updated_on"] = max(self.delays.get(e, 600) for e in ("closed_at", "resolved_at", "work_end"))

    def _settle(self, random: Random, pool: Pool, state: str) -> None:
        if self.assigned:
            self.delays["work_start"] = random.randrange(600, 4 * 3_600, 60)
        if state == "3":
            self.fixed["hold_reason"] = random.choice(("1", "3", "4", "5"))
        if state in _SETTLED:
            self._resolve(random, pool)
        if state in _OVER:
            resolved = self.delays.get("resolved_at", _DAY)
            self.delays["closed_at"] = resolved + random.randrange(_DAY, 8 * _DAY, 60)
            self.fixed["closed_by"] = random.choice(pool.resolvers).sys_id

    def _resolve(self, random: Random, pool: Pool) -> None:
        seconds = min(int(random.lognormvariate(11, 1.2)) // 60 * 60 + 4 * 3_600, 40 * _DAY)
        self.delays |= {"resolved_at": seconds, "work_end": seconds, "reopened_time": seconds // 120 * 60}
        self.fixed |= {
            "calendar_duration": duration_of_seconds(seconds),
            "calendar_stc": str(seconds),
            "business_duration": duration_of_seconds(seconds // 3),
            "business_stc": str(seconds // 3),
            "time_worked": duration_of_seconds(seconds // 10),
            "close_code": random.choice(pool.close_codes),
            "close_notes": "Settled with the caller.",
            "cause": "Found in the log of the configuration item.",
            "resolved_by": random.choice(pool.resolvers).sys_id,
            "reopened_by": random.choice(pool.callers).sys_id,
            "reopen_count": "1",
        }

    def row(self, random: Random, pool: Pool, number: str, days: tuple[str, ...]) -> Row:
        caller = random.choice(pool.callers)
        opened = int(random.random() * _SPAN_DAYS * 1_440)
        second = _SECONDS[int(random.random() * 60)]
        row = self.fixed.copy()
        row["sys_id"] = f"{random.getrandbits(128):032x}"
        row["number"] = row["task_effective_number"] = row["correlation_id"] = number
        row["caller_id"] = caller.sys_id
        row["company"] = caller.company
        row["location"] = caller.location
        if self.assigned:
            agent = random.choice(pool.resolvers)
            row["assigned_to"] = agent.sys_id
            row["sys_updated_by"] = agent.user_name
        row["opened_at"] = _moment(days, opened) + second
        for element, seconds in self.delays.items():
            row[element] = _moment(days, opened + seconds // 60) + second
        return row


def _moment(days: tuple[str, ...], minute: int) -> str:
    day, minute_of_day = divmod(minute, 1_440)
    return f"{days[day]} {_MINUTES_OF_A_DAY[minute_of_day]}"


def _wide(random: Random, pool: Pool) -> Row:
    """Columns that most incidents leave empty, filled, so that a row is as wide as a row can be."""
    people = [person.sys_id for person in random.sample(pool.callers, 4)]
    problem, change = random.choice(pool.problems), random.choice(pool.changes)
    parent = random.choice(pool.incidents)
    return {
        "sys_created_by": "admin",
        "sys_updated_by": "admin",
        "sys_mod_count": str(random.randrange(1, 30)),
        "cmdb_ci": random.choice(pool.cis),
        "problem_id": problem,
        "parent": problem,
        "parent_incident": parent,
        "rfc": change,
        "caused_by": change,
        "watch_list": ",".join(people[:2]),
        "work_notes_list": people[2],
        "additional_assignee_list": people[3],
        "group_list": random.choice(list(pool.groups.values())),
        "origin_table": "incident",
        "origin_id": parent,
        "approval_set": stored(SPAN_START),
        "business_impact": "The team works more slowly.",
        "correlation_display": "monitoring",
        "order": str(random.randrange(100)),
        "route_reason": "1",
        "user_input": "none",
        "reassignment_count": str(random.randrange(4)),
        "child_incidents": str(random.randrange(3)),
    }
