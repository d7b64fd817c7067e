"""Hooks from end to end: rules that the product put into the instance, run by the instance, heard by `nowbridge up`."""

import json
import signal
import socket
from http.client import HTTPConnection

import pytest

from nowbridge.store.database import Database
from nowtwin.testing import RunningServer
from tests.support.program import Program, interrupt
from tests.support.waiting import until

ADMIN = {"NOWBRIDGE_ADMIN_PASSWORD": "only-for-this-call-8812"}
RARELY = {"NOWBRIDGE_POLL_SECONDS": "600", "NOWBRIDGE_POLL_HOOKED_SECONDS": "600", "NOWBRIDGE_AUDIT_SECONDS": "600"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def post(port: int, path: str, body: bytes) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, body)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.req("Q20", "Q21", "Q23")
async def test_inserts_updates_and_deletes_arrive_without_a_poll(program: Program, account: RunningServer) -> None:
    twin = account.instance
    twin.add_user("boss", ADMIN["NOWBRIDGE_ADMIN_PASSWORD"], roles=("admin",))
    await program.store_connection(account.url)
    port = free_port()
    assert program.run("replicate", "task", "incident").code == 0
    url = f"http://127.0.0.1:{port}/hooks/twin"
    done = program.run("hooks", "install", "--url", url, "--admin-user", "boss", **ADMIN)
    assert done.code == 0, done.err
    up = program.start("up", "--health-port", str(port), "--log", "json", **RARELY)
    try:
        async with Database(program.settings.database_url) as database:
            while post_is_refused(port):
                pass
            for table in ("stream", "duty"):  # what is done at once is behind us, and not done again for ten minutes
                due = "next_poll_at" if table == "stream" else "kind = 'audit' AND next_at"
                quiet = f"SELECT count(*) FROM nowbridge.{table} WHERE {due} > now() + interval '5 minutes'"
                await until(database, quiet, 2)
            keys = [row["sys_id"] for row in twin.export("incident")]
            twin.update("incident", keys[0], {"short_description": "told of"}, user="admin")
            made = twin.insert("incident", {"short_description": "new"}, user="admin").sys_id
            twin.delete("incident", keys[1], user="admin")
            for table in ("incident", "task"):
                await until(database, f"SELECT count(*) FROM {table} WHERE short_description = 'told of'", 1)
                await until(database, f"SELECT count(*) FROM {table} WHERE sys_id = '{made}'", 1)
                await until(database, f"SELECT count(*) FROM {table} WHERE sys_id = '{keys[1]}'", 0)
            await until(
                database, "SELECT string_agg(DISTINCT source, ',') FROM _sync_cdc WHERE sys_id IS NOT NULL", "hint"
            )
        assert post(port, "/hooks/twin", b"{}") == 401
        assert post(port, "/hooks/nobody", b"{}") == 401
        assert post(port, "/hooks/twin", b"x" * 70_000) == 413
        lines = json.loads(program.run("status", "--json").out)["tables"]
        assert {line["table"]: line["hints"]["lost"] for line in lines} == {"task": 0, "incident": 0}
    finally:
        code, _, err = interrupt(up, signal.SIGTERM)
    assert code == 0, err
    assert ADMIN["NOWBRIDGE_ADMIN_PASSWORD"] not in err


async def test_serve_takes_hints_while_no_worker_runs(program: Program, account: RunningServer) -> None:
    twin = account.instance
    twin.add_user("boss", ADMIN["NOWBRIDGE_ADMIN_PASSWORD"], roles=("admin",))
    await program.store_connection(account.url)
    port = free_port()
    assert program.run("replicate", "incident").code == 0
    url = f"http://127.0.0.1:{port}/hooks/twin"
    assert program.run("hooks", "install", "--url", url, "--admin-user", "boss", **ADMIN).code == 0
    serving = program.start("serve", "--health-port", str(port), "--log", "json")
    try:
        async with Database(program.settings.database_url) as database:
            while post_is_refused(port):
                pass
            twin.update(
                "incident", next(iter(twin.export("incident")))["sys_id"], {"short_description": "x"}, user="admin"
            )
            await until(database, "SELECT count(*) FROM nowbridge.hint WHERE done_at IS NULL", 1)
            await until(database, "SELECT count(*) FROM incident WHERE short_description = 'x'", 0)
    finally:
        code, _, err = interrupt(serving, signal.SIGTERM)
    assert code == 0, err


def post_is_refused(port: int) -> bool:
    """Whether nobody listens yet."""
    try:
        return post(port, "/hooks/nobody", b"{}") != 401
    except OSError:
        return True
