"""The command line: `nowtwin serve`."""

import signal
import threading
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nowtwin.errors import Refused
from nowtwin.instance import Instance
from nowtwin.limits import documented_limits
from nowtwin.server import Server

if TYPE_CHECKING:
    from nowtwin.play import Player

_ADMIN = "admin"


class Access(StrEnum):
    ACL = "acl"
    OPEN = "open"


class Limits(StrEnum):
    DOCUMENTED = "documented"
    NONE = "none"


app = typer.Typer(add_completion=False, no_args_is_help=True, help="A ServiceNow instance in a box, on loopback.")


@app.callback()
def nowtwin() -> None:
    """A ServiceNow instance in a box, on loopback."""


@app.command()
def serve(  # noqa: PLR0913, PLR0917 - one parameter per option
    port: Annotated[int, typer.Option(help="HTTP port; 0 picks a free one.")] = 18080,
    tls_port: Annotated[
        int | None, typer.Option(help="Also serve HTTPS here, self-signed; 0 picks a free port.")
    ] = None,
    host: Annotated[str, typer.Option(help="Loopback address to listen on.")] = "127.0.0.1",
    data: Annotated[
        list[str] | None, typer.Option(help="`demo` (default), `empty` or a file of rows; may be given several times.")
    ] = None,
    app_path: Annotated[
        list[Path] | None,
        typer.Option(
            "--app", help="Install an application or update set: folder, zip or XML; may be given several times."
        ),
    ] = None,
    admin_password: Annotated[str, typer.Option(help="Password of the account admin.")] = _ADMIN,
    seed: Annotated[int, typer.Option(help="Fixes generated sys_ids, tokens and fault rolls.")] = 0,
    access: Annotated[
        Access, typer.Option(help="`acl`: access control lists apply; `open`: every account may do everything.")
    ] = Access.ACL,
    limits: Annotated[
        Limits, typer.Option(help="`documented`: semaphores and session queues as on an instance; `none`.")
    ] = Limits.DOCUMENTED,
    directory: Annotated[Path | None, typer.Option(help="Keep the rows here, not in a temporary folder.")] = None,
    play: Annotated[
        str | None, typer.Option(help="`generated`, or an incident event log: loads its first part, plays the rest.")
    ] = None,
    play_from: Annotated[float, typer.Option(min=0, max=1, help="The share of the event log that is loaded.")] = 0.5,
    play_rate: Annotated[
        float | None, typer.Option(min=0.001, help="Changes per second, from the start; else play on request.")
    ] = None,
) -> None:
    """Serve an instance until Ctrl-C or SIGTERM. Prints one line with its URL when it is ready."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with Instance(seed=seed, directory=directory) as instance:
        instance.set_admin_password(admin_password)
        instance.switches = replace(instance.switches, access_control=access is Access.ACL)
        if limits is Limits.DOCUMENTED:
            instance.switches = documented_limits(instance.switches)
        for name in data or ([] if play else ["demo"]):
            _load(instance, name)
        for path in app_path or ():
            _install(instance, path)
        player = _player(instance, play, play_from, seed) if play else None
        server = _listen(instance, host, port, tls_port, player)
        server.start()
        if player and play_rate:
            player.start(play_rate)
        typer.echo(_greeting(server, "admin" if admin_password == _ADMIN else "password as given"))
        stopped.wait()
        if player:
            player.stop()
        server.stop()


def _greeting(server: Server, password: str) -> str:
    secure = f" and {server.tls_url} (certificate {server.certificate})" if server.tls_url else ""
    return f"nowtwin ready at {server.url}{secure} (admin / {password}), control API at {server.url}/_nowtwin/"


def _listen(instance: Instance, host: str, port: int, tls_port: int | None, player: "Player | None") -> Server:
    from nowtwin.play import player_routes

    try:
        controls = player_routes(player) if player else ()
        return Server(instance, host=host, port=port, tls_port=tls_port, controls=controls)
    except (OSError, ValueError) as error:
        message = f"nowtwin cannot listen on {host}:{port}: {error}. Choose another --port, or 0 for a free one."
        typer.echo(message, err=True)
        raise typer.Exit(1) from error


def _load(instance: Instance, name: str) -> None:
    from nowtwin import seeds

    if name == "empty":
        return
    if name == "demo":
        seeds.load_demo(instance)
        return
    try:
        seeds.load_file(instance, _existing(name))
    except (ValueError, Refused) as error:
        typer.echo(f"nowtwin cannot load {name}: {error}", err=True)
        raise typer.Exit(1) from error


def _install(instance: Instance, path: Path) -> None:
    try:
        instance.install_app(path)
    except (ValueError, OSError) as error:
        typer.echo(f"nowtwin cannot install {path}: {error}", err=True)
        raise typer.Exit(1) from error


def _player(instance: Instance, play: str, until: float, seed: int) -> "Player":
    from nowtwin.play import prepare_player

    log = None if play == "generated" else _existing(play)
    try:
        return prepare_player(instance, log, until=until, seed=seed)
    except (ValueError, Refused) as error:
        typer.echo(f"nowtwin cannot play {play}: {error}", err=True)
        raise typer.Exit(1) from error


def _existing(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        typer.echo(f"nowtwin found no file {name}.", err=True)
        raise typer.Exit(1)
    return path


if __name__ == "__main__":
    app()
