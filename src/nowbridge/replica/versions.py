"""The versions of a page's records. Pure."""

from __future__ import annotations

from datetime import datetime

from nowbridge.servicenow import query as queries
from nowbridge.servicenow.wire import Page

Seen = tuple[int | None, datetime | None]
"""sys_mod_count and sys_updated_on, each None where the table lacks it or it is none."""


def versions_of(page: Page) -> dict[str, Seen]:
    """By sys_id."""
    nothing = [""] * page.rows
    counts = page.column("sys_mod_count") if "sys_mod_count" in page.fields else nothing
    stamps = page.column("sys_updated_on") if "sys_updated_on" in page.fields else nothing
    return {
        sys_id: (int(count) if count.isdecimal() else None, _moment(stamp))
        for sys_id, count, stamp in zip(page.ids, counts, stamps, strict=True)
    }


def _moment(stamp: str) -> datetime | None:
    try:
        return queries.read_stamp(stamp) if stamp else None
    except ValueError:
        return None
