"""How everything stands right now, read once: `nowbridge status`, `up`, `replicate`, the demo, the console and
GET /api/v1/status show the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta

from nowbridge.api.wording import ago, count, error_line
from nowbridge.store.database import Database
from nowbridge.store.ddl import Relation
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import ConnectionRow
from nowbridge.store.rows import columns, compare, tables
from nowbridge.store.rows.columns import ColumnStatus, ContractStatus
from nowbridge.store.rows.compare import Proof
from nowbridge.store.rows.tables import TableStatus
from nowbridge.store.work import budget, loss, watches, workers
from nowbridge.store.work.budget import BudgetStatus
from nowbridge.store.work.loss import Loss
from nowbridge.store.work.watches import DeleteStatus
from nowbridge.store.work.workers import WorkerRow

_HELD = {
    "too_many": "one pass wanted to delete {wanted:,} of {rows:,} rows. Look at them in ServiceNow; if they are to go here"
    " too: nowbridge deletes {table} --confirm",
    "trickled": "within an hour more of the {rows:,} rows were named as deleted, few at a time, than may go unasked. Look at"
    " them in ServiceNow; if they are to go here too: nowbridge deletes {table} --confirm",
    "shrunk": "{invisible:,} of {rows:,} rows are there but not shown to the account any more: it may have lost a right."
    " Give it back, or accept it: nowbridge deletes {table} --confirm",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """`tables` in the order in which they were added; `rows` of each is counted, of a large one estimated. `calls_per_day` are those of the last
    24 hours about each table.
    """

    at: datetime
    tables: tuple[TableStatus, ...]
    workers: tuple[WorkerRow, ...]
    calls_per_day: Mapping[Relation, int] = field(default_factory=dict)
    budgets: tuple[BudgetStatus, ...] = ()
    proofs: Mapping[Relation, Proof] = field(default_factory=dict)
    deletes: tuple[DeleteStatus, ...] = ()
    contracts: tuple[ContractStatus, ...] = ()
    columns: tuple[ColumnStatus, ...] = ()
    losses: Mapping[Relation, Loss] = field(default_factory=dict)
    connections: tuple[ConnectionRow, ...] = ()

    @property
    def is_loaded(self) -> bool:
        return all(table.phase == "live" for table in self.tables)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What somebody should know. `grave`: something does not work."""

    words: str
    grave: bool = False


async def read_standing(database: Database, *, at: datetime, seen_within: timedelta) -> Standing:
    """`seen_within` is how long a silent worker counts as alive."""
    async with database.transaction() as connection:
        found = []
        for table in await tables.status(connection):
            rows, estimated = await tables.about_how_many(connection, table.relation)
            found.append(replace(table, rows=rows, estimated=estimated))
        living = await workers.living(connection, seen_since=at - seen_within)
        calls = await budget.calls_per_day_of_tables(connection)
        budgets = await budget.status(connection)
        proofs = await compare.last_proofs(connection)
        deletes = await watches.status(connection)
        contracts, states = await columns.contracts(connection), await columns.status(connection)
        losses = {line.relation: line for line in await loss.losses(connection, now=at)}
        owners = await connections.every(connection)
    return Standing(
        at,
        tuple(found),
        tuple(living),
        calls,
        tuple(budgets),
        proofs,
        tuple(deletes),
        losses=losses,
        connections=tuple(owners),
        contracts=tuple(contracts),
        columns=tuple(states),
    )


def age_of(table: TableStatus, at: datetime) -> timedelta | None:
    """How old the last proven state is: everything before it is in the replica. None before the first."""
    if table.phase != "live" or table.proven_to is None:
        return None
    return max(timedelta(0), at - table.proven_to)


def rows_per_second(table: TableStatus, at: datetime) -> float | None:
    """Of the first load: so far, or in all when it is over."""
    if table.started_at is None:
        return None
    seconds = ((table.backfilled_at or at) - table.started_at).total_seconds()
    return table.loaded / seconds if seconds > 0 else None


