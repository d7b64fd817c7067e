"""Pages of one table that are loaded at the same time share one memory of labels; none may lose its own for that."""

import asyncio
import random

from nowbridge.replica.labels import Labeller
from nowbridge.replica.run import Replica
from tests.support.replica import Bench

USERS = 300
INCIDENTS = 600


async def test_shards_read_at_once_leave_no_label_out(bench: Bench) -> None:
    dice = random.Random(7)
    users = [{"sys_id": f"{dice.getrandbits(128):032x}", "name": f"User {number}"} for number in range(USERS)]
    bench.twin.instance.load("sys_user", users)
    rows = (
        {
            "sys_id": f"{dice.getrandbits(128):032x}",
            "caller_id": dice.choice(users)["sys_id"],
            "assigned_to": dice.choice(users)["sys_id"],
        }
        for _ in range(INCIDENTS)
    )
    bench.twin.instance.load("incident", rows)
    await bench.add("incident")
    await bench.replica.prepare()

    async def work(replica: Replica) -> None:
        while await replica.load_next_shard():
            pass

    await asyncio.gather(*(work(bench.replica) for _ in range(4)))
    labelled = "count(*) FILTER (WHERE caller_id LIKE 'User %%' AND assigned_to LIKE 'User %%')"
    assert await bench.rows(f"SELECT count(*), {labelled} FROM incident") == [(INCIDENTS, INCIDENTS)]


async def test_pages_that_ask_at_once_each_get_all_their_words(bench: Bench) -> None:
    users = [{"sys_id": f"{number:032x}", "name": f"User {number}"} for number in range(USERS)]
    bench.twin.instance.load("sys_user", users)
    await bench.load("incident")
    layout = (await bench.replica.loader(1)).layout
    labeller = Labeller(bench.database, bench.replica.instance, bench.connection_id, bench.now)
    pages = [{"caller_id": [user["sys_id"] for user in users[first::8]]} for first in range(8)]
    found = await asyncio.gather(*(labeller.words(layout, page) for page in pages))
    for labels, page in zip(found, pages, strict=True):
        shown = [labels.records["sys_user"].get(key) for key in page["caller_id"]]
        assert shown == [f"User {int(key, 16)}" for key in page["caller_id"]]
