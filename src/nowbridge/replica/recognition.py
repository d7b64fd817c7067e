"""Is this still the instance that the replica was made of? Asked before a worker does anything for a connection, every
hour, and after the instance was away.

Another instance may have been cloned over it: then sys_ids mean other records, versions go back, and whatever was
carried over in either direction would mix the two. What tells it: the names that the instance has for itself (a clone
makes a new `instance_id`), and the records that we saw last. In an instance that was put back they are older than here,
or were never made. A clock that jumps is no sign.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nowbridge.model.errors import Park, Stop
from nowbridge.replica.spec import layout_of
from nowbridge.servicenow import identity
from nowbridge.servicenow import query as queries
from nowbridge.servicenow import tables as source
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.pages import PageRequest
from nowbridge.servicenow.wire import PageDecoder
from nowbridge.store.database import Database
from nowbridge.store.instances import connections
from nowbridge.store.rows import tables, witnesses
from nowbridge.store.rows.tables import TableRow
from nowbridge.store.rows.witnesses import Witness

TABLES = 5
WITNESSES = 20
LEAST = 3  # witnesses that must speak against it
EMPTIED = 10  # ... when all of them are gone
_ID = "instance_id"
_FIELDS = ("sys_id", "sys_mod_count", "sys_updated_on")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of `asked` records that we saw last, `older` are older in the instance than here and `gone` are not there."""

    asked: int = 0
    older: int = 0
    gone: int = 0


def strangeness(known: Mapping[str, str], names: Mapping[str, str], told: Evidence) -> str | None:
    """Why this is not the instance that we know, in words; None when nothing speaks against it.

    Records alone are believed when most of them speak against it and at least three, one of them by its age: a record
    may be put back from an export, and many may be deleted at once. That all of ten or more are gone is enough, too.
    """
    for name, was in known.items():
        if name in names and names[name] != was:
            return f"its {name} is {names[name]}, and was {was}"
    against = told.older + told.gone
    put_back = told.older > 0 and against >= LEAST and 2 * against > told.asked
    if put_back or told.gone == told.asked >= EMPTIED:
        return (
            f"of {told.asked} records that changed last, {told.older} are older there than here and {told.gone} missing"
        )
    return None


def uncertainty(known: Mapping[str, str], names: Mapping[str, str], told: Evidence) -> str | None:
    """Why an instance that nothing speaks against may yet be another one: it neither has our instance_id nor the records
    that we saw last.
    """
    if known.get(_ID) and known.get(_ID) == names.get(_ID):
        return None
    if told.asked >= EMPTIED and told.older == told.gone == 0:
        return None
    return (
        f"its {_ID} is not known to be ours (a right on sys_properties shows it), and of {told.asked} records that"
        f" changed last {told.asked - told.older - told.gone} are there as here, of which {EMPTIED} would tell"
    )


@dataclass(frozen=True, slots=True)
class Recognition:
    """Looks at one connection's instance."""

    database: Database
    instance: Instance
    connection_id: int
    clock: Callable[[], datetime]

    async def look(self) -> str | None:
        """Why the instance is not the one that we know; None, and kept as known, when it is. Raises what a call raises."""
        async with self.database.transaction() as connection:
            known, _ = await connections.likeness(connection, self.connection_id)
            rows = await tables.all_of(connection, self.connection_id)
        names = await identity.likeness(self.instance)
        strange = strangeness(known, names, await self._hear([row for row in rows if row.phase == "live"]))
        if strange is None:
            await self.keep({**known, **names})
        return strange

    async def is_certain(self) -> str | None:
        """For an address that is new to us: why it is not certain that the instance there is ours; None when it is. That
        nothing speaks against it is not enough, as an empty instance says nothing.
        """
        async with self.database.transaction() as connection:
            known, _ = await connections.likeness(connection, self.connection_id)
            rows = await tables.all_of(connection, self.connection_id)
        names = await identity.likeness(self.instance)
        told = await self._hear([row for row in rows if row.phase == "live"])
        return strangeness(known, names, told) or uncertainty(known, names, told)

    async def keep(self, names: dict[str, str]) -> None:
        async with self.database.transaction() as connection:
            await connections.keep_likeness(connection, self.connection_id, names, now=self.clock())

    async def _hear(self, rows: Sequence[TableRow]) -> Evidence:
        """One call for each of a few tables; tables that cannot be read say nothing."""
        asked = older = gone = heard = 0
        for row in rows:
            if not all(layout_of(row).has(name) for name in _FIELDS):
                continue
            async with self.database.transaction() as connection:
                ours = await witnesses.latest(connection, row.relation, WITNESSES)
            told = await self._ask(row, ours) if ours else None
            if told is None:
                continue
            asked, older, gone = asked + told.asked, older + told.older, gone + told.gone
            heard += 1
            if heard == TABLES:
                break
        return Evidence(asked, older, gone)

    async def _ask(self, row: TableRow, ours: Sequence[Witness]) -> Evidence | None:
        query = queries.EVERYTHING.where(queries.one_of("sys_id", [one.sys_id for one in ours])).text
        request = PageRequest(query, len(ours), with_count=True)
        try:
            answer = await source.read_page(self.instance, row.source, request, _FIELDS)
        except (Stop, Park) as refused:
            if isinstance(refused, Park) or refused.code.startswith(("rights.", "query.", "table.")):
                return None
            raise
        page = PageDecoder(_FIELDS).decode(answer.body)
        counts = dict(zip(page.column("sys_id"), page.column("sys_mod_count"), strict=True))
        older = sum(int(counts.get(one.sys_id) or one.mod_count) < one.mod_count for one in ours)
        counted = source.required_count(answer, row.source)  # hidden rows count: what the account lost is not gone
        return Evidence(len(ours), older, max(0, len(ours) - counted))
