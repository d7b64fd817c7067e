"""The door for schema documents: what `tables`, `columns` and `choices` may hold (data/NOTICE.md has the form).

Members that are not named here (sources, remarks) pass; what is named must have its type.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

_Name = Annotated[str, msgspec.Meta(min_length=1)]


class _Table(msgspec.Struct, frozen=True):
    name: _Name
    label: str | None = None
    super_class: _Name | None = None
    display: str | None = None
    extensible: bool | None = None
    audit: bool | None = None
    web_service_access: bool | None = None
    number_prefix: str | None = None
    number_start: int | None = None
    attributes: dict[str, Any] | None = None


class _Column(msgspec.Struct, frozen=True):
    table: _Name
    element: _Name
    label: str | None = None
    internal_type: str | None = None
    reference: str | None = None
    reference_key: str | None = None
    max_length: int | None = None
    mandatory: bool | None = None
    read_only: bool | None = None
    choice: int | None = None
    choice_table: str | None = None
    choice_field: str | None = None
    default: str | int | bool | None = None
    dependent: str | None = None
    unique: bool | None = None
    hint: str | None = None
    active: bool | None = None
    function_definition: str | None = None
    virtual: bool | None = None
    calculation: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    table: _Name
    element: _Name
    value: str | int
    label: str | None = None
    sequence: int | None = None
    dependent_value: str | None = None
    inactive: bool | None = None
    language: str | None = None


class _Document(msgspec.Struct, frozen=True):
    tables: list[_Table] = []
    columns: list[_Column] = []
    choices: list[_Choice] = []


def refuse_malformed(schema: Mapping[str, Any]) -> None:
    """Raises ValueError that says where, for a document that is no schema, or whose tables are their own parents."""
    if not {"tables", "columns", "choices"} & schema.keys():
        raise ValueError("no schema document: it has none of tables, columns and choices")
    try:
        document = msgspec.convert(schema, _Document)
    except msgspec.ValidationError as error:
        raise ValueError(f"no schema document: {error}") from error
    parents = {table.name: table.super_class for table in document.tables}
    for name, parent in parents.items():
        seen, place = {name}, parent
        while place is not None:
            if place in seen:
                raise ValueError(f"no schema document: table {name} is below itself")
            seen.add(place)
            place = parents.get(place)
