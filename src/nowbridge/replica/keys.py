"""List the keys and versions of a table, or of a part of it, and hold them against the replica.

Only (sys_id, sys_mod_count, sys_updated_on) are read, 10,000 a page. What differs is a suspect: it is for
`replica.verify` to look at it again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from nowbridge.replica.apply import TableLoader
from nowbridge.replica.layout import Role
from nowbridge.servicenow import query as queries
from nowbridge.servicenow import tables as source
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.pages import IdSweep
from nowbridge.servicenow.query import Query
from nowbridge.servicenow.wire import Page, PageDecoder
from nowbridge.store.database import Connection
from nowbridge.store.rows import keys
from nowbridge.store.rows.keys import Columns, Part

PAGE = 10_000
VERSION = ("sys_mod_count", "sys_updated_on")

Progress = Callable[[int], None]
"""Called with the number of rows compared so far."""


@dataclass(slots=True)
class Listing:
    """What listing a part found. `suspects` are missing here or held in another version, `unlisted` held here and not
    listed; `hidden` rows were counted and not shown.
    """

    part: Part
    rows: int = 0
    hidden: int = 0
    calls: int = 0
    suspects: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)


async def list_keys(
    connection: Connection,
    instance: Instance,
    loader: TableLoader,
    part: Part,
    *,
    page_rows: int = PAGE,
    progress: Progress | None = None,
) -> Listing:
    """`connection` is the caller's own, outside a transaction."""
    listing = Listing(part)
    fields = ("sys_id", *(name for name in VERSION if loader.layout.has(name)))
    decoder = PageDecoder(fields)
    await keys.begin(connection)
    for query in queries_of(queries.parse(loader.row.query), part):
        sweep = IdSweep(query, None, None, page_rows)
        while (request := sweep.next_request()) is not None:
            answer = await source.read_page(instance, loader.row.source, request, fields)
            listing.calls += 1
            page = decoder.decode(answer.body)
            sweep.received(page.ids, None, page.rows, answer.total_count)
            async with connection.transaction():
                listing.suspects += await keys.compare_page(connection, loader.target, keys_of(page))
            listing.rows += page.rows
            if progress is not None:
                progress(listing.rows)
        listing.hidden += sweep.hidden
    listing.unlisted = await keys.unlisted(connection, loader.target, part)
    if listing.unlisted and queries.is_relative(queries.parse(loader.row.query)):
        await _list_kept(connection, instance, loader, listing, page_rows)
    return listing


async def _list_kept(
    connection: Connection, instance: Instance, loader: TableLoader, listing: Listing, page_rows: int
) -> None:
    """Rows that a filter relative to now no longer finds are kept (decision X18), so they are listed without that term:
    by their ids, or all that the rest of the filter finds, whichever takes fewer calls. What is not held is no suspect.
    """
    base = queries.lasting(queries.parse(loader.row.query))
    fields = ("sys_id", *(name for name in VERSION if loader.layout.has(name)))
    decoder = PageDecoder(fields)
    kept = set(listing.unlisted)
    total = await source.count(instance, loader.row.source, base)
    listing.calls += 1
    if math.ceil(len(kept) / source.MOST_IDS) <= math.ceil(total / page_rows):
        listed = sorted(kept)
        groups = [listed[at : at + source.MOST_IDS] for at in range(0, len(listed), source.MOST_IDS)]
        sweeps = [IdSweep(base.where(queries.one_of("sys_id", ids)), None, None, page_rows) for ids in groups]
    else:
        sweeps = [IdSweep(base, None, None, page_rows)]
    for sweep in sweeps:
        while (request := sweep.next_request()) is not None:
            answer = await source.read_page(instance, loader.row.source, request, fields)
            listing.calls += 1
            page = decoder.decode(answer.body)
            sweep.received(page.ids, None, page.rows, answer.total_count)
            async with connection.transaction():
                found = await keys.compare_page(connection, loader.target, keys_of(page))
            listing.suspects += [sys_id for sys_id in found if sys_id in kept]
    listing.unlisted = await keys.unlisted(connection, loader.target, listing.part)


def queries_of(base: Query, part: Part) -> list[Query]:
    """A part as queries. Odd ids (`global`, `glide.maint`) stand before the digits or behind `f`; those in between are
    left to a look at each.
    """
    inside = f"sys_idSTARTSWITH{part.prefix}" if part.prefix else ""
    if not part.odd:
        return [base.where(inside)]
    return [base.where(inside, f"sys_id<{part.prefix}0"), base.where(inside, f"sys_id>={part.prefix}g")]


def version_columns(loader: TableLoader) -> Columns:
    """The replica's columns of a record's version, creation and class."""
    held = {column.source: column.name for column in loader.layout.loaded if column.role is Role.VALUE}
    return Columns(
        *(held.get(name) for name in ("sys_mod_count", "sys_updated_on", "sys_created_on", "sys_class_name"))
    )


def keys_of(page: Page) -> list[keys.Key]:
    """The keys and versions of a page, for `store.rows.keys`."""
    changes = page.column("sys_mod_count") if "sys_mod_count" in page.fields else [""] * page.rows
    updated = page.column("sys_updated_on") if "sys_updated_on" in page.fields else [""] * page.rows
    return [
        (sys_id, int(count) if count.isdecimal() else None, moment or None)
        for sys_id, count, moment in zip(page.ids, changes, updated, strict=True)
    ]
