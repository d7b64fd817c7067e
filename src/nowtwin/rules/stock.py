"""Records that every stock instance has and the CMDB and asset APIs go by: relation types, identification rules,
hosting rules, asset and CI mappings.

Facts of public documentation (cmdb-meta-api.md, c_IdentifyReconcileAPI.md; sys_ids of relation types where they are
published). Rules for classes that no document lists are assumptions, marked so below; all are records, so a test or a
user can change them.
"""

from collections.abc import Iterator, Mapping

from nowtwin.schema.metadata import row_id

Rows = list[dict[str, str]]

RELATION_TYPES: Mapping[str, str] = {
    "Cluster of::Cluster": "a99d39118f10310091769012cbbe4429",
    "Consumes::Consumed by": "41008aa6ef32010098d5925495c0fb94",
    "Contains::Contained by": "55c95bf6c0a8010e0118ec7056ebc54d",
    "Defines resources for::Gets resources from": "de5aeb6a0ab3015854626f204fb7b1c0",
    "Depends on::Used by": "1a9cb166f1571100a92eb60da2bce5c5",
    "Exchanges data with::Exchanges data with": "607ad1b2c0a8010e01941856b365af90",
    "Hosted on::Hosts": "5f985e0ec0a8010e00a9714f2a172815",
    "Members::Member of": "55c913d3c0a8010e012d1563182d6050",
    "Owns::Owned by": "25242fb2377a9200738d021a54990e88",
    "Provided By::Provides": "4afd799338a02000c18673032c71b817",
    "Provides::Provided by": "f67e9ecdff602000dada361332f49d35",
    "Registered on::Has registered": "aa9434870ab301544ce2943bf03fd7a8",
    "Runs on::Runs": "60bc4e22c0a8010e01f074cbe6bd73c3",
    "Uses::Used by": "cb5592603751200032ff8c00dfbe5d17",
    "Virtualized by::Virtualizes": "d93304fb0a0a0b78006081a72ef08444",
    "Connects to::Connected by": "",
    "IP Connection::IP Connection": "",
    "Detects::Detected by": "",
    "Implement End Point To::Implement End Point From": "",
    "Instantiates::Instantiated by": "",
    "Located in::Houses": "",
    "Managed by::Manages": "",
    "Provisioned From::Provisioned": "",
    "Receives data from::Sends data to": "",
    "Use End Point To::Use End Point From": "",
}
"""Name to published sys_id; where none is published it is derived from the name."""

_HARDWARE = "Hardware Rule"
_SERIALS = {"table": "cmdb_serial_number", "attributes": "serial_number,serial_number_type", "order": "100"}
_SERIALS |= {"condition": "valid=true^absent=false^EQ", "referenced_field": "cmdb_ci", "exact_count_match": "true"}
_ADAPTERS = {"table": "cmdb_ci_network_adapter", "attributes": "ip_address,mac_address", "order": "400"}
_ADAPTERS |= {"condition": "install_status!=100^EQ", "referenced_field": "cmdb_ci", "exact_count_match": "true"}

