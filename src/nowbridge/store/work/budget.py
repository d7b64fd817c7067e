"""The budget of one instance, shared by all workers on this database (`transport.budget` has the rules).

A worker exchanges a report for a grant in one short transaction under the lock of the instance's row. What is granted
to all living claims together never exceeds what is allowed, except by calls that were on the wire when less became
allowed. A dead worker's claim is void when its lease runs out. All times are this database's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from nowbridge.store.database import Connection, Database
from nowbridge.store.ddl import Relation
from nowbridge.transport.budget import Allowance, Bucket, Claim, Purpose, Want, share_of
from nowbridge.transport.gate import Grant, Report, Tally

_TENURE = timedelta(seconds=2)  # how long a place stays with a worker before an equal may have it
_NARROW_EVERY = timedelta(seconds=1)  # the refusals of one burst count once


@dataclass(frozen=True, slots=True)
class SharedBudget:
    """`transport.gate.Supply` for one worker and instance. `most` in flight and `per_hour` (0: no limit) are this
    worker's settings; of several workers' the lowest holds. `lease` is how long a grant stands unrenewed.
    """

    database: Database
    url: str
    holder: str
    most: int
    per_hour: int = 0
    lease: timedelta = timedelta(seconds=15)

    async def exchange(self, report: Report) -> Grant:
        async with self.database.transaction() as connection:
            now, state = await _locked(connection, self.url, self.most, self.per_hour)
            others = [claim for claim in await _claims(connection, self.url, now) if claim.row.holder != self.holder]
            state = state.heard(report, now, most=min([self.most, *(claim.most for claim in others)]))
            usable, granted = self._share(report, others, state.allowance.now, await self._before(connection, now))
            tokens, state = state.take(report, now)
            await _store_claim(connection, self, report, granted, now)
            await _store_state(connection, self.url, state, now)
            await _store_tallies(connection, self.url, report.tallies, now)
        return Grant(usable, self.lease.total_seconds(), tokens, state.closed_for(now))

    async def leave(self, report: Report) -> None:
        async with self.database.transaction() as connection:
            now, state = await _locked(connection, self.url, self.most, self.per_hour)
            state = state.heard(report, now, most=state.allowance.most)
            await connection.execute(
                "DELETE FROM nowbridge.budget_claim WHERE url = %s AND holder = %s", (self.url, self.holder)
            )
            await _store_state(connection, self.url, state, now)
            await _store_tallies(connection, self.url, report.tallies, now)

    def _share(self, report: Report, others: Sequence[_Claimed], allowed: int, before: Claim) -> tuple[int, int]:
        """How many may be in flight from now on, and how many places are held: what the worker may have on the wire until
        it hears this stays counted, and is given back with its next report.
        """
        mine = Claim(self.holder, report.wants, before.granted, before.settled)
        share = share_of(self.holder, [mine, *(claim.row for claim in others)], allowed)
        usable = min(share, max(0, allowed - sum(claim.row.granted for claim in others)))
        return usable, max(usable, report.keep)

    async def _before(self, connection: Connection, now: datetime) -> Claim:
        cursor = await connection.execute(
            "SELECT granted, held_since FROM nowbridge.budget_claim"
            " WHERE url = %s AND holder = %s AND lease_until > %s",
            (self.url, self.holder, now),
        )
        row = await cursor.fetchone()
        granted, since = row or (0, now)
        return Claim(self.holder, (), granted, settled=bool(granted) and now - since < _TENURE)


@dataclass(frozen=True, slots=True)
class _Claimed:
    row: Claim
    most: int


@dataclass(frozen=True, slots=True)
class _State:
    """The instance's row."""

    allowance: Allowance
    narrowed_at: datetime | None
    closed_until: datetime | None
    bucket: Bucket | None

    def heard(self, report: Report, now: datetime, *, most: int) -> _State:
        allowance, narrowed_at = self.allowance.within(most), self.narrowed_at
        if report.refused or report.slow:
            if narrowed_at is None or now - narrowed_at >= _NARROW_EVERY:
                allowance = allowance.after(refused=True) if report.refused else allowance.after_slow()
                narrowed_at = now
        elif report.calm:
            allowance = allowance.after_calm(report.calm)
        closed = [self.closed_until] if self.closed_until else []
        if report.closed_for:
            closed.append(now + timedelta(seconds=report.closed_for))
        bucket = self.bucket.give_back(report.tokens_unused) if self.bucket else None
        return _State(allowance, narrowed_at, max(closed, default=None), bucket)

    def take(self, report: Report, now: datetime) -> tuple[int | None, _State]:
        if self.bucket is None:
            return None, self
        most_urgent = min((want.purpose for want in report.wants), default=Purpose.BACKFILL)
        wanted = 0 if self.closed_for(now) else report.tokens_wanted
        tokens, left = self.bucket.take(wanted, most_urgent)
        return tokens, _State(self.allowance, self.narrowed_at, self.closed_until, left)

    def closed_for(self, now: datetime) -> float:
        return max(0.0, (self.closed_until - now).total_seconds()) if self.closed_until else 0.0


