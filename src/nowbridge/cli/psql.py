"""`nowbridge psql`: PostgreSQL's own client on the replica, as the role that may only read it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from nowbridge.cli.entry import examples, settings_of

EXAMPLES = examples(
    "nowbridge psql",
    "nowbridge psql -c '\\dt'",
    'nowbridge psql -c "SELECT number, priority, state, assigned_to FROM incident WHERE active LIMIT 5"',
    "nowbridge psql --owner",
)


def psql(
    context: typer.Context,
    *,
    owner: Annotated[
        bool, typer.Option("--owner", help="As the product's own role, which may write and change tables.")
    ] = False,
) -> None:
    """Open psql on the replica. Whatever follows is passed on to psql.

    Connects as `nowbridge_reader`, which sees the replica and its change feed `_sync_cdc` and may change nothing.
    The password travels in the environment, not on the command line. Any other Postgres client works as well; the
    variables that psql gets are PGHOST, PGPORT, PGUSER, PGDATABASE and PGPASSWORD.
    """
    from nowbridge import wiring
    from nowbridge.store.database import client_environment
    from nowbridge.store.server import embedded

    settings = settings_of(context)
    dsn = wiring.find_database(settings)
    environment = client_environment(dsn if owner else wiring.reader_dsn(settings, dsn))
    own = shutil.which("psql") if settings.database_url else None
    program = Path(own) if own else embedded.binary("psql")
    os.execve(program, [str(program), *context.args], {**os.environ, **environment})  # noqa: S606 - psql, not a shell
