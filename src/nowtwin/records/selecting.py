"""Rows for the platform's own rules: found by conditions, blind to access, as texts."""

from collections.abc import Mapping, Sequence

from nowtwin.query.parse import Clause, Query, Term, parse
from nowtwin.reading.pages import Wanted
from nowtwin.records.ground import Ground

Row = dict[str, str]


def equalities(values: Mapping[str, str], condition: str = "") -> Query:
    """All columns equal (an empty text means empty), and the encoded condition besides."""
    clauses: tuple[Clause, ...] = tuple((Term(element, "=", text),) for element, text in values.items())
    groups = parse(condition).groups if condition else ((),)
    return Query(tuple((*clauses, *group) for group in groups or ((),)))


def select(
    instance: Ground, table: str, query: Query, elements: Sequence[str] = (), limit: int | None = None
) -> list[Row]:
    """Rows of a table and its classes; without `elements` with all columns. sys_id and class are always there."""
    instance.prepare(table)
    columns = list(elements) or list(instance.dictionary.columns(table))
    wanted = Wanted(table, query, instance.moment(instance.acting("admin")))
    page = instance.reader.page(wanted, columns, instance.switches, limit=limit)
    rows = [dict(zip(page.keys, row, strict=True)) for row in zip(*page.columns, strict=True)]
    return [row | {"sys_id": sys_id} for row, sys_id in zip(rows, page.sys_ids, strict=True)]


def find(instance: Ground, table: str, values: Mapping[str, str], elements: Sequence[str] = ()) -> Row | None:
    """The first row with these values."""
    return next(iter(select(instance, table, equalities(values), elements, 1)), None)
