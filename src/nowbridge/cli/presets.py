"""Sets of tables that belong together. Names behind `=` are what the tables are called here (decision X25)."""

from __future__ import annotations

PRESETS: dict[str, tuple[str, ...]] = {
    "itsm": (
        "task",
        "incident",
        "problem",
        "change_request",
        "sc_catalog=service_catalog",
        "sc_req_item",
        "sys_user=user",
        "sys_user_group",
        "core_company",
        "cmn_location",
        "cmn_department",
        "cmdb_ci",
        "sys_choice",
    ),
}
METADATA = ("sys_db_object", "sys_dictionary", "sys_choice")
"""What every replica reads besides its tables: classes, columns, choice labels."""
