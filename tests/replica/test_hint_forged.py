"""Posts that are no valid hints: refused alike, and nothing comes of them."""

from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus

import pytest

from nowbridge.api import hooks as receiving
from tests.support.hooks import HookBench, Post

REFUSED = HTTPStatus.UNAUTHORIZED
pytestmark = pytest.mark.trap("34")


@pytest.fixture
async def key(hooked: HookBench) -> str:
    ids = hooked.bench.make_incidents(4)
    await hooked.bench.load("incident")
    await hooked.cover("incident")
    return ids[0]


async def nothing_came(hooked: HookBench) -> bool:
    return await hooked.bench.rows("SELECT count(*) FROM nowbridge.hint") == [(0,)]


def forged(hooked: HookBench, key: str) -> dict[str, Post]:
    good = hooked.post("incident", key)
    now = hooked.bench.now()
    return {
        "another key": hooked.signed({"hints": []}, secret=b"another secret"),
        "tampered body": replace(good, body=good.body.replace(b"update", b"delete")),
        "another time": replace(good, time=str(int(good.time) + 1)),
        "no signature": replace(good, signature=""),
        "odd signature": replace(good, signature="ü" * 44),
        "no time": replace(good, time=""),
        "time of another kind": replace(good, time="1e9"),
        "old": hooked.post("incident", key, at=now - receiving.WINDOW - timedelta(seconds=5)),
        "from the future": hooked.post("incident", key, at=now + receiving.WINDOW + timedelta(seconds=5)),
        "signed nonsense": hooked.signed({"hints": [{"table": "incident^OR", "sys_id": key}]}),
        "signed and empty": hooked.signed({"hints": []}),
    }


async def test_every_kind_of_forgery_is_refused(hooked: HookBench, key: str) -> None:
    for name, post in forged(hooked, key).items():
        assert await hooked.deliver(post) == REFUSED, name
    assert await nothing_came(hooked)


async def test_a_replayed_post_is_refused_and_the_first_one_counts(hooked: HookBench, key: str) -> None:
    post = await hooked.update(key, short_description="new")
    assert await hooked.deliver(post) == HTTPStatus.NO_CONTENT
    assert await hooked.deliver(post) == REFUSED
    assert await hooked.bench.rows("SELECT arrivals FROM nowbridge.hint") == [(1,)]


async def test_a_replay_is_refused_by_another_process_and_to_the_end_of_the_window(hooked: HookBench, key: str) -> None:
    """Signatures are remembered in Postgres, for as long as their time counts."""
    post = hooked.post("incident", key)
    await hooked.deliver(post)
    bench = hooked.bench
    bench.now.pass_(seconds=receiving.WINDOW.total_seconds() - 10)
    other = HookBench(bench, receiving.Receiver(bench.database, bench.now, hooked.receiver.unseal))
    assert await other.deliver(post) == REFUSED
    bench.twin.instance.clock.advance(3_600)
    bench.now.pass_(hours=1)
    await other.deliver(other.post("incident", key))
    assert await other.deliver(post) == REFUSED, "its time is past"
    assert len(await bench.rows("SELECT 1 FROM nowbridge.hint_signature")) == 1


async def test_a_connection_without_hooks_looks_like_a_wrong_signature(hooked: HookBench, key: str) -> None:
    post = hooked.post("incident", key)
    assert await hooked.deliver(post, name="nobody") == REFUSED
    assert await nothing_came(hooked)


async def test_tables_that_are_not_replicated_are_passed_over(hooked: HookBench, key: str) -> None:
    post = hooked.post("kb_knowledge", key)
    assert await hooked.deliver(post) == HTTPStatus.NO_CONTENT
    assert await nothing_came(hooked)


async def test_the_window_goes_by_the_instance_s_clock(hooked: HookBench, key: str) -> None:
    """An instance whose clock is ten minutes off is heard, once that is known."""
    late = hooked.bench.now() + timedelta(minutes=10)
    assert await hooked.deliver(hooked.post("incident", key, at=late)) == REFUSED
    hooked.bench.twin.instance.clock.advance(600)
    await hooked.bench.catch_up()
    hooked.bench.now.pass_(seconds=10)  # what is known of a hook is asked for again
    late = hooked.bench.now() + timedelta(minutes=9)
    assert await hooked.deliver(hooked.post("incident", key, at=late)) == HTTPStatus.NO_CONTENT


async def test_refusals_are_counted_and_not_said_one_by_one(hooked: HookBench, key: str) -> None:
    bad = forged(hooked, key)["another key"]
    for _ in range(50):
        await hooked.deliver(bad)
    hooked.bench.now.pass_(seconds=61)
    await hooked.deliver(bad)
    assert await hooked.bench.rows("SELECT refused FROM nowbridge.hook") == [(51,)]
