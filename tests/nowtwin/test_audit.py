"""sys_audit and sys_audit_delete (servicenow-api.md 9.1)."""

import pytest

from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour("9.1", evidence="documentation: exploring-auditing.md; measured by others: SL")


def test_every_changed_column_of_an_audited_table_is_kept(talk: Talk) -> None:
    sys_id = talk.post("incident", {"short_description": "a", "impact": "3", "urgency": "3"}).result["sys_id"]
    talk.patch("incident", sys_id, {"short_description": "b", "impact": "1", "work_notes": "why"})
    rows = talk.rows("sys_audit", f"documentkey={sys_id}^ORDERBYfieldname")
    assert [(row["fieldname"], row["oldvalue"], row["newvalue"], row["record_checkpoint"]) for row in rows] == [
        ("impact", "3", "1", "1"),
        ("priority", "5", "3", "1"),
        ("short_description", "a", "b", "1"),
        ("work_notes", "", "why", "1"),
    ]
    assert {(row["tablename"], row["user"], row["sys_created_by"]) for row in rows} == {("incident", "admin", "admin")}


def test_a_table_that_is_not_audited_leaves_no_history(talk: Talk) -> None:
    sys_id = talk.post("cmn_location", {"name": "here"}).result["sys_id"]
    talk.patch("cmn_location", sys_id, {"name": "there"})
    assert talk.rows("sys_audit", f"documentkey={sys_id}") == []


def test_deletions_are_filed_under_the_class_and_not_for_ignored_tables(talk: Talk) -> None:
    for table in ("cmdb_ci_linux_server", "cmdb_sam_sw_install", "sys_user_group"):
        sys_id = talk.post(table, {}).result["sys_id"]
        talk.delete(table, sys_id)
    assert talk.names("sys_audit_delete", "", "tablename") == ["cmdb_ci_linux_server"]
    assert talk.names("sys_audit_delete", "tablename=cmdb_ci", "tablename") == []
