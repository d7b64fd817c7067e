"""The story of a replica: lay out the tables, prepare their first load, work until nothing is left, follow changes.

`jobs` calls these; each is safe to repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from nowbridge.model.errors import LostLease, Retry, Stop
from nowbridge.replica.apply import TableLoader
from nowbridge.replica.backfill import Backfill, finish_table
from nowbridge.replica.capture import Capture, Pass
from nowbridge.replica.deletes import Deletes
from nowbridge.replica.evolve import Evolver
from nowbridge.replica.fill import Filler
from nowbridge.replica.hints import HintPass, HintReader
from nowbridge.replica.label_feed import Followed, LabelFeed
from nowbridge.replica.labels import Labeller
from nowbridge.replica.layout import Layout, Role, check_selection, plan_layout
from nowbridge.replica.recognition import Recognition
from nowbridge.replica.spec import Clock, Pace, TableSpec, layout_of, shard_ranges
from nowbridge.replica.upkeep import Tended, Upkeep
from nowbridge.replica.verify import Verifier
from nowbridge.servicenow import schema
from nowbridge.servicenow import tables as source
from nowbridge.servicenow.instance import Instance
from nowbridge.store import ddl
from nowbridge.store.database import Connection, Database
from nowbridge.store.ddl import ColumnDefinition, Relation
from nowbridge.store.instances.connections import ConnectionRow
from nowbridge.store.rows import classes, labels, tables
from nowbridge.store.rows.tables import TableRow
from nowbridge.store.work import leases, pauses
from nowbridge.store.work.leases import AtWork, Holder, StreamLease
from nowbridge.transport.budget import Purpose
from nowbridge.transport.purpose import calling_for

FOLLOW_TRIES = 120  # seconds that another worker may take to bring a stream past a moment
INDEXED = ("number", "sys_updated_on")


async def add_tables(
    connection: Connection, instance: Instance, owner: ConnectionRow, specs: Sequence[TableSpec], clock: Clock
) -> list[TableRow]:
    """Discover the tables, make them in Postgres and note them as planned; those already replicated are left alone.
    All in the caller's transaction, so that the job that loads them is queued with them or not at all.
    """
    present = {row.source for row in await tables.all_of(connection, owner.id)}
    wanted = [spec for spec in specs if spec.source not in present]
    if not wanted:
        return []
    found = await schema.discover(instance, [spec.source for spec in wanted])
    for spec in wanted:
        check_selection(found[spec.source], spec.columns)
    return [
        await _add(connection, owner, spec, plan_layout(found[spec.source], spec.columns), clock) for spec in wanted
    ]


async def _add(connection: Connection, owner: ConnectionRow, spec: TableSpec, layout: Layout, clock: Clock) -> TableRow:
    relation = Relation(owner.schema_name, spec.name or spec.source)
    if await ddl.exists(connection, relation):
        raise Stop(
            "table.name_taken",
            asked=f"make table {relation.schema}.{relation.name}",
            answered="there is one of that name that Nowbridge did not make",
            hint=f"Give the replica another name: `nowbridge replicate {spec.source}=ANOTHER_NAME`.",
        )
    columns = [ColumnDefinition(c.name, c.pg_type, c.comment) for c in layout.columns]
    await ddl.create_table(connection, relation, f"{layout.label} ({layout.table}) of {owner.url}", columns)
    new = tables.NewTable(
        owner.id,
        spec.source,
        relation,
        spec.query,
        msgspec.to_builtins(layout),
        spec.contract,
        msgspec.to_builtins(spec.columns),
    )
    return await tables.add(connection, new, now=clock())


@dataclass(slots=True)
class Replica:
    """One connection's replica, as one worker works on it."""

    database: Database
    instance: Instance
    connection_id: int
    holder: Holder
    pace: Pace
    clock: Clock
    stopping: bool = False  # set from outside: finish the page at hand, give the claim back, take no new one
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    at_work: AtWork = field(default_factory=AtWork)
    labeller: Labeller = field(init=False)
    label_feed: LabelFeed = field(init=False)
    deletes: Deletes = field(init=False)
    verifier: Verifier = field(init=False)
    upkeep: Upkeep = field(init=False)
    hints: HintReader = field(init=False)
    _loaders: dict[int, tuple[tuple[object, ...], TableLoader]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.labeller = Labeller(self.database, self.instance, self.connection_id, self.clock)
        self.label_feed = LabelFeed(
            self.database, self.instance, self.connection_id, self.holder, self.pace, self.clock, self.labeller
        )
        self.deletes = Deletes(self.database, self.instance, self.clock)
        self.verifier = Verifier(self.database, self.instance, self.clock, self.deletes, self.follow)
        self.upkeep = Upkeep(
            self.database,
            self.instance,
            self.connection_id,
            self.holder,
            self.pace,
            self.clock,
            self.deletes,
            self.verifier,
            Evolver(self.database, self.instance, self.clock, self._wait, self.label_feed.prepare),
            Filler(self.database, self.instance, self.pace, self.clock),
        )
        self.hints = HintReader(
            self.database, self.instance, self.connection_id, self.holder, self.clock, self.deletes, self.loader
        )

    async def prepare(self) -> int:
        """Make every planned table ready to be loaded: labels, choices, shards, and a change stream that begins
        before all of them were read. Returns the number of tables prepared.
        """
        async with self.database.transaction() as connection:
            held = await pauses.paused(connection)
            every = await tables.all_of(connection, self.connection_id)
        planned = [row for row in every if row.phase == "planned" and row.id not in held]
        if not planned:
            return 0
        start = (await self.instance.server_now()).replace(microsecond=0) - self.pace.safety_lag
        await self.label_feed.prepare([layout_of(row) for row in planned])
        for row in planned:
            total = await source.count(self.instance, row.source, row.query)
            async with self.database.transaction() as connection:
                await tables.set_total(connection, row.id, total)
                await leases.add_shards(connection, row.id, shard_ranges(total, self.pace.page_rows))
                if total <= self.pace.indexed_first:
                    await ddl.create_indexes(connection, row.relation, _indexed(layout_of(row)))
                if layout_of(row).has("sys_updated_on"):  # else nothing tells a change: loaded once, mended by verify
                    await leases.add_stream(connection, row.id, start, now=self.clock())
                await tables.set_phase(connection, row.id, "backfill", now=self.clock())
        return len(planned)

    async def look(self) -> str | None:
        """Why the instance is not the one that this replica was made of; None when it is."""
        return await Recognition(self.database, self.instance, self.connection_id, self.clock).look()

    async def relearn(self, layouts: Sequence[Layout]) -> None:
        """Read choices and the words of referenced records again."""
        await self.label_feed.prepare(layouts)

    async def load_next_shard(self) -> bool:
        """Claim one shard and read it to its end. False when there is none to be read now."""
        if self.stopping:
            return False
        async with self.database.transaction() as connection:
            lease = await leases.claim_shard(connection, self.connection_id, self.holder, now=self.clock())
        if lease is None:
            return await self._finish_loaded()
        with leases.noted(self.at_work.shards, lease.id), calling_for(Purpose.BACKFILL):
            loader = await self.loader(lease.table_id)
            backfill = Backfill(
                self.database, self.instance, self.holder, self.pace, self.clock, stopping=lambda: self.stopping
            )
            try:
                await backfill.run_shard(lease, loader)
            except LostLease:
                return True
        return True  # the next call finds no shard left and lets the table go live

    async def _finish_loaded(self) -> bool:
        """Let every table whose shards are all read go live. Asked of the database, not remembered, because a worker
        may have died between its last page and this step.
        """
        async with self.database.transaction() as connection:
            loaded = await leases.loaded_tables(connection, self.connection_id)
        for table_id in loaded:
            loader = await self.loader(table_id)
            await finish_table(self.database, loader.row, _indexed(loader.layout), now=self.clock())
        return bool(loaded)

    async def claim_due_streams(self, limit: int) -> list[StreamLease]:
        async with self.database.transaction() as connection:
            return await leases.claim_streams(
                connection, self.connection_id, self.holder, now=self.clock(), limit=limit
            )

    async def poll(self, lease: StreamLease) -> Pass:
        """One pass over a claimed stream. A lease lost meanwhile is somebody else's pass, and no error."""
        with leases.noted(self.at_work.streams, lease.table_id):
            loader = await self.loader(lease.table_id)
            capture = Capture(self.database, self.instance, self.holder, self.pace, self.clock)
            try:
                return await capture.poll(lease, loader)
            except LostLease as lost:
                return Pass(loader.row.source, error=lost)

    async def follow(self, table_id: int, moment: datetime) -> None:
        """Bring a table's change stream past a moment of the instance's clock, or wait until another worker has done
        so. Raises Retry `stream.behind`.
        """
        for _ in range(FOLLOW_TRIES):
            async with self.database.transaction() as connection:
                stands = await leases.proven_to(connection, table_id)
                if stands is None or stands >= moment:
                    return
                lease = await leases.claim_stream(connection, table_id, self.holder, now=self.clock())
            if lease is not None:
                done = await self.poll(lease)
                if done.error is not None and not isinstance(done.error, LostLease):
                    raise done.error
                if done.proven_to is not None and done.proven_to >= moment:
                    return
            await self.sleep(1.0)
        raise Retry(
            "stream.behind",
            asked="wait until the changes up to now are in the replica",
            answered=f"they were not after {FOLLOW_TRIES} seconds",
            hint="`nowbridge status` shows how the table's changes stand.",
        )

    async def read_hints(self) -> HintPass | None:
        """Read back the records that were hinted; None when no hint is due."""
        if self.stopping:
            return None
        with calling_for(Purpose.HINT):
            return await self.hints.read_due()

    async def tend_next(self) -> Tended | None:
        """Do the duty that has been due for longest; None when none is."""
        if self.stopping:
            return None
        lease = await self.upkeep.claim()
        if lease is None:
            return None
        with leases.noted(self.at_work.duties, (lease.table_id, lease.kind)), calling_for(Purpose.VERIFY):
            return await self.upkeep.tend(lease, await self.loader(lease.table_id))

    async def _wait(self, seconds: float) -> None:
        await self.sleep(seconds)  # which tests exchange

    async def loader(self, table_id: int) -> TableLoader:
        """The loader of a table as it stands now: made anew when its columns or the tables beside it have changed."""
        async with self.database.transaction() as connection:
            version = await tables.version(connection, table_id)
            held = self._loaders.get(table_id)
            if held is not None and held[0] == version:
                return held[1]
            row = await tables.load(connection, table_id)
            named = {s.table for s in await labels.sources(connection, self.connection_id)}
            below = await classes.descendants(connection, table_id)
        held = self._loaders.get(table_id)
        if held is not None and held[0] == version:  # made for another shard meanwhile
            return held[1]
        lineage = (row.source, *row.layout.get("ancestors", ()))
        loader = TableLoader(
            row, self.labeller, label_tables=[table for table in lineage if table in named], descendants=below
        )
        self._loaders[table_id] = (version, loader)
        return loader

    async def follow_labels(self) -> Followed | None:
        """Look for renames in one table that is not replicated, or in the choices; None when none is due."""
        if self.stopping:
            return None
        with calling_for(Purpose.VERIFY):
            return await self.label_feed.follow_next()


def _indexed(layout: Layout) -> list[str]:
    """The columns that are indexed when a table goes live."""
    return [c.name for c in layout.loaded if c.source in INDEXED and c.role is Role.VALUE]
