"""The demo records of a stock instance, from display values back to stored rows.

Input is the `records` part of demo_records.workarena.json.gz: incidents, problems, changes, hardware and users as an
instance returned them with `sysparm_display_value=true` to a user in US/Pacific. Output is every row an instance must
hold for them: the records, the rows they point at, their journal entries. Pure; the same input gives the same rows.

Three things are put right on the way. The records passed through a benchmark that filled text columns with five random
dictionary words, and gave a close code to incidents that are still open: both are dropped. And a duration's display
lacks its seconds: they are taken from the `_stc` column beside it where both agree to the minute.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from nowtwin.schema.dictionary import Column, Dictionary
from nowtwin.seeds import display_values
from nowtwin.seeds.demo_references import describe, enrich_from_hardware, enrich_models, target_class, user_name_of
from nowtwin.seeds.references import ReferenceBook, Row, seeded
from nowtwin.seeds.sys_ids import sys_id_of
from nowtwin.values import JOURNAL_TYPES, LIST_TYPES

Record: TypeAlias = Mapping[str, Any]
Shown: TypeAlias = str | Mapping[str, str]
Tables: TypeAlias = dict[str, list[Row]]

ZONE: Final = ZoneInfo("America/Los_Angeles")
_JOURNAL_ENTRY: Final = re.compile(
    r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) - (.+?) \((?:Additional comments|Work notes|Approval history)\)\n", re.MULTILINE
)
_DISPLAY: Final[Mapping[str, str]] = {"sys_user": "name", "alm_hardware": "display_name"}
_EXACT_SECONDS: Final[Mapping[str, str]] = {
    "business_duration": "business_stc",
    "calendar_duration": "calendar_stc",
}
_RESOLUTION: Final = ("close_code", "close_notes")
_FILLED_COLUMNS: Final = ("description", "close_notes", "backout_plan", "implementation_plan")
_FIVE_WORDS: Final = re.compile(r"[A-Za-z]+(?: [A-Za-z]+){4}")
# The class is the table, and a journal's entries are rows of sys_journal_field.
_NOT_STORED: Final = JOURNAL_TYPES | {"sys_class_name"}
_SENTENCE_WORDS: Final = frozenset({"a", "be", "for", "in", "is", "of", "the", "to"})


def demo_tables(records: Mapping[str, Sequence[Record]], dictionary: Dictionary) -> Tables:
    """Stored rows by table, referenced tables first."""
    book = ReferenceBook(dictionary, describe)
    for table, rows in records.items():
        for record in rows:
            book.add_record(table, record["sys_id"], record[_DISPLAY.get(table, "number")])
    _open_references(records, dictionary, book)
    stored = {table: [_stored_row(table, r, dictionary, book) for r in rows] for table, rows in records.items()}
    for incident in stored["incident"]:
        _drop_unfounded_resolution(incident)
    enrich_models(book)
    enrich_from_hardware(book, stored["alm_hardware"])
    tables: Tables = dict(book.rows())
    for table, rows in stored.items():
        tables.setdefault(table, []).extend(rows)
    tables.update(_role_rows(tables["sys_user"]))
    users = {row["name"]: row["user_name"] for row in tables["sys_user"]}
    tables["sys_journal_field"] = [
        entry for table, rows in records.items() for record in rows for entry in _journal_rows(table, record, users)
    ]
    return tables


def _open_references(records: Mapping[str, Sequence[Record]], dictionary: Dictionary, book: ReferenceBook) -> None:
    """Create what is pointed at before anything is looked up: the deepest class first, so that "Email", a service for
    one column and a CI for another, is one row; rows with a sys_id before those known by name alone.
    """
    wanted: set[tuple[int, bool, str, str, str]] = set()
    cells = (
        (table, element, dictionary.columns(table).get(element), value, record)
        for table, rows in records.items()
        for record in rows
        for element, value in record.items()
        if value
    )
    for table, element, column, value, record in cells:
        if column is not None and column.type == "reference":
            target = target_class(table, element, column.reference or "", record)
            display, sys_id = _display_and_sys_id(value)
            wanted.add((-len(dictionary.lineage(target)), not sys_id, target, display, sys_id))
    for _, _, target, display, sys_id in sorted(wanted):
        book.sys_id(target, display, sys_id)


def _display_and_sys_id(value: Shown) -> tuple[str, str]:
    if isinstance(value, str):
        return value, ""
    return value["display_value"], value["value"]


def _stored_row(table: str, record: Record, dictionary: Dictionary, book: ReferenceBook) -> Row:
    columns = dictionary.columns(table)
    row: Row = {}
    for element, shown in record.items():
        column = columns.get(element)
        if column is None or column.type in _NOT_STORED or not shown or _is_filler(element, shown):
            continue
        row[element] = _stored_value(table, column, shown, record, (dictionary, book))
    for duration, seconds in _EXACT_SECONDS.items():
        if row.get(duration) and row.get(seconds):
            row[duration] = _exact(row[duration], int(row[seconds]))
    if table == "sys_user":
        row["user_name"] = user_name_of(row["name"], row.get("email", ""))
    return {element: value for element, value in row.items() if value}


def _stored_value(
    table: str, column: Column, shown: Shown, record: Record, known: tuple[Dictionary, ReferenceBook]
) -> str:
    dictionary, book = known
    if column.type == "reference":
        return book.sys_id(
            target_class(table, column.element, column.reference or "", record), *_display_and_sys_id(shown)
        )
    if isinstance(shown, Mapping):  # sys_domain: a domain, shown as a reference without a row
        return shown["value"]
    if column.type in LIST_TYPES:
        return ",".join(book.sys_id(column.reference or "", name) for name in shown.split(", "))
    if column.choice:
        labels = {choice.label: choice.value for choice in dictionary.choices(table, column.element)}
        if labels:
            return display_values.choice(shown, labels)
    return display_values.stored_value(column.type, shown, ZONE)


def _is_filler(element: str, shown: object) -> bool:
    """Five random dictionary words; a sentence of five words has at least one small one."""
    return (
        element in _FILLED_COLUMNS
        and isinstance(shown, str)
        and _FIVE_WORDS.fullmatch(shown) is not None
        and _SENTENCE_WORDS.isdisjoint(shown.split())
    )


def _exact(duration: str, seconds: int) -> str:
    exact = display_values.duration_of_seconds(seconds)
    return exact if exact[:-2] == duration[:-2] else duration


def _drop_unfounded_resolution(incident: Row) -> None:
    if incident.get("active") == "true":
        for element in _RESOLUTION:
            incident.pop(element, None)


def _role_rows(users: Sequence[Row]) -> Tables:
    grants = [(user["sys_id"], role) for user in users for role in user.get("roles", "").split(",") if role]
    names = sorted({role for _, role in grants})
    return {
        "sys_user_role": [seeded(sys_id_of("sys_user_role", name), {"name": name}) for name in names],
        "sys_user_has_role": [
            seeded(
                sys_id_of("sys_user_has_role", f"{user} {role}"),
                {"user": user, "role": sys_id_of("sys_user_role", role), "state": "active", "inherited": "false"},
            )
            for user, role in grants
        ],
    }


def _journal_rows(table: str, record: Record, users: Mapping[str, str]) -> Iterator[Row]:
    for element in ("comments", "work_notes", "approval_history"):
        pieces = _JOURNAL_ENTRY.split(record.get(element) or "")
        for place in range(1, len(pieces), 3):
            shown_at, author, text = pieces[place : place + 3]
            yield {
                "sys_id": sys_id_of("sys_journal_field", f"{record['sys_id']} {element} {place}"),
                "name": table,
                "element": element,
                "element_id": record["sys_id"],
                "value": text.strip(),
                "sys_created_on": display_values.date_time(shown_at, ZONE),
                "sys_created_by": users.get(author, author),
            }
