"""Field maps of a transform map: source columns to target values, references and choices resolved (6.1).

`choice_action` says what becomes of a reference or a choice that nothing answers to: create it, leave the column out,
or reject the row. Scripts of the map have a say in it (`Creation`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from nowtwin.accounts.users import User, zone_of
from nowtwin.clock import STAMP
from nowtwin.instance import Instance
from nowtwin.reading.display import strftime_of
from nowtwin.records.pipeline import Record
from nowtwin.records.selecting import equalities, find, select
from nowtwin.schema.dictionary import Choice, Column
from nowtwin.values import DATE_TIME_TYPES, truth_of

_OPEN_CHOICE = 2


class Rejected(Exception):
    """A field map rejects the whole row; the text says why."""


class Creation(Protocol):
    """Asked before a record or choice is made for a column, and told when one is rejected."""

    def allowed(self, event: str, element: str, text: str) -> bool:
        """Whether to go on (`onForeignInsert`, `onChoiceCreate`). Raises Rejected."""

    def rejected(self, element: str, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class FieldMap:
    source: str
    target: str
    coalesce: bool
    coalesce_empty: bool
    case_sensitive: bool
    choice_action: str
    reference_field: str
    date_format: str
    script: str
    """Empty where the source column counts."""


class FieldMaps:
    def __init__(self, instance: Instance, user: User) -> None:
        self._instance = instance
        self._user = user

    def of(self, map_id: str) -> list[FieldMap]:
        rows = select(self._instance, "sys_transform_entry", equalities({"map": map_id}))
        return [
            FieldMap(
                source=row["source_field"],
                target=row["target_field"],
                coalesce=row["coalesce"] == "true",
                coalesce_empty=row["coalesce_empty_fields"] == "true",
                case_sensitive=row["coalesce_case_sensitive"] == "true",
                choice_action=row["choice_action"] or "create",
                reference_field=row["reference_value_field"],
                date_format=row["date_format"],
                script=row["source_script"] if row["use_source_script"] == "true" else "",
            )
            for row in rows
        ]

    def values(self, maps: Sequence[FieldMap], table: str, row: Record, creation: Creation) -> dict[str, str]:
        """Values of the target columns; unknown columns are left out. Raises Rejected."""
        columns = self._instance.dictionary.columns(table)
        values: dict[str, str] = {}
        for field in maps:
            column = columns.get(field.target)
            if column is None and field.target != "sys_id":
                continue
            text = self._source(field, row)
            value = text if column is None or not text else self._resolved(field, table, column, text, creation)
            if value is not None:
                values[field.target] = value
        return values

    def _source(self, field: FieldMap, row: Record) -> str:
        if not field.script:
            return row.values.get(field.source, "")
        script = f"var source = current; var answer; {field.script}"
        return self._instance.scripts.default_value(script, row.table, row.values, self._user)

    def _resolved(self, field: FieldMap, table: str, column: Column, text: str, creation: Creation) -> str | None:
        """The stored form of a source text; None leaves the column out."""
        if column.reference and column.reference in self._instance.dictionary.tables:
            return self._reference(field, column, text, creation)
        if column.choice and column.choice != _OPEN_CHOICE:
            return self._choice(field, table, column, text, creation)
        if column.type in DATE_TIME_TYPES and field.date_format:
            return self._date_time(field, text)
        return truth_of(text) if column.type == "boolean" else text

    def _reference(self, field: FieldMap, column: Column, text: str, creation: Creation) -> str | None:
        target = column.reference or ""
        shown = field.reference_field or self._instance.dictionary.display_column(target)
        for element in dict.fromkeys((column.reference_key, shown)):
            if element not in self._instance.dictionary.columns(target):
                continue
            found = find(self._instance, target, {element: text}, (column.reference_key,))
            if found is not None:
                return found[column.reference_key]
        if not _created(field, "onForeignInsert", text, f"no record of {target} for {text}", creation):
            return None
        record = self._instance.records.insert(target, {shown: text}, self._user, self._instance.switches)
        return record.values.get(column.reference_key, record.sys_id)

    def _choice(self, field: FieldMap, table: str, column: Column, text: str, creation: Creation) -> str | None:
        labels = self._instance.dictionary.choice_labels(table, column.element)
        if not labels or text in labels:
            return text
        for value, label in labels.items():
            if label.lower() == text.lower():
                return value
        missing = f"no choice {text} for {column.label or column.element}"
        if not _created(field, "onChoiceCreate", text, missing, creation):
            return None
        self._instance.prepare("sys_choice")
        row = {"name": column.table, "element": column.element, "value": text, "label": text, "language": "en"}
        self._instance.records.insert("sys_choice", row, self._user, self._instance.switches)
        self._instance.dictionary.put_choice(Choice(column.table, column.element, text, text))
        return text

    def _date_time(self, field: FieldMap, text: str) -> str:
        """A date in the map's format and the system's zone; one that does not fit it stays as it is."""
        zone = zone_of(self._instance.property("glide.sys.default.tz"))
        try:
            local = datetime.strptime(text, strftime_of(field.date_format)).replace(tzinfo=zone)
        except ValueError:
            return text
        return local.astimezone(UTC).strftime(STAMP)


def _created(field: FieldMap, event: str, text: str, missing: str, creation: Creation) -> bool:
    """Whether to create what is missing. Raises Rejected where the map or a script rejects the row for it."""
    if field.choice_action == "ignore":
        return False
    if field.choice_action == "reject":
        creation.rejected(field.target, text)
        raise Rejected(f"Row rejected: {missing}")
    try:
        return creation.allowed(event, field.target, text)
    except Rejected:
        creation.rejected(field.target, text)
        raise
