"""The hot path in: a page's JSON bytes into columns of text.

A page is decoded by a msgspec type made for its columns (the fast way, plain strings only), into one record per row:
columns are made of few records at a time, which is twice as fast as whole columns because it stays in the processor's cache. Where a value is something
else (null, number, `{link, value}`), the whole page is decoded again tolerantly; both ways give the same `Page` for
the same content. Values stay text: `servicenow.values` turns text into what Postgres takes.

A column that a record lacks reads as ABSENT, which equals "" but is distinguishable: ServiceNow leaves out what the
account may not read (servicenow-api.md 1.3), and that must not pass for "was emptied".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

import msgspec

from nowbridge.model.errors import Retry, Stop


class Absent(str):
    """An empty text that stands for a column which the record did not have."""

    __slots__ = ()


ABSENT: Final = Absent()
_LARGE: Final = 200_000  # bytes; to learn the order costs a fifth of a decoding
_PIECE: Final = 100_000  # bytes, and as much again or more as it is read; a mebibyte of cache is usual
_NEXT: Final = b'},{"'


@dataclass(frozen=True, slots=True)
class Page:
    """Records in the order in which they came, each with one text per field. `displays` are the labels, by field, when
    they were asked for.
    """

    fields: tuple[str, ...]
    records: Sequence[msgspec.Struct] = field(repr=False)  # of the type that _row_type makes for these fields
    displays: tuple[tuple[str, ...], ...] | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        fields: tuple[str, ...],
        columns: Sequence[Sequence[str]],
        displays: tuple[tuple[str, ...], ...] | None = None,
    ) -> Page:
        """A page of these columns, in the order of `fields`."""
        row = _row_type(fields, str)
        return cls(fields, [row(*values) for values in zip(*columns, strict=True)], displays)

    @property
    def rows(self) -> int:
        return len(self.records)

    @property
    def ids(self) -> tuple[str, ...]:
        """The `sys_id` column, empty when that field was not asked for."""
        return self.column("sys_id") if "sys_id" in self.fields else ()

    @property
    def columns(self) -> tuple[tuple[str, ...], ...]:
        """One tuple of texts per field."""
        return _columns(self.fields, self.records)

    def column(self, field: str) -> tuple[str, ...]:
        return tuple(map(attrgetter(f"f{self.fields.index(field)}"), self.records))

    def display(self, field: str) -> tuple[str, ...]:
        if self.displays is None:
            raise ValueError("this page was read without display values")
        return self.displays[self.fields.index(field)]

    def batches(self, size: int) -> Iterator[tuple[tuple[str, ...], ...]]:
        """The columns of `size` records at a time."""
        for first in range(0, self.rows, size):
            yield _columns(self.fields, self.records[first : first + size])

    def by_absence(self) -> list[tuple[frozenset[str], Page]]:
        """The rows by the fields that they lack; mostly one page of rows that lack nothing. Looks at every cell."""
        lacking: dict[int, list[str]] = {}
        for name, column in zip(self.fields, self.columns, strict=True):
            if id(ABSENT) not in set(map(id, column)):
                continue
            for place in (place for place, value in enumerate(column) if value is ABSENT):
                lacking.setdefault(place, []).append(name)
        if not lacking:
            return [(frozenset(), self)]
        groups: dict[frozenset[str], list[msgspec.Struct]] = {}
        for place, record in enumerate(self.records):
            groups.setdefault(frozenset(lacking.get(place, ())), []).append(record)
        return [(fields, Page(self.fields, records)) for fields, records in groups.items()]

    @property
    def absent(self) -> tuple[str, ...]:
        """Fields that the first or the last row lacks: unreadable for the account, or not of this table."""
        if not self.rows:
            return ()
        ends = (msgspec.structs.astuple(self.records[0]), msgspec.structs.astuple(self.records[-1]))
        pairs = zip(self.fields, *ends, strict=True)
        return tuple(field for field, first, last in pairs if first is ABSENT or last is ABSENT)


class _Rows(msgspec.Struct):
    result: list[msgspec.Raw]


def answered_order(body: bytes, fields: tuple[str, ...]) -> tuple[str, ...]:
    """The fields in the order in which the page's first record has them, then those that it lacks. Raises DecodeError."""
    rows = msgspec.json.decode(body, type=_Rows).result
    names = msgspec.json.decode(rows[0], type=dict[str, msgspec.Raw]) if rows else {}
    return (*(name for name in names if name in fields), *(field for field in fields if field not in names))


def pieces(body: bytes) -> Iterator[bytes]:
    """A list answer as several of some records each, which are read to the end while the processor's cache holds them.

    Cut where one object follows another. A text that ends like that, or a list within a record, makes a piece that is
    not complete; objects outside of `result` make one with another member in it: the reader refuses both, and takes the
    body as a whole.
    """
    first, begin = 0, b""
    while (comma := body.find(_NEXT, first + _PIECE) + 1) > 0:
        yield b"".join((begin, memoryview(body)[first:comma], b"]}"))
        first, begin = comma + 1, b'{"result":['
    yield b"".join((begin, memoryview(body)[first:])) if first else body