# rule: (class, independent, description, entries)
_RULES: Mapping[str, tuple[str, bool, str, tuple[dict[str, str], ...]]] = {
    # cmdb-meta-api.md, the answer for cmdb_ci_computer
    _HARDWARE: (
        "cmdb_ci_hardware",
        True,
        "Identifier for hardware.",
        (_SERIALS, {"attributes": "serial_number", "order": "200"}, {"attributes": "name", "order": "300"}, _ADAPTERS),
    ),
    # The rest are assumptions after the documented kinds of rules (independent and dependent).
    "Application Rule": (
        "cmdb_ci_appl",
        False,
        "Identifier for applications, by class and name on their host.",
        ({"attributes": "sys_class_name,name", "order": "100"},),
    ),
    "Network Adapter Rule": (
        "cmdb_ci_network_adapter",
        False,
        "Identifier for network adapters of a device.",
        ({"attributes": "mac_address", "order": "100"}, {"attributes": "name", "order": "200"}),
    ),
    "Disk Rule": ("cmdb_ci_disk", False, "Identifier for disks.", ({"attributes": "name", "order": "100"},)),
    "Software Rule": (
        "cmdb_ci_spkg",
        True,
        "Identifier for software packages.",
        ({"attributes": "name,version", "order": "100"}, {"attributes": "key", "order": "200"}),
    ),
    "Service Rule": ("cmdb_ci_service", True, "Identifier for services.", ({"attributes": "name", "order": "100"},)),
    "Business Application Rule": (
        "cmdb_ci_business_app",
        True,
        "Identifier for business applications.",
        ({"attributes": "number", "order": "100"}, {"attributes": "name", "order": "200"}),
    ),
    "Virtual Machine Rule": (
        "cmdb_ci_vm",
        True,
        "Identifier for virtual machines.",
        ({"attributes": "correlation_id", "order": "100"}, {"attributes": "name", "order": "200"}),
    ),
}
# rule: (related table, referenced column, attributes); the first is documented, the others are assumptions
_RELATED = (
    (_HARDWARE, "cmdb_print_queue_instance", "installed_on", "name"),
    (_HARDWARE, "cmdb_ci_network_adapter", "cmdb_ci", "mac_address"),
    (_HARDWARE, "cmdb_serial_number", "cmdb_ci", "serial_number,serial_number_type"),
    (_HARDWARE, "cmdb_software_instance", "installed_on", "software"),
)
# (parent class, relation type, child class); the dependent class is the parent of hosting and the child of containment
_HOSTING = (("cmdb_ci_appl", "Runs on::Runs", "cmdb_ci_hardware"),)
_CONTAINMENT = (
    ("cmdb_ci_hardware", "Owns::Owned by", "cmdb_ci_network_adapter"),
    ("cmdb_ci_hardware", "Contains::Contained by", "cmdb_ci_disk"),
)
# asset state, substatus: CI state, hardware status (servicenow-api.md 11.2; the pairs are assumptions)
_STATES = (
    ("1", "", "1", "installed"),
    ("2", "", "2", "on_order"),
    ("3", "", "3", "in_maintenance"),
    ("6", "", "6", "in_stock"),
    ("7", "", "7", "retired"),
    ("8", "stolen", "8", "stolen"),
    ("8", "", "100", "missing"),
    ("9", "", "2", "on_order"),
)
_MAPPED = [
    "asset_tag",
    "assigned",
    "assigned_to",
    "checked_in",
    "checked_out",
    "company",
    "cost_center",
    "delivery_date",
    "department",
    "due",
    "due_in",
    "gl_account",
    "install_date",
    "invoice_number",
    "justification",
    "lease_id",
    "location",
    "managed_by",
    "order_date",
    "owned_by",
    "po_number",
    "purchase_date",
    "serial_number",
    "support_group",
    "supported_by",
    "vendor",
    "warranty_expiration",
]


_SAME = ("first_name", "last_name", "email", "employee_number", "title", "phone", "mobile_phone")
_USER_FIELDS = {"user_id": "user_name"} | {name: name for name in (*_SAME, "department", "location", "company")}
"""Source to target columns of the stock map `User` of the staging table imp_user (the list is an assumption)."""


def relation_type_id(name: str) -> str:
    return RELATION_TYPES.get(name) or row_id("cmdb_rel_type", name)


def stock_rows() -> Iterator[tuple[str, Rows]]:
    """Every table with its rows."""
    yield "cmdb_rel_type", [_relation_type(name) for name in RELATION_TYPES]
    yield "cmdb_identifier", [_rule(name) for name in _RULES]
    yield "cmdb_identifier_entry", [_entry(rule, entry) for rule, (*_, es) in _RULES.items() for entry in es]
    yield "cmdb_related_entry", [_related(n, *entry) for n, entry in enumerate(_RELATED, start=1)]
    yield "cmdb_metadata_hosting", [_dependency("cmdb_metadata_hosting", *d) for d in _HOSTING]
    yield "cmdb_metadata_containment", [_dependency("cmdb_metadata_containment", *d) for d in _CONTAINMENT]
    yield "alm_asset_ci_state_mapping", [_state(asset, substate, ci) for asset, substate, ci, _ in _STATES]
    yield "alm_hardware_state_mapping", [_hardware_state(a, substate, hardware) for a, substate, _, hardware in _STATES]
    yield "alm_asset_ci_field_mapping", [_field("model", "model_id"), *(_field(e, e) for e in _MAPPED)]
    yield "sys_scope", [{"sys_id": "global", "scope": "global", "name": "Global", "active": "true"}]
    yield "sys_auth_scope", [{"sys_id": row_id("sys_auth_scope", "useraccount"), "name": "useraccount"}]
    yield "sys_transform_map", [_user_map()]
    yield "sys_transform_entry", [_user_field(source, target) for source, target in _USER_FIELDS.items()]


