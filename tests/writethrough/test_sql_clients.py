"""psql, psycopg and asyncpg write ServiceNow as they write any Postgres. Where each of them shows an error that comes at
COMMIT is the client's own way, and differs (traps.md, finding 13).
"""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg
import psycopg
import pytest

from nowbridge.store.server.embedded import binary
from nowbridge.store.server.provision import as_role
from tests.support.beside import Ended, run_beside
from tests.writethrough.conftest import PASSWORD, Writing

pytestmark = [pytest.mark.req("Q24", "Q25", "Q26", "Q27"), pytest.mark.trap("13")]

UPDATE = "UPDATE incident SET short_description = '{}' WHERE number = 'INC000000{}'"
UNTOUCHED = {"no 0", "no 1", "no 2"}


def url(writing: Writing) -> str:
    """Without what only libpq knows."""
    return as_role(writing.dsn, "ada", PASSWORD).partition("?")[0]


def refuse(writing: Writing, text: str = "bad") -> None:
    """A rule of the instance that refuses this short description: an error that only COMMIT can bring."""
    writing.rule(f"if (current.getValue('short_description') == '{text}') current.setAbortAction(true);")


async def psql(writing: Writing, script: str, *options: str) -> Ended:
    command = (str(binary("psql")), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", *options, url(writing))
    return await run_beside(*command, stdin=script)


@pytest.mark.req("Q30", "Q37", "Q38", "Q43", "Q46", "Q47")
async def test_psql_reads_writes_by_label_and_reads_what_servicenow_made_of_it(writing: Writing) -> None:
    ended = await psql(
        writing,
        "SELECT number, state FROM incident WHERE number = 'INC0000001';\n"
        "UPDATE incident SET state = 'In Progress' WHERE number = 'INC0000001';\n"
        "SELECT state, state__value, sys_mod_count FROM incident WHERE number = 'INC0000001';\n"
        "INSERT INTO incident (short_description, impact, urgency) VALUES ('by psql', '1 - High', '1 - High')"
        " RETURNING number IS NULL;\n"
        "SELECT priority FROM incident WHERE short_description = 'by psql' AND number IS NOT NULL;\n",
    )
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        *("INC0000001|New", "UPDATE 1", "In Progress|2|1"),
        *("t", "INSERT 0 1", "1 - Critical"),
    ]
    assert writing.incident(writing.ids[1])["state"] == "2"
    prompt = await psql(writing, "\\echo :USER :PROMPT1\nSELECT rolsuper FROM pg_roles WHERE rolname = current_user;")
    said, superuser = prompt.out.splitlines()
    assert (said.partition(" ")[0], superuser) == ("ada", "f")


@pytest.mark.req("Q48", "Q49", "Q50")
async def test_psql_shows_servicenows_refusal_as_an_error(writing: Writing) -> None:
    refuse(writing)
    wrong = await psql(writing, "UPDATE incident SET state = 'invalid-state' WHERE number = 'INC0000001';")
    assert wrong.code == 3
    assert "ERROR:  [ServiceNow] Value `invalid-state` is not a valid value for `state`." in wrong.err
    at_commit = await psql(
        writing, f"\\set VERBOSITY verbose\nBEGIN;\n{UPDATE.format('bad', 1)};\nCOMMIT;\n", "-o", "/dev/null"
    )
    assert at_commit.code == 3
    assert at_commit.err.startswith("ERROR:  23514: [ServiceNow] Update a record in incident")
    assert writing.texts() == UNTOUCHED


async def test_psycopg_raises_at_execute_in_autocommit_and_at_commit_in_a_transaction(writing: Writing) -> None:
    refuse(writing)

    def story() -> None:
        with psycopg.connect(url(writing), autocommit=True) as client:
            with pytest.raises(psycopg.errors.CheckViolation, match=r"\[ServiceNow\]"):
                client.execute(UPDATE.format("bad", 1))
            assert client.execute("SELECT short_description FROM incident ORDER BY number").fetchone() == ("no 0",)
            client.execute(UPDATE.format("good", 0))
        with psycopg.connect(url(writing)) as client:
            client.execute(UPDATE.format("bad", 1))
            with pytest.raises(psycopg.errors.CheckViolation, match=r"\[ServiceNow\]"):
                client.commit()
            client.execute(UPDATE.format("better", 1))
            client.commit()

    await asyncio.to_thread(story)
    assert writing.texts() == {"good", "better", "no 2"}


