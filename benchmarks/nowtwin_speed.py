"""How fast nowtwin serves: `python -m benchmarks.nowtwin_speed [ROWS]`. One process holds client and server.

Rows are incidents with 40 filled columns; pages of 1,000 in sys_id order with their count, read without parsing, so that the
emulator is what is measured.
"""

import base64
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from random import Random
from urllib.parse import quote, urlsplit

from nowtwin.instance import Instance
from nowtwin.testing import serve

PAGE = 1_000
PAGES = 20
WRITES = 500
_FIXED = dict.fromkeys(("active", "made_sla"), "true") | {
    "knowledge": "false",
    "category": "software",
    "subcategory": "email",
    "contact_type": "phone",
    "approval": "not requested",
    "upon_approval": "proceed",
    "upon_reject": "cancel",
    "sys_domain": "global",
    "sys_domain_path": "/",
    "impact": "3",
    "urgency": "3",
    "priority": "5",
    "severity": "3",
    "notify": "1",
    "escalation": "0",
    "reassignment_count": "2",
    "reopen_count": "0",
    "child_incidents": "0",
    "sys_mod_count": "4",
    "description": "It is broken. " * 10,
}


def incidents(count: int, users: list[str], random: Random) -> Iterator[dict[str, str]]:
    for number in range(count):
        day = f"{random.randint(1, 12):02d}-{random.randint(1, 28):02d}"
        stamp = f"2025-{day} {random.randint(0, 23):02d}:{random.randint(0, 59):02d}:00"
        times = ("opened_at", "closed_at", "resolved_at", "sys_created_on", "sys_updated_on")
        people = ("caller_id", "opened_by", "assigned_to", "closed_by", "resolved_by")
        yield (
            _FIXED
            | dict.fromkeys(times, stamp)
            | dict.fromkeys(people, random.choice(users))
            | dict.fromkeys(("number", "task_effective_number"), f"INC{number:07d}")
            | dict.fromkeys(("state", "incident_state"), random.choice(("1", "2", "3", "6", "7")))
            | {"short_description": f"Something broke, number {number}"}
        )


class Client:
    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._connection = HTTPConnection(place.hostname or "", place.port or 0)
        self._headers = {"Authorization": "Basic " + base64.b64encode(b"admin:admin").decode()}
        self.ask("GET", "table/sys_user?sysparm_limit=1")

    def ask(self, method: str, target: str, body: object = None, *, packed: bool = False) -> bytes:
        headers = self._headers | ({"Accept-Encoding": "gzip"} if packed else {})
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            headers |= {"Content-Type": "application/json"}
        self._connection.request(method, f"/api/now/{quote(target, safe='/?&=,')}", content, headers)
        answer = self._connection.getresponse()
        data = answer.read()
        assert answer.status < 300, data
        if cookie := answer.getheader("Set-Cookie"):
            self._headers |= {"Cookie": cookie.partition(";")[0]}
        return data


def sweep(client: Client, cursors: list[str], params: str, *, packed: bool = False) -> float:
    """Rows per second over pages that start behind each cursor."""
    started = time.perf_counter()
    for cursor in cursors:
        query = f"sys_id>{cursor}^ORDERBYsys_id"
        client.ask("GET", f"table/incident?sysparm_query={query}&sysparm_limit={PAGE}{params}", packed=packed)
    return PAGE * len(cursors) / (time.perf_counter() - started)


def per_second(count: int, act: Callable[[int], object]) -> float:
    started = time.perf_counter()
    for number in range(count):
        act(number)
    return count / (time.perf_counter() - started)


def report(name: str, figure: float, unit: str) -> None:
    print(f"{name:<58} {figure:>12,.0f} {unit}", flush=True)


def run(rows: int) -> None:
    random = Random(1)
    users = [f"{random.getrandbits(128):032x}" for _ in range(500)]
    with Instance() as instance:
        instance.load(
            "sys_user", ({"sys_id": u, "user_name": f"u{n}", "name": f"User {n}"} for n, u in enumerate(users))
        )
        started = time.perf_counter()
        instance.load("incident", incidents(rows, users, random))
        report(f"load {rows:,} incidents", rows / (time.perf_counter() - started), "rows/s")
        with serve(instance) as server:
            measure(Client(server.url), rows)
    report("resident memory, highest", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB")


def measure(client: Client, rows: int) -> None:
    # Places spread over the id space, far enough from its end that every page is full.
    pages = max(1, min(PAGES, rows // PAGE - 1))
    last = (rows - PAGE) / rows
    cursors = [f"{int(2**128 * last * place / pages):032x}" for place in range(pages)]
    sweep(client, cursors, "")
    report("full width, stored values", sweep(client, cursors, ""), "rows/s")
    report("full width, stored values, gzip", sweep(client, cursors, "", packed=True), "rows/s")
    report("full width, display_value=all", sweep(client, cursors, "&sysparm_display_value=all"), "rows/s")
    lean = "&sysparm_exclude_reference_link=true&sysparm_no_count=true&sysparm_suppress_pagination_header=true"
    report("full width, no links, no count, gzip", sweep(client, cursors, lean, packed=True), "rows/s")
    keys = "&sysparm_fields=sys_id,sys_mod_count,sys_updated_on"
    report("keys only", sweep(client, cursors, keys), "rows/s")
    inserts = per_second(WRITES, lambda n: client.ask("POST", "table/incident", {"short_description": f"new {n}"}))
    report("inserts", inserts, "per s")
    record = json.loads(client.ask("POST", "table/incident", {}))["result"]["sys_id"]
    updates = per_second(WRITES, lambda n: client.ask("PATCH", f"table/incident/{record}", {"description": f"{n}"}))
    report("updates of an audited record", updates, "per s")


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
