"""The whole product on this machine: an emulated ServiceNow filled with real data, its tables copied into Postgres, the
recorded history of its incidents played on, and the copy kept up with it.

Everything is done with the commands that a user would type. Nothing is left behind: no process, and no file unless
--home names a folder to keep.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, LiteralString
from urllib import request

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from nowbridge.cli import standing
from nowbridge.model.errors import NowbridgeError
from nowbridge.settings import Settings
from nowbridge.settings import load as load_settings
from nowbridge.store.database import Database
from nowbridge.store.server import embedded
from nowbridge.wiring import find_database
from nowtwin.instance import OAUTH_CLIENT, OAUTH_SECRET
from nowtwin.seeds import find_shared_data, generate_incidents

TABLES = ("task", "incident", "sys_user", "sys_user_group", "core_company", "cmdb_ci", "cmn_location", "sys_choice")
EVENT_LOG = "uci_incident_event_log.dev.csv.gz"
PUBLISHED = "README.md says where the public event log is to be had"
GENERATED = 5_000  # incidents to begin with, where no log is at hand
LEAST_CHANGES = 2_000  # fewer prove little
BACKSTOP_SECONDS = 15.0  # between polls behind the hints; the default spares a real instance, and nobody would watch it
SETTLED_WITHIN = 40  # half seconds
VISIBLE_WITHIN = 60.0  # seconds after the last change
SHOWN_CHANGES, LONGEST_VALUE = 6, 26
BIN = Path(sys.executable).parent
_DIRECT = request.build_opener(request.ProxyHandler({}))


class Failed(Exception):
    """The demo did not show what it should; the words say what."""


@dataclass(frozen=True, slots=True)
class Source:
    """What fills the emulated instance: options for `nowtwin serve`, and words for people."""

    options: tuple[str, ...]
    words: str


@dataclass(slots=True)
class Lags:
    """Seconds from a write in the instance to its (or a later state's) arrival here. Records keep several open writes,
    because a poll brings the newest state only.
    """

    open: dict[tuple[str, str], list[tuple[int, float]]] = field(default_factory=dict)
    arrived: dict[tuple[str, str], list[tuple[int, float]]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    writes: int = 0

    def wrote(self, table: str, sys_id: str, version: int, at: float) -> None:
        self.writes += 1
        for seen, arrived_at in self.arrived.get((table, sys_id), ()):
            if seen >= version:
                self.seconds.append(arrived_at - at)
                return
        self.open.setdefault((table, sys_id), []).append((version, at))

    def applied(self, table: str, sys_id: str, version: int, at: float) -> None:
        self.arrived.setdefault((table, sys_id), []).append((version, at))
        waiting = self.open.pop((table, sys_id), [])
        self.seconds += [at - written for wanted, written in waiting if wanted <= version]
        if later := [(wanted, written) for wanted, written in waiting if wanted > version]:
            self.open[table, sys_id] = later

    @property
    def all_visible(self) -> bool:
        return not self.open

    def percentile(self, share: float) -> float | None:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


@dataclass(frozen=True, slots=True)
class Summary:
    """What `--once` found. `lag_*` and all durations in seconds."""

    ok: bool
    data: str
    rows: int
    seconds: float
    rows_per_second: float
    changes: int
    changes_visible: int
    changes_per_second: float
    poll_seconds: float
    lost_hints: int
    refused_by_the_instance: int
    lag_p50: float | None
    lag_p95: float | None
    lag_p99: float | None
    equal: bool
    took_seconds: float
    tables: list[dict[str, Any]]


@dataclass(slots=True)
class Twin:
    """The emulated instance and its control API."""

    url: str

    async def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON
        data = None if body is None else json.dumps(body).encode()
        call = request.Request(f"{self.url}/_nowtwin/{path}", data=data, method=method)

        def ask() -> Any:  # noqa: ANN401 - JSON
            with _DIRECT.open(call, timeout=60) as answer:
                return json.load(answer)

        return await asyncio.to_thread(ask)


@dataclass(slots=True)
class Demo:
    """One run. `screen` writes to standard error; standard output is for the summary."""

    options: argparse.Namespace
    home: Path
    source: Source
    screen: Console
    environment: dict[str, str]
    lags: Lags = field(default_factory=Lags)
    shown: list[RenderableType] = field(default_factory=list)
    _journal: int = 0
    _feed: int = 0

    async def run(self) -> Summary | None:
        """The summary of a bounded run; None when it was asked to go on until somebody stops it."""
        begun = time.monotonic()
        async with AsyncExitStack() as stack:
            twin = await stack.enter_async_context(self.twin())
            stack.push_async_callback(self.stop_database)
            await self.nowbridge("init")
            await self.nowbridge(
                *("connect", twin.url, "--name", "demo", "--username", "admin", "--client-id", OAUTH_CLIENT)
            )
            backfill = json.loads(await self.nowbridge("replicate", *TABLES, "--json"))
            port = free_port()
            hook = f"http://127.0.0.1:{port}/hooks/demo"
            await self.nowbridge("hooks", "install", "--url", hook, "--admin-user", "admin")
            await stack.enter_async_context(self.up(port))
            settings = load_settings(self.environment, home=self.home)
            database = await stack.enter_async_context(Database(find_database(settings), max_size=3))
            await self.settle(database)
            await self.play(twin, database, settings)
            if not self.options.once:
                return None
            hooks = json.loads(await self.nowbridge("hooks", "status", "--json"))
            verified = json.loads(await self.nowbridge("verify", "--json", may_fail=True))
            progress = await twin.control("GET", "play")
        lost = sum(table["lost"] or 0 for table in hooks["tables"])
        return self.summary(backfill, verified, progress, lost, time.monotonic() - begun)

    @asynccontextmanager
    async def twin(self) -> AsyncIterator[Twin]:
        self.step(f"nowtwin, a ServiceNow in a box, with {self.source.words}")
        command = (str(BIN / "nowtwin"), "serve", "--port", "0", *self.source.options)
        async with self.process(command, stdout=asyncio.subprocess.PIPE) as process:
            line = (await process.stdout.readline()).decode() if process.stdout else ""
            url = next((word for word in line.split() if word.startswith("http://")), None)
            if url is None:
                raise Failed("nowtwin did not start")
            yield Twin(url)

    @asynccontextmanager
    async def up(self, port: int) -> AsyncIterator[None]:
        """The worker and the place for hints, in the background; what it says goes to a file."""
        self.step(f"nowbridge up: told by hints, and polling behind them every {BACKSTOP_SECONDS:g} s")
        log = self.home / "up.log"
        with log.open("wb") as file:
            command = (*self.program, "up", "--health-port", str(port), "--log", "json")
            async with self.process(command, stderr=file) as process:
                yield
                if process.returncode is not None:
                    raise Failed(f"nowbridge up ended by itself: {log.read_text(encoding='utf-8')[-2000:]}")

    async def settle(self, database: Database) -> None:
        """Wait until the worker has done what is due at once after a first load, so that the play does not compete with it."""
        for _ in range(SETTLED_WITHIN):
            due = await read(
                database,
                "SELECT (SELECT count(*) FROM nowbridge.duty WHERE next_at <= now())"
                " + (SELECT count(*) FROM nowbridge.stream WHERE proven_at IS NULL)",
            )
            if due[0][0] == 0:
                return
            await asyncio.sleep(0.5)

    async def play(self, twin: Twin, database: Database, settings: Settings) -> None:
        """Play the history and show how the copy follows, to the end of a bounded run or until somebody stops it."""
        limit = {"limit": self.options.changes} if self.options.once else {}
        self.step(f"live: the history goes on at {self.options.rate:g} changes/s" + ("" if limit else ", until Ctrl-C"))
        rows = await read(database, "SELECT coalesce(max(id), 0) FROM public._sync_cdc")
        self._feed = rows[0][0]
        self._journal = (await twin.control("GET", "writes?after=0"))["next"]
        await twin.control("POST", "play", {"rate": self.options.rate, **limit})
        ended: float | None = None
        with Live(console=self.screen, auto_refresh=False, transient=False) as live:
            while not (ended and await self.is_over(database, time.monotonic() - ended)):
                await asyncio.sleep(0.5)
                progress = await twin.control("GET", "play")
                await self.measure(twin, database)
                self.shown = [await self.view(database, settings, progress)]
                if self.screen.is_terminal:
                    live.update(self.shown[0], refresh=True)
                if not progress["running"]:
                    ended = ended or time.monotonic()

    async def is_over(self, database: Database, waited: float) -> bool:
        """Whether a bounded run has shown what it can, so long after the last change. Others end when they are told."""
        return bool(self.options.once) and (waited > VISIBLE_WITHIN or await self.is_caught_up(database))

    async def measure(self, twin: Twin, database: Database) -> None:
        """Take in what was written there and what arrived here since the last look."""
        journal = await twin.control("GET", f"writes?after={self._journal}")
        self._journal = journal["next"]
        for entry in journal["writes"]:
            self.lags.wrote(entry["table"], entry["sys_id"], entry["sys_mod_count"], entry["at"])
        feed = await read(
            database,
            "SELECT id, table_name, sys_id, version, applied_at FROM public._sync_cdc"
            " WHERE id > %s AND sys_id IS NOT NULL AND version IS NOT NULL ORDER BY id",
            (self._feed,),
        )
        for number, table, sys_id, version, applied_at in feed:
            self._feed = number
            self.lags.applied(table, sys_id, version, applied_at.timestamp())

    async def is_caught_up(self, database: Database) -> bool:
        """Whether all that was written is here, and every table is proven past the last write."""
        if not self.lags.all_visible:
            return False
        newest = await read(database, "SELECT max(changed_at), min(proven_to) FROM public._sync_cdc, nowbridge.stream")
        changed_at, proven_to = newest[0]
        return changed_at is not None and proven_to > changed_at

    async def view(self, database: Database, settings: Settings, progress: dict[str, Any]) -> RenderableType:
        state = await standing.read_standing(database, settings)
        played = progress["applied"] + progress["refused"]
        of = f" of {self.options.changes:,}" if self.options.once else ""
        numbers = f"{played:,}{of} changes played, {len(self.lags.seconds):,} arrived"
        lag = ", ".join(
            f"p{round(share * 100)} {value:.2f} s"
            for share in (0.5, 0.95, 0.99)
            if (value := self.lags.percentile(share)) is not None
        )
        return Group(
            standing.as_table(state),
            Text(),
            *await latest_changes(database),
            Text(),
            Text(f"{numbers}   lag {lag or '-'}", "bold"),
            Text("look inside:  ").append(f"{self.command} psql", "cyan"),
            *standing.trouble(state),
        )

    def summary(
        self, backfill: dict[str, Any], verified: dict[str, Any], progress: dict[str, Any], lost: int, took: float
    ) -> Summary:
        rows = sum(table["rows"] for table in backfill["tables"])
        seconds = backfill["seconds"]
        equal = bool(verified["equal"]) and not any(table["pending"] for table in verified["tables"])
        applied = progress["applied"]
        enough = applied >= min(LEAST_CHANGES, self.options.changes)
        return Summary(
            ok=equal and enough and self.lags.all_visible and self.lags.writes >= applied,
            data=self.source.words,
            rows=rows,
            seconds=seconds,
            rows_per_second=round(rows / seconds, 1) if seconds else 0.0,
            changes=applied,
            changes_visible=len(self.lags.seconds),
            changes_per_second=self.options.rate,
            poll_seconds=BACKSTOP_SECONDS,
            lost_hints=lost,
            refused_by_the_instance=progress["refused"],
            lag_p50=_rounded(self.lags.percentile(0.50)),
            lag_p95=_rounded(self.lags.percentile(0.95)),
            lag_p99=_rounded(self.lags.percentile(0.99)),
            equal=equal,
            took_seconds=round(took, 1),
            tables=verified["tables"],
        )

    @property
    def program(self) -> tuple[str, ...]:
        return (str(BIN / "nowbridge"), "--home", str(self.home))

    @property
    def command(self) -> str:
        """The program as a user would type it from here."""
        path = Path(os.path.relpath(self.program[0]))
        return f"{path} --home {self.home}"

    async def nowbridge(self, *arguments: str, may_fail: bool = False) -> str:
        """Run one command; its progress is seen, its answer returned."""
        self.step(f"nowbridge {' '.join(arguments)}")
        command = (*self.program, *arguments)
        async with self.process(command, stdout=asyncio.subprocess.PIPE) as process:
            answer, _ = await process.communicate()
        if process.returncode and not (may_fail and process.returncode == 1):
            raise Failed(f"nowbridge {arguments[0]} ended with exit code {process.returncode}")
        if "--json" not in arguments:
            self.screen.print(answer.decode().rstrip(), markup=False, highlight=False)
        return answer.decode()

    @asynccontextmanager
    async def process(self, command: Sequence[str], **streams: Any) -> AsyncIterator[asyncio.subprocess.Process]:  # noqa: ANN401
        """A program in a process group of its own, ended with everything it started when the block ends."""
        process = await asyncio.create_subprocess_exec(
            *command, env=self.environment, stdin=asyncio.subprocess.DEVNULL, start_new_session=True, **streams
        )
        try:
            yield process
        finally:
            await _end(process)

    async def stop_database(self) -> None:
        await asyncio.to_thread(embedded.stop, self.home)

    def step(self, words: str) -> None:
        self.screen.print(Text("▸ ", "bold green").append(words, "bold"), soft_wrap=True)


async def read(database: Database, query: LiteralString, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    async with database.transaction() as connection:
        return await (await connection.execute(query, parameters)).fetchall()


async def latest_changes(database: Database) -> list[Text]:
    """The newest entries of the change feed about incidents, in words. What every save changes is left out."""
    found = await read(
        database,
        "SELECT c.applied_at, i.number, c.operation, c.changes FROM public._sync_cdc c JOIN public.incident i USING (sys_id)"
        " WHERE c.table_name = 'incident' ORDER BY c.id DESC LIMIT %s",
        (SHOWN_CHANGES,),
    )
    return [change_in_words(*entry) for entry in reversed(found)]


def change_in_words(applied_at: datetime, number: str, operation: str, changes: dict[str, list[str]] | None) -> Text:
    told = Text(f"{applied_at:%H:%M:%S}  {number}  ", "dim")
    if operation == "insert" and changes:
        values = [_short(changes[column][1]) for column in ("priority", "state", "category") if column in changes]
        return told.append(f"new: {', '.join(values)}", "green")
    if not changes:
        return told.append(operation)
    shown = [
        (column, *pair) for column, pair in changes.items() if not column.startswith("sys_") and "__" not in column
    ]
    for column, old, new in shown[:2]:
        told.append(f"{column}: ").append(f"{_short(old)} ", "dim").append(f"→ {_short(new)}   ", "cyan")
    return told if shown else told.append("saved without a visible change")


def _short(value: object) -> str:
    text = "(empty)" if value in (None, "") else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def _end(process: asyncio.subprocess.Process) -> None:
    for number, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 20)):
        if process.returncode is not None:
            break
        process.send_signal(number)
        try:
            await asyncio.wait_for(process.wait(), patience)
        except TimeoutError:
            continue
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # nothing of its group is left


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def find_source(options: argparse.Namespace, folder: Path) -> Source:
    """The event log that was named or is at hand, else generated incidents."""
    shared = find_shared_data()
    log = options.event_log or (shared / EVENT_LOG if shared else None)
    if options.event_log and not options.event_log.is_file():
        raise Failed(f"there is no file {options.event_log}")
    if log and log.is_file():
        return Source(
            ("--data", "demo", "--play", str(log)), f"demo records and the recorded history of incidents in {log.name}"
        )
    rows = folder / "incidents.json"
    rows.write_text(json.dumps({"incident": list(generate_incidents(1, GENERATED, first_number=500_001))}))
    return Source(
        ("--data", "demo", "--data", str(rows), "--play", "generated"),
        f"demo records and {GENERATED:,} generated incidents, no recorded ones ({PUBLISHED})",
    )


def clean_environment() -> dict[str, str]:
    """The caller's, without settings of a Nowbridge or a Postgres of his own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "DATABASE_URL" and not name.startswith(("NOWBRIDGE_", "PG"))
    }
    own = {
        "NOWBRIDGE_PASSWORD": "admin",
        "NOWBRIDGE_CLIENT_SECRET": OAUTH_SECRET,
        "NOWBRIDGE_ADMIN_PASSWORD": "admin",
        "NOWBRIDGE_POLL_SECONDS": f"{BACKSTOP_SECONDS:g}",
        "NOWBRIDGE_POLL_HOOKED_SECONDS": f"{BACKSTOP_SECONDS:g}",
        "PYTHONUNBUFFERED": "1",
    }
    return kept | own


