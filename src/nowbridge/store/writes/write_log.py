"""The write log: what SQL users wrote, handed over by their transactions (migration 0008), carried out by writers.

A writer claims an entry under a lease with an epoch; every further step of the entry is a compare-and-set on state and
epoch, so a writer that was paused, or a client that gave up, cannot be overtaken unnoticed. With the entry it claims the
records: of one record, one write at a time is under way or waits to be settled (migration 0012).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from nowbridge.model.errors import Stop
from nowbridge.model.plan import Refusal
from nowbridge.store.database import Connection
from nowbridge.store.work.leases import Holder

CHANNEL = "nowbridge_write"
NOTHING_WRONG = Refusal("", "")
Settled = Literal["committed", "reverted", "kept", "nothing"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A claimed write. `changes` are [table_id, sys_id, operation, {column: [before, after]}]. `stamp` is what is set in
    every record that its SQL user writes, by column. `tables` are [id, layout_epoch, that of its triggers, sql_deletes] of the connection:
    different as soon as a table, its columns or its triggers are. `bell`: the client waits for the bell that stands on
    the connection that claimed it. `late`: another write took one of its records at the same moment.
    """

    id: int
    mode: str
    state: str
    connection_id: int
    role: str
    client_xid: str | None
    statement: str
    changes: list[list[Any]]
    epoch: int
    undoes: int | None
    plan: Any
    sent_at: datetime | None
    silent_since: datetime | None
    confirmed: bool
    outcome: list[dict[str, Any]] | None
    stamp: dict[str, str] | None
    tables: list[list[int | str | None]]
    bell: bool
    late: bool = False


_COLUMNS = (
    "id, mode, state, connection_id, role, client_xid::text AS client_xid, statement, changes, epoch, undoes, plan,"
    " sent_at, silent_since, confirmed, outcome, (SELECT u.stamp FROM nowbridge.sql_user u WHERE u.name = role) AS stamp,"
    " (SELECT coalesce(jsonb_agg(jsonb_build_array(t.id, t.layout_epoch, m.layout_epoch, t.sql_deletes) ORDER BY t.id), '[]')"
    "   FROM nowbridge.replica_table t LEFT JOIN nowbridge.write_table m ON m.table_id = t.id"
    "   WHERE t.connection_id = w.connection_id) AS tables"
)
_BELL, _RINGING = 28276, 28277  # classes of advisory locks
_CLAIM_WITH_RECORDS = f"""
    WITH taken AS (
        UPDATE nowbridge.write_log w
           SET state = 'taken', taken_at = %(now)s, worker = %(worker)s, epoch = epoch + 1, lease_until = %(until)s
         WHERE id IN (
            SELECT id FROM nowbridge.write_log n
             WHERE state IN ('new', 'taken', 'sent', 'unknown') AND connection_id = %(connection)s
               AND (state = 'new' OR (state = 'taken' AND lease_until < %(now)s))
               AND (mode = 'plan' OR NOT EXISTS (
                SELECT FROM jsonb_array_elements(n.changes) c
                  JOIN nowbridge.write_hold h ON h.connection_id = n.connection_id AND h.sys_id = c->>1
                 WHERE h.write_id <> n.id AND nowbridge.keeps_waiting(h.write_id, n.client_xid)))
             ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
        RETURNING {_COLUMNS}),
    records AS (
        SELECT DISTINCT id, c->>1 AS sys_id FROM taken, jsonb_array_elements(changes) c WHERE mode <> 'plan'),
    held AS (
        INSERT INTO nowbridge.write_hold AS h
        SELECT DISTINCT ON (sys_id) %(connection)s, sys_id, id FROM records ORDER BY sys_id, id
        ON CONFLICT (connection_id, sys_id) DO UPDATE SET write_id = excluded.write_id
         WHERE h.write_id = excluded.write_id OR NOT nowbridge.keeps_waiting(h.write_id,
            (SELECT w.client_xid FROM nowbridge.write_log w WHERE w.id = excluded.write_id))
        RETURNING write_id, sys_id),
    every AS (
        SELECT taken.*, EXISTS (SELECT FROM records r LEFT JOIN held ON held.write_id = r.id AND held.sys_id = r.sys_id
            WHERE r.id = taken.id AND held.sys_id IS NULL) AS late FROM taken)
    SELECT *, CASE WHEN late THEN false ELSE {{bell}} END AS bell FROM every"""


