"""`nowbridge notices`: what has changed lately, and what still waits to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nowbridge.cli.entry import AsJson, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.settings import Settings

EXAMPLES = examples("nowbridge notices", "nowbridge notices --last 5", "nowbridge notices --json | jq .notices")


def notices(
    context: typer.Context,
    *,
    last: Annotated[int, typer.Option(metavar="N", help="How many, the newest first.", min=1, max=10_000)] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the notices: backfill done, a table that stopped or works again, is behind or fresh again, values that did not
    fit.

    There is one for each change, written by a running worker. They also go to the log, and to a webhook and by mail
    where `notify_webhook` or `smtp_host` are set (docs/settings.md); what could not be sent yet is shown with the
    reason.
    """
    run(_show(settings_of(context), last, as_json=as_json))


async def _show(settings: Settings, last: int, *, as_json: bool) -> None:
    from rich.text import Text

    from nowbridge.cli import screen
    from nowbridge.jobs import notices as jobs
    from nowbridge.store.operation import notices as store

    async with open_database(settings) as database, database.transaction() as connection:
        found = await store.latest(connection, last)
        waiting = await store.unsent(connection)
    if as_json:
        keys = ("notice", "channel", "tries", "error")
        unsent = [dict(zip(keys, row, strict=True)) for row in waiting]
        screen.print_json({"notices": [jobs.as_json(notice) for notice in found], "unsent": unsent})
        return
    out = screen.output()
    for notice in found:
        out.print(Text(f"{screen.stamp(notice.at)}  {notice.words}"), soft_wrap=True)
    if not found:
        out.print("There are no notices.")
    for number, channel, tries, error in waiting:
        screen.say(f"Notice {number} waits for {channel}, tried {tries} times: {error or 'not yet tried'}", "yellow")
