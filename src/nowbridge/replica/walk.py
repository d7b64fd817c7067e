"""The aggregate walk: find the parts of a table that differ from the source without reading its rows.

Both sides count the rows that were last updated up to a horizon, by `sys_mod_count` and by class: the source through
the Aggregate API, the replica in Postgres as of the answer's time, for which the change stream has to have come past
it first. Where the counts differ, the ids are divided by their next hex digit, and so on down to parts whose keys are
cheaper listed than counted. Hidden rows are counted by the source too: what was learned of them at the last listing is
taken off, one level deep.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nowbridge.replica import fingerprints, keys
from nowbridge.replica.apply import TableLoader
from nowbridge.replica.fingerprints import HEX, Fingerprint, Tally
from nowbridge.servicenow import aggregates
from nowbridge.servicenow import query as queries
from nowbridge.servicenow.instance import Instance
from nowbridge.store.database import Database
from nowbridge.store.rows import keys as store
from nowbridge.store.rows.keys import AsOf, Part

Follow = Callable[[int, datetime], Awaitable[None]]
"""Returns when a table's change stream has come past a moment of the instance's clock."""

TRIES = 3  # of a part that differs while rows change in the very second of the answer
AROUND = timedelta(seconds=1)

Known = dict[tuple[str, str], dict[str, tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class Node:
    """One part as both sides counted it by one column. `difference` is theirs less ours less what is known as hidden;
    `surplus` is theirs less ours.
    """

    prefix: str
    by: str
    theirs: Fingerprint
    differs: bool
    difference: Tally
    surplus: Tally


@dataclass(slots=True)
class Walk:
    """One walk over one table. `parts` are those to be listed; `nodes` everything that was counted."""

    database: Database
    instance: Instance
    loader: TableLoader
    horizon: datetime
    follow: Follow
    page_rows: int = keys.PAGE
    calls: int = 0
    nodes: list[Node] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    known: Known = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows that the source counts, hidden ones included."""
        return self.nodes[0].theirs.rows if self.nodes else 0

    @property
    def hidden(self) -> int:
        return fingerprints.rows_of(self.known.get(("", "sys_mod_count"), {}))

    async def run(self, *, hidden_expected: bool) -> list[Part]:
        """The parts that differ. `hidden_expected`: the first load met hidden rows, of which nothing is known before
        the keys have been listed once.
        """
        async with self.database.transaction() as connection:
            self.known = await store.hidden_buckets(connection, self.loader.row.id)
        columns = ["sys_mod_count", *(["sys_class_name"] if self.loader.layout.has("sys_class_name") else [])]
        roots = [await self.count("", by) for by in columns]
        differing = next((node for node in roots if node.differs), None)
        if differing is None:
            return []
        if hidden_expected and ("", "sys_mod_count") not in self.known:
            self.parts = [Part()]
        else:
            await self._descend(differing)
        return self.parts

    async def learn(self) -> Known:
        """What the source counts and the replica does not hold, by root and, in a table too large to be listed at once,
        by first digit: after a listing that found everything equal, these are the hidden rows.
        """
        columns = ["sys_mod_count", *(["sys_class_name"] if self.loader.layout.has("sys_class_name") else [])]
        learned: Known = {}
        self.known = {}
        for by in columns:
            root = await self.count("", by)
            nodes = [root, *(await self._children(root) if self._is_large(root) else [])]
            learned |= {(node.prefix, by): dict(node.surplus) for node in nodes}
        return learned

    async def count(self, prefix: str, by: str) -> Node:
        """Count a part on both sides. Where they differ and rows changed in the second of the answer, of which nobody
        can say whether they changed before it or after it, it is counted again.
        """
        for _ in range(TRIES):
            node, certain = await self._count_once(prefix, by)
            if certain or not node.differs:
                break
        self.nodes.append(node)
        return node

    async def _count_once(self, prefix: str, by: str) -> tuple[Node, bool]:
        row, target = self.loader.row, self.loader.target
        async with self.database.transaction() as connection:
            since = await store.feed_position(connection)
        base = queries.parse(row.query).where(
            f"sys_idSTARTSWITH{prefix}" if prefix else "",
            queries.until("sys_updated_on", queries.stamp(self.horizon)),
        )
        answer = await aggregates.grouped(self.instance, row.source, base, by)
        self.calls += 1
        await self.follow(row.id, answer.server_time)
        theirs = fingerprints.fold(_fingerprint(group) for group in answer.groups)
        as_of = AsOf(answer.server_time, since, self.horizon)
        async with self.database.transaction() as connection:
            columns = keys.version_columns(self.loader)
            counted = await store.counted(connection, target, columns, Part(prefix), by=by, as_of=as_of)
            about = (answer.server_time - AROUND, answer.server_time + AROUND)
            uncertain = await store.changed_about(connection, target, since, *about)
        ours = fingerprints.fold(_fingerprint(group) for group in counted)
        hidden = self.known.get((prefix, by), {})
        node = Node(
            prefix,
            by,
            theirs,
            fingerprints.differ(theirs, ours, hidden),
            fingerprints.minus(theirs.tally, ours.tally, hidden),
            fingerprints.minus(theirs.tally, ours.tally),
        )
        return node, not uncertain

    async def _descend(self, node: Node) -> None:
        unknown_below = bool(self.known.get(("", node.by))) and node.prefix != ""
        if not self._is_large(node) or unknown_below:
            self.parts.append(Part(node.prefix))
            return
        children = await self._children(node)
        for child in children:
            if child.differs:
                await self._descend(child)
        if fingerprints.minus(node.difference, *(child.difference for child in children)):
            self.parts.append(Part(node.prefix, odd=True))

    async def _children(self, node: Node) -> list[Node]:
        return list(await asyncio.gather(*(self.count(node.prefix + digit, node.by) for digit in HEX)))

    def _is_large(self, node: Node) -> bool:
        """Whether counting the sixteen parts of a part takes fewer calls than listing it."""
        return math.ceil(node.theirs.rows / self.page_rows) > len(HEX)


def _fingerprint(group: aggregates.Group | store.Counted) -> Fingerprint:
    return Fingerprint(
        {group.value: (group.rows, group.changes)}, group.first_created, group.last_created, group.last_updated
    )
