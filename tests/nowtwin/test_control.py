"""The control API: faults, latency, journals, hidden rows, time, loading (docs/nowtwin.md)."""

import json
import threading
from http.client import BadStatusLine, IncompleteRead, RemoteDisconnected

import pytest

from nowtwin.control import routes as control
from nowtwin.http.messages import Request
from tests.nowtwin.talk import Talk

BROKEN = (RemoteDisconnected, ConnectionResetError, BadStatusLine)


def _rows(talk: Talk, count: int) -> None:
    rows = [{"sys_id": f"{n:032x}", "short_description": f"no {n}"} for n in range(count)]
    assert talk.control("POST", "rows", {"table": "incident", "rows": rows}) == {"loaded": count}


@pytest.mark.behaviour("1.8, 10", evidence="documentation: r_RESTAPIHTTPResponseCodes.md")
def test_a_status_fault_strikes_what_it_names_as_often_as_it_says(talk: Talk) -> None:
    rule = {
        "kind": "status",
        "status": 429,
        "headers": {"Retry-After": "7"},
        "table": "incident",
        "method": "GET",
        "skip": 1,
        "count": 2,
    }
    talk.control("PUT", "faults", [rule])
    replies = [talk.get("table/incident") for _ in range(5)]
    assert [reply.status for reply in replies] == [200, 429, 429, 200, 200]
    assert replies[1].headers["retry-after"] == "7"
    assert talk.get("table/problem").status == 200
    assert talk.control("GET", "faults")["rules"][0]["struck"] == 2
    talk.control("DELETE", "faults")
    assert talk.control("GET", "faults") == {"rules": []}


@pytest.mark.behaviour("1.9", evidence="assumption: networks break")
def test_a_dropped_request_is_not_executed_and_a_lost_response_is(talk: Talk) -> None:
    talk.control("PUT", "faults", [{"kind": "drop_before", "method": "POST", "count": 1}])
    with pytest.raises(BROKEN):
        talk.post("incident", {"short_description": "before"})
    talk.control("PUT", "faults", [{"kind": "drop_after", "method": "POST", "count": 1}])
    with pytest.raises(BROKEN):
        talk.post("incident", {"short_description": "after"})
    assert talk.names("incident", "") == ["after"]


@pytest.mark.behaviour("1.9", evidence="assumption: networks break")
def test_a_truncated_body_ends_before_its_length(talk: Talk) -> None:
    _rows(talk, 20)
    talk.control("PUT", "faults", [{"kind": "truncate", "fraction": 0.3, "count": 1}])
    with pytest.raises(IncompleteRead) as broken:
        talk.get("table/incident")
    assert broken.value.partial.startswith(b'{"result":[{')


@pytest.mark.behaviour("1.9", evidence="measured by others: pysnow#122; measured by others: SL")
@pytest.mark.parametrize(
    ("kind", "status", "content_type", "body"),
    [("accepted", 202, None, b""), ("null_body", 200, "application/json;charset=UTF-8", b"null")],
)
def test_successes_that_are_none(talk: Talk, kind: str, status: int, content_type: str | None, body: bytes) -> None:
    talk.control("PUT", "faults", [{"kind": kind}])
    reply = talk.post("incident", {"short_description": "x"})
    assert (reply.status, reply.headers.get("content-type"), reply.body) == (status, content_type, body)
    assert talk.instance.count("incident") == 0


@pytest.mark.behaviour("1.9", evidence="measured by others: several clients")
def test_a_hibernating_instance_answers_a_page_with_status_200(talk: Talk) -> None:
    talk.control("PUT", "faults", [{"kind": "hibernating"}])
    reply = talk.get("table/incident")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html;charset=UTF-8")
    assert b"Your instance is hibernating" in reply.body


@pytest.mark.behaviour("1.9", evidence="measured by others: PySNC, pysnow, CDAP")
def test_a_cancelled_transaction_appends_an_error_to_the_rows_sent_so_far(talk: Talk) -> None:
    _rows(talk, 10)
    talk.control("PUT", "faults", [{"kind": "error_in_body", "rows": 4}])
    reply = talk.get("table/incident")
    assert reply.status == 200
    assert len(reply.result) == 4
    assert reply.json["error"]["message"] == "Transaction cancelled: maximum execution time exceeded"


