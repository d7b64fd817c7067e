"""What has become of a table's columns since its layout was made. Pure: the layout as it stands and the layout that would
be planned today in, changes and the next layout out.

No column is ever dropped or given another type: one that is gone in the source is kept and marked, and one whose type
has changed gets a second one beside it, `<column>__<type>`, until somebody confirms that it takes over the name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

import msgspec

from nowbridge.model.schema import SchemaSource
from nowbridge.replica.layout import (
    EVERY_COLUMN,
    ColumnState,
    LabelKind,
    Layout,
    ReplicaColumn,
    Role,
    Selection,
    pg_name,
)

PAST = frozenset({ColumnState.RETYPED, ColumnState.REPLACED})  # columns that have a successor, or are to get one
GONE = frozenset({ColumnState.REMOVED, ColumnState.LEFT_OUT})
_MARKS = {
    ColumnState.UNREADABLE: "the account may not read it any more; values are the last known",
    ColumnState.REMOVED: "no longer in ServiceNow; values are the last known",
    ColumnState.RETYPED: "of another type in ServiceNow now; NULL where a value does not fit",
    ColumnState.REPLACED: "replaced by a column of another type; values are from before",
    ColumnState.LEFT_OUT: "left out by the column selection; values are from before",
}


class Kind(StrEnum):
    NEW = "new"
    REMOVED = "removed"
    RETYPED = "retyped"
    RETURNED = "returned"  # in the dictionary or readable again
    UNREADABLE = "unreadable"
    RELABELLED = "relabelled"  # the same type, but words come from elsewhere
    REWORDED = "reworded"  # only its description changed


DRIFT = frozenset({Kind.NEW, Kind.REMOVED, Kind.RETYPED, Kind.RETURNED})


@dataclass(frozen=True, slots=True)
class Terms:
    """What a table's columns follow: its selection, and whether new columns are made (`beside`) or left out."""

    selection: Selection = EVERY_COLUMN
    beside: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one column of the source. `was` and `now` are types in words."""

    kind: Kind
    source: str
    was: str = ""
    now: str = ""

    @property
    def words(self) -> str:
        types = f" ({self.was} -> {self.now})" if self.was or self.now else ""
        return f"{self.source}: {self.kind.value}{types}"


def compare(layout: Layout, planned: Layout, terms: Terms, unreadable: Collection[str] = ()) -> list[Change]:
    """`unreadable` are columns that rows were seen to lack although the dictionary lists them. Only the whole dictionary
    can tell that a column is gone or of another type; from a poorer source new columns are learned and nothing else.
    """
    sure = planned.learned_from == SchemaSource.DICTIONARY.value
    changes = [
        change
        for source in dict.fromkeys(column.source for column in planned.columns)
        if (change := _changed(source, layout, planned, terms, readable=source not in unreadable)) is not None
    ]
    listed = {column.source for column in planned.columns}
    for source in dict.fromkeys(column.source for column in layout.columns):
        present = [c for c in current(layout, source) if c.state not in GONE]
        if source not in listed and present and (sure or not terms.selection.wants(source)):
            changes.append(Change(Kind.REMOVED, source, _type_of(present), ""))
    return changes


def current(layout: Layout, source: str) -> list[ReplicaColumn]:
    """The columns that stand for a source column today: those without a successor."""
    return [c for c in layout.columns if c.source == source and c.state not in PAST]


def apply(layout: Layout, planned: Layout, changes: Sequence[Change], terms: Terms) -> Layout:
    """The layout after these changes. Its new columns are to be made; everything FILLING is to be filled."""
    columns = list(layout.columns)
    for change in changes:
        wanted = [c for c in planned.columns if c.source == change.source]
        columns = _APPLY[change.kind](columns, wanted, change, terms)
    return msgspec.structs.replace(
        planned, columns=tuple(columns), display=planned.display or layout.display, learned_from=planned.learned_from
    )


def filled(layout: Layout, sources: Collection[str]) -> Layout:
    """The layout when these source columns have been filled."""
    done = [
        msgspec.structs.replace(c, state=ColumnState.LIVE)
        if c.source in sources and c.state is ColumnState.FILLING
        else c
        for c in layout.columns
    ]
    return msgspec.structs.replace(layout, columns=tuple(done))


def swapped(layout: Layout, sources: Collection[str]) -> tuple[Layout, list[tuple[str, str]]]:
    """The layout in which the new columns of retyped ones have taken over their names, and the renames that it takes, in
    order: the old column makes room first.
    """
    columns = list(layout.columns)
    renames: list[tuple[str, str]] = []
    for source in sources:
        old = [c for c in columns if c.source == source and c.state is ColumnState.RETYPED]
        new = [c for c in columns if c.source == source and c.state not in PAST]
        if not old or not new:
            continue
        base = _base(old)
        room = _free(f"{base}__was_{_word(old)}", columns)
        for group, name, state in ((old, room, ColumnState.REPLACED), (new, base, None)):
            for column, to in zip(group, _names(group, name), strict=True):
                renames.append((column.name, to))
                changed = msgspec.structs.replace(column, name=to, state=state or column.state)
                columns[columns.index(column)] = changed
    return msgspec.structs.replace(layout, columns=tuple(columns)), renames


def renamed(layout: Layout, before: Selection, after: Selection) -> tuple[Layout, list[tuple[str, str]]]:
    """The layout under the names of another selection, and the renames that it takes. What stands beside a column keeps
    its name.
    """
    columns: list[ReplicaColumn] = []
    renames: list[tuple[str, str]] = []
    for column in layout.columns:
        old, new = before.name_of(column.source), after.name_of(column.source)
        names = {pg_name(old + end): pg_name(new + end) for end in ("", "__value")}
        to = names.get(column.name, column.name)
        if to != column.name:
            renames.append((column.name, to))
        columns.append(msgspec.structs.replace(column, name=to))
    return msgspec.structs.replace(layout, columns=tuple(columns)), renames


def comment_of(column: ReplicaColumn) -> str:
    """The comment on the column: what it is, and how it stands."""
    mark = _MARKS.get(column.state)
    return f"{column.comment}. Nowbridge: {mark}" if mark else column.comment


def detail_of(layout: Layout, column: ReplicaColumn) -> str:
    """What to say of a column that is not simply live."""
    if column.state is ColumnState.RETYPED:
        beside = ", ".join(c.name for c in current(layout, column.source))
        return f"its values by the new type are in {beside}" if beside else "the new type was left out (discard)"
    return _MARKS.get(column.state, "")


def new_columns(before: Layout, after: Layout) -> list[ReplicaColumn]:
    known = {column.name for column in before.columns}
    return [column for column in after.columns if column.name not in known]


def filling(layout: Layout) -> list[str]:
    """The source columns that are to be filled."""
    return list(dict.fromkeys(c.source for c in layout.columns if c.state is ColumnState.FILLING))


def _changed(source: str, layout: Layout, planned: Layout, terms: Terms, *, readable: bool) -> Change | None:
    want = [c for c in planned.columns if c.source == source]
    have = current(layout, source)
    sure = planned.learned_from == SchemaSource.DICTIONARY.value
    if not any(c.source == source for c in layout.columns):
        return Change(Kind.NEW, source, "", _type_of(want))
    if not have or _shape(have) != _shape(want):  # none: the new type was left out, under another contract
        was = have or [c for c in layout.columns if c.source == source and c.state is ColumnState.RETYPED]
        wanted = sure and bool(have or (was and terms.beside))
        return Change(Kind.RETYPED, source, _type_of(was), _type_of(want)) if wanted else None
    kind = _standing(have, want, readable=readable, sure=sure)
    return None if kind is None else Change(kind, source, "", _type_of(want))


def _standing(
    have: Sequence[ReplicaColumn], want: Sequence[ReplicaColumn], *, readable: bool, sure: bool
) -> Kind | None:
    """What changed of a column whose type is the same."""
    states = {c.state for c in have}
    if ColumnState.UNREADABLE in states:
        return Kind.RETURNED if readable else None
    if states & GONE:
        return Kind.RETURNED
    if not readable:
        return Kind.UNREADABLE
    if sure and [c.labels for c in have] != [c.labels for c in want]:
        return Kind.RELABELLED
    worded = [(c.comment, c.internal_type) for c in have] != [(c.comment, c.internal_type) for c in want]
    return Kind.REWORDED if sure and worded else None


def _shape(columns: Iterable[ReplicaColumn]) -> list[tuple[object, ...]]:
    return [(c.role, c.pg_type, c.labels.kind if c.labels else None) for c in columns]


def _type_of(columns: Sequence[ReplicaColumn]) -> str:
    kind = columns[0].labels.kind if columns[0].labels else None
    word = columns[0].internal_type
    return f"{word} with choices" if kind is LabelKind.CHOICE else word


def _word(columns: Sequence[ReplicaColumn]) -> str:
    """The type in one word, for names: the dictionary's, or `choice` where a list of choices makes the difference."""
    kind = columns[0].labels.kind if columns[0].labels else None
    return "choice" if kind is LabelKind.CHOICE else columns[0].internal_type


