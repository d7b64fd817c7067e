"""Records as the Table API shows them to the visitor, so that pages follow the same access rules as every client.

Every value comes twice: as it is shown (in the visitor's time zone and language) and as it is stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from nowtwin import errors
from nowtwin.apis import table as table_api
from nowtwin.http.messages import Request
from nowtwin.instance import Instance
from nowtwin.query.parse import Query, Term
from nowtwin.schema.dictionary import Column, Dictionary

ROWS = 20
"""Records on a page of a list."""
_CLASS = "sys_class_name"


@dataclass(frozen=True, slots=True)
class Cell:
    shown: str
    value: str


EMPTY = Cell("", "")
Row = Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Rows:
    """A page of a list. `total` counts what matches, `cut` how many rows of this page the visitor may not see."""

    rows: tuple[Row, ...]
    total: int
    cut: int


@dataclass(frozen=True, slots=True)
class Window:
    elements: Sequence[str]
    limit: int = ROWS
    offset: int = 0


def read_rows(instance: Instance, request: Request, table: str, query: str, window: Window) -> Rows:
    """A page of the rows that an encoded query finds. Raises Refused."""
    parameters = {
        "sysparm_query": query,
        "sysparm_fields": ",".join(dict.fromkeys(["sys_id", _CLASS, *window.elements])),
        "sysparm_limit": str(window.limit),
        "sysparm_offset": str(window.offset),
        "sysparm_suppress_pagination_header": "true",
    }
    answer = table_api.list_records(instance, api_request(request, table, parameters), table, "")
    total = next(int(value) for name, value in answer.headers if name == "X-Total-Count")
    rows = tuple(_cells(record) for record in msgspec.json.decode(answer.body)["result"])
    expected = max(0, min(window.limit, total - window.offset))
    return Rows(rows, total, max(0, expected - len(rows)))


def read_record(instance: Instance, request: Request, table: str, sys_id: str) -> Row:
    """Every column of a record that the visitor may read. Raises Refused 404."""
    answer = table_api.read_record(instance, api_request(request, table, {}), table, sys_id)
    return _cells(msgspec.json.decode(answer.body)["result"])


def api_request(request: Request, table: str, parameters: Mapping[str, str]) -> Request:
    """A call of the Table API in the visitor's name, with values and display values."""
    shape = {"sysparm_display_value": "all", "sysparm_exclude_reference_link": "true"}
    return replace(
        request,
        method="GET",
        path=f"/api/now/table/{table}",
        query=tuple((shape | dict(parameters)).items()),
        headers={},
        body=b"",
    )


def _cells(record: Mapping[str, Any]) -> dict[str, Cell]:
    return {name: Cell(cell["display_value"] or "", cell["value"] or "") for name, cell in record.items()}


def known_table(instance: Instance, name: str) -> str:
    """The name of a table that exists. Raises Refused."""
    instance.prepare(name)
    if name not in instance.dictionary.tables:
        raise errors.invalid_table(name)
    return name


def column_at(dictionary: Dictionary, table: str, path: str) -> Column | None:
    """The column at the end of a dotted path."""
    *walk, element = path.split(".")
    place: str | None = table
    for step in walk:
        column = dictionary.column(place, step) if place else None
        place = column.reference if column else None
    return dictionary.column(place, element) if place else None


def label_at(dictionary: Dictionary, table: str, path: str) -> str:
    """The label of a column; of a dotted path the labels of its steps."""
    steps = path.split(".")
    columns = [column_at(dictionary, table, ".".join(steps[: depth + 1])) for depth in range(len(steps))]
    return " ".join(label_of(column) if column else step for column, step in zip(columns, steps, strict=True))


def label_of(column: Column) -> str:
    return column.label or column.element.replace("_", " ").capitalize()


def names_of(instance: Instance, request: Request, target: str, key: str, limit: int) -> list[Cell]:
    """Display values of records of a table with their keys, as far as the visitor may read them."""
    instance.prepare(target)
    shown = shown_path(instance.dictionary, target)
    query = Query((), ())
    wanted = table_api.wanted_rows(instance, request, target, query)
    page = instance.reader.page(wanted, (shown, key), instance.switches, limit=limit)
    texts = dict(zip(page.keys, page.columns, strict=True))
    if shown not in texts or key not in texts:
        return []
    return [Cell(name, value) for name, value in zip(texts[shown], texts[key], strict=True) if name]


def keys_of(instance: Instance, request: Request, target: str, key: str, name: str) -> list[str]:
    """Keys of the (at most two) records of a table that display as `name`."""
    instance.prepare(target)
    shown = shown_path(instance.dictionary, target)
    query = Query((((Term(shown, "=", name),),),))
    wanted = table_api.wanted_rows(instance, request, target, query)
    page = instance.reader.page(wanted, (key,), instance.switches, limit=2)
    return list(page.columns[0]) if page.keys else []


def shown_path(dictionary: Dictionary, table: str) -> str:
    """The path of the text that a record displays as: its display column, followed while that is a reference."""
    path = dictionary.display_column(table)
    place, visited = table, {table}
    while (column := dictionary.column(place, path.rpartition(".")[2])) and column.reference:
        place = column.reference
        if place in visited or place not in dictionary.tables:
            break
        visited.add(place)
        path = f"{path}.{dictionary.display_column(place)}"
    return path
