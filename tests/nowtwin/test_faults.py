"""Faults on demand, kind by kind: what the client sees, whether the request was executed, and what a rule may say
(servicenow-api.md 1.9, 10).
"""

import base64
import gzip
import json
import zlib
from datetime import datetime, timedelta
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.nowtwin.talk import Reply, Talk

pytestmark = pytest.mark.behaviour("1.9, 10", evidence="assumption: the faults of the twin's own interface")
START = "2025-01-01 12:00:00"


def _rows(talk: Talk, count: int, table: str = "incident") -> None:
    rows = [{"sys_id": f"{n:032x}", "short_description": f"no {n}", "state": str(n % 3)} for n in range(count)]
    talk.control("POST", "rows", {"table": table, "rows": rows})


def _batch(talk: Talk, *paths: str) -> Any:  # noqa: ANN401 - whatever JSON was sent
    items = [{"id": str(n), "method": "GET", "url": f"/api/now/{path}"} for n, path in enumerate(paths)]
    return talk.send("POST", "v1/batch", {"batch_request_id": "b", "rest_requests": items}).json


def _body(item: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever JSON was sent
    return json.loads(base64.b64decode(item["body"]))


# -- answers that are none -----------------------------------------------------------------------------------------


@pytest.mark.behaviour("1.9", evidence="measured by others: several clients; assumption: 302 and 503")
@pytest.mark.parametrize(("form", "status"), [("page", 200), ("redirect", 302), ("unavailable", 503)])
def test_a_sleeping_developer_instance_shows_itself_in_three_forms(talk: Talk, form: str, status: int) -> None:
    talk.control("PUT", "faults", [{"kind": "hibernating", "form": form}])
    reply = talk.post("incident", {"short_description": "x"})
    assert reply.status == status
    if form == "redirect":
        assert reply.headers["location"].startswith("https://developer.servicenow.com/")
        assert reply.body == b""
    else:
        assert reply.headers["content-type"] == "text/html;charset=UTF-8"
        assert b"<title>Instance Hibernating page</title>" in reply.body
        assert b"Your instance is hibernating" in reply.body
    assert talk.instance.count("incident") == 0


@pytest.mark.behaviour("1.9", evidence="assumption: the page and where the redirect leads")
def test_a_log_in_page_comes_with_200_or_as_a_redirect(talk: Talk) -> None:
    talk.control("PUT", "faults", [{"kind": "login_page", "count": 1}, {"kind": "login_page", "form": "redirect"}])
    shown, sent_on = talk.get("table/incident"), talk.get("table/incident")
    assert (shown.status, shown.headers["content-type"]) == (200, "text/html;charset=UTF-8")
    assert b'name="user_password"' in shown.body
    assert (sent_on.status, sent_on.body) == (302, b"")
    assert sent_on.headers["location"].startswith("/login_with_sso.do")


@pytest.mark.behaviour("1.8", evidence="documentation: r_RESTAPIHTTPResponseCodes.md; assumption: the page")
@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_answers_with_a_page_instead_of_the_instance(talk: Talk, status: int) -> None:
    talk.control("PUT", "faults", [{"kind": "gateway", "status": status}])
    reply = talk.post("incident", {})
    assert (reply.status, reply.headers["content-type"]) == (status, "text/html;charset=UTF-8")
    assert reply.body.startswith(b"<html>")
    assert talk.instance.count("incident") == 0


@pytest.mark.behaviour("1.8, 10", evidence="documentation: KB0635398; assumption: the body", switch="overload_in_json")
def test_a_full_semaphore_can_be_asked_for(talk: Talk) -> None:
    talk.control("PUT", "faults", [{"kind": "overloaded"}])
    reply = talk.get("table/incident")
    assert (reply.status, reply.headers["content-type"]) == (429, "text/html;charset=UTF-8")
    talk.control("PUT", "switches", {"overload_in_json": True})
    assert talk.get("table/incident").error == (429, "Too Many Requests", None)


# -- time-outs inside a 200 ----------------------------------------------------------------------------------------


@pytest.mark.behaviour("1.9, 4, 5", evidence="measured by others: PySNC, pysnow, CDAP; documentation: batch-api.md")
def test_a_cancelled_transaction_looks_like_success_in_table_aggregate_and_batch(talk: Talk) -> None:
    _rows(talk, 6)
    text = "Transaction cancelled: maximum execution time exceeded"
    talk.control("PUT", "faults", [{"kind": "error_in_body", "rows": 2}, {"kind": "error_in_body", "in_batch": True}])
    listed = talk.get("table/incident")
    assert (listed.status, len(listed.result), listed.json["error"]["message"]) == (200, 2, text)
    grouped = talk.get("stats/incident", sysparm_count="true", sysparm_group_by="state")
    assert (grouped.status, len(grouped.result), grouped.json["error"]["message"]) == (200, 2, text)
    whole = talk.get("stats/incident", sysparm_count="true")
    assert (whole.status, "result" in whole.json, whole.json["error"]["message"]) == (200, False, text)
    one = talk.get(f"table/incident/{0:032x}")
    assert (one.status, "result" in one.json, one.json["status"]) == (200, False, "failure")
    talk.control("PUT", "faults", [{"kind": "error_in_body", "in_batch": True, "count": 1}])
    cut, whole_item = _batch(talk, "table/incident", "table/incident")["serviced_requests"]
    assert (cut["status_code"], len(_body(cut)["result"]), _body(cut)["error"]["message"]) == (200, 1, text)
    assert len(_body(whole_item)["result"]) == 6


@pytest.mark.behaviour("5", evidence="documentation: batch-api.md")
def test_items_of_a_batch_are_left_unserviced_by_fault_or_by_the_time_that_one_took(talk: Talk) -> None:
    talk.control("PUT", "faults", [{"kind": "unserviced", "in_batch": True, "table": "problem"}])
    done = _batch(talk, "table/incident", "table/problem", "table/incident")
    assert [item["id"] for item in done["serviced_requests"]] == ["0", "2"]
    assert done["unserviced_requests"] == ["1"]
    assert talk.get("table/problem").status == 200
    talk.control("PUT", "faults", [{"kind": "delay", "in_batch": True, "seconds": 31, "table": "problem"}])
    done = _batch(talk, "table/incident", "table/problem", "table/incident")
    assert [item["id"] for item in done["serviced_requests"]] == ["0", "1"]
    assert done["unserviced_requests"] == ["2"]


@pytest.mark.behaviour("5", evidence="assumption: an item may suffer what a request may")
def test_one_item_of_a_batch_fails_for_itself(talk: Talk) -> None:
    talk.control("PUT", "faults", [{"kind": "overloaded", "in_batch": True, "skip": 1, "count": 1}])
    done = _batch(talk, "table/incident", "table/incident", "table/incident")
    assert [item["status_code"] for item in done["serviced_requests"]] == [200, 429, 200]
    assert talk.control("GET", "faults")["rules"][0] | {"rule": None} == {"rule": None, "seen": 3, "struck": 1}


# -- spoiled bytes -------------------------------------------------------------------------------------------------


def test_json_may_end_in_the_middle_with_a_length_that_agrees(talk: Talk) -> None:
    _rows(talk, 5)
    talk.control("PUT", "faults", [{"kind": "truncated_json", "fraction": 0.5}])
    reply = talk.get("table/incident")
    assert (reply.status, reply.headers["content-length"]) == (200, str(len(reply.body)))
    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.body)
    assert talk.post("incident", {"short_description": "x"}).status == 201
    assert talk.instance.count("incident") == 6


