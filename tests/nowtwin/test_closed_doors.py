"""What web services refuse before any record is looked at."""

from dataclasses import replace

import pytest

from nowtwin.access.shipped import api_rule
from nowtwin.schema.metadata import row_id
from tests.nowtwin.talk import Talk

NO_API = (403, "User Not Authorized", "Failed API level ACL Validation")


@pytest.fixture
def guarded(talk: Talk) -> Talk:
    """Access control is on; `ida` is itil, `joe` has no roles."""
    talk.instance.switches = replace(talk.instance.switches, access_control=True)
    talk.instance.add_user("ida", "p", roles=("itil",))
    talk.instance.add_user("joe", "p")
    return talk


@pytest.mark.behaviour("1.1", evidence="documentation: c_RESTAPI.md; measured by others: 403; assumption: the words")
def test_a_table_may_be_closed_to_web_services(talk: Talk) -> None:
    made = talk.post("sys_db_object", {"name": "u_closed", "label": "Closed", "ws_access": "false"}).result["sys_id"]
    closed = (403, "User Not Authorized", "Table u_closed is not accessible through web services")
    assert talk.get("table/u_closed").error == closed
    assert talk.post("u_closed", {}).error == closed
    assert talk.get("stats/u_closed", sysparm_count="true").error == closed
    talk.patch("sys_db_object", made, {"ws_access": "true"})
    assert talk.post("u_closed", {}).status == 201


@pytest.mark.behaviour("1.1", evidence="documentation: c_RESTAPI.md (application access does not count)")
def test_the_rights_of_other_scopes_do_not_count_for_web_services(talk: Talk) -> None:
    rights = dict.fromkeys(("read_access", "create_access", "update_access", "delete_access"), "false")
    talk.post("sys_db_object", {"name": "u_own", "label": "Own", "access": "package_private", **rights})
    made = talk.post("u_own", {})
    assert (made.status, talk.delete("u_own", made.result["sys_id"]).status) == (201, 204)


@pytest.mark.behaviour("1.1, 1.6", evidence="documentation: c_RESTAPI.md, KB2466644")
@pytest.mark.parametrize(
    ("api", "path"),
    [
        ("Table API", "table/incident"),
        ("Aggregate API", "stats/incident?sysparm_count=true"),
        ("Attachment API", "attachment"),
        ("Import Set API", "import/imp_user/0"),
    ],
)
def test_access_rules_of_whole_apis_ship_inactive(guarded: Talk, api: str, path: str) -> None:
    ida, joe = guarded.as_user("ida", "p"), guarded.as_user("joe", "p")
    assert guarded.names("sys_security_acl", f"name={api}", "active") == ["false"]
    before = [talk.call("GET", f"/api/now/{path}").status for talk in (ida, joe)]
    assert before != [403, 403]
    guarded.instance.update("sys_security_acl", api_rule(api), {"active": "true"})
    role = {"sys_security_acl": api_rule(api), "sys_user_role": row_id("sys_user_role", "itil")}
    guarded.instance.insert("sys_security_acl_role", role)
    assert joe.call("GET", f"/api/now/{path}").error == NO_API
    assert ida.call("GET", f"/api/now/{path}").status == before[0]


@pytest.mark.behaviour("1.6", evidence="measured by others: LH; assumption: the words")
@pytest.mark.parametrize("table", ["metric_instance", "sys_plugins"])
def test_some_protected_tables_refuse_their_list(guarded: Talk, table: str) -> None:
    assert guarded.as_user("ida", "p").get(f"table/{table}").error[:2] == (403, "User Not Authorized")
    assert guarded.get(f"table/{table}").status == 200
