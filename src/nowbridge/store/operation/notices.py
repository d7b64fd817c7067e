"""Notices: one for each change in how a thing stands, never one per look.

`note` compares what was found with what stood before and writes the notice in the transaction that notes the change,
so two workers that look at once make one. Sending is apart: a notice waits per channel until it was delivered or
given up, so an unreachable mail server delays mails and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nowbridge.store.database import Connection

LOCK = 0x6E6F7763  # "nowc": one look at a time
_MOST_TRIES = 10
_LONGEST_WAIT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Condition:
    """How one thing stands. `quiet` states make a notice only as the end of one that was not."""

    subject: str
    kind: str
    state: str
    words: str
    hint: str = ""
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    id: int
    at: datetime
    subject: str
    kind: str
    state: str
    words: str
    hint: str


@dataclass(frozen=True, slots=True)
class Unsent:
    """A notice that waits for a channel."""

    notice: Notice
    channel: str
    tries: int


async def standing(connection: Connection) -> dict[tuple[str, str], str]:
    """The state of every (subject, kind) as last noted, under the lock that lets one look at a time."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    cursor = await connection.execute("SELECT subject, kind, state FROM nowbridge.condition")
    return {(subject, kind): state for subject, kind, state in await cursor.fetchall()}


async def note(
    connection: Connection, conditions: Sequence[Condition], channels: Sequence[str], *, now: datetime
) -> list[Notice]:
    """Keep what has changed; returns the notices made of it, which wait for `channels`."""
    before = await standing(connection)
    made = []
    for condition in conditions:
        was = before.get((condition.subject, condition.kind))
        if was == condition.state:
            continue
        await connection.execute(
            "INSERT INTO nowbridge.condition (subject, kind, state, since) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (subject, kind) DO UPDATE SET state = excluded.state, since = excluded.since",
            (condition.subject, condition.kind, condition.state, now),
        )
        if was is not None or not condition.quiet:
            made.append(await _write(connection, condition, channels, now))
    return made


async def _write(connection: Connection, condition: Condition, channels: Sequence[str], now: datetime) -> Notice:
    cursor = await connection.execute(
        "INSERT INTO nowbridge.notice (at, subject, kind, state, words, hint) VALUES (%s, %s, %s, %s, %s, %s)"
        " RETURNING id, at, subject, kind, state, words, hint",
        (now, condition.subject, condition.kind, condition.state, condition.words, condition.hint),
    )
    row = await cursor.fetchone()
    if row is None:
        raise AssertionError("an insert that returns nothing")
    notice = Notice(*row)
    for channel in channels:
        await connection.execute(
            "INSERT INTO nowbridge.notice_to_send (notice_id, channel, next_try_at) VALUES (%s, %s, %s)",
            (notice.id, channel, now),
        )
    return notice


async def claim(connection: Connection, *, now: datetime) -> Unsent | None:
    """The oldest notice that is due, locked until the caller's transaction ends; None when there is none."""
    cursor = await connection.execute(
        "SELECT n.id, n.at, n.subject, n.kind, n.state, n.words, n.hint, s.channel, s.tries"
        " FROM nowbridge.notice_to_send s JOIN nowbridge.notice n ON n.id = s.notice_id"
        " WHERE s.next_try_at <= %s ORDER BY n.id LIMIT 1 FOR UPDATE OF s SKIP LOCKED",
        (now,),
    )
    row = await cursor.fetchone()
    return Unsent(Notice(*row[:7]), row[7], row[8]) if row else None


async def sent(connection: Connection, unsent: Unsent) -> None:
    await connection.execute(
        "DELETE FROM nowbridge.notice_to_send WHERE notice_id = %s AND channel = %s",
        (unsent.notice.id, unsent.channel),
    )


async def failed(connection: Connection, unsent: Unsent, error: str, *, now: datetime) -> None:
    """To be tried again, each time later; given up after ten times, in about three hours."""
    if unsent.tries + 1 >= _MOST_TRIES:
        await sent(connection, unsent)
        return
    wait = min(_LONGEST_WAIT, timedelta(seconds=15) * 2**unsent.tries)
    await connection.execute(
        "UPDATE nowbridge.notice_to_send SET tries = tries + 1, next_try_at = %s, last_error = %s"
        " WHERE notice_id = %s AND channel = %s",
        (now + wait, error, unsent.notice.id, unsent.channel),
    )


async def latest(connection: Connection, limit: int) -> list[Notice]:
    """The newest first."""
    cursor = await connection.execute(
        "SELECT id, at, subject, kind, state, words, hint FROM nowbridge.notice ORDER BY id DESC LIMIT %s", (limit,)
    )
    return [Notice(*row) for row in await cursor.fetchall()]


async def unsent(connection: Connection) -> list[tuple[int, str, int, str | None]]:
    """(notice, channel, tries, last error) of everything that waits."""
    cursor = await connection.execute(
        "SELECT notice_id, channel, tries, last_error FROM nowbridge.notice_to_send ORDER BY notice_id, channel"
    )
    return [(int(notice), channel, tries, error) for notice, channel, tries, error in await cursor.fetchall()]


async def prune(connection: Connection, *, before: datetime) -> int:
    cursor = await connection.execute("DELETE FROM nowbridge.notice WHERE at < %s", (before,))
    return cursor.rowcount
