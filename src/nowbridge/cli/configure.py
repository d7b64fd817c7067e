"""`nowbridge plan`, `apply`, `export`: connections and tables as one YAML file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nowbridge.cli.entry import AsJson, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.configuration.difference import Change
    from nowbridge.configuration.document import Document
    from nowbridge.settings import Settings

PLAN_EXAMPLES = examples("nowbridge plan nowbridge.yaml", "nowbridge plan nowbridge.yaml --json")
APPLY_EXAMPLES = examples("nowbridge apply nowbridge.yaml", "nowbridge apply nowbridge.yaml --prune --yes")
EXPORT_EXAMPLES = examples("nowbridge export > nowbridge.yaml", "nowbridge export --schema > nowbridge.schema.json")
DIFFERENCES = 2

File = Annotated[Path, typer.Argument(metavar="FILE", help="The YAML file (docs/config.md).")]


def plan(context: typer.Context, file: File, *, as_json: AsJson = False) -> None:
    """Show what differs between a configuration file and what is. Nothing is written, and ServiceNow is not asked.

    Exit code 0: nothing differs; 2: something does. What the file does not name is shown as removed; `apply` does that
    only with --prune.
    """
    steps, _ = run(_plan(settings_of(context), file))
    _show(steps, as_json=as_json)
    if steps:
        raise typer.Exit(DIFFERENCES)


def apply(
    context: typer.Context,
    file: File,
    *,
    prune: Annotated[bool, typer.Option("--prune", help="Also take out what the file does not name.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make what a configuration file says.

    The difference is shown first. New connections are signed in to before they are stored; new tables are loaded by the
    workers. It may be repeated: after a failure the next run does what is left. A table that is taken out stays in
    Postgres as an ordinary table that nobody fills any more. Exit code 2: something is left (removals without --prune,
    changes that are not possible in place).
    """
    settings = settings_of(context)
    steps, wanted = run(_plan(settings, file))
    todo = _todo(steps, prune=prune)
    if not as_json:
        _show(steps, as_json=False)
    if todo and not yes:
        _ask()
    run(_make(settings, wanted, todo, loud=not as_json))
    left = [step for step in steps if step not in todo]
    if as_json:
        _print({"made": [_as_json(step) for step in todo], "left": [_as_json(step) for step in left]})
    elif left:
        _say("Left as they are: what is removed only with --prune, and what is not possible in place.")
    if left:
        raise typer.Exit(DIFFERENCES)


def export(
    context: typer.Context,
    *,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of the file instead, for editors.")
    ] = False,
) -> None:
    """Write what is as a configuration file, without secrets. `nowbridge plan` on it finds no difference."""
    from nowbridge.configuration import document

    if schema:
        sys.stdout.write(json.dumps(document.json_schema(), indent=2) + "\n")
        return
    sys.stdout.write(document.write(run(_read_what_is(settings_of(context)))))


async def _read_what_is(settings: Settings) -> Document:
    from nowbridge.configuration.carry_out import what_is

    async with open_database(settings) as database, database.transaction() as connection:
        return await what_is(connection)


async def _plan(settings: Settings, file: Path) -> tuple[list[Change], Document]:
    from nowbridge import settings as settings_module
    from nowbridge.configuration import difference, document

    wanted = document.read(file, settings_module.checked_number)
    return difference.plan(await _read_what_is(settings), wanted), wanted


def _todo(steps: list[Change], *, prune: bool) -> list[Change]:
    from nowbridge.configuration.difference import Kind

    skipped = {Kind.BLOCKED} if prune else {Kind.BLOCKED, Kind.REMOVE}
    return [step for step in steps if step.kind not in skipped]


async def _make(settings: Settings, wanted: Document, todo: list[Change], *, loud: bool) -> None:
    from nowbridge.configuration.carry_out import Maker

    async with open_database(settings) as database:
        await Maker(settings, database, wanted).make(todo, lambda step: _say(f"done: {step.words}") if loud else None)


def _ask() -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on", param_hint="--yes")
    typer.confirm("Make this?", abort=True, err=True)


def _as_json(step: Change) -> dict[str, object]:
    details = [{"key": key, "before": before, "after": after} for key, before, after in step.details]
    return {"kind": step.kind.value, "connection": step.connection, "table": step.source or None, "details": details}


def _show(steps: list[Change], *, as_json: bool) -> None:
    from nowbridge.cli import screen
    from nowbridge.configuration.difference import Kind

    if as_json:
        screen.print_json({"same": not steps, "changes": [_as_json(step) for step in steps]})
        return
    out = screen.output()
    for step in steps:
        out.print(step.words, markup=False, soft_wrap=True)
        if step.kind is Kind.REMOVE and step.source:
            out.print("    its rows stay in Postgres, and nobody fills the table any more")
        if step.kind is Kind.BLOCKED:
            out.print(
                "    its tables are copies of the instance at the address that it has: add another connection for another one"
            )
    if not steps:
        out.print("Nothing differs.")


def _print(value: object) -> None:
    from nowbridge.cli import screen

    screen.print_json(value)


def _say(text: str) -> None:
    from nowbridge.cli import screen

    screen.say(text)
