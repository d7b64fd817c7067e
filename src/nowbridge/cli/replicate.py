"""`nowbridge replicate`: add tables and watch their first load."""

from __future__ import annotations

import asyncio
import re
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from nowbridge.cli.entry import AsJson, ConnectionName, ExitCode, examples, open_database, run, settings_of
from nowbridge.connecting.presets import PRESETS

if TYPE_CHECKING:
    from nowbridge.cli.standing import Standing
    from nowbridge.replica.spec import TableSpec
    from nowbridge.settings import Settings
    from nowbridge.store.database import Database
    from nowbridge.store.rows.tables import TableStatus

EXAMPLES = examples(
    "nowbridge replicate --preset itsm",
    "nowbridge replicate incident problem sys_user=user",
    "nowbridge replicate incident --query 'incident:active=true^priority<=2'",
    "nowbridge replicate incident --columns incident:number,state,category=kind --contract incident:freeze",
    "nowbridge replicate cmdb_ci --detach",
)
_SPEC = re.compile(r"([A-Za-z][A-Za-z0-9_]*)(?:=([a-z_][a-z0-9_]*))?")
_LOOK_EVERY = 0.3  # seconds
_PATIENCE = timedelta(seconds=60)  # without a row while errors are reported


def replicate(  # noqa: PLR0913 - one parameter per option
    context: typer.Context,
    tables: Annotated[
        list[str] | None, typer.Argument(metavar="TABLE[=NAME]...", help="Tables; NAME is what it is called here.")
    ] = None,
    *,
    query: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE:QUERY", help="Fetch only what this encoded query matches.", show_default=False),
    ] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"A set of tables: {', '.join(PRESETS)}.", show_default=False),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TABLE:COLUMN[=NAME],...",
            help="Copy only these columns; NAME is what one is called here. `*` stands for all others.",
            show_default=False,
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE:COLUMN,...", help="Leave these columns out.", show_default=False),
    ] = None,
    contract: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TABLE:NAME",
            help="When columns change: evolve, freeze or discard (see `nowbridge schema`).",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--detach", help="Watch the first load, or only order it.")] = True,
    connection: ConnectionName = None,
    as_json: AsJson = False,
) -> None:
    """Copy tables into Postgres, and keep them fresh from then on.

    The first load is cut into shards and goes on where it stood after any interruption. When no worker is running,
    this command does the work itself until everything is loaded; `nowbridge up` then follows the changes. Tables
    that are replicated already are left as they are.
    """
    specs = _shaped(_specs(tables or [], query or [], preset or []), columns or [], without or [], contract or [])
    settings = settings_of(context)
    loaded = run(_replicate(settings, specs, connection, wait=wait, as_json=as_json))
    if not loaded:
        raise typer.Exit(ExitCode.INTERRUPTED)


def _specs(tables: list[str], queries: list[str], presets: list[str]) -> list[TableSpec]:
    from nowbridge.replica.spec import TableSpec

    for preset in presets:
        if preset not in PRESETS:
            raise typer.BadParameter(f"there is {', '.join(PRESETS)}", param_hint="--preset")
    filters = dict(_filter(entry) for entry in queries)
    specs: dict[str, TableSpec] = {}
    for entry in [*tables, *(table for preset in presets for table in PRESETS[preset])]:
        match = _SPEC.fullmatch(entry)
        if match is None:
            raise typer.BadParameter(f"{entry}: write TABLE or TABLE=NAME, NAME in small letters", param_hint="TABLE")
        specs.setdefault(match[1], TableSpec(match[1], filters.get(match[1], ""), match[2]))
    if not specs:
        raise typer.BadParameter("name at least one table, or a --preset", param_hint="TABLE")
    if strange := filters.keys() - specs.keys():
        raise typer.BadParameter(f"{min(strange)} is not among the tables", param_hint="--query")
    return list(specs.values())


