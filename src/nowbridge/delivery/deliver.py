"""Carries a plan out: look, send stage by stage, compare, and revert when a step was refused.

Nothing is sent unless every record still stands as the plan took it to be. A write whose answer was lost is looked for
in the instance until no transaction of that time can still be running there; only then is it sent again, so nothing is
done twice. Creates carry the sys_id that we chose, which makes them findable.

ServiceNow has no transaction over several records. Reverting is writing again: rules and notifications run, journal
entries stay, and a record that we may not delete stays. Every step's outcome says what became of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from nowbridge.delivery import compare
from nowbridge.delivery.calls import record_of, records_of, request_of
from nowbridge.delivery.compare import Difference, Record
from nowbridge.delivery.order import Stage, stages
from nowbridge.delivery.outcomes import Fate, Outcome, Report, inverse, refused, taken_back
from nowbridge.delivery.refusals import NO_ANSWER, dropped, nothing_found, other_sys_id, refusal_of, stale
from nowbridge.model.errors import NowbridgeError, Park, Retry, Stop, Unsettled
from nowbridge.model.plan import Operation, Plan, Refusal, Step
from nowbridge.servicenow import answers, batch, identity, tables
from nowbridge.servicenow import query as queries
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.pages import PageRequest
from nowbridge.transport.messages import Response

MOST_LOOKED_AT = tables.MOST_IDS
MOST_IN_BATCH = 100
LONG_BATCH = 5.0  # seconds
LOOKED_LATELY = 1.0  # seconds
NODES_APART = timedelta(seconds=2)  # how far the clocks of one instance's nodes may be apart


@dataclass(frozen=True, slots=True)
class Manner:
    """`batch`: steps in one call, as long as it is not known how quick the instance is. `longest`: seconds that a transaction of the instance may take, after which a write
    that cannot be found was not carried out. `parallel`: calls side by side, as far as the budget allows.
    """

    batch: int = 25
    longest: float = 60.0
    parallel: int = 4
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    monotonic: Callable[[], float] = time.monotonic


Begin = Callable[[], Awaitable[bool]]
"""Called once, right before the first write: False when the plan was given up meanwhile."""

Keeps = Callable[[], Awaitable[bool]]
"""Whether the plan is still ours to carry out: asked before every further call, so that who fell silent for too long
sends nothing beside the one who took over.
"""

Fields = Callable[[Step], tuple[str, ...]]
"""The fields that are wanted back of a step's record."""


async def _always() -> bool:
    return True


