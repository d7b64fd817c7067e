"""Who is told when something changes: the log always, a webhook and mail where they are set.

`conditions_of` is pure: how every table and connection stands. What makes a notice of it, once per change, is
`store.operation.notices`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import structlog

from nowbridge.model.errors import NowbridgeError
from nowbridge.store.database import Database
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import ConnectionRow
from nowbridge.store.operation import notices
from nowbridge.store.operation.notices import Condition, Notice
from nowbridge.store.rows import columns, tables
from nowbridge.store.rows.columns import ColumnStatus, ContractStatus
from nowbridge.store.rows.tables import TableStatus
from nowbridge.store.work import loss, watches
from nowbridge.store.work.loss import Loss
from nowbridge.store.work.watches import DeleteStatus
from nowbridge.store.writes import refusals
from nowbridge.store.writes.refusals import Refusals

log = structlog.get_logger("nowbridge.notices")

Send = Callable[[Notice], Awaitable[None]]
_FAILURES = 3  # in a row, of what may pass by itself
_LATELY = timedelta(hours=1)
_LASTING = (
    "auth.refused",
    "rights.",
    "table.",
    "query.",
    "database.changed",
    "instance.",
    "order.",
    "network.cert",
    "schema.",
)


@dataclass(frozen=True, slots=True)
class Notifier:
    """`channels` by name: webhook, mail. `lag` is the age of a table's last proven position that is too old."""

    database: Database
    clock: Callable[[], datetime]
    lag: timedelta
    channels: Mapping[str, Send]

    async def look(self) -> list[Notice]:
        """Compare how things stand with the last look. Returns the notices made."""
        now = self.clock()
        async with self.database.transaction() as connection:
            before = await notices.standing(connection)
            rows = await connections.every(connection)
            names = {row.schema_name: row.name for row in rows}
            found = conditions_of(await tables.status(connection), names, before, now=now, lag=self.lag)
            found += [_instance(row) for row in rows]
            found += [_secret(row, now) for row in rows if row.secret_expires_at is not None]
            found += [_held(line) for line in await watches.status(connection)]
            found += [_hints(line, now) for line in await loss.losses(connection, now=now)]
            found += [_refused(line) for line in await refusals.lately(connection, since=now - _LATELY)]
            found += drifted(await columns.contracts(connection), await columns.status(connection))
            made = await notices.note(connection, found, list(self.channels), now=now)
        for notice in made:
            say = log.warning if notice.hint else log.info  # good news leave nothing to do
            say(notice.words, subject=notice.subject, kind=notice.kind, state=notice.state, hint=notice.hint)
        return made

    async def send_next(self) -> bool:
        """Deliver one notice by one channel, at least once. False when none is due."""
        async with self.database.transaction() as connection:
            due = await notices.claim(connection, now=self.clock())
            if due is None:
                return False
            send = self.channels.get(due.channel)
            try:
                if send is not None:  # else the channel was taken out of the settings
                    await send(due.notice)
            except NowbridgeError as error:
                log.warning("notice not sent", channel=due.channel, code=error.code, answered=error.answered)
                await notices.failed(connection, due, f"{error.answered} [{error.code}]", now=self.clock())
            else:
                await notices.sent(connection, due)
        return True


def conditions_of(
    found: Sequence[TableStatus],
    names: Mapping[str, str],
    before: Mapping[tuple[str, str], str],
    *,
    now: datetime,
    lag: timedelta,
) -> list[Condition]:
    """`names` are the connections' by schema, `before` the states of the last look."""
    conditions = []
    for schema, name in names.items():
        own = [table for table in found if table.relation.schema == schema]
        if own:
            conditions.append(_loaded(name, own))
    for table in found:
        if table.paused_at is None:
            conditions += [_failing(table), _values(table)]
            behind = _behind(table, before.get((_subject(table), "lag")), now, lag)
            conditions += [behind] if behind else []
    return conditions


def _subject(table: TableStatus) -> str:
    return f"{table.relation.schema}.{table.relation.name}"


def _loaded(connection: str, own: Sequence[TableStatus]) -> Condition:
    if any(table.phase != "live" for table in own):
        return Condition(connection, "backfill", "loading", f"{connection}: tables are being loaded", quiet=True)
    rows = sum(table.loaded for table in own)
    words = f"{connection}: the backfill is done, all {len(own)} tables are loaded ({rows:,} rows)"
    return Condition(connection, "backfill", f"done, {len(own)} tables", words)


def _failing(table: TableStatus) -> Condition:
    error = table.last_error
    lasting = error is not None and error["code"].startswith(_LASTING)
    if error is None or not (lasting or table.failures >= _FAILURES):
        return Condition(_subject(table), "failing", "works", f"{_subject(table)} works again", quiet=True)
    words = f"{_subject(table)} has stopped: {error['asked']}: {error['answered']} [{error['code']}]"
    return Condition(_subject(table), "failing", error["code"], words, error["hint"])


def _values(table: TableStatus) -> Condition:
    if not table.value_issues:
        return Condition(
            _subject(table), "values", "fit", f"{_subject(table)}: all values fit their columns", quiet=True
        )
    words = f"{_subject(table)}: values did not fit their column and are NULL"
    return Condition(_subject(table), "values", "some do not fit", words, "Table nowbridge.value_issue names them.")


