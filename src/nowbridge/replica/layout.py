"""What a ServiceNow table becomes in Postgres. Pure: a table of the dictionary in, columns out.

A column that people read as something else than what is stored (a choice, a reference, a list of references) becomes
two: `state` shows the label, `state__value` holds the stored value (decision X8). Everything else is one typed column.
Empty is NULL. All text is `text`, never varchar(n): ServiceNow may lengthen a column any day, and a user's view must
survive that (traps, finding 21).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from enum import StrEnum

import msgspec

from nowbridge.model.errors import Stop
from nowbridge.model.schema import ChoiceMode, Column, SchemaSource, Table

NAME_BYTES = 63  # what Postgres keeps of an identifier

# servicenow-api.md 3.1; what is not named here is text.
TYPES = {
    "boolean": "boolean",
    "integer": "integer",
    "order_index": "integer",
    "auto_increment": "bigint",
    "integer_date": "integer",
    "integer_time": "integer",
    "longint": "bigint",
    "decimal": "numeric",
    "float": "numeric",
    "percent_complete": "numeric",
    "currency": "numeric",
    "price": "numeric",
    "glide_date_time": "timestamptz",
    "due_date": "timestamptz",
    "calendar_date_time": "timestamptz",
    "glide_utc_time": "timestamptz",
    "glide_date": "date",
    "glide_time": "time",
    "glide_duration": "interval",
    "timer": "interval",
    "glide_list": "text[]",
    "slushbucket": "text[]",
    "user_roles": "text[]",
}
JOURNALS = frozenset({"journal", "journal_input", "journal_list"})
# What rows are found, followed and compared by; always there, under their own names.
KEPT = frozenset({"sys_id", "sys_mod_count", "sys_updated_on", "sys_created_on", "sys_class_name"})
# Never fetched: secrets, and columns that hold no value of their own.
LEFT_OUT = frozenset({"password", "password2", "glide_var", "glide_encrypted", "variables", "related_tags"})


class Role(StrEnum):
    """What a replica column holds of its source column."""

    VALUE = "value"  # the stored value, typed
    LABEL = "label"  # what people read, where that is something else
    JOURNAL = "journal"  # always NULL: entries live in sys_journal_field, writing one adds one (traps, finding 10)


class ColumnState(StrEnum):
    """How a column stands to its source. Columns of every state stay where they are, with their values."""

    LIVE = "live"
    FILLING = "filling"  # loaded with every change; rows that have not changed since are being filled
    UNREADABLE = "unreadable"  # there, but not shown to the account: asked for, not loaded
    REMOVED = "removed"  # no longer in the source's dictionary
    RETYPED = "retyped"  # of another type in the source now: loaded as far as values still fit
    REPLACED = "replaced"  # gave its name to a column of the new type
    LEFT_OUT = "left out"  # by the table's column selection


NOT_FETCHED = frozenset({ColumnState.REMOVED, ColumnState.REPLACED, ColumnState.LEFT_OUT})
NOT_LOADED = NOT_FETCHED | {ColumnState.UNREADABLE}


class LabelKind(StrEnum):
    CHOICE = "choice"
    REFERENCE = "reference"
    LIST = "list"


class LabelSource(msgspec.Struct, frozen=True):
    """Where a column's labels come from: for a choice the table and column that own the list, else the table that
    the reference points at.
    """

    kind: LabelKind
    table: str
    column: str = ""


class ReplicaColumn(msgspec.Struct, frozen=True):
    """One column of the Postgres table. `source` is the column in ServiceNow, `internal_type` its type there."""

    name: str
    source: str
    pg_type: str
    role: Role
    internal_type: str
    comment: str
    labels: LabelSource | None = None
    state: ColumnState = ColumnState.LIVE


class Selection(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which columns of the source are wanted, and what they are called here. An empty `include` is every column; what is
    in both is left out. KEPT columns are always there, under their own names.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    names: dict[str, str] = {}

    def wants(self, column: str) -> bool:
        return column in KEPT or (column not in self.exclude and (not self.include or column in self.include))

    def name_of(self, column: str) -> str:
        return self.names.get(column, column)


EVERY_COLUMN = Selection()


class Layout(msgspec.Struct, frozen=True):
    """The table as it stands in Postgres; stored with the table, so that every worker loads rows the same way."""

    table: str
    label: str
    ancestors: tuple[str, ...]
    display: str | None
    columns: tuple[ReplicaColumn, ...]
    learned_from: str = SchemaSource.DICTIONARY.value

    @property
    def fetched(self) -> tuple[str, ...]:
        """The source columns to ask ServiceNow for: each once, `sys_id` first."""
        names = {c.source: None for c in self.columns if c.role is not Role.JOURNAL and c.state not in NOT_FETCHED}
        return ("sys_id", *(name for name in names if name != "sys_id"))

    @property
    def loaded(self) -> tuple[ReplicaColumn, ...]:
        """The columns that a load fills, in table order."""
        return tuple(
            c
            for c in self.columns  # asked for with every batch of rows, and most columns are live
            if c.role is not Role.JOURNAL and (c.state is ColumnState.LIVE or c.state not in NOT_LOADED)
        )

    @property
    def unreadable(self) -> frozenset[str]:
        """The source columns that the account is known not to see."""
        return frozenset(c.source for c in self.columns if c.state is ColumnState.UNREADABLE)

    def has(self, source: str) -> bool:
        return any(c.source == source and c.role is Role.VALUE for c in self.loaded)

    def without(self, sources: Collection[str]) -> Layout:
        """The same table, of which these source columns are left alone."""
        return msgspec.structs.replace(self, columns=tuple(c for c in self.columns if c.source not in sources))

    def only(self, sources: Collection[str]) -> Layout:
        """The same table, of which only these source columns are loaded, and the key."""
        kept = tuple(c for c in self.columns if c.source in sources or c.source == "sys_id")
        return msgspec.structs.replace(self, columns=kept)

    def stored_beside(self, shown: ReplicaColumn) -> ReplicaColumn:
        """The column that holds the values of a label column; the next one of the same source."""
        after = self.columns[self.columns.index(shown) + 1 :]
        return next(c for c in after if c.source == shown.source and c.role is Role.VALUE)


def plan_layout(table: Table, selection: Selection = EVERY_COLUMN) -> Layout:
    """Decide the columns of a replica table. Order: sys_id, the display column, the rest by name, system columns last.

    Raises Stop `table.without_key`, `table.column_twice`.
    """
    if table.column("sys_id") is None:
        raise Stop(
            "table.without_key",
            asked=f"replicate {table.name}",
            answered="its dictionary has no sys_id",
            hint="Database views and such tables cannot be replicated.",
        )
    wanted = [c for c in table.columns if c.internal_type not in LEFT_OUT and selection.wants(c.name)]
    wanted.sort(key=lambda c: _order(c, table.display))
    columns = [made for column in wanted for made in _columns(column, table, selection.name_of(column.name))]
    _refuse_collisions(table.name, columns)
    return Layout(table.name, table.label, table.ancestors, table.display, tuple(columns), table.source.value)


def label_source(column: Column, table: Table) -> LabelSource | None:
    """Where people's words for this column's values come from, if they differ from the values."""
    if column.internal_type in ("glide_list", "slushbucket") and column.reference:
        return LabelSource(LabelKind.LIST, column.reference)
    if column.internal_type == "reference" and column.reference and column.reference_key in (None, "", "sys_id"):
        return LabelSource(LabelKind.REFERENCE, column.reference)
    listed = column.choice not in (
        ChoiceMode.NONE,
        ChoiceMode.SUGGESTION,
    )  # a suggestion is text that one may type over
    if listed and column.internal_type not in TYPES_WITHOUT_CHOICES:
        return LabelSource(LabelKind.CHOICE, column.choice_table or table.name, column.choice_field or column.name)
    return None


# Columns that ServiceNow shows otherwise than stored, and that people still query by the stored value: names of
# tables and columns stay names.
TYPES_WITHOUT_CHOICES = frozenset(
    {"boolean", "glide_list", "slushbucket", "user_roles", "sys_class_name", "table_name", "field_name", *JOURNALS}
)


def pg_name(name: str) -> str:
    """The name itself, or where Postgres would cut it off, a shortened one that stays unique."""
    if len(name.encode()) <= NAME_BYTES:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return name.encode()[: NAME_BYTES - 9].decode(errors="ignore") + "_" + digest


def _columns(column: Column, table: Table, name: str) -> list[ReplicaColumn]:
    pg_type = TYPES.get(column.internal_type, "text")
    words = column.label or column.name
    if column.internal_type in JOURNALS:
        comment = f"{words}. Input only: entries are in sys_journal_field"
        return [ReplicaColumn(pg_name(name), column.name, "text", Role.JOURNAL, column.internal_type, comment)]
    labels = label_source(column, table)
    if labels is None:
        return [ReplicaColumn(pg_name(name), column.name, pg_type, Role.VALUE, column.internal_type, words)]
    shown = "text[]" if labels.kind is LabelKind.LIST else "text"
    points = f" -> {labels.table}" if labels.kind is not LabelKind.CHOICE else ""
    return [
        ReplicaColumn(pg_name(name), column.name, shown, Role.LABEL, column.internal_type, f"{words}{points}", labels),
        ReplicaColumn(
            pg_name(f"{name}__value"),
            column.name,
            pg_type,
            Role.VALUE,
            column.internal_type,
            f"{words}, stored value{points}",
        ),
    ]


def _order(column: Column, display: str | None) -> tuple[int, str]:
    if column.name == "sys_id":
        return (0, "")
    if column.name in (display, "number"):
        return (1, column.name)
    return (3 if column.name.startswith("sys_") else 2, column.name)


def check_selection(table: Table, selection: Selection) -> None:
    """Refuse a selection that names what is not there (Stop `columns.unknown`), or touches what Nowbridge itself needs
    (Stop `columns.needed`).
    """
    known = {column.name for column in table.columns}
    named = [*selection.include, *selection.exclude, *selection.names]
    if unknown := sorted(name for name in named if name not in known):
        raise Stop(
            "columns.unknown",
            asked=f"choose columns of {table.name}",
            answered=f"it has no column {unknown[0]}",
            hint="Columns are named as in ServiceNow's dictionary.",
        )
    if needed := sorted(KEPT.intersection((*selection.exclude, *selection.names))):
        raise Stop(
            "columns.needed",
            asked=f"choose columns of {table.name}",
            answered=f"{needed[0]} can be neither left out nor renamed",
            hint="Changes are followed and rows compared by it.",
        )


def _refuse_collisions(table: str, columns: list[ReplicaColumn]) -> None:
    names = [c.name for c in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Stop(
            "table.column_twice",
            asked=f"lay out {table} in Postgres",
            answered=f"two columns would both be called {twice[0]}",
            hint="Leave one of them out of the table's column selection.",
        )
