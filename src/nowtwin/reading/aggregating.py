"""Counts, sums, averages and extremes over rows of a table, whole or in groups (servicenow-api.md 4).

Hidden rows count: aggregates are blind to row access.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from nowtwin.behaviour.switches import Switches
from nowtwin.query.fields import Field, Source
from nowtwin.query.render import Conditions, Sql
from nowtwin.reading.pages import Wanted, where_of
from nowtwin.reading.veiling import Veiling
from nowtwin.schema.dictionary import Dictionary
from nowtwin.storage.rows import Storage
from nowtwin.values import DATE_TIME_TYPES, NUMERIC_TYPES, Stored, number_of

FUNCTIONS = ("avg", "min", "max", "sum")
_SIGNS = frozenset({"=", "!=", ">", ">=", "<", "<="})


@dataclass(frozen=True, slots=True)
class Measure:
    """`count` (without a path) or a function over a column."""

    function: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class Having:
    measure: Measure
    sign: str
    value: str


@dataclass(frozen=True, slots=True)
class Ordering:
    key: Measure | str
    """A measure, or the path of a group column."""
    descending: bool


@dataclass(frozen=True, slots=True)
class Asked:
    measures: tuple[Measure, ...]
    group_by: tuple[str, ...] = ()
    having: tuple[Having, ...] = ()
    order: tuple[Ordering, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Stored texts of the group columns, and each measure's text (None where no row had a value)."""

    keys: tuple[str, ...]
    measured: Mapping[Measure, str | None]


@dataclass(frozen=True, slots=True)
class Result:
    fields: Mapping[str, Field]
    """The group columns that exist; unknown ones are left out."""
    groups: tuple[Group, ...]


def aggregate(dictionary: Dictionary, storage: Storage, wanted: Wanted, asked: Asked, switches: Switches) -> Result:
    source = Source(dictionary, storage, wanted.table)
    fields = {path: field for path in asked.group_by if (field := source.field(path)) is not None}
    measures = {m: sql for m in asked.measures if (sql := _sql(source, m)) is not None}
    where = where_of(source, Conditions(source, switches, wanted.moment, closed=wanted.closed), wanted)
    if switches.aggregates_hide_rows and wanted.hidden:
        unseen = Veiling(source, switches, wanted.moment, {}).unseen(wanted.hidden)
        seen = f"NOT {unseen.text}"
        where = Sql(f"({where.text}) AND {seen}" if where.text else seen, (*where.parameters, *unseen.parameters))
    keys = [f"ifnull(CAST({field.sql} AS TEXT), '')" for field in fields.values()]
    having, bounds = _having(source, asked)
    sql = f"SELECT {', '.join([*keys, *measures.values(), 'count(*)'])} FROM {source.from_clause()}"  # noqa: S608 - built from quoted names
    sql += f" WHERE {where.text}" if where.text else ""
    sql += f" GROUP BY {', '.join(field.sql for field in fields.values())}" if fields else ""
    sql += f" HAVING {' AND '.join(having)}" if having and fields else ""
    if order := _order(source, asked, fields):
        sql += f" ORDER BY {', '.join(order)}"
    rows = storage.rows(sql, (*where.parameters, *(bounds if fields else ())))
    width = len(keys)
    ending = {m: ".0" for m in measures if switches.date_maximum_with_fraction and _is_date_time(source, m)}
    groups = tuple(
        Group(
            tuple(str(key) for key in row[:width]),
            {m: _text(m, value, ending.get(m, "")) for m, value in zip(measures, row[width:-1], strict=True)},
        )
        for row in rows
    )
    return Result(fields, groups)


def _sql(source: Source, measure: Measure) -> str | None:
    """SQL of a measure; None where its column does not exist or cannot be added up."""
    if measure.function == "count":
        return "count(*)"
    field = source.field(measure.path)
    if field is None:
        return None
    if measure.function in {"avg", "sum"} and field.column.type not in NUMERIC_TYPES:
        return None
    return f"{measure.function}({field.sql})"


def _having(source: Source, asked: Asked) -> tuple[list[str], list[Stored]]:
    clauses: list[str] = []
    bounds: list[Stored] = []
    for having in asked.having:
        sql = _sql(source, having.measure)
        if sql is not None and having.sign in _SIGNS:
            number = number_of(having.value)
            clauses.append(f"{sql} {having.sign} ?")
            bounds.append(having.value if number is None else number)
    return clauses, bounds


def _order(source: Source, asked: Asked, fields: Mapping[str, Field]) -> list[str]:
    keys: list[str] = []
    for ordering in asked.order:
        if isinstance(ordering.key, Measure):
            sql = _sql(source, ordering.key)
        else:
            sql = fields[ordering.key].sql if ordering.key in fields else None
        if sql is not None:
            keys.append(sql + (" DESC" if ordering.descending else ""))
    return keys


def _is_date_time(source: Source, measure: Measure) -> bool:
    field = source.field(measure.path) if measure.function in {"min", "max"} else None
    return field is not None and field.column.type in DATE_TIME_TYPES


def _text(measure: Measure, value: Stored, ending: str) -> str | None:
    if value is None:
        return None
    if measure.function == "avg":
        return f"{float(value):.4f}"
    return f"{value}{ending}"