def _instance(row: ConnectionRow) -> Condition:
    if row.stopped is None:
        return Condition(row.name, "instance", "goes on", f"{row.name} goes on", quiet=True)
    words = f"{row.name} is stopped, in both directions: {row.stopped['found']}"
    hint = "nowbridge adopt" if row.stopped["reason"] == "clone" else "nowbridge resume --restored"
    return Condition(row.name, "instance", f"stopped: {row.stopped['reason']}", words, f"When it is right: `{hint}`.")


def _secret(row: ConnectionRow, now: datetime) -> Condition:
    """Two weeks before, two days before, and at the end."""
    assert row.secret_expires_at is not None
    left = row.secret_expires_at - now
    day = f"{row.secret_expires_at.astimezone(UTC):%Y-%m-%d}"
    hint = f"Get a new one, and run `nowbridge connect {row.url} --name {row.name}` again."
    if left <= timedelta():
        return Condition(row.name, "secret", "expired", f"{row.name}: its secret expired on {day}", hint)
    for limit in (timedelta(days=2), timedelta(days=14)):
        if left <= limit:
            words = f"{row.name}: its secret expires on {day}"
            return Condition(row.name, "secret", f"expires within {limit.days} days", words, hint)
    return Condition(row.name, "secret", "good", f"{row.name}: its secret is good until {day}", quiet=True)


def _refused(line: Refusals) -> Condition:
    """SQL writes that ServiceNow did not take. The SQLSTATEs say why; what was written stays in the log."""
    if not line.number:
        return Condition(
            line.connection, "writes", "taken", f"{line.connection}: SQL writes are taken again", quiet=True
        )
    words = f"{line.connection}: {line.number:,} SQL writes were refused within an hour ({', '.join(line.sqlstates)})"
    state = f"refused: {', '.join(line.sqlstates)}"
    return Condition(line.connection, "writes", state, words, "Look: `nowbridge writes`.")


def _held(line: DeleteStatus) -> Condition:
    name, held = f"{line.relation.schema}.{line.relation.name}", line.watch.held
    if held is None:
        return Condition(name, "deletes", "go on", f"{name}: deletes go on again", quiet=True)
    words = f"{name}: deletes are held until somebody has looked ({held['reason'].replace('_', ' ')})"
    return Condition(name, "deletes", f"held: {held['reason']}", words, f"Look: `nowbridge deletes {line.source}`.")


def _hints(line: Loss, now: datetime) -> Condition:
    """Whether hints can be relied on. That some were lost is noted, that they are few is not."""
    name, state = f"{line.relation.schema}.{line.relation.name}", line.state(now)
    if state in {"works", "waits"}:
        return Condition(name, "hints", "works", f"{name}: hints tell of its changes again", quiet=True)
    words = f"{name}: the poll found {line.recent_lost} changes within an hour that no hint had told of"
    if state == "silent":
        words += ", and none came at all; nothing is lost, changes come by the poll"
    hint = "Can the instance reach the address of its hooks? `nowbridge hooks status`."
    return Condition(name, "hints", state, words, hint)


def drifted(tables_: Sequence[ContractStatus], states: Sequence[ColumnStatus]) -> list[Condition]:
    """How each table's columns stand to ServiceNow's; those left out by choice are no news."""
    found = []
    for table in tables_:
        name = f"{table.relation.schema}.{table.relation.name}"
        own = [s for s in states if s.relation == table.relation and s.state != "left out"]
        state = ", ".join(f"{s.column} {s.state}" for s in own)
        if state:
            words = f"{name}: columns changed in ServiceNow: {state}"
            found.append(Condition(name, "columns", state, words, f"Look: `nowbridge schema {table.source}`."))
        else:
            words = f"{name}: all columns are as in ServiceNow again"
            found.append(Condition(name, "columns", "as in ServiceNow", words, quiet=True))
    return found


def _behind(table: TableStatus, was: str | None, now: datetime, lag: timedelta) -> Condition | None:
    """Above the limit it is behind, below half of it no more; in between as before."""
    if table.phase != "live" or table.proven_to is None:
        return None
    age = now - table.proven_to
    lag = max(lag, 3 * (table.poll_every or timedelta(0)))  # rarely polled while hints tell of its changes
    if age > lag or (was == "behind" and age > lag / 2):
        words = f"{_subject(table)} is behind: its last proven position is more than {lag.total_seconds():.0f} s old"
        return Condition(_subject(table), "lag", "behind", words, "See `nowbridge status`.")
    return Condition(_subject(table), "lag", "fresh", f"{_subject(table)} is fresh again", quiet=True)


def as_json(notice: Notice) -> dict[str, object]:
    return {
        "id": notice.id,
        "at": notice.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "subject": notice.subject,
        "kind": notice.kind,
        "state": notice.state,
        "words": notice.words,
        "hint": notice.hint,
    }


def as_body(notice: Notice) -> bytes:
    """The body of the webhook."""
    return json.dumps(as_json(notice), ensure_ascii=False).encode()


def as_mail(notice: Notice, sender: str, receivers: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = f"Nowbridge: {notice.words.splitlines()[0][:150]}"
    message["From"], message["To"] = sender, receivers
    message["Date"] = notice.at.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
    message["Message-ID"] = f"<notice-{notice.id}-{int(notice.at.timestamp())}@nowbridge>"
    message.set_content(f"{notice.words}\n\n{notice.hint}\n".replace("\n\n\n", "\n"))
    return message
