"""Rows that leave for an archive table are deleted here, and those that come back are here again as they were."""

from dataclasses import replace

import pytest

from nowbridge.replica.verify import Level
from nowtwin.control import operations
from tests.support.replica import Bench


@pytest.mark.parametrize("filed", [False, True])
async def test_archived_rows_leave_and_come_back(bench: Bench, *, filed: bool) -> None:
    """With the journal's knowledge or without; they come back with their old versions, which no change stream tells."""
    instance = bench.twin.instance
    instance.switches = replace(instance.switches, archived_rows_filed=filed)
    ids = bench.make_incidents(120)
    await bench.load("incident")
    await bench.let_pass(10)
    await bench.catch_up()
    assert operations.archive(instance, "incident", f"sys_idIN{ids[3]},{ids[70]}") == {"ar_incident": 2}
    await bench.let_pass(10)
    assert (await bench.tend("audit")).removed == (2 if filed else 0)
    assert (await bench.tend("check")).removed == (0 if filed else 2)
    assert await bench.rows("SELECT count(*) FROM incident") == [(118,)]
    assert operations.unarchive(instance, "ar_incident") == 2
    await bench.let_pass(10)
    assert (await bench.tend("check")).wrong == 2
    assert await bench.rows("SELECT count(*) FROM incident") == [(120,)]
    assert (await bench.verify("incident", level=Level.CONTENT)).equal
