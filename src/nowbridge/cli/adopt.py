"""`nowbridge adopt`: go on with an instance that is not the one we knew, after everything was compared."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from nowbridge.cli.entry import AsJson, ConnectionName, ExitCode, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.replica.verify import Verdict
    from nowbridge.settings import Settings

EXAMPLES = examples("nowbridge adopt", "nowbridge adopt --connection dev --yes --json")


def adopt(
    context: typer.Context,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    connection: ConnectionName = None,
    as_json: AsJson = False,
) -> None:
    """Take an instance that was cloned over or put back for the right one.

    When the instance behind a connection is another one than the replica was made of (its instance_id changed, or the
    records that we saw last are older there or missing), everything for that connection stops, in both directions. This command
    reads every row of every table, takes what the instance has, also where our version is newer, and deletes what it has
    not. When all is equal the connection goes on. It may be repeated.

    If the address only led to the wrong instance for a while (a name server, a proxy), mend that first: nothing was
    changed, and this command then finds little to do. When the same instance has moved,
    `nowbridge connect` with the new address and the connection's name recognises it. Exit code 1: not equal yet; the connection stays stopped.
    """
    settings = settings_of(context)
    if not yes:
        _ask()
    verdicts = run(_adopt(settings, connection))
    _show(verdicts, as_json=as_json)
    if not all(verdict.equal for verdict in verdicts):
        raise typer.Exit(ExitCode.NO)


def _ask() -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on", param_hint="--yes")
    typer.confirm(
        "Make the replica equal to the instance as it is now, deleting what it has not?", abort=True, err=True
    )


async def _adopt(settings: Settings, name: str | None) -> list[Verdict]:
    from nowbridge import wiring
    from nowbridge.jobs import queue
    from nowbridge.replica.adoption import adopt as carry_out

    async with open_database(settings) as database:
        async with database.transaction() as connection:
            row = await wiring.only_connection(connection, name)
        async with wiring.replica_of(settings, database, row) as replica:
            verdicts = await carry_out(replica)
        async with database.transaction() as connection:
            await queue.defer_prepare(connection, row.id)
    return verdicts


def _show(verdicts: list[Verdict], *, as_json: bool) -> None:
    from nowbridge.cli import screen

    equal = all(verdict.equal for verdict in verdicts)
    if as_json:
        told = [{"table": v.table, "equal": v.equal, "repaired": v.repaired, "removed": v.removed} for v in verdicts]
        screen.print_json({"equal": equal, "tables": told})
        return
    for verdict in verdicts:
        word = "equal" if verdict.equal else "NOT equal"
        screen.say(f"{verdict.table}: {verdict.repaired:,} rows put right, {verdict.removed:,} of them removed; {word}")
    screen.say("The connection goes on." if equal else "The connection stays stopped; run it again.")
