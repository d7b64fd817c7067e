"""What happens to records behind the back of clients: unseen writes, late commits, the table cleaner, cascades, archives,
undeleted records, and which deletions sys_audit_delete tells of (servicenow-api.md 9).
"""

import json

import pytest

from tests.nowtwin.talk import Record, Talk

pytestmark = pytest.mark.behaviour("9.1", evidence="documentation: exploring-auditing.md")
START = "2025-01-01 12:00:00"


def _deleted(talk: Talk) -> list[tuple[str, str]]:
    rows = talk.rows("sys_audit_delete", "ORDERBYtablename^ORDERBYdocumentkey")
    return [(row["tablename"], row["documentkey"]) for row in rows]


def _made(talk: Talk, table: str, **values: str) -> str:
    sys_id: str = talk.post(table, values).result["sys_id"]
    return sys_id


def _column(talk: Talk, table: str, element: str) -> str:
    sys_id: str = talk.rows("sys_dictionary", f"name={table}^element={element}")[0]["sys_id"]
    return sys_id


# -- writes that no one is told of ---------------------------------------------------------------------------------


@pytest.mark.behaviour("8.1, 9.2, 12", evidence="documentation: c_BusinessRules.md")
def test_a_write_without_system_fields_and_rules_shows_in_no_stamp_and_no_history(talk: Talk) -> None:
    rule = {"name": "Mark", "collection": "incident", "when": "before", "action_update": "true", "active": "true"}
    talk.post("sys_script", rule | {"advanced": "true", "script": "current.correlation_id = 'seen';"})
    talk.control("PUT", "clock", {"set": START, "frozen": True})
    sys_id = _made(talk, "incident", short_description="before")
    talk.control("PUT", "clock", {"advance": 3600})
    write = {"table": "incident", "sys_id": sys_id, "values": {"short_description": "after"}}
    done = talk.control("POST", "write", write | {"workflow": False, "auto_sys_fields": False})["record"]
    assert done["short_description"] == "after"
    row = talk.get(f"table/incident/{sys_id}").result
    assert (row["short_description"], row["sys_updated_on"], row["sys_mod_count"]) == ("after", START, "0")
    assert row["correlation_id"] == ""
    assert talk.rows("sys_audit", f"documentkey={sys_id}") == []
    talk.control("POST", "write", write | {"values": {"short_description": "once more"}, "user": "admin"})
    row = talk.get(f"table/incident/{sys_id}").result
    assert (row["sys_updated_on"], row["sys_mod_count"], row["correlation_id"]) == ("2025-01-01 13:00:00", "1", "seen")


@pytest.mark.behaviour("9.2", evidence="measured by others: connectors overlap their cursors by minutes")
def test_a_row_may_appear_behind_a_cursor_that_has_passed(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "frozen": True})
    _made(talk, "incident", short_description="in time")
    cursor = talk.rows("incident", "ORDERBYDESCsys_updated_on", sysparm_limit=1)[0]["sys_updated_on"]
    values = {"short_description": "late", "work_notes": "why"}
    late = talk.control("POST", "write", {"table": "incident", "values": values, "seconds_ago": 300})["record"]
    assert (late["sys_created_on"], late["sys_updated_on"]) == ("2025-01-01 11:55:00",) * 2
    assert talk.names("incident", f"sys_updated_on>={cursor}") == ["in time"]
    assert len(talk.rows("incident")) == 2
    talk.control("POST", "write", {"table": "incident", "sys_id": late["sys_id"], "delete": True, "seconds_ago": 60})
    (told,) = talk.rows("sys_audit_delete", f"documentkey={late['sys_id']}")
    assert told["sys_created_on"] == "2025-01-01 11:59:00"


