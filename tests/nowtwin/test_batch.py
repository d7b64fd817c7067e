"""The Batch API: several requests in one, in order, each with its own outcome (servicenow-api.md 5)."""

import base64
import json
from email import message_from_bytes
from email.message import Message
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


def _parts(talk: Talk, items: list[dict[str, object]], accept: str = "multipart/mixed") -> tuple[Reply, list[Message]]:
    """The answer, and its parts as an e-mail parser reads them."""
    body = json.dumps({"batch_request_id": "7", "rest_requests": items}).encode()
    reply = talk.call("POST", "/api/now/v1/batch", body, {"Content-Type": "application/json", "Accept": accept})
    kind = reply.headers["content-type"]
    told = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + reply.body)
    return reply, [part for part in told.walk() if part is not told and not part.is_multipart()]


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


def _read_response(content: bytes) -> tuple[int, dict[str, str], bytes]:
    """A whole HTTP response: its status, headers and body."""
    head, _, body = content.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert int(headers["content-length"]) == len(body)
    return int(first.split()[1]), headers, body


@pytest.mark.behaviour(
    "5",
    evidence="documentation: batch-api.md names multipart/mixed; assumption: its form",
    switch="batch_parts_as_http",
)
def test_a_batch_answers_in_parts_when_asked_to(talk: Talk) -> None:
    file = b"--batch_\r\n\x00\xff not text"
    incident = talk.post("incident", {"short_description": "a"}).result["sys_id"]
    kept = talk.instance.count("incident")
    target = f"/api/now/attachment/file?table_name=incident&table_sys_id={incident}&file_name=f.bin"
    file_id = talk.call("POST", target, file, {"Content-Type": "application/octet-stream"}).result["sys_id"]
    items = [
        _item(1, "GET", "/api/now/table/incident?sysparm_fields=short_description"),
        _item(2, "GET", f"/api/now/attachment/{file_id}/file", exclude_response_headers=True) | {"headers": []},
        _item(3, "DELETE", f"/api/now/table/incident/{'9' * 32}"),
    ]
    reply, parts = _parts(talk, items)
    assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (200, "multipart/mixed")
    assert [part["content-id"] for part in parts] == ["<1>", "<2>", "<3>", None]
    assert [part.get_content_type() for part in parts] == [*["application/http"] * 3, "application/json"]
    first, second, third = (_read_response(_content(part)) for part in parts[:3])
    assert (first[0], json.loads(first[2])) == (200, {"result": [{"short_description": "a"}] * kept})
    assert first[1]["x-total-count"] == "1"
    assert (second[0], list(second[1]), second[2]) == (200, ["content-length"], file)
    assert third[0] == 404
    assert json.loads(_content(parts[3])) == {"batch_request_id": "7", "unserviced_requests": []}

    talk.control("PUT", "switches", {"batch_parts_as_http": False})
    _, parts = _parts(talk, items)
    entries = [json.loads(_content(part)) for part in parts[:3]]
    assert [entry["status_code"] for entry in entries] == [200, 200, 404]
    assert base64.b64decode(entries[1]["body"]) == file


@pytest.mark.behaviour("5", evidence="documentation: batch-api.md; assumption: how a header with both is read")
def test_parts_come_only_for_who_prefers_them(talk: Talk) -> None:
    for accept, kind in (
        ("multipart/mixed;q=0.5, application/json", "application/json"),
        ("application/json, multipart/mixed", "application/json"),
        ("multipart/mixed, application/json", "multipart/mixed"),
        ("multipart/mixed, */*", "multipart/mixed"),
        ("*/*", "application/json"),
    ):
        reply, _ = _parts(talk, [], accept)
        assert reply.headers["content-type"].partition(";")[0] == kind, accept
    parts = {"Accept": "multipart/mixed"}
    assert talk.call("GET", "/api/now/table/incident", headers=parts).status == 406
    assert talk.call("POST", "/api/now/v1/batch", b"{", parts).error[:2] == (400, "Exception while reading request")


@pytest.mark.behaviour("5", evidence="assumption: ids are the client's own, whatever they hold")
def test_an_id_of_many_lines_stays_inside_its_part(talk: Talk) -> None:
    item = _item(1, "GET", "/api/now/table/incident") | {"id": "a\r\nX-Evil: 1\r\n\r\n>b"}
    _, parts = _parts(talk, [item])
    assert [(part["content-id"], part["x-evil"]) for part in parts] == [("<aX-Evil: 1b>", None), (None, None)]