@pytest.mark.behaviour("10", evidence="assumption: a broken stream")
def test_a_gzip_stream_may_be_broken(talk: Talk) -> None:
    _rows(talk, 20)
    talk.control("PUT", "faults", [{"kind": "broken_gzip", "count": 1}])
    broken = talk.call("GET", "/api/now/table/incident", headers={"Accept-Encoding": "gzip"})
    assert (broken.status, broken.headers["content-encoding"]) == (200, "gzip")
    with pytest.raises((zlib.error, EOFError, gzip.BadGzipFile)):
        gzip.decompress(broken.body)
    whole = talk.call("GET", "/api/now/table/incident", headers={"Accept-Encoding": "gzip"})
    assert len(json.loads(gzip.decompress(whole.body))["result"]) == 20


def test_a_slow_answer_drips_piece_by_piece_and_is_whole_in_the_end(talk: Talk) -> None:
    _rows(talk, 3)
    plain = talk.get("table/incident", sysparm_fields="sys_id,number").body
    talk.control("PUT", "faults", [{"kind": "drip", "chunk_bytes": 40, "seconds": 0.02}])
    talk.control("DELETE", "calls")
    place = urlsplit(talk.url)
    connection = HTTPConnection(place.hostname or "", place.port or 0, timeout=20)
    connection.request("GET", "/api/now/table/incident?sysparm_fields=sys_id,number", headers=dict(talk.headers))
    answer = connection.getresponse()
    first = answer.read1(4096)
    assert (first, answer.headers["Content-Length"]) == (plain[:40], str(len(plain)))
    assert first + answer.read() == plain
    connection.close()
    (call,) = talk.control("GET", "calls")["calls"]
    assert call["finished"] - call["started"] >= 0.02 * (len(plain) // 40)


# -- late commits --------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("9.2", evidence="measured by others: connectors overlap their cursors by minutes")
def test_a_late_commit_shows_a_row_with_a_stamp_that_cursors_have_passed(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "frozen": True})
    talk.post("incident", {"short_description": "in time"})
    (seen,) = talk.rows("incident", "ORDERBYDESCsys_updated_on")
    talk.control("PUT", "faults", [{"kind": "late_commit", "table": "incident", "method": "POST", "behind": 90}])
    late = talk.post("incident", {"short_description": "late", "work_notes": "why"}).result
    assert (late["sys_created_on"], late["sys_updated_on"]) == ("2025-01-01 11:58:30", "2025-01-01 11:58:30")
    assert talk.names("incident", f"sys_updated_on>={seen['sys_updated_on']}") == ["in time"]
    assert sorted(talk.names("incident", "")) == ["in time", "late"]
    note = talk.rows("sys_journal_field", f"element_id={late['sys_id']}")[0]
    assert note["sys_created_on"] == "2025-01-01 11:58:30"
    assert talk.post("problem", {}).result["sys_updated_on"] == START


