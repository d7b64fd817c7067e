"""What was committed late: a long transaction writes with the time of its beginning, and the change stream has passed that
time when it ends. So the keys and versions of what changed lately are listed again from time to time, whoever was
proven to have read them, and what differs is read back. Older windows are the comparison's of all keys (`replica.verify`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from nowbridge.replica.apply import TableLoader
from nowbridge.replica.keys import PAGE, VERSION, keys_of
from nowbridge.replica.spec import Clock
from nowbridge.replica.versions import versions_of
from nowbridge.servicenow import query as queries
from nowbridge.servicenow import tables as source
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.pages import IdSweep
from nowbridge.servicenow.wire import PageDecoder
from nowbridge.store.database import Connection, Database
from nowbridge.store.rows import keys, tombstones
from nowbridge.store.rows.load import Merged
from nowbridge.store.work import duties, loss
from nowbridge.store.work.duties import DutyLease


@dataclass(frozen=True, slots=True)
class Caught:
    """`changed` rows had not come, or had come in an older version."""

    changed: int
    calls: int


@dataclass(frozen=True, slots=True)
class Recent:
    """Looks again at what changed lately in one connection's tables."""

    database: Database
    instance: Instance
    clock: Clock

    async def look_again(self, loader: TableLoader, lease: DutyLease, to: datetime, window: timedelta) -> Caught:
        """At what is stamped from `window` before `to` up to `to`, both by the instance's clock. Raises LostLease."""
        suspects, calls = await self._list(loader, to - window, to)
        changed = 0
        for start in range(0, len(suspects), source.MOST_IDS):
            changed += await self._read_back(loader, lease, suspects[start : start + source.MOST_IDS])
            calls += 1
        return Caught(changed, calls)

    async def _list(self, loader: TableLoader, since: datetime, to: datetime) -> tuple[list[str], int]:
        """Ids of the rows that are missing here or held in another version, and the calls made."""
        base = queries.parse(loader.row.query).where(
            f"sys_updated_on>={queries.stamp(since)}", queries.until("sys_updated_on", queries.stamp(to))
        )
        fields = ("sys_id", *(name for name in VERSION if loader.layout.has(name)))
        sweep, decoder = IdSweep(base, None, None, PAGE), PageDecoder(fields)
        suspects: list[str] = []
        calls = 0
        async with self.database.session() as connection:
            await keys.begin(connection)
            while (request := sweep.next_request()) is not None:
                answer = await source.read_page(self.instance, loader.row.source, request, fields)
                calls += 1
                page = decoder.decode(answer.body)
                sweep.received(page.ids, None, page.rows, answer.total_count)
                async with connection.transaction():
                    suspects += await keys.compare_page(connection, loader.target, keys_of(page))
        return suspects, calls

    async def _read_back(self, loader: TableLoader, lease: DutyLease, ids: list[str]) -> int:
        async with self.database.transaction() as connection:
            known = await tombstones.newest(connection)
        answer = await source.read_records(self.instance, loader.row.source, ids, loader.layout.fetched)
        page = PageDecoder(loader.layout.fetched).decode(answer.body)
        if not page.rows:
            return 0
        versions = versions_of(page)

        async def count(connection: Connection, merged: Merged) -> None:
            await duties.require(connection, lease)
            changed = [(sys_id, *versions[sys_id]) for sys_id in merged.sys_ids]
            await loss.polled(connection, loader.row.id, changed, now=self.clock())

        return await loader.merge_changes(page, count, source="recent", known=known)
