"""`nowbridge up`, `serve`, `worker`, `down`: the processes that run for good, and the way to stop the embedded database."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nowbridge.cli.entry import examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.settings import Settings
    from nowbridge.store.database import Database

UP_EXAMPLES = examples(
    "nowbridge up", "nowbridge up --log json 2>>nowbridge.log", "curl --fail http://127.0.0.1:8765/health"
)
WORKER_EXAMPLES = examples("nowbridge worker", "DATABASE_URL=postgresql://... nowbridge worker --log json")
SERVE_EXAMPLES = examples("nowbridge serve", "DATABASE_URL=postgresql://... nowbridge serve --health-port 8080")
DOWN_EXAMPLES = examples("nowbridge down")
_SHOW_EVERY = 1.0  # seconds

Format = Literal["text", "json"]
LogFormat = Annotated[
    Format | None,
    typer.Option(
        "--log", metavar="text|json", help="Lines for people or JSON; else NOWBRIDGE_LOG_FORMAT.", show_default=False
    ),
]

HealthPort = Annotated[
    int | None,
    typer.Option(metavar="PORT", help="Where /health answers on this machine; 0 takes a free port.", min=0, max=65_535),
]


def up(
    context: typer.Context,
    *,
    health_port: HealthPort = None,
    log: LogFormat = None,
) -> None:
    """Run everything on this machine: database, worker, health port, console, the address for hints. Ctrl-C stops it cleanly.

    On a terminal a table shows how each replica stands; elsewhere there are log lines. The health port answers 200
    while the replica is fresh, 503 when a table is older than a minute (or three polls) or the database is away; /metrics there is for Prometheus. Any number of further
    workers may run beside it, on this machine or others.
    """
    settings = settings_of(context)
    run(_up(settings, settings.health_port if health_port is None else health_port, log or settings.log_format))


def serve(
    context: typer.Context,
    *,
    health_port: HealthPort = None,
    log: LogFormat = None,
) -> None:
    """Answer only: /health, /metrics, the console, and /hooks, where instances tell of changes (`nowbridge hooks`). No worker.

    Hints are kept in the database until a worker reads them, so this may run where the instance can reach it and workers
    somewhere else. It listens on 127.0.0.1; a proxy in front of it brings https, and passes on /hooks/ alone. The setting
    health_host lets it listen elsewhere, which opens all of it to that network: that is for the administrator to decide.
    People use the console (docs/console.md) on this machine, or under the address that the setting console_url names.
    """
    settings = settings_of(context)
    port = settings.health_port if health_port is None else health_port
    run(_up(settings, port, log or settings.log_format, work=False))


def worker(context: typer.Context, *, log: LogFormat = None) -> None:
    """Run a worker only: it loads and follows what is ordered, side by side with any number of others.

    Work is shared through the database. A worker that dies is replaced when its claim runs out, within half a minute.
    """
    run(_worker(settings_of(context), log))


def down(context: typer.Context) -> None:
    """Stop the embedded database of this home. Everything is kept; the next command starts it again."""
    from nowbridge.cli import screen
    from nowbridge.store.server import embedded

    settings = settings_of(context)
    if settings.database_url:
        screen.say("DATABASE_URL is your own server; Nowbridge does not stop it.")
        return
    stopped = embedded.stop(Path(settings.home))
    screen.say("The embedded database is stopped." if stopped else "The embedded database was not running.")


async def _up(settings: Settings, port: int, log: Format, *, work: bool = True) -> None:
    from nowbridge import wiring
    from nowbridge.api.server import listen
    from nowbridge.cli import logs, screen
    from nowbridge.cli.stopping import stop_on_signals
    from nowbridge.store.database import Database

    logs.configure(settings.log_level, log)
    stop = asyncio.Event()
    listener = listen(port, settings.health_host)
    with listener, stop_on_signals(stop), _started_database(settings):
        dsn = await asyncio.to_thread(wiring.find_database, settings, upgrade=True)
        async with Database(dsn) as database:
            address = _address(listener)
            console = settings.console_url or address
            screen.say(f"Nowbridge is up: console {console} and {address}/health for health checks. Ctrl-C stops it.")
            await _together(_parts(settings, database, listener, stop, work=work), stop)
    screen.say("Stopped.")


def _address(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _parts(
    settings: Settings, database: Database, listener: socket.socket, stop: asyncio.Event, *, work: bool
) -> list[Coroutine[Any, Any, None]]:
    """What runs side by side until `stop` is set."""
    from nowbridge import wiring
    from nowbridge.api import health, resources
    from nowbridge.api.server import serve
    from nowbridge.cli import screen
    from nowbridge.web import site

    seen_within = timedelta(seconds=settings.stalled_after_seconds)
    stale_after = health.stale_after(timedelta(seconds=settings.poll_seconds))
    receiver = wiring.receiver_of(settings, database)
    console = wiring.console_of(settings, database)
    app = health.build(
        database,
        wiring.now,
        stale_after=stale_after,
        seen_within=seen_within,
        receiver=receiver,
        more=[*resources.routes(console), *site.routes(console)],
    )
    parts = [serve(app, listener, stop)]
    if work:
        parts.append(wiring.worker_of(settings, database, stop).run())
    return [*parts, _show(settings, database, stop)] if work and screen.is_terminal() else parts


async def _together(parts: list[Coroutine[Any, Any, None]], stop: asyncio.Event) -> None:
    """Run the parts until `stop`; when one fails, the others are asked to finish and its error comes out."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        stop.set()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _show(settings: Settings, database: Database, stop: asyncio.Event) -> None:
    from rich.console import Group
    from rich.live import Live

    from nowbridge.cli import screen, standing
    from nowbridge.cli.stopping import wait
    from nowbridge.model.errors import NowbridgeError

    with Live(console=screen.messages(), auto_refresh=False) as live:
        while True:
            try:
                now = await standing.read_standing(database, settings)
                live.update(Group(standing.as_table(now), *standing.trouble(now)), refresh=True)
            except NowbridgeError as error:
                live.update(screen.error_line(screen.described(error)), refresh=True)
            if await wait(stop, _SHOW_EVERY):
                return


async def _worker(settings: Settings, log: Format | None) -> None:
    from nowbridge import wiring
    from nowbridge.cli import logs
    from nowbridge.cli.stopping import stop_on_signals

    logs.configure(settings.log_level, log or settings.log_format)
    stop = asyncio.Event()
    with stop_on_signals(stop):
        async with open_database(settings) as database:
            await wiring.worker_of(settings, database, stop).run()


@contextmanager
def _started_database(settings: Settings) -> Iterator[None]:
    """Stop the embedded database at the end if it did not run before."""
    from nowbridge.store.server import embedded

    home = Path(settings.home)
    ours = not settings.database_url and not embedded.status(home).running
    try:
        yield
    finally:
        if ours:
            embedded.stop(home)
