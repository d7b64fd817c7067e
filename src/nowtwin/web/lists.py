"""The list of a table: `/<table>_list.do?sysparm_query=...&sysparm_first_row=21` (rows count from 1, as on the platform).

The search fields of the page add a condition to the query (`sysparm_goto_field`, `sysparm_goto_value`).
"""

from collections.abc import Sequence

from nowtwin.apis.table import whole_number
from nowtwin.http.messages import Answer, Request
from nowtwin.instance import Instance
from nowtwin.query.parse import Order, parse
from nowtwin.web.conditions import Step, unknown_columns, worded
from nowtwin.web.frame import Message, page
from nowtwin.web.layouts import list_columns
from nowtwin.web.markup import Html, address, link, tag
from nowtwin.web.reading import ROWS, Cell, Row, Rows, Window, column_at, known_table, label_at, read_rows

_MOST_ROWS = 100
_ALL_TEXT = "text"


def show_list(instance: Instance, request: Request, table: str) -> Answer:
    """Raises Refused for an unknown table, or a query on a column that the visitor may not read."""
    known_table(instance, table)
    columns = list_columns(instance, table)
    query = _query(request)
    limit = max(1, min(whole_number(request.param("sysparm_limit"), ROWS), _MOST_ROWS))
    first = max(1, whole_number(request.param("sysparm_first_row"), 1))
    found = read_rows(instance, request, table, query, Window(columns, limit, first - 1))
    view = _View(instance, table, columns, query, limit)
    title = instance.dictionary.table_label(table)
    head = tag(
        "div",
        tag("h1", title, " ", tag("small", f"{found.total:,}")),
        link("New", address(f"/{table}.do", sys_id="-1"), class_="button")
        if not instance.dictionary.view(table)
        else None,
        class_="headline",
    )
    messages = [*_warnings(instance, table, query), *_cut(found)]
    content = (head, view.crumbs(), view.search(), view.rows(found), view.pager(found, first))
    return page(title, request.caller, *content, messages=messages, rows=len(found.rows))


def _query(request: Request) -> str:
    query = request.param("sysparm_query").strip()
    field, value = request.param("sysparm_goto_field"), request.param("sysparm_goto_value").strip()
    if not value or "^" in value:
        return query
    condition = f"123TEXTQUERY321={value}" if field in {"", _ALL_TEXT} else f"{field}LIKE{value}"
    return f"{condition}^{query}" if query else condition


def _warnings(instance: Instance, table: str, query: str) -> list[Message]:
    unknown = unknown_columns(instance, table, parse(query))
    names = ", ".join(unknown)
    return [Message("info", f"No such column, so its condition is left out: {names}")] if unknown else []


def _cut(found: Rows) -> list[Message]:
    text = f"Number of rows removed from this list by security constraints: {found.cut}"
    return [Message("info", text)] if found.cut else []


