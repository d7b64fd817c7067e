"""A writer: takes what SQL users' transactions handed over, lets `delivery` carry it out, and answers the transaction
that waits. Any number of them, in every worker.

The client's transaction is still open while this works, and holds its rows; so nothing here touches those rows. The
answer goes into the log, and the transaction itself puts it into its rows before it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from nowbridge.delivery.calls import request_of
from nowbridge.delivery.compare import Record
from nowbridge.delivery.deliver import Delivery, Manner
from nowbridge.delivery.order import stages
from nowbridge.delivery.outcomes import Fate, Outcome, Report, inverse
from nowbridge.model.errors import NowbridgeError, Retry
from nowbridge.model.plan import Operation, Plan, Refusal, Step
from nowbridge.replica import rows
from nowbridge.replica.labels import Labeller
from nowbridge.replica.layout import Layout
from nowbridge.replica.spec import Clock
from nowbridge.servicenow import query as queries
from nowbridge.servicenow import tables as source
from nowbridge.servicenow.instance import Instance
from nowbridge.store.database import Database
from nowbridge.store.work import hints
from nowbridge.store.work.leases import Holder
from nowbridge.store.writes import write_log, write_tables
from nowbridge.store.writes.write_desk import Desk
from nowbridge.store.writes.write_log import End, Entry
from nowbridge.transport.budget import Purpose
from nowbridge.transport.purpose import calling_for
from nowbridge.writethrough import guard
from nowbridge.writethrough.collected import Change, Unwritable, plan_of
from nowbridge.writethrough.logged import made_of, moved_in, on_what_was_made, renamed, settable, steps_of, told
from nowbridge.writethrough.places import Place, Places

MOST_ROWS = 10_000
"""Records that one transaction may write, unless the setting says otherwise."""
MOST_ROWS_LEARNED = 1_000
"""Records of one write whose words are looked up ahead."""
MOST_DELETES = 100
"""Records that it may delete without saying that they are meant."""


@dataclass(slots=True)
class Writer:
    """One connection's writer, as one worker has it open."""

    database: Database
    instance: Instance
    connection_id: int
    holder: Holder
    labeller: Labeller
    clock: Clock
    manner: Manner = field(default_factory=Manner)
    most_rows: int = MOST_ROWS
    most_deletes: int = MOST_DELETES
    places: Places = field(init=False)
    desk: Desk = field(init=False)

    def __post_init__(self) -> None:
        self.places = Places(self.database, self.connection_id)
        self.desk = Desk(self.database)

    async def claim(self, limit: int) -> list[Entry]:
        """Take at most so many of the writes that wait."""
        async with self.desk.connection() as connection:
            return await write_log.claim(
                connection, self.connection_id, self.holder, now=self.clock(), limit=limit, bell=True
            )

    async def carry_out(self, entry: Entry) -> None:
        """Take one claimed write to its end, or to unknown, and note that."""
        end = await self.end_of(entry)
        async with self.desk.connection() as connection:
            await write_log.finish(connection, entry, end, now=self.clock())

    async def close(self) -> None:
        """Let go of the writer's own connection. It can go on: then it opens another."""
        await self.desk.close()

    async def end_of(self, entry: Entry) -> End:
        with calling_for(Purpose.WRITE):
            try:
                return await self._carried_out(entry)
            except Unwritable as unwritable:
                return End("refused", refusal=unwritable.refusal)
            except NowbridgeError as error:  # nothing was sent yet: what is sent never raises
                return End("refused", refusal=guard.not_reached(error))

    async def _carried_out(self, entry: Entry) -> End:
        places, stamp = await self.places.of(entry), entry.stamp or {}
        changes = [Change(*change) for change in entry.changes]
        plan = plan_of(changes, {place.table.id: place.table for place in places.values()})
        holders = await self._holders(plan, places)
        plan = Plan(tuple(_addressed(step, holders[step.sys_id]) for step in plan.steps))
        if entry.mode == "undo":
            plan = await self._undoing(entry, plan, holders)
        plan = Plan(tuple(_stamp(step, stamp, holders[step.sys_id][0]) for step in plan.steps)) if stamp else plan
        policies = {} if entry.mode == "undo" else {s: [p.row.sql_deletes for p in h] for s, h in holders.items()}
        limits = guard.Limits(self.most_rows, self.most_deletes, entry.confirmed, policies)
        undoing, tables = entry.mode == "undo", {s: found[0].table for s, found in holders.items()}
        refusal = guard.check(plan, tables, limits, restoring=undoing)
        if refusal is None and not undoing:
            refusal = await self._missing_reference(plan, holders)
        if entry.mode == "plan":
            return End("done", answer={"steps": _shown(plan, refusal), "rows": {}, "gone": {}, "notices": []})
        if refusal is not None:
            return End("refused", refusal=refusal)

        async def begin() -> bool:
            async with self.database.session() as connection:
                return await write_log.begin(connection, self.holder, entry, plan, now=self.clock())

        learning = asyncio.create_task(self._learn_words(plan, holders))
        try:
            report = await self._delivery(holders, entry).run(plan, begin)
        finally:
            await asyncio.wait((learning,))
        learning.result()
        end = await self._answer(changes, report, holders)
        return replace(end, remark=guard.not_as_before(report)) if undoing and end.state == "done" else end

    async def _learn_words(self, plan: Plan, holders: Mapping[str, Sequence[Place]]) -> None:
        """While ServiceNow works: the words for what these records point at here, which is mostly what they will point at
        in its answers. Those that cannot be had now are looked up then.
        """
        kept: dict[int, tuple[Place, list[str]]] = {}
        for step in plan.steps[:MOST_ROWS_LEARNED]:
            if step.operation is Operation.UPDATE:
                for place in holders[step.sys_id]:
                    kept.setdefault(place.row.id, (place, []))[1].append(step.sys_id)
        with suppress(NowbridgeError):
            for place, sys_ids in kept.values():
                pointing = place.pointing
                async with self.database.session() as connection:
                    page = await write_tables.pointed_at(connection, place.row.relation, pointing, sys_ids)
                await self.labeller.words(place.layout, page)

    async def _undoing(self, entry: Entry, plan: Plan, holders: Mapping[str, Sequence[Place]]) -> Plan:
        """The plan, made on the records as the write left them. Raises Unwritable where nothing can be taken back."""
        async with self.database.session() as connection:
            outcome = await write_log.outcome_of(connection, entry.undoes or 0)
        plan = settable(on_what_was_made(plan, made_of(outcome)), holders)
        if not plan.steps:
            raise Unwritable(guard.nothing_to_undo(entry.undoes or 0))
        return plan

    async def keeps(self, entry: Entry) -> bool:
        """Whether the entry is still ours; it stays so for another lease. Who cannot ask must take it for lost."""
        try:
            async with self.database.session() as connection:
                return await write_log.keep(connection, self.holder, entry, now=self.clock())
        except Retry:
            return False

    def _delivery(self, holders: Mapping[str, Sequence[Place]], entry: Entry) -> Delivery:
        def fields(step: Step) -> tuple[str, ...]:
            wanted = (name for place in holders[step.sys_id] for name in place.fetched)
            return tuple(dict.fromkeys(wanted))

        return Delivery(self.instance, self.manner, fields, partial(self.keeps, entry), entry.mode == "undo")

    # -- what nobody waits for any more ----------------------------------------------------------------------------

    async def trace(self, entry: Entry) -> End:
        """Find out what became of a write whose writer died, or whose answers did not come. Everything found: it is done.
        Nothing, and no transaction of that time can be running any more: it was not carried out. A part: that part is
        taken back.
        """
        looked_at = self.clock()  # who stops behind the look must not count that time to it
        steps = steps_of(entry)
        holders = await self._holders(Plan(steps), await self.places.of(entry))
        delivery = self._delivery(holders, entry)
        found = await delivery.trace(steps, await self._instance_time(entry))
        there = [one for one in found if one is not None]
        if len(there) == len(found):
            changes = [Change(*change) for change in entry.changes]
            return await self._answer(changes, Report(tuple(there)), holders)
        last_sent = max((at for at in (entry.sent_at, entry.silent_since) if at is not None), default=None)
        if last_sent is not None and looked_at < last_sent + self.look_after:
            return End("unknown", look_after=self.look_after)
        back = await self._send_back(entry, there, delivery)
        await self.bring_in(entry)
        report = Report(tuple(back), guard.not_carried_out(len(there), len(found)))
        return End("refused", outcome=[told(one) for one in back], refusal=guard.with_fates(report))

    async def _instance_time(self, entry: Entry) -> datetime | None:
        """When the entry was sent, by the instance's clock."""
        if entry.sent_at is None:
            return None
        return await self.instance.server_now() - (self.clock() - entry.sent_at)

    async def take_back(self, entry: Entry) -> Report:
        """Take an accepted write back, as far as nobody has changed the records since."""
        steps = steps_of(entry)
        holders = await self._holders(Plan(steps), await self.places.of(entry))
        delivery = self._delivery(holders, entry)
        made = made_of(entry.outcome or [])
        moved = moved_in(entry.outcome or [])
        done = [Outcome(step, Fate.DONE, made.get(step.sys_id)) for stage in stages(Plan(steps)) for step in stage]
        stay = [replace(one, fate=Fate.KEPT) for one in done if one.step.sys_id in moved]
        back = await self._send_back(entry, [one for one in done if one.step.sys_id not in moved], delivery)
        return Report((*stay, *back))

    async def _send_back(self, entry: Entry, done: Sequence[Outcome], delivery: Delivery) -> list[Outcome]:
        """One step at a time, the last first: a record that was changed since stays as it is, and so does what somebody
        else has taken back meanwhile.
        """
        ended = []
        delivery.restoring = True
        for one in reversed(done):
            back = inverse(one)
            if back is None:
                ended.append(replace(one, fate=Fate.KEPT))
                continue
            await self._goes_on(entry)
            (already,) = await delivery.trace((back,))
            report = (
                Report((already,))
                if already is not None and not already.moved
                else await delivery.run(Plan((back,)), partial(self._goes_on, entry))
            )
            (last,) = report.outcomes
            kept = last.fate is not Fate.DONE
            ended.append(replace(one, fate=Fate.KEPT if kept else Fate.REVERTED, refusal=report.refusal))
        return ended[::-1]

    async def _goes_on(self, entry: Entry) -> bool:
        """Asked before a step is taken back, and again right before the call. Raises Retry `write.taken` when another worker has the entry now."""
        if not await self.keeps(entry):
            raise Retry("write.taken", asked=f"take write {entry.id} back", answered="another worker has it now")
        return True

    async def bring_in(self, entry: Entry) -> None:
        """Have the records read back, whatever became of them. One that was created may have been deleted again."""
        named = [
            hints.Told(step.table, step.sys_id, step.table, None, None, deleted=step.operation is not Operation.UPDATE)
            for step in steps_of(entry)
        ]
        deleted = Plan(tuple(step for step in steps_of(entry) if step.operation is Operation.DELETE))
        holders = await self._holders(deleted, await self.places.of(entry))
        async with self.database.transaction() as connection:
            for sys_id, places in holders.items():
                for place in places:  # a deletion that was taken back is a new record, whose versions begin anew
                    await write_tables.forget_version(connection, place.row.relation, sys_id)
            await hints.add(connection, self.connection_id, named, now=self.clock())

    @property
    def look_after(self) -> timedelta:
        return timedelta(seconds=self.manner.longest)

    # -- what there is -------------------------------------------------------------------------------------------

    async def _holders(self, plan: Plan, places: Mapping[int, Place]) -> dict[str, list[Place]]:
        """The replica tables in which each record stands, or is going to stand, deepest class first."""
        written = {step.table for step in plan.steps}
        lineages = {place.row.source: place.table.lineage for place in places.values()}
        above = {table: [p for p in places.values() if p.row.source in lineages[table]] for table in written}
        holders = {step.sys_id: list(above[step.table]) for step in plan.steps}
        kept = [step for step in plan.steps if step.operation is not Operation.CREATE]
        for place in places.values():
            deeper = [step.sys_id for step in kept if step.table in place.table.lineage[1:]]
            for sys_id in await self._held_in(place, deeper):
                holders[sys_id].append(place)
        for found in holders.values():
            found.sort(key=lambda place: -len(place.table.lineage))
        return holders

    async def _held_in(self, place: Place, sys_ids: Sequence[str]) -> set[str]:
        if not sys_ids:
            return set()
        async with self.database.session() as connection:
            return await write_tables.held(connection, place.row.relation, sys_ids)

    async def _missing_reference(self, plan: Plan, holders: Mapping[str, Sequence[Place]]) -> Refusal | None:
        """A reference to nothing, which ServiceNow would store as it is (servicenow-api.md 1.7)."""
        wanted: dict[str, dict[str, str]] = {}
        new = {step.sys_id for step in plan.steps if step.operation is Operation.CREATE}
        for step in plan.steps:
            references = holders[step.sys_id][0].references
            pointing = ((name, key) for name, text in step.fields if name in references for key in text.split(","))
            for name, key in pointing:
                if key and key not in new and "@" not in key:
                    wanted.setdefault(references[name], {})[key] = name
        for table, keys in wanted.items():
            if (missing := await self._not_there(table, list(keys))) is not None:
                return guard.reference_to_nothing(table, keys[missing[0]], missing)
        return None

    async def _not_there(self, table: str, keys: list[str]) -> list[str] | None:
        """Some of these records of which at least one does not exist; None when all do."""
        async with self.database.transaction() as connection:
            known = await write_tables.known(connection, self.connection_id, table, keys)
        unknown = [key for key in keys if key not in known]
        for first in range(0, len(unknown), source.MOST_IDS):
            some = unknown[first : first + source.MOST_IDS]
            if await source.count(self.instance, table, queries.Query((queries.one_of("sys_id", some),))) < len(some):
                return some
        return None

    # -- answer --------------------------------------------------------------------------------------------------

    async def _answer(self, changes: Sequence[Change], report: Report, holders: Mapping[str, Sequence[Place]]) -> End:
        outcome = [told(one) for one in report.outcomes]
        if report.unknown:
            return End("unknown", outcome=outcome, look_after=self.look_after)
        if report.refusal is not None:
            refusal = guard.with_fates(report)
            return End("refused", outcome=outcome, refusal=refusal)
        if all(one.fate is Fate.NOT_SENT for one in report.outcomes) and report.outcomes:
            return End("abandoned")
        latest = {one.step.sys_id: one for one in report.outcomes}
        with suppress(Retry):  # else the replica learns them with the next poll
            await self.labeller.keep(renamed(report, {s: found[0].table.lineage for s, found in holders.items()}))
        written: dict[str, dict[int, list[Record]]] = {"rows": {}, "rows_beside": {}}
        gone: dict[str, dict[str, list[dict[str, Any]]]] = {"gone": {}, "gone_beside": {}}
        records = {(c.table_id, c.sys_id): {n: v[0] for n, v in c.values.items()} for c in changes}
        for sys_id, one in latest.items():
            for place in holders[sys_id]:  # beside: in a table of the hierarchy that the client did not name
                beside = "" if (place.row.id, sys_id) in records else "_beside"
                if one.step.operation is Operation.DELETE:
                    at = (one.at or await self.instance.server_now()).isoformat()
                    last = records.get((place.row.id, sys_id), {})
                    buried = {"sys_id": sys_id, "at": at, "record": last}
                    gone["gone" + beside].setdefault(str(place.row.id), []).append(buried)
                elif one.record is not None:
                    written["rows" + beside].setdefault(place.row.id, []).append(one.record)
        places = {place.row.id: place for found in holders.values() for place in found}
        answer = {
            **{
                part: {str(t): await self._rows(places[t].layout, records) for t, records in of_tables.items()}
                for part, of_tables in written.items()
            },
            **gone,
            "said": said_of(changes),
            "notices": [guard.overwritten(one) for one in report.outcomes if one.differences],
            "steps": [],
        }
        return End("done", outcome=outcome, answer=answer)

    async def _rows(self, layout: Layout, records: Sequence[Record]) -> list[dict[str, str | None]]:
        """Records as replica rows, labels included, each value in the text form that Postgres reads."""
        page = {name: [record.get(name, "") for record in records] for name in layout.fetched}
        labels = await self.labeller.words(layout, page)
        columns = rows.copy_columns(layout, page, len(records), labels)
        names = [column.name for column in layout.loaded]
        return [
            {name: text or None for name, text in zip(names, texts, strict=True)}
            for texts in zip(*columns, strict=True)
        ]


