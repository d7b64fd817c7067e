"""Writing through the Table API: what is taken, what is ignored, what the platform adds (servicenow-api.md 1.7, 11)."""

import re

import pytest

from tests.nowtwin.talk import Talk

ADMIN = "6816f79cc0a8016401c5a33be04be441"


@pytest.mark.behaviour("1.1", evidence="documentation: c_TableAPI.md")
def test_an_insert_is_answered_with_the_whole_record_and_its_address(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": "2025-03-04 05:06:07", "rate": 0})
    reply = talk.post("incident", {"short_description": "Disk full", "impact": 1, "urgency": "2"})
    record = reply.result
    assert reply.status == 201
    assert reply.headers["location"] == f"{talk.url}/api/now/table/incident/{record['sys_id']}"
    assert re.fullmatch(r"[0-9a-f]{32}", record["sys_id"])
    assert record["number"] == "INC0010001"
    assert (record["priority"], record["state"], record["incident_state"], record["active"]) == ("2", "1", "1", "true")
    assert record["opened_at"] == record["sys_created_on"] == record["sys_updated_on"] == "2025-03-04 05:06:07"
    assert record["sys_created_by"] == "admin"
    assert record["opened_by"]["value"] == ADMIN
    assert record["sys_mod_count"] == "0"
    assert record["task_effective_number"] == "INC0010001"


@pytest.mark.behaviour("11.1", evidence="documentation: sys_number")
def test_numbers_count_up_above_what_was_loaded(talk: Talk) -> None:
    talk.instance.load("incident", [{"number": "INC0012345"}])
    assert talk.post("incident", {}).result["number"] == "INC0012346"
    assert talk.post("incident", {}).result["number"] == "INC0012347"
    assert talk.post("problem", {}).result["number"] == "PRB0040001"
    assert talk.post("incident", {"number": "MINE1"}).result["number"] == "MINE1"


@pytest.mark.behaviour("1.7", evidence="measured by others: PySNC's tests")
def test_a_sys_id_of_the_clients_choice_is_honoured_once(talk: Talk) -> None:
    mine = "0123456789abcdef0123456789abcdef"
    assert talk.post("incident", {"sys_id": mine}).result["sys_id"] == mine
    status, message, detail = talk.post("incident", {"sys_id": mine}).error
    assert (status, message) == (403, "Operation Failed")
    assert detail == (f"Unique Key violation detected by database (Duplicate entry '{mine}' for key 'PRIMARY')")
    assert talk.instance.count("incident") == 1


@pytest.mark.behaviour("1.7", evidence="assumption: status and wrapping of the message")
def test_a_unique_column_is_kept_unique(talk: Talk) -> None:
    assert talk.post("sys_user", {"user_name": "admin"}).status == 403


@pytest.mark.behaviour("1.1", evidence="measured by others: servicenow-cli")
@pytest.mark.parametrize("verb", ["PUT", "PATCH"])
def test_an_update_changes_what_it_names_and_leaves_the_rest(talk: Talk, verb: str) -> None:
    record = talk.post("incident", {"short_description": "a", "description": "b"}).result
    talk.control("PUT", "clock", {"advance": 60})
    reply = talk.send(verb, f"table/incident/{record['sys_id']}", {"short_description": "changed"})
    assert reply.status == 200
    assert (reply.result["short_description"], reply.result["description"]) == ("changed", "b")
    assert reply.result["sys_mod_count"] == "1"
    assert reply.result["sys_updated_on"] > record["sys_updated_on"]
    assert reply.result["sys_created_on"] == record["sys_created_on"]


@pytest.mark.behaviour("9.2", evidence="assumption")
def test_an_update_that_changes_nothing_is_no_update(talk: Talk) -> None:
    record = talk.post("incident", {"short_description": "a"}).result
    talk.control("PUT", "clock", {"advance": 60})
    again = talk.patch("incident", record["sys_id"], {"short_description": "a"}).result
    assert (again["sys_mod_count"], again["sys_updated_on"]) == ("0", record["sys_updated_on"])


@pytest.mark.behaviour(
    "1.7", evidence="measured by others: PySNC's tests; measured by others: LH", switch="unknown_choice_dropped"
)
def test_unknown_columns_unknown_choices_and_system_columns_are_ignored_silently(talk: Talk) -> None:
    record = talk.post("incident", {"category": "hardware"}).result
    reply = talk.patch(
        "incident",
        record["sys_id"],
        {"no_such_column": "x", "category": "nonsense", "sys_mod_count": "99", "sys_created_by": "me", "state": "2"},
    )
    assert reply.status == 200
    assert (reply.result["category"], reply.result["sys_mod_count"], reply.result["state"]) == ("hardware", "1", "2")
    assert reply.result["sys_created_by"] == "admin"
    assert "no_such_column" not in reply.result


@pytest.mark.behaviour("1.7", evidence="documentation: c_BusinessRules.md")
def test_empty_text_and_the_word_null_clear_a_column(talk: Talk) -> None:
    record = talk.post("incident", {"short_description": "a", "description": "b"}).result
    cleared = talk.patch("incident", record["sys_id"], {"short_description": "", "description": "NULL"}).result
    assert (cleared["short_description"], cleared["description"]) == ("", "")
    assert talk.names("incident", "short_descriptionISEMPTY^descriptionISEMPTY", "sys_id") == [record["sys_id"]]


@pytest.mark.behaviour("1.7", evidence="documentation: c_TableAPI.md", switch="empty_clears_choices")
def test_only_the_word_null_clears_a_choice(talk: Talk) -> None:
    sys_id = talk.post("incident", {"category": "network", "state": "3", "hold_reason": "1"}).result["sys_id"]
    assert talk.patch("incident", sys_id, {"category": ""}).result["category"] == "network"
    assert talk.patch("incident", sys_id, {"category": "NULL"}).result["category"] == ""
    talk.control("PUT", "switches", {"empty_clears_choices": True})
    assert talk.patch("incident", sys_id, {"hold_reason": ""}).result["hold_reason"] == ""


@pytest.mark.behaviour("11.1", evidence="assumption")
def test_the_hold_reason_goes_when_an_incident_leaves_on_hold(talk: Talk) -> None:
    sys_id = talk.post("incident", {"state": "3", "hold_reason": "1"}).result["sys_id"]
    assert talk.patch("incident", sys_id, {"state": "2"}).result["hold_reason"] == ""


@pytest.mark.behaviour("1.7", evidence="measured by others: several clients")
def test_numbers_and_booleans_may_be_json_scalars(talk: Talk) -> None:
    record = talk.post("incident", {"reassignment_count": 4, "active": True, "knowledge": False}).result
    assert (record["reassignment_count"], record["active"], record["knowledge"]) == ("4", "true", "false")
    assert talk.post("incident", {"short_description": True}).result["short_description"] == "true"


@pytest.mark.behaviour("1.7", evidence="assumption", switch="truncate_long_strings")
def test_a_long_string_is_cut_to_the_length_of_its_column(talk: Talk) -> None:
    record = talk.post("incident", {"short_description": "x" * 500}).result
    assert record["short_description"] == "x" * 160


@pytest.mark.behaviour("11.1", evidence="documentation: incident management")
@pytest.mark.parametrize(
    ("impact", "urgency", "priority"),
    [
        ("1", "1", "1"),
        ("1", "2", "2"),
        ("1", "3", "3"),
        ("2", "1", "2"),
        ("2", "2", "3"),
        ("2", "3", "4"),
        ("3", "3", "5"),
    ],
)
def test_priority_follows_impact_and_urgency_whatever_was_sent(
    talk: Talk, impact: str, urgency: str, priority: str
) -> None:
    record = talk.post("incident", {"impact": impact, "urgency": urgency, "priority": "1"}).result
    assert record["priority"] == priority


@pytest.mark.behaviour("11.1", evidence="measured by others: LH; documentation: c_IntValsForDfltChoiceList.md")
def test_state_and_incident_state_move_together_and_closing_clears_active(talk: Talk) -> None:
    sys_id = talk.post("incident", {}).result["sys_id"]
    code = {"close_code": "Solution provided", "close_notes": "done"}
    resolved = talk.patch("incident", sys_id, {"incident_state": "6", **code}).result
    assert (resolved["state"], resolved["incident_state"], resolved["active"]) == ("6", "6", "true")
    assert resolved["resolved_by"]["value"] == ADMIN
    closed = talk.patch("incident", sys_id, {"state": "7"}).result
    assert (closed["incident_state"], closed["active"]) == ("7", "false")
    assert closed["closed_at"] == closed["sys_updated_on"]


@pytest.mark.behaviour("3.1", evidence="documentation: sys_journal_field; measured by others: several clients")
def test_journals_read_empty_and_stand_in_sys_journal_field(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": "2025-01-01 10:00:00", "rate": 0})
    record = talk.post("incident", {"work_notes": "first"}).result
    talk.control("PUT", "clock", {"advance": 5})
    updated = talk.patch("incident", record["sys_id"], {"work_notes": "second", "comments": "hello"}).result
    assert (updated["work_notes"], updated["comments"]) == ("", "")
    assert updated["sys_mod_count"] == "1"
    shown = talk.get(f"table/incident/{record['sys_id']}", sysparm_display_value="true").result
    assert shown["work_notes"] == (
        "2025-01-01 10:00:05 - System Administrator (Work notes)\nsecond\n\n"
        "2025-01-01 10:00:00 - System Administrator (Work notes)\nfirst\n\n"
    )
    query = f"element_id={record['sys_id']}^ORDERBYsys_created_on^ORDERBYelement"
    rows = talk.rows("sys_journal_field", query, sysparm_fields="element,value,name")
    assert rows == [
        {"element": "work_notes", "value": "first", "name": "incident"},
        {"element": "comments", "value": "hello", "name": "incident"},
        {"element": "work_notes", "value": "second", "name": "incident"},
    ]
    talk.instance.load("incident", [{"sys_id": "5" * 32, "work_notes": "stored in the column, as exports have it"}])
    assert talk.get(f"table/incident/{'5' * 32}").result["work_notes"] == ""


@pytest.mark.behaviour("1.2", evidence="documentation: c_TableAPI.md")
def test_input_display_values_are_names_labels_and_times_of_the_caller(talk: Talk) -> None:
    talk.instance.add_user("eva", "secret", roles=("admin",), name="Eva Example", time_zone="Europe/Zurich")
    eva = talk.as_user("eva", "secret")
    body = {"caller_id": "System Administrator", "state": "On Hold", "opened_at": "2025-07-01 12:00:00"}
    record = eva.post("incident", body, sysparm_input_display_value="true").result
    assert record["caller_id"]["value"] == ADMIN
    assert (record["state"], record["opened_at"]) == ("3", "2025-07-01 10:00:00")


@pytest.mark.behaviour("1.1, 9.1", evidence="documentation: c_TableAPI.md; measured by others: SL")
def test_a_delete_answers_204_and_is_filed_under_the_actual_class(talk: Talk) -> None:
    record = talk.post("incident", {"short_description": "gone"}).result
    reply = talk.delete("task", record["sys_id"])
    assert (reply.status, reply.body) == (204, b"")
    assert talk.get(f"table/incident/{record['sys_id']}").status == 404
    assert talk.delete("incident", record["sys_id"]).status == 404
    (filed,) = talk.rows("sys_audit_delete", f"documentkey={record['sys_id']}")
    assert (filed["tablename"], filed["display_value"]) == ("incident", record["number"])
    assert "<short_description>gone</short_description>" in filed["payload"]


@pytest.mark.behaviour("1.1", evidence="documentation: c_RESTAPI.md")
def test_a_write_without_response_body(talk: Talk) -> None:
    reply = talk.call(
        "POST",
        "/api/now/table/incident",
        b'{"short_description":"quiet"}',
        {"Content-Type": "application/json", "X-no-response-body": "true"},
    )
    assert (reply.status, reply.body) == (201, b"")
    assert talk.instance.count("incident", "short_description=quiet") == 1


@pytest.mark.behaviour("1.1", evidence="documentation: c_RESTAPI.md")
def test_a_post_may_stand_for_another_verb(talk: Talk) -> None:
    record = talk.post("incident", {}).result
    reply = talk.call("POST", f"/api/now/table/incident/{record['sys_id']}", None, {"X-HTTP-Method-Override": "DELETE"})
    assert reply.status == 204
    assert talk.instance.count("incident") == 0


@pytest.mark.behaviour("1.1", evidence="documentation: c_TableAPI.md")
def test_an_array_body_inserts_its_first_element_only(talk: Talk) -> None:
    reply = talk.post("incident", [{"short_description": "one"}, {"short_description": "two"}])
    assert reply.result["short_description"] == "one"
    assert talk.instance.count("incident") == 1


@pytest.mark.behaviour("1.8", evidence="documentation: KB0747638", switch="body_limit")
def test_bodies_that_cannot_be_read_are_refused(talk: Talk) -> None:
    json_type = {"Content-Type": "application/json"}
    for body in (b"{", b"\xff\xfe", b"3", b'"text"'):
        status, message, _ = talk.call("POST", "/api/now/table/incident", body, json_type).error
        assert (status, message) == (400, "Exception while reading request")
    assert talk.call("POST", "/api/now/table/incident", b"a=b", {"Content-Type": "text/plain"}).status == 415
    talk.control("PUT", "switches", {"body_limit": 100})
    status, message, detail = talk.post("incident", {"description": "x" * 200}).error
    assert (status, message) == (400, "Exception while reading request")
    assert detail is not None
    assert detail.endswith("Max allowed: 100 bytes.")
    assert talk.instance.count("incident") == 0


@pytest.mark.behaviour("1.8", evidence="documentation: r_RESTAPIHTTPResponseCodes.md; assumption: the text")
def test_a_verb_without_meaning_is_405(talk: Talk) -> None:
    assert talk.call("DELETE", "/api/now/table/incident").status == 405
    assert talk.call("POST", f"/api/now/table/incident/{'0' * 32}").status == 405


@pytest.mark.behaviour("3.3", evidence="documentation: table-extension-and-classes.md")
def test_reclassification_keeps_the_sys_id_and_drops_the_columns_of_the_old_class(talk: Talk) -> None:
    record = talk.post("cmdb_ci_linux_server", {"name": "lnx1", "kernel_release": "6.1", "os": "Linux"}).result
    changed = talk.patch("cmdb_ci", record["sys_id"], {"sys_class_name": "cmdb_ci_win_server"}).result
    assert changed["sys_class_name"] == "cmdb_ci_win_server"
    assert talk.get(f"table/cmdb_ci_linux_server/{record['sys_id']}").status == 404
    stored = talk.instance.read("cmdb_ci_win_server", record["sys_id"])
    assert stored is not None
    assert (stored["os"], "kernel_release" in stored) == ("Linux", False)


@pytest.mark.behaviour("1.7, 3.1", evidence="measured by others: LH; measured by others: PySNC's tests")
def test_passwords_cannot_be_set_and_are_masked(talk: Talk) -> None:
    record = talk.post("sys_user", {"user_name": "joe", "user_password": "secret"}).result
    assert record["user_password"] == ""
    assert talk.as_user("joe", "secret").get("table/incident").status == 401


def test_an_inactive_user_cannot_sign_in(talk: Talk) -> None:
    sys_id = talk.instance.add_user("joe", "secret")
    joe = talk.as_user("joe", "secret")
    assert joe.get("table/incident").status == 200
    talk.patch("sys_user", sys_id, {"active": "false"})
    assert joe.get("table/incident").status == 401


@pytest.mark.behaviour("1.1", evidence="recorded exchange: documented examples of the Table and Batch APIs")
@pytest.mark.parametrize(
    ("body", "stored"),
    [
        ("{'short_description':'plain'}", "plain"),
        ("""{'short_description':'with "double" quotes'}""", 'with "double" quotes'),
        (r"{'short_description':'it\'s'}", "it's"),
        ("""{"short_description":'mixed'}""", "mixed"),
        ("""{"short_description":"it's strict"}""", "it's strict"),
    ],
)
def test_strings_may_stand_in_single_quotes(talk: Talk, body: str, stored: str) -> None:
    reply = talk.call("POST", "/api/now/table/incident", body.encode(), {"Content-Type": "application/json"})
    assert (reply.status, reply.result["short_description"]) == (201, stored)


def test_what_is_no_json_in_any_quotes_is_refused(talk: Talk) -> None:
    for body in (b"{'short_description':'open", b"{'a':'b'", b"'", b"{'a' 'b'}", b"{\xff'a'}"):
        reply = talk.call("POST", "/api/now/table/incident", body, {"Content-Type": "application/json"})
        assert reply.error[:2] == (400, "Exception while reading request")