async def _locked(connection: Connection, url: str, most: int, per_hour: int) -> tuple[datetime, _State]:
    """The database's time after the lock was had, and the state as of that time."""
    query = (
        "SELECT allowed, most, calm, narrowed_at, closed_until, saved, saved_at, clock_timestamp()"
        " FROM nowbridge.budget WHERE url = %s FOR UPDATE"
    )
    row = await (await connection.execute(query, (url,))).fetchone()
    if row is None:
        await connection.execute(
            "INSERT INTO nowbridge.budget (url, allowed, most) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (url, most, most),
        )
        row = await (await connection.execute(query, (url,))).fetchone()
    if row is None:
        raise AssertionError("a row that was just made")
    allowed, row_most, calm, narrowed_at, closed_until, saved, saved_at, now = row
    bucket = None
    if per_hour:
        full = Bucket(per_hour, 0.0).most
        bucket = Bucket(per_hour, full if saved is None else saved).filled((now - saved_at).total_seconds())
    return now, _State(Allowance(allowed, row_most, calm), narrowed_at, closed_until, bucket)


async def _claims(connection: Connection, url: str, now: datetime) -> list[_Claimed]:
    cursor = await connection.execute(
        "SELECT holder, granted, wants, most, claimed_at, held_since FROM nowbridge.budget_claim"
        " WHERE url = %s AND lease_until > %s",
        (url, now),
    )
    return [
        _Claimed(Claim(holder, _wants(wants, (now - at).total_seconds()), granted, settled=now - since < _TENURE), most)
        for holder, granted, wants, most, at, since in await cursor.fetchall()
    ]


def _wants(stored: list[list[Any]], since: float) -> tuple[Want, ...]:
    return tuple(Want(Purpose(purpose), age + since) for purpose, age in stored)


async def _store_claim(
    connection: Connection, budget: SharedBudget, report: Report, granted: int, now: datetime
) -> None:
    await connection.execute(
        "INSERT INTO nowbridge.budget_claim AS c"
        " (url, holder, granted, in_flight, most, wants, claimed_at, held_since, lease_until)"
        " VALUES (%(url)s, %(holder)s, %(granted)s, %(flight)s, %(most)s, %(wants)s, %(now)s, %(now)s, %(until)s)"
        " ON CONFLICT (url, holder) DO UPDATE SET granted = excluded.granted, in_flight = excluded.in_flight,"
        "  most = excluded.most, wants = excluded.wants, claimed_at = excluded.claimed_at,"
        "  lease_until = excluded.lease_until,"
        "  held_since = CASE WHEN excluded.granted > c.granted THEN excluded.held_since ELSE c.held_since END",
        {
            "url": budget.url,
            "holder": budget.holder,
            "granted": granted,
            "flight": report.in_flight,
            "most": budget.most,
            "wants": Jsonb([[int(want.purpose), round(want.age, 3)] for want in report.wants]),
            "now": now,
            "until": now + budget.lease,
        },
    )


