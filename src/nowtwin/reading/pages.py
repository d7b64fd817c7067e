"""Reading rows: an encoded query over a table to a page of columns of stored texts.

The page is cut before the rows that the user may not see are taken out, and the total does not know of them
(servicenow-api.md 1.4, fidelity traps 1 and 2).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nowtwin.access.acl import Scripted
from nowtwin.access.hiding import Check, Veil
from nowtwin.behaviour.switches import Switches
from nowtwin.query.dates import Moment
from nowtwin.query.fields import Anchor, Field, Source
from nowtwin.query.parse import Query
from nowtwin.query.render import Conditions, Sql
from nowtwin.reading.veiling import Veiling
from nowtwin.schema.dictionary import Column, Dictionary
from nowtwin.storage.rows import Storage
from nowtwin.values import JOURNAL_TYPES, NUMERIC_TYPES, PASSWORD_TYPES, Stored

AccessScript = Callable[[Scripted, str, Sequence[str], Moment], Sequence[str]]
"""Runs the script of an access rule for records of a table in the eyes of the moment; returns those that it passes."""
Calculation = Callable[[Column, str, Sequence[str], Moment], Mapping[str, str]]
"""Runs the script of a calculated column for records of a table; returns the texts by sys_id."""
UNIQUE = frozenset({"sys_id"})
_CACHED_COUNTS = 512
_TIE_SHIFTS = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows of which table, in whose eyes."""

    table: str
    query: Query
    moment: Moment
    hidden: tuple[Veil, ...] = ()
    closed: bool = False
    conditional: tuple[tuple[str, tuple[Check, ...]], ...] = ()
    """Columns that only some records show, with what grants them."""


@dataclass(frozen=True, slots=True)
class Page:
    """Columns of texts, all of the same length; `sys_ids` names the rows."""

    sys_ids: tuple[str, ...]
    keys: tuple[str, ...]
    fields: tuple[Field, ...]
    columns: tuple[tuple[str, ...], ...]
    granted: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """For columns that only some records show: 1 for the rows that do."""


def where_of(source: Source, conditions: Conditions, wanted: Wanted) -> Sql:
    """The condition that selects the rows: the class and the query. Empty text means every row."""
    rendered = conditions.where(wanted.query)
    of_class = source.class_condition()
    clauses = [text for text in (of_class, rendered.text if rendered else None) if text]
    return Sql(" AND ".join(clauses), rendered.parameters if rendered else ())


@dataclass(frozen=True, slots=True)
class _Window:
    """A page of the rows of a source."""

    source: Source
    where: Sql
    order: Sequence[str]
    bounds: tuple[int, int]

    def sql(self, selected: Sequence[str]) -> str:
        """A statement for some columns of the page; what is selected may have its own parameters, which come first."""
        text = f"SELECT {', '.join(selected)} FROM {self.source.from_clause()}"  # noqa: S608 - built from quoted names
        text += f" WHERE {self.where.text}" if self.where.text else ""
        text += f" ORDER BY {', '.join(self.order)}" if self.order else ""
        return f"{text} LIMIT ? OFFSET ?"

    @property
    def parameters(self) -> tuple[Stored, ...]:
        return (*self.where.parameters, *self.bounds)


