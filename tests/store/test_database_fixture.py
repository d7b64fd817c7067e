"""The fixture that every test with a database builds on."""

from __future__ import annotations

import psycopg

from nowbridge.store.migrate import migrate, shipped


def test_the_database_of_a_test_is_migrated_and_its_own(database_dsn: str) -> None:
    with psycopg.connect(database_dsn) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM nowbridge.migration ORDER BY name")]
    assert names == [name for name, _ in shipped()]
    assert migrate(database_dsn) == ()
