"""A table and its columns as ServiceNow's dictionary describes them.

Values are the dictionary's own: `internal_type` is the type's name (`glide_date_time`), `reference` the name of the
table that a reference points at. Nothing here knows Postgres; `replica.layout` decides what a column becomes there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


class ChoiceMode(IntEnum):
    """`sys_dictionary.choice` (servicenow-api.md 3.2)."""

    NONE = 0
    DROPDOWN_WITH_NONE = 1
    SUGGESTION = 2
    DROPDOWN = 3


class SchemaSource(Enum):
    """Where a table's columns were learned from; the later ones know less."""

    DICTIONARY = "sys_dictionary"
    PARTIAL_DICTIONARY = "the readable part of sys_dictionary, completed from the schema document or a record"
    DOCUMENT = "the schema document of the table (no inheritance; reference targets as far as records show them)"
    RECORDS = "the keys of some records (every type unknown)"


@dataclass(frozen=True, slots=True)
class Column:
    """One dictionary entry, as seen from the table that was asked for (inherited ones included).

    `defined_on` is the class that declares it: choices are looked up there when the table has none of its own.
    `dependent` is the column whose value limits this one's choices.
    """

    name: str
    label: str
    internal_type: str
    defined_on: str
    reference: str | None = None
    reference_key: str | None = None
    choice: ChoiceMode = ChoiceMode.NONE
    choice_table: str | None = None
    choice_field: str | None = None
    dependent: str | None = None
    has_default: bool = False
    max_length: int | None = None
    mandatory: bool = False
    read_only: bool = False
    display: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`ancestors` runs from the direct parent to the root. `columns` are the effective ones, in name order,
    system columns first. `display` is the column whose value stands for the record in a reference, if any.
    """

    name: str
    label: str
    ancestors: tuple[str, ...]
    columns: tuple[Column, ...]
    display: str | None = None
    source: SchemaSource = SchemaSource.DICTIONARY

    @property
    def lineage(self) -> tuple[str, ...]:
        """The table itself, then its ancestors."""
        return (self.name, *self.ancestors)

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, slots=True)
class Choice:
    """One row of `sys_choice`. `dependent` is the value that the column it depends on must have, or empty."""

    table: str
    column: str
    value: str
    label: str
    dependent: str = ""
    language: str = "en"
    inactive: bool = False
