"""Verify a table, at one of three levels, each named for what it says.

- *checked*: counts by version and class, through the Aggregate API (`replica.walk`); only what differs is listed. Equal
  counts are no proof.
- *proven*: every key and version is listed and compared (`replica.keys`).
- *proven by content*: every row is downloaded and compared in Postgres, column by column.

A table that changes meanwhile is no difficulty: whatever differs at first sight is read again by its id, and counts
only if it still differs and the change stream has had to bring it already. What became of rows that the source no
longer shows is for `replica.deletes` to find out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from nowbridge.model.errors import Stop
from nowbridge.replica import drift, keys
from nowbridge.replica.apply import TableLoader
from nowbridge.replica.deletes import Deletes, Named
from nowbridge.replica.deletion_rules import Hold
from nowbridge.replica.keys import Progress
from nowbridge.replica.layout import ColumnState, LabelKind, Role
from nowbridge.replica.spec import Clock
from nowbridge.replica.walk import Follow, Known, Walk
from nowbridge.servicenow import query as queries
from nowbridge.servicenow import tables as source
from nowbridge.servicenow.instance import Answer, Instance
from nowbridge.servicenow.pages import IdSweep
from nowbridge.servicenow.wire import Page, PageDecoder
from nowbridge.store.database import Connection, Database
from nowbridge.store.rows import columns, compare, tombstones
from nowbridge.store.rows import keys as key_store
from nowbridge.store.rows.compare import Difference
from nowbridge.store.rows.keys import Part
from nowbridge.store.work import duties
from nowbridge.store.work.duties import DutyLease
from nowbridge.store.writes import held_rows, write_log

PAGE = 2_000
AGAIN = 100  # records read again per call
LABEL_SAMPLE = 500


class Level(StrEnum):
    CHECKED = "checked"
    PROVEN = "proven"
    CONTENT = "proven by content"


@dataclass(slots=True)
class Verdict:
    """What verifying one table found. `differing` rows are in both and unequal, `missing` ones only in ServiceNow,
    `extra` ones only here. `pending` rows changed so lately that the change stream is still to bring them. `wrong_labels`
    are texts that differ from what ServiceNow displays, in a sample of `labels_compared`. `removed` extra rows
    are among those repaired; `held` says why they were not removed.
    """

    table: str
    started_at: datetime
    proven_to: datetime
    level: Level = Level.CONTENT
    rows: int = 0
    hidden: int = 0
    calls: int = 0
    pending: int = 0
    repaired: int = 0
    removed: int = 0
    differing: list[Difference] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    labels_compared: int = 0
    wrong_labels: list[tuple[str, str]] = field(default_factory=list)
    held: Hold | None = None

    @property
    def wrong(self) -> int:
        return len(self.differing) + len(self.missing) + len(self.extra)

    @property
    def equal(self) -> bool:
        """Whether nothing differs now, repairs included, as far as the level goes."""
        return self.wrong == self.repaired and not self.wrong_labels and self.held is None


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done. `proven_to` is the instance's time up to which the change stream has been applied; `lease`
    fences repairs. `put_back`: what the instance has is taken even where its version is older than ours.
    """

    proven_to: datetime
    repair: bool = False
    lease: DutyLease | None = None
    progress: Progress | None = None
    put_back: bool = False


