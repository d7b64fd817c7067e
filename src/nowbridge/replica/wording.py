"""Pages of a first load, from JSON to COPY text with as little Python as there can be: hot, and pure.

A reference or choice is exchanged for its label and its value, as COPY wants them side by side, while msgspec reads the
JSON; so a record has its COPY fields in order as soon as it is read, and a line is one join of it. What each page is
checked for is what `replica.rows` checks: the same converters are applied, to the distinct values that have a label
when a `Wording` is made, to the others while they are read.

It knows one layout, one order of the answers' fields, and the words of one generation. Whatever is odd (a value of another
shape, a misfit, words that are outdated) is not mended here: `WordedPage.plain` gives the page as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any

import msgspec

from nowbridge.replica.layout import ColumnState, LabelKind, Layout, ReplicaColumn, Role
from nowbridge.replica.rows import BATCH, CHECKS, CONVERTERS, ESCAPES, SEPARATOR, Converter, Labels, Texts, copied
from nowbridge.servicenow.wire import ABSENT, Absent, Page, exchanged, record_type

Columns = tuple[ReplicaColumn, ...]


class Hostile(str):
    """COPY fields of which one holds the separator; `parts` are the fields."""

    __slots__ = ("parts",)
    parts: tuple[str, ...]


class Unknown(str):
    """The id of a record whose label is not known yet."""

    __slots__ = ()


class WordedPage:
    """Records as they were read by `wording`. `unknown`, by a field: ids whose labels have to be looked up before the
    page can be encoded.
    """

    def __init__(self, wording: Wording, records: Sequence[msgspec.Struct], unknown: Mapping[str, set[str]]) -> None:
        self.wording = wording
        self.records = records
        self.unknown = unknown
        self._raw: dict[str, list[str]] = {field: [] for field in wording.made}

    @property
    def fields(self) -> tuple[str, ...]:
        return self.wording.fields

    @property
    def rows(self) -> int:
        return len(self.records)

    @property
    def ids(self) -> tuple[str, ...]:
        return self.column("sys_id")

    def column(self, field: str) -> tuple[str, ...]:
        """The stored values of one field, as they came."""
        cells = self._cells(field)
        if field in self.wording.exchanged:
            return tuple(map(_stored, cells))
        raw = self._raw.get(field, ())
        return (*raw, *cells[len(raw) :])

    def plain(self) -> Page:
        """The page as it came."""
        return Page.of(self.fields, [self.column(field) for field in self.fields])

    def settle(self) -> None:
        """Exchange what was unknown, now that its labels were looked up. Raises KeyError when they were not."""
        for field in self.wording.exchanged if self.unknown else ():
            places = [at for at, cell in enumerate(self._cells(field)) if type(cell) is Unknown]
            made = self.wording.cells(
                field, [str(getattr(self.records[at], self.wording.name(field))) for at in places]
            )
            for at, cell in zip(places, made, strict=True):
                setattr(self.records[at], self.wording.name(field), cell)
        self.unknown = {}

    def encoded(self) -> Iterator[bytes]:
        """COPY text, a batch of rows at a time; may be asked for once. Raises ValueError at a misfit."""
        for first in range(0, self.rows, BATCH):
            yield self.wording.encode(self.records[first : first + BATCH], self._raw)

    def _cells(self, field: str) -> tuple[str, ...]:
        return tuple(map(attrgetter(self.wording.name(field)), self.records))


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
        self.made = frozenset(f for f, c in self._columns.items() if c and f not in self.exchanged and f not in plain)
        self.columns = tuple(c.name for f in fields for c in self._columns[f])
        self._kept = None if len(kept) == len(fields) else _pick(kept)
        self._kept_fields = [fields[at] for at in kept]
        self._checks = _checks(self._columns, self._kept_fields, plain)
        self._texts = _pick([at for at, f in enumerate(self._kept_fields) if self._may_hold_separator(f)])
        self._separators = len(self.columns) - 1
        self._hostile = False
        self._unknown: dict[str, set[str]] = {}
        self._misfit = False
        self._decoder = self._make_decoder()

    def name(self, field: str) -> str:
        """The name of a field in a record."""
        return f"f{self.fields.index(field)}"

    def is_stale(self, labels: Labels) -> bool:
        """Whether other words are in memory now, or so many more that it pays to begin anew."""
        return labels.records is not self.labels.records or _known(labels) > self.known + self.known // 2 + BATCH

    def decode(self, body: bytes) -> WordedPage | None:
        """None for a page that has to be read the tolerant way, and for a body that is not complete, has no list of
        records or an error beside it.
        """
        self._unknown, self._misfit = {}, False
        try:
            answer = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if self._misfit or answer.error is not msgspec.UNSET:
            return None
        return WordedPage(self, answer.result, self._unknown)

    def cells(self, field: str, texts: Texts) -> list[str]:
        """The COPY fields of one source field, joined. Raises KeyError at an unknown record, ValueError at a misfit."""
        columns = [copied(column, texts, self.labels) for column in self._columns[field]]
        if len(columns) == 1:
            return list(columns[0])
        cells = list(map(SEPARATOR.join, zip(*columns, strict=True)))
        if any(SEPARATOR in "".join(column) for column in columns):
            self._hostile = True
            for at, parts in enumerate(zip(*columns, strict=True)):
                cells[at] = hostile = Hostile(cells[at])
                hostile.parts = parts
        return cells

    def encode(self, records: Sequence[msgspec.Struct], raw: Mapping[str, list[str]]) -> bytes:
        """COPY text of some records. What is made of their values takes its place in them; the values go to `raw`."""
        for field in self.made:
            name = self.name(field)
            texts = list(map(attrgetter(name), records))
            cells = self.cells(field, texts)
            raw[field].extend(texts)
            for record, cell in zip(records, cells, strict=True):
                setattr(record, name, cell)
        rows: list[tuple[str, ...]] = list(map(msgspec.structs.astuple, records))
        if self._kept is not None:
            rows = list(map(self._kept, rows))
        for pick, check in self._checks:
            check(list(chain.from_iterable(map(pick, rows))))
        return self._lines(rows)

    def _lines(self, rows: Sequence[tuple[str, ...]]) -> bytes:
        lines = list(map(SEPARATOR.join, rows))
        hostile = self._hostile or SEPARATOR in "".join(chain.from_iterable(map(self._texts, rows)))
        for at, line in enumerate(lines):
            if hostile and line.count(SEPARATOR) != self._separators:
                lines[at] = SEPARATOR.join([part.translate(ESCAPES) for part in self._parts(rows[at])])
            elif "\n" in line or "\\" in line or "\r" in line or "\x00" in line:
                lines[at] = line.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\x00", "")
        lines.append("")
        return "\n".join(lines).encode("utf-8", "replace")

    def _parts(self, row: tuple[str, ...]) -> Iterator[str]:
        for field, cell in zip(self._kept_fields, row, strict=True):
            if len(self._columns[field]) == 1:
                yield cell
            else:
                yield from cell.parts if isinstance(cell, Hostile) else cell.split(SEPARATOR)

    def _may_hold_separator(self, field: str) -> bool:
        """Of cells that hold several fields `cells` finds out; others with a separator are misfits of their type."""
        columns = self._columns[field]
        return len(columns) == 1 and columns[0].pg_type in ("text", "text[]")

    def _make_decoder(self) -> msgspec.json.Decoder[Any]:
        types: dict[object, Any] = {}
        cells = []
        for field in self.fields:
            columns = self._columns[field]
            if field not in self.exchanged:
                cells.append((str, ABSENT))
                continue
            like = tuple(msgspec.structs.replace(column, name="", source="", comment="") for column in columns)
            if like not in types:
                types[like] = self._exchanged(field)
            cells.append((types[like], Absent(SEPARATOR * (len(columns) - 1))))
        row = record_type(self.fields, tuple(cells))
        return msgspec.json.Decoder(
            msgspec.defstruct(
                "WordedAnswer",
                [("result", list[row]), ("error", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET)],  # type: ignore[valid-type]
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
    """The values that have a label and fit their column."""
    source = columns[0].labels
    assert source is not None
    choice = source.kind is LabelKind.CHOICE
    words = labels.choices.get((source.table, source.column), {}) if choice else labels.records.get(source.table, {})
    check = CHECKS.get(columns[1].pg_type)
    return [value for value in words if _passes(check, value)] if check else list(words)


def _passes(check: Converter, value: str) -> bool:
    try:
        check([value])
    except ValueError:
        return False
    return True


def _checks(
    columns: Mapping[str, Columns], fields: Sequence[str], plain: Sequence[str]
) -> list[tuple[Callable[[tuple[str, ...]], tuple[str, ...]], Converter]]:
    """Each check with the cells of a row that it is for: all columns are checked at once."""
    places: dict[Converter, list[int]] = {}
    for at, field in enumerate(fields):
        check = CHECKS.get(columns[field][0].pg_type) if field in plain else None
        if check is not None:
            places.setdefault(check, []).append(at)
    return [(_pick(found), check) for check, found in places.items()]


def _pick(places: Sequence[int]) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """`itemgetter` gives no tuple for a single place, and takes at least one."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda row: tuple(row[at] for at in places)


def _stored(cell: str) -> str:
    """The stored value, which stands last."""
    if isinstance(cell, Absent):
        return ABSENT
    if isinstance(cell, Hostile):
        return cell.parts[-1]
    return cell.rpartition(SEPARATOR)[2]
