"""Clients that give up, writers that die, answers that are lost, transactions that fail afterwards: in the end ServiceNow,
replica and log agree, and nothing was done twice (traps.md, B).
"""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from nowbridge.delivery.deliver import Manner
from nowbridge.store.work.leases import Holder
from nowbridge.store.writes import write_log
from nowbridge.writethrough.settling import OnAbort, Settler
from nowtwin.behaviour.faults import FaultRule
from tests.support.replica import without_waiting
from tests.writethrough.conftest import Writing
from tests.writethrough.freezing import FreezingWorker

UPDATE = "UPDATE incident SET short_description = 'written' WHERE number = 'INC0000001'"


@pytest.fixture(autouse=True)
def in_no_hurry(writing: Writing) -> None:
    """Waits of the writer take no time."""
    writing.writer.manner = Manner(sleep=without_waiting, longest=2.0)


def break_(writing: Writing, kind: str, method: str = "PATCH", *, count: int | None = 1, seconds: float = 0) -> None:
    writing.bench.twin.instance.faults.arm(
        [FaultRule(kind=kind, method=method, table="incident", count=count, seconds=seconds)]  # type: ignore[arg-type]
    )


async def stands(writing: Writing) -> tuple[str, str, object, object]:
    """Text and version in ServiceNow, text here, and how the log ended."""
    there = writing.incident(writing.ids[1])
    ((here,),) = await writing.bench.rows("SELECT short_description FROM incident WHERE number = 'INC0000001'")
    log = await writing.bench.rows("SELECT state, settled FROM nowbridge.write_log ORDER BY id")
    return there["short_description"], there.get("sys_mod_count", "0"), here, log[-1] if log else None


@pytest.mark.parametrize("kind", ["drop_after", "drop_before", "truncate"])
async def test_a_lost_answer_of_an_update_is_looked_for_and_nothing_is_done_twice(writing: Writing, kind: str) -> None:
    break_(writing, kind)
    async with await writing.connect() as client:
        await client.execute(UPDATE)
    await Settler(writing.writer).settle()
    assert await stands(writing) == ("written", "1", "written", ("done", "committed"))


@pytest.mark.parametrize("who_we_are", ["told", "not told"])
async def test_a_write_that_never_came_is_not_called_done_because_somebody_else_changed_the_record(
    writing: Writing, who_we_are: str
) -> None:
    lost = FaultRule(kind="drop_before", method="PATCH", table="incident", count=1)
    silent = FaultRule(kind="status", route="ui/user/current_user", status=404)
    writing.bench.twin.instance.faults.arm([lost, silent] if who_we_are == "not told" else [lost])

    async def meanwhile(_seconds: float) -> None:
        there = {"short_description": "somebody else's", "sys_updated_by": "beth"}
        writing.bench.twin.instance.update("incident", writing.ids[1], there, user="beth")

    writing.writer.manner = Manner(sleep=meanwhile, longest=2.0)
    async with await writing.connect() as client:
        with pytest.raises(psycopg.errors.SerializationFailure, match="was changed in ServiceNow") as refused:
            await client.execute(UPDATE)
    assert "the record shows nothing of it" in str(refused.value.diag.message_detail)
    assert writing.incident(writing.ids[1])["short_description"] == "somebody else's"


async def test_a_write_of_which_a_rule_made_something_else_is_found_though_its_answer_was_lost(
    writing: Writing,
) -> None:
    writing.rule("current.short_description = 'a rule was here';")
    break_(writing, "drop_after")
    async with await writing.connect() as client:
        client.add_notice_handler(lambda said: notices.append(said.message_primary or ""))
        notices: list[str] = []
        await client.execute(UPDATE)
    assert (await stands(writing))[:3] == ("a rule was here", "1", "a rule was here")
    assert "`a rule was here`, sent was `written`" in notices[0]


@pytest.mark.parametrize("kind", ["drop_after", "drop_before", "truncate"])
async def test_a_lost_answer_of_a_create_never_makes_a_second_record(writing: Writing, kind: str) -> None:
    break_(writing, kind, "POST")
    async with await writing.connect() as client:
        await client.execute("INSERT INTO incident (short_description) VALUES ('one of its kind')")
    made = [row for row in writing.stored("incident") if row["short_description"] == "one of its kind"]
    assert len(made) == 1
    assert await writing.bench.rows("SELECT count(*) FROM incident WHERE short_description = 'one of its kind'") == [
        (1,)
    ]