@dataclass(frozen=True, slots=True)
class Verifier:
    """`follow` waits until a table's change stream has come past a moment; only the level "checked" needs it."""

    database: Database
    instance: Instance
    clock: Clock
    deletes: Deletes
    follow: Follow
    keys_a_page: int = keys.PAGE

    async def verify(self, loader: TableLoader, order: Order, level: Level = Level.CONTENT) -> Verdict:
        """Compare one table. Raises Stop `verify.unversioned` where the level needs versions that the table has not got,
        LostLease when the order's lease no longer stands.
        """
        if level is not Level.CONTENT:
            require_versions(loader)
        verdict = Verdict(loader.row.source, started_at=self.clock(), proven_to=order.proven_to, level=level)
        async with self.database.session() as connection:
            await compare.begin(connection)
            if level is Level.CONTENT:
                await self._compare_content(connection, loader, verdict, order)
            elif level is Level.PROVEN:
                await self._compare_keys(connection, loader, verdict, order)
            else:
                await self._walk(connection, loader, verdict, order)
            await self._store(connection, loader, verdict)
        return verdict

    async def _compare_content(
        self, connection: Connection, loader: TableLoader, verdict: Verdict, order: Order
    ) -> None:
        suspects = await self._sweep(connection, loader, verdict, order.progress)
        unseen = await compare.unseen(connection, loader.target)
        if queries.is_relative(queries.parse(loader.row.query)):  # rows that have left the filter are kept (X18)
            suspects, unseen = [*suspects, *unseen], []
        await self._settle(connection, loader, verdict, order, suspects, unseen, listed="")
        await self._sample_labels(connection, loader, verdict)

    async def _compare_keys(self, connection: Connection, loader: TableLoader, verdict: Verdict, order: Order) -> None:
        """List all keys; then learn what the source counts beyond them, for the next check."""
        await self._list(connection, loader, verdict, order, Part())
        if verdict.wrong or verdict.pending or not verdict.hidden:
            learned: Known = {} if verdict.hidden else {("", by): {} for by in ("sys_mod_count", "sys_class_name")}
        else:
            walk = self._new_walk(loader, order)
            learned = await walk.learn()
            verdict.calls += walk.calls
        if learned:
            async with connection.transaction():
                await key_store.learn_hidden(connection, loader.row.id, learned, anew=True)

    async def _walk(self, connection: Connection, loader: TableLoader, verdict: Verdict, order: Order) -> None:
        """Check by counts and list the parts that differ. A filter relative to now counts other rows every time, so
        such a table's keys are listed.
        """
        if queries.is_relative(queries.parse(loader.row.query)):
            await self._list(connection, loader, verdict, order, Part())
            return
        walk = self._new_walk(loader, order)
        parts = await walk.run(hidden_expected=await key_store.met_hidden(connection, loader.row.id))
        if Part() in parts:
            verdict.calls += walk.calls
            await self._compare_keys(connection, loader, verdict, order)
            return
        hidden = walk.hidden
        for part in parts:
            await self._list(connection, loader, verdict, order, part)
        if parts and not (verdict.wrong or verdict.pending):
            await self._learn_parts(connection, loader, walk, parts)
        verdict.calls += walk.calls
        verdict.hidden = hidden
        verdict.rows = walk.rows - hidden

    def _new_walk(self, loader: TableLoader, order: Order) -> Walk:
        return Walk(self.database, self.instance, loader, order.proven_to, self.follow, self.keys_a_page)

    async def _learn_parts(
        self, connection: Connection, loader: TableLoader, walk: Walk, parts: Sequence[Part]
    ) -> None:
        """The listed parts are equal and yet count otherwise: hidden rows were added, changed or deleted there."""
        prefixes = {"", *(part.prefix[:1] for part in parts)}
        moved = {(node.prefix, node.by): dict(node.surplus) for node in walk.nodes if node.prefix in prefixes}
        async with connection.transaction():
            await key_store.learn_hidden(connection, loader.row.id, moved, anew=False)

    async def _list(
        self, connection: Connection, loader: TableLoader, verdict: Verdict, order: Order, part: Part
    ) -> None:
        listing = await keys.list_keys(
            connection, self.instance, loader, part, page_rows=self.keys_a_page, progress=order.progress
        )
        verdict.calls += listing.calls
        verdict.rows += listing.rows
        verdict.hidden += listing.hidden
        listed = None if part.odd else part.prefix
        await self._settle(connection, loader, verdict, order, listing.suspects, listing.unlisted, listed=listed)

    async def _settle(  # noqa: PLR0913 - what one listing found
        self,
        connection: Connection,
        loader: TableLoader,
        verdict: Verdict,
        order: Order,
        suspects: Sequence[str],
        unseen: Sequence[str],
        *,
        listed: str | None,
    ) -> None:
        """Look again at what differs, then at what is not there."""
        absent = await self._look_again(connection, loader, verdict, suspects, order)
        named = Named(sorted({*absent, *unseen}), "verify", listed)
        settled = await self.deletes.settle(loader, named, remove=order.repair, lease=order.lease)
        verdict.calls += settled.calls
        async with connection.transaction():
            held = await tombstones.held_here(connection, loader.target, settled.gone)
        verdict.extra += sorted({*settled.removed, *held})
        verdict.removed += len(settled.removed)
        verdict.repaired += len(settled.removed)
        verdict.held = verdict.held or settled.held

    async def _store(self, connection: Connection, loader: TableLoader, verdict: Verdict) -> None:
        await compare.store_proof(
            connection,
            loader.row.id,
            level=verdict.level.value,
            started_at=verdict.started_at,
            proven_to=verdict.proven_to,
            numbers={
                "rows": verdict.rows,
                "hidden": verdict.hidden,
                "differing": verdict.wrong,
                "repaired": verdict.repaired,
                "calls": verdict.calls,
            },
        )

    async def _sweep(
        self, connection: Connection, loader: TableLoader, verdict: Verdict, progress: Progress | None
    ) -> list[str]:
        loader = loader.narrow(loader.layout.without(drift.filling(loader.layout)))  # incomplete columns are no news
        sweep = IdSweep(queries.parse(loader.row.query), None, None, PAGE)
        decoder = PageDecoder(loader.layout.fetched)
        suspects: list[str] = []
        while (request := sweep.next_request()) is not None:
            answer = await source.read_page(self.instance, loader.row.source, request, loader.layout.fetched)
            verdict.calls += 1
            page = await asyncio.to_thread(decoder.decode, answer.body)
            sweep.received(page.ids, None, page.rows, answer.total_count)
            suspects += [difference.sys_id for difference in await self._compare(connection, loader, page)]
            verdict.rows += page.rows
            if progress is not None:
                progress(verdict.rows)
        verdict.hidden = sweep.hidden
        return suspects

    async def _compare(self, connection: Connection, loader: TableLoader, page: Page) -> list[Difference]:
        differences: list[Difference] = []
        for part, rows in loader.parts(page) if page.rows else []:
            async with connection.transaction():
                await part.stage(connection, rows)
                differences += await compare.compare_stage(connection, part.target)
        return differences

    async def _look_again(
        self, connection: Connection, loader: TableLoader, verdict: Verdict, suspects: Sequence[str], order: Order
    ) -> list[str]:
        """Read suspects again and judge those that come. Returns those that do not."""
        decoder = PageDecoder(loader.layout.fetched)
        absent: list[str] = []
        for start in range(0, len(suspects), AGAIN):
            ids = suspects[start : start + AGAIN]
            known = await tombstones.newest(connection)
            answer = await source.read_records(self.instance, loader.row.source, ids, loader.layout.fetched)
            verdict.calls += 1
            page = decoder.decode(answer.body)
            await self._judge_present(connection, loader, verdict, page, known=known, order=order)
            absent += sorted(set(ids) - set(page.ids))
        return absent

    async def _judge_present(
        self,
        connection: Connection,
        loader: TableLoader,
        verdict: Verdict,
        page: Page,
        *,
        known: int,
        order: Order,
    ) -> None:
        """`known` was the newest tombstone before the rows were read."""
        for part, rows in loader.parts(page) if page.rows else []:
            await self._judge_part(connection, part, verdict, rows, known=known, order=order)

    async def _judge_part(
        self,
        connection: Connection,
        loader: TableLoader,
        verdict: Verdict,
        page: Page,
        *,
        known: int,
        order: Order,
    ) -> None:
        async with connection.transaction():
            await loader.stage(connection, page)
            differences = await compare.compare_stage(connection, loader.target)
            late = await compare.still_to_come(connection, loader.target, verdict.proven_to)
            if await held_rows.writable(connection):
                late |= await write_log.in_progress(connection, loader.row.connection_id)
            wrong = [difference for difference in differences if difference.sys_id not in late]
            verdict.pending += len(differences) - len(wrong)
            verdict.missing += [difference.sys_id for difference in wrong if not difference.columns]
            verdict.differing += [difference for difference in wrong if difference.columns]
            if order.repair and wrong:
                if order.lease is not None:
                    await duties.require(connection, order.lease)
                await columns.require_layout(connection, loader.row)
                merged = await loader.merge_staged(connection, source="verify", known=known, put_back=order.put_back)
                verdict.repaired += min(merged.inserted + merged.updated, len(wrong))

    async def _sample_labels(self, connection: Connection, loader: TableLoader, verdict: Verdict) -> None:
        """Compare what label columns show with what ServiceNow displays, for the first rows of the table."""
        labelled = [c for c in loader.layout.loaded if c.role is Role.LABEL and c.state is ColumnState.LIVE]
        request = IdSweep(queries.parse(loader.row.query), None, None, LABEL_SAMPLE).next_request()
        if not labelled or request is None:
            return
        fields = ("sys_id", *dict.fromkeys(column.source for column in labelled))
        answer: Answer = await source.read_page(self.instance, loader.row.source, request, fields, display=True)
        verdict.calls += 1
        page = PageDecoder(fields, display=True).decode(answer.body)
        names = [name for c in labelled for name in (c.name, loader.layout.stored_beside(c).name)]
        ours = {row[0]: row[1:] for row in await compare.shown(connection, loader.target, names, page.ids)}
        for at, column in enumerate(labelled):
            stored, displayed = page.column(column.source), page.display(column.source)
            for sys_id, value, words in zip(page.ids, stored, displayed, strict=True):
                shown, held = ours.get(sys_id, ("",) * len(names))[2 * at : 2 * at + 2]
                if not value or held.replace(", ", ",") != value.replace(", ", ","):
                    continue  # a value that differs is the other comparison's business
                verdict.labels_compared += 1
                if not same_words(shown, words, value, many=_many(column.labels)):
                    verdict.wrong_labels.append((sys_id, column.name))


