"""The data dictionary: tables, their columns, the class tree and the choice lists.

It is loaded from schema documents (`tables`, `columns`, `choices`) that may be merged: the first declaration of an
attribute wins, later ones fill what is missing. Columns stand on the table that defines them and are inherited along
`super_class`. It stores no records; `metadata` turns it into rows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import count
from typing import Any, TypeVar

from nowtwin.schema.function_fields import prefixed
from nowtwin.schema.views import ROW, View

METADATA_ROOT = "sys_metadata"
"""The parent of all configuration records. Its children are stored apart, since their columns clash and are many."""


@dataclass(frozen=True, slots=True)
class Column:
    table: str
    element: str
    type: str = "string"
    label: str | None = None
    reference: str | None = None
    reference_key: str = "sys_id"
    max_length: int | None = None
    mandatory: bool | None = None
    read_only: bool | None = None
    choice: int | None = None
    choice_table: str | None = None
    choice_field: str | None = None
    default: str | None = None
    dependent: str | None = None
    unique: bool | None = None
    hint: str | None = None
    active: bool | None = None
    """False: the column is retired; it stays in sys_dictionary and is neither read nor written."""
    read_only_option: str | None = None
    cascade: str | None = None
    """What becomes of a record when the one that this column references is deleted (`cascades`)."""
    function: str | None = None
    """Of a function field: its definition. The column is stored nowhere (`query.functions`)."""
    calculation: str | None = None
    """Of a calculated column (`virtual`): the script that gives its value when the record is saved."""

    @property
    def derived(self) -> bool:
        """Whether the value comes from other columns, so that nobody writes it."""
        return bool(self.function or self.calculation)


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    label: str | None = None
    super_class: str | None = None
    display: str | None = None
    extensible: bool | None = None
    audit: bool | None = None
    ws_access: bool | None = None
    number_prefix: str | None = None
    number_start: int | None = None
    number_digits: int | None = None
    attributes: Mapping[str, Any] | None = None
    view: View | None = None
    """Of a database view: what it joins. Such a table has no rows of its own."""


@dataclass(frozen=True, slots=True)
class Choice:
    table: str
    element: str
    value: str
    label: str
    sequence: int | None = None
    dependent_value: str = ""
    inactive: bool = False
    language: str = "en"


GLOBAL_COLUMNS = (
    ("sys_id", "GUID", 32, "Sys ID"),
    ("sys_created_by", "string", 40, "Created by"),
    ("sys_created_on", "glide_date_time", 40, "Created"),
    ("sys_mod_count", "integer", 40, "Updates"),
    ("sys_updated_by", "string", 40, "Updated by"),
    ("sys_updated_on", "glide_date_time", 40, "Updated"),
)

DISPLAY_GUESSES = ("name", "number", "u_name", "display_name", "label", "title", "element", "short_description")

_UNWRITTEN: Mapping[str, Any] = {
    "read_only": True,
    "mandatory": None,
    "default": None,
    "unique": None,
    "cascade": None,
    "calculation": None,
}
"""What a column of a view has, since nothing is written through it."""

_Item = TypeVar("_Item", Table, Column)


def _fill(first: _Item, later: _Item) -> _Item:
    """`first` with what it leaves open taken from `later`."""
    missing = {f.name: getattr(later, f.name) for f in fields(first) if getattr(first, f.name) is None}
    return replace(first, **missing)


def label_of(name: str) -> str:
    """The label ServiceNow proposes for a column name."""
    return name.removeprefix("u_").replace("_", " ").capitalize()


def _default_text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


_revisions = count(1)


class Dictionary:
    """Tables by name, columns by table, choices by table and column; answers questions about the class tree."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.revision = 0
        """Another number after every change of tables or columns, unlike that of any other dictionary."""
        self.class_codes: dict[str, dict[str, str]] = {}
        """Codes of the children of a table, once given (`class_paths`)."""
        self._own: dict[str, dict[str, Column]] = {}
        self._choices: dict[tuple[str, str], dict[tuple[str, str, str], Choice]] = {}
        self._children: dict[str, list[str]] = {}
        self._effective: dict[str, dict[str, Column]] = {}
        self._derived: dict[str, tuple[Column, ...]] = {}
        self._calculates: bool | None = None
        self._labels: dict[tuple[str, str, bool, str], dict[str, str]] = {}

    def copy(self) -> "Dictionary":
        twin = Dictionary()
        twin.tables = dict(self.tables)
        twin.class_codes = {parent: dict(codes) for parent, codes in self.class_codes.items()}
        twin._own = {table: dict(columns) for table, columns in self._own.items()}
        twin._choices = {key: dict(choices) for key, choices in self._choices.items()}
        twin._index()
        return twin

    def become(self, other: "Dictionary") -> None:
        """Know what another dictionary knows, and nothing else."""
        vars(self).update(vars(other.copy()))
        self._index()

    # -- loading -----------------------------------------------------------------------------------------------

    def merge(self, schema: Mapping[str, Any]) -> None:
        """Add the tables, columns and choices of a schema document (see data/NOTICE.md for the form)."""
        for entry in schema.get("tables", ()):
            self._add_table(_table_from(entry))
        for entry in schema.get("columns", ()):
            self._add_column(_column_from(entry))
        for entry in schema.get("choices", ()):
            self._add_choice(_choice_from(entry))
        for name in [t.super_class for t in self.tables.values() if t.super_class]:
            if name not in self.tables:
                self._add_table(Table(name=name, extensible=True))
        self._index()

    def add_table(self, table: Table) -> None:
        self._add_table(table)
        self._index()

    def set_number(self, table: str, prefix: str, start: int | None, digits: int | None) -> None:
        """How records of a table are numbered (a write to sys_number); an empty prefix: not at all."""
        entry = self.tables[table]
        self.tables[table] = replace(entry, number_prefix=prefix or None, number_start=start, number_digits=digits)

    def set_audit(self, table: str, *, audited: bool) -> None:
        """Whether changes are filed (a write to the table's own row of sys_dictionary)."""
        self.tables[table] = replace(self.tables[table], audit=audited)

    def set_web_access(self, table: str, *, allowed: bool) -> None:
        """Whether web services reach the table (a write to its row of sys_db_object)."""
        self.tables[table] = replace(self.tables[table], ws_access=allowed)

    def add_column(self, column: Column) -> None:
        self._add_column(column)
        self._index()

    def put_column(self, column: Column) -> None:
        """Add the column or replace its declaration (a write to sys_dictionary)."""
        self._own.setdefault(column.table, {})[column.element] = column
        self._index()

    def drop_column(self, table: str, element: str) -> None:
        self._own.get(table, {}).pop(element, None)
        self._index()

    def drop_table(self, table: str) -> None:
        """Forget a table with its columns and choices; children of it, if any, become tables of their own."""
        self.tables.pop(table, None)
        self._own.pop(table, None)
        for key in [key for key in self._choices if key[0] == table]:
            del self._choices[key]
        for child in self.children(table):
            self.tables[child] = replace(self.tables[child], super_class=None)
        self._index()

    def put_views(self, views: Mapping[str, Table]) -> None:
        """Know these database views and no others; a name that a table has stays the table's."""
        kept = {name: table for name, table in self.tables.items() if table.view is None}
        self.tables = {**views, **kept}
        self._index()

    def view(self, table: str) -> View | None:
        """What a database view joins; None for a table."""
        entry = self.tables.get(table)
        return entry.view if entry else None

    def put_choice(self, choice: Choice) -> None:
        self._choices.setdefault((choice.table, choice.element), {})[_choice_key(choice)] = choice
        self._labels.clear()

    def drop_choice(self, choice: Choice) -> None:
        self._choices.get((choice.table, choice.element), {}).pop(_choice_key(choice), None)
        self._labels.clear()

    def _add_table(self, table: Table) -> None:
        known = self.tables.get(table.name)
        self.tables[table.name] = _fill(known, table) if known else table

    def _add_column(self, column: Column) -> None:
        own = self._own.setdefault(column.table, {})
        known = own.get(column.element)
        own[column.element] = _fill(known, column) if known else column
        if column.table not in self.tables:
            self.tables[column.table] = Table(name=column.table)

    def _add_choice(self, choice: Choice) -> None:
        self._choices.setdefault((choice.table, choice.element), {}).setdefault(_choice_key(choice), choice)

    def _index(self) -> None:
        self.revision = next(_revisions)
        self._effective.clear()
        self._derived.clear()
        self._calculates = None
        self._labels.clear()
        self._children = {}
        for table in self.tables.values():
            if table.super_class:
                self._children.setdefault(table.super_class, []).append(table.name)

    # -- the class tree ----------------------------------------------------------------------------------------

    def lineage(self, table: str) -> tuple[str, ...]:
        """The table, its parent, and so on to the top."""
        line = [table]
        while (parent := self._parent(line[-1])) and parent not in line:
            line.append(parent)
        return tuple(line)

    def _parent(self, table: str) -> str | None:
        entry = self.tables.get(table)
        return entry.super_class if entry else None

    def root(self, table: str) -> str:
        """The table whose physical table holds this class: the top of the tree, below sys_metadata."""
        line = self.lineage(table)
        return line[-2] if line[-1] == METADATA_ROOT and len(line) > 1 else line[-1]

    def children(self, table: str) -> tuple[str, ...]:
        return tuple(self._children.get(table, ()))

    def classes(self, table: str) -> tuple[str, ...]:
        """The table and all its descendants."""
        found = [table]
        for name in found:
            found.extend(self._children.get(name, ()))
        return tuple(found)

    # -- columns -----------------------------------------------------------------------------------------------

    def own_columns(self, table: str) -> tuple[Column, ...]:
        return tuple(self._own.get(table, {}).values())

    def columns(self, table: str) -> Mapping[str, Column]:
        """All active columns of a table, its own and inherited, by element."""
        found = self._effective.get(table)
        if found is None:
            found = {e: column for e, column in self.declared_columns(table).items() if column.active is not False}
            self._effective[table] = found
        return found

    def derived_columns(self, table: str) -> tuple[Column, ...]:
        """The function fields and calculated columns of a table."""
        found = self._derived.get(table)
        if found is None:
            found = self._derived[table] = tuple(column for column in self.columns(table).values() if column.derived)
        return found

    def calculates(self) -> bool:
        """Whether any table has a column that a script calculates."""
        if self._calculates is None:
            self._calculates = any(column.calculation for own in self._own.values() for column in own.values())
        return self._calculates

    def declared_columns(self, table: str) -> dict[str, Column]:
        """As `columns`, retired ones included."""
        if view := self.view(table):
            return self._view_columns(table, view)
        line = self.lineage(table)
        top = line[-1]
        result = {name: Column(top, name, kind, label, max_length=size) for name, kind, size, label in GLOBAL_COLUMNS}
        if self._children.get(top) or self.tables[top].extensible:
            result["sys_class_name"] = Column(top, "sys_class_name", "sys_class_name", "Class", max_length=80)
        for name in reversed(line):
            for element, column in self._own.get(name, {}).items():
                inherited = result.get(element)
                result[element] = _fill(column, inherited) if inherited else column
        return result

    def _view_columns(self, name: str, view: View) -> dict[str, Column]:
        """Columns of the view's tables under their prefixes, with their choices; nothing in a view can be written."""
        result = {ROW: Column(name, ROW, "GUID", "Sys ID", max_length=32)} if view.has_sys_id else {}
        for member in view.tables:
            for element, column in self.columns(member.table).items():
                here = f"{member.prefix}_{element}"
                if not member.returns(element) or here in result:
                    continue
                label = view.labels.get(here) or column.label or label_of(element)
                beside: dict[str, Any] = {
                    "dependent": f"{member.prefix}_{column.dependent}" if column.dependent else None,
                    "choice_table": column.choice_table or member.table,
                    "choice_field": column.choice_field or element,
                    "function": prefixed(column.function, member.prefix) if column.function else None,
                }
                result[here] = replace(column, **_UNWRITTEN, **beside, table=name, element=here, label=label)
        return result

    def column(self, table: str, element: str) -> Column | None:
        return self.columns(table).get(element) if table in self.tables else None

    def display_column(self, table: str) -> str:
        """The column whose value stands for a record of this table; `sys_created_on` where there is none."""
        columns = self.columns(table)
        for name in self.lineage(table):
            declared = self.tables[name].display
            if declared and declared in columns:
                return declared
        if self.view(table):
            return next((element for element in columns if "_sys_" not in element), ROW)
        return next((guess for guess in DISPLAY_GUESSES if guess in columns), "sys_created_on")

    def table_label(self, table: str) -> str:
        entry = self.tables.get(table)
        return (entry.label if entry and entry.label else None) or label_of(table)

    # -- choices -----------------------------------------------------------------------------------------------

    def choices(self, table: str, element: str, *, inherited: bool = True) -> tuple[Choice, ...]:
        """The choice rows a column uses: its own, those it borrows, else those of the nearest ancestor if `inherited`."""
        column = self.column(table, element)
        if column and column.choice_table and column.choice_field:
            return self.choices(column.choice_table, column.choice_field, inherited=inherited)
        for name in self.lineage(table) if inherited else (table,):
            found = self._choices.get((name, element))
            if found:
                return tuple(found.values())
        return ()

    def all_choices(self) -> Iterable[Choice]:
        for choices in self._choices.values():
            yield from choices.values()

    def choice_labels(
        self, table: str, element: str, *, inherited: bool = True, language: str = "en"
    ) -> Mapping[str, str]:
        """Label by stored value, English where there is none in the language; empty where the column has no choice list."""
        key = (table, element, inherited, language)
        labels = self._labels.get(key)
        if labels is None:
            labels = {}
            found = self.choices(table, element, inherited=inherited)
            for choice in sorted(found, key=lambda choice: (choice.language != language, choice.language != "en")):
                labels.setdefault(choice.value, choice.label)
            self._labels[key] = labels
        return labels


