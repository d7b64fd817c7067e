"""The program `nowbridge`: global options, the list of commands, and the one place where an error becomes words and
an exit code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nowbridge.cli import (
    account,
    adopt,
    backups,
    check,
    configure,
    connect,
    deletes,
    hooks,
    init,
    keys,
    notices,
    pause,
    psql,
    replicate,
    schema,
    sql_user,
    status,
    up,
    verify,
    writes,
)
from nowbridge.cli.entry import HOME_KEY, JSON_KEY, exit_code_of

EPILOG = """\
[bold]First steps[/bold]
  [cyan]nowbridge init[/cyan]
  [cyan]nowbridge connect https://YOURINSTANCE.service-now.com --username USER[/cyan]
  [cyan]nowbridge replicate --preset itsm[/cyan]
  [cyan]nowbridge up[/cyan]

[bold]Exit codes[/bold]
    0  done
    1  the answer is no: not equal, a check failed
    2  wrong usage
    3  cannot go on until somebody changes something: settings, credentials, rights
    4  not now: unreachable or busy, try again later
  130  interrupted
"""


class Commands(TyperGroup):
    """Shows the errors of the engine; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as the base class has it
        from nowbridge.model.errors import NowbridgeError

        try:
            return super().invoke(ctx)
        except NowbridgeError as error:
            from nowbridge.cli import screen

            screen.show_error(error, as_json=bool(ctx.meta.get(JSON_KEY)))
            raise typer.Exit(exit_code_of(error)) from None


app = typer.Typer(
    name="nowbridge",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog=EPILOG,
)


def _print_version(value: bool) -> None:  # noqa: FBT001 - the form of a typer callback
    if value:
        from importlib.metadata import version

        typer.echo(f"nowbridge {version('nowbridge')}")
        raise typer.Exit


@app.callback()
def nowbridge(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder for settings, master key and embedded database. Else NOWBRIDGE_HOME, else ~/.nowbridge.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[  # noqa: FBT002 - the form of a typer option
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keeps a copy of ServiceNow tables in Postgres: fresh, and proven equal to its source."""
    del version
    context.meta[HOME_KEY] = home


def _add(command: Callable[..., None], epilog: str, *, passes_on: bool = False) -> None:
    """Add a command under its own name. Its docstring is the help, with each paragraph in one line, so that the
    terminal's width decides where lines break. `passes_on`: options that are not known belong to another program.
    """
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    app.command(
        command.__name__,
        help="\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs),
        epilog=epilog,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True} if passes_on else {},
    )(command)


def _add_group(group: typer.Typer, name: str) -> None:
    """Add commands under a common name; each is told in its docstring, as by `_add`."""
    for registered in group.registered_commands:
        if registered.callback is not None:
            paragraphs = inspect.cleandoc(registered.callback.__doc__ or "").split("\n\n")
            registered.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    app.add_typer(group, name=name)


_add(init.init, init.EXAMPLES)
_add(connect.connect, connect.EXAMPLES)
_add(check.check, check.EXAMPLES)
_add(replicate.replicate, replicate.EXAMPLES)
_add(configure.plan, configure.PLAN_EXAMPLES)
_add(configure.apply, configure.APPLY_EXAMPLES)
_add(configure.export, configure.EXPORT_EXAMPLES)
_add(up.up, up.UP_EXAMPLES)
_add(up.serve, up.SERVE_EXAMPLES)
_add(up.worker, up.WORKER_EXAMPLES)
_add(up.down, up.DOWN_EXAMPLES)
_add(status.status, status.EXAMPLES)
_add(notices.notices, notices.EXAMPLES)
_add(pause.pause, pause.PAUSE_EXAMPLES)
_add(pause.resume, pause.RESUME_EXAMPLES)
_add(backups.backup, backups.BACKUP_EXAMPLES)
_add(backups.restore, backups.RESTORE_EXAMPLES)
_add(verify.verify, verify.EXAMPLES)
_add(adopt.adopt, adopt.EXAMPLES)
_add(deletes.deletes, deletes.EXAMPLES)
_add_group(hooks.app, "hooks")
_add_group(keys.app, "keys")
_add_group(account.app, "account")
_add(schema.schema, schema.EXAMPLES)
_add_group(sql_user.app, "sql-user")
_add(writes.writes, writes.WRITES_EXAMPLES)
_add(writes.undo, writes.UNDO_EXAMPLES)
_add(psql.psql, psql.EXAMPLES, passes_on=True)