def _relation_type(name: str) -> dict[str, str]:
    parent, _, child = name.partition("::")
    return {
        "sys_id": relation_type_id(name),
        "name": name,
        "parent_descriptor": parent,
        "child_descriptor": child,
    }


def _rule(name: str) -> dict[str, str]:
    table, independent, description, _ = _RULES[name]
    return {
        "sys_id": row_id("cmdb_identifier", name),
        "name": name,
        "applies_to": table,
        "description": description,
        "active": "true",
        "independent": "true" if independent else "false",
    }


def _entry(rule: str, entry: Mapping[str, str]) -> dict[str, str]:
    published = rule == _HARDWARE and entry["attributes"] == "name"
    flags = dict.fromkeys(("exact_count_match", "allow_null_attribute", "allow_fallback"), "false")
    return {
        **flags,
        "sys_id": "556eb250c3400200d8d4bea192d3ae92"
        if published
        else row_id("cmdb_identifier_entry", rule, entry["order"]),
        "identifier": row_id("cmdb_identifier", rule),
        "active": "true",
        **entry,
    }


def _related(position: int, rule: str, table: str, referenced: str, attributes: str) -> dict[str, str]:
    flags = dict.fromkeys(("exact_count_match", "allow_null_attribute", "allow_fallback"), "false")
    return {
        **flags,
        "sys_id": row_id("cmdb_related_entry", rule, table),
        "identifier": row_id("cmdb_identifier", rule),
        "related_table": table,
        "referenced_field": referenced,
        "attributes": attributes,
        "order": str(100 * position),
        "active": "true",
    }


def _dependency(table: str, parent: str, relation: str, child: str) -> dict[str, str]:
    return {
        "sys_id": row_id(table, parent, relation, child),
        "parent_type": parent,
        "child_type": child,
        "rel_type": relation_type_id(relation),
        "is_reverse": "false",
    }


def _state(asset: str, substate: str, ci: str) -> dict[str, str]:
    return {
        "sys_id": row_id("alm_asset_ci_state_mapping", asset, substate),
        "asset_state": asset,
        "asset_substate": substate,
        "configuration_item_status": ci,
        "synch_direction": "both",
        "active": "true",
    }


def _hardware_state(asset: str, substate: str, hardware: str) -> dict[str, str]:
    """For hardware only the asset decides (11.2)."""
    return {
        "sys_id": row_id("alm_hardware_state_mapping", asset, substate),
        "asset_state": asset,
        "asset_substate": substate,
        "hardware_ci_status": hardware,
        "synch_direction": "asset_to_ci",
        "active": "true",
    }


def _field(asset: str, ci: str) -> dict[str, str]:
    return {
        "sys_id": row_id("alm_asset_ci_field_mapping", asset),
        "asset_field": asset,
        "configuration_item_field": ci,
        "active": "true",
    }


def _user_map() -> dict[str, str]:
    return {
        "sys_id": row_id("sys_transform_map", "User"),
        "name": "User",
        "source_table": "imp_user",
        "target_table": "sys_user",
        "active": "true",
        "order": "100",
        "run_business_rules": "true",
        "enforce_mandatory_fields": "no",
        "create_new_record_on_empty_coalesce_fields": "true",
    }


def _user_field(source: str, target: str) -> dict[str, str]:
    return {
        "sys_id": row_id("sys_transform_entry", "User", source),
        "map": row_id("sys_transform_map", "User"),
        "source_table": "imp_user",
        "source_field": source,
        "target_table": "sys_user",
        "target_field": target,
        "coalesce": "true" if source == "user_id" else "false",
        "choice_action": "create",
    }
