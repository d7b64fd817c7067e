"""What of a request body is taken for a write (servicenow-api.md 1.7): unknown columns are ignored, unknown choices
dropped, system columns kept, texts brought to the stored form of their column.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from nowtwin import errors
from nowtwin.accounts.users import User
from nowtwin.behaviour.switches import Switches
from nowtwin.clock import STAMP
from nowtwin.query.fields import Source
from nowtwin.reading.currencies import MONEY, Currencies
from nowtwin.reading.display import strftime_of
from nowtwin.schema.dictionary import Column, Dictionary
from nowtwin.storage.rows import Storage
from nowtwin.values import (
    DATE_TIME_TYPES,
    JOURNAL_TYPES,
    LIST_TYPES,
    NUMERIC_TYPES,
    PASSWORD_TYPES,
    number_of,
    truth_of,
)

SYSTEM_COLUMNS = frozenset(
    {"sys_id", "sys_created_on", "sys_created_by", "sys_updated_on", "sys_updated_by", "sys_mod_count"},
)
_CLOSED_CHOICE = frozenset({1, 3})


@dataclass(frozen=True, slots=True)
class Accepted:
    """Columns to write, journal entries and secrets, by element."""

    values: dict[str, str]
    journals: dict[str, str]
    secrets: dict[str, str]


class Acceptance:
    """Reads bodies for one table in the eyes of one user."""

    def __init__(self, dictionary: Dictionary, storage: Storage, switches: Switches, user: User) -> None:
        self._dictionary = dictionary
        self._storage = storage
        self._switches = switches
        self._user = user

    def take(self, table: str, body: Mapping[str, str], *, display_values: bool = False) -> Accepted:
        """`display_values` is `sysparm_input_display_value`: references by name, dates in the user's form."""
        columns = self._dictionary.columns(table)
        values: dict[str, str] = {}
        journals: dict[str, str] = {}
        secrets: dict[str, str] = {}
        for element, text in body.items():
            column = columns.get(element)
            if column is None or column.derived or element in SYSTEM_COLUMNS:
                continue
            if column.type in PASSWORD_TYPES:
                if display_values or (column.type == "password2" and self._switches.encrypted_columns_taken_plain):
                    secrets[element] = text
                continue
            if column.type in JOURNAL_TYPES:
                if text:
                    journals[element] = text
                continue
            if column.read_only and self._protected(column):
                continue
            taken = self._taken(table, column, text, display_values=display_values)
            if taken is not None:
                values[element] = taken
        return Accepted(values, journals, secrets)

    def _protected(self, column: Column) -> bool:
        """Whether a read-only column keeps its value; its own option comes before the instance's (1.7, Australia)."""
        if column.read_only_option in {None, "", "instance_configured"}:
            return self._switches.read_only_columns_protected
        return column.read_only_option != "display_read_only"

    def _takes_any_choice(self) -> bool:
        name = "glide.rest.choice.allow_non_existing_value"
        self._storage.ensure("sys_properties", ("name", "value"))
        rows = self._storage.rows("SELECT value FROM sys_properties WHERE name = ? COLLATE NOCASE", (name,))
        return bool(rows) and rows[0][0] == "true"

    def _taken(self, table: str, column: Column, text: str, *, display_values: bool) -> str | None:
        """The stored text, or None when the value is dropped."""
        if text == "NULL":  # a reserved word that clears
            return ""
        if text == "":
            kept = column.choice in _CLOSED_CHOICE and not self._switches.empty_clears_choices
            return None if kept else ""
        if display_values:
            text = self._from_display(table, column, text)
        if column.reference and column.type not in LIST_TYPES and not self._keeps_reference(column, text):
            return ""
        if column.choice in _CLOSED_CHOICE and self._drops_unknown_choices(column):
            inherited = self._switches.choices_from_parent
            labels = self._dictionary.choice_labels(table, column.element, inherited=inherited)
            if labels and text not in labels and not self._takes_any_choice():
                return None
        return self.in_form(column, text)

    def _drops_unknown_choices(self, column: Column) -> bool:
        custom = column.element.startswith("u_") and self._switches.custom_choices_open
        return self._switches.unknown_choice_dropped and not custom

    def _keeps_reference(self, column: Column, text: str) -> bool:
        """Whether a reference is stored as it came: what it names exists, or the instance does not ask."""
        is_id = re.fullmatch(r"[0-9a-f]{32}", text) is not None
        if self._switches.missing_references_kept if is_id else self._switches.reference_names_kept:
            return True
        return self._stored_under(column.reference or "", column.reference_key, text)

    def _stored_under(self, target: str, key: str, text: str) -> bool:
        if target not in self._dictionary.tables:
            return False
        source = Source(self._dictionary, self._storage, target)
        field = source.field(key)
        sql = f"SELECT 1 FROM {source.from_clause()} WHERE {field.sql} = ? LIMIT 1" if field else ""  # noqa: S608 - built from quoted names
        return bool(field and self._storage.rows(sql, (text,)))

    def stamps(self, table: str, body: Mapping[str, str]) -> dict[str, str]:
        """System columns that a body sets, where the instance takes them (1.7)."""
        if not self._switches.system_columns_written:
            return {}
        columns = self._dictionary.columns(table)
        formed = {e: self.in_form(columns[e], body[e]) for e in SYSTEM_COLUMNS - {"sys_id"} if body.get(e)}
        return {element: text for element, text in formed.items() if text}

    def in_form(self, column: Column, text: str) -> str | None:
        """The stored form of a filled text; None where the column has none for it."""
        if column.type == "boolean":
            return None if text in {"0", "1"} and not self._switches.boolean_digits_taken else truth_of(text)
        if column.type in NUMERIC_TYPES:
            number = Currencies(self._storage).in_reference(text) if column.type in MONEY else number_of(text)
            return None if number is None else str(number)
        if column.type in DATE_TIME_TYPES:
            return _date_time(text)
        if column.type == "glide_date":
            return text[:10] if re.match(r"\d{4}-\d\d-\d\d", text) else None
        limit = column.max_length
        sized = column.type in {"string", "translated_text", "translated_field", "email", "url"}
        if not (limit and sized and len(text) > limit):
            return text
        if not self._switches.truncate_long_strings:
            raise errors.failed(f"Data truncation: Data too long for column '{column.element}' at row 1")
        return text[:limit]

    def _from_display(self, table: str, column: Column, text: str) -> str:
        if column.type in LIST_TYPES and column.reference:
            return ",".join(self._by_name(column.reference, "sys_id", part.strip()) for part in text.split(","))
        if column.reference:
            return self._by_name(column.reference, column.reference_key, text)
        if column.choice:
            labels = self._dictionary.choice_labels(table, column.element)
            return next((value for value, label in labels.items() if label == text), text)
        if column.type in DATE_TIME_TYPES:
            form = f"{strftime_of(self._user.date_format)} {strftime_of(self._user.time_format)}"
            try:
                local = datetime.strptime(text, form).replace(tzinfo=self._user.zone)
            except ValueError:
                return text
            return local.astimezone(UTC).strftime(STAMP)
        return text

    def _by_name(self, target: str, key: str, text: str) -> str:
        """The key of the record that displays as `text`; the text itself where none does."""
        if target not in self._dictionary.tables:
            return text
        source = Source(self._dictionary, self._storage, target)
        shown = source.field(self._dictionary.display_column(target))
        found = source.field(key)
        if shown is None or found is None:
            return text
        sql = f"SELECT {found.sql} FROM {source.from_clause()} WHERE {shown.sql} = ? LIMIT 1"  # noqa: S608 - built from quoted names
        rows = self._storage.rows(sql, (text,))
        return str(rows[0][0]) if rows else text


def _date_time(text: str) -> str | None:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        text += " 00:00:00"
    try:
        datetime.strptime(text, STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    return text
