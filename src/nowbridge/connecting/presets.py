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
CHECKED: dict[str, tuple[str, ...]] = PRESETS | {
    "inventory": (
        "cmdb_model_category",
        "core_company",
        "cmdb_model",
        "sys_user",
        "cmn_location",
        "alm_asset",
        "alm_hardware",
        "cmdb_ci",
    ),
}
"""What `nowbridge check` can try: the presets, and what an inventory push reads (H40-H47)."""

METADATA: dict[str, str] = {
    "sys_db_object": "Classes and their parents are learned from it.",
    "sys_dictionary": "Columns and their types are learned from it.",
    "sys_choice": "The words of choices are learned from it.",
}
"""What every replica reads besides its tables, and why."""