def test_probable_faults_fall_the_same_way_after_a_reset(talk: Talk) -> None:
    def statuses() -> list[int]:
        talk.control("POST", "reset")
        talk.control("PUT", "faults", [{"kind": "status", "status": 503, "probability": 0.5}])
        return [talk.get("table/incident", sysparm_limit=1).status for _ in range(20)]

    first = statuses()
    assert {200, 503} == set(first)
    assert statuses() == first


def test_a_fault_may_be_for_one_user_only(talk: Talk) -> None:
    talk.control("POST", "users", {"user_name": "joe", "password": "p"})
    talk.control("PUT", "faults", [{"kind": "status", "status": 500, "user": "joe"}])
    assert talk.get("table/incident").status == 200
    assert talk.as_user("joe", "p").get("table/incident").status == 500


@pytest.mark.behaviour("10", evidence="measured by others: LH")
def test_latency_is_per_request_and_per_record_and_requests_overlap(talk: Talk) -> None:
    _rows(talk, 10)
    talk.control("PUT", "latency", {"rtt": 0.15, "service_time": 0.01})
    threads = [threading.Thread(target=talk.get, args=("table/incident",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal = talk.control("GET", "calls")
    times = [call["finished"] - call["started"] for call in journal["calls"]]
    assert min(times) >= 0.25
    assert journal["in_flight_max"] >= 2
    span = max(call["finished"] for call in journal["calls"]) - min(call["started"] for call in journal["calls"])
    assert span < sum(times)


def test_the_journal_of_calls_tells_what_was_asked_and_no_secrets(talk: Talk) -> None:
    _rows(talk, 3)
    talk.control("DELETE", "calls")
    talk.get("table/incident", sysparm_limit=2, sysparm_query="ORDERBYsys_id")
    talk.get("table/nope")
    talk.call("POST", "/oauth_token.do?password=hush", b"")
    journal = talk.control("GET", "calls")
    one, two, three = journal["calls"]
    assert journal["total"] == 3
    assert (one["method"], one["path"], one["status"], one["rows"], one["user"]) == (
        "GET",
        "/api/now/table/incident",
        200,
        2,
        "admin",
    )
    assert one["params"] == {"sysparm_query": "ORDERBYsys_id", "sysparm_limit": "2"}
    assert two["status"] == 400
    assert "hush" not in json.dumps(three)
    assert [call["number"] for call in talk.control("GET", "calls?after=2")["calls"]] == [3]


def test_the_journal_of_writes_says_when_each_version_was_stored(talk: Talk) -> None:
    sys_id = talk.post("incident", {"short_description": "a"}).result["sys_id"]
    talk.patch("incident", sys_id, {"short_description": "b"})
    talk.delete("incident", sys_id)
    journal = talk.control("GET", "writes")
    entries = [(w["operation"], w["sys_mod_count"]) for w in journal["writes"] if w["sys_id"] == sys_id]
    assert entries == [("insert", 0), ("update", 1), ("delete", 1)]
    times = [w["at"] for w in journal["writes"]]
    assert times == sorted(times)
    assert talk.control("GET", f"writes?after={journal['next']}")["writes"] == []
    talk.post("incident", {})
    assert len(talk.control("GET", f"writes?after={journal['next']}")["writes"]) == 1


@pytest.mark.behaviour("1.4, 1.6", evidence="measured by others: LH adr-124, SL")
def test_hidden_rows_shorten_pages_but_not_the_count(talk: Talk) -> None:
    _rows(talk, 20)
    talk.control("POST", "users", {"user_name": "joe", "password": "p"})
    hidden = ",".join(f"{n:032x}" for n in range(8))
    talk.control("PUT", "hidden", [{"table": "incident", "query": f"sys_idIN{hidden}", "user": "joe"}])
    joe = talk.as_user("joe", "p")
    pages = [
        joe.get("table/incident", sysparm_query="ORDERBYsys_id", sysparm_limit=5, sysparm_offset=offset)
        for offset in range(0, 20, 5)
    ]
    assert [len(page.result) for page in pages] == [0, 2, 5, 5]
    assert {page.headers["x-total-count"] for page in pages} == {"20"}
    gone = f"{3:032x}"
    assert joe.get(f"table/incident/{gone}").error[:2] == (404, "No Record found")
    assert joe.patch("incident", gone, {"short_description": "x"}).status == 404
    assert joe.delete("incident", gone).status == 404
    assert len(joe.rows("task")) == 12
    assert len(talk.rows("incident")) == 20


@pytest.mark.behaviour("1.6", evidence="documentation: c_RESTAPI.md")
def test_hidden_columns_are_absent(talk: Talk) -> None:
    _rows(talk, 1)
    talk.control("POST", "users", {"user_name": "joe", "password": "p"})
    talk.control("PUT", "hidden", [{"table": "task", "elements": ["short_description"]}])
    joe = talk.as_user("joe", "p")
    assert "short_description" not in joe.rows("incident")[0]
    assert joe.rows("incident", sysparm_fields="short_description,sys_id") == [{"sys_id": f"{0:032x}"}]
    assert "short_description" in talk.rows("incident")[0]


def test_time_can_be_set_frozen_advanced_and_run(talk: Talk) -> None:
    clock = talk.control("PUT", "clock", {"set": "2020-02-29 23:59:59", "frozen": True})
    assert (clock["stamp"], clock["rate"]) == ("2020-02-29 23:59:59", 0)
    assert talk.control("PUT", "clock", {"advance": 1})["stamp"] == "2020-03-01 00:00:00"
    assert talk.control("PUT", "clock", {"rate": 3600})["rate"] == 3600
    assert talk.control("GET", "clock")["stamp"] >= "2020-03-01 00:00:00"


def test_reset_empties_the_instance_and_keeps_the_administrator(talk: Talk) -> None:
    _rows(talk, 5)
    talk.control("POST", "users", {"user_name": "joe", "password": "p"})
    talk.control("PUT", "faults", [{"kind": "status", "status": 500}])
    talk.control("POST", "reset")
    assert talk.rows("incident") == []
    assert talk.as_user("joe", "p").get("table/incident").status == 401


def test_rows_of_one_table_are_exported_as_stored(talk: Talk) -> None:
    talk.control(
        "POST", "rows", {"table": "incident", "rows": [{"sys_id": "1" * 32, "state": "2", "sys_mod_count": "4"}]}
    )
    talk.control("POST", "rows", {"table": "problem", "rows": [{"sys_id": "2" * 32}]})
    (row,) = talk.control("GET", "export?table=incident")["rows"]
    assert (row["sys_id"], row["state"], row["sys_mod_count"], row["sys_class_name"]) == (
        "1" * 32,
        "2",
        "4",
        "incident",
    )
    assert len(talk.control("GET", "export?table=task")["rows"]) == 2
    assert talk.control("GET", "count?table=task&query=state=2") == {"count": 1}


@pytest.mark.parametrize(
    ("method", "name", "body"),
    [
        ("PUT", "faults", b'[{"kind":"nonsense"}]'),
        ("PUT", "faults", b"{"),
        ("PUT", "clock", b'{"set":"tomorrow"}'),
        ("PUT", "switches", b'{"no_such_switch":true}'),
        ("PUT", "switches", b'{"url_limit":"x"}'),
        ("POST", "rows", b'{"table":"incident","rows":[{"no_such_column":"x"}]}'),
        ("PUT", "hidden", b'[{"table":"no_such_table"}]'),
        ("GET", "calls?after=x", None),
        ("GET", "export?table=no_such_table", None),
    ],
)
def test_bad_control_requests_are_400_with_a_reason(talk: Talk, method: str, name: str, body: bytes | None) -> None:
    reply = talk.call(method, f"/_nowtwin/{name}", body)
    status, message, _ = reply.error
    assert status == 400
    assert message


def test_an_unknown_control_is_404(talk: Talk) -> None:
    assert talk.call("GET", "/_nowtwin/nothing").status == 404


def test_only_this_machine_may_control(talk: Talk) -> None:
    refused = control.answer(talk.instance, Request("POST", "/_nowtwin/reset"), "192.0.2.7")
    assert refused.status == 403