def _shaped(specs: list[TableSpec], columns: list[str], without: list[str], contracts: list[str]) -> list[TableSpec]:
    """The tables with the columns and contracts that were asked for."""
    from nowbridge.replica.layout import Selection

    wanted = {table: [one.partition("=") for one in names] for table, names in _lists(columns, "--columns").items()}
    unwanted = _lists(without, "--without")
    terms = {table: names[0] for table, names in _lists(contracts, "--contract").items()}
    if wrong := [name for name in terms.values() if name not in ("evolve", "freeze", "discard")]:
        raise typer.BadParameter(f"{wrong[0]}: there is evolve, freeze, discard", param_hint="--contract")
    if strange := (wanted.keys() | unwanted.keys() | terms.keys()) - {spec.source for spec in specs}:
        raise typer.BadParameter(f"{min(strange)} is not among the tables", param_hint="--columns")
    shaped = []
    for spec in specs:
        chosen = wanted.get(spec.source, [])
        every = any(column == "*" for column, _, _ in chosen)
        selection = Selection(
            include=() if every else tuple(column for column, _, _ in chosen),
            exclude=tuple(unwanted.get(spec.source, ())),
            names={column: name for column, _, name in chosen if name},
        )
        shaped.append(replace(spec, columns=selection, contract=terms.get(spec.source, "evolve")))
    return shaped


