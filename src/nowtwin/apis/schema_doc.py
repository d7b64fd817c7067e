"""Schema discovery that clients use and no documentation describes: `/api/now/doc/table/schema` and `/api/now/ui/meta`.

Shapes: servicenow-api.md 1.2 for the fields of a table; the list of tables (`label`, `value`, `reference`) and the
columns of `ui/meta` as the open-source clients that call them read them.
"""

import re
from typing import Any

from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request, json_answer
from nowtwin.instance import Instance
from nowtwin.schema.dictionary import Column
from nowtwin.schema.metadata import usual_length
from nowtwin.values import DATE_TIME_TYPES, DECIMAL_TYPES, INTEGER_TYPES

_SCHEMA = re.compile(r"/api/now(?:/v\d)?/doc/table/schema(?:/(?P<table>[^/]+))?/?")
_META = re.compile(r"/api/now(?:/v\d)?/ui/meta/(?P<table>[^/]+)/?")


def read_schema(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    """The columns of a table, or with no table the list of tables."""
    _only_get(request)
    table = found["table"]
    if table is None:
        tables = sorted(instance.dictionary.tables)
        result: list[dict[str, Any]] = [
            {"label": instance.dictionary.table_label(name), "value": name, "reference": False} for name in tables
        ]
        return json_answer(200, {"result": result}, rows=len(result))
    instance.prepare(table)
    columns = _visible(instance, request, table)
    result = [
        {
            "label": column.label or column.element,
            "exampleValue": _example(column),
            "internalType": column.type,
            "name": element,
        }
        for element, column in columns.items()
    ]
    return json_answer(200, {"result": result}, rows=len(result))


def read_meta(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    """The columns of a table with types, choices and references, by name."""
    _only_get(request)
    table = found["table"]
    instance.prepare(table)
    columns = {name: _meta(instance, table, c) for name, c in _visible(instance, request, table).items()}
    return json_answer(200, {"result": {"columns": columns}}, rows=len(columns))


def _visible(instance: Instance, request: Request, table: str) -> dict[str, Column]:
    hidden = instance.access.hidden_columns(request.caller, table)
    columns = instance.dictionary.columns(table)
    return {element: columns[element] for element in sorted(columns) if element not in hidden}


def _example(column: Column) -> str:
    if column.type == "boolean":
        return "true"
    if column.type in INTEGER_TYPES | DECIMAL_TYPES:
        return "1"
    if column.type in DATE_TIME_TYPES:
        return "1970-01-01 00:00:00"
    return "1970-01-01" if column.type == "glide_date" else ""


def _meta(instance: Instance, table: str, column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": column.element,
        "label": column.label or column.element,
        "hint": column.hint or "",
        "type": column.type,
        "internal_type": column.type,
        "max_length": column.max_length or usual_length(column.type),
        "mandatory": bool(column.mandatory),
        "read_only": bool(column.read_only),
        "default_value": column.default or "",
        "filterable": True,
        "sortable": True,
    }
    if column.choice:
        labels = instance.dictionary.choice_labels(table, column.element)
        entry |= {"type": "choice", "choices": [{"label": label, "value": value} for value, label in labels.items()]}
    if column.reference:
        entry["reference"] = column.reference
        if column.reference in instance.dictionary.tables:
            entry["reference_display_field"] = instance.dictionary.display_column(column.reference)
    return entry


def _only_get(request: Request) -> None:
    if request.method not in {"GET", "HEAD"}:
        raise Refused(405, "Method not supported", f"{request.method} is not supported here")


ROUTES = ((_SCHEMA, read_schema), (_META, read_meta))
