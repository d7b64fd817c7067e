"""What the replica is told: which tables, how large the pages, how long to wait. Plain values; nothing is read here."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from nowbridge.model.errors import NowbridgeError, Retry, Stop
from nowbridge.replica.layout import EVERY_COLUMN, Layout, Selection
from nowbridge.store.rows.load import Target
from nowbridge.store.rows.tables import TableRow

Clock = Callable[[], datetime]
"""The time, timezone-aware. The only source of "now" in the engine."""

SHARDS_AT_MOST = 16


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table to replicate. `query` is an encoded query passed on unchanged; `name` is the table's name here
    (`as:`), the source's own when None. `contract` is evolve, freeze or discard (`replica.evolve`).
    """

    source: str
    query: str = ""
    name: str | None = None
    columns: Selection = EVERY_COLUMN
    contract: str = "evolve"


@dataclass(frozen=True, slots=True)
class Pace:
    """How the replica works: rows a page, the wait between polls, and the safety lag: changes younger than this by
    the instance's clock are left to the next poll, because a transaction may still commit with an older time.
    `audit`, `check` and `compare` are the times between two readings of the journal of deletions, two checks by counts
    and two comparisons of all keys; `schema` that between two looks at a table's dictionary; `labels` the shortest and
    `labels_at_most` the longest between two looks for renames in a table that is not replicated. `poll_hooked` is the wait between polls of a table whose hints can be relied on;
    `recent` the time between two comparisons of what changed within `recent_window`. Tables of up to `indexed_first` rows
    are indexed before their rows come in: Postgres waits for us then anyway.
    """

    page_rows: int = 2_000
    indexed_first: int = 100_000
    poll: timedelta = timedelta(seconds=2)
    safety_lag: timedelta = timedelta(seconds=2)
    failure_wait_at_most: timedelta = timedelta(minutes=5)
    audit: timedelta = timedelta(minutes=1)
    check: timedelta = timedelta(hours=1)
    compare: timedelta = timedelta(days=1)
    schema: timedelta = timedelta(minutes=10)
    labels: timedelta = timedelta(minutes=5)
    labels_at_most: timedelta = timedelta(hours=1)
    poll_hooked: timedelta = timedelta(minutes=5)
    recent: timedelta = timedelta(minutes=10)
    recent_window: timedelta = timedelta(hours=1)

    def wait_after(self, error: NowbridgeError, failures: int) -> timedelta:
        """How long to leave work alone that has now failed `failures` + 1 times in a row. What somebody must mend first
        (Stop) is tried again too, rarely, so that mending it is all that it takes.
        """
        if isinstance(error, Retry) and error.after is not None:
            return max(timedelta(seconds=error.after), self.poll)
        if isinstance(error, Stop):
            return self.failure_wait_at_most
        doubled: timedelta = self.poll * 2 ** min(failures, 12)
        return min(doubled, self.failure_wait_at_most)


def layout_of(row: TableRow) -> Layout:
    """The layout that was stored with a replica table."""
    return msgspec.convert(row.layout, Layout)


def target_of(row: TableRow, layout: Layout, *, narrowed: bool = False) -> Target:
    """Where and into which columns this table's rows are loaded. `narrowed`: the layout is less than the table's."""
    columns = tuple(column.name for column in layout.loaded)
    part = "_" + hashlib.sha256(",".join(columns).encode()).hexdigest()[:8] if narrowed else ""
    return Target(
        relation=row.relation,
        columns=columns,
        stage=f"stage_{row.id}_{row.layout_epoch}{part}",
    )


def shard_ranges(total: int, page_rows: int) -> list[tuple[str | None, str | None]]:
    """Cut the sys_ids into at most sixteen ranges: `low < sys_id <= high`.

    As sys_ids are random, a range meant to fill a page would take a second call for its overflow every other time, so
    ranges are cut to seven eighths of a page (what a sweep knows to be the last page is a sixteenth less than full).

    The ends are open, so ids that are no 32 hex digits (`global`, `glide.maint`) fall into the last range.
    """
    count = max(1, min(SHARDS_AT_MOST, math.ceil(total / (page_rows * 7 / 8))))
    marks = [f"{(at * 16**4) // count:04x}" for at in range(1, count)]
    return list(zip([None, *marks], [*marks, None], strict=True))