class Reader:
    def __init__(
        self, dictionary: Dictionary, storage: Storage, access_script: AccessScript, calculation: Calculation
    ) -> None:
        self._calculation = calculation
        self._access_script = access_script
        self._dictionary = dictionary
        self._storage = storage
        self._counts: dict[tuple[str, tuple[Stored, ...]], tuple[tuple[int, ...], int]] = {}

    def page(
        self, wanted: Wanted, paths: Sequence[str], switches: Switches, *, limit: int | None = None, offset: int = 0
    ) -> Page:
        """Rows of a query as columns, one per known path; unknown paths are left out."""
        source = Source(self._dictionary, self._storage, wanted.table)
        fields = {path: field for path in paths if (field := source.field(path)) is not None}
        conditions = Conditions(source, switches, wanted.moment, closed=wanted.closed)
        where = where_of(source, conditions, wanted)
        order = conditions.order(wanted.query)
        if order and limit and switches.shuffle_ties and UNIQUE.isdisjoint(o.field for o in wanted.query.order):
            order.append(f"substr({source.alias}.sys_id, {1 + offset // limit % _TIE_SHIFTS})")
        partly = {path: checks for path, checks in wanted.conditional if path in fields}
        window = _Window(source, where, order, (-1 if limit is None else limit, offset))
        passed = self._passed(wanted, partly, window)
        veiling = Veiling(source, switches, wanted.moment, passed)
        flags = [veiling.unseen(wanted.hidden)]
        flags += [veiling.granted(checks) for checks in partly.values()]
        cipher = "'********'" if switches.passwords_masked else f"lower(hex(substr({source.alias}.sys_id, 1, 16)))"
        outputs = [_output(field, cipher) for field in fields.values()]
        fresh = {} if switches.calculated_columns_stored else _calculated(source, fields)
        keys = [anchor.sys_id for anchor in fresh.values()]
        selected = [f"{source.alias}.sys_id", *(f.text for f in flags), *outputs, *keys]
        looked = tuple(value for flag in flags for value in flag.parameters)
        rows = self._storage.rows(window.sql(selected), (*looked, *window.parameters))
        if wanted.hidden:
            rows = [row for row in rows if not row[1]]
        columns: tuple[tuple[Any, ...], ...] = tuple(zip(*rows, strict=True)) if rows else ((),) * len(selected)
        ahead = 1 + len(flags)
        granted = dict(zip(partly, columns[2:ahead], strict=True))
        told = list(columns[ahead : ahead + len(outputs)])
        for at, (path, anchor) in enumerate(fresh.items(), ahead + len(outputs)):
            ids = tuple(map(str, columns[at]))
            texts = self._calculation(fields[path].column, anchor.table, ids, wanted.moment)
            told[list(fields).index(path)] = tuple(texts.get(sys_id, "") for sys_id in ids)
        return Page(columns[0], tuple(fields), tuple(fields.values()), tuple(told), granted)

    def _passed(
        self, wanted: Wanted, partly: Mapping[str, tuple[Check, ...]], window: _Window
    ) -> Mapping[Scripted, Sequence[str]]:
        """What scripts of access rules say about the records of a page, each asked about the records of its place."""
        places: dict[str, set[Scripted]] = {}
        parts: list[Veil | Check] = [*wanted.hidden, *(check for checks in partly.values() for check in checks)]
        for part in parts:
            if part.scripts:
                places.setdefault(part.place, set()).update(part.scripts)
        passed: dict[Scripted, list[str]] = {}
        for place, scripts in places.items():
            anchor = window.source.anchor(place)
            if anchor is None:
                continue
            rows = self._storage.rows(window.sql([anchor.sys_id]), window.parameters)
            ids = list(dict.fromkeys(str(sys_id) for (sys_id,) in rows if sys_id is not None))
            for script in sorted(scripts, key=lambda script: script.sys_id):
                passed.setdefault(script, []).extend(self._access_script(script, anchor.table, ids, wanted.moment))
        return passed

    def count(self, wanted: Wanted, switches: Switches) -> int:
        """How many rows match, blind to hidden ones; cached until one of the tables is written."""
        source = Source(self._dictionary, self._storage, wanted.table)
        where = where_of(source, Conditions(source, switches, wanted.moment, closed=wanted.closed), wanted)
        sql = f"SELECT count(*) FROM {source.from_clause()}"  # noqa: S608 - built from quoted names
        sql += f" WHERE {where.text}" if where.text else ""
        with self._storage.lock:
            versions = tuple(self._storage.versions.get(root, 0) for root in sorted(source.roots))
            known = self._counts.get((sql, where.parameters))
            if known and known[0] == versions:
                return known[1]
            total = self._storage.rows(sql, where.parameters)[0][0]
            if len(self._counts) >= _CACHED_COUNTS:
                self._counts.clear()
            self._counts[sql, where.parameters] = (versions, int(total or 0))
        return int(total or 0)


def _calculated(source: Source, fields: Mapping[str, Field]) -> Mapping[str, Anchor]:
    """The calculated columns of a page, each with the record that its script is about."""
    anchors = {
        path: source.anchor(path.rpartition(".")[0]) for path, field in fields.items() if field.column.calculation
    }
    return {path: anchor for path, anchor in anchors.items() if anchor}


def _output(field: Field, cipher: str) -> str:
    """SQL of the text that goes out for a column; `cipher` is that of a password, a mask or an opaque text."""
    if field.column.type in JOURNAL_TYPES or field.sql == "NULL":
        return "''"
    if field.column.type in PASSWORD_TYPES:
        shown = "'********'" if field.column.element == "user_password" else cipher
        return f"CASE WHEN {field.sql} IS NULL THEN '' ELSE {shown} END"
    if field.column.type in NUMERIC_TYPES:
        return f"ifnull(CAST({field.sql} AS TEXT), '')"
    return f"ifnull({field.sql}, '')"
