"""Lets the client's transaction and ServiceNow agree, when the one ended otherwise than the other.

COMMIT can fail for a reason of Postgres after ServiceNow has accepted the write (a later constraint, a crash, a part of
the transaction that was rolled back), and a client may be gone before the answer is there. The log knows of each; the
transaction's own status tells how it ended (traps, findings 7 and 9). What must not stay is taken back, or kept and
brought into the replica, by the setting.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from nowbridge.delivery.outcomes import Fate
from nowbridge.model.errors import NowbridgeError
from nowbridge.store.writes import write_log
from nowbridge.store.writes.write_log import End, Entry, Settled, Unsettled
from nowbridge.writethrough import guard
from nowbridge.writethrough.writer import Writer


class OnAbort(StrEnum):
    """What becomes of a write that ServiceNow accepted and whose transaction failed afterwards."""

    REVERT = "revert"
    KEEP = "keep"


@dataclass(slots=True)
class Settler:
    writer: Writer
    on_abort: OnAbort = OnAbort.REVERT

    async def settle(self) -> int:
        """Settle every write that was sent and whose transaction has ended. Returns how many."""
        async with self.writer.database.transaction() as connection:
            now = self.writer.clock()
            every = await write_log.unsettled(connection, self.writer.connection_id, now=now)
            found = [one for one in every if one.entry.state == "done"]
            done = [one for one in found if one.status == "committed" and one.marked]
            for one in done:
                await write_log.settle(connection, one.entry, "committed")
            alone = [one for one in done if one.entry.client_xid is None]
            held = self.writer.holder
            lost = [
                replace(one, entry=await write_log.take(connection, held, one.entry, now=now))
                for one in found
                if one not in done
            ]
        for one in alone:  # an undo: no transaction puts its answer into the rows
            await self.writer.bring_in(one.entry)
        for one in lost:
            await self._settle_lost(one)
        for one in every:
            if one.entry.state == "refused":
                await self._settle_refused(one)
        return len(every)

    async def _settle_refused(self, one: Unsettled) -> None:
        """ServiceNow refused a part. What it had taken before was taken back, as far as it allowed, and has new versions:
        the replica reads it again, which it could not while the client still held the rows.
        """
        if one.touched:
            await self.writer.bring_in(one.entry)
        settled: Settled = "kept" if Fate.KEPT in one.fates else "reverted" if one.touched else "nothing"
        async with self.writer.database.transaction() as connection:
            await write_log.settle(connection, one.entry, settled)

    async def _settle_lost(self, one: Unsettled) -> None:
        """The client's transaction did not keep what ServiceNow accepted. A transaction that is too old to tell is
        treated as lost only when its mark is missing, which it made itself.
        """
        detail = ""
        if one.status is None and one.marked:
            settled: Settled = "committed"
        elif self.on_abort is OnAbort.KEEP:
            settled = "kept"
        else:
            report = await self.writer.take_back(one.entry)
            settled = "kept" if any(ended.fate is Fate.KEPT for ended in report.outcomes) else "reverted"
            detail = guard.told_of_each(report)
        await self.writer.bring_in(one.entry)
        async with self.writer.database.transaction() as connection:
            await write_log.settle(connection, one.entry, settled, detail=detail)

    async def look_for_unknown(self) -> int:
        """Find out what became of writes without an answer. Returns how many were looked at."""
        async with self.writer.database.transaction() as connection:
            found = await write_log.claim_unknown(
                connection, self.writer.connection_id, self.writer.holder, now=self.writer.clock(), limit=10
            )
        for entry in found:
            await self._look(entry)
        return len(found)

    async def _look(self, entry: Entry) -> None:
        try:
            end = await self.writer.trace(entry)
        except NowbridgeError:
            end = End("unknown", look_after=self.writer.look_after)
        async with self.writer.database.transaction() as connection:
            await write_log.finish(connection, entry, end, now=self.writer.clock())