def _choice_key(choice: Choice) -> tuple[str, str, str]:
    return (choice.value, choice.dependent_value, choice.language)


def _table_from(entry: Mapping[str, Any]) -> Table:
    return Table(
        name=entry["name"],
        label=entry.get("label"),
        super_class=entry.get("super_class"),
        display=entry.get("display"),
        extensible=entry.get("extensible"),
        audit=entry.get("audit"),
        ws_access=entry.get("web_service_access"),
        number_prefix=entry.get("number_prefix"),
        number_start=entry.get("number_start"),
        attributes=entry.get("attributes"),
    )


def _column_from(entry: Mapping[str, Any]) -> Column:
    kind = entry.get("internal_type") or "string"
    return Column(
        table=entry["table"],
        element=entry["element"],
        type=kind,
        label=entry.get("label"),
        reference=entry.get("reference") or ("sys_user_group" if kind == "domain_id" else None),
        reference_key=entry.get("reference_key") or "sys_id",
        max_length=entry.get("max_length"),
        mandatory=entry.get("mandatory"),
        read_only=entry.get("read_only"),
        choice=entry.get("choice"),
        choice_table=entry.get("choice_table"),
        choice_field=entry.get("choice_field"),
        default=_default_text(entry.get("default")),
        dependent=entry.get("dependent"),
        unique=entry.get("unique"),
        hint=entry.get("hint"),
        active=entry.get("active"),
        function=entry.get("function_definition"),
        calculation=entry.get("calculation") if entry.get("virtual") else None,
    )


def _choice_from(entry: Mapping[str, Any]) -> Choice:
    return Choice(
        table=entry["table"],
        element=entry["element"],
        value=str(entry["value"]),
        label=entry.get("label") or str(entry["value"]),
        sequence=entry.get("sequence"),
        dependent_value=entry.get("dependent_value") or "",
        inactive=bool(entry.get("inactive")),
        language=entry.get("language") or "en",
    )
