"""The roles that the set-up guides name: that each exists, and what an account with it alone can do."""

from dataclasses import replace

import pytest

from nowtwin.schema.metadata import row_id
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour(
    "1.6",
    evidence="documentation: r_BaseSystemRoles.md, inci-roles-instld-itsm-roles.md, installed-with-cmdb-workspace.md; measured by others: LH; assumption: the rest, see the table of access rules",
    switch="access_control assumed_rights",
)  # fmt: skip

TABLES = {
    "incident": {"short_description": "x"},
    "problem": {"short_description": "x"},
    "change_request": {"short_description": "x"},
    "sc_request": {"short_description": "x"},
    "cmdb_ci": {"name": "x"},
    "alm_asset": {"asset_tag": "x"},
    "cmdb_model": {"name": "x"},
    "cmdb_model_category": {"name": "x"},
    "core_company": {"name": "x"},
    "sys_user": {"name": "x"},
    "sys_user_group": {"name": "x"},
    "sys_dictionary": {},
    "sys_db_object": {},
    "sys_properties": {},
}
CMDB_READ = "cmdb_ci cmdb_model cmdb_model_category core_company "
ALL = " ".join(TABLES)
WRITABLE = "incident problem change_request sc_request cmdb_ci alm_asset cmdb_model cmdb_model_category core_company sys_user sys_user_group"
ITIL_READ = "incident problem change_request sc_request alm_asset sys_user sys_user_group " + CMDB_READ
ITIL_WRITE = "incident problem change_request sc_request cmdb_ci"


def row(table: str) -> str:
    """The sys_id of the record that is there already."""
    return row_id("test", table)


@pytest.fixture
def guarded(talk: Talk) -> Talk:
    """Access control is on, and there is a record in each table that holds data."""
    instance = talk.instance
    instance.switches = replace(instance.switches, access_control=True)
    for table, columns in TABLES.items():
        if columns:
            instance.load(table, [{"sys_id": row(table), **columns}])
    return talk


def readable(account: Talk) -> set[str]:
    """Tables of which the account sees a record that is not its own."""
    return {
        table
        for table in TABLES
        if account.rows(table, f"sys_id={row(table)}" if TABLES[table] else "", sysparm_limit=1)
    }


def writable(account: Talk) -> set[str]:
    """Tables where the account may both change the record and create one."""
    found = set()
    for table, columns in TABLES.items():
        if (
            columns
            and account.patch(table, row(table), columns).status == 200
            and account.post(table, dict.fromkeys(columns, "y")).status == 201
        ):
            found.add(table)
    return found


@pytest.mark.parametrize(
    ("role", "reads", "writes"),
    [
        pytest.param("cmdb_read", CMDB_READ, "", marks=[pytest.mark.req("H20"), pytest.mark.req("I27")]),
        pytest.param("model_manager", "cmdb_model cmdb_model_category core_company", "cmdb_model core_company", marks=pytest.mark.req("H21")),
        pytest.param("personalize_dictionary", "sys_dictionary sys_db_object", "", marks=pytest.mark.req("H22")),
        pytest.param("rest_api_explorer", "", "", marks=[pytest.mark.req("H23"), pytest.mark.req("S7")]),
        pytest.param("sn_cmdb_editor", CMDB_READ + "sys_user sys_user_group", "cmdb_ci", marks=pytest.mark.req("H24")),
        pytest.param("snc_required_script_writer_permission", "", "", marks=pytest.mark.req("H25")),
        pytest.param("sn_incident_read", "incident sys_user sys_user_group " + CMDB_READ, "", marks=pytest.mark.req("H26")),
        pytest.param("sn_request_read", "sc_request sys_user sys_user_group", "", marks=pytest.mark.req("H27")),
        pytest.param("sn_cmdb_user", CMDB_READ + "sys_user sys_user_group", "", marks=pytest.mark.req("I28")),
        pytest.param("incident_manager", ITIL_READ, ITIL_WRITE, marks=pytest.mark.req("I29")),
        pytest.param("admin", ALL, WRITABLE, marks=pytest.mark.req("I30")),
        pytest.param("itil", ITIL_READ, ITIL_WRITE, marks=pytest.mark.req("S6")),
        pytest.param("snc_read_only", "", ""),
    ],
)  # fmt: skip
def test_what_an_account_with_one_role_reads_and_writes(guarded: Talk, role: str, reads: str, writes: str) -> None:
    assert guarded.names("sys_user_role", f"name={role}", "name") == [role]
    guarded.instance.add_user("one", "p")
    grant = {"user": row_id("sys_user", "one"), "role": row_id("sys_user_role", role)}
    assert guarded.post("sys_user_has_role", grant).status == 201
    account = guarded.as_user("one", "p")
    assert readable(account) == set(reads.split())
    assert writable(account) == set(writes.split())