@pytest.mark.behaviour("9.2", evidence="assumption: the stamp is that of the statement, not of the commit")
def test_a_commit_that_waits_is_late_by_its_wait(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "rate": 1000})
    talk.control("PUT", "faults", [{"kind": "late_commit", "seconds": 0.1}])
    made = talk.post("incident", {}).result
    talk.control("DELETE", "faults")
    after = talk.post("incident", {}).result
    stamps = [datetime.fromisoformat(record["sys_updated_on"]) for record in (made, after)]
    assert stamps[1] - stamps[0] >= timedelta(seconds=100)


# -- control operations in mid-run ---------------------------------------------------------------------------------


def _pages(talk: Talk, table: str, size: int, **params: str) -> list[list[str]]:
    pages, offset = [], 0
    while True:
        page = talk.get(
            f"table/{table}", sysparm_query="ORDERBYsys_id", sysparm_limit=size, sysparm_offset=offset, **params
        )
        pages.append([row["sys_id"] for row in page.result])
        offset += size
        if offset >= int(page.headers["x-total-count"]):
            return pages


@pytest.mark.behaviour("1.4", evidence="documentation: c_TableAPI.md; measured by others: several connectors")
def test_deletes_during_an_offset_sweep_make_it_skip_rows(talk: Talk) -> None:
    _rows(talk, 9)
    clean = {"method": "POST", "call": "clean", "body": {"table": "incident", "query": f"sys_id={0:032x}"}}
    talk.control("PUT", "faults", [{"kind": "operation", "operation": clean, "skip": 1, "count": 1}])
    seen = [sys_id for page in _pages(talk, "incident", 3) for sys_id in page]
    assert f"{3:032x}" not in seen, "the row that moved into the page read already"
    assert len(seen) == 8
    assert talk.instance.count("incident") == 8


def test_an_operation_that_is_refused_shows_in_the_journal(talk: Talk) -> None:
    wrong = {"method": "POST", "call": "clean", "body": {"table": "no_such_table"}}
    talk.control("PUT", "faults", [{"kind": "operation", "operation": wrong}])
    talk.control("DELETE", "calls")
    assert talk.get("table/incident").status == 200
    (call,) = talk.control("GET", "calls")["calls"]
    assert call["fault"].startswith("operation refused: ")
    assert "Invalid table no_such_table" in call["fault"]


# -- whom and when -------------------------------------------------------------------------------------------------


def test_rules_name_route_method_table_and_user_and_the_first_that_strikes_wins(talk: Talk) -> None:
    talk.control("POST", "users", {"user_name": "joe", "password": "p"})
    rules = [
        {"kind": "status", "status": 501, "route": "^/api/now/stats/"},
        {"kind": "status", "status": 502, "table": "cmdb_ci", "method": "get"},
        {"kind": "status", "status": 503, "user": "joe"},
        {"kind": "status", "status": 504, "table": "problem"},
    ]
    talk.control("PUT", "faults", rules)
    joe = talk.as_user("joe", "p")
    asked = [joe.get("stats/problem"), talk.get("cmdb/instance/cmdb_ci"), joe.get("table/problem")]
    asked += [talk.get("table/problem"), talk.get("table/incident")]
    assert [reply.status for reply in asked] == [501, 502, 503, 504, 200]
    assert talk.post("cmdb_ci", {"name": "of another method"}).status == 201