def seconds_left(table: TableStatus, at: datetime) -> float | None:
    """How long the first load will still take at its speed so far. None when that is not known yet, or it is over."""
    speed = rows_per_second(table, at)
    if table.phase == "live" or table.paused_at or not speed or table.total_count is None:
        return None
    return max(0, table.total_count - table.hidden - table.loaded) / speed


def total_words(table: TableStatus, at: datetime) -> str:
    """Of how many rows the first load is, and how long it will still take; "" when it is over."""
    if table.phase == "live":
        return ""
    left = seconds_left(table, at)
    return count(table.total_count) + ("" if left is None else f", {ago(timedelta(seconds=left))} left")


def load_seconds(tables: tuple[TableStatus, ...]) -> float | None:
    """From the first row asked for to the last table complete; None while some are loading."""
    begun = [table.started_at for table in tables if table.started_at is not None]
    ended = [table.backfilled_at for table in tables if table.backfilled_at is not None]
    if not begun or len(ended) < len(tables):
        return None
    return round((max(ended) - min(begun)).total_seconds(), 3)


def trouble(standing: Standing) -> list[Trouble]:
    """What somebody should know: nobody works, errors of tables, values that did not fit."""
    lines = []
    if not standing.workers:
        lines.append(
            Trouble("No worker is running: nothing is loaded or followed. Start one: nowbridge up", grave=True)
        )
    lines += [
        Trouble(f"{row.name} is stopped, in both directions: {row.stopped['found']}", grave=True)
        for row in standing.connections
        if row.stopped
    ]
    for one in standing.budgets:
        if one.closed_for > 0:
            wait = ago(timedelta(seconds=one.closed_for))
            lines.append(Trouble(f"{one.url} wants no calls for another {wait} (it answered 429)"))
        elif one.allowed < one.most:
            lines.append(Trouble(f"{one.url}: {one.allowed} of {one.most} requests at a time, since it was busy"))
    for table in standing.tables:
        lines += _trouble_of(table)
    lines += [
        Trouble(f"{line.source}: {held_line(line.source, line.watch.held)}", grave=True)
        for line in standing.deletes
        if line.watch.held and line.watch.allowed is None
    ]
    return [*lines, *schema_trouble(standing.contracts, standing.columns)]


def _trouble_of(table: TableStatus) -> Iterator[Trouble]:
    if table.last_error:
        again = f" (failed {table.failures} times in a row)" if table.failures > 1 else ""
        yield Trouble(f"{table.source}: {error_line(table.last_error)}{again}", grave=True)
    if table.value_issues:
        yield Trouble(
            f"{table.source}: {table.value_issues:,} values did not fit their column and are NULL"
            " (table nowbridge.value_issue names them)"
        )


def schema_trouble(lines: Sequence[ContractStatus], states: Sequence[ColumnStatus]) -> Iterator[Trouble]:
    """What somebody should know about columns."""
    for line in lines:
        by_state: dict[str, list[str]] = {}
        for state in states:
            if state.relation == line.relation:
                by_state.setdefault(state.state, []).append(state.column)
        words = "; ".join(f"{state}: {', '.join(names)}" for state, names in by_state.items() if state != "left out")
        if words:
            yield Trouble(f"{line.source}: columns {words} (nowbridge schema {line.source})")
        if line.error:
            yield Trouble(f"{line.source}: {error_line(line.error)}", grave=True)
        if line.learned_from != "sys_dictionary":
            yield Trouble(f"{line.source}: columns are learned from {line.learned_from}")
        if line.words_learned:
            yield Trouble(f"{line.source}: sys_choice cannot be read; words of choices are learned from the rows")


def held_line(table: str, held: dict[str, object]) -> str:
    """Why deletes of a table wait, in words, and what to do."""
    return _HELD[str(held["reason"])].format(table=table, **held)


