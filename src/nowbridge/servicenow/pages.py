"""Keyset sweeps: which page to ask for next, and when everything has been read. No I/O: the caller carries the pages.

ServiceNow cuts a page before it hides rows, so a short or empty page proves nothing; `X-Total-Count` does not see the
access rules, so it does (servicenow-api.md 1.4, 1.6). A sweep therefore ends only on an answer whose own count says
that nothing lies behind the window just read. Behind a window without a visible row it moves a window on by
`sysparm_offset`; everywhere else it moves by key, which insertions and deletions cannot shift.

Invariant: every row that the account may read and that is in the range from the first request to the last is handed
out at least once. One limit: more than an eighth of a page of *hidden* rows deleted between two requests, and as many
inserted in the same time, while the sweep stands inside a hidden stretch, cannot be noticed.

Ids are never compared here: their order is the instance's collation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from nowbridge.model.errors import Stop
from nowbridge.servicenow import query as queries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from nowbridge.servicenow.query import Query

Position = dict[str, str | int | bool | None]
"""Where a sweep stands, for storage as JSON."""

_EIGHTH: Final = 8
_SIXTEENTH: Final = 16


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One page to ask for. `with_count` asks for `X-Total-Count`; without it the instance is spared the count."""

    query: str
    limit: int
    offset: int = 0
    with_count: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last change read: its `sys_updated_on` and the `sys_id` among those of the same second ("" for before all)."""

    time: datetime
    sys_id: str = ""

    def to_json(self) -> Position:
        return {"time": queries.stamp(self.time), "sys_id": self.sys_id}

    @classmethod
    def from_json(cls, position: Mapping[str, object]) -> Cursor:
        return cls(queries.read_stamp(str(position["time"])), str(position["sys_id"]))


class _Move(Enum):
    ON = "the last row becomes the anchor"
    STAY = "ask again from the same anchor"
    MEASURE = "the page stands; its count is still to come"
    END = "nothing is left"


@dataclass(slots=True)
class _Scan:
    """Progress through one ordered result. `hidden` rows are those that a count covers and no page showed."""

    hidden: int = 0
    offset: int = 0
    overlap: int = 0
    counting: bool = True
    remaining: int = 0
    beyond: int | None = None
    last_count: int | None = None
    first_count: int | None = None
    unmeasured: int | None = None

    def request(self, text: str, page_size: int) -> PageRequest:
        if self.unmeasured is not None:
            return PageRequest(text, 1, 0, with_count=True)
        nearly_done = self.remaining <= page_size + page_size // _SIXTEENTH
        return PageRequest(text, page_size, self.offset, with_count=self.counting or nearly_done or self.offset > 0)

    def received(self, asked: PageRequest, rows: int, count: int | None) -> _Move:
        if self.unmeasured is not None:
            return self._measured(_required(count))
        if not asked.with_count:
            return self._uncounted(asked, rows)
        if count is None and rows >= asked.limit:
            self.counting = True
            return self._on()
        return self._counted(asked, rows, _required(count))

    def _uncounted(self, asked: PageRequest, rows: int) -> _Move:
        if rows >= asked.limit:
            self.remaining -= rows
            return self._on()
        self.counting = True
        if not rows:
            return _Move.STAY
        self.unmeasured = rows
        return _Move.MEASURE

    def _measured(self, count: int) -> _Move:
        """The count came in a later answer than the page, so it tells what is hidden and never that this is the end."""
        rows, self.unmeasured = self.unmeasured or 0, None
        self.beyond = count - rows
        return self._on()

    def _counted(self, asked: PageRequest, rows: int, count: int) -> _Move:
        if self.first_count is None:
            self.first_count = count
        self.settle(count)
        if self._may_have_shifted(asked, count):
            self.offset = 0
            return _Move.STAY
        if rows >= asked.limit:
            self.hidden += asked.offset
            self.remaining = count - asked.offset - rows
            self.counting = asked.offset > 0
            return self._on()
        self.counting = True
        slack = asked.limit // _SIXTEENTH  # the instance counts and reads in two steps: rows may arrive in between
        if count + slack <= asked.offset + asked.limit:
            self.hidden += max(0, count - rows)
            return _Move.END
        if rows:
            self.beyond = count - rows
            return self._on()
        self.overlap = asked.limit // _EIGHTH
        self.offset = asked.offset + asked.limit - self.overlap
        return _Move.STAY

    def settle(self, count: int) -> None:
        """What was counted behind the last page's anchor and is not in the `count` behind its last row was hidden."""
        if self.beyond is not None:
            self.hidden += max(0, self.beyond - count)
            self.beyond = None

    def _may_have_shifted(self, asked: PageRequest, count: int) -> bool:
        """Whether so many rows vanished since the last window that one may have moved from behind it to before this one.

        Windows overlap by an eighth, so up to that many deletions do no harm.
        """
        before, self.last_count = self.last_count, count
        return asked.offset > 0 and before is not None and before - count > self.overlap

    def _on(self) -> _Move:
        self.offset = 0
        self.last_count = None
        return _Move.ON


