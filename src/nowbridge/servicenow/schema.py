"""Discovery: which columns a table has, inherited ones included, and which choices.

The truth is in `sys_db_object` and `sys_dictionary`, which many accounts may not read (200 and no rows, or 403;
servicenow-api.md 1.6). Then the table's schema document is asked, and some of its records for what
they show; the `source` of each Table says which it was. Metadata tables are large, so they are read by keyset pages like any other.
"""

from __future__ import annotations

import re
from collections import ChainMap
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from nowbridge.model.errors import Park, Stop
from nowbridge.model.schema import Choice, ChoiceMode, Column, SchemaSource, Table
from nowbridge.servicenow.pages import IdSweep, PageRequest
from nowbridge.servicenow.query import Query, equals, one_of, read_stamp
from nowbridge.servicenow.tables import read_page, required_count, table_path
from nowbridge.servicenow.wire import ABSENT, PageDecoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nowbridge.servicenow.instance import Instance

Entry = dict[str, str]

_PAGE: Final = 1_000
_NAMES_A_CALL: Final = 100
_SAMPLE: Final = 20
_SETTLED: Final = timedelta(minutes=1)
_DEEPEST: Final = 30
_TABLE_FIELDS: Final = ("sys_id", "name", "label", "super_class.name")
_COLUMN_FIELDS: Final = (
    "sys_id",
    "name",
    "element",
    "column_label",
    "internal_type",
    "reference",
    "reference_key",
    "max_length",
    "mandatory",
    "read_only",
    "display",
    "active",
    "choice",
    "choice_table",
    "choice_field",
    "dependent",
    "default_value",
)
_CHOICE_FIELDS: Final = ("sys_id", "name", "element", "value", "label", "dependent_value", "language", "inactive")
_TIME_OR_ID: Final = re.compile(r"\d{4}-\d\d-\d\d|[0-9a-f]{32}")
_TAGS: Final = "sys_tags"  # comes with whole records, is no column and cannot be asked for
_WITH_CHOICES: Final = frozenset({"string", "integer", "choice"})
_LINKED_TABLE: Final = re.compile(r"/table/([^/?]+)")


async def discover(instance: Instance, tables: Sequence[str]) -> dict[str, Table]:
    """Each of `tables` with its effective columns.

    Raises Stop `table.unknown` for a table that the instance does not have, `rights.schema` for one whose columns
    cannot be learned in any way.
    """
    parents, labels = await _lineages(instance, tables)
    lineages = {table: _lineage(table, parents) for table in tables}
    entries, hidden = await _entries(instance, dict.fromkeys(name for line in lineages.values() for name in line))
    found: dict[str, Table] = {}
    for table, lineage in lineages.items():
        columns = merge_entries(_own(lineage, entries))
        source = SchemaSource.DICTIONARY
        if not columns or hidden:
            columns, source = await _complete(instance, table, columns)
        found[table] = Table(
            name=table,
            label=labels.get(table) or table,
            ancestors=lineage[1:],
            columns=_ordered(columns),
            display=display_column(lineage, columns, entries),
            source=source,
        )
    return found


async def lineage(instance: Instance, table: str) -> tuple[str, ...]:
    """The table, then its ancestors from the parent to the root, as far as the account may read `sys_db_object`."""
    parents, _ = await _lineages(instance, [table])
    return _lineage(table, parents)


async def displays(instance: Instance, tables: Sequence[str]) -> dict[str, str | None]:
    """The display column of each table, None where there is none or it cannot be learned; cheaper than `discover`."""
    parents, _ = await _lineages(instance, tables)
    lineages = {table: _lineage(table, parents) for table in tables}
    names = dict.fromkeys(name for line in lineages.values() for name in line)
    rows: list[Entry] = []
    for usual in ("display=true", one_of("element", ("number", "name"))):
        rows += (await _readable(instance, "sys_dictionary", list(_by_names(names, usual)), _COLUMN_FIELDS))[0]
    entries = _by_table(rows)
    found = {
        table: display_column(line, merge_entries(_own(line, entries)), entries) for table, line in lineages.items()
    }
    for table in tables:
        if not any(name in entries for name in lineages[table]):  # the dictionary is closed: what a record shows
            found[table] = await _shown_display(instance, table)
    return found


