"""Holds the callers of this process to the allowance of one instance (`transport.budget`): the urgent first, within
one purpose first come first served.

`Client` enters `slot()` once per call that it puts on the wire and tells `note()` what came back; it knows nothing
else of budgets. Alone, a gate keeps an allowance of its own. With a `Supply` it holds a share of what all workers may
have together: it asks for a share when callers wait, keeps it while calls go on, and gives it back when they end, so
that a call costs no trip to the database. It never has more in flight than the share it was told of, and none at all
once that word is older than its lease.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from nowbridge.model.errors import NowbridgeError
from nowbridge.transport import purpose as purposes
from nowbridge.transport.budget import Allowance, Purpose, Want

_TICK: Final = 0.25  # seconds between two exchanges while calls go on: how soon others get a share
_HUNGRY: Final = 0.05  # ... while callers wait and there is no share at all
_LINGER: Final = 1.0  # how long exchanges go on after the last call
_TELL_EVERY: Final = 5.0  # how often the tally of calls is handed on
_TOKENS_PER_PLACE: Final = 8


@dataclass(slots=True)
class Tally:
    """Calls about one subject for one purpose, since they were last handed on. `seconds` on the wire."""

    calls: int = 0
    failures: int = 0
    refused: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back of one call about `subject` (a table's name, else a path). `refused` means 429; `closed_for` are the
    seconds after which the instance wants to be asked again; `slow`: it took far longer than its like.
    """

    subject: str
    elapsed: float
    refused: bool = False
    failed: bool = False
    slow: bool = False
    closed_for: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a gate tells when it exchanges: `keep` requests may be in flight until it hears the answer, `in_flight`
    are. The rest is what came back since the last time: good answers, whether one was slow or refused, and for how
    many seconds the instance wants no call at all.
    """

    keep: int
    in_flight: int
    wants: tuple[Want, ...]
    tokens_wanted: int = 0
    tokens_unused: int = 0
    calm: int = 0
    slow: bool = False
    refused: bool = False
    closed_for: float = 0.0
    tallies: tuple[tuple[str, Purpose, Tally], ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """`usable` requests may be in flight for `lease` seconds, and `tokens` more may be made (None: no limit per hour),
    but none for `closed_for` seconds.
    """

    usable: int
    lease: float
    tokens: int | None = None
    closed_for: float = 0.0


class Supply(Protocol):
    """Where shares come from."""

    async def exchange(self, report: Report) -> Grant: ...

    async def leave(self, report: Report) -> None:
        """The gate closes: everything that it holds is free."""


@dataclass(slots=True)
class _News:
    """What answers have shown since the last exchange."""

    calm: int = 0
    slow: bool = False
    refused: bool = False
    closed_for: float = 0.0


@dataclass(order=True, slots=True)
class _Waiting:
    number: int
    purpose: Purpose = field(compare=False)
    since: float = field(compare=False)
    turn: asyncio.Future[None] = field(compare=False)


class Gate:
    """`monotonic` is needed with a supply only."""

    def __init__(
        self, in_flight: int, *, supply: Supply | None = None, monotonic: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._allowance = Allowance(now=in_flight, most=in_flight)
        self._supply = supply
        self._monotonic = monotonic
        self._inside: dict[int, tuple[Purpose, float]] = {}
        self._waiting: list[_Waiting] = []
        self._numbers = itertools.count()
        self._usable = 0 if supply is not None else in_flight
        self._granted_until = 0.0
        self._closed_until = 0.0
        self._tokens: int | None = None
        self._news = _News()
        self._tallies: dict[tuple[str, Purpose], Tally] = {}
        self._told_at = 0.0
        self._peak = 0
        self._reported: tuple[Want, ...] = ()
        self._used_at = 0.0
        self._keeper: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()

    @property
    def allowance(self) -> Allowance:
        return self._allowance

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Held while one request is on the wire."""
        number = await self._enter()
        try:
            yield
        finally:
            del self._inside[number]
            self._used_at = self._monotonic()
            if len(self._inside) >= self._usable:
                self._nudge.set()  # somebody else waits for this place
            self._admit()

    def note(self, heard: Heard) -> None:
        """Learn from an answer."""
        if self._supply is None:
            self._learn_alone(heard)
        else:
            self._collect(heard)
        self._admit()

    def _learn_alone(self, heard: Heard) -> None:
        before = self._allowance
        self._allowance = before.after_slow() if heard.slow else before.after(refused=heard.refused)
        self._usable = self._allowance.now

    def _collect(self, heard: Heard) -> None:
        tally = self._tallies.setdefault((heard.subject, purposes.current()), Tally())
        tally.calls += 1
        tally.failures += heard.failed
        tally.refused += heard.refused
        tally.seconds += heard.elapsed
        news = self._news
        news.calm += not (heard.refused or heard.slow or heard.failed)
        news.slow, news.refused = news.slow or heard.slow, news.refused or heard.refused
        news.closed_for = max(news.closed_for, heard.closed_for)
        if heard.refused or heard.closed_for:
            self._usable = min(self._usable, max(1, self._usable // 2))
            self._closed_until = max(self._closed_until, self._monotonic() + heard.closed_for)
            self._nudge.set()

    async def close(self) -> None:
        """Give everything back. Who waits is cancelled."""
        for waiting in self._waiting:
            waiting.turn.cancel()
        self._waiting.clear()
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        if self._supply is not None:
            self._usable, self._told_at = 0, float("-inf")
            with suppress(NowbridgeError):  # the claim runs out by itself
                await self._supply.leave(self._report(keep=0))

    async def _enter(self) -> int:
        number = next(self._numbers)
        purpose, since = purposes.current(), self._monotonic()
        if not self._waiting and self._has_place():
            self._let_in(number, purpose, since)
            return number
        waiting = _Waiting(number, purpose, since, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._peak = max(self._peak, len(self._inside) + len(self._waiting))
        self._keep_supplied(waiting)
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            if number in self._inside:  # admitted and cancelled at the same time: pass the place on
                del self._inside[number]
                self._admit()
            raise
        return number

    def _has_place(self) -> bool:
        if len(self._inside) >= self._usable:
            return False
        if self._supply is None:
            return True
        now = self._monotonic()
        return now < self._granted_until and now >= self._closed_until and self._tokens != 0

    def _let_in(self, number: int, purpose: Purpose, since: float) -> None:
        self._inside[number] = (purpose, since)
        self._peak = max(self._peak, len(self._inside))
        if self._tokens is not None:
            self._tokens -= 1

    def _admit(self) -> None:
        while self._waiting and self._has_place():
            now = self._monotonic()
            chosen = min(self._waiting, key=lambda w: (Want(w.purpose, now - w.since).rank, w.number))
            self._waiting.remove(chosen)
            if not chosen.turn.done():
                self._let_in(chosen.number, chosen.purpose, chosen.since)
                chosen.turn.set_result(None)

    def _keep_supplied(self, newest: _Waiting) -> None:
        """Ask at once for what the last report did not say: more places, or a more urgent purpose. What it did say comes
        with the next tick.
        """
        if self._supply is None:
            return
        more = len(self._inside) + len(self._waiting) > len(self._reported)
        if more or all(newest.purpose < want.purpose for want in self._reported):
            self._nudge.set()
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._exchange_while_needed(self._supply))

    async def _exchange_while_needed(self, supply: Supply) -> None:
        """Exchange at every tick and nudge until nobody calls and nothing is held. What goes wrong is told to everybody
        who waits; the next caller tries again.
        """
        while True:
            idle = not self._waiting and not self._inside and self._monotonic() - self._used_at > _LINGER
            try:
                await self._exchange(supply, give_up=idle)
            except Exception as error:
                if not self._waiting and not isinstance(error, NowbridgeError):
                    raise
                self._fail(error)  # theirs: they asked for a place
                return
            if idle and not self._waiting:
                return
            await self._pause()

    async def _exchange(self, supply: Supply, *, give_up: bool) -> None:
        self._nudge.clear()
        # Between the report and its answer no more may begin than was reported: others may be given the rest.
        holds = self._monotonic() < self._granted_until and not give_up
        self._usable = max(len(self._inside), self._usable if holds else 0)
        kept, asked_at = self._usable, self._monotonic()
        grant = await supply.exchange(self._report(keep=kept))
        self._usable = grant.usable
        self._granted_until = asked_at + grant.lease
        self._closed_until = max(self._closed_until, self._monotonic() + grant.closed_for) if grant.closed_for else 0.0
        self._tokens = grant.tokens
        self._admit()
        if len(self._inside) < kept and self._usable < kept:
            self._nudge.set()  # give back at once what is not used

    def _report(self, *, keep: int) -> Report:
        news, self._news = self._news, _News()
        unused, self._tokens = self._tokens or 0, None if self._tokens is None else 0
        self._reported = self._wants()
        return Report(
            keep=keep,
            in_flight=len(self._inside),
            wants=self._reported,
            tokens_wanted=len(self._reported) * _TOKENS_PER_PLACE,
            tokens_unused=unused,
            calm=news.calm,
            slow=news.slow,
            refused=news.refused,
            closed_for=news.closed_for,
            tallies=self._due_tallies(),
        )

    def _wants(self) -> tuple[Want, ...]:
        """What is on the wire and what waits. Places that were used since the last report are wanted too, behind
        everything else: between two pages a loader is busy writing, and it comes back.
        """
        now = self._monotonic()
        wants = [Want(purpose, now - since) for purpose, since in self._inside.values()]
        wants += [Want(waiting.purpose, now - waiting.since) for waiting in self._waiting]
        wants += [Want(Purpose.BACKFILL, 0.0)] * (self._peak - len(wants))
        self._peak = len(self._inside) + len(self._waiting)
        wants.sort(key=lambda want: (want.rank, -want.age))
        return tuple(wants[: self._allowance.most])

    def _due_tallies(self) -> tuple[tuple[str, Purpose, Tally], ...]:
        if self._monotonic() - self._told_at < _TELL_EVERY:
            return ()
        told, self._tallies = self._tallies, {}
        self._told_at = self._monotonic()
        return tuple((subject, purpose, tally) for (subject, purpose), tally in told.items())

    def _fail(self, error: Exception) -> None:
        self._usable, self._tokens = 0, None
        for waiting in self._waiting:
            if not waiting.turn.done():
                waiting.turn.set_exception(error)
        self._waiting.clear()

    async def _pause(self) -> None:
        hungry = self._waiting and self._usable == 0
        with suppress(TimeoutError):
            await asyncio.wait_for(self._nudge.wait(), _HUNGRY if hungry else _TICK)