def said_of(changes: Sequence[Change]) -> dict[str, dict[str, Any]]:
    """What the client itself changed, by table and record: the first value before and the last after, for the feed."""
    said: dict[str, dict[str, Any]] = {}
    for change in changes:
        of_table = said.setdefault(str(change.table_id), {})
        record = of_table.setdefault(change.sys_id, {"operation": change.operation, "changes": {}})
        for name, (before, after) in change.values.items():
            first = record["changes"].get(name, (before, after))[0]
            record["changes"][name] = [first, after]
    return said


def _stamp(step: Step, stamp: Mapping[str, str], place: Place) -> Step:
    if step.operation is Operation.DELETE:
        return step
    written = {column.source for column in place.table.columns.values() if not column.closed}
    added = tuple((n, text) for n, text in stamp.items() if n in written and n not in step.written)
    return Step(step.operation, step.table, step.sys_id, step.fields + added, step.base, step.journals)


def _addressed(step: Step, holders: Sequence[Place]) -> Step:
    """The step, sent to the deepest class that we know the record to be of: its answer has the columns of all."""
    table = holders[0].row.source
    return (
        step if table == step.table else Step(step.operation, table, step.sys_id, step.fields, step.base, step.journals)
    )


def _shown(plan: Plan, refusal: Refusal | None) -> list[dict[str, Any]]:
    """A plan as rows for plan_write: the calls, in the order in which they would be sent."""
    steps = [step for stage in stages(plan) for step in stage]
    shown = []
    for number, step in enumerate(steps, 1):
        request = request_of(step, ())
        fields = step.written | dict(step.journals)
        shown.append(
            {"step": number, "method": request.method, "path": request.path, "fields": fields, "refusal": None}
        )
    if refusal is not None:
        shown.append({"step": None, "method": None, "path": None, "fields": None, "refusal": refusal.message})
    return shown