async def test_a_lost_answer_of_a_journal_entry_adds_no_second_one(writing: Writing) -> None:
    break_(writing, "drop_after")
    async with await writing.connect() as client:
        await client.execute("UPDATE incident SET work_notes = 'once' WHERE number = 'INC0000001'")
    assert writing.entries(writing.ids[1]) == ["once"]


async def test_a_journal_entry_that_never_came_is_not_called_done_because_its_fields_stood_there_already(
    writing: Writing,
) -> None:
    await writing.add_user("bea", writes=True, stamp={"correlation_display": "bea"})
    async with await writing.connect("bea") as client:
        await client.execute(UPDATE)
        break_(writing, "drop_before")
        with pytest.raises(psycopg.errors.TransactionResolutionUnknown):
            await client.execute("UPDATE incident SET work_notes = 'never came' WHERE number = 'INC0000001'")
    writing.bench.now.pass_(seconds=60)
    settler = Settler(writing.writer)
    await settler.look_for_unknown()
    await settler.settle()
    assert writing.entries(writing.ids[1]) == []
    assert (await stands(writing))[-1] == ("refused", "nothing")


@pytest.mark.trap("6")
async def test_a_write_that_nobody_begins_is_given_up_in_time_and_never_sent(writing: Writing) -> None:
    await writing.pause()
    async with await writing.connect() as client:
        await client.execute("SET statement_timeout = '300ms'")
        with pytest.raises(psycopg.errors.QueryCanceled, match="nothing was sent"):
            await client.execute(UPDATE)
        await client.execute("SELECT 1")
    writing.resume()
    await writing.quiet()
    assert await stands(writing) == ("no 1", "0", "no 1", ("abandoned", "nothing"))


@pytest.mark.trap("9")
async def test_a_slow_answer_ends_in_08007_and_is_settled_afterwards(writing: Writing) -> None:
    """The client may not know how it ended; the log does, and what was written is taken back."""
    break_(writing, "delay", seconds=1.5)
    async with await writing.connect() as client:
        await client.execute("SET nowbridge.write_timeout = '500ms'")
        with pytest.raises(psycopg.errors.TransactionResolutionUnknown) as raised:
            await client.execute(UPDATE)
    assert "_sync_writes WHERE id = " in (raised.value.diag.message_hint or "")
    await writing.quiet()
    await Settler(writing.writer).settle()
    assert await stands(writing) == ("no 1", "2", "no 1", ("done", "reverted"))


@pytest.mark.trap("6")
async def test_a_cancel_is_answered_at_once(writing: Writing) -> None:
    break_(writing, "delay", seconds=1.5)
    async with await writing.connect() as client:
        waiting = asyncio.create_task(client.execute(UPDATE))
        await writing.until("SELECT count(*) FROM nowbridge.write_log WHERE state = 'sent'", 1)
        begun = asyncio.get_running_loop().time()
        await client.cancel_safe()
        with pytest.raises(psycopg.errors.TransactionResolutionUnknown):
            await waiting
        assert asyncio.get_running_loop().time() - begun < 1
        await client.execute("SELECT 1")


async def canceled(writing: Writing, blocked: str) -> str:
    """What a client is told that is canceled while somebody else blocks its hand-over; the block then ends."""
    async with await writing.connect() as client, await psycopg.AsyncConnection.connect(writing.dsn) as other:
        await other.execute(blocked.encode())
        waiting = asyncio.create_task(client.execute(UPDATE))
        at_it = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event IN ('PgSleep', 'DblinkGetResult')"
        while writing.maintenance.execute(at_it, (client.info.backend_pid,)).fetchone() is None:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0)
        await client.cancel_safe()
        await other.rollback()
        with pytest.raises(psycopg.errors.QueryCanceled) as raised:
            await waiting
        await client.execute("SELECT 1")
    return str(raised.value.diag.message_primary)


