"""`nowbridge sql-user`: roles for people and programs that read the replica, or write ServiceNow through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nowbridge.cli.entry import AsJson, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.settings import Settings
    from nowbridge.store.writes.sql_users import SqlUser

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Readers of the replica, and writers of ServiceNow by SQL.",
    epilog=examples("nowbridge sql-user add analyst --read", "nowbridge sql-user list"),
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The role's name in Postgres.")]


@app.command(
    epilog=examples(
        "nowbridge sql-user add analyst --read", "nowbridge sql-user add servicedesk --write --tables incident,problem"
    )
)
def add(
    context: typer.Context,
    name: Name,
    *,
    write: Annotated[
        bool | None, typer.Option("--write/--read", help="May write ServiceNow through the replica, or only read.")
    ] = None,
    tables: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE,TABLE", help="Only these tables; else all, those added later too.", show_default=False
        ),
    ] = None,
    stamp: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=TEXT",
            help="Set this in every record that the user writes, so that ServiceNow shows who it was.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a role that may read the replica, or write through it, and print its connection URL once.

    The password is generated, and known to nobody afterwards: the same command again makes a new one. A writer's
    INSERT, UPDATE and DELETE go to ServiceNow when the transaction commits, and fail with ServiceNow's answer; see
    docs/sql-writes.md. Writes need a running worker (`nowbridge up`).
    """
    if write is None:
        raise typer.BadParameter("say --read or --write", param_hint="NAME")
    only = None if tables is None else [part.strip() for part in tables.split(",") if part.strip()]
    url = run(_add(settings_of(context), name, only, _pairs(stamp or []), writes=write))
    if as_json:
        from nowbridge.cli import screen

        screen.print_json({"name": name, "writes": write, "tables": only, "url": url})
    else:
        typer.echo(url)


@app.command(epilog=examples("nowbridge sql-user remove analyst"))
def remove(context: typer.Context, name: Name) -> None:
    """Remove a role that `sql-user add` made, with its rights. What it has written stays in the log."""
    run(_remove(settings_of(context), name))
    typer.echo(f"removed {name}")


@app.command(name="list", epilog=examples("nowbridge sql-user list --json"))
def list_users(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show the roles, what they may do, and since when."""
    import msgspec

    users = run(_list(settings_of(context)))
    if as_json:
        typer.echo(msgspec.json.encode({"users": users}).decode())
        return
    for user in users:
        kind = "writes" if user.writes else "reads"
        typer.echo(f"{user.name}  {kind}  {', '.join(user.tables) if user.tables else 'all tables'}")


def _pairs(stamp: list[str]) -> dict[str, str]:
    if bad := [one for one in stamp if not one.partition("=")[0] or "=" not in one]:
        raise typer.BadParameter(f"{bad[0]} does not have the form COLUMN=TEXT", param_hint="--stamp")
    return {column: text for column, _, text in (one.partition("=") for one in stamp)}


async def _add(settings: Settings, name: str, tables: list[str] | None, stamp: dict[str, str], *, writes: bool) -> str:
    import secrets

    from nowbridge import wiring
    from nowbridge.store.server import provision
    from nowbridge.store.writes import loopback, sql_users

    dsn = wiring.find_database(settings, upgrade=True)
    if writes:
        loopback.ensure(dsn)
    password = secrets.token_urlsafe(24)
    rights = sql_users.Rights(writes, tables, stamp)
    async with open_database(settings) as database:
        async with database.transaction() as connection:
            await sql_users.add(connection, name, password, rights, now=wiring.now())
        if writes:
            await wiring.make_writable(settings, database)
    return provision.as_role(dsn, name, password)


async def _remove(settings: Settings, name: str) -> None:
    from nowbridge.store.writes import sql_users

    async with open_database(settings) as database, database.transaction() as connection:
        await sql_users.remove(connection, name)


async def _list(settings: Settings) -> list[SqlUser]:
    from nowbridge.store.writes import sql_users

    async with open_database(settings) as database, database.transaction() as connection:
        return await sql_users.every(connection)