async def claim(
    connection: Connection, connection_id: int, holder: Holder, *, now: datetime, limit: int, bell: bool = False
) -> list[Entry]:
    """Take writes that nobody has begun, and those whose writer is gone before it sent anything, each with all of its
    records; one of whose records another write holds has to wait. `bell`: their clients wait until `finish` on the same
    connection, or until that ends (store.writes.write_desk); else they ask from time to time.
    """
    async with connection.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(
            _CLAIM_WITH_RECORDS.format(
                bell=f"pg_try_advisory_lock({_BELL}, (id %% 2147483647)::integer)" if bell else "false"
            ),
            {
                "connection": connection_id,
                "worker": holder.name,
                "until": now + holder.lease,
                "now": now,
                "limit": limit,
            },
        )
        found = sorted(await cursor.fetchall(), key=lambda entry: entry.id)
    if late := [entry for entry in found if entry.late]:
        await _wait(connection, late)
    return [entry for entry in found if not entry.late]


async def _wait(connection: Connection, entries: Collection[Entry]) -> None:
    """Put writes back that another worker was quicker to take a record of."""
    await connection.execute(
        "WITH waiting AS (UPDATE nowbridge.write_log w SET state = 'new', lease_until = NULL"
        " FROM unnest(%s::bigint[], %s::bigint[]) AS e(id, epoch)"
        " WHERE w.id = e.id AND w.epoch = e.epoch AND w.state = 'taken' RETURNING w.id)"
        " DELETE FROM nowbridge.write_hold h USING waiting WHERE h.write_id = waiting.id",
        ([entry.id for entry in entries], [entry.epoch for entry in entries]),
    )


async def claim_unknown(
    connection: Connection, connection_id: int, holder: Holder, *, now: datetime, limit: int
) -> list[Entry]:
    """Take writes of which nobody knows what became of them: the writer died after it had begun to send, or no answer
    came in time.
    """
    async with connection.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(
            # A client may still wait: to it the write stays sent. Its last writer may have sent until its lease ran out.
            "UPDATE nowbridge.write_log w SET look_at = NULL, worker = %(worker)s, epoch = epoch + 1, lease_until = %(until)s,"
            "  silent_since = CASE WHEN state = 'sent' THEN lease_until ELSE silent_since END"
            " WHERE id IN (SELECT id FROM nowbridge.write_log"
            "  WHERE state IN ('new', 'taken', 'sent', 'unknown') AND connection_id = %(connection)s"
            "   AND ((state = 'sent' AND lease_until < %(now)s)"
            "    OR (state = 'unknown' AND look_at <= %(now)s AND coalesce(lease_until, '-infinity') < %(now)s))"
            "  ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)"
            f" RETURNING {_COLUMNS}, false AS bell",
            {
                "connection": connection_id,
                "worker": holder.name,
                "until": now + holder.lease,
                "now": now,
                "limit": limit,
            },
        )
        return sorted(await cursor.fetchall(), key=lambda entry: entry.id)


async def renew(connection: Connection, holder: Holder, entries: Collection[Entry], *, now: datetime) -> None:
    """Keep what this worker is carrying out."""
    await connection.execute(
        "UPDATE nowbridge.write_log w SET lease_until = %s FROM unnest(%s::bigint[], %s::bigint[]) AS e(id, epoch)"
        " WHERE w.id = e.id AND w.epoch = e.epoch AND w.lease_until IS NOT NULL",
        (now + holder.lease, [entry.id for entry in entries], [entry.epoch for entry in entries]),
    )


