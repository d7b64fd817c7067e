"""What GlideRecord, GlideElement and GlideAggregate ask of the host. Scripts act with the rights of the system, except
GlideRecordSecure, which sees and writes what the session's user may (servicenow-api.md 8.1).

Each call has a struct for its arguments: a script that bends the prelude sends nonsense, and gets an error back.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec

from nowtwin.behaviour.switches import Switches
from nowtwin.errors import Refused
from nowtwin.query.fields import Source
from nowtwin.query.parse import Group, Order, Query, Term, parse
from nowtwin.reading.aggregating import Asked as AggregateAsked
from nowtwin.reading.aggregating import Having, Measure, Ordering, aggregate
from nowtwin.reading.display import Displays
from nowtwin.reading.pages import Wanted
from nowtwin.records.accept import Acceptance
from nowtwin.records.pipeline import Record
from nowtwin.records.write_rules import Manner
from nowtwin.scripting.granting import grants, writable
from nowtwin.scripting.scope import Cursor, Scope
from nowtwin.values import DATE_TYPES, JOURNAL_TYPES, LIST_TYPES, NUMERIC_TYPES

_CHUNK = 50
_ALL = -1
Row = dict[str, str]
Restrict = Callable[[Scope, str, Query], Query]


class Table(msgspec.Struct, frozen=True):
    table: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A query as GlideRecord holds it: clauses of OR-ed terms, encoded queries, order and window."""

    table: str
    clauses: tuple[tuple[tuple[str, str, str], ...], ...] = ()
    encoded: tuple[str, ...] = ()
    order: tuple[tuple[str, bool], ...] = ()
    first: int = 0
    limit: int | None = None
    secure: bool = False
    workflow: bool = True


class Fetch(msgspec.Struct, frozen=True):
    cursor: int
    at: int


class Get(msgspec.Struct, frozen=True, kw_only=True):
    table: str
    field: str
    value: str
    secure: bool = False
    workflow: bool = True


class How(msgspec.Struct, frozen=True):
    workflow: bool = True
    auto_sys_fields: bool = True
    force: bool = False
    secure: bool = False


class Write(msgspec.Struct, frozen=True, kw_only=True):
    table: str
    manner: How
    values: dict[str, str] = {}
    sys_id: str = ""


class Shown(msgspec.Struct, frozen=True):
    table: str
    element: str
    value: str
    sys_id: str


class FromDisplay(msgspec.Struct, frozen=True):
    table: str
    element: str
    text: str


class Journal(msgspec.Struct, frozen=True):
    table: str
    sys_id: str
    element: str
    count: int


class Allowed(msgspec.Struct, frozen=True):
    table: str
    sys_id: str
    operation: str


class AskedAggregate(Asked, frozen=True, kw_only=True):
    measures: tuple[tuple[str, str], ...] = ()
    groups: tuple[str, ...] = ()
    having: tuple[tuple[str, str, str, str], ...] = ()
    measure_order: tuple[tuple[str, str, bool], ...] = ()


def script_switches(switches: Switches) -> Switches:
    """Scripts are not held to what is REST only: closed choice lists, read-only columns (servicenow-api.md 1.7)."""
    return replace(switches, unknown_choice_dropped=False, empty_clears_choices=True, read_only_columns_protected=False)


# -- queries -------------------------------------------------------------------------------------------------------


def query_of(asked: Asked) -> Query:
    """Encoded queries go behind the conditions, as text would: what follows `^NQ` stands alone."""
    clauses: Group = tuple(tuple(Term(*term) for term in clause) for clause in asked.clauses)
    groups = [clauses]
    order = [Order(field, descending) for field, descending in asked.order]
    for text in asked.encoded:
        parsed = parse(text)
        head, *rest = parsed.groups or ((),)
        groups[-1] += head
        groups += rest
        order += parsed.order
    return Query(tuple(groups), tuple(order))