def proof_words(standing: Standing, table: TableStatus) -> tuple[str, bool]:
    """The level and the age of the last proof, and what it left unequal; and whether nothing was."""
    proof = standing.proofs.get(table.relation)
    if proof is None:
        return "-", True
    wrong = proof.differing - proof.repaired
    said = f"{proof.level}, {ago(max(timedelta(0), standing.at - proof.started_at))} ago"
    return (f"{said}: {wrong:,} differ", False) if wrong else (said, True)


def name_of(table: TableStatus) -> str:
    """The table's name in ServiceNow, and its own here where it differs."""
    return table.source if table.source == table.relation.name else f"{table.source} as {table.relation.name}"


def as_json(standing: Standing) -> dict[str, object]:
    return {
        "at": standing.at,
        "workers": [
            {"name": worker.name, "started_at": worker.started_at, "seen_at": worker.seen_at}
            for worker in standing.workers
        ],
        "connections": [{"name": row.name, "url": row.url, "stopped": row.stopped} for row in standing.connections],
        "budgets": [
            {
                "url": one.url,
                "requests_in_flight": one.in_flight,
                "allowed": one.allowed,
                "most": one.most,
                "closed_seconds": round(one.closed_for, 1),
            }
            for one in standing.budgets
        ],
        "tables": [
            _table_as_json(table, standing.at)
            | {"calls_per_day": standing.calls_per_day.get(table.relation, 0)}
            | _proof_as_json(standing, table)
            | _schema_as_json(standing, table)
            | {"hints": _loss_as_json(standing, table)}
            for table in standing.tables
        ],
    }


def _loss_as_json(standing: Standing, table: TableStatus) -> dict[str, object] | None:
    loss = standing.losses.get(table.relation)
    if loss is None:
        return None
    told = {"state": loss.state(standing.at), "last_at": loss.last_hint_at}
    return told | {"by_hint": loss.by_hint, "by_poll": loss.by_poll, "lost": loss.lost}


def _schema_as_json(standing: Standing, table: TableStatus) -> dict[str, object]:
    line = next((line for line in standing.contracts if line.relation == table.relation), None)
    return {"schema_drift": None if line is None else columns_as_json(line, standing.columns)}


def _proof_as_json(standing: Standing, table: TableStatus) -> dict[str, object]:
    proof = standing.proofs.get(table.relation)
    held = next((line.watch.held for line in standing.deletes if line.relation == table.relation), None)
    return {"proof": None if proof is None else asdict(proof), "deletes_held": held}


def _table_as_json(table: TableStatus, at: datetime) -> dict[str, object]:
    speed = rows_per_second(table, at)
    return {
        "table": table.source,
        "schema": table.relation.schema,
        "name": table.relation.name,
        "phase": table.phase,
        "paused_at": table.paused_at,
        "rows": table.rows,
        "rows_estimated": table.estimated,
        "loaded": table.loaded,
        "total": table.total_count,
        "hidden": table.hidden,
        "rows_per_second": round(speed, 1) if speed else None,
        "seconds_left": None if (left := seconds_left(table, at)) is None else round(left, 1),
        "age_seconds": age_of(table, at),
        "proven_to": table.proven_to,
        "changes": table.changes,
        "calls": table.calls,
        "failures": table.failures,
        "value_issues": table.value_issues,
        "error": table.last_error,
    }


def columns_as_json(line: ContractStatus, states: Sequence[ColumnStatus]) -> dict[str, object]:
    """How one table's columns stand, as `nowbridge schema --json` and `nowbridge status --json` tell it."""
    own = [asdict(state) for state in states if state.relation == line.relation]
    return {
        "contract": line.contract,
        "selection": line.selection,
        "stopped": line.stopped,
        "learned_from": line.learned_from,
        "words_of_choices": "learned from the rows" if line.words_learned else "sys_choice",
        "looked_at": line.checked_at,
        "error": line.error,
        "columns": [
            {key: value for key, value in state.items() if key not in ("relation", "source_table")} for state in own
        ],
    }