@contextmanager
def home_of(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield given.absolute()
        return
    home = Path(tempfile.mkdtemp(prefix="nowbridge-demo-"))
    try:
        yield home
    finally:
        data = (home / "postgres").resolve()  # a link where the server runs under an account of its own
        shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


def as_text(summary: Summary) -> Text:
    def seconds(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f} s"

    lines = [
        ("data", summary.data),
        ("first load", f"{summary.rows:,} rows in {summary.seconds:.1f} s: {summary.rows_per_second:,.0f} rows/s"),
        (
            "changes",
            f"{summary.changes:,} played at {summary.changes_per_second:g}/s, {summary.changes_visible:,} arrived",
        ),
        (
            "lag",
            f"write to copy, by hints: p50 {seconds(summary.lag_p50)}, p95 {seconds(summary.lag_p95)}, p99 {seconds(summary.lag_p99)}",
        ),
        ("hints", f"{summary.lost_hints:,} lost (found by the poll, every {summary.poll_seconds:g} s)"),
        ("verified", f"{len(summary.tables)} tables by content: {'equal' if summary.equal else 'NOT EQUAL'}"),
        ("took", f"{summary.took_seconds:.0f} s"),
    ]
    text = Text()
    for label, value in lines:
        text.append(f"{label:11}", "bold").append(f"{value}\n")
    return text.append("all holds" if summary.ok else "NOT ALL HOLDS", "bold green" if summary.ok else "bold red")


def save_picture(path: Path, demo: Demo, summary: Summary | None) -> None:
    picture = Console(record=True, width=100, file=Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for its life
    for part in demo.shown:
        picture.print(part)
    if summary is not None:
        picture.print()
        picture.print(as_text(summary))
    picture.save_svg(str(path), title="./scripts/demo")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./scripts/demo", description=__doc__)
    parser.add_argument(
        "--once", action="store_true", help="play a bounded history, verify, print a summary, exit 0 if all holds"
    )
    parser.add_argument("--json", action="store_true", help="with --once: the summary as one JSON object")
    parser.add_argument(
        "--event-log", type=Path, metavar="FILE", help="the incident event log to play (.csv or .csv.gz)"
    )
    parser.add_argument("--home", type=Path, metavar="DIR", help="keep Nowbridge's home in this folder")
    parser.add_argument("--changes", type=int, default=2_500, metavar="N", help="with --once: how many changes (2,500)")
    parser.add_argument("--rate", type=float, metavar="R", help="changes per second (40 with --once, else 20)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="save the last view as an SVG")
    options = parser.parse_args()
    options.rate = options.rate or (40.0 if options.once else 20.0)
    if options.changes < 1 or options.rate <= 0:
        parser.error("--changes and --rate must be positive")
    return options


async def _demonstrate(options: argparse.Namespace, screen: Console) -> int:
    """Runs until done or until the first SIGINT, SIGTERM or SIGHUP; further ones do not disturb the tidying up."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped and task is not None:
            screen.print("\nStopping, a moment ...")
            task.cancel()
        stopped = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    with home_of(options.home) as home:
        demo = Demo(options, home, find_source(options, home), screen, clean_environment())
        try:
            summary = await demo.run()
        except asyncio.CancelledError:
            screen.print("Stopped. Nothing is left running.")
            return 0 if demo.shown and not options.once else 130
        finally:
            if options.picture and demo.shown:
                save_picture(options.picture, demo, None)
        if summary is None:
            return 0
        report(summary, screen, as_json=options.json)
        if options.picture:
            save_picture(options.picture, demo, summary)
    return 0 if summary.ok else 1


def report(summary: Summary, screen: Console, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(summary)))
    else:
        Console(highlight=False).print(as_text(summary), soft_wrap=True)
    for table in summary.tables:
        if not table["equal"]:
            screen.print(f"not equal: {table}", markup=False)


def main() -> int:
    options = parsed()
    screen = Console(stderr=True, highlight=False)
    try:
        return asyncio.run(_demonstrate(options, screen))
    except (Failed, NowbridgeError, OSError) as failure:
        screen.print(f"The demo failed: {failure}", markup=False)
        return 1


if __name__ == "__main__":
    sys.exit(main())
