"""What a caller gets who is too much for the instance: turned away at a full queue, or cut off when his transaction
takes too long (servicenow-api.md 1.8, 1.9, 10).

Time here is the service time of the twin's latency (seconds per record), not the time that this process takes.
"""

import re
from dataclasses import replace
from typing import Final

from nowtwin.behaviour.faults import Latency
from nowtwin.behaviour.switches import Switches
from nowtwin.http.messages import Answer
from nowtwin.limits.admission import Turned
from nowtwin.limits.fault_answers import cancelled, overloaded, page_cancelled

_QUOTED: Final = re.compile(r"/api/now(?:/v\d)?/(?:table|stats|attachment|import)(?:/|$)")
"""APIs with a default quota rule (D:platform-administration/platform-performance/c_DefaultQuotaRules.md)."""


def documented_limits(switches: Switches) -> Switches:
    """The numbers of an instance: 4 REST requests and 16 others at a time per node, 10 queued per session (10, 1.9)."""
    return replace(switches, api_semaphore=4, page_semaphore=16, session_queue=10)


def turned_away(place: Turned, switches: Switches) -> Answer:
    """202 without a body at a full session queue; 429, often not JSON, at a full semaphore queue."""
    if place == "session":
        return Answer(202, content_type=None)
    return overloaded(in_json=switches.overload_in_json)


def in_time(answer: Answer, path: str, latency: Latency, switches: Switches) -> tuple[Answer, float]:
    """The answer as far as the transaction quota lets it come, and the service time that it takes."""
    seconds = latency.service_time * answer.rows if answer.seconds is None else answer.seconds
    if not path.startswith("/api/") and seconds > switches.page_quota_seconds:
        return page_cancelled(), switches.page_quota_seconds
    if seconds <= switches.quota_seconds or not _QUOTED.match(path):
        return answer, seconds
    return cancelled(answer, int(switches.quota_seconds / latency.service_time)), switches.quota_seconds
