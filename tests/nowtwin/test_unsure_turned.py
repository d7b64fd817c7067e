"""Open questions whose stories elsewhere show one position only: here is the default, then the other one."""

from urllib.parse import urlencode

import pytest

from nowtwin.instance import OAUTH_CLIENT, OAUTH_SECRET
from tests.nowtwin.scripts import add_rule
from tests.nowtwin.talk import Talk

ONE = "1" * 32


def switch(talk: Talk, name: str, value: object) -> None:
    talk.control("PUT", "switches", {name: value})


@pytest.mark.behaviour("1.2", evidence="documentation: c_TableAPI.md", switch="no_count_drops_total")
def test_no_count_drops_the_total_or_not(talk: Talk) -> None:
    talk.instance.load("incident", [{}, {}, {}])

    def headers() -> tuple[bool, bool]:
        told = talk.get("table/incident", sysparm_limit=1, sysparm_no_count="true").headers
        return "x-total-count" in told, 'rel="last"' in told.get("link", "")

    assert headers() == (False, False)
    switch(talk, "no_count_drops_total", value=False)
    assert headers() == (True, True)


@pytest.mark.behaviour("1.7", evidence="measured by others: LH on close_code", switch="unknown_choice_dropped")
def test_an_unknown_choice_is_dropped_or_stored(talk: Talk) -> None:
    assert talk.post("incident", {"close_code": "odd"}).result["close_code"] == ""
    switch(talk, "unknown_choice_dropped", value=False)
    assert talk.post("incident", {"close_code": "odd"}).result["close_code"] == "odd"


@pytest.mark.behaviour("2.3", evidence="documentation: disagrees with itself", switch="case_insensitive_strings")
def test_case_counts_or_not(talk: Talk) -> None:
    talk.instance.load("incident", [{"short_description": "Printer"}])
    queries = ("short_description=printer", "short_descriptionLIKEPRINT", "short_descriptionINprinter,x")
    assert [len(talk.rows("incident", query)) for query in queries] == [1, 1, 1]
    switch(talk, "case_insensitive_strings", value=False)
    assert [len(talk.rows("incident", query)) for query in queries] == [0, 0, 0]
    assert len(talk.rows("incident", "short_description=Printer")) == 1


@pytest.mark.behaviour("2.5", evidence="documentation: GlideStringUtil doubles it", switch="double_caret_escapes")
def test_a_doubled_caret_is_tolerated_or_an_escape(talk: Talk) -> None:
    talk.instance.load("incident", [{"short_description": "a^b"}, {"short_description": "a"}])
    assert talk.names("incident", "short_description=a^^active=") == ["a"]
    switch(talk, "double_caret_escapes", value=True)
    assert talk.names("incident", "short_description=a^^b") == ["a^b"]


@pytest.mark.behaviour("2.6", evidence="measured by others: some reports", switch="query_dates_in_user_zone")
def test_literal_dates_are_utc_or_of_the_users_zone(talk: Talk) -> None:
    talk.instance.add_user("robot", "secret", time_zone="US/Pacific")
    talk.instance.load("incident", [{"short_description": "x", "opened_at": "2026-01-10 12:00:00"}])
    robot = talk.as_user("robot", "secret")
    later, earlier = "opened_at>2026-01-10 11:00:00", "opened_at>2026-01-10 03:00:00"
    assert (len(robot.rows("incident", later)), len(robot.rows("incident", earlier))) == (1, 1)
    switch(talk, "query_dates_in_user_zone", value=True)
    assert (len(robot.rows("incident", later)), len(robot.rows("incident", earlier))) == (0, 1)


@pytest.mark.behaviour("3.1", evidence="assumption: per locale", switch="group_integers")
def test_integers_display_grouped_or_not(talk: Talk) -> None:
    talk.instance.load("incident", [{"reassignment_count": "1234"}])

    def shown() -> list[str]:
        rows = talk.rows("incident", sysparm_fields="reassignment_count", sysparm_display_value="true")
        return [row["reassignment_count"] for row in rows]

    assert shown() == ["1,234"]
    switch(talk, "group_integers", value=False)
    assert shown() == ["1234"]


