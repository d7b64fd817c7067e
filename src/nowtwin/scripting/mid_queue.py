"""Outbound messages by way of a MID server: a row of ecc_queue (`queue=output`, topic RESTProbe) that waits for one.

The twin has no MID servers. A client may play one: it reads the row and writes its answer with `queue=input` and the
same `agent_correlator` (servicenow-api.md 8.1). The script gets its error at once, since it holds the instance's lock.
Which column holds the endpoint and which the method is open, so a switch.
"""

from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

from nowtwin.scripting.outbound import Message, Reply, Sent
from nowtwin.scripting.scope import Scope

QUEUE = "ecc_queue"
TOPIC = "RESTProbe"


def queue(scope: Scope, mid_server: str, correlator: str, message: Message, extra: Sequence[tuple[str, str]]) -> Sent:
    """File the message for a MID server; what comes back says that nobody has answered."""
    platform = scope.platform
    platform.prepare(QUEUE)
    place = {"source": message.endpoint, "name": message.method.lower()}
    if not platform.switches.ecc_endpoint_in_source:
        place = {"source": message.method.lower(), "name": message.endpoint}
    correlator = correlator or platform.records.new_id()
    row = {"agent": f"mid.server.{mid_server}", "topic": TOPIC, "queue": "output", "state": "ready", **place}
    row |= {"agent_correlator": correlator, "payload": _payload(message, extra)}
    platform.records.insert(QUEUE, row, scope.user, platform.switches)
    error = f"No response for ECC message request with agent_correlator {correlator}"
    return Sent(message.timeout, Reply(0, error=error, endpoint=message.endpoint))


def _payload(message: Message, extra: Sequence[tuple[str, str]]) -> str:
    told = [("method", message.method.lower()), ("content", message.body), ("endpoint", message.endpoint)]
    told += [(f"header_{name}", value) for name, value in message.headers]
    told += [(f"param_{name}", value) for name, value in message.query]
    inside = "".join(f"<parameter name={quoteattr(n)} value={quoteattr(v)}/>" for n, v in (*told, *extra))
    return f'<?xml version="1.0" encoding="UTF-8"?><parameters>{inside}</parameters>'