async def test_the_statements_of_a_pipeline_stand_or_fall_together(writing: Writing) -> None:
    """psycopg 3.3 cannot leave the pipeline after an error that comes with the Sync: the connection is to be closed."""
    refuse(writing)

    def story() -> list[int]:
        with contextlib.closing(psycopg.connect(url(writing), autocommit=True)) as client:
            cursors = [client.cursor() for _ in range(3)]
            with pytest.raises(psycopg.errors.CheckViolation, match=r"\[ServiceNow\]"), client.pipeline() as pipeline:  # noqa: PT012 - where it is raised is the client's choice
                for at, (cursor, text) in enumerate(zip(cursors, ("one", "bad", "three"), strict=True)):
                    cursor.execute(UPDATE.format(text, at))
                pipeline.sync()
            return [cursor.rowcount for cursor in cursors]

    assert await asyncio.to_thread(story) == [1, 1, 1], "the counts came before the error"
    assert writing.texts() == UNTOUCHED
    assert await writing.bench.rows("SELECT count(*) FROM incident WHERE short_description ~ '^no '") == [(3,)]


async def test_executemany_of_psycopg_is_one_transaction_and_tells_the_error_when_it_is_opened_by_hand(
    writing: Writing,
) -> None:
    refuse(writing)
    statement = "UPDATE incident SET short_description = %s WHERE number = %s"
    wanted = [("bad" if at == 1 else f"many {at}", f"INC000000{at}") for at in range(3)]

    def story() -> None:
        with psycopg.connect(url(writing), autocommit=True) as client:
            with (
                pytest.raises(psycopg.errors.CheckViolation, match=r"\[ServiceNow\]"),
                client.transaction(),
                client.cursor() as cursor,
            ):
                cursor.executemany(statement, wanted)
            with client.transaction(), client.cursor() as cursor:
                cursor.executemany(statement, wanted[2:])

    await asyncio.to_thread(story)
    assert writing.texts() == {"no 0", "no 1", "many 2"}


async def test_executemany_of_psycopg_in_autocommit_fails_too_but_may_lose_the_words(writing: Writing) -> None:
    refuse(writing)

    def story() -> None:
        client = psycopg.connect(url(writing), autocommit=True)
        with contextlib.closing(client), client.cursor() as cursor, pytest.raises(psycopg.Error):
            cursor.executemany(
                "UPDATE incident SET short_description = %s WHERE number = %s",
                [("first", "INC0000000"), ("bad", "INC0000001")],
            )

    await asyncio.to_thread(story)
    assert writing.texts() == UNTOUCHED


async def test_asyncpg_reads_writes_and_raises_wherever_it_writes(writing: Writing) -> None:
    refuse(writing)
    client = await asyncpg.connect(url(writing))
    try:
        assert await client.fetchval("SELECT state FROM incident WHERE number = $1", "INC0000001") == "New"
        await client.execute("UPDATE incident SET state = $1 WHERE number = $2", "In Progress", "INC0000001")
        made = await client.fetchrow("INSERT INTO incident (short_description) VALUES ($1) RETURNING *", "by asyncpg")
        assert made["number"] is None
        assert await client.fetchval("SELECT number FROM incident WHERE sys_id = $1", made["sys_id"]) is not None
        stands = await client.fetchrow("SELECT state, state__value FROM incident WHERE number = 'INC0000001'")
        assert tuple(stands) == ("In Progress", 2)

        bad = "UPDATE incident SET short_description = $1 WHERE number = 'INC0000001'"
        with pytest.raises(asyncpg.CheckViolationError, match=r"\[ServiceNow\]"):
            await client.execute(bad, "bad")
        with pytest.raises(asyncpg.CheckViolationError, match=r"\[ServiceNow\]"):
            await client.fetch(bad + " RETURNING sys_id", "bad")
        with pytest.raises(asyncpg.CheckViolationError, match=r"\[ServiceNow\]"):
            await client.executemany(bad, [("good",), ("bad",)])
        with pytest.raises(asyncpg.CheckViolationError, match=r"\[ServiceNow\]"):
            async with client.transaction():
                assert await client.execute(bad, "bad") == "UPDATE 1", "nothing was sent yet"
        prepared = await client.prepare(bad)
        await prepared.fetch("prepared")
    finally:
        await client.close()
    assert writing.texts() == {"no 0", "prepared", "no 2", "by asyncpg"}
