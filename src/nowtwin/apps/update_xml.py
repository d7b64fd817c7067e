"""Update XML to values: what `now-sdk build`, an application's repository and an exported update set hold.

| root | what it holds |
| --- | --- |
| `<record_update table="sys_script">` | records, each `<sys_script action="INSERT_OR_UPDATE">` with a child per column |
| `<unload>` | records; those of sys_update_xml hold further update XML in `payload` |
| `<database>` | the columns of a table: `<element name="x_t" type="collection">` with an `<element>` per column |

A record may stand in a wrapper without a sys_id (`<sys_choice_v2>`). A reference says by its attributes which record is
meant where the sys_id is not known: `<super_class name="task">`. Forms: output of now-sdk 4.9.0 and exported update sets
in public repositories (servicenow-api.md 8.2). Pure: knows no instance. What is no update XML is a ValueError.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET

_SHOWN = frozenset({"display_value", "source"})
"""Attributes of a column that say what it displays, not which record is meant."""
_ROOTS = frozenset({"record_update", "unload", "database"})


@dataclass(frozen=True, slots=True)
class Update:
    """One record of a package. `DELETE` takes the record away, `delete_multiple` those that `query` finds."""

    table: str
    sys_id: str
    action: str
    values: Mapping[str, str]
    keys: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By element: values by which the referenced record is known."""
    query: str = ""
    payload: str = ""
    """The record as it stood in the XML."""

    @property
    def name(self) -> str:
        return self.values.get("sys_update_name") or f"{self.table}_{self.sys_id}"


@dataclass(frozen=True, slots=True)
class Document:
    """What one file holds."""

    updates: tuple[Update, ...] = ()
    schema: Mapping[str, Any] = field(default_factory=dict)
    """A schema document: tables, columns, choices."""


def read_document(name: str, data: bytes) -> Document:
    """Raises ValueError, naming the file, for what is no update XML."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8") from error
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError(f"{name} declares a document type")
    try:
        root = ET.fromstring(text)  # noqa: S314 - documents with declarations are refused above
    except (ET.ParseError, ValueError) as error:
        raise ValueError(f"{name} is not valid XML: {error}") from error
    if root.tag not in _ROOTS:
        raise ValueError(f"{name} is no update XML: its root is <{root.tag}>")
    if root.tag == "database":
        return Document(schema=_schema(name, root))
    return Document(tuple(_updates(root)))


def read_payload(payload: str) -> tuple[Update, ...]:
    """The records in the payload of a sys_update_xml or sys_update_version row."""
    return read_document("payload", payload.encode()).updates


def _updates(parent: ET.Element) -> Iterator[Update]:
    for element in parent:
        action = element.get("action", "")
        sys_id = (element.findtext("sys_id") or "").strip()
        if action == "delete_multiple":
            if not element.get("query"):
                raise ValueError(f"<{element.tag}> deletes many records without saying which")
            yield Update(element.tag, "", action, {}, query=element.get("query", ""))
        elif sys_id:
            yield _update(element, sys_id, action or "INSERT_OR_UPDATE")
        elif len(element):
            yield from _updates(element)


def _update(element: ET.Element, sys_id: str, action: str) -> Update:
    values = {child.tag: child.text or "" for child in element}
    keys = {}
    for child in element:
        known_by = {name: value for name, value in child.attrib.items() if name not in _SHOWN and value}
        if known_by and values[child.tag]:
            keys[child.tag] = known_by
    wrapped = ET.Element("record_update", {"table": element.tag})
    wrapped.append(element)
    return Update(element.tag, sys_id, action, values, keys, payload=ET.tostring(wrapped, "unicode"))


# -- tables --------------------------------------------------------------------------------------------------------


def _schema(name: str, root: ET.Element) -> dict[str, Any]:
    schema: dict[str, list[dict[str, Any]]] = {"tables": [], "columns": [], "choices": []}
    for table in root.findall("element"):
        if not table.get("name"):
            raise ValueError(f"{name} has a table without a name")
        schema["tables"].append(_table(table))
        for column in table.findall("element"):
            if not column.get("name"):
                raise ValueError(f"{name} has a column without a name")
            schema["columns"].append(_column(table.attrib["name"], column))
            schema["choices"].extend(_choices(table.attrib["name"], column))
    return schema


def _table(element: ET.Element) -> dict[str, Any]:
    return {
        "name": element.attrib["name"],
        "label": element.get("label") or None,
        "super_class": element.get("extends") or None,
        "display": element.get("display") or None,
        "extensible": _truth(element, "is_extendable"),
        "audit": _truth(element, "audit"),
        "web_service_access": _truth(element, "ws_access"),
    }


def _column(table: str, element: ET.Element) -> dict[str, Any]:
    return {
        "table": table,
        "element": element.attrib["name"],
        "internal_type": element.get("type") or "string",
        "label": element.get("label") or None,
        "reference": element.get("reference") or None,
        "reference_key": element.get("reference_key") or None,
        "max_length": _number(element.get("max_length")),
        "mandatory": _truth(element, "mandatory"),
        "read_only": _truth(element, "read_only"),
        "choice": _number(element.get("choice")),
        "default": element.get("default_value") or element.get("default") or None,
        "dependent": element.get("dependent") or None,
        "unique": _truth(element, "unique"),
        "active": _truth(element, "active"),
        "function_definition": element.get("function_definition") or None,
        "virtual": _truth(element, "virtual"),
        "calculation": element.get("calculation") or None,
    }


def _choices(table: str, column: ET.Element) -> Iterator[dict[str, Any]]:
    for place, choice in enumerate(column.findall("choice/element")):
        value = choice.get("value", "")
        sequence = _number(choice.get("sequence"))
        yield {
            "table": table,
            "element": column.attrib["name"],
            "value": value,
            "label": choice.get("label") or value,
            "sequence": place if sequence is None else sequence,
            "dependent_value": choice.get("dependent_value") or "",
            "inactive": choice.get("inactive") == "true",
            "language": choice.get("language") or "en",
        }


def _truth(element: ET.Element, name: str) -> bool | None:
    value = element.get(name)
    return None if value is None else value == "true"


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
