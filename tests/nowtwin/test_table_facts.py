"""The tables that nowtwin writes as facts (data/tables/*.toml): well formed, sourced, and readable over HTTP."""

import pytest

from nowtwin.schema.shipped import shipped_dictionary
from nowtwin.schema.table_facts import sources, written_schema
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour("3.2, 3.3", evidence="documentation: the source of each table")

DOCUMENTED_TYPES = (
    "string boolean integer longint decimal glide_date_time due_date glide_date glide_duration currency price reference "
    "document_id glide_list journal_input html script xml conditions url password2 table_name field_name ip_addr"
)
"""Types of servicenow-api.md 3.1 that the written tables use."""
NEEDED = (
    "cmdb_model_category cmdb_hardware_product_model cmdb_software_product_model cmdb_rel_ci cmdb_rel_type "
    "cmdb_sam_sw_install cmdb_sam_sw_discovery_model cmdb_software_instance cmdb_ci_business_capability "
    "cmdb_ci_linux_server cmdb_ci_win_server sys_audit sys_audit_delete oauth_entity sys_user_has_role "
    "sys_user_grmember sys_group_has_role sys_rate_limit_rules alm_license alm_entitlement alm_consumable change_task "
    "problem_task incident_task sysapproval_group sysapproval_approver sc_item_option_mtom fx_currency_instance "
    "sys_documentation ecc_queue syslog sys_import_set sys_import_set_row sys_transform_map sys_transform_entry "
    "sys_attachment_doc sys_update_set sys_update_xml sys_data_policy2"
)
"""Tables that integrations need and the packages' declarations lack (issue 3)."""


@pytest.mark.parametrize("table", NEEDED.split())
def test_a_table_that_integrations_need_is_there_with_columns_of_its_own_or_inherited(table: str) -> None:
    dictionary = shipped_dictionary()
    assert table in dictionary.tables
    assert {"sys_id", "sys_created_on"} < dictionary.columns(table).keys()
    assert dictionary.table_label(table)
    assert dictionary.display_column(table) in dictionary.columns(table)


def test_every_written_table_says_where_it_is_from() -> None:
    known = ("D: ", "code", "untraced", "servicenow-api.md", "SDKCORE")
    assert {table: source for table, source in sources().items() if not source.startswith(known)} == {}


def test_every_written_column_points_at_a_table_that_exists_and_has_a_known_type() -> None:
    dictionary, schema = shipped_dictionary(), written_schema()
    dangling = {c["reference"] for c in schema["columns"] if c.get("reference")} - dictionary.tables.keys()
    assert dangling == set()
    assert {c["internal_type"] for c in schema["columns"]} <= set(DOCUMENTED_TYPES.split())
    parents = {t["super_class"] for t in schema["tables"] if t["super_class"]}
    assert parents <= dictionary.tables.keys()


def test_every_dependent_column_and_display_column_exists() -> None:
    dictionary, schema = shipped_dictionary(), written_schema()
    for column in schema["columns"]:
        if column.get("dependent"):
            assert column["dependent"] in dictionary.columns(column["table"]), column
    for table in schema["tables"]:
        if table.get("display"):
            assert table["display"] in dictionary.columns(table["name"]), table


def test_every_written_table_can_be_read_and_described(talk: Talk) -> None:
    for table in sources():
        assert isinstance(talk.rows(table, sysparm_limit=1), list), table
        assert talk.names("sys_db_object", f"name={table}", "name") == [table]


def test_records_of_the_class_tree_are_found_through_every_parent(talk: Talk) -> None:
    talk.instance.load("cmdb_ci_app_server_tomcat", [{"name": "tomcat 1"}])
    for table in ("cmdb_ci_app_server_tomcat", "cmdb_ci_app_server", "cmdb_ci_appl", "cmdb_ci", "cmdb"):
        assert talk.names(table, "sys_class_nameINSTANCEOFcmdb_ci_app_server", "name") == ["tomcat 1"]
