"""A page of changes was read and cannot be stored: the cursor stays before it, and the next pass brings it."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import psycopg

from nowbridge.model.errors import NowbridgeError
from tests.support.replica import Bench


async def test_the_cursor_does_not_pass_what_could_not_be_stored(bench: Bench, superuser: psycopg.Connection) -> None:
    ids = bench.make_incidents(3)
    await bench.load("incident")
    await bench.catch_up()
    bench.twin.instance.update("incident", ids[0], {"short_description": "changed"}, user="admin")
    superuser.execute("ALTER TABLE incident ADD CONSTRAINT full_up CHECK (short_description <> 'changed')")
    with suppress(psycopg.Error, NowbridgeError):
        await bench.catch_up()
    assert await bench.rows("SELECT count(*) FROM incident WHERE short_description = 'changed'") == [(0,)]
    superuser.execute("ALTER TABLE incident DROP CONSTRAINT full_up")
    bench.twin.instance.clock.advance(timedelta(hours=2).total_seconds())
    bench.now.pass_(hours=2)
    await bench.catch_up()
    assert await bench.rows("SELECT count(*) FROM incident WHERE short_description = 'changed'") == [(1,)]