async def _store_state(connection: Connection, url: str, state: _State, now: datetime) -> None:
    await connection.execute(
        "UPDATE nowbridge.budget SET allowed = %s, most = %s, calm = %s, narrowed_at = %s, closed_until = %s,"
        "  saved = %s, saved_at = %s WHERE url = %s",
        (
            state.allowance.now,
            state.allowance.most,
            state.allowance.calm,
            state.narrowed_at,
            state.closed_until,
            state.bucket.saved if state.bucket else None,
            now,
            url,
        ),
    )


async def _store_tallies(
    connection: Connection, url: str, tallies: Sequence[tuple[str, Purpose, Tally]], now: datetime
) -> None:
    if not tallies:
        return
    hour = now.replace(minute=0, second=0, microsecond=0)
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO nowbridge.call_tally AS t (url, hour, subject, purpose, calls, failures, refused, seconds)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (url, hour, subject, purpose) DO UPDATE SET"
            "  calls = t.calls + excluded.calls, failures = t.failures + excluded.failures,"
            "  refused = t.refused + excluded.refused, seconds = t.seconds + excluded.seconds",
            [
                (url, hour, subject, purpose.name.lower(), tally.calls, tally.failures, tally.refused, tally.seconds)
                for subject, purpose, tally in sorted(tallies, key=lambda told: told[:2])
            ],
        )


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """How an instance's budget stands. `closed_for` in seconds, 0 when calls may be made."""

    url: str
    allowed: int
    most: int
    in_flight: int
    holders: int
    closed_for: float


async def status(connection: Connection) -> list[BudgetStatus]:
    cursor = await connection.execute(
        "SELECT b.url, b.allowed, b.most, coalesce(sum(c.in_flight), 0)::integer, count(c.holder)::integer,"
        "  greatest(0, coalesce(extract(epoch FROM b.closed_until - clock_timestamp()), 0))::double precision"
        " FROM nowbridge.budget b LEFT JOIN nowbridge.budget_claim c"
        "   ON c.url = b.url AND c.lease_until > clock_timestamp() GROUP BY b.url ORDER BY b.url"
    )
    return [BudgetStatus(*row) for row in await cursor.fetchall()]


async def calls_per_day(connection: Connection) -> dict[tuple[str, str], int]:
    """Calls in the last 24 hours, by connection's name and subject (a table's name, else an API)."""
    cursor = await connection.execute(
        "SELECT c.name, t.subject, sum(t.calls)::bigint FROM nowbridge.call_tally t"
        " JOIN nowbridge.connection c ON c.url = t.url"
        " WHERE t.hour > clock_timestamp() - interval '24 hours' GROUP BY c.name, t.subject"
    )
    return {(name, subject): calls for name, subject, calls in await cursor.fetchall()}


async def calls_per_day_of_tables(connection: Connection) -> dict[Relation, int]:
    """The same for replica tables: everything that was asked about the table, look-ups of labels included."""
    cursor = await connection.execute(
        "SELECT r.schema_name, r.relation, sum(t.calls)::bigint FROM nowbridge.replica_table r"
        " JOIN nowbridge.connection c ON c.id = r.connection_id"
        " JOIN nowbridge.call_tally t ON t.url = c.url AND t.subject = r.source"
        " WHERE t.hour > clock_timestamp() - interval '24 hours' GROUP BY r.schema_name, r.relation"
    )
    return {Relation(schema, name): calls for schema, name, calls in await cursor.fetchall()}


async def prune(connection: Connection, *, keep_tallies: timedelta) -> int:
    """Forget claims of workers long gone and tallies that have been kept long enough. Returns the tallies deleted."""
    await connection.execute(
        "DELETE FROM nowbridge.budget_claim WHERE lease_until < clock_timestamp() - interval '1 day'"
    )
    cursor = await connection.execute(
        "DELETE FROM nowbridge.call_tally WHERE hour < clock_timestamp() - %s", (keep_tallies,)
    )
    return cursor.rowcount
