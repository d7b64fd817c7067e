"""The documented exchanges of the Table, Aggregate and Batch APIs, made again with a twin that holds the same rows.

Evidence: ServiceNow's API reference (c_TableAPI.md, c_AggregateAPI.md, batch-api.md) in the snapshot of examples; the
tests skip where the snapshot is missing.
"""

import base64
import json
import re
from fractions import Fraction
from math import lcm
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.nowtwin.documented import differences, example
from tests.nowtwin.talk import Reply, Talk

pytestmark = pytest.mark.behaviour(
    "1.1, 4, 5", evidence="recorded exchange: documented examples of the Table, Aggregate and Batch APIs"
)

STAMPS = {"sys_updated_on", "sys_updated_by", "sys_mod_count", "sys_created_on", "sys_created_by"}
LATER = {"contact_type", "activity_due", "sla_due"}
"""Columns whose default or clock is the business of rules that a fresh twin has not: the documented instance set them."""
RETIRED = {"wf_activity", "rejection_goto"}
"""Columns of the documented rows of 2016 that today's dictionary marks inactive."""


def _send(talk: Talk, entry: dict[str, Any]) -> Reply:
    """The documented request, its body byte for byte (in single quotes, as the reference spells JSON)."""
    body = entry["request_body"].encode()
    path = urlsplit(entry["url"]).path.rstrip("/")
    return talk.call(entry["method"], path, body, {"Content-Type": "application/json", "Accept": "application/json"})


def _without_retired(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in RETIRED}


def _stored(record: dict[str, Any]) -> dict[str, str]:
    return {key: value["value"] if isinstance(value, dict) else value for key, value in record.items()}


def _localised(record: dict[str, Any], url: str) -> dict[str, Any]:
    """With the links that this twin would give."""

    def link(value: str) -> str:
        return url + urlsplit(value).path

    return {k: {**v, "link": link(v["link"])} if isinstance(v, dict) else v for k, v in record.items()}


def test_the_documented_update_of_an_incident(talk: Talk) -> None:
    entry = example("Table - PATCH /now/table/{tableName}/{sys_id}")
    expected = _without_retired(entry["responses"][0]["result"])
    known = talk.instance.dictionary.columns("incident").keys()
    before = {key: value for key, value in _stored(expected).items() if key in known}
    talk.instance.load("incident", [before | {"assigned_to": "", "urgency": "2", "priority": "2"}])
    said = _send(talk, entry)
    assert said.status == 200
    assert differences(expected, said.result) == []
    skipped = STAMPS | {key for key in expected if key not in known}
    wanted = _localised(expected, talk.url)
    assert {k: said.result[k] for k in wanted.keys() - skipped} == {k: wanted[k] for k in wanted.keys() - skipped}
    assert said.result["sys_mod_count"] == str(int(before["sys_mod_count"]) + 1)


def test_the_documented_creation_of_an_incident(talk: Talk) -> None:
    entry = example("Table - POST /now/table/{tableName}")
    expected = _without_retired(entry["responses"][0]["result"])
    said = _send(talk, entry)
    assert said.status == 201
    assert said.headers["location"] == f"{talk.url}/api/now/table/incident/{said.result['sys_id']}"
    assert differences(expected, said.result) == []
    own = STAMPS | LATER | {"number", "sys_id", "opened_at"}
    wanted = _localised(expected, talk.url)
    assert {k: said.result[k] for k in wanted.keys() - own} == {k: wanted[k] for k in wanted.keys() - own}
    assert re.fullmatch(r"INC\d{7}", said.result["number"])


def test_the_documented_deletion_has_no_content(talk: Talk) -> None:
    sys_id = urlsplit(example("Table - DELETE /now/table/{tableName}/{sys_id}")["url"]).path.rpartition("/")[2]
    talk.instance.load("incident", [{"sys_id": sys_id}])
    said = talk.delete("incident", sys_id)
    assert (said.status, said.body) == (204, b"")


def _rows(averages: dict[str, str]) -> list[dict[str, str]]:
    """Whole numbers whose means are these: as many rows as their denominators ask for, all of a sum in the first."""
    exact = {element: Fraction(mean).limit_denominator(40) for element, mean in averages.items()}
    count = lcm(*(mean.denominator for mean in exact.values()))
    sums = {element: str(mean * count) for element, mean in exact.items()}
    return [sums, *([dict.fromkeys(sums, "0")] * (count - 1))]