def wanted_of(scope: Scope, table: str, query: Query, *, secure: bool) -> Wanted:
    platform = scope.platform
    platform.prepare(table)
    closed = platform.property("glide.invalid_query.returns_no_rows") == "true"
    hidden = platform.access.hidden_rows(scope.user, table) if secure else ()
    return Wanted(table, query, platform.moment(scope.user), hidden, closed)


class Queries:
    """Calls that read; `restrict` applies the query rules of a table."""

    def __init__(self, restrict: Restrict) -> None:
        self._restrict = restrict

    def query(self, scope: Scope, asked: Asked) -> Mapping[str, object]:
        cursor = self._found(scope, asked)
        scope.cursors.append(cursor)
        return {"cursor": len(scope.cursors) - 1, "count": len(cursor.sys_ids), "rows": _rows(scope, cursor, 0)}

    def get(self, scope: Scope, asked: Get) -> Row | None:
        terms = (((asked.field, "=", asked.value),),)
        found = self._found(
            scope,
            Asked(table=asked.table, clauses=terms, limit=1, secure=asked.secure, workflow=asked.workflow),
        )
        return _rows(scope, found, 0)[0] if found.sys_ids else None

    def aggregate(self, scope: Scope, asked: AskedAggregate) -> list[Mapping[str, object]]:
        platform = scope.platform
        if asked.table not in platform.dictionary.tables:
            return []
        query = self._restricted(scope, asked)
        wanted = wanted_of(scope, asked.table, query, secure=asked.secure)
        measures = tuple(_measure(name, path) for name, path in asked.measures)
        order = tuple(Ordering(_measure(name, path), descending) for name, path, descending in asked.measure_order)
        order += tuple(Ordering(entry.field, entry.descending) for entry in query.order)
        having = tuple(Having(_measure(name, path), sign, value) for name, path, sign, value in asked.having)
        result = aggregate(
            platform.dictionary,
            platform.storage,
            wanted,
            AggregateAsked(measures, asked.groups, having, order),
            platform.switches,
        )
        return [
            {
                "keys": dict(zip(result.fields, group.keys, strict=True)),
                "measured": {f"{m.function} {m.path}".strip(): text for m, text in group.measured.items()},
            }
            for group in result.groups
        ]

    def _found(self, scope: Scope, asked: Asked) -> Cursor:
        platform = scope.platform
        if asked.table not in platform.dictionary.tables:
            return Cursor(asked.table, (), asked.secure)
        wanted = wanted_of(scope, asked.table, self._restricted(scope, asked), secure=asked.secure)
        most = platform.view_limit(asked.table)
        if most is None:
            page = platform.reader.page(wanted, (), platform.switches, limit=asked.limit, offset=asked.first)
            return Cursor(asked.table, page.sys_ids, asked.secure)
        hidden = platform.access.hidden_columns(scope.user, asked.table) if asked.secure else frozenset()
        shown = [element for element in platform.dictionary.columns(asked.table) if element not in hidden]
        limit = most if asked.limit is None else min(asked.limit, most)
        page = platform.reader.page(wanted, shown, platform.switches, limit=limit, offset=asked.first)
        rows = [dict(zip(page.keys, row, strict=True)) for row in zip(*page.columns, strict=True)]
        return Cursor(asked.table, page.sys_ids, asked.secure, rows)

    def _restricted(self, scope: Scope, asked: Asked) -> Query:
        query = query_of(asked)
        return self._restrict(scope, asked.table, query) if asked.workflow else query


def _measure(name: str, path: str) -> Measure:
    return Measure("count") if name == "count" else Measure(name if name in {"avg", "min", "max"} else "sum", path)


def fetch(scope: Scope, asked: Fetch) -> list[Row | None]:
    if not 0 <= asked.cursor < len(scope.cursors):
        raise ValueError("no such query")
    return _rows(scope, scope.cursors[asked.cursor], max(0, asked.at))


