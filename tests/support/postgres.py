"""Fixtures: one throw-away PostgreSQL per test process, one migrated template database, a clone of it per test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from nowbridge.store.server.embedded import EmbeddedServer, ephemeral
from nowbridge.store.server.provision import ROLE, provision
from nowbridge.wiring import install

TEMPLATE = "nowbridge_template"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedServer]:
    with ephemeral() as server:
        yield server


@pytest.fixture(scope="session")
def superuser_dsn(postgres: EmbeddedServer) -> str:
    """The superuser in the maintenance database: for tests about roles and the server, never for the product's code."""
    return postgres.superuser_dsn()


@pytest.fixture
def superuser(postgres: EmbeddedServer, database_dsn: str) -> Iterator[psycopg.Connection]:
    """The superuser in this test's database: to set the stage, never for the product's code."""
    name = psycopg.conninfo.conninfo_to_dict(database_dsn)["dbname"]
    with psycopg.connect(postgres.superuser_dsn(str(name)), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def template_dsn(postgres: EmbeddedServer) -> str:
    dsn = provision(postgres, database=TEMPLATE)
    install(dsn)
    return dsn


@pytest.fixture(scope="session")
def maintenance(superuser_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(superuser_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def database_dsn(template_dsn: str, maintenance: psycopg.Connection) -> Iterator[str]:
    """A database of this test's own, migrated, seen as the product's role (its owner, no superuser)."""
    name = f"test_{next(_numbers)}"
    database, owner = sql.Identifier(name), sql.Identifier(ROLE)
    maintenance.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(database, sql.Identifier(TEMPLATE), owner)
    )
    yield template_dsn.replace(f"/{TEMPLATE}?", f"/{name}?")
    maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))