@dataclass(slots=True)
class Delivery:
    instance: Instance
    manner: Manner
    fields: Fields
    keeps: Keeps = field(default=_always)
    restoring: bool = False  # what is created has been there: better without a field that is ignored than not at all
    _free: int = 0
    _looked_at: float = float("-inf")
    _begun: datetime | None = None  # by the instance's clock; for journal entries only

    async def run(self, plan: Plan, begin: Begin) -> Report:
        """Carry the plan out. Raises what reading raises (Retry, Stop) while nothing has been sent yet."""
        refusal = await self._look(plan)
        if refusal is not None:
            return Report(tuple(Outcome(step, Fate.NOT_SENT) for step in plan.steps), refusal)
        if any(step.journals for step in plan.steps):
            self._begun = await self.instance.server_now()
        if not await self._holds(begin):
            return Report(tuple(Outcome(step, Fate.NOT_SENT) for step in plan.steps))
        done: list[list[Outcome]] = []
        self._free = self.manner.parallel
        for stage in stages(plan):
            done.append(await self._send_stage(stage))
            self._free = 0
            if any(outcome.fate is not Fate.DONE for outcome in done[-1]):
                return await self._fail(done)
        return Report(tuple(outcome for stage in done for outcome in stage))

    async def trace(self, steps: Sequence[Step], sent_at: datetime | None = None) -> list[Outcome | None]:
        """What the instance shows of steps whose answers nobody heard: each one's outcome, or None where it is not there.
        `sent_at`, by the instance's clock, is when the first of them may have arrived.
        """
        self._begun = sent_at
        return await asyncio.gather(*(self._trace(step) for stage in stages(Plan(tuple(steps))) for step in stage))

    # -- look ----------------------------------------------------------------------------------------------------

    async def _look(self, plan: Plan) -> Refusal | None:
        """Read what the plan is about to change. Returns why it must not be carried out, if so."""
        touched = [step for step in plan.steps if step.operation is not Operation.CREATE]
        found = await self._stand(touched)
        return next((refusal for step in touched if (refusal := stale(step, found.get(step.sys_id)))), None)

    async def _stand(self, touched: Sequence[Step]) -> dict[str, Record]:
        """The records of these steps as they stand, by sys_id, with what the steps take them to be."""
        by_table: dict[str, list[Step]] = {}
        for step in touched:
            by_table.setdefault(step.table, []).append(step)
        chunks = [
            (table, steps[first : first + size])
            for table, steps in by_table.items()
            for size in (self._even(len(steps)),)
            for first in range(0, len(steps), size)
        ]
        room = asyncio.Semaphore(self.manner.parallel)

        async def read(table: str, steps: Sequence[Step]) -> dict[str, Record]:
            async with room:
                names = dict.fromkeys(name for step in steps for name, _ in step.base if step.fields)
                wanted = ("sys_id", "sys_mod_count", *(name for name in names if name != "sys_mod_count"))
                return await self._read(table, [step.sys_id for step in steps], wanted)

        found: dict[str, Record] = {}
        for records in await asyncio.gather(*(read(table, steps) for table, steps in chunks)):
            found |= records
        return found

    def _even(self, number: int) -> int:
        """How many to look at in one call: as many as fit, but where calls have to wait for others, all the same number."""
        turns = -(-number // (MOST_LOOKED_AT * self.manner.parallel))
        return MOST_LOOKED_AT if turns < 2 else -(-number // (turns * self.manner.parallel))  # noqa: PLR2004 - one after another

    async def _read(self, table: str, sys_ids: Sequence[str], fields: tuple[str, ...]) -> dict[str, Record]:
        answer = await tables.read_records(self.instance, table, sys_ids, fields)
        return {record["sys_id"]: record for record in records_of(answer.body)}

    # -- send ----------------------------------------------------------------------------------------------------

    async def _send_stage(self, stage: Stage) -> list[Outcome]:
        """Calls side by side, each of which takes what is next, and more of it the quicker the instance was so far."""
        found: dict[int, list[Outcome]] = {}
        most, begun = self.manner.batch, 0
        share = self._share(len(stage), most)

        async def send() -> None:
            nonlocal most, begun, share
            while begun < len(stage):
                first, steps = begun, stage[begun : begun + share]
                begun += len(steps)
                if not await self._may_go_on():
                    found[first] = [Outcome(step, Fate.UNKNOWN) for step in steps]
                    continue
                left_at = self.manner.monotonic()
                found[first] = await self._send(steps)
                could = _most_steps(len(steps), self.manner.monotonic() - left_at)
                if could > most and begun < len(stage):
                    most, share = could, self._share(len(stage) - begun, could)

        await asyncio.gather(*(send() for _ in range(self.manner.parallel)))
        return [outcome for first in sorted(found) for outcome in found[first]]

    def _share(self, steps: int, most: int) -> int:
        """How many of these steps each call takes, at most so many, so that all that go side by side take the same."""
        turns = max(1, -(-steps // (most * self.manner.parallel)))
        return -(-steps // (turns * self.manner.parallel))

    async def _may_go_on(self) -> bool:
        """The first calls leave right behind `begin`, and need not ask again."""
        if self._free > 0:
            self._free -= 1
            return True
        return await self._holds(self.keeps)

    async def _holds(self, asked: Keeps) -> bool:
        """Look whether the plan is still ours, and remember when that was."""
        now = self.manner.monotonic()
        held = await asked()
        self._looked_at = now if held else float("-inf")
        return held

    async def _leave(self) -> None:
        """A call that had to wait for its turn, or is tried again, looks once more. Raises Retry `write.taken`."""
        lately = self.manner.monotonic() - self._looked_at < LOOKED_LATELY
        if not lately and not await self._holds(self.keeps):
            raise Retry("write.taken", asked="send a write", answered="another worker has it now")

    async def _send(self, steps: Sequence[Step]) -> list[Outcome]:
        """Send these steps in one call; what a batch did not come to is sent again in a smaller one."""
        outcomes: dict[int, Outcome] = {}
        left = list(enumerate(steps))
        size = len(left)
        first = True
        while left:
            if not first and not await self._holds(self.keeps):
                return [outcomes.get(at) or Outcome(step, Fate.UNKNOWN) for at, step in enumerate(steps)]
            first = False
            now, later = left[:size], left[size:]
            answered = await self._call([step for _, step in now])
            again = [one for one, response in zip(now, answered, strict=True) if response is None]
            came = [(at, step, r) for (at, step), r in zip(now, answered, strict=True) if r is not None]
            ended = await asyncio.gather(*(self._outcome(step, response) for _, step, response in came))
            outcomes |= {at: outcome for (at, _, _), outcome in zip(came, ended, strict=True)}
            if len(again) == len(now) and size == 1:
                outcomes[now[0][0]] = refused(now[0][1], Refusal("08006", NO_ANSWER))
                again = []
            size = max(1, size // 2) if again else size
            left = [*again, *later]
        return [outcomes[at] for at in range(len(steps))]

    async def _call(self, steps: Sequence[Step]) -> list[Response | NowbridgeError | None]:
        """The response to each step, the error that stood in its way, or None where it was not carried out."""
        requests = [replace(request_of(step, self.fields(step)), leaves=self._leave) for step in steps]
        try:
            if len(requests) == 1:
                answer = await self.instance.call(requests[0])
                return [Response(answer.status, body=answer.body, server_time=answer.server_time)]
            asked = f"write {len(requests)} records"
            return list(await batch.send(self.instance, requests, asked=asked))
        except NowbridgeError as error:
            return [error] * len(steps)

    async def _outcome(self, step: Step, response: Response | NowbridgeError) -> Outcome:
        error: NowbridgeError | None = response if isinstance(response, NowbridgeError) else None
        if isinstance(response, Response):
            try:
                answers.check(request_of(step, ()), response)
            except NowbridgeError as found:
                error = found
            else:
                return self._compared(step, response)
        if error is not None and error.code == "write.taken":
            return Outcome(step, Fate.UNKNOWN)
        if isinstance(error, (Unsettled, Retry)) and not _never_arrived(error):
            return await self._find(step)
        if isinstance(error, Park) and error.code == "record.missing" and step.operation is Operation.DELETE:
            return Outcome(step, Fate.DONE)
        assert error is not None
        return refused(step, refusal_of(error))

    def _compared(self, step: Step, response: Response) -> Outcome:
        if step.operation is Operation.DELETE:
            return Outcome(step, Fate.DONE, at=response.server_time)
        record = record_of(response.body)
        if step.operation is Operation.CREATE and record.get("sys_id", step.sys_id) != step.sys_id:
            made = Step(step.operation, step.table, record["sys_id"], step.fields)
            return Outcome(made, Fate.REFUSED, record, other_sys_id(step, record["sys_id"]), at=response.server_time)
        different = compare.differences(step, record)
        lost = self._lost(step, different)
        if lost is not None:
            return Outcome(step, Fate.REFUSED, record, dropped(step, lost), different, response.server_time)
        return Outcome(step, Fate.DONE, record, None, different, response.server_time)

    async def _find(self, step: Step) -> Outcome:
        """A write without an answer: look until it is there, or until it cannot come any more; then send it again."""
        waited = 0.0
        pause = 0.5
        while True:
            try:
                found = await self._trace(step)
            except (Retry, Stop):
                found = None
            if found is not None:
                return found
            if waited >= self.manner.longest:
                break
            await self.manner.sleep(pause)
            waited += pause
            pause = min(pause * 2, 10.0)
        if step.journals or not await self._holds(self.keeps):
            return Outcome(step, Fate.UNKNOWN)
        if (moved := await self._look(Plan((step,)))) is not None:
            return refused(step, nothing_found(step, moved))
        (answered,) = await self._call([step])
        if isinstance(answered, Response):
            return await self._outcome(step, answered)
        return Outcome(step, Fate.UNKNOWN)

    async def _trace(self, step: Step) -> Outcome | None:
        """The step's outcome if the instance shows that it was carried out, else None."""
        wanted = dict.fromkeys(("sys_id", "sys_updated_by", *self.fields(step)))
        record = (await self._read(step.table, [step.sys_id], tuple(wanted))).get(step.sys_id)
        if step.operation is Operation.DELETE:
            return Outcome(step, Fate.DONE, at=await self.instance.server_now()) if record is None else None
        different = compare.differences(step, record) if record is not None else ()
        if record is None or self._lost(step, different) is not None or not await self._shows(step, record):
            return None
        return Outcome(step, Fate.DONE, record, None, different, traced=True)

    def _lost(self, step: Step, different: Sequence[Difference]) -> Difference | None:
        if self.restoring and step.operation is Operation.CREATE:
            return None
        return next((one for one in different if one.dropped), None)

    async def _shows(self, step: Step, record: Record) -> bool:
        """Whether a record shows that this step was carried out: it has a value or an entry of it, or was written last by our
        account, be it that a rule made something else of all values. Else somebody else was there alone, or later; to call
        that done would be a guess.
        """
        if step.operation is Operation.CREATE:
            return True
        changing = compare.changing(step)
        if any(compare.same(sent, record[field]) for field, sent in changing if field in record):
            return True
        if step.journals:
            return await self._has_entry(step)
        return not changing or record.get("sys_updated_by", "") == await self._account()

    async def _account(self) -> str | None:
        """The user name that we write by, None where the instance does not tell."""
        try:
            return (await identity.current_user(self.instance, None)).user_name
        except Stop as error:
            if error.code != "user.unknown":
                raise
            return None

    async def _has_entry(self, step: Step) -> bool:
        """Whether the step's first journal entry is there: all of them went in one call."""
        element, text = step.journals[0]
        since = "" if self._begun is None else f"^sys_created_on>={queries.stamp(self._begun - NODES_APART)}"
        query = f"element_id={step.sys_id}^element={element}{since}^ORDERBYDESCsys_created_on"
        request = PageRequest(query, tables.MOST_IDS)
        answer = await tables.read_page(self.instance, "sys_journal_field", request, ("sys_id", "value"))
        return any(compare.same(entry.get("value", ""), text) for entry in records_of(answer.body))

    # -- fail ----------------------------------------------------------------------------------------------------

    async def _fail(self, done: Sequence[Sequence[Outcome]]) -> Report:
        """Take back what was written, the last stage first. A step that is unknown stays so."""
        self.restoring = True
        ended = [await self._take_back(stage) for stage in reversed(done)]
        first = next((o.refusal for stage in done for o in stage if o.refusal is not None), None)
        return Report(tuple(o for stage in reversed(ended) for o in stage), first or Refusal("08007", NO_ANSWER))

    async def _take_back(self, stage: Sequence[Outcome]) -> list[Outcome]:
        """What became of a stage after as much of it was taken back as can be: not what somebody has changed since."""
        ended = [replace(one, fate=Fate.KEPT) if one.fate is Fate.DONE else one for one in stage]
        backs = {at: back for at, one in enumerate(stage) if one.written and (back := inverse(one)) is not None}
        try:
            updates = [back for back in backs.values() if back.operation is Operation.UPDATE]
            stand = await self._stand(updates) if await self._holds(self.keeps) else None
        except (Retry, Stop):
            stand = None
        if stand is None:
            return [Outcome(one.step, Fate.UNKNOWN) if at in backs else one for at, one in enumerate(ended)]
        moved = {step.sys_id: stale(step, stand.get(step.sys_id)) for step in updates}
        going = {at: back for at, back in backs.items() if moved.get(back.sys_id) is None}
        gone = dict(zip(going, await self._send_stage(tuple(going.values())), strict=True))
        for at in backs:
            ended[at] = taken_back(stage[at], gone.get(at), moved.get(stage[at].step.sys_id))
        return ended


def _most_steps(steps: int, seconds: float) -> int:
    """How many steps to send in one call after one of so many took so long: far from what the instance allows a batch
    (30 s, servicenow-api.md 5), because another one may be slower.
    """
    return min(MOST_IN_BATCH, 4 * steps, int(LONG_BATCH * steps / max(seconds, 0.001)))


def _never_arrived(error: NowbridgeError) -> bool:
    """Whether the error itself says that nothing was carried out."""
    return error.code in {"busy.rate_limit", "network.unreachable"}