class IdSweep:
    """All rows of `base` with `low < sys_id <= high`, in the order of `sys_id`. `page_size` may change between pages."""

    def __init__(self, base: Query | str, low: str | None, high: str | None, page_size: int) -> None:
        self.page_size = page_size
        self.done = False
        self._base = queries.parse(base) if isinstance(base, str) else base
        self._anchor = low or ""
        self._high = high or ""
        self._next_anchor = ""
        self._scan = _Scan()
        self._asked: PageRequest | None = None

    @classmethod
    def resume(cls, base: Query | str, position: Mapping[str, object], page_size: int) -> IdSweep:
        """Go on from a stored `position`."""
        sweep = cls(base, _text(position, "anchor"), _text(position, "high"), page_size)
        sweep.done = bool(position["done"])
        sweep._scan.hidden = int(str(position["hidden"]))
        return sweep

    @property
    def position(self) -> Position:
        """To be stored in the transaction that stores the rows received so far."""
        return {"anchor": self._anchor, "high": self._high, "hidden": self.hidden, "done": self.done}

    @property
    def hidden(self) -> int:
        """Rows that are counted in the part read so far but were not shown."""
        return self._scan.hidden

    def next_request(self) -> PageRequest | None:
        """None once everything is read. Asking twice without an answer in between gives the same request."""
        if self.done:
            return None
        if self._asked is None:
            low = queries.after("sys_id", self._anchor) if self._anchor else ""
            high = queries.until("sys_id", self._high) if self._high else ""
            text = self._base.where(low, high).ordered("sys_id").text
            self._asked = self._scan.request(text, self.page_size)
        return self._asked

    def received(
        self,
        ids: Sequence[str],
        last_updated_on: str | None = None,
        rows: int | None = None,
        total_count: int | None = None,
    ) -> None:
        """Take the answer to `next_request`: ids of its rows in order, and the count if it came.

        Raises Stop `count.missing`, `order.broken`, `rights.sys_id`.
        """
        del last_updated_on  # a sweep by id does not look at times; the signature is shared with ChangeSweep
        asked, self._asked = _answered(self._asked), None
        rows = len(ids) if rows is None else rows
        _check_ids(ids, rows, self._anchor)
        move = self._scan.received(asked, rows, total_count)
        if move is _Move.MEASURE:
            self._next_anchor = ids[-1]
        elif move is _Move.ON:
            self._anchor, self._next_anchor = self._next_anchor or ids[-1], ""
        elif move is _Move.END:
            self._anchor = ids[-1] if rows else self._anchor
            self.done = True


