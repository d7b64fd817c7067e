"""Whatever is sent to whatever route of the twin, by whomever: no failure that ServiceNow would not show, no traceback,
JSON that parses, refusals in the documented shape, and an instance that goes on answering.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings

from nowtwin.behaviour.faults import Latency
from nowtwin.behaviour.nodes import Nodes
from nowtwin.behaviour.switches import Switches
from nowtwin.instance import ADMIN_ID, Instance
from tests.nowtwin import fuzzed_requests as fuzzed
from tests.nowtwin.fuzzed_requests import wishes
from tests.nowtwin.inside import Got, Inside, Wish, error_log

pytestmark = pytest.mark.behaviour(
    "1.8", evidence="assumption: what no source shows is refused in the documented words"
)

SHOWN_BY_SERVICENOW = (b"Chunk [", b"Exception while executing request: null")
"""The two failures (500) of the documentation: a malformed `options` of IRE, a dependent CI without its host."""
_TOKEN_ERRORS = ("/oauth_token.do", "/oauth_revoke_token.do")
_SWITCHES = replace(Switches(), access_control=True, script_seconds=1)
SMALL = settings(
    max_examples=700,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def furnish(instance: Instance) -> None:
    """What the fuzzed paths name, and the settings of `nowtwin serve`."""
    instance.switches = _SWITCHES
    instance.load("incident", [{"sys_id": fuzzed.RECORD, "number": "INC1", "state": "1"}])
    instance.load("cmdb_ci_linux_server", [{"sys_id": fuzzed.RECORD, "name": "host"}])
    instance.load("sc_cat_item", [{"sys_id": fuzzed.ITEM, "name": "item", "price": "1", "active": "true"}])
    file = {"sys_id": fuzzed.FILE, "file_name": "f", "table_name": "incident", "table_sys_id": fuzzed.RECORD}
    instance.load("sys_attachment", [file])
    instance.add_user(fuzzed.PLAIN_USER, "secret")
    instance.add_user(fuzzed.CODE_USER, "secret", enable_multifactor_authn="true")
    if "imp_user" not in instance.dictionary.tables:
        table = {"name": "imp_user", "label": "Staging", "super_class": "sys_import_set_row"}
        instance.load_schema({"tables": [table], "columns": [], "choices": []})


@contextmanager
def furnished() -> Iterator[Inside]:
    with Instance() as instance:
        furnish(instance)
        made = Inside(instance)
        made.shipped = guards(instance)
        yield made
        made.close()


@pytest.fixture(scope="module")
def inside() -> Iterator[Inside]:
    with furnished() as made:
        yield made


def put_right(instance: Instance) -> None:
    """Undo what a control request is there to do, so that the next example meets a working instance."""
    instance.faults.arm([])
    instance.faults.latency = Latency()
    instance.nodes = Nodes()
    instance.access.rules = []
    instance.clock.set(datetime(2026, 3, 1, tzinfo=UTC))
    instance.clock.run(1.0)
    instance.set_admin_password("admin")
    instance.load("sys_user", [{"sys_id": ADMIN_ID, "user_name": "admin", "active": "true"}])
    furnish(instance)


def guards(instance: Instance) -> set[tuple[str, str]]:
    return {(table, row["sys_id"]) for table in fuzzed.GUARDS[:2] for row in instance.export(table)}


def open_up(inside: Inside) -> None:
    """Take away the policies and rate limits that were just made: they may rightly keep everyone out."""
    for table, sys_id in guards(inside.instance) - inside.shipped:
        inside.instance.storage.delete(table, sys_id)


def check(inside: Inside, wish: Wish) -> None:
    with error_log() as logged:
        got = inside.ask(wish)
    assert not logged, logged
    assert b"Traceback (most recent" not in got.body
    if got.status or not inside.aborted:
        assert 200 <= got.status < 500 or any(text in got.body for text in SHOWN_BY_SERVICENOW), got
        require_form(wish, got)
    if wish.path.startswith("/_nowtwin/"):
        put_right(inside.instance)
    open_up(inside)
    plain = inside.ask(Wish("GET", "/api/now/table/incident", (("sysparm_limit", "1"),), (fuzzed.ADMIN,)))
    assert plain.status == 200, plain
    assert isinstance(json.loads(plain.body)["result"], list)


def require_form(wish: Wish, got: Got) -> None:
    """JSON parses; a refusal of an API has message, detail and status."""
    if wish.method == "HEAD" or not got.body or not got.headers.get("content-type", "").startswith("application/json"):
        return
    if got.headers.get("content-encoding") == "gzip":
        return
    body = json.loads(got.body)
    if got.status >= 400 and wish.path not in _TOKEN_ERRORS:
        assert set(body["error"]) == {"message", "detail"}, body
        assert isinstance(body["error"]["message"], str)
        assert body["error"]["detail"] is None or isinstance(body["error"]["detail"], str)
        assert body["status"] == "failure"


@SMALL
@given(wishes())
def test_every_request_to_every_route_is_answered(inside: Inside, wish: Wish) -> None:
    check(inside, wish)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@settings(parent=SMALL, max_examples=30_000)
@given(wishes())
def test_every_request_to_every_route_is_answered_for_long(inside: Inside, wish: Wish) -> None:
    check(inside, wish)