@pytest.mark.behaviour("9.1", evidence="assumption: partly or not recorded", switch="quiet_deletes_filed")
def test_a_deletion_without_rules_is_not_in_sys_audit_delete_unless_switched(talk: Talk) -> None:
    first, second = _made(talk, "incident"), _made(talk, "incident")
    write = {"table": "incident", "delete": True, "workflow": False}
    talk.control("POST", "write", write | {"sys_id": first})
    assert _deleted(talk) == []
    talk.control("PUT", "switches", {"quiet_deletes_filed": True})
    talk.control("POST", "write", write | {"sys_id": second})
    assert _deleted(talk) == [("incident", second)]


# -- which deletions are told --------------------------------------------------------------------------------------


def test_the_property_of_ignored_tables_replaces_the_list(talk: Talk) -> None:
    software, server = "cmdb_sam_sw_install", "cmdb_ci_linux_server"
    talk.delete(software, _made(talk, software))
    assert _deleted(talk) == []
    talk.post("sys_properties", {"name": "glide.db.audit.ignore.delete", "value": "sys_audit, cmdb_ci_lin*"})
    installed = _made(talk, software)
    talk.delete(software, installed)
    talk.delete(server, _made(talk, server))
    assert _deleted(talk) == [(software, installed)]


def test_system_tables_are_told_of_when_a_property_lists_them(talk: Talk) -> None:
    talk.delete("sys_user_group", _made(talk, "sys_user_group", name="one"))
    talk.post("sys_properties", {"name": "glide.ui.audit_deleted_tables", "value": "sys_user_group,sys_user"})
    group = _made(talk, "sys_user_group", name="two")
    talk.delete("sys_user_group", group)
    assert _deleted(talk) == [("sys_user_group", group)]


@pytest.mark.behaviour("9.1", evidence="documentation: exploring-auditing.md", switch="unaudited_deletes_filed")
def test_deletions_on_tables_without_audit_are_told_by_switch(talk: Talk) -> None:
    talk.control("PUT", "switches", {"unaudited_deletes_filed": False})
    place, incident = _made(talk, "cmn_location", name="here"), _made(talk, "incident")
    talk.delete("cmn_location", place)
    talk.delete("incident", incident)
    assert _deleted(talk) == [("incident", incident)]
    (collection,) = talk.rows("sys_dictionary", "name=cmn_location^internal_type=collection")
    talk.patch("sys_dictionary", collection["sys_id"], {"audit": "true"})
    place = _made(talk, "cmn_location", name="there")
    talk.patch("cmn_location", place, {"name": "elsewhere"})
    talk.delete("cmn_location", place)
    assert ("cmn_location", place) in _deleted(talk)
    assert talk.names("sys_audit", f"documentkey={place}^fieldname=name", "newvalue") == ["elsewhere"]


@pytest.mark.behaviour("9.1", evidence="documentation: KB0634666", switch="deletes_in_history")
def test_sys_audit_tells_of_deletions_too(talk: Talk) -> None:
    sys_id = _made(talk, "cmn_location", name="here")
    talk.delete("cmn_location", sys_id)
    (row,) = talk.rows("sys_audit", f"documentkey={sys_id}")
    told = (row["tablename"], row["fieldname"], row["oldvalue"], row["newvalue"], row["record_checkpoint"])
    assert told == ("cmn_location", "DELETED", "DELETED", "DELETED", "-1")
    talk.control("PUT", "switches", {"deletes_in_history": False})
    sys_id = _made(talk, "cmn_location", name="there")
    talk.delete("cmn_location", sys_id)
    assert talk.rows("sys_audit", f"documentkey={sys_id}") == []


# -- the table cleaner ---------------------------------------------------------------------------------------------


