"""Schema discovery, short URLs, XML, debug header and stats page (servicenow-api.md 1.1, 1.2, 6.6)."""

from xml.etree import ElementTree as ET

import pytest

from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour(
    "1.2", evidence="measured by others: CDAP, ITSM; documentation: rest-session-debug-header.md"
)

XML = {"Accept": "application/xml"}


def test_the_schema_of_a_table_names_every_column_with_its_type(talk: Talk) -> None:
    columns = {entry["name"]: entry for entry in talk.get("doc/table/schema/incident").result}
    assert set(columns["caller_id"]) == {"label", "exampleValue", "internalType", "name"}
    assert columns["caller_id"]["internalType"] == "reference"
    assert columns["opened_at"]["internalType"] == "glide_date_time"
    assert talk.get("doc/table/schema/no_such").error == (400, "Invalid table no_such", None)


def test_all_tables_are_listed_with_their_labels(talk: Talk) -> None:
    assert {"label": "Incident", "value": "incident", "reference": False} in talk.get("doc/table/schema").result


def test_the_meta_of_a_table_has_choices_and_references(talk: Talk) -> None:
    columns = talk.get("ui/meta/incident").result["columns"]
    assert {"label": "New", "value": "1"} in columns["state"]["choices"]
    assert columns["caller_id"]["reference"] == "sys_user"
    assert columns["caller_id"]["reference_display_field"] == "name"


def test_a_short_url_stands_for_a_long_query(talk: Talk) -> None:
    for name in ("a", "b", "c"):
        talk.post("incident", {"short_description": name})
    url = "incident_list.do?sysparm_query=short_descriptionINa%2Cb%5EORDERBYshort_description&sysparm_limit=1"
    made = talk.send("POST", "tinyurl", {"url": url})
    path, _, token = made.result.partition("?sysparm_tiny=")
    assert (made.status, path, len(token)) == (200, "incident_list.do", 32)
    assert [row["short_description"] for row in talk.get("table/incident", sysparm_tiny=token).result] == ["a"]
    both = talk.get("table/incident", sysparm_tiny=token, sysparm_limit=5).result
    assert [row["short_description"] for row in both] == ["a", "b"]
    assert talk.rows("sys_tiny_url")[0]["tiny_url"] == token
    assert talk.send("POST", "tinyurl", {}).status == 400


@pytest.mark.behaviour("1.2", evidence="assumption: the status", switch="tiny_url_status")
def test_a_short_url_may_be_created_instead_of_answered(talk: Talk) -> None:
    talk.control("PUT", "switches", {"tiny_url_status": 201})
    assert talk.send("POST", "tinyurl", {"url": "https://host/incident_list.do?sysparm_query=a"}).status == 201


def test_records_come_as_xml_to_who_asks_for_it(talk: Talk) -> None:
    body = b"<request><entry><short_description>a &lt; b</short_description><urgency>1</urgency></entry></request>"
    made = talk.call("POST", "/api/now/table/incident", body, {**XML, "Content-Type": "application/xml"})
    assert (made.status, made.headers["content-type"]) == (201, "application/xml;charset=UTF-8")
    root = ET.fromstring(made.body)
    assert root.tag == "response"
    assert root.findtext("result/short_description") == "a < b"
    assert root.findtext("result/urgency") == "1"
    assert root.findtext("result/opened_by/value") == "6816f79cc0a8016401c5a33be04be441"
    talk.post("incident", {})
    listed = ET.fromstring(talk.call("GET", "/api/now/table/incident", headers=XML).body)
    assert len(listed.findall("result")) == 2


def test_errors_come_as_xml_too(talk: Talk) -> None:
    answer = talk.call("GET", "/api/now/table/no_such", headers=XML)
    root = ET.fromstring(answer.body)
    assert (answer.status, root.findtext("error/message"), root.findtext("status")) == (
        400,
        "Invalid table no_such",
        "failure",
    )


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json, application/xml", "application/json"),
        ("application/xml;q=0.5, application/json", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/xml"),
        ("*/*", "application/json"),
    ],
)
def test_the_accept_header_decides(talk: Talk, accept: str, kind: str) -> None:
    answer = talk.call("GET", "/api/now/table/incident", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith(kind)


@pytest.mark.parametrize("body", [b"<request>", b"not xml", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b"\xff\xfe<a"])
def test_a_body_that_is_not_xml_is_refused(talk: Talk, body: bytes) -> None:
    answer = talk.call("POST", "/api/now/table/incident", body, {"Content-Type": "text/xml"})
    assert answer.error[:2] == (400, "Exception while reading request")


def test_values_that_xml_cannot_hold_do_not_break_it(talk: Talk) -> None:
    talk.instance.load("incident", [{"short_description": "a\x00\x0bb & c"}])
    root = ET.fromstring(talk.call("GET", "/api/now/table/incident", headers=XML).body)
    assert root.findtext("result/short_description") == "ab & c"


def test_the_debug_header_adds_session_logs(talk: Talk) -> None:
    answer = talk.call("GET", "/api/now/table/incident", headers={"X-WantSessionDebugMessages": "true"}).json
    assert answer["result"] == []
    assert set(answer["session"]["debug_logs"][0]) == {"type", "customerUpdate", "line", "debugClassSet"}


def test_the_stats_page_names_the_build(talk: Talk) -> None:
    answer = talk.call("GET", "/stats.do", headers={"Accept": "text/html"})
    assert answer.status == 200
    assert b"Build tag: glide-australia" in answer.body
    assert talk.as_user("nobody", "x").call("GET", "/stats.do").status == 401
