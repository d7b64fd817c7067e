"""Open inventories as rows: NetBox device and module types, the list of CMDB classes, relation types and what they join.

NetBox device types are JSON lines with `manufacturer` and `model`; they become manufacturers (core_company) and
hardware models (cmdb_hardware_product_model). The class list is a CSV with `table`, `label`, `super_class`; it becomes
tables of the dictionary. Relation types are a CSV with `name`, `parent_descriptor`, `child_descriptor`, relations between
classes one with `parent_class`, `relation_type`, `child_class`; they become cmdb_rel_type and cmdb_rel_type_suggest. Pure.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from nowtwin.seeds.demo_records import Tables
from nowtwin.seeds.estate_facts import relation_type_id
from nowtwin.seeds.platform_facts import schema_of, table_entry
from nowtwin.seeds.references import Row, seeded
from nowtwin.seeds.sys_ids import sys_id_of

_TABLE_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


def device_type_tables(types: Sequence[Mapping[str, Any]], companies: Mapping[str, str]) -> Tables:
    """Rows for device types; `companies` gives the sys_ids of companies that are there already, by name."""
    makers = dict.fromkeys(entry["manufacturer"] for entry in types)
    sys_ids = {name: companies.get(name) or sys_id_of("core_company", name) for name in makers}
    return {
        "core_company": [
            seeded(sys_ids[name], {"name": name, "manufacturer": "true", "vendor": "false", "customer": "false"})
            for name in makers
            if name not in companies
        ],
        "cmdb_hardware_product_model": [_model(entry, sys_ids[entry["manufacturer"]]) for entry in types],
    }


def _model(entry: Mapping[str, Any], maker: str) -> dict[str, str]:
    display_name = f"{entry['manufacturer']} {entry['model']}"
    values = {
        "name": entry["model"],
        "display_name": display_name,
        "manufacturer": maker,
        "model_number": entry.get("part_number") or "",
        "rack_units": str(math.ceil(entry["u_height"])) if entry.get("u_height") else "",
        "weight_decimal": str(entry.get("weight") or ""),
        "weight_unit": entry.get("weight_unit") or "",
        "rated_power": str(entry.get("max_draw_watts") or ""),
        "short_description": _summary(entry),
        "status": "In Production",
        "type": "Generic",
    }
    key = f"{display_name} {entry.get('part_number') or ''}".rstrip() if entry.get("kind") else display_name
    return seeded(
        sys_id_of("cmdb_hardware_product_model", key), {element: value for element, value in values.items() if value}
    )


def _summary(entry: Mapping[str, Any]) -> str:
    counted = (("interfaces", "interfaces"), ("power_ports", "power ports"), ("console_ports", "console ports"))
    return ", ".join(f"{entry[key]} {name}" for key, name in counted if entry.get(key))


def class_schema(rows: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Tables of the class list. Lines of the source that name no table (headings that slipped in) are left out."""
    tables = [
        table_entry(row["table"], row["label"], row["super_class"] or None)
        for row in rows
        if _TABLE_NAME.fullmatch(row["table"])
    ]
    return schema_of(tables, [], [])


def relation_type_rows(rows: Iterable[Mapping[str, str]]) -> Tables:
    """Relation types, under the platform's own sys_id where the list states one."""
    return {"cmdb_rel_type": [_relation_type(row["name"], row.get("sys_id") or "") for row in rows]}


def class_relation_rows(rows: Iterable[Mapping[str, str]], types: Mapping[str, str]) -> Tables:
    """Which class suggests which relation to which other; `types` gives the sys_ids of known relation types by name."""
    listed = list(rows)
    names = dict.fromkeys(row["relation_type"] for row in listed)
    missing = [_relation_type(name, "") for name in names if name not in types]
    sys_ids = {**types, **{row["name"]: row["sys_id"] for row in missing}}
    return {"cmdb_rel_type": missing, "cmdb_rel_type_suggest": [_suggestion(row, sys_ids) for row in listed]}


def _relation_type(name: str, sys_id: str) -> Row:
    parent, _, child = name.partition("::")
    values = {"name": name, "parent_descriptor": parent, "child_descriptor": child}
    return seeded(sys_id or relation_type_id(name), values)


def _suggestion(row: Mapping[str, str], types: Mapping[str, str]) -> Row:
    base, kind, other = row["parent_class"], row["relation_type"], row["child_class"]
    values = {"base_class": base, "dependent_class": other, "cmdb_rel_type": types[kind], "parent": "true"}
    return seeded(sys_id_of("cmdb_rel_type_suggest", f"{base} {kind} {other}"), values)
