"""Whatever is sent is answered: no request makes the twin fail. Requests go in below the server, so thousands fit."""

import base64
import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nowtwin.http.messages import Request
from nowtwin.instance import Instance
from nowtwin.serving import routes
from tests.nowtwin.talk import basic

pytestmark = pytest.mark.behaviour(
    "1.8", evidence="assumption: what no source shows is refused in the documented words"
)

AUTHORIZATION = {"authorization": basic("admin", "admin"), "content-type": "application/json"}
KNOWN = "1" * 32

_texts = st.text(max_size=30) | st.sampled_from(
    [
        "",
        "NULL",
        "true",
        "-1",
        "99999999999999999999999",
        "1e999",
        "nan",
        "2025-13-45",
        "2025-01-01 00:00:00",
        "a,b@c^d",
    ]
)
_columns = st.sampled_from(
    [
        "short_description",
        "reassignment_count",
        "opened_at",
        "caller_id",
        "watch_list",
        "work_notes",
        "sys_class_name",
        "sys_id",
        "active",
        "business_duration",
        "caller_id.name",
    ]
) | st.text(max_size=12)
_params = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "sysparm_query",
                "sysparm_fields",
                "sysparm_limit",
                "sysparm_offset",
                "sysparm_display_value",
                "sysparm_input_display_value",
                "sysparm_group_by",
                "sysparm_having",
                "sysparm_order_by",
                "sysparm_sum_fields",
                "sysparm_min_fields",
                "state",
                "caller_id",
            ]
        ),
        _texts | _columns | st.sampled_from(["true", "all", "MAX^opened_at^DESC", "count^state^>^x", "^^DESC"]),
    ),
    max_size=4,
)
_paths = st.sampled_from(
    [
        "/api/now/table/incident",
        "/api/now/table/sys_dictionary",
        "/api/now/table/sys_choice",
        "/api/now/table/sys_metadata",
        f"/api/now/v1/table/incident/{KNOWN}",
        "/api/now/stats/incident",
        "/api/now/v1/batch",
        "/api/now/ui/user/current_user",
        "/oauth_token.do",
        "/oauth_revoke_token.do",
    ]
) | st.text(max_size=20).map(lambda text: f"/api/now/table/{text}")
_scalars = _texts | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none()
_bodies = st.dictionaries(
    _columns, _scalars | st.lists(_scalars, max_size=2) | st.dictionaries(_texts, _scalars, max_size=2)
)
_contents = _bodies.map(lambda body: json.dumps(body).encode()) | st.binary(max_size=40)
_methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with Instance() as made:
        yield made


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_methods, _paths, _params, _contents)
@example("POST", "/api/now/table/incident", [], b'{"reassignment_count":"99999999999999999999999"}')
@example("POST", "/api/now/table/incident", [], b'{"short_description":"\\ud800"}')
@example("GET", "/api/now/table/incident", [("sysparm_limit", "99999999999999999999999")], b"")
@example("GET", "/api/now/table/incident", [("sysparm_limit", "9" * 5000)], b"")
@example("GET", "/api/now/table/incident", [("sysparm_query", "reassignment_count>99999999999999999999999")], b"")
@example("GET", "/api/now/table/incident", [("sysparm_query", "caller_id.")], b"")
@example("POST", "/api/now/table/sys_dictionary", [], b'{"name":"incident","element":"x\\"y","internal_type":"string"}')
@example("POST", "/api/now/table/sys_db_object", [], b'{"name":"u_\\"loop","super_class":"u_\\"loop"}')
def test_every_request_has_an_answer(
    instance: Instance, method: str, path: str, params: list[tuple[str, str]], content: bytes
) -> None:
    if instance.read("incident", KNOWN) is None:
        instance.load("incident", [{"sys_id": KNOWN}])
    request = Request(method, path, tuple(params), AUTHORIZATION, content)
    answer = routes.answer(instance, request)
    assert 200 <= answer.status < 500
    if answer.body and answer.status != 200:
        assert "error" in json.loads(answer.body) or "result" in json.loads(answer.body)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_methods, _paths, _contents), max_size=3))
def test_every_batch_has_an_answer(instance: Instance, items: list[tuple[str, str, bytes]]) -> None:
    requests = [
        {"id": str(n), "method": method, "url": path, "body": base64.b64encode(content).decode(), "headers": []}
        for n, (method, path, content) in enumerate(items)
        if "batch" not in path
    ]
    body = json.dumps({"batch_request_id": "1", "rest_requests": requests}).encode()
    answer = routes.answer(instance, Request("POST", "/api/now/v1/batch", (), AUTHORIZATION, body))
    assert answer.status == 200
    entries, late = (json.loads(answer.body)[f"{kind}serviced_requests"] for kind in ("", "un"))
    assert len(entries) + len(late) == len(requests), "an answer may be too large for a batch"
    assert all(200 <= entry["status_code"] < 500 for entry in entries)
