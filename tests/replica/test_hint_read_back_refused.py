"""A hint about a record that the account may not read any more."""

import pytest

from nowtwin.access.hiding import HideRule
from tests.support.hooks import HookBench


@pytest.mark.trap("30")
async def test_a_record_whose_read_back_is_refused_is_left_as_it_is(hooked: HookBench) -> None:
    """Hidden by an access rule: it exists and does not come. Nothing is removed, and nothing is tried again for long."""
    bench = hooked.bench
    ids = bench.make_incidents(4)
    await bench.load("incident")
    await hooked.cover("incident")
    posts = [await hooked.update(key, short_description="secret now") for key in ids[:2]]
    bench.twin.instance.access.rules.append(HideRule("incident", query=f"sys_id={ids[0]}", user="admin"))
    await hooked.deliver(*posts)
    assert await hooked.read_all() == 1
    assert await hooked.outcomes() == {ids[0]: "hidden", ids[1]: "seen"}
    assert await bench.rows("SELECT short_description FROM incident ORDER BY sys_id LIMIT 2") == [
        ("no 0",),
        ("secret now",),
    ]
