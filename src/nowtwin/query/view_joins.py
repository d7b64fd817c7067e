"""The rows of a database view as a subquery over its tables, with the columns that a statement uses.

Inner joins meet their where clauses in WHERE, left joins theirs in ON, so a left join may name only tables before it.
A view whose clauses cannot be read has no rows: the platform's database refuses the statement, and a list stays empty.
"""

from functools import partial

from nowtwin.query.relations import NOTHING, class_condition, column_sql, relation
from nowtwin.query.where_clauses import UnreadableClause, where_sql
from nowtwin.schema.dictionary import Column, Dictionary
from nowtwin.schema.views import ROW, View, ViewTable, place_of
from nowtwin.storage.rows import Storage, quote


class ViewJoins:
    def __init__(self, dictionary: Dictionary, storage: Storage, view: View, roots: set[str]) -> None:
        self._dictionary = dictionary
        self._storage = storage
        self._view = view
        relations = (relation(dictionary, storage, member.table, roots) for member in view.tables)
        self._relations = list(relations)
        self._aliases = {member.prefix: f"v{number}" for number, member in enumerate(view.tables)}
        self._used = {ROW: " || ".join(f"ifnull({alias}.sys_id, '')" for alias in self._aliases.values())}

    def use(self, element: str) -> str:
        """The name of a column that the statement reads, quoted; NOTHING where no row holds a value yet."""
        if element not in self._used:
            found = self._split(element, self._view.tables)
            sql = NOTHING if found is None else self._sql(*found)
            if sql == NOTHING:
                return NOTHING
            self._used[element] = sql
        return quote(element)

    def use_key(self, prefix: str, element: str) -> str:
        """As `use` for a column of a table of the view whether or not the view returns it: access rules look at it."""
        name = place_of(prefix) + element
        self._used[name] = f"{self._aliases[prefix]}.{quote(element)}"
        return quote(name)

    def member(self, prefix: str) -> ViewTable:
        return next(member for member in self._view.tables if member.prefix == prefix)

    def subquery(self) -> str:
        columns = ", ".join(f"{sql} AS {quote(name)}" for name, sql in self._used.items())
        try:
            joins, conditions = self._joins()
        except UnreadableClause:
            empty = ", ".join(f"NULL AS {quote(name)}" for name in self._used)
            return f"(SELECT {empty} WHERE 0)"
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"(SELECT {columns} FROM {' '.join(joins)}{where})"  # noqa: S608 - quoted names

    def _joins(self) -> tuple[list[str], list[str]]:
        joins: list[str] = []
        conditions: list[str] = []
        for number, member in enumerate(self._view.tables):
            alias = self._aliases[member.prefix]
            left = member.left and number > 0
            usable = self._view.tables[: number + 1] if left else self._view.tables
            clauses = [where_sql(member.where, partial(self._named, usable))] if member.where.strip() else []
            of_class = class_condition(self._dictionary, member.table, alias)
            clauses += [of_class] if of_class else []
            word = "LEFT JOIN " if left else "JOIN "
            on = f" ON {' AND '.join(clauses) or '1'}" if left else ""
            joins.append(f"{word if number else ''}{self._relations[number]} AS {alias}{on}")
            conditions += [] if left else clauses
        return joins, conditions

    def _named(self, usable: tuple[ViewTable, ...], name: str) -> tuple[str, Column] | None:
        found = self._split(name.replace(".", "_", 1), usable)
        if found is None:
            return None
        column = self._dictionary.column(found[0].table, found[1])
        return None if column is None else (self._sql(*found), column)

    def _split(self, name: str, usable: tuple[ViewTable, ...]) -> tuple[ViewTable, str] | None:
        """`inc_sys_id` as the table under `inc` and its column `sys_id`."""
        for member in usable:
            element = name.removeprefix(f"{member.prefix}_")
            if element != name and member.returns(element) and self._dictionary.column(member.table, element):
                return member, element
        return None

    def _sql(self, member: ViewTable, element: str) -> str:
        alias = self._aliases[member.prefix]
        return column_sql(self._dictionary, self._storage, member.table, alias, element)


def is_readable(dictionary: Dictionary, storage: Storage, view: View) -> bool:
    """Whether all where clauses of a view can be read."""
    try:
        ViewJoins(dictionary, storage, view, set())._joins()  # noqa: SLF001 - the same module
    except UnreadableClause:
        return False
    return True
