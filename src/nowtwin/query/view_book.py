"""Database views out of their records: rows of sys_db_view, sys_db_view_table and sys_db_view_table_field become tables of
the dictionary, again whenever one of them is written.

A view is left out, so that its name is an invalid table, when it joins nothing that exists, shares its name with a table,
or has a prefix that the platform refuses (none, one with an underscore, the same twice).
"""

from collections.abc import Iterable

from nowtwin.behaviour.switches import Switches
from nowtwin.query.view_joins import is_readable
from nowtwin.schema.dictionary import Dictionary, Table
from nowtwin.schema.views import View, ViewTable
from nowtwin.storage.rows import Storage
from nowtwin.values import number_of

VIEWS, TABLES, FIELDS = "sys_db_view", "sys_db_view_table", "sys_db_view_table_field"
_READ = {
    VIEWS: ("name", "label"),
    TABLES: ("view", "table", "variable_prefix", "where_clause", "left_join", "active", "order"),
    FIELDS: ("view_table", "field"),
    "sys_documentation": ("name", "element", "label"),
}
_USUAL_ORDER = 100
_LONGEST_PREFIX = 30
_MOST_TABLES = 20
_MOST_COLUMNS = 1_900
"""What the database of the twin can join and return."""

Row = dict[str, str]


class ViewBook:
    def __init__(self, dictionary: Dictionary, storage: Storage) -> None:
        self._dictionary = dictionary
        self._storage = storage
        self._known: tuple[object, ...] = ()
        for table, columns in _READ.items():
            storage.ensure(table, columns)

    def refresh(self, switches: Switches) -> None:
        """Put the views as they are now into the dictionary."""
        if self._state(switches) == self._known:
            return
        with self._storage.lock:
            self._dictionary.put_views(self._views(switches))
            self._known = self._state(switches)

    def _state(self, switches: Switches) -> tuple[object, ...]:
        versions = (self._storage.versions.get(table, 0) for table in _READ)
        return (*versions, self._dictionary.revision, switches.view_rows_have_sys_id, switches.broken_views_invalid)

    def _views(self, switches: Switches) -> dict[str, Table]:
        members: dict[str, list[Row]] = {}
        for row in self._rows(TABLES):
            members.setdefault(row["view"], []).append(row)
        allowed: dict[str, set[str]] = {}
        for row in self._rows(FIELDS):
            allowed.setdefault(row["view_table"], set()).add(row["field"])
        labels = {(row["name"], row["element"]): row["label"] for row in self._rows("sys_documentation")}
        views: dict[str, Table] = {}
        for row in self._rows(VIEWS):
            name = row["name"]
            tables = tuple(_member(member, allowed) for member in sorted(members.get(row["sys_id"], ()), key=_place))
            joined = tuple(member for member in tables if member is not None)
            shown = {element: label for (table, element), label in labels.items() if table == name and element}
            view = View(joined, shown, switches.view_rows_have_sys_id)
            if name and self._stands(name, view, switches):
                views[name] = Table(name=name, label=row["label"] or None, view=view)
        return views

    def _stands(self, name: str, view: View, switches: Switches) -> bool:
        known = self._dictionary.tables.get(name)
        if (known is not None and known.view is None) or not 0 < len(view.tables) <= _MOST_TABLES:
            return False
        if any(not self._is_table(member.table) for member in view.tables) or not _told_apart(view.tables):
            return False
        width = sum(len(self._dictionary.columns(member.table)) for member in view.tables)
        return width <= _MOST_COLUMNS and (
            not switches.broken_views_invalid or is_readable(self._dictionary, self._storage, view)
        )

    def _is_table(self, name: str) -> bool:
        return name in self._dictionary.tables and self._dictionary.view(name) is None

    def _rows(self, table: str) -> list[Row]:
        columns = ("sys_id", *_READ[table])
        names = ", ".join(f'"{column}"' for column in columns)
        rows = self._storage.rows(f"SELECT {names} FROM {table} ORDER BY sys_id")  # noqa: S608 - fixed names
        return [dict(zip(columns, ("" if v is None else str(v) for v in row), strict=True)) for row in rows]


def _place(row: Row) -> tuple[float, str]:
    order = number_of(row["order"])
    return (_USUAL_ORDER if order is None else order, row["sys_id"])


def _member(row: Row, allowed: dict[str, set[str]]) -> ViewTable | None:
    """None for a table that is not active."""
    if row["active"] == "false":
        return None
    elements = frozenset(allowed.get(row["sys_id"], ()))
    return ViewTable(row["table"], row["variable_prefix"], row["where_clause"], row["left_join"] == "true", elements)


def _told_apart(tables: Iterable[ViewTable]) -> bool:
    prefixes = [member.prefix for member in tables]
    usable = all(0 < len(prefix) <= _LONGEST_PREFIX and prefix.isalnum() for prefix in prefixes)
    return usable and len(set(prefixes)) == len(prefixes)
