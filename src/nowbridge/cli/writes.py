"""`nowbridge writes` and `nowbridge undo`: the log of SQL writes, and taking one back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nowbridge.cli.entry import AsJson, ExitCode, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.settings import Settings
    from nowbridge.store.writes.write_log import Ended

WRITES_EXAMPLES = examples("nowbridge writes", "nowbridge writes --last 5 --json")
UNDO_EXAMPLES = examples("nowbridge undo 1742")
SHOWN = 100  # characters of a statement


def writes(
    context: typer.Context,
    *,
    last: Annotated[int, typer.Option(metavar="N", min=1, help="How many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show what was written by SQL: who, when, the statement, and what became of it.

    `settled` says how the transaction and ServiceNow came to agree: committed, reverted, kept. In SQL the same is the
    view `_sync_writes`, where each user sees their own.
    """
    _show(run(_latest(settings_of(context), last)), as_json=as_json)


def undo(
    context: typer.Context,
    write: Annotated[int, typer.Argument(metavar="WRITE", help="The write's number in the log.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Write the opposite of a write to ServiceNow: the values before, the record without what was created, or again
    what was deleted.

    Refused where a record was changed since. Rules and notifications run; journal entries cannot be taken back.
    """
    ended = run(_undo(settings_of(context), write))
    _show([ended], as_json=as_json)
    if ended.state != "done":
        raise typer.Exit(ExitCode.NO)


def _show(log: list[Ended], *, as_json: bool) -> None:
    import msgspec

    if as_json:
        typer.echo(msgspec.json.encode({"writes": log}).decode())
        return
    for one in log:
        statement = " ".join(one.statement.split())
        typer.echo(
            f"{one.id}  {one.submitted_at:%Y-%m-%d %H:%M:%S}  {one.role}  {one.settled or one.state}  {statement[:SHOWN]}"
        )
        if one.message:
            typer.echo(f"    {one.sqlstate} {one.message} {one.detail or ''}".rstrip())
        elif one.mode == "undo" and one.detail:
            typer.echo(f"    {one.detail}")


async def _latest(settings: Settings, last: int) -> list[Ended]:
    from nowbridge.store.writes import write_log

    async with open_database(settings) as database, database.transaction() as connection:
        return await write_log.latest(connection, limit=last)


async def _undo(settings: Settings, write_id: int) -> Ended:
    from nowbridge import wiring

    async with open_database(settings) as database:
        return await wiring.undo_write(settings, database, write_id)
