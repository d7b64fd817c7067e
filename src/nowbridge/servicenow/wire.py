"""The hot path in: a page's JSON bytes into columns of text.

A page is decoded by a msgspec type made for its columns (the fast way, plain strings only). Where a value is something
else (null, number, `{link, value}`), the whole page is decoded again tolerantly; both ways give the same `Page` for
the same content. Values stay text: `servicenow.values` turns text into what Postgres takes.

A column that a record lacks reads as ABSENT, which equals "" but is distinguishable: ServiceNow leaves out what the
account may not read (servicenow-api.md 1.3), and that must not pass for "was emptied".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

from nowbridge.model.errors import Retry, Stop


class Absent(str):
    """An empty text that stands for a column which the record did not have."""

    __slots__ = ()


ABSENT: Final = Absent()


@dataclass(frozen=True, slots=True)
class Page:
    """`columns` holds one tuple of texts per field, in the order of `fields`; `displays` likewise when labels were asked
    for. `ids` is the `sys_id` column, empty when that field was not asked for.
    """

    fields: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    rows: int
    displays: tuple[tuple[str, ...], ...] | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        return self.column("sys_id") if "sys_id" in self.fields else ()

    def column(self, field: str) -> tuple[str, ...]:
        return self.columns[self.fields.index(field)]

    def display(self, field: str) -> tuple[str, ...]:
        if self.displays is None:
            raise ValueError("this page was read without display values")
        return self.displays[self.fields.index(field)]

    @property
    def absent(self) -> tuple[str, ...]:
        """Fields that the first or the last row lacks: unreadable for the account, or not of this table."""
        if not self.rows:
            return ()
        pairs = zip(self.fields, self.columns, strict=True)
        return tuple(field for field, column in pairs if column[0] is ABSENT or column[-1] is ABSENT)


class _Both(msgspec.Struct, frozen=True, gc=False):
    value: str
    display_value: str | None


_NEITHER: Final = _Both(value=ABSENT, display_value=ABSENT)


class PageDecoder:
    """Decodes pages that were asked for with these `fields`; made once per table, used from any thread."""

    def __init__(self, fields: tuple[str, ...], *, display: bool = False) -> None:
        self._fields = fields
        self._display = display
        self._fast = _page_type(fields, display)

    def decode(self, body: bytes) -> Page:
        """The page in `body`. Raises Retry `answer.cut` when it is not a complete list answer."""
        try:
            rows = self._fast.decode(body).result
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._tolerant(body)
        cells = tuple(zip(*map(msgspec.structs.astuple, rows), strict=True)) or tuple(() for _ in self._fields)
        if not self._display:
            return Page(self._fields, cells, len(rows))
        values = tuple(tuple([cell.value for cell in column]) for column in cells)
        displays = tuple(tuple([cell.display_value or "" for cell in column]) for column in cells)
        return Page(self._fields, values, len(rows), displays)

    def _tolerant(self, body: bytes) -> Page:
        rows = _list_answer(body)
        columns, displays = [], []
        for field in self._fields:
            cells = [row.get(field, ABSENT) for row in rows]
            columns.append(tuple([value_of(cell) for cell in cells]))
            displays.append(tuple([display_of(cell) for cell in cells]))
        return Page(self._fields, tuple(columns), len(rows), tuple(displays) if self._display else None)


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


@lru_cache(maxsize=256)
def _page_type(fields: tuple[str, ...], display: bool) -> msgspec.json.Decoder[Any]:  # noqa: FBT001  (a cache key)
    cell, absent = (_Both, _NEITHER) if display else (str, ABSENT)
    members = [(f"f{place}", cell, msgspec.field(default=absent, name=field)) for place, field in enumerate(fields)]
    row = msgspec.defstruct("Row", members, gc=False)
    page = msgspec.defstruct("PageAnswer", [("result", list[row])])  # type: ignore[valid-type]
    return msgspec.json.Decoder(page)
