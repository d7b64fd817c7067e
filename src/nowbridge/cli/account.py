"""`nowbridge account`: who may sign in to the console."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nowbridge.cli.entry import AsJson, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.api.accounts import Account
    from nowbridge.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Accounts of the console: who may sign in to it, and who may configure.",
    epilog=examples("nowbridge account add ada --role super_admin", "nowbridge account list"),
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A user name or a mail address.")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]


@app.command(
    epilog=examples(
        "nowbridge account add ada --role super_admin",
        "pass show nowbridge | nowbridge account add bob --role viewer --password-stdin",
    )
)
def add(
    context: typer.Context,
    name: Name,
    *,
    role: Annotated[
        Literal["super_admin", "viewer"],
        typer.Option(metavar="super_admin|viewer", help="super_admin configures, viewer only sees."),
    ],
    password_stdin: FromStdin = False,
) -> None:
    """Make an account for the console. The password is asked for, and kept as an Argon2id hash; there is none by default.

    A viewer sees how tables and connections stand, without secrets. Configuring an integration needs super_admin.
    """
    settings = settings_of(context)
    run(_add(settings, name, role, _password(from_stdin=password_stdin)))
    typer.echo(f"added {name}, {role}")


@app.command(epilog=examples("nowbridge account password ada"))
def password(context: typer.Context, name: Name, *, password_stdin: FromStdin = False) -> None:
    """Give an account a new password. Whoever is signed in by the old one is signed out."""
    settings = settings_of(context)
    run(_set_password(settings, name, _password(from_stdin=password_stdin)))
    typer.echo(f"new password for {name}")


@app.command(epilog=examples("nowbridge account remove bob"))
def remove(context: typer.Context, name: Name) -> None:
    """Remove an account. It is signed out at once."""
    run(_remove(settings_of(context), name))
    typer.echo(f"removed {name}")


@app.command(name="list", epilog=examples("nowbridge account list --json"))
def list_accounts(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show the accounts, their roles, and since when."""
    from nowbridge.cli import screen

    found = run(_list(settings_of(context)))
    if as_json:
        told = [
            {
                "name": one.name,
                "role": one.role.value,
                "created_at": one.created_at,
                "password_changed_at": one.password_changed_at,
            }
            for one in found
        ]
        screen.print_json({"accounts": told})
        return
    if not found:
        screen.output().print("There is no account yet, so nobody can sign in to the console.")
        return
    shown = screen.columns("account", "role", "since", "password since")
    for one in found:
        shown.add_row(one.name, one.role.value, f"{one.created_at:%Y-%m-%d}", f"{one.password_changed_at:%Y-%m-%d}")
    screen.output().print(shown)


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on", param_hint="--password-stdin")
    entered: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return entered


async def _add(settings: Settings, name: str, role: str, password: str) -> None:
    import secrets

    from nowbridge import wiring
    from nowbridge.api import accounts
    from nowbridge.api.access import Role

    async with open_database(settings) as database:
        await accounts.add_account(database, name, Role(role), password, now=wiring.now(), random=secrets.token_bytes)


async def _set_password(settings: Settings, name: str, password: str) -> None:
    import secrets

    from nowbridge import wiring
    from nowbridge.api import accounts

    async with open_database(settings) as database:
        await accounts.set_password(database, name, password, now=wiring.now(), random=secrets.token_bytes)


async def _remove(settings: Settings, name: str) -> None:
    from nowbridge.api import accounts

    async with open_database(settings) as database:
        await accounts.remove_account(database, name)


async def _list(settings: Settings) -> list[Account]:
    from nowbridge.api import accounts

    async with open_database(settings) as database:
        return await accounts.list_accounts(database)
