"""Rows in a caller's eyes, for APIs that show records in a form of their own: stored texts, hidden rows left out."""

from collections.abc import Sequence

from nowtwin.apis.table import wanted_rows
from nowtwin.http.messages import Request
from nowtwin.instance import Instance
from nowtwin.query.parse import Query, Term


def page_of(
    instance: Instance,
    request: Request,
    table: str,
    query: Query,
    elements: Sequence[str],
    window: tuple[int | None, int] = (None, 0),
) -> tuple[list[dict[str, str]], int]:
    """A page of rows (limit, offset) as texts by element, and how many match, blind to what is hidden (1.4)."""
    instance.prepare(table)
    wanted = wanted_rows(instance, request, table, query)
    with instance.storage.lock:
        page = instance.reader.page(wanted, elements, instance.switches, limit=window[0], offset=window[1])
        total = instance.reader.count(wanted, instance.switches)
    return [dict(zip(page.keys, row, strict=True)) for row in zip(*page.columns, strict=True)], total


def by_id(sys_id: str) -> Query:
    return Query((((Term("sys_id", "=", sys_id),),),))


def is_visible(instance: Instance, request: Request, table: str, sys_id: str) -> bool:
    """Whether there is such a record of this table or a class below it, and the caller may read it."""
    rows, _ = page_of(instance, request, table, by_id(sys_id), ("sys_id",), (1, 0))
    return bool(rows)
