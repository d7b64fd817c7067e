"""Only complete, honest answers pass; the others become the error whose reaction fits."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowbridge.model.errors import NowbridgeError, Park, Retry, Stop, Unsettled
from nowbridge.servicenow.answers import check
from nowbridge.transport.messages import Headers, Request, Response

READ = Request("GET", "/api/now/table/incident", asked="read a page of incident")
REPEATABLE = Request("PATCH", "/api/now/table/incident/1", body=b"{}", asked="update a record")
WRITE = Request("POST", "/api/now/table/incident", body=b"{}", asked="create a record", idempotent=False)
JSON = (("Content-Type", "application/json;charset=UTF-8"),)
HTML = (("Content-Type", "text/html;charset=UTF-8"),)
OUT_OF_TIME = "Transaction cancelled: maximum execution time exceeded"


def said(status: int, message: str, detail: str | None = None, *headers: tuple[str, str]) -> Response:
    body = {"error": {"message": message, "detail": detail}, "status": "failure"}
    return Response(status, Headers((*JSON, *headers)), json.dumps(body).encode())


def raw(status: int, body: bytes, *headers: tuple[str, str]) -> Response:
    return Response(status, Headers(headers or JSON), body)


READS: dict[str, tuple[Response, type[NowbridgeError], str]] = {
    "unknown table": (said(400, "Invalid table incidnt"), Stop, "table.unknown"),
    "unknown path": (said(400, "Requested URI does not represent any resource"), Stop, "path.unknown"),
    "no link headers": (said(400, "Pagination not supported", "set sysparm_..."), Stop, "query.too_long"),
    "odd query": (said(400, "Invalid query"), Stop, "query.refused"),
    "not logged in": (
        said(401, "User Not Authenticated", "Required to provide Auth information"),
        Stop,
        "auth.refused",
    ),
    "query on a hidden column": (said(403, "Insufficient rights to query records", "Field(s)"), Stop, "query.rights"),
    "no REST role": (said(403, "User Not Authorized", "Failed API level ACL Validation"), Stop, "rights.api"),
    "protected table": (said(403, "Operation Failed", "ACL"), Stop, "rights.table"),
    "403 without words": (raw(403, b"", *HTML), Stop, "rights.table"),
    "no such record": (said(404, "No Record found", "Record doesn't exist or ACL restricts"), Park, "record.missing"),
    "404 page": (raw(404, b"<html>", *HTML), Stop, "path.unknown"),
    "wrong verb": (said(405, "Method not supported"), Stop, "request.unsupported"),
    "wrong format": (raw(406, b""), Stop, "request.unsupported"),
    "long URL": (raw(414, b"", *HTML), Stop, "query.too_long"),
    "rate limit": (said(429, "Rate limit exceeded"), Retry, "busy.rate_limit"),
    "semaphores full": (raw(429, b"busy", *HTML), Retry, "busy.rate_limit"),
    "restart": (raw(503, b"<html>down</html>", *HTML), Retry, "busy.unavailable"),
    "locked": (said(409, "Record locked"), Retry, "busy.unavailable"),
    "teapot": (said(418, "I'm a teapot"), Stop, "answer.unexpected"),
    "out of time in a 400": (said(400, OUT_OF_TIME), Retry, "busy.quota"),
    "out of time in a 500": (said(500, OUT_OF_TIME), Retry, "busy.quota"),
    "out of time behind rows": (
        raw(200, json.dumps({"result": [{"sys_id": "1"}], "error": {"message": OUT_OF_TIME}}).encode()),
        Retry,
        "busy.quota",
    ),
    "another error in a 200": (raw(200, b'{"error":{"message":"x"},"status":"failure"}'), Retry, "answer.error"),
    "asleep": (raw(200, b"<title>Instance Hibernating page</title>", *HTML), Stop, "instance.hibernating"),
    "asleep with 503": (raw(503, b"Your instance is hibernating", *HTML), Stop, "instance.hibernating"),
    "asleep elsewhere": (
        raw(302, b"", ("Location", "https://developer.servicenow.com/x")),
        Stop,
        "instance.hibernating",
    ),
    "single sign-on": (raw(302, b"", ("Location", "https://idp.example.com/")), Stop, "answer.redirected"),
    "log-in page": (raw(200, b"<html>Log in</html>", *HTML), Stop, "answer.login_page"),
    "put aside": (raw(202, b""), Retry, "busy.session"),
    "empty": (raw(200, b""), Retry, "answer.cut"),
    "null": (raw(200, b"null"), Retry, "answer.cut"),
    "cut": (raw(200, b'{"result":[{"sys_id":"1"},{"sy'), Retry, "answer.cut"),
    "something else": (raw(200, b'{"hello":"world"}'), Stop, "answer.unexpected"),
}


@pytest.mark.parametrize(("response", "kind", "code"), READS.values(), ids=READS.keys())
def test_a_read_that_failed(response: Response, kind: type[NowbridgeError], code: str) -> None:
    with pytest.raises(kind) as caught:
        check(READ, response)
    assert caught.value.code == code
    assert caught.value.asked == "read a page of incident"


WRITES: dict[str, tuple[Request, Response, type[NowbridgeError], str]] = {
    "a rule": (WRITE, said(403, "Operation Failed", "aborted by Business Rule 'x'"), Park, "record.refused"),
    "a policy": (WRITE, said(403, "Operation Failed", "Data Policy Exception: mandatory"), Park, "record.refused"),
    "too large": (WRITE, said(400, "Exception while reading request", "Rejected large REST"), Park, "record.refused"),
    "gone": (REPEATABLE, said(404, "No Record found"), Park, "record.missing"),
    "restart": (WRITE, raw(503, b""), Unsettled, "write.unsettled"),
    "restart, repeatable": (REPEATABLE, raw(503, b""), Retry, "busy.unavailable"),
    "locked": (WRITE, said(409, "Record locked"), Unsettled, "write.unsettled"),
    "put aside": (WRITE, raw(202, b""), Unsettled, "write.unsettled"),
    "empty": (WRITE, raw(201, b""), Unsettled, "write.unsettled"),
    "cut": (WRITE, raw(201, b'{"result":{"sys_id":"'), Unsettled, "write.unsettled"),
    "cut, repeatable": (REPEATABLE, raw(200, b'{"result":{"sys_id":"'), Retry, "answer.cut"),
    "out of time": (WRITE, said(500, OUT_OF_TIME), Unsettled, "write.unsettled"),
    "out of time in a 200": (WRITE, raw(200, said(500, OUT_OF_TIME).body), Unsettled, "write.unsettled"),
    "rate limit": (WRITE, said(429, "Rate limit exceeded"), Retry, "busy.rate_limit"),
}


@pytest.mark.parametrize(("request_", "response", "kind", "code"), WRITES.values(), ids=WRITES.keys())
def test_a_write_that_failed(request_: Request, response: Response, kind: type[NowbridgeError], code: str) -> None:
    with pytest.raises(kind) as caught:
        check(request_, response)
    assert caught.value.code == code


RIGHT = [
    raw(200, b'{"result":[]}'),
    raw(201, b'{"result":{"sys_id":"1"}}'),
    raw(204, b""),
    raw(200, b'{"result":[{"error":"not an error of the call","short_description":"hibernating"}]}'),
    raw(200, b'{"batch_request_id":"1","serviced_requests":[]}'),
]


@pytest.mark.parametrize("response", RIGHT)
def test_right_answers_pass(response: Response) -> None:
    check(READ, response)


def test_servicenows_own_words_come_along_and_are_cut_to_length() -> None:
    with pytest.raises(Park) as caught:
        check(WRITE, said(403, "Operation Failed", "aborted by Business Rule 'No' " + "x" * 9_000))
    assert caught.value.answered.startswith("Operation Failed: aborted by Business Rule 'No'")
    assert len(caught.value.answered) <= 500


def test_a_second_factor_is_named() -> None:
    with pytest.raises(Stop, match="second factor"):
        check(READ, said(401, "User Not Authenticated", None, ("X-MFA_TOKEN", "invalid")))


def test_the_wait_that_the_instance_asks_for_comes_along() -> None:
    with pytest.raises(Retry) as caught:
        check(READ, said(429, "Rate limit exceeded", None, ("Retry-After", "90")))
    assert caught.value.after == 90


@given(st.integers(100, 599), st.binary(max_size=60), st.sampled_from([READ, WRITE, REPEATABLE]))
def test_whatever_comes_is_accepted_or_becomes_one_of_our_errors(status: int, body: bytes, request_: Request) -> None:
    try:
        check(request_, raw(status, body))
    except Unsettled:
        repeatable = request_.idempotent
    except NowbridgeError:
        return
    else:
        return
    assert not repeatable


PAGE = json.dumps({"result": [{"sys_id": str(n), "short_description": "é" * 9} for n in range(9)]}).encode()


@given(st.integers(0, len(PAGE) - 1))
def test_a_page_cut_anywhere_is_noticed(length: int) -> None:
    with pytest.raises(Retry) as caught:
        check(READ, raw(200, PAGE[:length]))
    assert caught.value.code == "answer.cut"
