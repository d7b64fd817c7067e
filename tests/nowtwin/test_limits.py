"""Who waits and who is turned away: semaphores, session queues, rate limit rules, transaction quotas.

Evidence: servicenow-api.md 1.8, 1.9, 5, 7.2, 10 (D:api-reference/rest-api-explorer/inbound-REST-API-rate-limiting.md). The
order of waiting (session first) and the page of a 429 are assumptions, the latter with a switch.
"""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from nowtwin.behaviour.switches import Switches
from nowtwin.limits.documented import documented_limits
from tests.nowtwin.talk import Reply, Talk, basic

pytestmark = pytest.mark.behaviour(
    "1.8, 1.9, 10", evidence="documentation: inbound-REST-API-rate-limiting.md, c_DefaultQuotaRules.md, KB0635398"
)
START = "2025-01-01 00:20:00"
RULES = "sys_rate_limit_rules"


def _at_once(talk: Talk, number: int, path: str = "table/incident") -> list[Reply]:
    with ThreadPoolExecutor(number) as pool:
        return [reply.result() for reply in [pool.submit(talk.get, path) for _ in range(number)]]


def _slow(talk: Talk, seconds: float = 0.5) -> None:
    talk.control("PUT", "faults", [{"kind": "delay", "seconds": seconds}])


def _role(talk: Talk, name: str) -> str:
    sys_id: str = talk.rows("sys_user_role", f"name={name}")[0]["sys_id"]
    return sys_id


@pytest.mark.behaviour("1.7, 5, 10", evidence="documentation: c_DefaultQuotaRules.md, KB0635398, KB0747638")
def test_the_numbers_of_a_served_twin_are_the_documented_ones(talk: Talk) -> None:
    talk.instance.switches = documented_limits(Switches())
    numbers = {
        "api_semaphore": 4, "api_queue": 50, "page_semaphore": 16, "page_queue": 150, "session_queue": 10,
        "quota_seconds": 60, "batch_seconds": 30, "page_quota_seconds": 298, "rate_limit_commit_seconds": 30,
        "url_limit": 8192, "body_limit": 10 * 1024 * 1024, "batch_output_limit": 10 * 1024 * 1024,
    }  # fmt: skip
    switches = talk.control("GET", "switches")
    assert {name: switches[name] for name in numbers} == numbers


# -- semaphores and sessions ---------------------------------------------------------------------------------------


@pytest.mark.behaviour(
    "1.8, 10",
    evidence="documentation: io-semaphores-performance-metrics.md, KB0635398; assumption: the body of the 429",
    switch="api_semaphore api_queue",
)
def test_a_node_runs_some_requests_queues_some_and_turns_the_rest_away(talk: Talk) -> None:
    talk.control("PUT", "switches", {"api_semaphore": 1, "api_queue": 2})
    _slow(talk)
    replies = _at_once(talk, 6)
    assert Counter(reply.status for reply in replies) == {200: 3, 429: 3}
    turned_away = next(reply for reply in replies if reply.status == 429)
    assert turned_away.headers["content-type"].startswith("text/html")
    assert "retry-after" not in turned_away.headers


@pytest.mark.behaviour("10", evidence="documentation: KB0635398", switch="page_semaphore page_queue")
def test_pages_have_a_semaphore_of_their_own(talk: Talk) -> None:
    talk.control("PUT", "switches", {"page_semaphore": 1, "page_queue": 0, "overload_in_json": True})
    _slow(talk)
    with ThreadPoolExecutor(4) as pool:
        pages = [pool.submit(talk.call, "GET", "/stats.do") for _ in range(3)]
        assert talk.get("table/incident").status == 200
        statuses = Counter(page.result().status for page in pages)
    assert statuses[429] == 2


@pytest.mark.behaviour("1.8", evidence="assumption: the text", switch="overload_in_json")
def test_the_429_may_have_an_error_body_by_switch(talk: Talk) -> None:
    talk.control("PUT", "switches", {"api_semaphore": 1, "api_queue": 0, "overload_in_json": True})
    _slow(talk)
    refused = next(reply for reply in _at_once(talk, 3) if reply.status == 429)
    assert refused.error == (429, "Too Many Requests", None)


def test_each_node_has_its_own_semaphore(talk: Talk) -> None:
    talk.control("PUT", "nodes", [{"name": "one"}, {"name": "two"}])
    talk.control("PUT", "switches", {"api_semaphore": 1, "api_queue": 0})
    _slow(talk)
    assert Counter(reply.status for reply in _at_once(talk, 4)) == {200: 2, 429: 2}


@pytest.mark.behaviour(
    "1.9", evidence="measured by others: pysnow#122; documentation: KB0552064", switch="session_queue"
)
def test_a_session_runs_one_request_at_a_time_and_answers_202_when_too_many_queue(talk: Talk) -> None:
    cookie = talk.get("table/incident").cookies[0].partition(";")[0]
    shared = Talk(talk.url, talk.instance, {"Cookie": cookie})
    talk.control("PUT", "switches", {"session_queue": 2})
    _slow(talk)
    replies = _at_once(shared, 5)
    assert Counter(reply.status for reply in replies) == {200: 3, 202: 2}
    assert all(reply.body == b"" for reply in replies if reply.status == 202)
    calls = talk.control("GET", "calls")["calls"]
    assert [call["status"] for call in calls].count(202) == 2
    assert len(_at_once(talk, 5)) == 5  # without a cookie every request has a session of its own
    assert all(reply.status == 200 for reply in _at_once(talk, 5))