@pytest.mark.behaviour("9.1", evidence="documentation: KB0634666", switch="cleaned_rows_filed")
def test_the_table_cleaner_deletes_without_a_trace_unless_switched(talk: Talk) -> None:
    ids = [_made(talk, "incident", short_description=f"no {n}") for n in range(4)]
    talk.patch("incident", ids[0], {"impact": "1"})
    before = len(talk.rows("sys_audit", f"documentkey={ids[0]}"))
    assert before
    cleaned = talk.control("POST", "clean", {"table": "task", "query": "short_descriptionINno 0,no 1"})
    assert cleaned == {"deleted": 2}
    assert sorted(talk.names("incident", "")) == ["no 2", "no 3"]
    assert _deleted(talk) == []
    assert len(talk.rows("sys_audit", f"documentkey={ids[0]}")) == before, "what history there was stays"
    talk.control("PUT", "switches", {"cleaned_rows_filed": True})
    talk.control("POST", "clean", {"table": "incident", "query": "short_description=no 2"})
    assert _deleted(talk) == [("incident", ids[2])]


def test_rules_of_the_table_cleaner_are_records(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "frozen": True})
    old = _made(talk, "incident", short_description="old", state="2")
    _made(talk, "incident", short_description="old too", state="1")
    talk.control("PUT", "clock", {"advance": 7200})
    _made(talk, "incident", short_description="new", state="2")
    rule = {"tablename": "incident", "matchfield": "sys_created_on", "age": "3600", "conditions": "state=2"}
    talk.post("sys_auto_flush", rule | {"active": "true"})
    talk.post("sys_auto_flush", {"tablename": "problem", "matchfield": "sys_created_on", "active": "false"})
    assert talk.control("POST", "clean", {}) == {"deleted": {"incident": 1}}
    assert talk.get(f"table/incident/{old}").status == 404
    assert sorted(talk.names("incident", "")) == ["new", "old too"]


@pytest.mark.behaviour("9.1, 12", evidence="measured by others: SL get_deletion_horizon")
def test_the_journal_of_deletions_is_pruned_up_to_a_horizon(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "frozen": True})
    talk.delete("incident", _made(talk, "incident"))
    talk.control("PUT", "clock", {"advance": 86_400})
    young = _made(talk, "incident")
    talk.delete("incident", young)
    horizon = {"table": "sys_audit_delete", "query": "sys_created_on<2025-01-02 00:00:00"}
    assert talk.control("POST", "clean", horizon) == {"deleted": 1}
    assert _deleted(talk) == [("incident", young)]


# -- cascades ------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour(
    "9.1",
    evidence="documentation: t_CascadeDeleteRules.md; assumption: the stamp",
    switch="references_cleared_on_delete cleared_references_stamped",
)
def test_references_to_a_deleted_record_are_emptied_unless_switched(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "frozen": True})

    def referring() -> tuple[str, str]:
        user = _made(talk, "sys_user", user_name="joe")
        return user, _made(talk, "incident", caller_id=user, opened_by=user)

    def state(sys_id: str) -> tuple[str, str, str]:
        row = talk.get(f"table/incident/{sys_id}", sysparm_exclude_reference_link="true").result
        return row["caller_id"], row["opened_by"], row["sys_mod_count"]

    user, incident = referring()
    talk.delete("sys_user", user)
    assert state(incident) == ("", "", "1")
    talk.control("PUT", "switches", {"cleared_references_stamped": False})
    user, incident = referring()
    talk.delete("sys_user", user)
    assert state(incident) == ("", "", "0")
    talk.control("PUT", "switches", {"references_cleared_on_delete": False})
    user, incident = referring()
    talk.delete("sys_user", user)
    assert state(incident) == (user, user, "0")


