"""Column paths to SQL: dot-walks become left joins on the referenced tables, each joined once per statement."""

from dataclasses import dataclass

from nowtwin.schema.dictionary import METADATA_ROOT, Column, Dictionary
from nowtwin.storage.rows import Storage, quote
from nowtwin.values import LIST_TYPES

NOTHING = "NULL"


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
        self._from = self._relation(table)

    def from_clause(self) -> str:
        return " ".join([f"{self._from} AS {self.alias}", *self._joins])

    def class_condition(self) -> str | None:
        """Rows of this class and its descendants; None when that is every row of the physical table."""
        root = self.dictionary.root(self.table)
        if self.table in {root, METADATA_ROOT}:
            return None
        names = ["'" + name.replace("'", "''") + "'" for name in self.dictionary.classes(self.table)]
        if len(names) == 1:
            return f"{self.alias}.sys_class_name = {names[0]}"
        # The plus keeps the planner from reading class by class, which would need a sort of the whole table.
        return f"+{self.alias}.sys_class_name IN ({', '.join(names)})"

    def field(self, path: str) -> Field | None:
        """The column at the end of a dotted path, or None where a part of the path does not exist."""
        *walk, element = path.split(".")
        place = self._places[""]
        for depth, step in enumerate(walk):
            found = self._step(place, ".".join(walk[: depth + 1]), step)
            if found is None:
                return None
            place = found
        column = self.dictionary.column(place.table, element)
        if column is None:
            return None
        return Field(self._column_sql(place, element), column, place.table)

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

    def _column_sql(self, place: Place, element: str) -> str:
        if place.alias is None:
            return NOTHING
        if place.table == METADATA_ROOT or self.storage.has(self.dictionary.root(place.table), element):
            return f"{place.alias}.{quote(element)}"
        return NOTHING

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
            relation = self._relation(column.reference)
            self._joins.append(f"LEFT JOIN {relation} AS {alias} ON {alias}.{quote(column.reference_key)} = {key}")
            target = Place(alias, column.reference)
        self._places[path] = target
        return target

    def _relation(self, table: str) -> str:
        root = self.dictionary.root(table)
        if root != METADATA_ROOT:
            self.roots.add(root)
            self.storage.ensure(root)
            return quote(root)
        return self._all_metadata()

    def _all_metadata(self) -> str:
        """sys_metadata is stored nowhere: it is the union of the tables that extend it."""
        columns = list(self.dictionary.columns(METADATA_ROOT))
        self.storage.ensure(METADATA_ROOT)
        parts = []
        for root in self.storage.roots():
            if METADATA_ROOT in self.dictionary.lineage(root):
                self.roots.add(root)
                names = (quote(c) if self.storage.has(root, c) else f"NULL AS {quote(c)}" for c in columns)
                parts.append(f"SELECT {', '.join(names)} FROM {quote(root)}")  # noqa: S608 - quoted names
        return "(" + " UNION ALL ".join(parts) + ")"
