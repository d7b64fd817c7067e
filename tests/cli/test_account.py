"""`nowbridge account`: no account and no password is there by itself, and no password is kept."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.program import Program

SENTENCE = "a long sentence of hers"


@pytest.mark.req("S3")
def test_accounts_are_made_listed_and_removed(program: Program, database_dsn: str) -> None:
    assert program.run("account", "list", "--json").json == {"accounts": []}
    made = program.run("account", "add", "ada", "--role", "super_admin", "--password-stdin", stdin=f"{SENTENCE}\n")
    assert made.code == 0, made.err
    [account] = program.run("account", "list", "--json").json["accounts"]
    assert (account["name"], account["role"]) == ("ada", "super_admin")
    with psycopg.connect(database_dsn) as connection:
        before = connection.execute("SELECT password_hash FROM nowbridge.account").fetchall()
        again = program.run("account", "password", "ada", "--password-stdin", stdin=f"{SENTENCE}\n")
        after = connection.execute("SELECT password_hash FROM nowbridge.account").fetchall()
    assert again.code == 0, again.err
    assert before[0][0].startswith("$argon2id$")
    assert SENTENCE not in before[0][0]
    assert before != after, "each hash has a salt of its own"
    assert program.run("account", "remove", "ada").code == 0
    assert program.run("account", "list", "--json").json == {"accounts": []}


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "said"),
    [
        (("add", "ada", "--role", "super_admin", "--password-stdin"), "short\n", 3, "account.password"),
        (("add", "a b", "--role", "viewer", "--password-stdin"), f"{SENTENCE}\n", 3, "account.name"),
        (("add", "ada", "--role", "owner", "--password-stdin"), f"{SENTENCE}\n", 2, "owner"),
        (("add", "ada", "--role", "viewer"), "", 2, "--password-stdin"),
        (("remove", "eve"), "", 3, "account.unknown"),
    ],
)
def test_what_is_wrong_is_said(program: Program, arguments: tuple[str, ...], stdin: str, code: int, said: str) -> None:
    ran = program.run("account", *arguments, stdin=stdin)
    assert ran.code == code
    assert said in ran.err
