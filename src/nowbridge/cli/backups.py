"""`nowbridge backup` and `restore`: what is ours as one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nowbridge.cli.entry import AsJson, examples, settings_of

if TYPE_CHECKING:
    from nowbridge.store.operation.backup import Manifest

BACKUP_EXAMPLES = examples("nowbridge backup nowbridge.zip", "nowbridge backup nowbridge.zip --data --with-key")
RESTORE_EXAMPLES = examples(
    "nowbridge restore nowbridge.zip",
    "nowbridge --home /srv/copy restore nowbridge.zip",
    "nowbridge --home /srv/copy resume --restored",
)
File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


def backup(
    context: typer.Context,
    file: File,
    *,
    data: Annotated[
        bool, typer.Option("--data", help="The rows of the replica too; else they are loaded again.")
    ] = False,
    with_key: Annotated[
        bool, typer.Option("--with-key", help="The master key too: who has the file then has the credentials.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write connections, tables, cursors, journal, tombstones, labels and the change feed into one file.

    It is one consistent snapshot; workers may go on meanwhile. Credentials are in it as they are stored, sealed; the master
    key is not, unless you ask for it: keep it elsewhere. Views and tables of your own are not in it.
    """
    from nowbridge import wiring

    manifest = wiring.back_up(settings_of(context), file, with_rows=data, with_key=with_key)
    _show(manifest, "written", as_json=as_json, hint="" if with_key else "The master key is not in it.")


def restore(
    context: typer.Context,
    file: File,
    *,
    without_key: Annotated[
        bool, typer.Option("--without-key", help="Although its credentials cannot be opened here.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a backup into a fresh database.

    The copy writes nothing and asks nothing of ServiceNow until you say that the original does not run any more:
    `nowbridge resume --restored`. Tables whose rows were not in the file are loaded again then.
    """
    from nowbridge import wiring

    manifest = wiring.restore(settings_of(context), file, without_key=without_key)
    hint = "Nothing is done until you confirm that the original does not run: nowbridge resume --restored"
    _show(manifest, "restored", as_json=as_json, hint=hint)


def _show(manifest: Manifest, what: str, *, as_json: bool, hint: str) -> None:
    from nowbridge.cli import screen

    if as_json:
        rows = [f"{t.schema}.{t.name}" for t in manifest.tables if t.script and t.rows]
        told = [f"{t.schema}.{t.name}" for t in manifest.tables if t.script]
        screen.print_json({what: True, "made_at": manifest.made_at, "replica": told, "with_rows": rows})
        return
    screen.say(
        f"{what}: {sum(1 for t in manifest.tables if t.script)} replica tables, as of {manifest.made_at}. {hint}"
    )