@pytest.mark.behaviour("9.1", evidence="documentation: t_CascadeDeleteRules.md", switch="cascaded_deletes_filed")
def test_a_cascade_rule_deletes_restricts_or_leaves(talk: Talk) -> None:
    def family(rule: str) -> tuple[str, str]:
        talk.patch("sys_dictionary", _column(talk, "incident", "problem_id"), {"reference_cascade_rule": rule})
        problem = _made(talk, "problem")
        return problem, _made(talk, "incident", problem_id=problem)

    for rule, filed in (("delete", True), ("cascade", True), ("delete_no_workflow", True), ("delete", False)):
        talk.control("PUT", "switches", {"cascaded_deletes_filed": filed})
        problem, incident = family(rule)
        assert talk.delete("problem", problem).status == 204
        assert talk.get(f"table/incident/{incident}").status == 404
        assert ("problem", problem) in _deleted(talk)
        assert (("incident", incident) in _deleted(talk)) is filed
    problem, incident = family("restrict")
    status, message, _ = talk.delete("problem", problem).error
    assert (status, message) == (403, "Operation Failed")
    assert talk.get(f"table/problem/{problem}").status == 200
    problem, incident = family("none")
    talk.delete("problem", problem)
    assert talk.get(f"table/incident/{incident}").result["problem_id"]["value"] == problem


def test_the_table_cleaner_cascades_when_told(talk: Talk) -> None:
    talk.patch("sys_dictionary", _column(talk, "incident", "problem_id"), {"reference_cascade_rule": "delete"})
    problem = _made(talk, "problem")
    incident = _made(talk, "incident", problem_id=problem)
    talk.control("POST", "clean", {"table": "problem", "query": f"sys_id={problem}", "cascade": True})
    assert talk.get(f"table/incident/{incident}").status == 404


# -- archive -------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("9.1, 9.2", evidence="documentation: c_ArchiveData.md, KB0812437", switch="archived_rows_filed")
def test_archived_rows_leave_the_live_table_for_a_flat_one_and_come_back_as_they_were(talk: Talk) -> None:
    talk.control("PUT", "clock", {"set": START, "frozen": True})
    caller = _made(talk, "sys_user", first_name="Beth", last_name="Anglin", user_name="beth")
    ids = [_made(talk, "incident", short_description=f"no {n} <&>", caller_id=caller) for n in range(3)]
    before = talk.get(f"table/incident/{ids[0]}").result
    talk.control("PUT", "clock", {"advance": 60})
    query = f"sys_idIN{ids[0]},{ids[1]}"
    assert talk.control("POST", "archive", {"table": "task", "query": query}) == {"archived": {"ar_incident": 2}}
    assert [row["sys_id"] for row in talk.rows("task")] == [ids[2]]
    assert _deleted(talk) == []
    (row,) = talk.rows("ar_incident", f"sys_id={ids[0]}")
    assert (row["short_description"], row["caller_id"]) == ("no 0 <&>", "Beth Anglin")
    assert (row["sys_updated_on"], row["sys_archived"]) == (START, "2025-01-01 12:01:00")
    assert "sys_class_name" not in row
    (log,) = talk.rows("sys_archive_log", f"id={ids[0]}")
    assert (log["from_table"], log["to_table"], log["display_value"]) == ("incident", "ar_incident", before["number"])
    restored = talk.control("POST", "unarchive", {"table": "ar_incident", "query": f"sys_id={ids[0]}"})
    assert restored == {"restored": 1}
    assert talk.get(f"table/incident/{ids[0]}").result == before
    assert [row["sys_id"] for row in talk.rows("ar_incident")] == [ids[1]]
    talk.control("PUT", "switches", {"archived_rows_filed": True})
    talk.control("POST", "archive", {"table": "incident", "query": f"sys_id={ids[2]}"})
    assert _deleted(talk) == [("incident", ids[2])]


# -- undelete ------------------------------------------------------------------------------------------------------


def _dropped(talk: Talk, **values: str) -> Record:
    """A record that was made, changed and deleted, as it was."""
    talk.control("PUT", "clock", {"set": START, "frozen": True})
    sys_id = _made(talk, "incident", **values)
    talk.patch("incident", sys_id, {"impact": "1", "urgency": "1"})
    row: Record = talk.get(f"table/incident/{sys_id}").result
    talk.control("PUT", "clock", {"advance": 3600})
    talk.delete("incident", sys_id)
    assert talk.get(f"table/incident/{sys_id}").status == 404
    return row


