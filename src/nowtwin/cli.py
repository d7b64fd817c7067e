"""The command line: `nowtwin serve`."""

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import msgspec
import typer

from nowtwin.errors import Refused
from nowtwin.instance import Instance
from nowtwin.limits.documented import documented_limits
from nowtwin.serving.server import CannotListen, Server

if TYPE_CHECKING:
    from nowtwin.play import Player

_ADMIN = "admin"
_LAST_PORT = 65_535
_ENDINGS = (signal.SIGINT, signal.SIGTERM)


class Access(StrEnum):
    ACL = "acl"
    OPEN = "open"


class Limits(StrEnum):
    DOCUMENTED = "documented"
    NONE = "none"


app = typer.Typer(add_completion=False, no_args_is_help=True, help="A ServiceNow instance in a box, on loopback.")


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - an option of the command line
    if wanted:
        typer.echo(f"nowtwin {version_of('nowbridge')}")
        raise typer.Exit


@app.callback()
def nowtwin(
    *,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """A ServiceNow instance in a box, on loopback."""


@app.command()
def serve(  # noqa: PLR0913, PLR0917 - one parameter per option
    port: Annotated[int, typer.Option(help="HTTP port; 0 picks a free one.", min=0, max=_LAST_PORT)] = 18080,
    tls_port: Annotated[
        int | None,
        typer.Option(help="Also serve HTTPS here, self-signed; 0 picks a free port.", min=0, max=_LAST_PORT),
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(help="PEM file of authorities: an HTTPS client needs a certificate that one of them signed."),
    ] = None,
    host: Annotated[str, typer.Option(help="Loopback address to listen on: 127.0.0.1, localhost, ::1.")] = "127.0.0.1",
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
    directory: Annotated[Path | None, typer.Option(help="Folder of the rows while it runs, emptied first.")] = None,
    play: Annotated[
        str | None, typer.Option(help="`generated`, or an incident event log: loads its first part, plays the rest.")
    ] = None,
    play_from: Annotated[float, typer.Option(min=0, max=1, help="The share of the event log that is loaded.")] = 0.5,
    play_rate: Annotated[
        float | None, typer.Option(min=0.001, help="Changes per second, from the start; else play on request.")
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Say that it is ready in one line of JSON.")] = False,
) -> None:
    """Serve an instance until Ctrl-C or SIGTERM. Prints one line with its URL when it is ready."""
    _refuse_what_cannot_be(admin_password, tls_client_ca, tls_port)
    stopped = threading.Event()
    with _interruptible(), _instance(seed, directory) as instance:
        instance.set_admin_password(admin_password)
        instance.switches = replace(instance.switches, access_control=access is Access.ACL)
        if limits is Limits.DOCUMENTED:
            instance.switches = documented_limits(instance.switches)
        _fill(instance, data or ([] if play else ["demo"]), app_path or ())
        player = _player(instance, play, play_from, seed) if play else None
        server = _listen(instance, _Ports(host, port, tls_port, tls_client_ca), player)
        server.start()
        for number in _ENDINGS:
            signal.signal(number, lambda *_: stopped.set())
        if player and play_rate:
            player.start(play_rate)
        typer.echo(_machine_line(server) if json else _greeting(server, admin_password == _ADMIN))
        stopped.wait()
        if player:
            player.stop()
        server.stop()


def _refuse_what_cannot_be(admin_password: str, tls_client_ca: Path | None, tls_port: int | None) -> None:
    if not admin_password:
        _fail("--admin-password is empty: nobody could sign in as admin. Leave it out for the password admin.")
    if tls_client_ca and tls_port is None:
        _fail("--tls-client-ca is about HTTPS: give --tls-port too (0 picks a free port).")


def _fill(instance: Instance, data: Iterable[str], apps: Iterable[Path]) -> None:
    for name in data:
        _load(instance, name)
    for path in apps:
        _install(instance, path)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Until the signals get their handler for a clean end, both cut the preparations short."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        _fail("nowtwin was stopped before it was ready.")


@contextmanager
def _instance(seed: int, directory: Path | None) -> Iterator[Instance]:
    try:
        made = Instance(seed=seed, directory=directory)
    except OSError as error:
        _fail(f"nowtwin cannot keep its rows in {directory}: {error}. Choose another --directory, or none.")
    with made as instance:
        yield instance


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


def _greeting(server: Server, usual: bool) -> str:  # noqa: FBT001 - whether the password is the usual one
    secure = f" and {server.tls_url} (certificate {server.certificate})" if server.tls_url else ""
    password = _ADMIN if usual else "password as given"
    return f"nowtwin ready at {server.url}{secure} (admin / {password}), control API at {server.url}/_nowtwin/"


def _machine_line(server: Server) -> str:
    """What the line for people says, as JSON; without the password."""
    said = {"url": server.url, "tls_url": server.tls_url, "certificate": server.certificate and str(server.certificate)}
    return msgspec.json.encode(said | {"user": _ADMIN, "control_url": f"{server.url}/_nowtwin/"}).decode()


@dataclass(frozen=True, slots=True)
class _Ports:
    host: str
    port: int
    tls_port: int | None
    client_authorities: Path | None


def _listen(instance: Instance, ports: _Ports, player: "Player | None") -> Server:
    from nowtwin.play import player_routes

    controls = player_routes(player) if player else ()
    try:
        return Server(
            instance,
            host=ports.host,
            port=ports.port,
            tls_port=ports.tls_port,
            client_authorities=ports.client_authorities,
            controls=controls,
        )
    except CannotListen as error:
        options = "--port, --tls-port (0: a free one), --host or --tls-client-ca"
        _fail(f"nowtwin cannot listen: {error}. Choose another {options}.")


def _load(instance: Instance, name: str) -> None:
    from nowtwin import seeds

    if name == "empty":
        return
    if name == "demo":
        seeds.load_demo(instance)
        return
    path = _existing("--data", name, "`demo`, `empty` or a file")
    try:
        seeds.load_file(instance, path)
    except (ValueError, Refused) as error:
        _fail(f"nowtwin cannot load {name}: {error}")


def _install(instance: Instance, path: Path) -> None:
    try:
        instance.install_app(path)
    except (ValueError, OSError) as error:
        _fail(f"nowtwin cannot install {path}: {error}")


def _player(instance: Instance, play: str, until: float, seed: int) -> "Player":
    from nowtwin.play import prepare_player

    log = None if play == "generated" else _existing("--play", play, "`generated` or an incident event log")
    try:
        return prepare_player(instance, log, until=until, seed=seed)
    except (ValueError, Refused) as error:
        _fail(f"nowtwin cannot play {play}: {error}")


def _existing(option: str, name: str, wanted: str) -> Path:
    path = Path(name)
    if not name or not path.is_file():
        found = "is a folder" if name and path.is_dir() else "is not there"
        _fail(f"nowtwin found no file for {option}: {name or '(nothing)'} {found}. {option} takes {wanted}.")
    return path


if __name__ == "__main__":
    app()
