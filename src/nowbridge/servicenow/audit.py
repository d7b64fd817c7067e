"""The journal of deletions, `sys_audit_delete` (servicenow-api.md 9.1).

Deletions are filed under the record's real class, so a table is asked for with all classes below it. The journal is
pruned, leaves tables out by default, and most accounts may not read it: an entry is a hint to look, no entry is no
statement, and whether it can be read is part of the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from nowbridge.model.errors import Park, Stop
from nowbridge.servicenow import query as queries
from nowbridge.servicenow.pages import IdSweep, PageRequest
from nowbridge.servicenow.query import Query
from nowbridge.servicenow.tables import read_page
from nowbridge.servicenow.wire import PageDecoder

if TYPE_CHECKING:
    from nowbridge.servicenow.instance import Instance

JOURNAL: Final = "sys_audit_delete"
_PAGE: Final = 1_000
_NAMES_A_CALL: Final = 100
_CHARACTERS_A_CALL: Final = 3_500  # of names; with their escapes and the rest a URL stays under 7,500
_DEEPEST: Final = 30


@dataclass(frozen=True, slots=True)
class Journal:
    """What the journal showed: deleted `sys_ids`, and whether it is readable, partly or unreadable for the account."""

    sys_ids: tuple[str, ...]
    readable: str
    calls: int


@dataclass(frozen=True, slots=True)
class Horizon:
    """The journal's oldest entry, by the instance's clock; None when it shows none. `readable` as in Journal."""

    oldest: datetime | None
    readable: str


async def class_tree(instance: Instance, table: str) -> tuple[str, ...]:
    """The table and every class below it, as far as the account may read `sys_db_object`."""
    found = {table: None}
    level = [table]
    for _ in range(_DEEPEST):
        below: list[str] = []
        for names in batches(level):
            read = await _read(instance, "sys_db_object", Query((queries.one_of("super_class.name", names),)), "name")
            if read is None:
                return tuple(found)
            below += [name for name in read.values if name and name not in found]
        if not below:
            break
        found |= dict.fromkeys(below)
        level = below
    return tuple(found)


async def deletions(instance: Instance, classes: Sequence[str], since: datetime, until: datetime) -> Journal:
    """What was filed as deleted under these classes from `since` to `until`, both included, by the instance's clock."""
    found: dict[str, None] = {}
    shown = hidden = calls = 0
    for names in batches(classes):
        query = queries.EVERYTHING.where(
            queries.one_of("tablename", names),
            f"sys_created_on>={queries.stamp(since)}",
            queries.until("sys_created_on", queries.stamp(until)),
        )
        read = await _read(instance, JOURNAL, query, "documentkey")
        if read is None:
            return Journal((), "unreadable", calls + 1)
        found |= dict.fromkeys(key for key in read.values if key)
        shown += len(read.values)
        hidden += read.hidden
        calls += read.calls
    return Journal(tuple(found), _readable(shown, hidden), calls)


async def horizon(instance: Instance) -> Horizon:
    """The oldest entry of the whole journal: what was deleted before it may have been pruned from it."""
    fields = ("sys_id", "sys_created_on")
    try:
        answer = await read_page(instance, JOURNAL, PageRequest("ORDERBYsys_created_on", 1, with_count=True), fields)
    except Stop as error:
        if not _lacks_rights(error):
            raise
        return Horizon(None, "unreadable")
    page = PageDecoder(fields).decode(answer.body)
    if not page.rows:
        return Horizon(None, _readable(0, answer.total_count or 0))
    try:
        return Horizon(queries.read_stamp(page.column("sys_created_on")[0]), "readable")
    except ValueError:
        return Horizon(None, "partly")


def batches(names: Iterable[str]) -> Iterator[list[str]]:
    """Names in lists that fit into a URL."""
    batch: list[str] = []
    length = 0
    for name in names:
        if batch and (len(batch) == _NAMES_A_CALL or length + len(name) > _CHARACTERS_A_CALL):
            yield batch
            batch, length = [], 0
        batch.append(name)
        length += len(name) + 3  # the comma, escaped
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class _Read:
    values: tuple[str, ...]
    hidden: int
    calls: int


async def _read(instance: Instance, table: str, query: Query, column: str) -> _Read | None:
    """One column of all rows of a query; None when the account may not read the table."""
    sweep, decoder = IdSweep(query, None, None, _PAGE), PageDecoder(("sys_id", column))
    values: dict[str, str] = {}
    calls = 0
    try:
        while (request := sweep.next_request()) is not None:
            answer = await read_page(instance, table, request, ("sys_id", column))
            calls += 1
            page = decoder.decode(answer.body)
            sweep.received(page.ids, None, page.rows, answer.total_count)
            values |= zip(page.ids, page.column(column), strict=True)
    except Stop as error:
        if not _lacks_rights(error):
            raise
        return None
    return _Read(tuple(values.values()), sweep.hidden, calls)


def _readable(shown: int, hidden: int) -> str:
    if not hidden:
        return "readable"
    return "partly" if shown else "unreadable"


def _lacks_rights(error: Stop | Park) -> bool:
    return error.code.startswith("rights.") or error.code == "query.rights"