class _Both(msgspec.Struct, frozen=True, gc=False):
    value: str
    display_value: str | None


_NEITHER: Final = _Both(value=ABSENT, display_value=ABSENT)


class PageDecoder:
    """Decodes pages that were asked for with these `fields`; made once per sweep. The pages' fields may have another order
    than those asked for: that of the answers, by which a large page is decoded in two thirds of the time.
    """

    def __init__(self, fields: tuple[str, ...], *, display: bool = False) -> None:
        self._fields = fields
        self._display = display
        self._ordered = False
        self._fast = _page_decoder(fields, _Both if display else str)

    def decode(self, body: bytes) -> Page:
        """The page in `body`. Raises Retry `answer.cut` when it is not a complete list answer."""
        try:
            if len(body) > _LARGE and not self._ordered:
                self._ordered = True
                self._fields = answered_order(body, self._fields)
                self._fast = _page_decoder(self._fields, _Both if self._display else str)
            records = self._fast.decode(body).result
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._tolerant(body)
        if not self._display:
            return Page(self._fields, records)
        cells = _columns(self._fields, records)
        displays = tuple(tuple([cell.display_value or "" for cell in column]) for column in cells)
        return Page.of(self._fields, [[cell.value for cell in column] for column in cells], displays)

    def _tolerant(self, body: bytes) -> Page:
        rows = _list_answer(body)
        columns, displays = [], []
        for name in self._fields:
            cells = [row.get(name, ABSENT) for row in rows]
            columns.append([value_of(cell) for cell in cells])
            displays.append(tuple([display_of(cell) for cell in cells]))
        return Page.of(self._fields, columns, tuple(displays) if self._display else None)


def value_of(cell: object) -> str:
    """The stored value in any of the shapes of servicenow-api.md 1.3, as text."""
    if isinstance(cell, str):
        return cell if cell is ABSENT else _whole(cell)
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    match cell:
        case {"value": value}:
            return value_of(value)
        case {"link": str(link)}:
            return link.rpartition("/")[2].rpartition("?name=")[2]
        case _:
            return json.dumps(cell, ensure_ascii=False)


def display_of(cell: object) -> str:
    """What people read; the stored value where the cell has nothing else."""
    match cell:
        case {"display_value": shown}:
            return value_of(shown)
        case _:
            return value_of(cell)


def _list_answer(body: bytes) -> list[dict[str, Any]]:
    try:
        answer = json.loads(body.decode("utf-8", "replace"), parse_int=str, parse_float=str, parse_constant=str)
    except ValueError as error:
        raise Retry(
            "answer.cut",
            asked="read a page of records",
            answered=f"{len(body)} bytes that are not complete JSON",
            hint="The answer was cut short on its way.",
        ) from error
    rows = answer.get("result") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Stop(
            "answer.unexpected",
            asked="read a page of records",
            answered="JSON without a list of records in `result`",
            hint="Check that the instance URL leads to a ServiceNow instance and not to a portal in front of it.",
        )
    return rows


def _whole(text: str) -> str:
    """Lone surrogates (half of an emoji, cut by a column's length) replaced: no UTF-8 could carry them further."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _columns(fields: tuple[str, ...], records: Sequence[msgspec.Struct]) -> tuple[tuple[Any, ...], ...]:
    return tuple(zip(*map(msgspec.structs.astuple, records), strict=True)) or tuple(() for _ in fields)


def exchanged(known: dict[str, str], otherwise: Callable[[str], str]) -> type[Enum]:
    """A type for a column whose texts are exchanged for others while they are read: for that in `known`, else for what
    `otherwise` gives. The text that was read is not even made.

    msgspec reads an Enum by a table of its values that it makes from this attribute of the class (tests/servicenow/test_wire.py
    holds it); to make real members of 50,000 texts would take a hundred times as long.
    """

    class Exchanged(Enum):
        @classmethod
        def _missing_(cls, value: object) -> str:
            return otherwise(_whole(str(value)))

    Exchanged._value2member_map_ = known  # type: ignore[assignment]
    return Exchanged


def record_type(fields: tuple[str, ...], cells: Sequence[tuple[Any, str | _Both]]) -> type[msgspec.Struct]:
    """A type for records of these fields, called f0, f1, ...; of each the type and what stands where it is lacking."""
    members = [
        (f"f{place}", cell, msgspec.field(default=lacking, name=name))
        for place, (name, (cell, lacking)) in enumerate(zip(fields, cells, strict=True))
    ]
    return msgspec.defstruct("Row", members, gc=False)


@lru_cache(maxsize=256)
def _row_type(fields: tuple[str, ...], cell: type[str | _Both]) -> type[msgspec.Struct]:
    return record_type(fields, [(cell, _NEITHER if cell is _Both else ABSENT)] * len(fields))


@lru_cache(maxsize=256)
def _page_decoder(fields: tuple[str, ...], cell: type[str | _Both]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(msgspec.defstruct("PageAnswer", [("result", list[_row_type(fields, cell)])]))  # type: ignore[misc]