@pytest.mark.behaviour(
    "9.1",
    evidence="documentation: t_RestoreADeletedRecordAndRef.md, KB0634666; assumption: the audit row and the stamps",
    switch="undelete_drops_audit_row undelete_keeps_stamps",
)
def test_an_undeleted_record_comes_back_under_its_sys_id(talk: Talk) -> None:
    row = _dropped(talk, short_description="a <b> & c\nd")
    done = talk.control("POST", "undelete", {"query": f"documentkey={row['sys_id']}"})
    assert done == {"restored": [row["sys_id"]]}
    assert talk.get(f"table/incident/{row['sys_id']}").result == row
    assert _deleted(talk) == []
    words = talk.names("sys_audit", f"documentkey={row['sys_id']}^fieldname=RECOVERED", "newvalue")
    assert words == ["RECOVERED"]
    talk.control("PUT", "switches", {"undelete_drops_audit_row": False, "undelete_keeps_stamps": False})
    row = _dropped(talk, short_description="again")
    talk.control("POST", "undelete", {"query": f"documentkey={row['sys_id']}"})
    back = talk.get(f"table/incident/{row['sys_id']}").result
    assert (back["number"], back["sys_updated_on"]) == (row["number"], "2025-01-01 13:00:00")
    assert _deleted(talk) == [("incident", row["sys_id"])]


@pytest.mark.behaviour("9.1", evidence="documentation: t_RestoreADeletedRecordAndRef.md", switch="undelete_runs_rules")
def test_undeleting_is_an_insert_that_rules_see(talk: Talk) -> None:
    rule = {"name": "Mark", "collection": "incident", "when": "before", "action_insert": "true", "active": "true"}
    talk.post("sys_script", rule | {"advanced": "true", "script": "current.description = current.description + '+';"})
    row = _dropped(talk, description="x")
    assert row["description"] == "x+"
    talk.control("POST", "undelete", {"query": f"documentkey={row['sys_id']}"})
    assert talk.get(f"table/incident/{row['sys_id']}").result["description"] == "x++"
    talk.control("PUT", "switches", {"undelete_runs_rules": False})
    talk.delete("incident", row["sys_id"])
    talk.control("POST", "undelete", {"query": f"documentkey={row['sys_id']}"})
    assert talk.get(f"table/incident/{row['sys_id']}").result["description"] == "x++"


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "call", "body", "names"),
    [
        ("POST", "write", {"table": "incident", "values": {}, "workflw": False}, "workflw"),
        ("POST", "write", {"values": {}}, "table"),
        ("POST", "write", {"table": "no_such_table"}, "no_such_table"),
        ("POST", "write", {"table": "incident", "seconds_ago": -1}, "seconds_ago"),
        ("POST", "clean", {"table": "no_such_table"}, "no_such_table"),
        ("POST", "archive", {"table": "no_such_table"}, "no_such_table"),
        ("POST", "archive", {}, "table"),
        ("POST", "unarchive", {"table": "ar_incident"}, "ar_incident"),
        ("POST", "undelete", {"quer": ""}, "quer"),
    ],
)
def test_a_bad_operation_is_refused_with_what_is_wrong(
    talk: Talk, method: str, call: str, body: dict[str, object], names: str
) -> None:
    reply = talk.call(method, f"/_nowtwin/{call}", json.dumps(body).encode())
    status, message, detail = reply.error
    assert status == 400
    assert names in f"{message} {detail}"


def test_what_is_not_there_cannot_be_deleted_or_undeleted(talk: Talk) -> None:
    write = {"table": "incident", "sys_id": "0" * 32, "delete": True}
    assert talk.call("POST", "/_nowtwin/write", json.dumps(write).encode()).error[0] == 404
    row = _dropped(talk)
    talk.post("incident", {"sys_id": row["sys_id"]})
    refused = talk.call("POST", "/_nowtwin/undelete", b"{}").error
    assert refused[:2] == (403, "Operation Failed")
    assert _deleted(talk) == [("incident", row["sys_id"])]
