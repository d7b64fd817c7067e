"""Rows in a caller's eyes, for APIs that show records in a form of their own: stored texts, hidden rows left out."""

from collections.abc import Sequence

from nowtwin.instance import Instance
from nowtwin.query.parse import Query, Term
from nowtwin.reading import Wanted
from nowtwin.users import User


def page_of(
    instance: Instance,
    caller: User,
    table: str,
    query: Query,
    elements: Sequence[str],
    *,
    window: tuple[int | None, int] = (None, 0),
) -> tuple[list[dict[str, str]], int]:
    """A page of rows (limit, offset) as texts by element, and how many match, blind to what is hidden (1.4)."""
    instance.prepare(table)
    closed = instance.property("glide.invalid_query.returns_no_rows") == "true"
    hidden = instance.access.hidden_rows(caller, table)
    wanted = Wanted(table, query, instance.moment(caller), hidden, closed)
    with instance.storage.lock:
        page = instance.reader.page(wanted, elements, instance.switches, limit=window[0], offset=window[1])
        total = instance.reader.count(wanted, instance.switches)
    return [dict(zip(page.keys, row, strict=True)) for row in zip(*page.columns, strict=True)], total


def is_visible(instance: Instance, caller: User, table: str, sys_id: str) -> bool:
    """Whether there is such a record of this table or a class below it, and the caller may read it."""
    query = Query((((Term("sys_id", "=", sys_id),),),))
    rows, _ = page_of(instance, caller, table, query, ("sys_id",), window=(1, 0))
    return bool(rows)