def test_the_documented_averages_by_group_come_back_with_the_same_numbers(talk: Talk) -> None:
    entry = example("Aggregate - GET /now/stats/{tableName}")
    expected = entry["responses"][0]["result"]
    for group in expected:
        assigned = {"assignment_group": group["groupby_fields"][0]["value"]}
        talk.instance.load("incident", [assigned | row for row in _rows(group["stats"]["avg"])])
    place = urlsplit(entry["url"])
    said = talk.call("GET", f"{place.path}?{place.query}")
    assert said.status == 200

    def by_group(result: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        return {group["groupby_fields"][0]["value"]: group for group in result}

    assert by_group(said.result) == by_group(expected)


def test_the_documented_batch_has_the_same_shape(talk: Talk) -> None:
    """Only the items of APIs that a twin serves are held against the page; base64 in the page is broken into lines."""
    entry = example("Batch - POST /now/batch")
    request = json.loads(entry["request_body"], strict=False)
    expected = json.loads(entry["responses"][0], strict=False)
    talk.instance.load("incident", [{"short_description": "one"}])
    said = talk.send("POST", "v1/batch", request)
    assert said.status == 200
    assert differences({**expected, "serviced_requests": []}, said.json) == []
    documented = {item["id"]: item for item in expected["serviced_requests"]}
    answered = {item["id"]: item for item in said.json["serviced_requests"]}
    assert documented.keys() == answered.keys()
    for name, item in documented.items():
        assert differences(item, answered[name]) == []
        assert ("headers" in item) == ("headers" in answered[name])
    tables = [item["id"] for item in request["rest_requests"] if "/table/" in item["url"]]
    for name in tables:
        assert answered[name]["status_code"] == documented[name]["status_code"]
        # The page cuts long bodies off.
        page = base64.b64decode("".join(documented[name]["body"].split()) + "==").decode()
        (own,) = _records(json.loads(base64.b64decode(answered[name]["body"]))["result"])
        assert set(re.findall(r'"(\w+)":', page)) - {"result", "link", "value"} - RETIRED <= own.keys()


@pytest.mark.behaviour("6.2", evidence="recorded exchange: documented examples of the Attachment API")
def test_the_documented_calls_on_one_attachment(talk: Talk) -> None:
    """In the order of a life: an attribute set, read, taken away; the file renamed; all attributes taken away."""
    incident = talk.post("incident", {"short_description": "x"}).result["sys_id"]
    place = f"attachment/file?table_name=incident&table_sys_id={incident}&file_name=a.txt"
    sys_id = talk.call("POST", f"/api/now/{place}", b"x", {"Content-Type": "text/plain"}).result["sys_id"]
    attribute = "Attachment - {} /now/attachment/{{sys_id}}/attributes/{{attribute_key}}"

    def send(operation: str) -> Reply:
        entry = example(operation)
        path = re.sub(r"(?<=/attachment/)\w{32}", sys_id, urlsplit(entry["url"]).path)
        headers = dict(header.split(":", 1) for header in entry["request_headers"])
        body = entry["request_body"]
        return talk.call(entry["method"], path, json.dumps(body).encode() if body else None, headers)

    talk.send("POST", f"attachment/{sys_id}/attributes", {"key": "example_key", "value": "example_value"})
    for method in ("GET", "PUT"):
        (documented,) = example(attribute.format(method))["responses"]
        assert send(attribute.format(method)).json == documented
    assert (gone := send(attribute.format("DELETE"))).status == 204
    assert gone.body == b""
    assert talk.get(f"attachment/{sys_id}/attributes/example_key").status == 404
    assert send("Attachment - PATCH /now/attachment/{sys_id}").status == 204
    assert talk.get(f"attachment/{sys_id}").result["file_name"] == "new_attachment_name"
    talk.send("POST", f"attachment/{sys_id}/attributes", {"key": "example_key", "value": "again"})
    assert send("Attachment - DELETE /now/attachment/{sys_id}/attributes").status == 204
    assert talk.get(f"attachment/{sys_id}/attributes/example_key").status == 404
    file = send("Attachment - GET /now/attachment/{sys_id}/file")
    assert (file.status, file.body) == (200, b"x")


def _records(result: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON
    return result if isinstance(result, list) else [result]
