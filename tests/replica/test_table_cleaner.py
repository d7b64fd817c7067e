"""Rows that go without a trace: the table cleaner, the archive, a table that the journal leaves out."""

import pytest

from nowbridge.replica.verify import Level
from tests.support.replica import Bench


def clean(bench: Bench, table: str, ids: list[str]) -> None:
    """Delete rows as the table cleaner does: nothing is filed."""
    for key in ids:
        bench.twin.instance.delete(table, key, user="admin")
    for entry in list(bench.twin.instance.export("sys_audit_delete")):
        bench.twin.instance.delete("sys_audit_delete", entry["sys_id"], user="admin")


@pytest.mark.req("Q22")
@pytest.mark.parametrize("duty", ["check", "compare"])
async def test_what_the_table_cleaner_removed_is_found_without_the_journal(bench: Bench, duty: str) -> None:
    ids = bench.make_incidents(120)
    await bench.load("incident")
    await bench.let_pass(10)
    await bench.catch_up()
    clean(bench, "incident", [ids[7], ids[50]])
    assert (await bench.tend("audit")).removed == 0
    assert (await bench.tend(duty)).removed == 2
    assert await bench.rows("SELECT count(*) FROM incident") == [(118,)]
    again = await bench.verify("incident", level=Level.PROVEN)
    assert again.equal
    assert again.wrong == 0
