"""What sources leave open about paths, refusals, batches and sign-in: each switch turned, the answer is the other one."""

import base64
import json
from urllib.parse import urlencode

import pytest

from nowtwin.instance import ADMIN_ID, OAUTH_CLIENT, OAUTH_SECRET
from tests.nowtwin.talk import Talk


def switch(talk: Talk, name: str, value: object) -> None:
    talk.control("PUT", "switches", {name: value})


@pytest.mark.behaviour("1.8", evidence="recorded exchange: one fixture shows 404", switch="unknown_path_status")
def test_an_unknown_path_is_400_or_404(talk: Talk) -> None:
    words = "Requested URI does not represent any resource"
    assert talk.get("nothing/here").error == (400, words, None)
    switch(talk, "unknown_path_status", 404)
    assert talk.get("nothing/here").error == (404, words, None)
    assert talk.get("table/nothing").error == (400, "Invalid table nothing", None)


@pytest.mark.behaviour("1.8", evidence="assumption: the text", switch="refused_methods_explained")
def test_a_method_that_is_not_supported_is_explained_or_not(talk: Talk) -> None:
    assert talk.send("POST", "stats/incident", {}).error == (405, "Method not supported", "POST is not supported here")
    switch(talk, "refused_methods_explained", value=False)
    refused = talk.send("POST", "stats/incident", {})
    assert (refused.status, refused.body) == (405, b"")


@pytest.mark.behaviour("1.8", evidence="measured by others: seen in some clients", switch="refusals_name_rights")
def test_a_refused_write_names_the_right_or_the_rule(talk: Talk) -> None:
    talk.control("PUT", "switches", {"access_control": True})
    talk.instance.add_user("robot", "secret", roles=("sn_incident_write",))
    talk.instance.load("incident", [{"sys_id": "1" * 32}])
    robot = talk.as_user("robot", "secret")
    detail = "ACL Exception {} Failed due to security constraints"
    assert robot.delete("incident", "1" * 32).error == (403, "Operation Failed", detail.format("Delete"))
    switch(talk, "refusals_name_rights", value=True)
    words = "Insufficient rights to {} record"
    assert robot.delete("incident", "1" * 32).error == (403, words.format("delete"), detail.format("Delete"))
    assert robot.post("cmdb_ci", {"name": "x"}).error == (403, words.format("create"), detail.format("Insert"))


@pytest.mark.behaviour("1.9", evidence="assumption: 200 or 302", switch="log_in_by_redirect")
def test_a_page_asked_for_by_nobody_redirects_or_is_the_log_in_page(talk: Talk) -> None:
    nobody = Talk(talk.url, talk.instance, {})
    asked = nobody.call("GET", "/incident_list.do")
    assert (asked.status, asked.headers["location"].partition("?")[0]) == (303, "/login.do")
    switch(talk, "log_in_by_redirect", value=False)
    asked = nobody.call("GET", "/incident_list.do")
    assert (asked.status, asked.headers["content-type"].partition(";")[0]) == (200, "text/html")
    assert b'name="user_password"' in asked.body


@pytest.mark.behaviour(
    "5", evidence="documentation: batch-api.md says not to rely on it", switch="batch_answers_in_order"
)
def test_a_batch_answers_in_order_or_not(talk: Talk) -> None:
    items = [{"id": name, "method": "GET", "url": "/api/now/table/incident", "headers": []} for name in "abc"]

    def order() -> list[str]:
        answer = talk.send("POST", "v1/batch", {"batch_request_id": "1", "rest_requests": items}).json
        return [entry["id"] for entry in answer["serviced_requests"]]

    assert order() == ["a", "b", "c"]
    switch(talk, "batch_answers_in_order", value=False)
    assert order() == ["c", "b", "a"]


@pytest.mark.behaviour("5", evidence="assumption: as outside of a batch")
def test_a_request_in_a_batch_can_be_cancelled_by_itself(talk: Talk) -> None:
    item = {"id": "a", "method": "GET", "url": "/api/now/table/incident", "headers": []}
    body = {"batch_request_id": "1", "rest_requests": [item, item | {"id": "b"}]}
    talk.instance.load("incident", [{"short_description": "x"}] * 3)
    rule = {"kind": "error_in_body", "rows": 1, "in_batch": True, "count": 1}
    talk.control("PUT", "faults", [rule])
    first, second = (
        json.loads(base64.b64decode(entry["body"]))
        for entry in talk.send("POST", "v1/batch", body).json["serviced_requests"]
    )
    assert (len(first["result"]), first["error"]["message"]) == (
        1,
        "Transaction cancelled: maximum execution time exceeded",
    )
    assert len(second["result"]) == 3


@pytest.mark.behaviour("6.6", evidence="assumption: what UI builder asks", switch="impersonation_session_route")
def test_the_impersonation_route_is_there_or_not(talk: Talk) -> None:
    told = talk.get("sg/impersonation/session").result
    assert (told["user_name"], told["user_sys_id"], told["is_impersonating"]) == ("admin", ADMIN_ID, False)
    assert talk.send("POST", "sg/impersonation/session", {}).status == 405
    switch(talk, "impersonation_session_route", value=False)
    words = "Requested URI does not represent any resource"
    assert talk.get("sg/impersonation/session").error == (400, words, None)


@pytest.mark.behaviour("7.1", evidence="assumption: newer code paths", switch="oauth_invalid_grant")
def test_a_bad_grant_is_401_or_400(talk: Talk) -> None:
    client = {"client_id": OAUTH_CLIENT, "client_secret": OAUTH_SECRET}

    def answered(**form: str) -> tuple[int, str]:
        body = urlencode({"grant_type": "password", **client, **form}).encode()
        got = talk.call("POST", "/oauth_token.do", body, {"Content-Type": "application/x-www-form-urlencoded"})
        return got.status, got.json.get("error", "")

    wrong = {"username": "admin", "password": "wrong"}
    assert answered(**wrong) == (401, "server_error")
    switch(talk, "oauth_invalid_grant", value=True)
    assert answered(**wrong) == (400, "invalid_grant")
    assert answered(grant_type="refresh_token", refresh_token="gone") == (400, "invalid_grant")
    assert answered(**wrong, client_secret="wrong") == (401, "server_error")
    assert answered(username="admin", password="admin") == (200, "")