def test_latency_is_given_by_route_table_and_user(talk: Talk) -> None:
    _rows(talk, 10)
    _rows(talk, 1, "problem")
    rules = [{"table": "incident", "service_time": 0.02}, {"route": "/stats/", "rtt": 0.25}, {"user": "joe", "rtt": 0}]
    assert talk.control("PUT", "latency", {"rtt": 0.05, "rules": rules})["rules"][0]["rtt"] is None
    talk.control("PUT", "switches", {"quota_seconds": 0.1})
    talk.control("DELETE", "calls")
    assert len(talk.get("table/incident").result) == 5, "the quota, at 0.02 seconds a record"
    assert len(talk.get("table/problem").result) == 1
    talk.get("stats/problem", sysparm_count="true")
    took = [call["finished"] - call["started"] for call in talk.control("GET", "calls")["calls"]]
    assert [seconds >= least for seconds, least in zip(took, (0.15, 0.05, 0.25), strict=True)] == [True] * 3


@pytest.mark.behaviour("5", evidence="documentation: batch-api.md")
def test_items_of_a_batch_take_the_time_of_their_table(talk: Talk) -> None:
    _rows(talk, 2)
    _rows(talk, 2, "problem")
    talk.control("PUT", "switches", {"batch_seconds": 1})
    talk.control("PUT", "latency", {"rules": [{"table": "problem", "service_time": 0.6}]})
    done = _batch(talk, "table/incident", "table/incident", "table/problem", "table/incident")
    assert [item["id"] for item in done["serviced_requests"]] == ["0", "1", "2"]
    assert done["unserviced_requests"] == ["3"]


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ({"kind": "nonsense"}, ["kind", "nonsense"]),
        ({}, ["kind"]),
        ({"kind": "status", "stattus": 1}, ["stattus"]),
        ({"kind": "status", "status": "many"}, ["status"]),
        ({"kind": "status", "status": 99}, ["status"]),
        ({"kind": "status", "probability": 1.5}, ["probability"]),
        ({"kind": "status", "count": -1}, ["count"]),
        ({"kind": "status", "skip": -1}, ["skip"]),
        ({"kind": "delay", "seconds": -1}, ["seconds"]),
        ({"kind": "truncate", "fraction": 2}, ["fraction"]),
        ({"kind": "drip", "chunk_bytes": 0}, ["chunk_bytes"]),
        ({"kind": "error_in_body", "rows": -1}, ["rows"]),
        ({"kind": "status", "route": "("}, ["route", "regular expression"]),
        ({"kind": "status", "fraction": 0.1}, ["fraction", "status"]),
        ({"kind": "drop_before", "status": 503}, ["status", "drop_before"]),
        ({"kind": "drop_before", "in_batch": True}, ["in_batch", "drop_before"]),
        ({"kind": "unserviced"}, ["in_batch", "unserviced"]),
        ({"kind": "login_page", "form": "unavailable"}, ["form"]),
        ({"kind": "hibernating", "form": "asleep"}, ["form", "asleep"]),
        ({"kind": "operation"}, ["operation"]),
        ({"kind": "operation", "operation": {"method": "POST", "call": "nothing"}}, ["operation", "nothing"]),
        ({"kind": "operation", "operation": {"method": "POST"}}, ["operation", "call"]),
        ({"kind": "late_commit", "behind": -1}, ["behind"]),
        ({"kind": "status", "headers": {"X": "a\r\nY: b"}}, ["headers", "X"]),
        ({"kind": "status", "headers": {"a b": "c"}}, ["headers", "a b"]),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_a_malformed_rule_is_refused_with_the_name_of_its_member(
    talk: Talk, rule: dict[str, object], names: list[str]
) -> None:
    talk.control("PUT", "faults", [{"kind": "delay"}])
    reply = _put(talk, "faults", [{"kind": "delay"}, rule])
    status, message, detail = reply.error
    assert (status, message) == (400, "Bad control request")
    assert detail is not None
    assert "$[1]" in detail
    assert all(name in detail for name in names)
    assert len(talk.control("GET", "faults")["rules"]) == 1, "the rules before stay armed"


@pytest.mark.parametrize(
    ("latency", "name"),
    [({"rtt": -1}, "rtt"), ({"rules": [{"route": "("}]}, "rules[0].route"), ({"rules": [{"tabel": "x"}]}, "tabel")],
)
def test_a_malformed_latency_is_refused_with_the_name_of_its_member(
    talk: Talk, latency: dict[str, object], name: str
) -> None:
    status, _, detail = _put(talk, "latency", latency).error
    assert status == 400
    assert name in (detail or "")


def _put(talk: Talk, call: str, body: object) -> Reply:
    return talk.call("PUT", f"/_nowtwin/{call}", json.dumps(body).encode())
