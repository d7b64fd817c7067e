"""The `javascript:` helpers of encoded queries (servicenow-api.md 2.6), worked out at the twin's clock in the zone of
the session's user. Results are stored values (UTC). What cannot be evaluated is None, and the renderer drops the term.

Weeks start on Monday (D:r_AvailableSystemProperties, `glide.ui.date_format.first_day_of_week` is 2 by default).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from nowtwin.clock import STAMP

_CALL = re.compile(r"(?:javascript:)?\s*gs\.(\w+)\(\s*(.*?)\s*\)\s*;?\s*", re.DOTALL)
_ARGUMENT = re.compile(r"""'([^']*)'|"([^"]*)"|(-?\d+)""")
MONTHS_OF_QUARTER = 3
MONTHS_OF_YEAR = 12


@dataclass(frozen=True, slots=True)
class Moment:
    """Who asks and when: what the helpers depend on."""

    now: datetime
    zone: ZoneInfo
    user_id: str
    user_name: str


def evaluate(script: str, moment: Moment) -> str | None:
    """The value of a `javascript:` term, or None where this twin cannot evaluate it."""
    spelled = _CALL.fullmatch(script.strip())
    if not spelled:
        return None
    name, inside = spelled.groups()
    arguments = [a or b or c for a, b, c in _ARGUMENT.findall(inside)]
    if name in {"getUserID", "getUserName", "getUserDisplayName"}:
        return moment.user_id if name == "getUserID" else moment.user_name
    if name == "dateGenerate":
        return _date_generate(arguments, moment)
    if name in {"now", "nowDateTime", "nowNoTZ"}:
        return moment.now.strftime(STAMP)
    try:
        local = _named(name, arguments, moment.now.astimezone(moment.zone))
        return None if local is None else to_utc(local)
    except (OverflowError, ValueError):  # beyond the years that there are
        return None


def to_utc(local: datetime) -> str:
    return local.astimezone(UTC).strftime(STAMP)


def _date_generate(arguments: list[str], moment: Moment) -> str | None:
    if not arguments:
        return None
    time = arguments[1] if len(arguments) > 1 else "start"
    clock = {"start": "00:00:00", "end": "23:59:59"}.get(time, time)
    try:
        local = datetime.strptime(f"{arguments[0]} {clock}", STAMP).replace(tzinfo=moment.zone)
    except ValueError:
        return None
    return to_utc(local)


def _named(name: str, arguments: list[str], local: datetime) -> datetime | None:
    if spelled := re.fullmatch(r"(beginning|end)Of(\w+)", name):
        return _edge(spelled[1], spelled[2], local)
    if spelled := re.fullmatch(r"(minutes|hours|days|weeks|months|quarters|years)Ago(Start|End)?", name):
        if not arguments or not re.fullmatch(r"-?\d+", arguments[0]):
            return None
        unit = spelled[1].removesuffix("s")
        then = shift(local, unit, -int(arguments[0]))
        if spelled[2] is None:
            return then
        start = floor(then, unit)
        return start if spelled[2] == "Start" else shift(start, unit, 1) - timedelta(seconds=1)
    return None


_PERIODS: dict[str, tuple[str, int]] = {
    "Today": ("day", 0),
    "Yesterday": ("day", -1),
    "Tomorrow": ("day", 1),
    "CurrentHour": ("hour", 0),
    "ThisHour": ("hour", 0),
    "LastHour": ("hour", -1),
    "CurrentMinute": ("minute", 0),
    "ThisMinute": ("minute", 0),
    "LastMinute": ("minute", -1),
}
for _unit in ("week", "month", "quarter", "year"):
    for _prefix, _distance in (("This", 0), ("Last", -1), ("Next", 1)):
        _PERIODS[_prefix + _unit.capitalize()] = (_unit, _distance)


def _edge(side: str, period: str, local: datetime) -> datetime | None:
    if period.startswith("Last") and period.endswith("Months"):
        count = {"Last3Months": 3, "Last6Months": 6, "Last12Months": 12}.get(period)
        return None if count is None else floor(shift(local, "month", -count), "day")
    if period not in _PERIODS:
        return None
    unit, distance = _PERIODS[period]
    start = shift(floor(local, unit), unit, distance)
    return start if side == "beginning" else shift(start, unit, 1) - timedelta(seconds=1)


def floor(local: datetime, unit: str) -> datetime:
    """The start of the minute, hour, day, week, month, quarter or year that holds this local time."""
    if unit == "minute":
        return local.replace(second=0, microsecond=0)
    if unit == "hour":
        return local.replace(minute=0, second=0, microsecond=0)
    day = local.replace(hour=0, minute=0, second=0, microsecond=0)
    quarter = (day.month - 1) // MONTHS_OF_QUARTER * MONTHS_OF_QUARTER + 1
    starts = {
        "week": day - timedelta(days=day.weekday()),
        "month": day.replace(day=1),
        "quarter": day.replace(day=1, month=quarter),
        "year": day.replace(day=1, month=1),
    }
    return starts.get(unit, day)


_SPANS: dict[str, Callable[[int], timedelta]] = {
    "second": lambda n: timedelta(seconds=n),
    "minute": lambda n: timedelta(minutes=n),
    "hour": lambda n: timedelta(hours=n),
    "day": lambda n: timedelta(days=n),
    "dayofweek": lambda n: timedelta(days=n),
    "week": lambda n: timedelta(weeks=n),
}
_MONTHS = {"month": 1, "quarter": MONTHS_OF_QUARTER, "year": MONTHS_OF_YEAR}


def shift(local: datetime, unit: str, count: int) -> datetime:
    """`count` units later; months keep the day where the month has it, else its last."""
    if unit in _SPANS:
        return local + _SPANS[unit](count)
    months = local.year * MONTHS_OF_YEAR + local.month - 1 + _MONTHS[unit] * count
    year, month = divmod(months, MONTHS_OF_YEAR)
    first = local.replace(year=year, month=month + 1, day=1)
    last = (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    return first.replace(day=min(local.day, last.day))


def relative(spec: str, moment: Moment, edge: str = "") -> str | None:
    """The moment that `@hour@ago@1` names, or None; with `edge` `start` or `end` that of the unit that holds it."""
    spelled = re.fullmatch(r"@(\w+)@(ago|ahead)@(\d+)", spec.strip())
    if not spelled or (spelled[1] not in _SPANS and spelled[1] not in _MONTHS):
        return None
    count = int(spelled[3]) if spelled[2] == "ahead" else -int(spelled[3])
    try:
        local = shift(moment.now.astimezone(moment.zone), spelled[1], count)
        if edge and spelled[1] != "second":
            local = floor(local, spelled[1])
        return to_utc(shift(local, spelled[1], 1) - timedelta(seconds=1) if edge == "end" else local)
    except (OverflowError, ValueError):
        return None


def seconds_of(unit: str, count: int) -> int | None:
    """A distance in seconds, for MORETHAN and LESSTHAN; months count 30 days."""
    days = {"month": 30, "quarter": 91, "year": 365}
    if unit in days:
        return days[unit] * count * 86400
    if unit not in _SPANS:
        return None
    return int(_SPANS[unit](count).total_seconds())
