"""How many rows to ask for in one page, by what the last one cost. Pure.

An instance cancels a transaction after 60 seconds, and answers 200 with an error inside or with half a page (servicenow-api.md
1.9): a wide table on a slow instance is then read in smaller pages, not given up. A page that was too heavy is followed by
one as much smaller; light ones grow back to the setting; after a failure a sweep begins with smaller ones.
"""

from __future__ import annotations

from dataclasses import dataclass

LEAST = 50
HEAVY_BYTES = 32 * 2**20
HEAVY_SECONDS = 20.0
LIGHT = 0.4  # of what is heavy
SMALLEST_STEP = 0.25  # one odd page must not shrink the next ones to nothing
HALVED_AT_MOST = 6  # times, after failures


@dataclass(frozen=True, slots=True)
class PageSize:
    """`most` is the setting; `rows` what to ask for now."""

    most: int
    rows: int

    @classmethod
    def first(cls, most: int, failures: int) -> PageSize:
        """Where a sweep begins after so many failures in a row."""
        return cls(most, max(min(LEAST, most), most >> min(failures, HALVED_AT_MOST)))

    def after(self, rows: int, size: int, seconds: float) -> PageSize:
        """What to ask for after a page of `rows` rows, `size` bytes, that took `seconds`."""
        weight = max(size / HEAVY_BYTES, seconds / HEAVY_SECONDS)
        if weight > 1:
            smaller = int(self.rows * max(SMALLEST_STEP, 1 / weight))
            return PageSize(self.most, max(min(LEAST, self.most), smaller))
        if weight < LIGHT and rows >= self.rows:
            return PageSize(self.most, min(self.most, self.rows * 2))
        return self