async def _shown_display(instance: Instance, table: str) -> str | None:
    """The usual display column that a record of the table has."""
    usual = ("name", "number")
    try:
        answer = await read_page(instance, table, PageRequest("", 1), usual)
    except (Stop, Park) as error:
        if not _lacks_rights(error) and error.code not in {"table.unknown", "query.refused"}:
            raise
        return None
    page = PageDecoder(usual).decode(answer.body)
    return next((name for name in usual if page.rows and page.column(name)[0] is not ABSENT), None)


async def choices(instance: Instance, tables: Iterable[str], *, language: str = "en") -> list[Choice]:
    """The choices that are filed under these table names; a column's are filed under its table, under the class that
    defines it, or under the table that it borrows them from.

    Raises Stop `rights.choices` when the account may not read them (then labels must come with the rows).
    """
    found: list[Choice] = []
    for query in _by_names(tables, equals("language", language)):
        try:
            rows, hidden = await _read_all(instance, "sys_choice", query, _CHOICE_FIELDS)
        except Stop as error:
            if not _lacks_rights(error):
                raise
            raise _no_choices() from error
        if (hidden and not rows) or any(row["name"] is ABSENT or row["value"] is ABSENT for row in rows):
            raise _no_choices()
        found += [read_choice(row) for row in rows]
    return found


async def state_of_columns(instance: Instance, lineage: Sequence[str]) -> str | None:
    """One call: how many dictionary entries a table and its ancestors have and when the last one changed, as a text that
    differs when one of them was added, changed or removed; always, while the last change is younger than a minute.
    None where the account may not read them.
    """
    return await _state_of(instance, "sys_dictionary", next(iter(_by_names(lineage))))


async def state_of_choices(instance: Instance, tables: Iterable[str], *, language: str = "en") -> str | None:
    """As `state_of_columns`, of the choices under these table names; a call for each hundred."""
    states = [
        await _state_of(instance, "sys_choice", query) for query in _by_names(tables, equals("language", language))
    ]
    return None if None in states else "|".join(str(state) for state in states)


async def _state_of(instance: Instance, table: str, query: Query) -> str | None:
    newest = PageRequest(f"{query.text}^ORDERBYDESCsys_updated_on", 1, with_count=True)
    fields = ("sys_id", "sys_updated_on")
    try:
        answer = await read_page(instance, table, newest, fields)
    except Stop as error:
        if not _lacks_rights(error):
            raise
        return None
    page = PageDecoder(fields).decode(answer.body)
    counted = required_count(answer, table)
    if not page.rows:
        return None if counted else "0"
    stamp = page.column("sys_updated_on")[0]
    # Another change of the same second, or of a node whose clock is behind, would leave all of this as it is.
    fresh = f" at {answer.server_time}" if answer.server_time - _moment(stamp) < _SETTLED else ""
    return f"{counted} {stamp} {page.ids[0]}{fresh}"


def _moment(stamp: str) -> datetime:
    return read_stamp(stamp) if stamp else datetime.max.replace(tzinfo=UTC)


def merge_entries(lineage: Sequence[tuple[str, Mapping[str, Entry]]]) -> dict[str, Column]:
    """Effective columns from the entries of a table and its ancestors, the table first: the nearest entry of a column
    counts, and `defined_on` is the furthest class that has one.
    """
    columns: dict[str, Column] = {}
    for name, entries in reversed(lineage):
        for element, entry in entries.items():
            known = columns.get(element)
            columns[element] = read_column(entry, known.defined_on if known else name)
    return columns


def read_column(entry: Entry, defined_on: str) -> Column:
    """One row of `sys_dictionary`; odd numbers read as absent."""
    return Column(
        name=entry["element"],
        label=entry["column_label"] or entry["element"],
        internal_type=entry["internal_type"] or "string",
        defined_on=defined_on,
        reference=entry["reference"] or None,
        reference_key=entry["reference_key"] or None,
        choice=_choice_mode(entry["choice"]),
        choice_table=entry["choice_table"] or None,
        choice_field=entry["choice_field"] or None,
        dependent=entry.get("dependent") or None,
        has_default=bool(entry.get("default_value")),
        max_length=int(entry["max_length"]) if entry["max_length"].isdecimal() else None,
        mandatory=entry["mandatory"] == "true",
        read_only=entry["read_only"] == "true",
        display=entry["display"] == "true",
    )


def read_choice(entry: Entry) -> Choice:
    return Choice(
        table=entry["name"],
        column=entry["element"],
        value=entry["value"],
        label=entry["label"],
        dependent=entry["dependent_value"],
        language=entry["language"],
        inactive=entry["inactive"] == "true",
    )


