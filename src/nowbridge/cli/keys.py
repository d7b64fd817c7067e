"""`nowbridge keys`: the master key that seals stored credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from nowbridge.cli.entry import AsJson, examples, open_database, run, settings_of

if TYPE_CHECKING:
    from nowbridge.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Show and exchange the master key that seals stored credentials.",
    epilog=examples("nowbridge keys show", "nowbridge keys rotate"),
)


@app.command(epilog=examples("nowbridge keys show", "nowbridge keys show --json"))
def show(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show which key seals, and which are kept to open what older ones sealed. Keys themselves are never shown."""
    from nowbridge import wiring
    from nowbridge.cli import screen

    settings = settings_of(context)
    held = wiring.keyring(settings).held
    if as_json:
        screen.print_json({"file": str(settings.key_path), "current": held[0], "older": list(held[1:])})
        return
    screen.output().print(f"{settings.key_path}: {held[0]} seals", markup=False, soft_wrap=True)
    for older in held[1:]:
        screen.output().print(f"{older} opens what is not sealed anew yet: run nowbridge keys rotate", markup=False)


@app.command(epilog=examples("nowbridge keys rotate"))
def rotate(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Make a new master key, seal everything under it, and forget the old one.

    It may be killed at any moment and run again: it goes on where it stood, and until the end both keys open. Workers read the
    file anew for each use. Copy the file to other machines that have one of their own, and keep the old file with old
    backups.
    """
    from nowbridge.cli import screen

    number, current = run(_rotate(settings_of(context), loud=not as_json))
    if as_json:
        screen.print_json({"sealed_anew": number, "current": current})


async def _rotate(settings: Settings, *, loud: bool) -> tuple[int, str]:
    from nowbridge import wiring
    from nowbridge.cli import screen

    async with open_database(settings) as database:
        number = await wiring.rotate_keys(settings, database, screen.say if loud else lambda _: None)
    return number, wiring.keyring(settings).current
