"""Column paths to SQL: dot-walks become left joins on the referenced tables, each joined once per statement. A database
view is read as a subquery.
"""

from dataclasses import dataclass

from nowtwin.query.functions import function_sql
from nowtwin.query.relations import NOTHING, class_condition, column_sql, relation
from nowtwin.query.view_joins import ViewJoins
from nowtwin.schema.dictionary import METADATA_ROOT, Column, Dictionary
from nowtwin.storage.rows import Storage, quote
from nowtwin.values import LIST_TYPES


@dataclass(frozen=True, slots=True)
class Field:
    """A column reached from the table that is read. `sql` is NULL where no row holds a value yet."""

    sql: str
    column: Column
    table: str
    """The class on which the column was looked up; its choices and display apply."""


@dataclass(frozen=True, slots=True)
class Place:
    alias: str | None
    table: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """A record that a row leads to: SQL of its sys_id and of its class, and the table that it is looked up in."""

    sys_id: str
    of_class: str
    table: str


class Source:
    """What a statement reads: the table's physical rows under an alias, plus the joins its fields asked for."""

    def __init__(self, dictionary: Dictionary, storage: Storage, table: str, alias: str = "t") -> None:
        self.dictionary = dictionary
        self.storage = storage
        self.table = table
        self.alias = alias
        self.roots: set[str] = set()
        self._joins: list[str] = []
        self._places: dict[str, Place] = {"": Place(alias, table)}
        view = dictionary.view(table)
        self._view = ViewJoins(dictionary, storage, view, self.roots) if view else None
        self._from = "" if view else relation(dictionary, storage, table, self.roots)

    def from_clause(self) -> str:
        rows = self._view.subquery() if self._view else self._from
        return " ".join([f"{rows} AS {self.alias}", *self._joins])

    def class_condition(self) -> str | None:
        """Rows of this class and its descendants; None when that is every row of the relation."""
        return class_condition(self.dictionary, self.table, self.alias)

    def field(self, path: str) -> Field | None:
        """The column at the end of a dotted path, or None where a part of the path does not exist."""
        found = self._found(path)
        if found is None:
            return None
        place, column = found
        if column.function:
            return Field(self._function_sql(path.split(".")[:-1], column), column, place.table)
        return Field(self._column_sql(place, column.element), column, place.table)

    def _found(self, path: str) -> tuple[Place, Column] | None:
        *walk, element = path.split(".")
        place = self._walk(walk)
        column = self.dictionary.column(place.table, element) if place else None
        return (place, column) if place and column else None

    def _function_sql(self, walk: list[str], column: Column) -> str:
        """A function field of the record at the end of a walk. What it names is no function field itself."""

        def find(path: str) -> str | None:
            found = self._found(".".join([*walk, path]))
            return None if found is None or found[1].function else self._column_sql(found[0], found[1].element)

        return function_sql(column, find)

    def display(self, path: str, field: Field) -> str:
        """SQL of what a reference displays: the display column of its target, followed where that is a reference.

        Lists are looked at as stored: `sc_catalogsLIKE<sys_id>` is how clients search them.
        """
        target = None if field.column.type in LIST_TYPES else field.column.reference
        if target is None or target not in self.dictionary.tables or path.count(".") > 4:  # noqa: PLR2004 - a cycle guard
            return field.sql
        element = self.dictionary.display_column(target)
        shown = self.field(f"{path}.{element}")
        if shown is None:
            return field.sql
        return self.display(f"{path}.{element}", shown) if shown.column.reference else shown.sql

    def anchor(self, place: str) -> Anchor | None:
        """The record at the end of a walk over references, at a table of a view (`views.place_of`), or the row itself;
        None where no row leads to one.
        """
        prefix = place.removesuffix("$")
        if self._view and prefix != place:
            key, of_class = (
                f"{self.alias}.{self._view.use_key(prefix, name)}" for name in ("sys_id", "sys_class_name")
            )
            return Anchor(key, of_class, self._view.member(prefix).table)
        if self._view and not place:
            return Anchor(f"{self.alias}.sys_id", "'" + self.table.replace("'", "''") + "'", self.table)
        reached = self._walk(place.split(".")) if place else self._places[""]
        if reached is None or reached.alias is None:
            return None
        return Anchor(f"{reached.alias}.sys_id", f"{reached.alias}.sys_class_name", reached.table)

    def _walk(self, steps: list[str]) -> Place | None:
        place = self._places[""]
        for depth, step in enumerate(steps):
            found = self._step(place, ".".join(steps[: depth + 1]), step)
            if found is None:
                return None
            place = found
        return place

    def _column_sql(self, place: Place, element: str) -> str:
        if place.alias is None:
            return NOTHING
        if self._view and place.alias == self.alias:
            name = self._view.use(element)
            return name if name == NOTHING else f"{place.alias}.{name}"
        return column_sql(self.dictionary, self.storage, place.table, place.alias, element)

    def _step(self, place: Place, path: str, step: str) -> Place | None:
        if path in self._places:
            return self._places[path]
        column = self.dictionary.column(place.table, step)
        if column is None or column.reference is None or column.reference not in self.dictionary.tables:
            return None
        target = Place(None, column.reference)
        key = self._column_sql(place, step)
        root = self.dictionary.root(column.reference)
        if key != NOTHING and (column.reference == METADATA_ROOT or self.storage.has(root, "sys_id")):
            alias = f"{self.alias}{len(self._places)}"
            rows = relation(self.dictionary, self.storage, column.reference, self.roots)
            self._joins.append(f"LEFT JOIN {rows} AS {alias} ON {alias}.{quote(column.reference_key)} = {key}")
            target = Place(alias, column.reference)
        self._places[path] = target
        return target