def display_column(
    lineage: Sequence[str], columns: Mapping[str, Column], entries: Mapping[str, Mapping[str, Entry]]
) -> str | None:
    """The column marked `display` on the table or its nearest ancestor, else `number`, else `name`."""
    for name in lineage:
        marked = [element for element, entry in entries.get(name, {}).items() if entry["display"] == "true"]
        if marked:
            return min(marked)
    return next((usual for usual in ("number", "name") if usual in columns), None)


async def _lineages(instance: Instance, tables: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Parent and label by table name, for the tables and all their ancestors; what is not readable is left out."""
    parents: dict[str, str] = {}
    labels: dict[str, str] = {}
    wanted = dict.fromkeys(tables)
    for _ in range(_DEEPEST):
        wanted = {name: None for name in wanted if name not in labels}
        if not wanted:
            break
        rows = await _readable(instance, "sys_db_object", list(_by_names(wanted)), _TABLE_FIELDS)
        labels |= dict.fromkeys(wanted, "") | {row["name"]: row["label"] for row in rows[0]}
        parents |= {row["name"]: row["super_class.name"] for row in rows[0] if row["super_class.name"]}
        wanted = {parents[name]: None for name in wanted if name in parents}
    return parents, labels


def _lineage(table: str, parents: Mapping[str, str]) -> tuple[str, ...]:
    line = [table]
    while (parent := parents.get(line[-1])) is not None and parent not in line:
        line.append(parent)
    return tuple(line)


async def _entries(instance: Instance, names: Iterable[str]) -> tuple[dict[str, dict[str, Entry]], int]:
    """Active dictionary entries by table and column, and how many entries were not shown."""
    queries = list(_by_names(names, "elementISNOTEMPTY"))
    rows, hidden = await _readable(instance, "sys_dictionary", queries, _COLUMN_FIELDS)
    return _by_table(rows), hidden


def _by_table(rows: Iterable[Entry]) -> dict[str, dict[str, Entry]]:
    entries: dict[str, dict[str, Entry]] = {}
    for row in rows:
        if row["active"] != "false" and row["element"] and row["name"]:
            entries.setdefault(row["name"], {})[row["element"]] = row
    return entries


def _own(lineage: Sequence[str], entries: Mapping[str, dict[str, Entry]]) -> list[tuple[str, dict[str, Entry]]]:
    return [(name, entries.get(name, {})) for name in lineage]


async def _complete(instance: Instance, table: str, known: dict[str, Column]) -> tuple[dict[str, Column], SchemaSource]:
    """Columns that the dictionary did not show, from the schema document or from records; the known ones stay."""
    documented = await _documented(instance, table)
    sampled = await _sampled(instance, table)
    others = sampled | {name: _referring(column, sampled.get(name)) for name, column in documented.items()}
    if not known and not others:
        raise Stop(
            "rights.schema",
            asked=f"learn the columns of {table}",
            answered="neither the dictionary nor the schema document nor a record can be read",
            hint="Let the account read sys_dictionary, or at least one record of the table.",
        )
    if not others.keys() - known.keys():
        return known, SchemaSource.DICTIONARY
    if known:
        return dict(ChainMap(known, others)), SchemaSource.PARTIAL_DICTIONARY
    return others, SchemaSource.DOCUMENT if documented else SchemaSource.RECORDS


async def _documented(instance: Instance, table: str) -> dict[str, Column]:
    """`/api/now/doc/table/schema/{table}` (undocumented, servicenow-api.md 1.2); nothing where it does not exist."""
    table_path(table)  # refuses what is no table name
    try:
        answer = await instance.get(f"/api/now/doc/table/schema/{table}", asked=f"read the schema document of {table}")
    except (Stop, Park) as error:
        if not _lacks_rights(error) and error.code not in {"path.unknown", "record.missing", "query.refused"}:
            raise
        return {}
    result = msgspec.json.decode(answer.body)["result"]
    entries = [entry for entry in result if isinstance(entry, dict)] if isinstance(result, list) else []
    return {
        str(entry["name"]): Column(
            name=str(entry["name"]),
            label=str(entry.get("label") or entry["name"]),
            internal_type=str(entry.get("internalType") or "string"),
            defined_on=table,
        )
        for entry in entries
        if entry.get("name")
    }


async def _sampled(instance: Instance, table: str) -> dict[str, Column]:
    """Columns as some records show them: names, and for references the table that their links lead to."""
    params = (("sysparm_limit", str(_SAMPLE)), ("sysparm_display_value", "all"))
    try:
        answer = await instance.get(table_path(table), params, asked=f"read some records of {table}")
    except Stop as error:
        if not _lacks_rights(error):
            raise
        return {}
    columns: dict[str, Column] = {}
    for record in msgspec.json.decode(answer.body)["result"]:
        for name, cell in record.items():
            if name == _TAGS:
                continue
            known = columns.get(name)
            if known is None or (known.reference is None and known.choice is ChoiceMode.NONE):
                columns[name] = _seen(table, name, cell)
    return columns


def _referring(documented: Column, seen: Column | None) -> Column:
    """A documented column, with the table that its references lead to in the records, and whether they show something
    else than they hold (the document tells neither).
    """
    if seen is None:
        return documented
    choice = seen.choice if documented.internal_type in _WITH_CHOICES else ChoiceMode.NONE
    return replace(documented, reference=seen.reference, choice=choice)


def _seen(table: str, name: str, cell: Any) -> Column:  # noqa: ANN401  (whatever JSON the instance sent)
    linked = _LINKED_TABLE.search(str(cell.get("link", ""))) if isinstance(cell, dict) else None
    return Column(
        name=name,
        label=name,
        internal_type="reference" if linked else "string",
        defined_on=table,
        reference=linked[1] if linked else None,
        choice=ChoiceMode.DROPDOWN if not linked and _reads_otherwise(cell) else ChoiceMode.NONE,
    )


def _reads_otherwise(cell: object) -> bool:
    """Whether people read a word for what is stored, as they do for a choice: not a time in their own zone, a number
    with separators, a name for an id, or `(value)` for what is in no list.
    """
    match cell:
        case {"value": str(value), "display_value": str(shown)} if value and shown:
            plain = _TIME_OR_ID.match(value) or shown.replace(",", "") == value.replace(",", "")
            return not plain and shown != f"({value})"
        case _:
            return False


async def _readable(
    instance: Instance, table: str, queries: Sequence[Query], fields: tuple[str, ...]
) -> tuple[list[Entry], int]:
    """Rows of all queries and how many were hidden; one hidden row stands for a table that is closed altogether."""
    rows: list[Entry] = []
    hidden = 0
    for query in queries:
        try:
            more, unseen = await _read_all(instance, table, query, fields)
        except Stop as error:
            if not _lacks_rights(error):
                raise
            more, unseen = [], 1
        rows += more
        hidden += unseen
    return rows, hidden


async def _read_all(instance: Instance, table: str, query: Query, fields: tuple[str, ...]) -> tuple[list[Entry], int]:
    sweep = IdSweep(query, None, None, _PAGE)
    decoder = PageDecoder(fields)
    rows: dict[str, Entry] = {}
    while (request := sweep.next_request()) is not None:
        answer = await read_page(instance, table, request, fields)
        page = decoder.decode(answer.body)
        for cells in zip(*page.columns, strict=True):
            entry = dict(zip(fields, cells, strict=True))
            rows[entry["sys_id"]] = entry
        sweep.received(page.ids, None, page.rows, answer.total_count)
    return list(rows.values()), sweep.hidden


def _by_names(names: Iterable[str], *conditions: str) -> Iterable[Query]:
    listed = sorted(names)
    for start in range(0, len(listed), _NAMES_A_CALL):
        yield Query((one_of("name", listed[start : start + _NAMES_A_CALL]),)).where(*conditions)


def _lacks_rights(error: Stop | Park) -> bool:
    return error.code.startswith("rights.") or error.code == "query.rights"


def _no_choices() -> Stop:
    return Stop(
        "rights.choices",
        asked="read the choices",
        answered="the account may not read sys_choice",
        hint="Grant read on sys_choice, or let labels come with the rows.",
    )


def _choice_mode(text: str) -> ChoiceMode:
    try:
        return ChoiceMode(int(text or "0"))
    except ValueError:
        return ChoiceMode.NONE


def _ordered(columns: Mapping[str, Column]) -> tuple[Column, ...]:
    """System columns first, then by name."""
    return tuple(columns[name] for name in sorted(columns, key=lambda name: (not name.startswith("sys_"), name)))