def test_a_session_stays_on_its_node(talk: Talk) -> None:
    talk.control("PUT", "nodes", [{"name": "fast", "skew": 90}, {"name": "slow", "skew": -90}])
    talk.control("PUT", "clock", {"set": START, "rate": 0})
    for name, stamp in (("fast", "2025-01-01 00:21:30"), ("slow", "2025-01-01 00:18:30")):
        routed = Talk(talk.url, talk.instance, {**talk.headers, "Cookie": f"glide_user_route=glide.{name}"})
        made = routed.post("incident", {"short_description": name})
        assert made.result["sys_created_on"] == stamp
        assert f"glide_user_route=glide.{name}; Path=/; HttpOnly" in made.cookies
    rows = talk.rows("incident", "ORDERBYsys_updated_on^ORDERBYsys_id")
    assert [row["short_description"] for row in rows] == ["slow", "fast"]  # written in the other order


@pytest.mark.parametrize("nodes", [[], [{"name": "a"}, {"name": "a"}], [{"name": "a b"}], [{"nam": "a"}]])
def test_nodes_need_distinct_names(talk: Talk, nodes: list[dict[str, str]]) -> None:
    assert talk.call("PUT", "/_nowtwin/nodes", json.dumps(nodes).encode()).status == 400


def test_a_bare_twin_has_no_limits() -> None:
    switches = Switches()
    assert (switches.api_semaphore, switches.page_semaphore, switches.session_queue) == (0, 0, 0)


# -- quotas --------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour(
    "1.9, 10", evidence="documentation: c_DefaultQuotaRules.md; measured by others: PySNC", switch="quota_seconds"
)
def test_a_long_list_is_cut_off_by_the_quota_with_an_error_behind_its_rows(talk: Talk) -> None:
    talk.instance.load("incident", [{"short_description": str(n)} for n in range(40)])
    talk.control("PUT", "switches", {"quota_seconds": 0.1})
    talk.control("PUT", "latency", {"service_time": 0.01})
    reply = talk.get("table/incident")
    assert (reply.status, len(reply.result)) == (200, 10)
    assert reply.json["error"]["message"] == "Transaction cancelled: maximum execution time exceeded"
    assert len(talk.get("table/incident", sysparm_limit=5).result) == 5
    assert "error" not in talk.get("table/incident", sysparm_limit=10).json


def test_a_quota_of_an_unlisted_api_is_not_watched(talk: Talk) -> None:
    talk.control("PUT", "switches", {"quota_seconds": 0.001})
    talk.control("PUT", "latency", {"service_time": 0.01})
    assert "error" not in talk.get("ui/user/current_user").json
    assert "error" in talk.get("stats/incident", sysparm_count="true").json


@pytest.mark.behaviour(
    "10", evidence="documentation: c_DefaultQuotaRules.md; assumption: the page", switch="page_quota_seconds"
)
def test_a_page_that_takes_too_long_is_500(talk: Talk) -> None:
    assert Switches().page_quota_seconds == 298
    talk.instance.load("incident", [{"short_description": str(n)} for n in range(20)])
    talk.control("PUT", "latency", {"service_time": 0.01})
    assert talk.call("GET", "/incident_list.do").status == 200
    talk.control("PUT", "switches", {"page_quota_seconds": 0.1})
    cut = talk.call("GET", "/incident_list.do")
    assert (cut.status, b"maximum execution time exceeded" in cut.body) == (500, True)


# -- rate limits ---------------------------------------------------------------------------------------------------


def test_without_rules_nothing_is_limited(talk: Talk) -> None:
    assert "x-ratelimit-limit" not in talk.get("table/incident").headers


def test_a_rule_for_all_users_counts_each_user_for_himself(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "rate": 0})
    talk.instance.add_user("beth", "beth")
    body = {"name": "Two", "rest_api": "Table API", "table": "incident", "method": "GET", "rate_limit": "2"}
    rule = talk.post(RULES, body | {"type": "all_users"}).result["sys_id"]
    for _ in range(2):
        reply = talk.get("table/incident")
        assert reply.headers["x-ratelimit-limit"] == "2"
        assert reply.headers["x-ratelimit-rule"] == rule
        assert reply.headers["x-ratelimit-reset"] == "1735693200"  # 01:00
        assert "retry-after" not in reply.headers
    denied = talk.get("table/incident")
    text = "Rate limit of 2 requests per hour for Table API exceeded"
    assert denied.error == (429, "Rate limit exceeded", text)
    assert denied.headers["retry-after"] == "2400"
    assert talk.as_user("beth", "beth").get("table/incident").status == 200
    assert talk.get("table/problem").status == 200
    assert talk.post("incident", {}).status == 201
    talk.control("PUT", "clock", {"advance": 2400})
    assert talk.get("table/incident").status == 200