class _View:
    """What the parts of one list share."""

    def __init__(self, instance: Instance, table: str, columns: Sequence[str], query: str, limit: int) -> None:
        self._instance = instance
        self._table = table
        self._columns = columns
        self._query = query
        self._limit = limit
        self._parsed = parse(query)

    def _url(self, query: str, first: int = 1) -> str:
        first_row = str(first) if first > 1 else ""
        limit = str(self._limit) if self._limit != ROWS else ""
        return address(f"/{self._table}_list.do", sysparm_query=query, sysparm_first_row=first_row, sysparm_limit=limit)

    def crumbs(self) -> Html:
        """The conditions in words, each a link to the list up to it."""
        steps = worded(self._instance, self._table, self._query)
        links = [link(step.text, self._url(step.query)) for step in (Step("All", ""), *steps)]
        return tag("nav", *links, class_="crumbs", aria_label="Conditions")

    def search(self) -> Html:
        labels = {path: label_at(self._instance.dictionary, self._table, path) for path in self._columns}
        options = [tag("option", label, value=path) for path, label in {_ALL_TEXT: "for text", **labels}.items()]
        go_to = tag(
            "form",
            tag("input", type="hidden", name="sysparm_query", value=self._query),
            tag("select", *options, name="sysparm_goto_field", aria_label="Column"),
            tag("input", type="search", name="sysparm_goto_value", placeholder="Search", aria_label="Search for"),
            tag("button", "Search", class_="quiet"),
            method="get",
            action=f"/{self._table}_list.do",
        )
        encoded = tag(
            "form",
            tag(
                "input",
                name="sysparm_query",
                value=self._query,
                placeholder="active=true^priority=1",
                class_="query",
                aria_label="Encoded query",
            ),
            tag("button", "Run", class_="quiet"),
            method="get",
            action=f"/{self._table}_list.do",
            aria_label="Encoded query",
        )
        return tag("div", go_to, encoded, class_="tools")

    def rows(self, found: Rows) -> Html:
        heads = [tag("th", tag("span", "Open", class_="unseen")), *map(self._head, self._columns)]
        body = [self._row(row) for row in found.rows]
        if not body:
            body = [tag("tr", tag("td", "No records to display", colspan=str(len(heads)), class_="nothing"))]
        table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *body))
        return tag("div", table, class_="scroll")

    def _head(self, path: str) -> Html:
        """A column's label, which sorts by it; a second time the other way round."""
        first = self._parsed.order[0] if self._parsed.order else Order("", descending=False)
        kept = "^".join(part for part in self._query.split("^") if part and not part.startswith("ORDERBY"))
        descending = first.field == path and not first.descending
        order = f"ORDERBYDESC{path}" if descending else f"ORDERBY{path}"
        label = label_at(self._instance.dictionary, self._table, path)
        mark = (" ▼" if first.descending else " ▲") if first.field == path else ""
        sorted_by = ("descending" if first.descending else "ascending") if first.field == path else None
        leading = link(f"{label}{mark}", self._url(f"{kept}^{order}" if kept else order))
        return tag("th", leading, scope="col", aria_sort=sorted_by)

    def _row(self, row: Row) -> Html:
        actual = row["sys_class_name"].value if "sys_class_name" in row else ""
        href = address(f"/{actual or self._table}.do", sys_id=row["sys_id"].value) if "sys_id" in row else ""
        opener = tag("td", link("↗", href, aria_label="Open record") if href else None, class_="opener")
        shown = self._instance.dictionary.display_column(self._table)
        named = shown if shown in self._columns else self._columns[0]
        cells = (self._cell(path, row.get(path), href if path == named else "") for path in self._columns)
        return tag("tr", opener, *cells)

    def _cell(self, path: str, cell: Cell | None, href: str) -> Html:
        if cell is None or not (cell.shown or cell.value):
            return tag("td")
        text = cell.shown or cell.value
        if href:
            return tag("td", link(text, href), class_="named")
        target = reference_address(self._instance, self._table, path, cell.value)
        if target:
            return tag("td", link(text, target))
        return tag("td", text, title=text if len(text) > 60 else None)  # noqa: PLR2004 - what a cell cuts off

    def pager(self, found: Rows, first: int) -> Html:
        limit, total = self._limit, found.total
        last_page = (total - 1) // limit * limit + 1 if total else 1
        targets = (
            ("First", 1, first > 1),
            ("Previous", max(1, first - limit), first > 1),
            ("Next", first + limit, first + limit <= total),
            ("Last", last_page, first + limit <= total),
        )
        links = [
            link(text, self._url(self._query, at)) if possible else tag("span", text) for text, at, possible in targets
        ]
        upto = min(first + limit - 1, total)
        place = f"{first:,} to {upto:,} of {total:,}" if total else "0 of 0"
        return tag("nav", *links[:2], tag("b", place), *links[2:], class_="pager", aria_label="Pages")


def reference_address(instance: Instance, table: str, path: str, value: str) -> str | None:
    """Where the record that a reference points at opens; None for a column that is no reference, or names no table."""
    column = column_at(instance.dictionary, table, path)
    if column is None or not column.reference or not value or "," in value:
        return None
    if column.reference not in instance.dictionary.tables or column.type == "glide_list":
        return None
    if column.reference_key == "sys_id":
        return address(f"/{column.reference}.do", sys_id=value)
    return address(f"/{column.reference}.do", sysparm_query=f"{column.reference_key}={value}")