def _base(columns: Sequence[ReplicaColumn]) -> str:
    """The name of the shown column of a group."""
    return columns[0].name


def _names(columns: Sequence[ReplicaColumn], base: str) -> list[str]:
    """What the columns of one source are called under a base name: as `replica.layout` does it."""
    paired = len(columns) > 1
    return [pg_name(f"{base}__value" if paired and c.role is Role.VALUE else base) for c in columns]


def _free(base: str, columns: Iterable[ReplicaColumn]) -> str:
    taken = {c.name for c in columns}
    candidates = (base if at == 1 else f"{base}_{at}" for at in count(1))
    return next(name for name in candidates if not {pg_name(name), pg_name(f"{name}__value")} & taken)


Columns = list[ReplicaColumn]


def _add(columns: Columns, wanted: Columns, change: Change, terms: Terms) -> Columns:
    del change, terms
    if {c.name for c in wanted} & {c.name for c in columns}:  # the name of a column that stands beside another
        wanted = _renamed(wanted, _free(f"{_base(wanted)}__new", columns))
    return columns + _as_new(wanted)


def _take_away(columns: Columns, wanted: Columns, change: Change, terms: Terms) -> Columns:
    del wanted
    state = ColumnState.REMOVED if terms.selection.wants(change.source) else ColumnState.LEFT_OUT
    return [
        msgspec.structs.replace(c, state=state) if c.source == change.source and c.state not in PAST else c
        for c in columns
    ]


