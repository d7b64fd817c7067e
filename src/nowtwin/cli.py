"""The command line: `nowtwin serve`."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from nowtwin.errors import Refused
from nowtwin.instance import Instance
from nowtwin.server import Server

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
        list[str] | None, typer.Option(help="`demo`, `empty` or a file of rows; may be given several times.")
    ] = None,
    admin_password: Annotated[str, typer.Option(help="Password of the account admin.")] = "admin",  # noqa: S107 - documented default of an emulator
    seed: Annotated[int, typer.Option(help="Fixes generated sys_ids, tokens and fault rolls.")] = 0,
    directory: Annotated[Path | None, typer.Option(help="Keep the rows here instead of in a temporary folder.")] = None,
) -> None:
    """Serve an instance until Ctrl-C or SIGTERM. Prints one line with its URL when it is ready."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with Instance(seed=seed, directory=directory) as instance:
        if admin_password != "admin":  # noqa: S105 - the documented default
            instance.set_admin_password(admin_password)
        for name in data or ["demo"]:
            _load(instance, name)
        server = _listen(instance, host, port, tls_port)
        server.start()
        shown = "admin" if admin_password == "admin" else "password as given"  # noqa: S105 - the documented default
        secure = f" and {server.tls_url} (certificate {server.certificate})" if server.tls_url else ""
        typer.echo(f"nowtwin ready at {server.url}{secure} (admin / {shown}), control API at {server.url}/_nowtwin/")
        stopped.wait()
        server.stop()


def _listen(instance: Instance, host: str, port: int, tls_port: int | None) -> Server:
    try:
        return Server(instance, host=host, port=port, tls_port=tls_port)
    except (OSError, ValueError) as error:
        typer.echo(
            f"nowtwin cannot listen on {host}:{port}: {error}. Choose another --port, or 0 for a free one.", err=True
        )
        raise typer.Exit(1) from error


def _load(instance: Instance, name: str) -> None:
    from nowtwin import seeds

    if name == "empty":
        return
    if name == "demo":
        seeds.load_demo(instance)
        return
    path = Path(name)
    if not path.is_file():
        typer.echo(f"nowtwin found no data file {name}. Give `demo`, `empty` or a path.", err=True)
        raise typer.Exit(1)
    try:
        seeds.load_file(instance, path)
    except (ValueError, Refused) as error:
        typer.echo(f"nowtwin cannot load {name}: {error}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