@pytest.mark.behaviour("6.5", evidence="measured by others: seen in the wild", switch="ire_insert_failed_code")
def test_an_item_that_the_platform_refuses_has_one_code_or_another(talk: Talk) -> None:
    add_rule(talk, "current.setAbortAction(true);", collection="cmdb_ci_linux_server")
    values = {"name": "lnx1", "serial_number": "S1"}

    def code() -> str:
        items = {"items": [{"className": "cmdb_ci_linux_server", "values": values}]}
        (item,) = talk.send("POST", "identifyreconcile", items, sysparm_data_source="ServiceNow").result["items"]
        return str(item["errors"][0]["error"])

    assert code() == "INSERT_FAILED"
    switch(talk, "ire_insert_failed_code", value=False)
    assert code() == "INVALID_INPUT_DATA"


@pytest.mark.behaviour("7.1", evidence="assumption: rotation", switch="refresh_token_rotates")
def test_a_refresh_token_stays_or_rotates(talk: Talk) -> None:
    client = {"client_id": OAUTH_CLIENT, "client_secret": OAUTH_SECRET}

    def asked(**form: str) -> tuple[int, str]:
        body = urlencode({**client, **form}).encode()
        got = talk.call("POST", "/oauth_token.do", body, {"Content-Type": "application/x-www-form-urlencoded"})
        return got.status, got.json.get("refresh_token", "")

    _, first = asked(grant_type="password", username="admin", password="admin")
    assert asked(grant_type="refresh_token", refresh_token=first) == (200, first)
    switch(talk, "refresh_token_rotates", value=True)
    status, second = asked(grant_type="refresh_token", refresh_token=first)
    assert (status, second == first) == (200, False)
    assert asked(grant_type="refresh_token", refresh_token=first)[0] == 401
    assert asked(grant_type="refresh_token", refresh_token=second)[0] == 200


@pytest.mark.behaviour("9.1", evidence="documentation: disagrees with itself", switch="unaudited_deletes_filed")
def test_deletes_on_tables_without_audit_are_filed_or_not(talk: Talk) -> None:
    def filed() -> int:
        made = talk.post("cmn_location", {"name": "here"}).result["sys_id"]
        talk.delete("cmn_location", made)
        return len(talk.rows("sys_audit_delete", f"documentkey={made}"))

    assert filed() == 1
    switch(talk, "unaudited_deletes_filed", value=False)
    assert filed() == 0


@pytest.mark.behaviour("11.1", evidence="documentation: refused or held, by release", switch="state_jumps_held")
def test_a_jump_of_a_change_is_refused_or_held(talk: Talk) -> None:
    made = talk.post("change_request", {"short_description": "a"}).result["sys_id"]
    assert talk.patch("change_request", made, {"state": "0"}).status == 403
    switch(talk, "state_jumps_held", value=True)
    held = talk.patch("change_request", made, {"state": "0", "short_description": "b"}).result
    assert (held["state"], held["short_description"]) == ("-5", "b")


@pytest.mark.behaviour("11.2", evidence="assumption: the default of new instances", switch="assets_created_async")
def test_the_asset_of_a_ci_is_made_at_once_or_later(talk: Talk) -> None:
    category = {"name": "Computer", "cmdb_ci_class": "cmdb_ci_computer", "asset_class": "alm_hardware"}
    made = talk.post("cmdb_model_category", category).result["sys_id"]
    model = talk.post("cmdb_hardware_product_model", {"name": "T14", "cmdb_model_category": made}).result["sys_id"]

    def assets_after_another_ci() -> int:
        talk.post("cmdb_ci_computer", {"name": "pc", "model_id": model})
        return len(talk.rows("alm_asset"))

    assert assets_after_another_ci() == 1
    switch(talk, "assets_created_async", value=True)
    assert assets_after_another_ci() == 1
    talk.control("POST", "jobs")
    assert len(talk.rows("alm_asset")) == 2