def _rows(scope: Scope, cursor: Cursor, at: int) -> list[Row | None]:
    """The next rows; None for one that is gone meanwhile."""
    if cursor.rows is not None:
        return [{element: text for element, text in row.items() if text} for row in cursor.rows[at : at + _CHUNK]]
    hidden = scope.platform.access.hidden_columns(scope.user, cursor.table) if cursor.secure else frozenset()
    found: list[Row | None] = []
    for sys_id in cursor.sys_ids[at : at + _CHUNK]:
        record = scope.platform.records.read(cursor.table, sys_id)
        found.append(row_of(record, hidden) if record else None)
    return found


def row_of(record: Record, hidden: frozenset[str] = frozenset()) -> Row:
    return {element: text for element, text in record.values.items() if element not in hidden}


def encoded(_scope: Scope, asked: Asked) -> str:
    """The query as text."""
    clauses = ("^OR".join("".join(term) for term in clause) for clause in asked.clauses if clause)
    order = (f"ORDERBY{'DESC' if descending else ''}{field}" for field, descending in asked.order)
    return "^".join([*clauses, *asked.encoded, *order])


# -- writes --------------------------------------------------------------------------------------------------------


def insert(scope: Scope, write: Write) -> Mapping[str, object]:
    return _written(scope, write, lambda: _insert(scope, write))


def _insert(scope: Scope, write: Write) -> Record:
    platform = scope.platform
    platform.prepare(write.table)
    body: Mapping[str, str] = write.values
    if write.manner.secure:
        new = {**platform.records.defaults(write.table, scope.user), **body, "sys_id": ""}
        verdict = platform.access.verdict(scope.user, write.table, "create")
        if not grants(platform, scope.user, verdict, write.table, new):
            raise Refused(403, "Operation Failed", "ACL Exception Insert Failed due to security constraints")
        kept = writable(platform, scope.user, write.table, new, body, "create")
        body = {element: text for element, text in body.items() if element in kept}
    switches = script_switches(platform.switches)
    return platform.records.insert(write.table, body, scope.user, switches, manner=_manner(write))


def update(scope: Scope, write: Write) -> Mapping[str, object]:
    return _written(scope, write, lambda: _update(scope, write))


def _update(scope: Scope, write: Write) -> Record:
    platform = scope.platform
    record = _stored(scope, write)
    body: Mapping[str, str] = write.values
    if write.manner.secure:
        kept = writable(platform, scope.user, record.table, record.values, body, "write")
        body = {element: text for element, text in body.items() if element in kept}
        _require(scope, record, "write")
    return platform.records.update(record, body, scope.user, script_switches(platform.switches), manner=_manner(write))


def delete(scope: Scope, write: Write) -> Mapping[str, object]:
    def remove() -> Record:
        record = _stored(scope, write)
        if write.manner.secure:
            _require(scope, record, "delete")
        scope.platform.records.delete(record, scope.user, manner=_manner(write))
        return record

    return _written(scope, write, remove)


def _written(scope: Scope, write: Write, perform: Callable[[], Record]) -> Mapping[str, object]:
    """The record after all rules have run, or why the write was refused."""
    try:
        record = perform()
    except Refused as refused:
        return {"refused": refused.detail or refused.message, "values": None}
    fresh = scope.platform.records.read(write.table, record.sys_id) or record
    return {"refused": None, "values": row_of(fresh)}


def _stored(scope: Scope, write: Write) -> Record:
    scope.platform.prepare(write.table)
    record = scope.platform.records.read(write.table, write.sys_id)
    if record is None:
        raise Refused(404, "No Record found", f"No record {write.sys_id} in {write.table}")
    return record


def _require(scope: Scope, record: Record, operation: str) -> None:
    if not may(scope, record, operation):
        raise Refused(403, "Operation Failed", "ACL Exception Failed due to security constraints")


def may(scope: Scope, record: Record, operation: str) -> bool:
    platform = scope.platform
    verdict = platform.access.verdict(scope.user, record.table, operation)
    return grants(platform, scope.user, verdict, record.table, record.values)


def _manner(write: Write) -> Manner:
    return Manner(write.manner.workflow, write.manner.auto_sys_fields, write.manner.force)


# -- what a table is, and how values show --------------------------------------------------------------------------