def _lists(entries: list[str], option: str) -> dict[str, list[str]]:
    """`TABLE:one,two` as {table: [one, two]}."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        table, colon, names = entry.partition(":")
        listed = [name.strip() for name in names.split(",") if name.strip()]
        if not colon or not listed:
            raise typer.BadParameter(f"{entry}: write TABLE:NAME,...", param_hint=option)
        found.setdefault(table, []).extend(listed)
    return found


def _filter(entry: str) -> tuple[str, str]:
    table, colon, text = entry.partition(":")
    if not colon or not text:
        raise typer.BadParameter(f"{entry}: write TABLE:ENCODED QUERY", param_hint="--query")
    return table, text


async def _replicate(
    settings: Settings, specs: list[TableSpec], connection_name: str | None, *, wait: bool, as_json: bool
) -> bool:
    """Whether everything that was asked for came to its end."""
    from nowbridge.cli import screen

    async with open_database(settings) as database:
        added = await _add(settings, database, specs, connection_name)
        wanted = frozenset(spec.source for spec in specs)
        screen.say(f"{added} tables added, {len(wanted) - added} replicated already.")
        if not wait:
            if as_json:
                screen.print_json({"added": added, "tables": sorted(wanted)})
            screen.say("A running worker loads them; `nowbridge status` shows how far it is.")
            return True
        loaded = await Watch(settings, database, wanted).until_loaded()
        if as_json:
            from nowbridge.cli import standing

            now = await standing.read_standing(database, settings)
            chosen = tuple(table for table in now.tables if table.source in wanted)
            told = standing.as_json(replace(now, tables=chosen))
            screen.print_json({"added": added, "seconds": standing.load_seconds(chosen), **told})
        return loaded


async def _add(settings: Settings, database: Database, specs: list[TableSpec], connection_name: str | None) -> int:
    """Tables and the job that loads them, in one transaction."""
    from nowbridge import wiring
    from nowbridge.jobs import queue
    from nowbridge.replica.run import add_tables

    async with database.transaction() as connection:
        row = await wiring.only_connection(connection, connection_name)
        async with wiring.stored_instance(settings, row, database, attempts=3, shared=True) as instance:
            added = await add_tables(connection, instance, row, specs, wiring.now)
        if added:
            await queue.defer_prepare(connection, row.id)
    return len(added)


@dataclass(slots=True)
class Watch:
    """Shows the first load of some tables, and does it where nobody else does."""

    settings: Settings
    database: Database
    wanted: frozenset[str]
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _own_worker: asyncio.Task[None] | None = None

    async def until_loaded(self) -> bool:
        """False when it was interrupted. Raises Retry `load.stuck` when errors keep it from getting on."""
        from nowbridge.cli import screen
        from nowbridge.cli.stopping import stop_on_signals

        with stop_on_signals(self._stop):
            try:
                return await self._follow()
            finally:
                interrupted = self._stop.is_set()
                self._stop.set()
                if self._own_worker is not None:
                    await self._own_worker
                if interrupted:
                    screen.say(
                        "Interrupted. What is loaded is kept; the load goes on from there with `nowbridge up`"
                        " or the same command again."
                    )

    async def _follow(self) -> bool:
        from nowbridge.cli.stopping import wait

        bars = Bars()
        moved, rows = None, -1
        with bars:
            while not self._stop.is_set():
                now = await self._look()
                bars.show(now)
                if now.is_loaded:
                    return True
                if not now.workers and self._own_worker is None:
                    self._start_worker()
                if self._own_worker is not None and self._own_worker.done():
                    await self._own_worker
                loaded = sum(table.loaded for table in now.tables)
                if loaded != rows or moved is None:
                    moved, rows = now.at, loaded
                _refuse_if_stuck(now, idle=now.at - moved)
                await wait(self._stop, _LOOK_EVERY)
        return False

    async def _look(self) -> Standing:
        from nowbridge.cli.standing import read_standing

        now = await read_standing(self.database, self.settings)
        return replace(now, tables=tuple(t for t in now.tables if t.source in self.wanted))

    def _start_worker(self) -> None:
        from nowbridge import wiring
        from nowbridge.cli import logs, screen

        logs.configure("error", self.settings.log_format)
        screen.say("No worker is running, so this command does the work itself.")
        worker = wiring.worker_of(self.settings, self.database, self._stop)
        self._own_worker = asyncio.create_task(worker.run())


def _refuse_if_stuck(now: Standing, *, idle: timedelta) -> None:
    from nowbridge.cli import screen
    from nowbridge.model.errors import Retry

    failing = next((table for table in now.tables if table.last_error and table.phase != "live"), None)
    if failing is not None and failing.last_error is not None and idle > _PATIENCE:
        raise Retry(
            "load.stuck",
            asked=f"load {failing.source}",
            answered=screen.error_line(failing.last_error),
            hint="It stays ordered and is tried again whenever a worker runs: `nowbridge up`.",
        )


class Bars:
    """A progress bar per table on a terminal, a line per loaded table elsewhere."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from nowbridge.cli import screen

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}", justify="right"),
            TimeRemainingColumn(),
            console=screen.messages(),
        )
        self._live = screen.is_terminal()
        self._bars: dict[str, int] = {}
        self._told: set[str] = set()

    def __enter__(self) -> None:
        (self._progress if self._live else nullcontext()).__enter__()

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._progress.stop()

    def show(self, now: Standing) -> None:
        from nowbridge.cli import screen
        from nowbridge.cli.standing import name_of, rows_per_second

        for table in now.tables:
            speed = rows_per_second(table, now.at)
            speed_text = f"{speed:,.0f} rows/s" if speed else ""
            if self._live:
                self._advance(table, speed_text)
            elif table.phase == "live" and table.source not in self._told:
                self._told.add(table.source)
                screen.say(f"{name_of(table)}: {table.rows:,} rows loaded {speed_text}".rstrip())

    def _advance(self, table: TableStatus, speed: str) -> None:
        from rich.progress import TaskID

        from nowbridge.cli.standing import name_of

        if table.source not in self._bars:
            self._bars[table.source] = self._progress.add_task(name_of(table), total=None, speed="")
        bar = TaskID(self._bars[table.source])
        total = None if table.total_count is None else max(table.total_count - table.hidden, table.loaded)
        if table.phase == "live":
            total = table.loaded
        self._progress.update(bar, completed=table.loaded, total=total, speed=speed)
