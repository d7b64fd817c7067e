"""Makes the file from which upgrades out of this version are tested: `tests/fixtures/upgrade/<last migration>.zip`.

Run it once for each release that brought migrations, with the code of that release, and commit the file:

    python scripts/upgrade_fixture.py

It loads `ROWS` from nowtwin into an empty PostgreSQL and writes what `nowbridge backup --data` writes. The test
tests/store/test_upgrades.py restores every file there and lets this version go on with it.

`--dsn` takes a database that another version has made (by `load` below), for versions before `nowbridge backup`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nowbridge.replica.run import Replica, add_tables
from nowbridge.replica.spec import Pace, TableSpec
from nowbridge.servicenow.auth import Basic
from nowbridge.servicenow.instance import Instance
from nowbridge.store.database import Database
from nowbridge.store.instances import connections
from nowbridge.store.instances.connections import NewConnection
from nowbridge.store.server.embedded import ephemeral
from nowbridge.store.server.provision import provision
from nowbridge.store.work.leases import Holder
from nowbridge.transport.client import Client, Limits
from nowbridge.wiring import install
from nowtwin.instance import Instance as Twin
from nowtwin.testing import serve

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "upgrade"
STAMPS = {
    "sys_created_on": "2026-01-01 10:00:00",
    "sys_updated_on": "2026-01-02 10:00:00",
    "sys_mod_count": "3",
    "sys_created_by": "ada",
    "sys_updated_by": "ada",
}
GROUP = "f" * 32
ROWS = {
    "sys_user_group": [{"sys_id": GROUP, "name": "Network", **STAMPS}],
    "incident": [
        {
            "sys_id": f"{at:032x}",
            "number": f"INC{at:07}",
            "short_description": f"Größe {at} 'quoted' \\ and a tab\there",
            "assignment_group": GROUP,
            "state": "2",
            **STAMPS,
        }
        for at in range(1, 41)
    ],
}
"""What the files hold; never changed, as the files of older versions hold it, too."""


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the origin of the clock


async def load(dsn: str) -> None:
    """Into an empty database: a connection, two tables, their rows, and a pass over the changes."""
    with Twin() as twin, serve(twin) as server:
        for table, rows in ROWS.items():
            twin.load(table, rows)
        client = Client(server.url, limits=Limits(), sleep=asyncio.sleep, monotonic=time.monotonic, random=lambda: 0.5)
        async with Database(dsn) as database:
            async with database.transaction() as connection:
                new = NewConnection("acme", server.url, "basic", "admin", None, b"sealed with no key at all")
                row = await connections.save(connection, new, now=now())
                instance = Instance(client, Basic("admin", "admin"), now=now)
                specs = [TableSpec("incident"), TableSpec("sys_user_group", name="groups")]
                await add_tables(connection, instance, row, specs, now)
            pace = Pace(page_rows=50, poll=timedelta(seconds=1))
            replica = Replica(database, instance, row.id, Holder("maker", timedelta(seconds=30)), pace, now)
            await replica.prepare()
            while await replica.load_next_shard():
                pass
            for lease in await replica.claim_due_streams(10):
                await replica.poll(lease)
        await client.close()


def write(dsn: str) -> Path:
    from nowbridge.store import migrate
    from nowbridge.store.operation import backup

    last = migrate.applied(dsn)[-1]
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{last}.zip"
    backup.make(dsn, file, backup.Order(version="", made_at=now().isoformat(), with_rows=True))
    return file


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--dsn"]:
        print(write(arguments[1]))
        return 0
    with ephemeral() as server:
        dsn = provision(server)
        install(dsn)
        asyncio.run(load(dsn))
        print(write(dsn))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