def _put_beside(columns: Columns, wanted: Columns, change: Change, terms: Terms) -> Columns:
    former = [c for c in columns if c.source == change.source and c.state is ColumnState.RETYPED]
    marked = [
        msgspec.structs.replace(c, state=ColumnState.REPLACED if former else ColumnState.RETYPED)
        if c.source == change.source and c.state not in PAST
        else c
        for c in columns
    ]
    if former and _shape(former) == _shape(wanted):  # the change was taken back: the first column is the one again
        back = {c.name for c in former}
        return [msgspec.structs.replace(c, state=ColumnState.FILLING) if c.name in back else c for c in marked]
    if not terms.beside:
        return marked
    return marked + _as_new(_renamed(wanted, _free(f"{_base(wanted)}__{_word(wanted)}", columns)))


def _renamed(columns: Columns, base: str) -> Columns:
    names = _names(columns, base)
    return [msgspec.structs.replace(column, name=name) for column, name in zip(columns, names, strict=True)]


def _refresh(columns: Columns, wanted: Columns, change: Change, terms: Terms) -> Columns:
    """The columns as planned, under the names that they have; filled anew unless only words about them changed."""
    del terms
    have = [c for c in columns if c.source == change.source and c.state not in PAST]
    state = None if change.kind is Kind.REWORDED else ColumnState.FILLING
    fresh = {
        old.name: msgspec.structs.replace(new, name=old.name, state=_unless_journal(old, state or old.state))
        for old, new in zip(have, wanted, strict=True)
    }
    return [fresh.get(c.name, c) for c in columns]


def _hide(columns: Columns, wanted: Columns, change: Change, terms: Terms) -> Columns:
    del wanted, terms
    return [
        msgspec.structs.replace(c, state=ColumnState.UNREADABLE)
        if c.source == change.source and c.state not in PAST
        else c
        for c in columns
    ]


def _as_new(columns: Iterable[ReplicaColumn]) -> Columns:
    return [msgspec.structs.replace(c, state=_unless_journal(c, ColumnState.FILLING)) for c in columns]


def _unless_journal(column: ReplicaColumn, state: ColumnState) -> ColumnState:
    """A journal column holds nothing, so there is nothing to fill."""
    return ColumnState.LIVE if column.role is Role.JOURNAL and state is ColumnState.FILLING else state


_APPLY = {
    Kind.NEW: _add,
    Kind.REMOVED: _take_away,
    Kind.RETYPED: _put_beside,
    Kind.RETURNED: _refresh,
    Kind.UNREADABLE: _hide,
    Kind.RELABELLED: _refresh,
    Kind.REWORDED: _refresh,
}