async def keep(connection: Connection, holder: Holder, entry: Entry, *, now: datetime) -> bool:
    """Keep one entry. False when another writer has it now: then nothing more may be sent for it."""
    cursor = await connection.execute(
        "UPDATE nowbridge.write_log SET worker = %s, lease_until = %s WHERE id = %s AND epoch = %s",
        (holder.name, now + holder.lease, entry.id, entry.epoch),
    )
    return cursor.rowcount == 1


async def begin(connection: Connection, holder: Holder, entry: Entry, plan: object, *, now: datetime) -> bool:
    """Note that sending begins, with a whole lease for it. False when the client gave up or is gone, or another writer has
    the entry now.
    """
    cursor = await connection.execute(
        "UPDATE nowbridge.write_log SET state = 'sent', sent_at = %(now)s, plan = %(plan)s, lease_until = %(until)s"
        " WHERE id = %(id)s AND epoch = %(epoch)s AND state = 'taken'"
        "   AND (client_xid IS NULL OR pg_xact_status(client_xid) = 'in progress') AND nowbridge.commit_durably()",
        {
            "id": entry.id,
            "epoch": entry.epoch,
            "now": now,
            "until": now + holder.lease,
            "plan": Jsonb(msgspec.to_builtins(plan)),
        },
    )
    return cursor.rowcount == 1


async def add_undo(connection: Connection, write_id: int, *, role: str, now: datetime) -> None:
    """Put the inverse of a write into the log, to be carried out by the next writer. Raises Stop `write.unknown`,
    `write.not_undoable`.
    """
    cursor = await connection.execute(
        "SELECT state, coalesce(settled, CASE WHEN client_xid IS NULL OR pg_xact_status(client_xid) = 'committed'"
        "   AND EXISTS (SELECT FROM nowbridge.write_marker m WHERE m.write_id = w.id) THEN 'committed' END),"
        "  connection_id, changes FROM nowbridge.write_log w WHERE id = %s AND mode <> 'plan'",
        (write_id,),
    )
    row = await cursor.fetchone()
    if row is None:
        raise Stop("write.unknown", asked=f"undo write {write_id}", answered="the log has no such write")
    state, settled, connection_id, changes = row
    if state != "done" or settled not in ("committed", "kept"):
        raise Stop(
            "write.not_undoable",
            asked=f"undo write {write_id}",
            answered=f"it is not in ServiceNow (it ended as {settled or state})"
            if state != "done" or settled
            else "its transaction has not ended, or is being settled",
        )
    undone = [
        [table_id, sys_id, _INVERSE[operation], {name: [after, before] for name, (before, after) in values.items()}]
        for table_id, sys_id, operation, values in reversed(changes)
    ]
    await connection.execute(
        "INSERT INTO nowbridge.write_log"
        " (mode, connection_id, role, statement, confirmed, changes, undoes, submitted_at)"
        " VALUES ('undo', %s, %s, %s, true, %s, %s, %s)",
        (connection_id, role, f"undo of write {write_id}", Jsonb(undone), write_id, now),
    )
    await connection.execute(f"NOTIFY {CHANNEL}")


async def outcome_of(connection: Connection, write_id: int) -> list[dict[str, Any]]:
    """What became of each step of a write."""
    cursor = await connection.execute("SELECT outcome FROM nowbridge.write_log WHERE id = %s", (write_id,))
    row = await cursor.fetchone()
    return list(row[0] or []) if row is not None else []


_INVERSE = {"insert": "delete", "update": "update", "delete": "insert"}


@dataclass(frozen=True, slots=True)
class Ended:
    """A write as the log shows it."""

    id: int
    submitted_at: datetime
    role: str
    mode: str
    statement: str
    state: str
    settled: str | None
    sqlstate: str | None
    message: str | None
    detail: str | None


