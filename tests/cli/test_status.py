"""`nowbridge status`: what each table costs."""

from __future__ import annotations

from collections import Counter

from nowtwin.testing import RunningServer
from tests.support.program import Program


async def test_it_says_how_many_calls_a_day_each_table_costs(program: Program, account: RunningServer) -> None:
    """As many as the instance has counted, whoever made them."""
    await program.store_connection(account.url)
    account.instance.calls.clear()
    assert program.run("replicate", "incident", "sys_user").code == 0
    first = Counter(call.path.rpartition("/")[2] for call in account.instance.calls.entries)
    told = program.run("status", "--json").json["tables"]
    assert {table["table"]: table["calls_per_day"] for table in told} == {
        table: first[table] for table in ("incident", "sys_user")
    }
    assert program.run("verify", "incident", "--level", "proven").code == 0
    after = Counter(call.path.rpartition("/")[2] for call in account.instance.calls.entries)
    assert after["incident"] > first["incident"] > 0
    shown = program.run("status", COLUMNS="250").out.splitlines()
    [line] = [line for line in shown if line.startswith("incident")]
    column = slice(0, shown[0].index("calls/day") + len("calls/day"))
    assert line[column].split()[-1] == str(after["incident"])
