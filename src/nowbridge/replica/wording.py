"""Pages of a first load, from JSON to COPY text with as little Python as there can be: hot, and pure.

A reference or choice is exchanged for its label and its value, as COPY wants them side by side, while msgspec reads the
JSON; so a record has its COPY fields in order as soon as it is read, and a line is one join of it. A page is read a
piece at a time, so that what was read of a piece is still in the processor's cache when its lines are made. What each page is
checked for is what `replica.rows` checks: the same converters are applied, to the distinct values that have a label
when a `Wording` is made, to the others while they are read.

It knows one layout, one order of the answers' fields, and the words of one generation. Whatever is odd (a value of another
shape, a misfit, words that are outdated) is not mended here: the page is read again, the plain way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any

import msgspec

from nowbridge.replica.layout import ColumnState, LabelKind, Layout, ReplicaColumn, Role
from nowbridge.replica.rows import BATCH, CHECKS, CONVERTERS, SEPARATOR, Converter, Labels, Texts, copied
from nowbridge.servicenow.wire import ABSENT, Absent, exchanged, pieces, record_type

Columns = tuple[ReplicaColumn, ...]
Records = Sequence[msgspec.Struct]
Pick = Callable[[Any], tuple[str, ...]]

HOSTILE = "a text holds the separator"


class Unknown(str):
    """The id of a record whose label is not known yet."""

    __slots__ = ()


class Odd(Exception):
    """A page that has to be read the tolerant way, or a body that is not complete, has no list of records, or has
    something beside it.
    """


class WordedPage:
    """A page as COPY text, beside it the stored values of a few `fields`. `unknown`, by a field: ids whose labels have to be
    looked up before the page can be settled.
    """

    def __init__(self, wording: Wording, body: bytes, kept: Iterable[str] = ()) -> None:
        """`kept` are the fields beside sys_id, as far as they are read."""
        self.wording = wording
        self.body = body
        self.unknown: dict[str, set[str]] = {}
        self._columns: dict[str, list[str]] = {f: [] for f in ("sys_id", *kept) if f in wording.fields}
        self._parts: list[bytes | Records] = []

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self._columns)

    @property
    def rows(self) -> int:
        return len(self.ids)

    @property
    def ids(self) -> list[str]:
        return self._columns["sys_id"]

    def column(self, field: str) -> list[str]:
        return self._columns[field]

    def read(self) -> Iterator[None]:
        """Read the body, and stop after each piece for who has something else to do. Raises Odd."""
        for piece in pieces(self.body):
            records, unknown = self.wording.decode(piece)
            for field, ids in unknown.items():
                self.unknown.setdefault(field, set()).update(ids)
            for field, column in self._columns.items():
                column.extend(self.wording.column(records, field))
            try:
                self._parts.append(records if unknown else self.wording.encode(records))
            except (KeyError, ValueError) as error:
                raise Odd from error
            yield

    def settle(self) -> None:
        """Exchange what was unknown, now that its labels were looked up. Raises KeyError when they were not, ValueError at
        a misfit.
        """
        for at, part in enumerate(self._parts):
            if not isinstance(part, bytes):
                self.wording.exchange(part)
                self._parts[at] = self.wording.encode(part)
        self.unknown = {}

    def encoded(self) -> Iterator[bytes]:
        """The settled page."""
        return (part for part in self._parts if isinstance(part, bytes))


class Wording:
    """How pages are read. `columns` are those of the COPY, in its order."""

    def __init__(self, layout: Layout, fields: tuple[str, ...], labels: Labels) -> None:
        self.fields = fields
        self.labels = labels
        self.known = _known(labels)
        self._columns = _by_field(layout, fields)
        self.exchanged = frozenset(f for f, columns in self._columns.items() if _is_exchanged(columns))
        plain = [f for f, columns in self._columns.items() if len(columns) == 1 and _is_plain(columns[0])]
        kept = [at for at, f in enumerate(fields) if self._columns[f]]
        self.columns = tuple(c.name for f in fields for c in self._columns[f])
        self._kept = None if len(kept) == len(fields) else _pick(kept)
        self._checks = _checks(self._columns, [fields[at] for at in kept], plain)
        self._texts = _pick(
            [at for at, f in enumerate(f for f in fields if self._columns[f]) if self._may_hold_separator(f)]
        )
        self._made = self._alike(
            f for f, c in self._columns.items() if c and f not in self.exchanged and f not in plain
        )
        self._unknown: dict[str, set[str]] = {}
        self._misfit = False
        self._decoder = self._make_decoder()

    def name(self, field: str) -> str:
        """The name of a field in a record."""
        return f"f{self.fields.index(field)}"

    def is_stale(self, labels: Labels) -> bool:
        """Whether other words are in memory now, or so many more that it pays to begin anew."""
        return labels.records is not self.labels.records or _known(labels) > self.known + self.known // 2 + BATCH

    def decode(self, body: bytes) -> tuple[Records, Mapping[str, set[str]]]:
        """The records of a list answer, and by a field ids that have no known label. Raises Odd."""
        self._unknown, self._misfit = {}, False
        try:
            answer = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Odd from error
        if self._misfit or answer.error is not msgspec.UNSET:
            raise Odd
        return answer.result, self._unknown

    def column(self, records: Records, field: str) -> Texts:
        """The stored values of one field of records that were not encoded yet."""
        cells = tuple(map(attrgetter(self.name(field)), records))
        return tuple(map(_stored, cells)) if field in self.exchanged else cells

    def exchange(self, records: Records) -> None:
        """Put in what was unknown. Raises KeyError where it still is, ValueError at a misfit."""
        for field in self.exchanged:
            name = self.name(field)
            found = [record for record in records if type(getattr(record, name)) is Unknown]
            cells = self.cells(field, [str(getattr(record, name)) for record in found])
            for record, cell in zip(found, cells, strict=True):
                setattr(record, name, cell)

    def cells(self, field: str, texts: Texts) -> list[str]:
        """The COPY fields of one source field, joined. Raises KeyError at an unknown record, ValueError at a misfit."""
        columns = [copied(column, texts, self.labels) for column in self._columns[field]]
        if len(columns) == 1:
            return list(columns[0])
        if any(SEPARATOR in "".join(column) for column in columns):
            raise ValueError(HOSTILE)
        return list(map(SEPARATOR.join, zip(*columns, strict=True)))

    def encode(self, records: Records) -> bytes:
        """COPY text of some records, whose values are made into others by the way. Raises KeyError, ValueError as `cells`."""
        return b"".join([self._encoded(records[at : at + BATCH]) for at in range(0, len(records), BATCH)])

    def _encoded(self, records: Records) -> bytes:
        for field, pick, names in self._made:
            cells = self.cells(field, list(chain.from_iterable(map(pick, records))))
            for at, name in enumerate(names):
                for record, cell in zip(records, cells[at :: len(names)], strict=True):
                    setattr(record, name, cell)
        rows: list[tuple[str, ...]] = list(map(msgspec.structs.astuple, records))
        if self._kept is not None:
            rows = list(map(self._kept, rows))
        for pick, check in self._checks:
            check(list(chain.from_iterable(map(pick, rows))))
        if SEPARATOR in "".join(chain.from_iterable(map(self._texts, rows))):
            raise ValueError(HOSTILE)
        return _lines(rows)

    def _may_hold_separator(self, field: str) -> bool:
        """Labels are looked at when they are put beside their value; in other types a separator is a misfit."""
        columns = self._columns[field]
        return len(columns) == 1 and columns[0].pg_type in ("text", "text[]")

    def _alike(self, fields: Iterable[str]) -> list[tuple[str, Pick, list[str]]]:
        """Fields whose values are made in the same way are made in one go: one of them, what picks their cells of a record,
        their names.
        """
        found: dict[object, list[str]] = {}
        for field in fields:
            found.setdefault(_nameless(self._columns[field]), []).append(field)
        names = [[self.name(field) for field in alike] for alike in found.values()]
        return [(alike[0], _attributes(of), of) for alike, of in zip(found.values(), names, strict=True)]

    def _make_decoder(self) -> msgspec.json.Decoder[Any]:
        types: dict[object, Any] = {}
        cells = []
        for field in self.fields:
            columns = self._columns[field]
            if field not in self.exchanged:
                cells.append((str, ABSENT))
                continue
            like = _nameless(columns)
            if like not in types:
                types[like] = self._exchanged(field)
            cells.append((types[like], Absent(SEPARATOR * (len(columns) - 1))))
        row = record_type(self.fields, tuple(cells))
        return msgspec.json.Decoder(
            msgspec.defstruct(
                "WordedAnswer",
                [("result", list[row]), ("error", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET)],  # type: ignore[valid-type]
                forbid_unknown_fields=True,  # what `pieces` may be made of
            )
        )

    def _exchanged(self, field: str) -> type[Enum]:
        columns = self._columns[field]
        values = _valued(columns, self.labels)
        known = dict(zip(values, self.cells(field, values), strict=True)) if values else {}
        known[""] = SEPARATOR * (len(columns) - 1)  # without which there may be none at all, and no type of nothing
        return exchanged(known, partial(self._other, field))

    def _other(self, field: str, text: str) -> str:
        """For a value that had no label when this wording was made."""
        try:
            return self.cells(field, [text])[0]
        except KeyError:
            self._unknown.setdefault(field, set()).add(text)
            return Unknown(text)
        except ValueError:
            self._misfit = True
            return text


def _known(labels: Labels) -> int:
    return sum(map(len, labels.records.values()))


def _by_field(layout: Layout, fields: tuple[str, ...]) -> dict[str, Columns]:
    found: dict[str, list[ReplicaColumn]] = {field: [] for field in fields}
    for column in layout.loaded:
        found[column.source].append(column)
    return {field: tuple(columns) for field, columns in found.items()}


def _nameless(columns: Columns) -> Columns:
    return tuple(msgspec.structs.replace(column, name="", source="", comment="") for column in columns)


def _is_plain(column: ReplicaColumn) -> bool:
    """Whether what came is what COPY takes, after a check at most."""
    passes = column.pg_type not in CONVERTERS or column.pg_type in CHECKS
    return column.role is Role.VALUE and column.state is not ColumnState.RETYPED and passes


def _is_exchanged(columns: Columns) -> bool:
    """Whether they are the label and the value of one reference or choice."""
    return (
        len(columns) == 2  # noqa: PLR2004
        and columns[0].role is Role.LABEL
        and columns[0].state is not ColumnState.RETYPED
        and columns[0].labels is not None
        and columns[0].labels.kind is not LabelKind.LIST
        and _is_plain(columns[1])
    )


def _valued(columns: Columns, labels: Labels) -> list[str]:
    """The values that have a label and fit their column, and can be told from it."""
    source = columns[0].labels
    assert source is not None
    choice = source.kind is LabelKind.CHOICE
    words = labels.choices.get((source.table, source.column), {}) if choice else labels.records.get(source.table, {})
    check = CHECKS.get(columns[1].pg_type)
    if SEPARATOR in "".join(chain(words, words.values())):
        words = {value: word for value, word in words.items() if SEPARATOR not in value + word}
    return [value for value in words if _passes(check, value)] if check else list(words)


def _passes(check: Converter, value: str) -> bool:
    try:
        check([value])
    except ValueError:
        return False
    return True


def _checks(
    columns: Mapping[str, Columns], fields: Sequence[str], plain: Sequence[str]
) -> list[tuple[Pick, Converter]]:
    """Each check with the cells of a row that it is for: all columns are checked at once."""
    places: dict[Converter, list[int]] = {}
    for at, field in enumerate(fields):
        check = CHECKS.get(columns[field][0].pg_type) if field in plain else None
        if check is not None:
            places.setdefault(check, []).append(at)
    return [(_pick(found), check) for check, found in places.items()]


def _pick(places: Sequence[int]) -> Pick:
    """`itemgetter` gives no tuple for a single place, and takes at least one."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda row: tuple(row[at] for at in places)


def _lines(rows: Iterable[tuple[str, ...]]) -> bytes:
    lines = list(map(SEPARATOR.join, rows))
    for at, line in enumerate(lines):
        if "\n" in line or "\\" in line or "\r" in line or "\x00" in line:
            lines[at] = line.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\x00", "")
    lines.append("")
    return "\n".join(lines).encode("utf-8", "replace")


def _attributes(names: Sequence[str]) -> Pick:
    """As `_pick`, of a record's attributes."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda record: tuple(getattr(record, name) for name in names)


def _stored(cell: str) -> str:
    """The stored value, which stands last."""
    if isinstance(cell, Absent):
        return ABSENT
    return cell.rpartition(SEPARATOR)[2]
