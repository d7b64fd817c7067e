"""The CMDB Meta API (servicenow-api.md 6.4; cmdb-meta-api.md): a class with its columns, relations and rules.

Flags of columns and their lengths are texts, flags and orders of rules are JSON booleans and numbers, as documented.
"""

import re
from typing import Any

from nowtwin import errors
from nowtwin.apis.roles_needed import require_cmdb_role
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request, json_answer
from nowtwin.instance import Instance
from nowtwin.ire.rules import Entry, Rule, rule_for
from nowtwin.query.parse import parse
from nowtwin.records.selecting import select
from nowtwin.schema.dictionary import Column
from nowtwin.schema.metadata import row_id, usual_length

_PATH = re.compile(r"/api/now(?:/v\d)?/cmdb/meta/(?P<table>[^/]+)/?")


def read_class(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    """Raises Refused 400 for a table outside the CMDB."""
    if request.method not in {"GET", "HEAD"}:
        raise Refused(405, "Method not supported", f"{request.method} is not supported here")
    require_cmdb_role(instance, request)
    table = found["table"]
    if "cmdb" not in instance.dictionary.lineage(table):
        raise errors.invalid_table(table)
    dictionary = instance.dictionary
    entry = dictionary.tables[table]
    columns = dictionary.columns(table)
    rule = rule_for(instance, table)
    result: dict[str, Any] = {
        "name": table,
        "label": dictionary.table_label(table),
        "parent": entry.super_class or "",
        "children": list(dictionary.children(table)),
        "is_extendable": bool(entry.extensible or dictionary.children(table)),
        "icon": row_id("icon", table),
        "icon_url": f"images/app.ngbsm/{table.removeprefix('cmdb_ci_')}.svg",
        "attributes": [_attribute(instance, table, columns[element]) for element in sorted(columns)],
        "relationship_rules": _relation_rules(instance, table),
        "identification_rules": _rule(rule) if rule else {},
    }
    return json_answer(200, {"result": result}, rows=1)


def _attribute(instance: Instance, table: str, column: Column) -> dict[str, Any]:
    return {
        "element": column.element,
        "type": column.type,
        "label": column.label or column.element,
        "is_inherited": _flag(column.table != table),
        "is_mandatory": _flag(column.mandatory),
        "is_read_only": _flag(column.read_only),
        "default_value": column.default,
        "max_length": str(column.max_length or usual_length(column.type)),
        "is_display": _flag(instance.dictionary.display_column(table) == column.element),
    }


def _flag(value: object) -> str:
    return "true" if value else "false"


def _relation_rules(instance: Instance, table: str) -> list[dict[str, str]]:
    """Hosting and containment rules of the class and its ancestors, from either side."""
    line = ",".join(instance.dictionary.lineage(table))
    rows = [
        row
        for rules in ("cmdb_metadata_hosting", "cmdb_metadata_containment")
        for row in select(instance, rules, parse(f"parent_typeIN{line}^ORchild_typeIN{line}"))
    ]
    return [
        {"parent": row["parent_type"], "child": row["child_type"], "relation_type": row["rel_type"]} for row in rows
    ]


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "description": rule.description,
        "applies_to": rule.applies_to,
        "active": True,
        "is_independent": rule.independent,
        "identifiers": [_entry(entry) for entry in rule.entries],
        "related_rules": [_entry(entry) for entry in rule.related],
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "table": entry.table or None,
        "attributes": ",".join(entry.attributes),
        "order": entry.order,
        "active": entry.active,
        "condition": entry.condition or None,
        "referenced_field": entry.referenced_field or None,
        "exact_count_match": entry.exact_count_match,
        "allow_null_attribute": entry.allow_null_attribute,
        "allow_fallback": entry.allow_fallback,
    }


ROUTES = ((_PATH, read_class),)
