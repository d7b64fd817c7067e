"""What every command shares: the global options, exit codes, and the way into the asynchronous world."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from nowbridge.model.errors import NowbridgeError
    from nowbridge.settings import Settings
    from nowbridge.store.database import Database

T = TypeVar("T")
HOME_KEY = "nowbridge.home"
JSON_KEY = "nowbridge.json"


class ExitCode(IntEnum):
    """docs/cli.md explains them."""

    OK = 0
    NO = 1
    USAGE = 2
    STOP = 3
    RETRY = 4
    INTERRUPTED = 130


def exit_code_of(error: NowbridgeError) -> ExitCode:
    return ExitCode.RETRY if error.reaction == "retry" else ExitCode.STOP


def _remember_json(context: typer.Context, value: bool) -> bool:  # noqa: FBT001 - the form of a typer callback
    context.meta[JSON_KEY] = value
    return value


AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        callback=_remember_json,
        help="Print one JSON object to standard output, for machines; errors too.",
    ),
]
ConnectionName = Annotated[
    str | None,
    typer.Option("--connection", metavar="NAME", help="Which connection, where there are several.", show_default=False),
]


def settings_of(context: typer.Context) -> Settings:
    """The settings of this call. Raises Stop as settings.load does."""
    from nowbridge import settings

    home: Path | None = context.meta.get(HOME_KEY)
    return settings.load(home=home)


def examples(*lines: str) -> str:
    """The epilog of a command: one example a line."""
    return "\n".join(("[bold]Examples[/bold]", *(f"  [cyan]{line}[/cyan]" for line in lines)))


def run(body: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(body)


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The product's database, which must have been made by `nowbridge init`."""
    from nowbridge import wiring
    from nowbridge.store.database import Database

    dsn = await asyncio.to_thread(wiring.find_database, settings)
    async with Database(dsn) as database:
        yield database
