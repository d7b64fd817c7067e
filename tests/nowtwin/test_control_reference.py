"""The control API against its reference: each route is documented, does what it is for, and refuses nonsense in words."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nowtwin.control.routes import ROUTES
from nowtwin.play import PATH, player_routes, prepare_player
from tests.nowtwin.talk import Talk

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "nowtwin.md"
Route = tuple[str, str]
EXAMPLES: dict[Route, object] = {
    ("POST", "reset"): None,
    ("POST", "snapshot"): None,
    ("POST", "restore"): {"id": "1"},
    ("POST", "seed"): {"data": "demo"},
    ("GET", "clock"): None,
    ("PUT", "clock"): {"set": "2025-01-01 00:00:00", "advance": 60, "rate": 3600, "frozen": True},
    ("GET", "faults"): None,
    ("PUT", "faults"): [{"kind": "delay", "seconds": 0.1}],
    ("DELETE", "faults"): None,
    ("GET", "latency"): None,
    ("PUT", "latency"): {"rtt": 0, "service_time": 0},
    ("GET", "calls"): None,
    ("DELETE", "calls"): None,
    ("GET", "writes"): None,
    ("GET", "hidden"): None,
    ("PUT", "hidden"): [{"table": "incident", "query": "active=true", "elements": [], "user": "joe"}],
    ("POST", "rows"): {"table": "incident", "rows": [{"short_description": "x"}]},
    ("POST", "schema"): {"tables": [{"name": "u_thing", "super_class": "task"}]},
    ("GET", "export"): None,
    ("GET", "count"): None,
    ("POST", "users"): {"user_name": "joe", "password": "p", "roles": [], "columns": {"time_zone": "US/Pacific"}},
    ("POST", "oauth_clients"): {"client_id": "c", "client_secret": "s", "name": "n", "access_seconds": 60},
    ("GET", "jobs"): None,
    ("POST", "jobs"): None,
    ("GET", "apps"): None,
    ("POST", "apps"): {"path": str(Path(__file__).parent / "companion")},
    ("DELETE", "apps"): None,
    ("GET", "secret"): None,
    ("GET", "nodes"): None,
    ("PUT", "nodes"): [{"name": "one"}, {"name": "two", "skew": -2}],
    ("GET", "switches"): None,
    ("PUT", "switches"): {"url_limit": 4096},
    ("POST", "write"): {"table": "incident", "values": {"short_description": "x"}, "workflow": False, "seconds_ago": 9},
    ("POST", "clean"): {"table": "incident", "query": "active=false", "cascade": False},
    ("POST", "archive"): {"table": "incident", "query": "active=false"},
    ("POST", "unarchive"): {"table": "ar_incident"},
    ("POST", "undelete"): {"query": "tablename=incident"},
    ("PUT", "roles"): {"user_name": "admin", "roles": ["admin"]},
    ("PUT", "columns"): {"table": "incident", "element": "u_x", "values": {"internal_type": "string"}},
    ("DELETE", "columns"): None,
    ("POST", "restart"): {"node": "", "seconds": 0, "status": 503},
    ("POST", "upgrade"): {"war": "glide-b__patch1-05-25-2027_06-10-2027_1842.zip", "name": "B", "seconds": 0},
    ("POST", "clone"): {"data": "empty", "name": "prod", "preserve": ["cmn_location"]},
}
"""A good request for each route; one that is missing fails `test_every_route_has_an_example`."""
PARAMETERS: dict[Route, str] = {
    ("GET", "export"): "?table=incident",
    ("GET", "count"): "?table=incident&query=active=true",
    ("DELETE", "apps"): "?application=x_nowt_comp",
    ("DELETE", "columns"): "?table=incident&element=u_x",
}


def _archived(talk: Talk) -> None:
    talk.control("POST", "rows", {"table": "incident", "rows": [{"active": "false"}]})
    talk.control("POST", "archive", EXAMPLES["POST", "archive"])


BEFORE: dict[Route, Callable[[Talk], object]] = {
    ("POST", "restore"): lambda talk: talk.control("POST", "snapshot"),
    ("POST", "unarchive"): _archived,
    ("DELETE", "columns"): lambda talk: talk.control("PUT", "columns", EXAMPLES["PUT", "columns"]),
    ("DELETE", "apps"): lambda talk: talk.control("POST", "apps", EXAMPLES["POST", "apps"]),
}
"""What must have happened for the example to be one."""


def _documented() -> set[Route]:
    """The calls in the first column of the reference's table: ``GET`/`PUT latency``, ``GET calls?after=N``."""
    section = DOCUMENT.read_text().split("## The control API", 1)[1].split("\n### Fault rules", 1)[0]
    found: set[Route] = set()
    for line in section.splitlines():
        methods: list[str] = []
        for code in re.findall(r"`([^`]+)`", line.split("|")[1] if line.startswith("|") else ""):
            method, _, name = code.partition(" ")
            methods.append(method)
            if name:
                found |= {(method, name.partition("?")[0]) for method in methods}
                methods = []
    return found


def test_the_reference_lists_exactly_the_routes_there_are(talk: Talk) -> None:
    player = player_routes(prepare_player(talk.instance))
    played = {(method, PATH.rpartition("/")[2]) for route in player for method in route.methods or ()}
    assert _documented() == {*ROUTES, *played} - {("HEAD", "play")}


def test_every_route_has_an_example() -> None:
    assert EXAMPLES.keys() == ROUTES.keys()


@pytest.mark.parametrize("route", sorted(EXAMPLES.keys() - {("GET", "secret")}), ids=" ".join)
def test_a_good_request_is_answered(talk: Talk, route: Route) -> None:
    if before := BEFORE.get(route):
        before(talk)
    method, name = route
    assert isinstance(talk.control(method, name + PARAMETERS.get(route, ""), EXAMPLES[route]), dict)


def test_a_secret_is_shown_in_clear_to_this_machine(talk: Talk) -> None:
    (client,) = talk.rows("oauth_entity", "client_id=0f1e2d3c4b5a69788796a5b4c3d2e1f0", sysparm_fields="sys_id")
    shown = talk.control("GET", f"secret?sys_id={client['sys_id']}&element=client_secret")
    assert shown == {"secret": "nowtwin-secret"}


@pytest.mark.parametrize("route", sorted(r for r, body in EXAMPLES.items() if body is not None), ids=" ".join)
def test_nonsense_is_refused_with_a_reason(talk: Talk, route: Route) -> None:
    method, name = route
    for body in (b"", b"{", b"7", b'"x"', b"[7]", b'{"no_such_member":1}', b"\xff"):
        reply = talk.call(method, f"/_nowtwin/{name}", body)
        assert reply.status == 400, body
        _, message, detail = reply.error
        assert detail or message != "Bad control request", body