async def latest(connection: Connection, *, limit: int, only: int | None = None) -> list[Ended]:
    """The newest writes, newest first; `only` the one with this id, or the undo of it."""
    async with connection.cursor(row_factory=class_row(Ended)) as cursor:
        await cursor.execute(
            "SELECT id, submitted_at, role, mode, statement, state, settled, sqlstate, message, detail"
            " FROM nowbridge.write_log WHERE mode <> 'plan' AND (%(only)s::bigint IS NULL OR undoes = %(only)s)"
            " ORDER BY id DESC LIMIT %(limit)s",
            {"only": only, "limit": limit},
        )
        return await cursor.fetchall()


@dataclass(frozen=True, slots=True)
class End:
    """How a write ended. `answer` is what the waiting client gets; `remark` is what the log says of one that is done;
    `look_after` is when to look what became of an unknown one.
    """

    state: Literal["done", "refused", "unknown", "abandoned"]
    outcome: object = None
    answer: object = None
    refusal: Refusal = NOTHING_WRONG
    remark: str = ""
    look_after: timedelta = timedelta(0)


async def finish(connection: Connection, entry: Entry, end: End, *, now: datetime) -> bool:
    """Note how the write ended, and ring the client's bell. False when another writer has the entry now, or the client gave
    it up before it began.
    """
    ringing = f", pg_try_advisory_xact_lock({_RINGING}, %(key)s), pg_advisory_unlock({_BELL}, %(key)s)"
    cursor = await connection.execute(
        "WITH ended AS (UPDATE nowbridge.write_log SET state = %(state)s, ended_at = %(now)s, outcome = coalesce(%(outcome)s, outcome),"
        "  answer = %(answer)s, sqlstate = %(sqlstate)s, message = %(message)s, detail = %(detail)s, hint = %(hint)s,"
        "  lease_until = NULL, look_at = %(look_at)s,"
        "  settled = CASE WHEN mode = 'plan' OR %(state)s IN ('refused', 'abandoned') AND sent_at IS NULL"
        "    THEN 'nothing' ELSE settled END"
        " WHERE id = %(id)s AND epoch = %(epoch)s AND state IN ('taken', 'sent', 'unknown') RETURNING id)"
        f" SELECT (SELECT count(*) FROM ended) > 0{ringing if entry.bell else ''}",
        {
            "id": entry.id,
            "key": entry.id % 2147483647,
            "epoch": entry.epoch,
            "state": end.state,
            "now": now,
            "outcome": None if end.outcome is None else Jsonb(msgspec.to_builtins(end.outcome)),
            "answer": None if end.answer is None else Jsonb(end.answer),
            "sqlstate": end.refusal.sqlstate or None,
            "message": end.refusal.message or None,
            "detail": end.refusal.detail or end.remark or None,
            "hint": end.refusal.hint or None,
            "look_at": now + end.look_after if end.state == "unknown" else None,
        },
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A write that was sent, of which it is not noted yet how client and ServiceNow came to agree. `status` is
    `pg_xact_status`; NULL for one that is too old to tell. `marked`: the part of the transaction that made it stands.
    `fates` are those of its steps; `touched`: a step of it was written, be it that it was taken back.
    """

    entry: Entry
    status: str | None
    marked: bool
    fates: list[str]
    touched: bool


async def unsettled(connection: Connection, connection_id: int, *, now: datetime, limit: int = 100) -> list[Unsettled]:
    """Writes that were sent and whose client's transaction has ended; locked until the end of this transaction, so that one
    writer settles each. Whoever needs longer takes them over (`take`). Their marks are looked for by a statement of their
    own: a transaction that commits while the first one runs has ended to it, and its mark is not there yet.
    """
    async with connection.cursor() as cursor:
        await cursor.execute(
            f"SELECT {_COLUMNS}, false, CASE WHEN client_xid IS NULL THEN 'committed' ELSE pg_xact_status(client_xid) END,"
            "  ARRAY(SELECT o->>'fate' FROM jsonb_array_elements(w.outcome) o),"
            "  EXISTS (SELECT FROM jsonb_array_elements(w.outcome) o WHERE o->>'version' IS NOT NULL OR o->>'fate' <> 'refused')"
            " FROM nowbridge.write_log w WHERE settled IS NULL AND state IN ('done', 'refused') AND connection_id = %s"
            "  AND coalesce(lease_until, '-infinity') < %s"
            "  AND (client_xid IS NULL OR pg_xact_status(client_xid) IS DISTINCT FROM 'in progress')"
            " ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED",
            (connection_id, now, limit),
        )
        found = [(Entry(*row[:-3]), *row[-3:]) for row in await cursor.fetchall()]
        ids = [entry.id for entry, *_ in found]
        await cursor.execute("SELECT write_id FROM nowbridge.write_marker WHERE write_id = ANY(%s)", (ids,))
        marked = {row[0] for row in await cursor.fetchall()}
    return [
        Unsettled(entry, status, entry.client_xid is None or entry.id in marked, fates, touched)
        for entry, status, fates, touched in found
    ]


async def take(connection: Connection, holder: Holder, entry: Entry, *, now: datetime) -> Entry:
    """Take an entry over that is locked by this transaction: to settle it takes calls to the instance."""
    await connection.execute(
        "UPDATE nowbridge.write_log SET worker = %s, epoch = epoch + 1, lease_until = %s WHERE id = %s",
        (holder.name, now + holder.lease, entry.id),
    )
    return replace(entry, epoch=entry.epoch + 1)


async def settle(connection: Connection, entry: Entry, settled: Settled, *, detail: str = "") -> None:
    """Note how client and ServiceNow came to agree, and let go of the records, unless another writer has the entry now. The
    rows for the client are not needed any more.
    """
    await connection.execute(
        "WITH settled AS (UPDATE nowbridge.write_log"
        "  SET settled = %s, answer = NULL, lease_until = NULL, detail = coalesce(%s, detail)"
        "  WHERE id = %s AND epoch = %s RETURNING id),"
        " unmarked AS (DELETE FROM nowbridge.write_marker m USING settled WHERE m.write_id = settled.id)"
        " DELETE FROM nowbridge.write_hold h USING settled WHERE h.write_id = settled.id",
        (settled, detail or None, entry.id, entry.epoch),
    )


async def in_progress(connection: Connection, connection_id: int) -> set[str]:
    """The sys_ids whose writes are under way, in whatever table: their client's transaction has not ended yet. An entry
    is committed before anything is sent, so whoever reads a record with the write in it finds the entry.
    """
    cursor = await connection.execute(
        "SELECT DISTINCT c->>1 FROM (SELECT changes, client_xid FROM nowbridge.write_log"
        "   WHERE state IN ('new', 'taken', 'sent', 'unknown') AND mode = 'write' AND connection_id = %(connection)s"
        "   UNION ALL SELECT changes, client_xid FROM nowbridge.write_log"
        "   WHERE settled IS NULL AND state = 'done' AND mode = 'write' AND connection_id = %(connection)s) AS w,"
        " jsonb_array_elements(w.changes) c WHERE pg_xact_status(w.client_xid) = 'in progress'",
        {"connection": connection_id},
    )
    return {row[0] for row in await cursor.fetchall()}


async def prune(connection: Connection, *, before: datetime) -> int:
    """Forget writes that were settled before, and what was held by those that never came to be sent."""
    await connection.execute(
        "DELETE FROM nowbridge.write_hold h"
        " WHERE NOT EXISTS (SELECT FROM nowbridge.write_log w WHERE w.id = h.write_id AND w.settled IS NULL)"
    )
    cursor = await connection.execute(
        "DELETE FROM nowbridge.write_log w WHERE settled IS NOT NULL AND ended_at < %s"
        " AND NOT EXISTS (SELECT FROM nowbridge.write_log u WHERE u.undoes = w.id)",
        (before,),
    )
    return cursor.rowcount
