"""The lock that IRE takes on its target, seen from outside: rows of `sys_mutex` that somebody else holds.

The twin runs one payload at a time, so its own calls queue up and never time out; a row with a target's name (the CI's
sys_id, or the class of a CI to be) makes the call fail as on a busy instance. Names of the rows are an assumption.
"""

from datetime import timedelta

from nowtwin.clock import STAMP
from nowtwin.instance import Instance
from nowtwin.records.selecting import find
from nowtwin.values import number_of

_MINUTES = 15
"""Default of glide.identification_engine.mutex_expiration_time (id-engine-error-messages.md)."""
_AT_MOST = 60.0 * 24 * 365


def held(instance: Instance, target: str) -> bool:
    """Whether somebody holds the lock of this target, acquired less than the expiration time ago."""
    row = find(instance, "sys_mutex", {"name": target}, ("acquired",))
    if row is None or not instance.switches.ire_locks_targets:
        return False
    minutes = number_of(instance.property("glide.identification_engine.mutex_expiration_time")) or _MINUTES
    return row["acquired"] > (instance.clock.now() - timedelta(minutes=min(float(minutes), _AT_MOST))).strftime(STAMP)