def schema(scope: Scope, asked: Table) -> Mapping[str, object]:
    dictionary = scope.platform.dictionary
    if asked.table not in dictionary.tables:
        return {"valid": False, "label": asked.table, "display": "", "columns": {}, "lineage": [], "classes": []}
    columns = {
        element: {
            "type": column.type,
            "label": column.label or element,
            "table": column.table,
            "reference": column.reference if column.type not in LIST_TYPES else None,
            "reference_key": column.reference_key,
            "max_length": column.max_length,
            "mandatory": bool(column.mandatory),
            "read_only": bool(column.read_only),
            "choice": bool(column.choice),
            "plain": not (column.reference or column.choice) and column.type not in NUMERIC_TYPES | DATE_TYPES,
        }
        for element, column in dictionary.columns(asked.table).items()
    }
    display = dictionary.display_column(asked.table)
    return {
        "valid": True,
        "label": dictionary.table_label(asked.table),
        "display": display,
        "columns": columns,
        "lineage": list(dictionary.lineage(asked.table)),
        "classes": [asked.table, *(name for name in dictionary.classes(asked.table) if name != asked.table)],
    }


def display(scope: Scope, asked: Shown) -> str:
    """The display value in the eyes of the session's user; the history of a journal."""
    platform = scope.platform
    if asked.table not in platform.dictionary.tables:
        return asked.value
    field = Source(platform.dictionary, platform.storage, asked.table).field(asked.element)
    if field is None:
        return asked.value
    if field.column.type in JOURNAL_TYPES:
        return asked.value or journal(scope, Journal(asked.table, asked.sys_id, asked.element, _ALL))
    displays = Displays(platform.dictionary, platform.storage, platform.switches, scope.user)
    return displays.texts(field, [asked.value])[asked.value] or ""


def from_display(scope: Scope, asked: FromDisplay) -> str:
    platform = scope.platform
    if asked.table not in platform.dictionary.tables:
        return asked.text
    switches = script_switches(platform.switches)
    acceptance = Acceptance(platform.dictionary, platform.storage, switches, scope.user)
    taken = acceptance.take(asked.table, {asked.element: asked.text}, display_values=True)
    return {**taken.values, **taken.journals}.get(asked.element, asked.text)


def journal(scope: Scope, asked: Journal) -> str:
    """The newest entries (all for -1), newest first, each headed by when and by whom."""
    platform = scope.platform
    platform.storage.ensure("sys_journal_field", ("element", "element_id", "value", "sys_created_by"))
    displays = Displays(platform.dictionary, platform.storage, platform.switches, scope.user)
    column = platform.dictionary.column(asked.table, asked.element)
    label = (column.label if column else None) or asked.element
    rows = platform.storage.rows(
        "SELECT sys_created_on, sys_created_by, value FROM sys_journal_field WHERE element_id = ? AND element = ? "
        "ORDER BY sys_created_on DESC, rowid DESC LIMIT ?",
        (asked.sys_id, asked.element, asked.count),
    )
    entries = []
    for stamp, user_name, text in rows:
        user = platform.user(str(user_name))
        name = user.name if user else user_name
        entries.append(f"{displays.date_time(str(stamp))} - {name} ({label})\n{text}\n\n")
    return "".join(entries)


def defaults(scope: Scope, asked: Table) -> Row:
    platform = scope.platform
    if asked.table not in platform.dictionary.tables:
        return {}
    return platform.records.defaults(asked.table, scope.user) | {"sys_id": platform.records.new_id()}


def allowed(scope: Scope, asked: Allowed) -> bool:
    platform = scope.platform
    if asked.table not in platform.dictionary.tables:
        return False
    record = platform.records.read(asked.table, asked.sys_id) if asked.sys_id else None
    if record is None:
        return platform.access.verdict(scope.user, asked.table, asked.operation).always
    return may(scope, record, asked.operation)


def next_number(scope: Scope, asked: Table) -> str:
    platform = scope.platform
    return platform.records.numbering.next(asked.table) if asked.table in platform.dictionary.tables else ""
