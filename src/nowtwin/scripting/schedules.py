"""Scheduled scripts (sysauto_script): they run once the twin's clock has passed their time, in the scheduler's thread.

`run_time` is UTC, as it is stored. Looked at after every request and, while there are scheduled scripts, every second of real
time. A clock that jumps over several times of a script runs it once. Each has a row of sys_trigger that says when.
"""

import threading
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from nowtwin.clock import STAMP
from nowtwin.records.pipeline import texts_of
from nowtwin.schema.metadata import row_id
from nowtwin.scripting.engine import Engine
from nowtwin.scripting.jobs import Jobs
from nowtwin.scripting.platform import Platform
from nowtwin.scripting.scope import Running
from nowtwin.scripting.session import Frame
from nowtwin.values import number_of

TABLE = "sysauto_script"
_LOOK_EVERY = 1.0
_DAYS = 33
"""Within so many days every day of a month or week has come."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TRIGGER_TYPES = {"once": 0, "periodically": 1, "daily": 3, "weekly": 4, "monthly": 5}
Row = Mapping[str, str]


@dataclass(slots=True)
class _Plan:
    row: Row
    due: datetime | None


class Schedules:
    def __init__(self, platform: Platform, engine: Engine, jobs: Jobs) -> None:
        self._platform = platform
        self._engine = engine
        self._jobs = jobs
        self._lock = threading.Lock()
        self._version = 0
        self._plans: dict[str, _Plan] = {}
        self._stopped = threading.Event()
        self._watch: threading.Thread | None = None

    def stop(self) -> None:
        self._stopped.set()
        if self._watch:
            self._watch.join()

    def run_due(self) -> None:
        """Queue the scripts whose time has come."""
        with self._lock:
            self._follow()
            if not self._plans:
                return
            now = self._platform.clock.now()
            for plan in self._plans.values():
                following = next_time(plan.row, now)
                if plan.due and following and following < plan.due:  # the clock was set back
                    self._plan(plan, following)
                if plan.due and plan.due <= now:
                    self._queue(plan.row)
                    self._plan(plan, following)

    def execute_now(self, sys_id: str) -> bool:
        """Queue a script whatever its time, as its button does; False where there is no such script."""
        row = self._platform.storage.get(self._root(), sys_id)
        if row is None or row.get("sys_class_name") != TABLE:
            return False
        self._queue(texts_of(row))
        return True

    def _root(self) -> str:
        return self._platform.dictionary.root(TABLE)

    def _follow(self) -> None:
        """Take up what was written about schedules."""
        storage = self._platform.storage
        version = storage.versions.get(self._root(), 0)
        if version == self._version:
            return
        self._version = version
        with storage.lock:
            storage.ensure(self._root(), ("active", "script"))
            storage.ensure("sys_trigger")
            sql = f"SELECT sys_id FROM {self._root()} WHERE sys_class_name = ? AND ifnull(active, 'true') = 'true'"  # noqa: S608 - a fixed name
            found = (storage.get(self._root(), str(sys_id)) for (sys_id,) in storage.rows(sql, (TABLE,)))
            rows = {str(row["sys_id"]): texts_of(row) for row in found if row}
        now = self._platform.clock.now()
        known, self._plans = self._plans, {}
        for sys_id, row in rows.items():
            before = known.get(sys_id)
            self._plans[sys_id] = before if before and before.row == row else _Plan(row, None)
            if self._plans[sys_id] is not before:
                self._plan(self._plans[sys_id], first_time(row, now))
        for sys_id in known.keys() - rows.keys():
            storage.delete("sys_trigger", row_id("sys_trigger", sys_id))
        if rows and self._watch is None:
            self._watch = threading.Thread(target=self._look, name="nowtwin-schedules", daemon=True)
            self._watch.start()

    def _look(self) -> None:
        while not self._stopped.wait(_LOOK_EVERY):
            self.run_due()

    def _plan(self, plan: _Plan, due: datetime | None) -> None:
        plan.due = due
        row, stamp = plan.row, self._platform.clock.stamp()
        trigger = row_id("sys_trigger", row["sys_id"])
        storage = self._platform.storage
        if due is None:
            storage.delete("sys_trigger", trigger)
            return
        columns = {"sys_id": trigger, "sys_class_name": "sys_trigger", "name": row.get("name", ""), "state": "0"}
        columns |= {"next_action": due.strftime(STAMP), "document": TABLE, "document_key": row["sys_id"]}
        columns |= {"trigger_type": str(_TRIGGER_TYPES.get(row.get("run_type", ""), 0)), "sys_updated_on": stamp}
        storage.put_many("sys_trigger", list(columns), [list(columns.values())])

    def _queue(self, row: Row) -> None:
        self._jobs.queue(lambda: self._run(row), 0.0)

    def _run(self, row: Row) -> None:
        storage = self._platform.storage
        account = storage.get("sys_user", row["run_as"]) if row.get("run_as") else None
        user = self._platform.acting(str(account["user_name"]) if account else "system")
        frame = Frame(
            key=f"job {row['sys_id']}:{hash(row.get('script', ''))}",
            script=row.get("script", ""),
            condition=row.get("condition", "").strip() if row.get("conditional") == "true" else "",
        )
        self._engine.run(frame, Running(row.get("name", ""), row["sys_id"], "", TABLE), user)


# -- times ---------------------------------------------------------------------------------------------------------


def first_time(row: Row, now: datetime) -> datetime | None:
    """When a schedule written now is due first; one that runs once and is late is due now."""
    start = _moment(row.get("run_start", "")) or now
    kind = row.get("run_type", "daily")
    if kind == "once":
        return max(start, now.replace(microsecond=0))
    following = next_time(row, now)
    if kind == "periodically" and following and start >= now.replace(microsecond=0):
        return start
    return following


def next_time(row: Row, now: datetime) -> datetime | None:
    """The first time after now; None for what runs once, on demand, or on a calendar that is not known here."""
    kind = row.get("run_type", "daily")
    if kind == "periodically":
        return _next_period(row, now)
    day = timedelta(days=1)
    if kind not in {"daily", "weekly", "monthly"}:
        return None
    time = _moment(row.get("run_time", "")) or _EPOCH
    at = now.replace(hour=time.hour, minute=time.minute, second=time.second, microsecond=0)
    for later in range(_DAYS):
        due = at + later * day
        if due > now and _is_its_day(row, kind, due):
            return due
    return None  # a day that no week or month has


def _is_its_day(row: Row, kind: str, at: datetime) -> bool:
    if kind == "weekly":
        return at.isoweekday() == (number_of(row.get("run_dayofweek", "")) or 1)
    return kind == "daily" or at.day == _day_of_month(row, at)


def _next_period(row: Row, now: datetime) -> datetime | None:
    length = (_moment(row.get("run_period", "")) or _EPOCH) - _EPOCH
    if length <= timedelta():
        return None
    start = _moment(row.get("run_start", "")) or _EPOCH
    return start if start > now else start + ((now - start) // length + 1) * length


def _day_of_month(row: Row, at: datetime) -> float:
    return min(number_of(row.get("run_dayofmonth", "")) or 1, monthrange(at.year, at.month)[1])


def _moment(text: str) -> datetime | None:
    """A date-time, or a time of day on the first day there is."""
    whole = text if " " in text else f"1970-01-01 {text}"
    try:
        return datetime.strptime(whole, STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