def same_words(ours: str, displayed: str, value: str, *, many: bool) -> bool:
    """Whether our label says what ServiceNow displays. Where ServiceNow has no words (a reference to nothing shows
    empty, a value outside the choice list stands in brackets), ours is the stored value.
    """
    if ours == displayed or ours.strip() == displayed.strip():
        return True
    if many:
        return displayed == "" or sorted(ours.split(", ")) == sorted(displayed.split(", "))
    return ours == value and displayed in ("", f"({value})")


def _many(labels: object) -> bool:
    return getattr(labels, "kind", None) is LabelKind.LIST


def require_versions(loader: TableLoader) -> None:
    """Refuse to compare versions of a table that has none."""
    if not (loader.layout.has("sys_mod_count") and loader.layout.has("sys_updated_on")):
        raise Stop(
            "verify.unversioned",
            asked=f"compare the versions of {loader.row.source}",
            answered="its records have no sys_mod_count and sys_updated_on",
            hint="Compare it by content: `nowbridge verify TABLE --level content`.",
        )


def require_backfilled(phase: str, table: str) -> None:
    """Refuse to verify a table that is not loaded yet."""
    if phase != "live":
        raise Stop(
            "table.not_loaded",
            asked=f"verify {table}",
            answered="its first load is not complete",
            hint="Wait for it: `nowbridge status` shows how far it is.",
        )
