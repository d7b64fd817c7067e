"""How fast nowtwin serves: pages of 1,000 full-width incidents, writes under a rule that runs JavaScript, the start with the
demo data, and the memory of a million rows.

Each round is a process of its own that holds client and server (`python -m benchmarks.nowtwin_speed ROWS` is one), so a figure
is of one core. Rows are incidents with 40 filled columns; pages are read in sys_id order with their count, without
parsing, so that the emulator is what is measured.
"""

from __future__ import annotations

import base64
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.client import HTTPConnection
from random import Random
from urllib.parse import quote, urlsplit

from benchmarks.result import Measure, Options, Ratio, Result
from nowtwin.instance import Instance
from nowtwin.testing import serve

NAME = "nowtwin"
ROWS = 100_000
MANY = 1_000_000
PAGE = 1_000
PAGES = 20
WRITES = 500
STORED, SHOWN = "full width, stored values", "full width, display_value=all, row and field ACLs"
INSERTS, UPDATES = "inserts under a business rule", "updates under a business rule"
START, MEMORY = "start with the demo data", "resident memory, highest"
LEAST = ((STORED, 5_000), (SHOWN, 1_500), (INSERTS, 300), (UPDATES, 300))
MOST_SECONDS, MOST_MB = 3.0, 1024
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
    def __init__(self, url: str, user: str = "admin", password: str = "admin") -> None:
        place = urlsplit(url)
        self._connection = HTTPConnection(place.hostname or "", place.port or 0)
        self._headers = {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
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


def measured(rows: int) -> dict[str, float]:
    """One round: figures by name, rates per second and memory in MB."""
    random = Random(1)
    users = [f"{random.getrandbits(128):032x}" for _ in range(500)]
    with Instance() as instance:
        people = ({"sys_id": u, "user_name": f"u{n}", "name": f"User {n}"} for n, u in enumerate(users))
        instance.load("sys_user", people)
        started = time.perf_counter()
        instance.load("incident", incidents(rows, users, random))
        figures = {"load": rows / (time.perf_counter() - started)}
        with serve(instance) as server:
            client = Client(server.url)
            figures |= reads(client, rows)
            figures[SHOWN] = shown_under_rules(instance, server.url, rows)
            figures |= writes(instance, client)
    return figures | {MEMORY: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def places(rows: int) -> list[str]:
    """Cursors spread over the id space, far enough from its end that every page is full."""
    pages = max(1, min(PAGES, rows // PAGE - 1))
    last = (rows - PAGE) / rows
    return [f"{int(2**128 * last * place / pages):032x}" for place in range(pages)]


def reads(client: Client, rows: int) -> dict[str, float]:
    cursors = places(rows)
    sweep(client, cursors, "")
    lean = "&sysparm_exclude_reference_link=true&sysparm_no_count=true&sysparm_suppress_pagination_header=true"
    return {
        STORED: sweep(client, cursors, ""),
        "full width, stored values, gzip": sweep(client, cursors, "", packed=True),
        "full width, display_value=all, admin": sweep(client, cursors, "&sysparm_display_value=all"),
        "full width, no links, no count, gzip": sweep(client, cursors, lean, packed=True),
        "keys only": sweep(client, cursors, "&sysparm_fields=sys_id,sys_mod_count,sys_updated_on"),
    }


def shown_under_rules(instance: Instance, url: str, rows: int) -> float:
    """What an account reads whose rows and columns are held against access control lists, conditions among them."""
    switches = instance.switches
    instance.switches = replace(switches, access_control=True)
    instance.add_user("reader", "reader", roles=("sn_incident_read",))
    rule = {"operation": "read", "type": "record", "active": "true"}
    named = {"incident": "numberISNOTEMPTY", "incident.category": "state!=7", "incident.description": ""}
    instance.load("sys_security_acl", [{**rule, "name": name, "condition": text} for name, text in named.items()])
    reader = Client(url, "reader", "reader")
    rate = sweep(reader, places(rows), "&sysparm_display_value=all")
    page = json.loads(reader.ask("GET", f"table/incident?sysparm_limit={PAGE}"))["result"]
    if len(page) != min(PAGE, rows) or {"category" in row for row in page} != {True, False}:
        raise AssertionError("the rules on columns did not tell rows apart")
    instance.switches = switches
    return rate


def writes(instance: Instance, client: Client) -> dict[str, float]:
    rule = {
        "name": "Shout",
        "collection": "incident",
        "when": "before",
        "action_insert": "true",
        "action_update": "true",
    }
    script = "(function executeRule(current) { current.close_notes = current.short_description + '!'; })(current);"
    instance.load("sys_script", [{**rule, "active": "true", "advanced": "true", "order": "100", "script": script}])
    inserts = per_second(WRITES, lambda n: client.ask("POST", "table/incident", {"short_description": f"new {n}"}))
    made = json.loads(client.ask("POST", "table/incident", {"short_description": "a"}))["result"]
    if made["close_notes"] != "a!":
        raise AssertionError("the business rule did not run")
    target = f"table/incident/{made['sys_id']}"
    return {
        INSERTS: inserts,
        UPDATES: per_second(WRITES, lambda n: client.ask("PATCH", target, {"description": f"{n}"})),
    }


def start_seconds() -> float:
    """From the command to the line that says that it is ready."""
    command = [sys.executable, "-m", "nowtwin.cli", "serve", "--port", "0"]
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline() if process.stdout else ""
        taken = time.perf_counter() - begun
        process.terminate()
    if not line.startswith("nowtwin ready"):
        raise AssertionError("nowtwin did not become ready")
    return taken


def run(options: Options) -> Result:
    """The speeds of tables of 100,000 rows and the memory of 1,000,000, unless another number is asked for."""
    asked = options.rows if options.rows != Options().rows else None
    rounds = [_apart(asked or ROWS) for _ in range(options.rounds)]
    starts = tuple(start_seconds() for _ in range(options.rounds))
    memory = _apart(asked or MANY)[MEMORY]
    peak = max(figures[MEMORY] for figures in rounds)
    rates = [name for name in rounds[0] if name != MEMORY]
    measures = [Measure(name, "per s", tuple(figures[name] for figures in rounds), peak) for name in rates]
    measures += [Measure(START, "s", starts, 0.0), Measure(MEMORY, "MB", (memory,), memory, f"{asked or MANY:,} rows")]
    kept = [Ratio(f"{name} / {bar:,}", tuple(f[name] / bar for f in rounds), bar=1.0) for name, bar in LEAST]
    kept.append(Ratio(f"{MOST_SECONDS:g} s / start", tuple(MOST_SECONDS / taken for taken in starts), bar=1.0))
    kept.append(Ratio(f"{MOST_MB} MB / memory", (MOST_MB / memory,), bar=1.0))
    setup = (f"{asked or ROWS:,} incidents of 40 filled columns, pages of {PAGE:,}; {WRITES} writes of each kind",)
    return Result(NAME, setup, tuple(measures), tuple(kept), "one process for client and server: one core")


def _apart(rows: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.nowtwin_speed", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)))
