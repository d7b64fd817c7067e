"""`nowbridge init`: everything that must exist before an instance can be connected. Repeating it changes nothing."""

from __future__ import annotations

import typer

from nowbridge.cli.entry import AsJson, examples, settings_of

EXAMPLES = examples(
    "nowbridge init",
    "nowbridge --home /srv/nowbridge init",
    "DATABASE_URL=postgresql://me@db.example.com/nowbridge nowbridge init",
)


def init(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Make the home folder, the master key and the database.

    Without DATABASE_URL an embedded PostgreSQL is made in the home folder and started; it listens on this machine
    only and lets nobody in without a password. The master key seals the credentials of your instances: back it up,
    apart from the database.
    """
    from nowbridge import wiring
    from nowbridge.cli import screen

    settings = settings_of(context)
    made = wiring.prepare_home(settings)
    if as_json:
        screen.print_json(
            {
                "home": settings.home,
                "key": str(settings.key_path),
                "key_made": made.key_made,
                "embedded": not settings.database_url,
                "migrations": list(made.migrations),
            }
        )
        return
    out = screen.output()
    out.print(f"home      {settings.home}", soft_wrap=True, markup=False)
    new = "made now; back it up" if made.key_made else "kept"
    out.print(f"key       {settings.key_path} ({new})", soft_wrap=True, markup=False)
    which = "your own (DATABASE_URL)" if settings.database_url else "embedded PostgreSQL, running"
    applied = f"{len(made.migrations)} migrations applied" if made.migrations else "up to date"
    out.print(f"database  {which}, {applied}", markup=False)
    out.print("\nNext: nowbridge connect https://YOURINSTANCE.service-now.com --username USER", soft_wrap=True)
