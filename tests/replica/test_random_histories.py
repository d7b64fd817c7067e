"""Random histories: inserts, updates, deletes, renames, faults, killed workers, and hints that are lost, late, doubled
and in any order. After quiet, replica = source.

The seed is in the test's name, so a failure can be played again; `--histories N` plays more of them.
"""

import asyncio
import random

import msgspec
import pytest

from nowbridge.replica.labels import rewrite_renamed
from nowbridge.replica.run import Replica
from nowtwin.behaviour.faults import FaultRule, Kind
from tests.support.hooks import HookBench, Post

USERS = [f"{at:032x}" for at in range(0xA0, 0xA5)]
KINDS: tuple[Kind, ...] = ("status", "drop_before", "drop_after", "truncate", "accepted", "error_in_body", "null_body")
STEPS = 40
LOST = 0.2  # of the hints


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(1, 1 + metafunc.config.getoption("--histories")))


class History:
    """One history: what happens is drawn from the seed alone."""

    def __init__(self, hooked: HookBench, seed: int) -> None:
        self.bench = bench = hooked.bench
        self.hooked = hooked
        self.posts: list[Post] = []
        self.chance = random.Random(seed)
        self.workers = [bench.open_replica("worker-1"), bench.open_replica("worker-2")]
        self.living: list[str] = []

    async def begin(self) -> None:
        instance = self.bench.twin.instance
        instance.load("sys_user", [{"sys_id": key, "user_name": key[-2:], "name": f"User {key[-2:]}"} for key in USERS])
        self.living = self.bench.make_incidents(self.chance.randint(0, 180))
        await self.bench.add("incident", "sys_user")
        await self.workers[0].prepare()
        await self.hooked.cover("incident", "sys_user")

    async def step(self) -> None:
        acts = [self.insert, self.update, self.update, self.update, self.delete, self.rename]
        acts += [self.wait, self.break_something, self.mend]
        works = [self.load, self.poll, self.poll, self.rewrite, self.kill, self.kill, self.deliver, self.read]
        for _ in range(self.chance.randint(0, 6)):
            self.chance.choice(acts)()
        await self.chance.choice(works)(self.chance.choice(self.workers))

    def insert(self) -> None:
        made = self.bench.twin.instance.insert("incident", self.values(), user="admin")
        self.living.append(made.sys_id)
        self.tell("incident", made.sys_id, "insert")

    def update(self) -> None:
        if self.living:
            key = self.chance.choice(self.living)
            self.bench.twin.instance.update("incident", key, self.values(), user="admin")
            self.tell("incident", key, "update")

    def delete(self) -> None:
        if self.living:
            gone = self.living.pop(self.chance.randrange(len(self.living)))
            self.tell("incident", gone, "delete")
            self.bench.twin.instance.delete("incident", gone, user="admin")

    def rename(self) -> None:
        name = f"Renamed {self.chance.randint(0, 99)}"
        key = self.chance.choice(USERS)
        self.bench.twin.instance.update("sys_user", key, {"name": name}, user="admin")
        self.tell("sys_user", key, "update")

    def tell(self, table: str, sys_id: str, operation: str) -> None:
        """The rule's post is on its way, or lost; of a deletion it may even arrive before it."""
        if self.chance.random() < LOST:
            return
        self.posts.append(self.hooked.post(table, sys_id, operation))

    def wait(self) -> None:
        seconds = self.chance.choice([0.5, 1, 2, 5, 40])
        self.bench.twin.instance.clock.advance(seconds)
        self.bench.now.pass_(seconds=seconds)

    def break_something(self) -> None:
        rule = FaultRule(
            kind=self.chance.choice(KINDS),
            probability=self.chance.choice([0.1, 0.3, 1.0]),
            count=self.chance.randint(1, 12),
            route="/api/now/table/(incident|sys_user)",
        )
        if rule.kind == "status":
            rule = msgspec.structs.replace(rule, status=self.chance.choice([429, 500, 502, 503]))
        self.bench.twin.instance.faults.arm([rule])

    def mend(self) -> None:
        self.bench.twin.instance.faults.arm([])

    async def load(self, replica: Replica) -> None:
        await replica.load_next_shard()

    async def poll(self, replica: Replica) -> None:
        for lease in await replica.claim_due_streams(2):
            await replica.poll(lease)

    async def deliver(self, replica: Replica) -> None:
        """Some posts arrive, in any order, some of them twice; what is too old by then is refused."""
        del replica
        self.chance.shuffle(self.posts)
        arriving = self.posts[: self.chance.randint(0, 20)]
        self.posts = self.posts[len(arriving) :] + self.chance.sample(arriving, len(arriving) // 4)
        if arriving:
            await self.hooked.deliver(*arriving)

    async def read(self, replica: Replica) -> None:
        await replica.read_hints()

    async def rewrite(self, replica: Replica) -> None:
        del replica
        await rewrite_renamed(self.bench.database, self.bench.connection_id, chunk=self.chance.randint(1, 50))

    async def kill(self, replica: Replica) -> None:
        """Break a load or a pass off somewhere."""
        work = asyncio.create_task(self.chance.choice([self.load, self.poll, self.read])(replica))
        for _ in range(self.chance.randint(0, 400)):
            await asyncio.sleep(0)  # one turn of the loop: where the work is cut off depends on the seed
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    def values(self) -> dict[str, str]:
        return {
            "short_description": f"text {self.chance.randint(0, 9)}",
            "assigned_to": self.chance.choice(["", *USERS]),
            "state": self.chance.choice("123"),
            "impact": self.chance.choice("123"),
        }


async def test_after_quiet_the_replica_equals_its_source(hooked: HookBench, seed: int) -> None:
    bench, history = hooked.bench, History(hooked, seed)
    await history.begin()
    for _ in range(STEPS):
        await history.step()
    history.mend()
    bench.now.pass_(hours=1)
    await bench.load_shards(history.workers[1])
    await history.deliver(history.workers[1])
    await hooked.read_all()
    for _ in range(3):
        await bench.catch_up(history.workers[1])
        await rewrite_renamed(bench.database, bench.connection_id)
    found = await bench.verify("incident", repair=True)
    assert (found.missing, found.differing, found.wrong_labels) == ([], [], [])
    assert (await bench.verify("incident")).wrong == 0
    assert (await bench.verify("sys_user")).equal
    assert {row[0] for row in await bench.rows("SELECT sys_id FROM incident")} == set(history.living)
