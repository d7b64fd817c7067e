"""Nobody enters the embedded server without a password (traps.md, finding 4)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
import pytest

from nowbridge.store.server import embedded_place
from nowbridge.store.server.embedded import EmbeddedServer, binary
from nowbridge.store.server.provision import provision

NO_PASSWORD = "no password supplied"


def _refusal(dsn: str) -> str:
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(dsn)
    return str(refused.value)


def _psql(*, host: str, port: int, uid: int | None, gid: int | None) -> subprocess.CompletedProcess[str]:
    """psql without any password, run under the ids of another user of this machine when they are given."""
    program = embedded_place.programs(embedded_place.account()) / "bin" / "psql"
    return subprocess.run(
        (program, "-w", "-X", "-h", host, "-p", str(port), "-U", "postgres", "-d", "postgres", "-c", "SELECT 1"),
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={"PATH": os.environ["PATH"]},
        user=uid,
        group=gid,
        extra_groups=None if uid is None else (),
    )


@pytest.mark.trap("4")
@pytest.mark.parametrize("user", ["postgres", "nowbridge", "root"])
def test_tcp_without_a_password_is_refused(postgres: EmbeddedServer, user: str) -> None:
    assert NO_PASSWORD in _refusal(f"host=127.0.0.1 port={postgres.port} user={user} dbname=postgres password=''")


@pytest.mark.trap("4")
def test_tcp_with_a_wrong_password_is_refused(postgres: EmbeddedServer) -> None:
    dsn = postgres.dsn(user="postgres", password="wrong", database="postgres")
    assert "password authentication failed" in _refusal(dsn)


@pytest.mark.trap("4")
def test_the_socket_without_a_password_is_refused_even_to_the_account_that_runs_the_server(
    postgres: EmbeddedServer,
) -> None:
    socket_directory = postgres.data.parent / "socket"
    assert (socket_directory / f".s.PGSQL.{postgres.port}").is_socket()
    runner = embedded_place.account()
    ids = (runner.uid, runner.gid) if os.geteuid() == 0 else (None, None)
    answer = _psql(host=str(socket_directory), port=postgres.port, uid=ids[0], gid=ids[1])
    assert answer.returncode != 0
    assert NO_PASSWORD in answer.stderr


@pytest.mark.trap("4")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try as another user of this machine")
def test_another_user_of_the_machine_is_refused_on_socket_and_tcp(postgres: EmbeddedServer) -> None:
    nobody = 65534
    over_socket = _psql(host=str(postgres.data.parent / "socket"), port=postgres.port, uid=nobody, gid=nobody)
    over_tcp = _psql(host="127.0.0.1", port=postgres.port, uid=nobody, gid=nobody)
    assert over_socket.returncode != 0
    assert "Permission denied" in over_socket.stderr
    assert over_tcp.returncode != 0
    assert NO_PASSWORD in over_tcp.stderr


@pytest.mark.trap("4")
def test_the_access_file_has_scram_and_nothing_else(postgres: EmbeddedServer) -> None:
    with psycopg.connect(postgres.superuser_dsn()) as connection:
        rules = connection.execute(
            "SELECT type, database, user_name, address, auth_method, error FROM pg_hba_file_rules ORDER BY rule_number"
        ).fetchall()
    assert rules == [
        ("local", ["all"], ["all"], None, "scram-sha-256", None),
        ("host", ["all"], ["all"], "127.0.0.1", "scram-sha-256", None),
        ("host", ["all"], ["all"], "::1", "scram-sha-256", None),
    ]


def test_the_server_listens_on_the_loopback_only(postgres: EmbeddedServer) -> None:
    with psycopg.connect(postgres.superuser_dsn()) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)


def test_every_file_beside_the_data_is_closed_to_others(postgres: EmbeddedServer) -> None:
    place = postgres.data.parent
    provision(postgres)
    open_to_others = [path.name for path in place.iterdir() if path.stat().st_mode & 0o077]
    assert open_to_others == []
    assert place.stat().st_mode & 0o077 == 0


def test_the_client_refuses_a_server_that_asks_for_the_password_in_clear(postgres: EmbeddedServer) -> None:
    assert "require_auth=scram-sha-256" in postgres.superuser_dsn()


def test_passwords_with_reserved_characters_survive_the_url() -> None:
    server = EmbeddedServer("127.0.0.1", 1, Path("/nowhere"))
    parts = psycopg.conninfo.conninfo_to_dict(server.dsn(user="a@b", password="p/:@?#% ", database="x y"))
    assert (parts["user"], parts["password"], parts["dbname"]) == ("a@b", "p/:@?#% ", "x y")


def test_the_product_owns_its_database_and_is_no_superuser(postgres: EmbeddedServer) -> None:
    dsn = provision(postgres, database="owned")
    assert provision(postgres, database="owned") == dsn
    with psycopg.connect(dsn) as connection:
        answer = connection.execute(
            "SELECT current_user, rolsuper, current_setting('timezone'), pg_get_userbyid(datdba)"
            " FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()"
        ).fetchone()
    assert answer == ("nowbridge", False, "UTC", "nowbridge")


def test_client_programs_are_those_of_the_wheel() -> None:
    version = subprocess.run((binary("psql"), "--version"), capture_output=True, text=True, check=True)
    assert version.stdout.startswith("psql (PostgreSQL) 18.")
