"""Resolved incidents are closed after some days: the job "Autoclose Incidents" with its rule "incident autoclose" (11.1).

Properties: glide.ui.autoclose.time (days; 0 never) and com.snc.incident.autoclose.basedon.resolved_at (otherwise days
count from the last update). The job runs hourly here (an assumption). What a policy refuses stays resolved and is logged.
"""

from datetime import datetime, timedelta

from nowtwin.clock import STAMP
from nowtwin.errors import Refused
from nowtwin.query.parse import parse
from nowtwin.records.ground import Ground
from nowtwin.records.selecting import select
from nowtwin.values import number_of

_EVERY = timedelta(hours=1)
_AT_MOST_DAYS = 36_500.0
_RESOLVED, _CLOSED = "6", "7"


class Autoclose:
    def __init__(self, instance: Ground) -> None:
        self._instance = instance
        self._due: datetime | None = None

    def run_due(self) -> None:
        """Run the job if its time has come; called with every request, so that the clock may be set at will."""
        now = self._instance.clock.now()
        if self._due is None or self._due - now > _EVERY:  # never yet, or the clock was set back
            self._due = now + _EVERY
        elif now >= self._due:
            self.run_job()

    def run_job(self) -> int:
        """Close what is due now; how many incidents that were."""
        instance = self._instance
        now = instance.clock.now()
        self._due = now + _EVERY
        set_to = number_of(instance.property("glide.ui.autoclose.time"))
        days = instance.switches.incident_autoclose_days if set_to is None else set_to
        if days <= 0:
            return 0
        updated = instance.property("com.snc.incident.autoclose.basedon.resolved_at") == "false"
        since = "sys_updated_on" if updated else "resolved_at"
        before = (now - timedelta(days=min(float(days), _AT_MOST_DAYS))).strftime(STAMP)
        with instance.storage.lock:
            rows = select(instance, "incident", parse(f"state={_RESOLVED}^{since}<{before}"), ("resolved_by",))
            return sum(self._close(row["sys_id"], row["resolved_by"]) for row in rows)

    def _close(self, sys_id: str, resolved_by: str) -> bool:
        instance = self._instance
        record = instance.records.read("incident", sys_id)
        values = {"state": _CLOSED} | ({"closed_by": resolved_by} if resolved_by else {})
        if record is None:
            return False
        try:
            instance.records.update(record, values, instance.acting("system"), instance.switches)
        except Refused as refused:
            message = f"Autoclose Incidents: {record.values.get('number', sys_id)}: {refused.detail or refused.message}"
            instance.load("syslog", [{"level": "2", "source": "Autoclose Incidents", "message": message}])
            return False
        return True
