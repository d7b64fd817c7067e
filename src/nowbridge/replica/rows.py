"""From the columns of a page to the columns of a COPY. Pure, and the hottest code of the product: everything here
works a column at a time, in calls that loop in C, and on so few rows at a time that they stay in the processor's cache.

COPY text with an empty string for NULL needs no work at all for an empty value (and in ServiceNow empty and NULL are
one). A unit separator divides the fields; only a row that holds a backslash, a line end or the separator itself is
escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache, partial

from nowbridge.replica import misfits
from nowbridge.replica.layout import ColumnState, LabelKind, LabelSource, Layout, ReplicaColumn, Role
from nowbridge.servicenow import values
from nowbridge.servicenow.values import Family
from nowbridge.servicenow.wire import Page

RETYPED = ColumnState.RETYPED
SEPARATOR = "\x1f"
BATCH = 100  # rows; whole pages take nearly twice as long
EPOCH = "1970-01-01"
MOMENT = b"0000-00-00 00:00:00"
DIGITS = bytes.maketrans(b"123456789", b"000000000")
LAST_HOUR = tuple(b"24")  # none is as late
SIXTY = ord("6")
ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", SEPARATOR: "\\x1f", "\x00": None})

Texts = Sequence[str]
Converter = Callable[[Texts], Texts]


@dataclass(frozen=True, slots=True)
class Labels:
    """What people read: `choices[(table, column)][value]` and `records[table][sys_id]`. A choice that is not listed stands
    for itself; a record that is not here has not been looked for yet ("" is here, for the empty reference).
    `generation` tells how old the words are.
    """

    choices: Mapping[tuple[str, str], Mapping[str, str]]
    records: Mapping[str, Mapping[str, str]]
    generation: int = 0


def pointers(layout: Layout) -> tuple[str, ...]:
    """The source columns that point at records."""
    labelled = [c for c in layout.loaded if c.labels is not None and _points(c)]
    return tuple(dict.fromkeys(column.source for column in labelled))


def referenced(layout: Layout, page: Mapping[str, Texts]) -> dict[str, set[str]]:
    """The records that a page points at, by the table that is referenced."""
    wanted: dict[str, set[str]] = {}
    for column in layout.loaded:
        source = column.labels
        if source is None or not _points(column) or column.source not in page:
            continue
        keys = wanted.setdefault(source.table, set())
        distinct = set(page[column.source])
        if source.kind is LabelKind.LIST:
            distinct = {key for text in distinct for key in values.list_items(text)}
        keys |= distinct
    for keys in wanted.values():
        keys.discard("")
    return wanted


def _points(column: ReplicaColumn) -> bool:
    """Whether its values are ids of records. Those of a column that was a reference once may be anything now."""
    return column.labels is not None and column.labels.kind is not LabelKind.CHOICE and column.state is not RETYPED


def encode_page(layout: Layout, page: Page, labels: Labels) -> Iterator[bytes]:
    """A page as COPY text, a batch at a time. Raises KeyError when it points at a record that `labels` lack, ValueError at a misfit."""
    batches = (dict(zip(page.fields, columns, strict=True)) for columns in page.batches(BATCH))
    columns = layout.loaded
    return (encode(_copied(columns, batch, len(batch["sys_id"]), labels)) for batch in batches)


def copy_columns(layout: Layout, page: Mapping[str, Texts], rows: int, labels: Labels) -> list[Texts]:
    """One sequence of COPY fields, unescaped, for each of `layout.loaded`. A source column that the page lacks (the
    account may not read it) is NULL throughout. Raises as `encode_page`.
    """
    return _copied(layout.loaded, page, rows, labels)


def _copied(columns: Sequence[ReplicaColumn], page: Mapping[str, Texts], rows: int, labels: Labels) -> list[Texts]:
    empty = [""] * rows
    return [copied(column, page[column.source], labels) if column.source in page else empty for column in columns]


def encode(columns: Sequence[Texts]) -> bytes:
    """COPY text rows. NUL is left out, because Postgres cannot store it in text."""
    lines = list(map(SEPARATOR.join, zip(*columns, strict=True)))
    separators = len(columns) - 1
    for at, line in enumerate(lines):
        if line.count(SEPARATOR) != separators:
            lines[at] = SEPARATOR.join([column[at].translate(ESCAPES) for column in columns])
        elif "\n" in line or "\\" in line or "\r" in line or "\x00" in line:
            lines[at] = line.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\x00", "")
    lines.append("")
    return "\n".join(lines).encode("utf-8", "replace")


def copied(column: ReplicaColumn, texts: Texts, labels: Labels) -> Texts:
    """The COPY fields of one column, unescaped. Raises as `encode_page`."""
    if column.role is Role.LABEL:
        return _labelled(column, texts, labels)
    if column.state is RETYPED:
        texts = _fitting(column, texts)
    convert = CONVERTERS.get(column.pg_type)
    return convert(texts) if convert else texts


def _labelled(column: ReplicaColumn, texts: Texts, labels: Labels) -> Texts:
    source = column.labels
    if source is None:  # layout makes none such
        raise AssertionError(f"{column.name} is a label without a source")
    if source.kind is LabelKind.CHOICE:
        choices = labels.choices.get((source.table, source.column), {})
        return list(map(choices.get, texts, texts))
    if column.state is RETYPED:
        return _once_labelled(source, texts, labels.records.get(source.table, {}))
    word = labels.records[source.table].__getitem__
    if source.kind is LabelKind.LIST:
        return [values.array(map(word, keys)) if keys else "" for keys in map(values.list_items, texts)]
    return list(map(word, texts))


def _fitting(column: ReplicaColumn, texts: Texts) -> Texts:
    """Of a column that is of another type in the source now: the values that its own type can hold, the others empty.
    They are whole in the column beside it.
    """
    bad = set(misfits.places(column, texts))
    return ["" if at in bad else text for at, text in enumerate(texts)] if bad else texts


def _once_labelled(source: LabelSource, texts: Texts, known: Mapping[str, str]) -> Texts:
    """Words for what may be no reference any more: those that are known, nothing is looked up."""
    if source.kind is LabelKind.LIST:
        return [values.array(known.get(key, key) for key in values.list_items(text)) if text else "" for text in texts]
    return list(map(known.get, texts, texts))


def looks_like(length: int | None, alphabet: bytes) -> Converter:
    """A check that costs next to nothing, because Postgres alone is too kind: it reads `yesterday` as a time and `NaN`
    as a number. Raises ValueError; `misfits` then finds out which value it was.
    """

    def checked(texts: Texts) -> Texts:
        if length is not None and not set(map(len, texts)) <= {0, length}:
            raise ValueError("a value is not of the usual length")
        if "".join(texts).encode("utf-8", "replace").translate(None, alphabet):
            raise ValueError("a value has characters of another type")
        return texts

    return checked


def intervals(texts: Texts) -> Texts:
    """Durations, which on the wire are moments after 1970 (`values.duration_seconds`), as `days clock`. Nearly every one
    is another one, so they are cut, not computed. Raises ValueError, which does not hold the value.
    """
    filled = [text for text in texts if text]
    if not _are_moments(filled):
        raise ValueError("not every value is a duration")
    try:
        days = {day: _days(day) for day in {text[:10] for text in filled}}
    except ValueError:
        raise ValueError("not every value is a duration") from None
    if min(days, default=EPOCH) < EPOCH:
        return values.column(Family.DURATION, texts)
    return [days[text[:10]] + text[10:] if text else "" for text in texts]


@lru_cache(maxsize=4096)
def _days(text: str) -> str:
    """How many after 1970-01-01; most durations are of few. Raises ValueError."""
    return str((date.fromisoformat(text) - date.fromisoformat(EPOCH)).days)


def _are_moments(texts: Texts) -> bool:
    """Whether each is `yyyy-MM-dd HH:mm:ss`, by what stands in each place of all of them; the days are not looked at."""
    if not set(map(len, texts)) <= {len(MOMENT)}:
        return False
    all_of_them = "".join(texts).encode("utf-8", "replace")
    if all_of_them.translate(DIGITS) != MOMENT * len(texts):
        return False
    hours = set(zip(all_of_them[11 :: len(MOMENT)], all_of_them[12 :: len(MOMENT)], strict=True))
    sixties = (all_of_them[14 :: len(MOMENT)], all_of_them[17 :: len(MOMENT)])
    return all(pair < LAST_HOUR for pair in hours) and all(max(tens, default=0) < SIXTY for tens in sixties)


# What Postgres would misread is checked, what it does not read by itself is converted; the rest is left to it, and
# `misfits` comes after a refusal.
_whole_number = looks_like(None, b"0123456789+-")
CHECKS: Mapping[str, Converter] = {
    "timestamptz": looks_like(len("yyyy-MM-dd HH:mm:ss"), b"0123456789-: "),
    "date": looks_like(len("yyyy-MM-dd"), b"0123456789-"),
    "numeric": looks_like(None, b"0123456789+-.eE"),
    "integer": _whole_number,
    "bigint": _whole_number,
}
CONVERTERS: Mapping[str, Converter] = {
    **CHECKS,
    "interval": intervals,
    "text[]": partial(values.column, Family.LIST),
    "time": partial(values.column, Family.TIME),
}