@pytest.mark.trap("6")
async def test_a_cancel_while_it_waits_for_its_turn_or_is_handed_over_says_that_nothing_was_sent(
    writing: Writing,
) -> None:
    said = "[ServiceNow] Canceled on request; nothing was sent."
    await writing.pause()  # or it may be quicker than the client, once nothing is blocked any more
    assert await canceled(writing, "LOCK nowbridge.write_log IN EXCLUSIVE MODE") == said
    assert await canceled(writing, "SELECT pg_advisory_xact_lock(28275, slot) FROM generate_series(1, 20) slot") == said
    writing.resume()
    await writing.quiet()
    assert (await stands(writing))[:3] == ("no 1", "0", "no 1")
    async with await writing.connect() as client:
        await client.execute(UPDATE)
    assert (await stands(writing))[:3] == ("written", "1", "written")


@pytest.mark.trap("7")
@pytest.mark.parametrize("on_abort", list(OnAbort))
async def test_a_commit_that_fails_after_the_send_is_reverted_or_kept(writing: Writing, on_abort: OnAbort) -> None:
    async with writing.bench.database.transaction() as connection:
        await connection.execute("CREATE TABLE public.other (number text PRIMARY KEY)")
        await connection.execute(
            "CREATE TABLE public.note (number text REFERENCES public.other DEFERRABLE INITIALLY DEFERRED)"
        )
        await connection.execute("GRANT INSERT, SELECT ON public.note, public.other TO ada")
    async with await writing.connect() as client:
        await client.execute("BEGIN")
        await client.execute(UPDATE)
        await client.execute("INSERT INTO note VALUES ('there is none')")
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            await client.execute("COMMIT")
    assert (await stands(writing))[:3] == ("written", "1", "no 1")
    await Settler(writing.writer, on_abort).settle()
    await writing.bench.replica.read_hints()
    ended = {
        OnAbort.REVERT: ("no 1", "2", "no 1", ("done", "reverted")),
        OnAbort.KEEP: ("written", "1", "written", ("done", "kept")),
    }
    assert await stands(writing) == ended[on_abort]


@pytest.mark.trap("7")
async def test_a_savepoint_rolled_back_after_an_immediate_send_is_reverted(writing: Writing) -> None:
    async with await writing.connect() as client, client.transaction():
        await client.execute("SET CONSTRAINTS ALL IMMEDIATE")
        async with client.transaction(force_rollback=True):
            await client.execute(UPDATE)
    await Settler(writing.writer).settle()
    assert await stands(writing) == ("no 1", "2", "no 1", ("done", "reverted"))


@pytest.mark.trap("7")
@pytest.mark.parametrize("statement", ["PREPARE TRANSACTION 'p'", "/* a */ prepare -- b\n transaction 'p'"])
async def test_a_prepared_transaction_is_refused_before_anything_is_sent(writing: Writing, statement: str) -> None:
    async with await writing.connect() as client:
        await client.execute("BEGIN")
        await client.execute(UPDATE)
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            await client.execute(statement)
    assert writing.incident(writing.ids[1])["short_description"] == "no 1"