def test_the_hardware_path_of_the_guide_has_what_it_needs(guarded: Talk) -> None:
    """H20 to H25 together, before the rules of H28 to H34 are added."""
    roles = ("cmdb_read", "model_manager", "personalize_dictionary", "rest_api_explorer", "sn_cmdb_editor")
    guarded.instance.add_user("hector", "p", roles=(*roles, "snc_required_script_writer_permission"))
    hector = guarded.as_user("hector", "p")
    assert writable(hector) == {"cmdb_ci", "cmdb_model", "core_company"}
    assert "alm_asset" not in readable(hector)
    assert hector.rows("sys_dictionary", "name=cmdb_ci", sysparm_limit=1) != []


@pytest.mark.req("I26")
def test_the_application_path_of_the_guide_with_a_role_of_the_application(guarded: Talk) -> None:
    """I26 to I29: an application's own role stands beside the shipped ones."""
    made = guarded.post("sys_user_role", {"name": "x_app.api_user"}).result["sys_id"]
    guarded.instance.add_user("inga", "p", roles=("cmdb_read", "sn_cmdb_user", "incident_manager"))
    guarded.post("sys_user_has_role", {"user": row_id("sys_user", "inga"), "role": made})
    inga = guarded.as_user("inga", "p")
    assert {"cmdb_ci", "sys_user", "sys_user_group", "incident"} <= readable(inga)
    assert "incident" in writable(inga)
    user = guarded.instance.user("inga")
    assert user is not None
    assert "x_app.api_user" in user.roles


@pytest.mark.req("H25")
@pytest.mark.behaviour("1.6", evidence="documentation: scripting-governance.md", switch="script_columns_governed")
def test_columns_of_scripts_may_need_a_role_even_of_an_administrator(guarded: Talk) -> None:
    body = {"name": "Rule", "collection": "incident", "script": "gs.info('x');", "active": True}
    assert guarded.post("sys_script", body).result["script"] == "gs.info('x');"
    guarded.control("PUT", "switches", {"script_columns_governed": True})
    made = guarded.post("sys_script", body).result
    assert (made["name"], made["script"]) == ("Rule", "")
    guarded.instance.add_user("sue", "p", roles=("admin", "snc_required_script_writer_permission"))
    assert guarded.as_user("sue", "p").post("sys_script", body).result["script"] == "gs.info('x');"


def test_only_what_is_documented_or_measured_counts_when_assumptions_are_off(guarded: Talk) -> None:
    guarded.instance.add_user("ida", "p", roles=("itil",))
    ida = guarded.as_user("ida", "p")
    assert {"incident", "alm_asset", "sys_user"} <= readable(ida)
    guarded.control("PUT", "switches", {"assumed_rights": False})
    found = readable(ida)
    assert {"incident", "change_request", "sc_request", "cmdb_ci"} <= found
    assert {"alm_asset", "sys_user_group", "core_company"}.isdisjoint(found)
    assert guarded.rows("alm_asset") != []


def test_an_itil_administrator_deletes_what_itil_may_not(guarded: Talk) -> None:
    guarded.instance.add_user("ida", "p", roles=("itil",))
    guarded.instance.add_user("ada", "p", roles=("itil", "itil_admin"))
    assert guarded.as_user("ida", "p").delete("incident", row("incident")).status == 403
    assert guarded.as_user("ada", "p").delete("incident", row("incident")).status == 204
