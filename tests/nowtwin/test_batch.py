"""The Batch API: several requests in one, in order, each with its own outcome (servicenow-api.md 5)."""

import base64
import json
from typing import Any

import pytest

from tests.nowtwin.talk import Reply, Talk

pytestmark = pytest.mark.behaviour("5", evidence="documentation: batch-api.md")


def _item(number: int, method: str, url: str, body: object = None, **more: object) -> dict[str, object]:
    headers = [{"name": "Content-Type", "value": "application/json"}, {"name": "Accept", "value": "application/json"}]
    content = "" if body is None else base64.b64encode(json.dumps(body).encode()).decode()
    return {"id": str(number), "method": method, "url": url, "headers": headers, "body": content, **more}


def _batch(talk: Talk, *items: dict[str, object]) -> Reply:
    return talk.send("POST", "v1/batch", {"batch_request_id": "7", "rest_requests": list(items)})


def _inside(entry: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever JSON was sent
    return json.loads(base64.b64decode(entry["body"]))


def test_items_run_in_order_and_fail_alone(talk: Talk) -> None:
    mine = "1" * 32
    reply = _batch(
        talk,
        _item(1, "POST", "/api/now/table/incident", {"sys_id": mine, "short_description": "a"}),
        _item(2, "PATCH", f"/api/now/table/incident/{mine}", {"short_description": "b"}),
        _item(3, "GET", "/api/now/table/nope"),
        _item(4, "GET", f"api/now/table/incident/{mine}?sysparm_fields=short_description"),
        _item(5, "DELETE", f"/api/now/table/incident/{mine}"),
    )
    answer = reply.json
    assert (reply.status, answer["batch_request_id"], answer["unserviced_requests"]) == (200, "7", [])
    entries = answer["serviced_requests"]
    assert [(entry["id"], entry["status_code"]) for entry in entries] == [
        ("1", 201),
        ("2", 200),
        ("3", 400),
        ("4", 200),
        ("5", 204),
    ]
    assert entries[0]["status_text"] == "Created"
    assert _inside(entries[2])["error"]["message"] == "Invalid table nope"
    assert _inside(entries[3])["result"] == {"short_description": "b"}
    assert talk.instance.count("incident") == 0


def test_response_headers_come_unless_excluded(talk: Talk) -> None:
    url = "/api/now/table/sys_user?sysparm_limit=1"
    entries = _batch(talk, _item(1, "GET", url), _item(2, "GET", url, exclude_response_headers=True)).json[
        "serviced_requests"
    ]
    assert {"name": "X-Total-Count", "value": "1"} in entries[0]["headers"]
    assert entries[1]["headers"] == []


@pytest.mark.behaviour("5", evidence="documentation: batch-api.md", switch="batch_seconds")
def test_what_the_time_budget_leaves_undone_is_named(talk: Talk) -> None:
    talk.control("PUT", "switches", {"batch_seconds": 0})
    answer = _batch(talk, _item(1, "POST", "/api/now/table/incident", {}), _item(2, "GET", "/api/now/table/task")).json
    assert (answer["serviced_requests"], answer["unserviced_requests"]) == ([], ["1", "2"])
    assert talk.instance.count("incident") == 0


@pytest.mark.behaviour("5", evidence="documentation: batch-api.md", switch="batch_output_limit")
def test_an_answer_that_is_too_big_ends_the_batch(talk: Talk) -> None:
    talk.control("PUT", "switches", {"batch_output_limit": 50})
    answer = _batch(talk, _item(1, "GET", "/api/now/table/sys_user"), _item(2, "GET", "/api/now/table/incident")).json
    assert (answer["serviced_requests"], answer["unserviced_requests"]) == ([], ["1", "2"])


def test_items_have_the_callers_rights(talk: Talk) -> None:
    talk.instance.load("incident", [{}])
    talk.control("POST", "users", {"user_name": "joe", "password": "p"})
    talk.control("PUT", "hidden", [{"table": "incident"}])
    entries = _batch(talk.as_user("joe", "p"), _item(1, "GET", "/api/now/table/incident")).json["serviced_requests"]
    assert _inside(entries[0]) == {"result": []}


def test_bad_batches_and_bad_items(talk: Talk) -> None:
    assert talk.send("POST", "v1/batch", {"rest_requests": 3}).status == 400
    assert talk.call("POST", "/api/now/v1/batch", b"{").status == 400
    assert talk.get("v1/batch").status == 405
    bad = _item(1, "POST", "/api/now/table/incident") | {"body": "***"}
    assert [e["status_code"] for e in _batch(talk, bad).json["serviced_requests"]] == [400]


@pytest.mark.behaviour("5", evidence="documentation: batch-api.md")
def test_an_item_that_is_too_large_ends_the_batch(talk: Talk) -> None:
    large = base64.b64encode(b" " * (5 * 1024 * 1024 + 1)).decode()
    small = {"method": "GET", "url": "/api/now/table/incident?sysparm_limit=1"}
    items = [{"id": "1", **small}, {"id": "2", **small, "body": large}, {"id": "3", **small}]
    answer = talk.send("POST", "v1/batch", {"batch_request_id": "1", "rest_requests": items}).json
    assert [item["id"] for item in answer["serviced_requests"]] == ["1"]
    assert answer["unserviced_requests"] == ["2", "3"]
    talk.post("sys_properties", {"name": "glide.rest.batch.max.inputSize", "value": "9000000"})
    answer = talk.send("POST", "v1/batch", {"batch_request_id": "1", "rest_requests": items}).json
    assert answer["unserviced_requests"] == []


@pytest.mark.behaviour("5", evidence="documentation: batch-api.md")
def test_a_header_lowers_how_large_an_answer_in_a_batch_may_be(talk: Talk) -> None:
    talk.post("incident", {"short_description": "x" * 100})
    items = [
        {"id": "1", "method": "GET", "url": "/api/now/table/problem"},
        {"id": "2", "method": "GET", "url": "/api/now/table/incident"},
        {"id": "3", "method": "GET", "url": "/api/now/table/problem"},
    ]
    body = json.dumps({"batch_request_id": "1", "rest_requests": items}).encode()
    for size, left in (("100", ["2", "3"]), ("1000000", []), ("nonsense", [])):
        headers = {"Content-Type": "application/json", "X-BATCHREQUEST-MAX-OUTPUT-SIZE": size}
        assert talk.call("POST", "/api/now/v1/batch", body, headers).json["unserviced_requests"] == left