def test_a_rule_for_the_user_comes_before_his_roles_and_these_before_everyone(talk: Talk) -> None:
    """The documented example: two for all, three and five for roles, ten for one user."""
    ids = {name: talk.instance.add_user(name, name) for name in ("abel", "itil_user", "nobody")}
    for name, role in (("abel", "import_admin"), ("abel", "itil"), ("itil_user", "itil")):
        talk.post("sys_user_has_role", {"user": ids[name], "role": _role(talk, role), "state": "active"})
    rules = [
        {"type": "all_users", "rate_limit": "2"},
        {"type": "role", "role": _role(talk, "import_admin"), "rate_limit": "3"},
        {"type": "role", "role": _role(talk, "itil"), "rate_limit": "5"},
        {"type": "user", "user": ids["itil_user"], "rate_limit": "10"},
    ]
    for number, rule in enumerate(rules):
        talk.post(RULES, rule | {"name": str(number), "resource": "GET /now/v2/table/incident"})
    limits = {
        name: talk.as_user(name, name).call("GET", "/api/now/v2/table/incident").headers["x-ratelimit-limit"]
        for name in ids
    }
    assert limits == {"abel": "3", "itil_user": "10", "nobody": "2"}


def test_a_new_limit_starts_the_count_anew_and_an_inactive_rule_is_none(talk: Talk) -> None:
    rule = talk.post(RULES, {"name": "One", "rate_limit": "1", "rest_api": "Aggregate API"}).result["sys_id"]
    assert [talk.get("stats/incident", sysparm_count="true").status for _ in range(2)] == [200, 429]
    talk.patch(RULES, rule, {"rate_limit": "2"})
    assert [talk.get("stats/incident", sysparm_count="true").status for _ in range(3)] == [200, 200, 429]
    talk.patch(RULES, rule, {"active": "false"})
    assert "x-ratelimit-limit" not in talk.get("stats/incident", sysparm_count="true").headers


def test_counts_and_violations_become_records_every_30_seconds(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "rate": 0})
    rule = talk.post(RULES, {"name": "One", "rate_limit": "1", "table": "incident"}).result["sys_id"]
    assert [talk.get("table/incident").status for _ in range(3)] == [200, 429, 429]
    assert talk.rows("sys_rate_limit_count") == []
    talk.control("PUT", "clock", {"advance": 30})
    talk.get("table/incident")
    (count,) = talk.rows("sys_rate_limit_count", sysparm_exclude_reference_link="true")
    assert (count["rule"], count["count"], count["node_id"]) == (rule, "1", "nowtwin")
    assert talk.rows("sys_rate_limit_violation")[0]["count"] == "2"


@pytest.mark.behaviour(
    "1.8", evidence="documentation: inbound-REST-API-rate-limiting.md", switch="rate_limit_commit_seconds"
)
def test_nodes_overshoot_a_limit_until_they_have_told_each_other(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "rate": 0})
    talk.control("PUT", "nodes", [{"name": "one"}, {"name": "two"}])
    talk.post(RULES, {"name": "Two", "rate_limit": "2", "table": "incident"})
    assert [talk.get("table/incident").status for _ in range(5)].count(200) == 4
    talk.control("PUT", "clock", {"advance": 3600})
    assert [talk.get("table/incident").status for _ in range(2)] == [200, 200]
    talk.control("PUT", "clock", {"advance": 30})
    assert [talk.get("table/incident").status for _ in range(2)] == [429, 429]


@pytest.mark.behaviour("5", evidence="assumption: counted one by one", switch="batch_items_rate_limited")
def test_requests_inside_a_batch_are_limited_one_by_one(talk: Talk) -> None:
    talk.post(RULES, {"name": "One", "rate_limit": "1", "table": "incident"})
    items = [{"id": str(n), "method": "GET", "url": "/api/now/table/incident"} for n in range(2)]
    batch = {"batch_request_id": "1", "rest_requests": items}
    served = talk.send("POST", "v1/batch", batch).json["serviced_requests"]
    assert [entry["status_code"] for entry in served] == [200, 429]
    talk.control("PUT", "switches", {"batch_items_rate_limited": False})
    served = talk.send("POST", "v1/batch", batch).json["serviced_requests"]
    assert [entry["status_code"] for entry in served] == [200, 200]


def test_a_nonsense_limit_limits_nothing(talk: Talk) -> None:
    for text in ("", "many", "-1"):
        talk.post(RULES, {"name": text, "rate_limit": text})
    assert talk.get("table/incident").status == 200


def test_refused_sign_ins_are_not_counted(talk: Talk) -> None:
    talk.post(RULES, {"name": "One", "rate_limit": "1", "table": "incident"})
    wrong = Talk(talk.url, talk.instance, {"Authorization": basic("admin", "wrong")})
    assert [wrong.get("table/incident").status for _ in range(3)] == [401, 401, 401]
    assert talk.get("table/incident").status == 200
