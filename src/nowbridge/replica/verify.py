"""Verify, by content: download every row and compare it with the replica's, in Postgres, column by column.

A table that changes meanwhile is no difficulty: whatever differs at first sight is read again by its id, and counts
only if it still differs and the change stream has had to bring it already. A row that the source no longer shows is
gone only if the ACL-blind count of its sys_id is 0; otherwise the account has lost sight of it (traps, finding 30).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from nowbridge.model.errors import Stop
from nowbridge.replica.apply import TableLoader
from nowbridge.replica.layout import LabelKind, Role
from nowbridge.replica.spec import Clock
from nowbridge.servicenow import query as queries
from nowbridge.servicenow import tables as source
from nowbridge.servicenow.instance import Answer, Instance
from nowbridge.servicenow.pages import IdSweep
from nowbridge.servicenow.wire import Page, PageDecoder
from nowbridge.store import compare, load
from nowbridge.store.compare import Difference
from nowbridge.store.database import Connection, Database

PAGE = 2_000
AGAIN = 100  # records read again per call
LABEL_SAMPLE = 500

Progress = Callable[[int], None]
"""Called with the number of rows compared so far."""


@dataclass(slots=True)
class Verdict:
    """What verifying one table found. `differing` rows are in both and unequal, `missing` ones only in ServiceNow,
    `extra` ones only here. `pending` rows changed so lately that the change stream is still to bring them. `wrong_labels`
    are texts that differ from what ServiceNow displays, in a sample of `labels_compared`.
    """

    table: str
    started_at: datetime
    proven_to: datetime
    rows: int = 0
    hidden: int = 0
    calls: int = 0
    pending: int = 0
    repaired: int = 0
    differing: list[Difference] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    labels_compared: int = 0
    wrong_labels: list[tuple[str, str]] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        return len(self.differing) + len(self.missing) + len(self.extra)

    @property
    def equal(self) -> bool:
        """Whether the replica is proved equal now, repairs included."""
        return self.wrong == self.repaired and not self.wrong_labels


@dataclass(frozen=True, slots=True)
class Verifier:
    database: Database
    instance: Instance
    clock: Clock

    async def verify(
        self, loader: TableLoader, *, proven_to: datetime, repair: bool = False, progress: Progress | None = None
    ) -> Verdict:
        """Compare one table. `proven_to` is the instance's time up to which the change stream has been applied."""
        verdict = Verdict(loader.row.source, started_at=self.clock(), proven_to=proven_to)
        async with self.database.session() as connection:
            await compare.begin(connection)
            suspects = await self._sweep(connection, loader, verdict, progress)
            unseen = await compare.unseen(connection, loader.target)
            await self._look_again(connection, loader, verdict, [*suspects, *unseen], repair=repair)
            await self._sample_labels(connection, loader, verdict)
            await compare.store_proof(
                connection,
                loader.row.id,
                level="proven by content",
                started_at=verdict.started_at,
                proven_to=proven_to,
                numbers={
                    "rows": verdict.rows,
                    "hidden": verdict.hidden,
                    "differing": verdict.wrong,
                    "repaired": verdict.repaired,
                    "calls": verdict.calls,
                },
            )
        return verdict

    async def _sweep(
        self, connection: Connection, loader: TableLoader, verdict: Verdict, progress: Progress | None
    ) -> list[str]:
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
        if not page.rows:
            return []
        async with connection.transaction():
            await loader.stage(connection, page)
            return await compare.compare_stage(connection, loader.target)

    async def _look_again(
        self, connection: Connection, loader: TableLoader, verdict: Verdict, suspects: Sequence[str], *, repair: bool
    ) -> None:
        decoder = PageDecoder(loader.layout.fetched)
        for start in range(0, len(suspects), AGAIN):
            ids = suspects[start : start + AGAIN]
            answer = await source.read_records(self.instance, loader.row.source, ids, loader.layout.fetched)
            verdict.calls += 1
            page = decoder.decode(answer.body)
            await self._judge_present(connection, loader, verdict, page, repair=repair)
            await self._judge_absent(connection, loader, verdict, sorted(set(ids) - set(page.ids)), repair=repair)

    async def _judge_present(
        self, connection: Connection, loader: TableLoader, verdict: Verdict, page: Page, *, repair: bool
    ) -> None:
        if not page.rows:
            return
        async with connection.transaction():
            await loader.stage(connection, page)
            differences = await compare.compare_stage(connection, loader.target)
            late = await compare.staged_after(connection, loader.target, verdict.proven_to)
            wrong = [difference for difference in differences if difference.sys_id not in late]
            verdict.pending += len(differences) - len(wrong)
            verdict.missing += [difference.sys_id for difference in wrong if not difference.columns]
            verdict.differing += [difference for difference in wrong if difference.columns]
            if repair and wrong:
                merged = await load.merge(connection, loader.target, source="verify", now=self.clock(), repair=True)
                verdict.repaired += min(merged.inserted + merged.updated, len(wrong))

    async def _judge_absent(
        self, connection: Connection, loader: TableLoader, verdict: Verdict, ids: Sequence[str], *, repair: bool
    ) -> None:
        gone = [sys_id for sys_id in ids if await self._is_gone(loader, verdict, sys_id)]
        async with connection.transaction():
            held = await compare.shown(connection, loader.target, ["sys_id"], gone)
            extra = [row[0] for row in held]
            verdict.extra += extra
            if repair and extra:
                verdict.repaired += await load.delete_rows(
                    connection, loader.target, extra, source="verify", now=self.clock()
                )

    async def _is_gone(self, loader: TableLoader, verdict: Verdict, sys_id: str) -> bool:
        verdict.calls += 1
        base = queries.parse(loader.row.query)
        count = await source.count(self.instance, loader.row.source, base.where(queries.equals("sys_id", sys_id)))
        if count:
            verdict.hidden += 1  # it is there, and this account may no longer see it: not a deleted row
        return count == 0

    async def _sample_labels(self, connection: Connection, loader: TableLoader, verdict: Verdict) -> None:
        """Compare what label columns show with what ServiceNow displays, for the first rows of the table."""
        labelled = [c for c in loader.layout.loaded if c.role is Role.LABEL]
        request = IdSweep(queries.parse(loader.row.query), None, None, LABEL_SAMPLE).next_request()
        if not labelled or request is None:
            return
        fields = ("sys_id", *dict.fromkeys(column.source for column in labelled))
        answer: Answer = await source.read_page(self.instance, loader.row.source, request, fields, display=True)
        verdict.calls += 1
        page = PageDecoder(fields, display=True).decode(answer.body)
        stored_as = {c.source: c.name for c in loader.layout.loaded if c.role is Role.VALUE}
        names = [name for column in labelled for name in (column.name, stored_as[column.source])]
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


def require_backfilled(phase: str, table: str) -> None:
    """Refuse to verify a table that is not loaded yet."""
    if phase != "live":
        raise Stop(
            "table.not_loaded",
            asked=f"verify {table}",
            answered="its first load is not complete",
            hint="Wait for it: `nowbridge status` shows how far it is.",
        )