@pytest.mark.trap("15")
async def test_a_client_that_is_killed_while_it_waits_leaves_no_half_write(writing: Writing) -> None:
    break_(writing, "delay", seconds=0.8)
    client = await writing.connect()
    waiting = asyncio.create_task(client.execute(UPDATE))
    await writing.until("SELECT count(*) FROM nowbridge.write_log WHERE state = 'sent'", 1)
    writing.maintenance.execute("SELECT pg_terminate_backend(%s)", (client.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        await waiting
    await client.close()
    await writing.quiet()
    await Settler(writing.writer).settle()
    assert await stands(writing) == ("no 1", "2", "no 1", ("done", "reverted"))


async def test_a_writer_that_dies_before_it_sends_is_replaced(writing: Writing) -> None:
    await writing.pause()
    async with await writing.connect() as client:
        waiting = asyncio.create_task(client.execute(UPDATE))
        await writing.until("SELECT count(*) FROM nowbridge.write_log WHERE state = 'new'", 1)
        dead = Holder("dead", writing.writer.holder.lease)
        async with writing.bench.database.transaction() as connection:
            assert await write_log.claim(
                connection, writing.bench.connection_id, dead, now=writing.bench.now(), limit=1
            )
        writing.bench.now.pass_(seconds=31)
        writing.resume()
        await waiting
    await Settler(writing.writer).settle()
    assert await stands(writing) == ("written", "1", "written", ("done", "committed"))


async def test_a_writer_that_dies_after_it_sent_is_followed_by_one_that_looks(writing: Writing) -> None:
    await writing.pause()
    async with await writing.connect() as client:
        waiting = asyncio.create_task(client.execute(UPDATE))
        await writing.until("SELECT count(*) FROM nowbridge.write_log WHERE state = 'new'", 1)
        (entry,) = await writing.claimed()
        await writing.writer.end_of(entry)  # and is gone before it can note the end
        writing.bench.now.pass_(seconds=31)
        await Settler(writing.writer).look_for_unknown()
        await waiting
    await Settler(writing.writer).settle()
    assert await stands(writing) == ("written", "1", "written", ("done", "committed"))


async def test_a_zombie_writer_cannot_end_what_another_has_taken_over(writing: Writing) -> None:
    await writing.pause()
    async with await writing.connect() as client:
        waiting = asyncio.create_task(client.execute(UPDATE))
        await writing.until("SELECT count(*) FROM nowbridge.write_log WHERE state = 'new'", 1)
        (zombie,) = await writing.claimed()
        writing.bench.now.pass_(seconds=31)
        (heir,) = await writing.claimed()
        await writing.writer.carry_out(zombie)
        assert writing.incident(writing.ids[1])["short_description"] == "no 1"
        await writing.writer.carry_out(heir)
        await waiting
    assert (await stands(writing))[:3] == ("written", "1", "written")


async def test_a_writer_that_was_frozen_before_it_sends_has_a_whole_lease_for_sending(writing: Writing) -> None:
    await writing.pause()
    break_(writing, "delay", seconds=0.5)
    async with await writing.connect() as client:
        waiting = asyncio.create_task(client.execute(UPDATE))
        await writing.until("SELECT count(*) FROM nowbridge.write_log WHERE state = 'new'", 1)
        (entry,) = await writing.claimed()
        writing.bench.now.pass_(seconds=31)
        sending = asyncio.create_task(writing.writer.carry_out(entry))
        await writing.until("SELECT count(*) FROM nowbridge.write_log WHERE state = 'sent'", 1)
        other = Holder("other", writing.writer.holder.lease)
        async with writing.bench.database.transaction() as connection:
            assert not await write_log.claim_unknown(
                connection, writing.bench.connection_id, other, now=writing.bench.now(), limit=1
            )
        await sending
        await waiting
    await Settler(writing.writer).settle()
    assert await stands(writing) == ("written", "1", "written", ("done", "committed"))


async def test_a_worker_that_froze_behind_its_look_does_not_call_undone_what_came_meanwhile(writing: Writing) -> None:
    await writing.pause()
    for gates in range(1, 9):
        break_(writing, "drop_before", count=None)
        writing.writer.manner = Manner(sleep=without_waiting, longest=0.0)
        async with await writing.connect() as client:
            waiting = asyncio.create_task(client.execute(UPDATE))
            await writing.until("SELECT count(*) FROM nowbridge.write_log WHERE state = 'new'", 1)
            (entry,) = await writing.claimed()
            await writing.writer.carry_out(entry)
            with pytest.raises(psycopg.errors.TransactionResolutionUnknown):
                await waiting
        writing.bench.twin.instance.faults.arm([])
        async with FreezingWorker(writing.bench, writing.dsn, "frozen") as worker:
            worker.frost.stop(after=gates)
            looking = asyncio.create_task(worker.settler.look_for_unknown())
            caught = asyncio.create_task(worker.frost.caught.wait())
            await asyncio.wait((looking, caught), return_when=asyncio.FIRST_COMPLETED)
            caught.cancel()
            writing.change_in_servicenow(writing.ids[1], short_description="written")  # it was on its way all the time
            writing.bench.now.pass_(seconds=150)
            worker.frost.thaw()
            await looking
        settler = Settler(writing.writer)
        for _ in range(2):
            writing.bench.now.pass_(seconds=150)
            await settler.look_for_unknown()
            await settler.settle()
        await writing.bench.catch_up()
        text, _, here, log = await stands(writing)
        assert (text, here, log) == ("no 1", "no 1", ("done", "reverted")), gates


async def test_a_worker_that_froze_while_it_takes_back_sends_nothing_beside_the_one_who_took_over(
    writing: Writing,
) -> None:
    for gates in range(1, 9):  # before and behind each of its questions
        async with await writing.connect() as client, client.transaction():
            await client.execute("SET CONSTRAINTS ALL IMMEDIATE")
            async with client.transaction(force_rollback=True):
                await client.execute(UPDATE)
        async with FreezingWorker(writing.bench, writing.dsn, "frozen") as worker:
            worker.frost.stop(after=gates)
            settling = asyncio.create_task(worker.settler.settle())
            await asyncio.wait(
                (settling, caught := asyncio.create_task(worker.frost.caught.wait())),
                return_when=asyncio.FIRST_COMPLETED,
            )
            caught.cancel()
            writing.bench.now.pass_(seconds=31)
            await Settler(writing.writer).settle()
            assert writing.incident(writing.ids[1])["short_description"] == "no 1"
            writing.change_in_servicenow(writing.ids[1], short_description="somebody else's")
            worker.frost.thaw()
            await asyncio.gather(settling, return_exceptions=True)
        assert writing.incident(writing.ids[1])["short_description"] == "somebody else's", gates
        writing.change_in_servicenow(writing.ids[1], short_description="no 1")
        await writing.bench.replica.read_hints()
        await writing.bench.catch_up()


async def test_a_postgres_that_lost_dblink_says_why_it_does_not_write(
    writing: Writing, superuser: psycopg.Connection
) -> None:
    superuser.execute("DROP EXTENSION dblink CASCADE")
    async with await writing.connect() as client:
        with pytest.raises(psycopg.OperationalError, match="extension dblink is not installed") as raised:
            await client.execute(UPDATE)
        assert raised.value.sqlstate == "08001"
        await client.execute("SELECT short_description FROM incident")
    assert writing.incident(writing.ids[1])["short_description"] == "no 1"


async def test_servicenow_being_down_is_said_and_changes_nothing(writing: Writing) -> None:
    break_(writing, "drop_before", "GET", count=None)
    async with await writing.connect() as client:
        with pytest.raises(psycopg.OperationalError) as raised:
            await client.execute(UPDATE)
    assert raised.value.sqlstate == "08001"
    assert (await stands(writing))[:3] == ("no 1", "0", "no 1")


@pytest.mark.trap("14")
async def test_sixty_writers_at_once_all_get_through(writing: Writing) -> None:
    await writing.more_incidents(60)
    clients = [await writing.connect() for _ in range(60)]
    await asyncio.gather(
        *(
            client.execute("UPDATE incident SET short_description = %s WHERE sys_id = %s", (f"by {at}", sys_id))
            for at, (client, sys_id) in enumerate(zip(clients, writing.ids, strict=True))
        )
    )
    await asyncio.gather(*(client.close() for client in clients))
    assert {writing.incident(s)["short_description"] for s in writing.ids} == {f"by {at}" for at in range(60)}
    held = await writing.bench.rows(
        "SELECT count(DISTINCT short_description) FROM incident WHERE short_description LIKE 'by %'"
    )
    assert held == [(60,)]


async def test_two_clients_on_one_row_come_one_after_the_other(writing: Writing) -> None:
    async with await writing.connect() as one, await writing.connect() as two:
        await asyncio.gather(
            one.execute("UPDATE incident SET short_description = 'one' WHERE number = 'INC0000001'"),
            two.execute("UPDATE incident SET description = 'two' WHERE number = 'INC0000001'"),
        )
    there = writing.incident(writing.ids[1])
    assert (there["short_description"], there["description"], there["sys_mod_count"]) == ("one", "two", "2")
    ((here,),) = await writing.bench.rows("SELECT sys_mod_count FROM incident WHERE number = 'INC0000001'")
    assert here == 2
