"""Answers of the Table API that someone recorded with `sysparm_display_value=all`, as rows: the stored values of each
record, and for each of its references the record that it points at, which is known by its display value alone. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from nowtwin.schema.dictionary import Dictionary
from nowtwin.seeds.references import Row

_TABLE: Final = re.compile(r"/api/now/(?:v\d/)?table/(\w+)")


def is_recording(line: object) -> bool:
    """Whether a line holds a request to the Table API and records that came as value and display value."""
    match line:
        case {"request": {"path": str(path)}, "response": {"body": {"result": list(records)}}}:
            cells = [cell for record in records for cell in (record.values() if isinstance(record, dict) else [None])]
            return bool(_TABLE.match(path)) and all(
                isinstance(c, dict) and {"value", "display_value"} <= c.keys() for c in cells
            )
    return False


def recorded_rows(line: Mapping[str, Any], dictionary: Dictionary) -> Iterator[tuple[str, Row]]:
    """Table and row, what is pointed at first. Columns that the dictionary lacks are left out. Raises ValueError on a
    table that it lacks.
    """
    found = _TABLE.match(line["request"]["path"])
    table = found[1] if found else ""
    if table not in dictionary.tables:
        raise ValueError(f"the instance has no table {table}")
    columns = dictionary.columns(table)
    for record in line["response"]["body"]["result"]:
        for element, cell in record.items():
            target = columns[element].reference if element in columns and columns[element].type == "reference" else None
            if target in dictionary.tables and cell["value"] and cell["display_value"]:
                yield (
                    target or "",
                    {"sys_id": cell["value"], dictionary.display_column(target or ""): cell["display_value"]},
                )
        yield table, {name: cell["value"] for name, cell in record.items() if name in columns}