class ChangeSweep:
    """Rows of `base` changed after `cursor` and up to `hi`, in the order of (`sys_updated_on`, `sys_id`).

    DRAIN reads the rest of the cursor's second by `sys_id`, ADVANCE the seconds after it; as a page can end inside a
    second, each page of ADVANCE is followed by DRAIN. A row updated meanwhile moves behind `hi` and belongs to the
    next sweep. The cursor stays at the last row read, not at `hi`: late commits before `hi` are found next time.
    """

    def __init__(self, base: Query | str, cursor: Cursor, hi: datetime, page_size: int) -> None:
        self.page_size = page_size
        self.done = False
        self._base = queries.parse(base) if isinstance(base, str) else base
        self._cursor = cursor
        self._hi = hi
        self._next_cursor: Cursor | None = None
        self._advance = _Scan()
        self._drain: _Scan | None = _Scan()
        self._drained_hidden = 0
        self._asked: PageRequest | None = None

    @classmethod
    def resume(cls, base: Query | str, position: Mapping[str, object], hi: datetime, page_size: int) -> ChangeSweep:
        return cls(base, Cursor.from_json(position), hi, page_size)

    @property
    def position(self) -> Position:
        """To be stored in the transaction that stores the rows received so far."""
        return self._cursor.to_json()

    @property
    def cursor(self) -> Cursor:
        return self._cursor

    @property
    def hidden(self) -> int:
        """Rows that are counted in the part read so far but were not shown."""
        return self._drained_hidden + (self._drain.hidden if self._drain else 0) + self._advance.hidden

    def next_request(self) -> PageRequest | None:
        """None once everything is read. Asking twice without an answer in between gives the same request."""
        if self.done:
            return None
        if self._asked is None:
            scan = self._drain or self._advance
            self._asked = scan.request(self._drain_text() if self._drain else self._advance_text(), self.page_size)
        return self._asked

    def received(
        self,
        ids: Sequence[str],
        last_updated_on: str | None = None,
        rows: int | None = None,
        total_count: int | None = None,
    ) -> None:
        """Take the answer to `next_request`: ids in order, the last row's `sys_updated_on`, and the count if it came.

        Raises Stop `count.missing`, `order.broken`, `rights.sys_id`, `rights.sys_updated_on`.
        """
        asked, self._asked = _answered(self._asked), None
        rows = len(ids) if rows is None else rows
        _check_ids(ids, rows, self._cursor.sys_id if self._drain else "")
        last = self._last(ids, last_updated_on)
        scan = self._drain or self._advance
        move = scan.received(asked, rows, total_count)
        if move is _Move.MEASURE:
            self._next_cursor = last
        elif move is _Move.ON:
            self._cursor, self._next_cursor = self._next_cursor or last or self._cursor, None
            self._drain = self._drain or _Scan()
        elif move is _Move.END:
            self._cursor = last or self._cursor
            self._end_of_phase()

    def _end_of_phase(self) -> None:
        if self._drain is None:
            self.done = True
            return
        drained = self._drain.first_count or 0
        self._drained_hidden += self._drain.hidden
        self._advance.remaining -= drained
        if self._advance.beyond is not None:
            self._advance.beyond -= drained
        self._drain = None
        if self._hi <= self._cursor.time:
            self._advance.settle(0)
            self.done = True

    def _drain_text(self) -> str:
        rest = queries.after("sys_id", self._cursor.sys_id) if self._cursor.sys_id else ""
        second = queries.equals("sys_updated_on", queries.stamp(self._cursor.time))
        return self._base.where(second, rest).ordered("sys_id").text

    def _advance_text(self) -> str:
        low = queries.after("sys_updated_on", queries.stamp(self._cursor.time))
        high = queries.until("sys_updated_on", queries.stamp(self._hi))
        return self._base.where(low, high).ordered("sys_updated_on", "sys_id").text

    def _last(self, ids: Sequence[str], last_updated_on: str | None) -> Cursor | None:
        if not ids:
            return None
        try:
            last = Cursor(queries.read_stamp(last_updated_on or ""), ids[-1])
        except ValueError as error:
            raise Stop(
                "rights.sys_updated_on",
                asked="read changed records",
                answered="the rows came without a usable sys_updated_on",
                hint="Let the account read sys_updated_on of this table.",
            ) from error
        if last.time < self._cursor.time or (last.time == self._cursor.time) != (self._drain is not None):
            raise _order_broken()
        return last


def _text(position: Mapping[str, object], key: str) -> str | None:
    value = position[key]
    return str(value) if value else None


def _answered(asked: PageRequest | None) -> PageRequest:
    if asked is None:
        raise ValueError("an answer was handed over that nobody asked for")
    return asked


def _required(count: int | None) -> int:
    if count is None:
        raise Stop(
            "count.missing",
            asked="make sure that a page is the last one",
            answered="the answer has no X-Total-Count header",
            hint="Something between Nowbridge and the instance removes it; without it rows could be lost unnoticed.",
        )
    return count


def _check_ids(ids: Sequence[str], rows: int, anchor: str) -> None:
    if rows != len(ids) or not all(ids):
        raise Stop(
            "rights.sys_id",
            asked="read a page of records",
            answered=f"{rows} rows came with {sum(map(bool, ids))} ids",
            hint="Let the account read sys_id of this table.",
        )
    if len(set(ids)) != rows or (anchor and anchor in ids):
        raise _order_broken()


def _order_broken() -> Stop:
    return Stop(
        "order.broken",
        asked="read a page of records in a fixed order",
        answered="a row came twice, or came after the sweep had passed it",
        hint="The instance did not keep the order or the range that was asked for; the read is not complete.",
    )
