"""Random histories: inserts, updates, deletes, renames, late commits, faults, killed workers, and hints that are lost,
late, doubled and in any order. After quiet, replica = source.

Every run plays 200; the seed stands with a failure. `--histories N` plays more of them, `--history SEED` one again.
"""

import asyncio
import random
from collections.abc import Mapping
from datetime import timedelta

import msgspec
import psycopg
import pytest

from nowbridge.api.hooks import Receiver
from nowbridge.replica.labels import rewrite_renamed
from nowbridge.replica.run import Replica
from nowtwin.behaviour.faults import FaultRule, Kind
from tests.support.histories import Beginning, groups, named, told_by_seed
from tests.support.hooks import SECRET, HookBench, Post

USUAL, TOGETHER = 200, 10
USERS = [f"{at:032x}" for at in range(0xA0, 0xA5)]
KINDS: tuple[Kind, ...] = (
    *("status", "drop_before", "drop_after", "truncate", "accepted", "error_in_body", "null_body"),
    *("drip", "drip"),  # an answer that is old when it comes
)
SHORT, LONG, EACH_LONG = 12, 60, 20  # steps; each twentieth history is a long one
LOST = 0.2  # of the hints, unless all are
TURNS = 3.7  # the longest wait between two things that happen, in turns of the event loop: its power of ten
STATES = {"1": "New", "2": "In Progress", "3": "On Hold"}
IMPACTS = {"1": "1 - High", "2": "2 - Medium", "3": "3 - Low"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seeds" in metafunc.fixturenames:
        metafunc.parametrize("seeds", groups(metafunc.config, USUAL, TOGETHER), ids=named)


class History:
    """One history: what happens is drawn from the seed alone."""

    def __init__(self, hooked: HookBench, seed: int) -> None:
        self.bench = bench = hooked.bench
        self.hooked = hooked
        self.posts: list[Post] = []
        self.chance = random.Random(seed)
        self.steps = self.chance.randint(1, SHORT) if seed % EACH_LONG else LONG
        self.lost = self.chance.choice([LOST, LOST, 1.0])
        self.commits_late = self.chance.random() < 0.4
        self.workers = [bench.open_replica("worker-1"), bench.open_replica("worker-2")]
        bench.replica = self.workers[0]
        hooked.receiver = Receiver(bench.database, bench.now, lambda row: SECRET)
        self.living: list[str] = []

    async def play(self) -> None:
        await self.begin()
        for _ in range(self.steps):
            await self.step()
        await self.be_quiet()

    async def begin(self) -> None:
        self.living = self.bench.make_incidents(self.chance.randint(0, 180))
        await self.workers[0].prepare()
        await self.hooked.cover("incident", "sys_user")
        if self.chance.random() < 0.7:  # the others change, fail and die during the first load
            await self.bench.load_shards(self.workers[0])

    async def step(self) -> None:
        acts = [self.insert, self.update, self.update, self.update, self.delete, self.rename]
        acts += [self.wait, self.wait, self.break_something, self.mend, self.take_back_a_deletion]
        acts += [self.commit_late] if self.commits_late else []
        works = [
            self.load,
            self.poll,
            self.poll,
            self.rewrite,
            self.kill,
            self.kill,
            self.deliver,
            self.read,
            self.outrun,
        ]
        happens = [True] * self.chance.choice([1, 1, 2, 3, 4]) + [False] * self.chance.randint(0, 6)
        self.chance.shuffle(happens)
        doing = []
        for is_work in happens:
            if is_work:
                work = self.chance.choice(works)
                doing.append(asyncio.create_task(work(self.chance.choice(self.workers))))
            else:
                self.chance.choice(acts)()
            await self.turn()
        await asyncio.gather(*doing)

    async def turn(self) -> None:
        """Others go on for a while, mostly a short one: what they have come to then depends on the seed, and on luck."""
        for _ in range(int(10 ** self.chance.uniform(0, TURNS))):
            await asyncio.sleep(0)

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

    def take_back_a_deletion(self) -> None:
        """The rule had told of it already."""
        if self.living:
            self.tell("incident", self.chance.choice(self.living), "delete")

    def commit_late(self) -> None:
        """A transaction ends whose rows are stamped with its beginning, by which time the cursor may have passed."""
        instance = self.bench.twin.instance
        seconds = self.chance.choice([1, 3, 10, 60])
        instance.clock.advance(-seconds)
        stamp = instance.clock.stamp()
        instance.clock.advance(seconds)
        for key in self.chance.sample(self.living, min(len(self.living), self.chance.randint(1, 3))):
            count = str(int(instance.record("incident", key).values["sys_mod_count"]) + 1)
            stored = instance.read("incident", key) or {}
            instance.load("incident", [{**stored, **self.values(), "sys_updated_on": stamp, "sys_mod_count": count}])

    def rename(self) -> None:
        name = f"Renamed {self.chance.randint(0, 99)}"
        key = self.chance.choice(USERS)
        self.bench.twin.instance.update("sys_user", key, {"name": name}, user="admin")
        self.tell("sys_user", key, "update")

    def tell(self, table: str, sys_id: str, operation: str) -> None:
        """The rule's post is on its way, or lost; of a deletion it may even arrive before it."""
        if self.chance.random() < self.lost:
            return
        self.posts.append(self.hooked.post(table, sys_id, operation))

    def wait(self) -> None:
        seconds = self.chance.choice([0.5, 1, 3, 5, 40])
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
        if rule.kind == "drip":
            rule = msgspec.structs.replace(rule, chunk_bytes=1_000_000, seconds=self.chance.uniform(0.02, 0.2))
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

    async def outrun(self, replica: Replica) -> None:
        """A record is read back slowly; meanwhile it changes, and the change stream brings the newer state first."""
        if not self.living:
            return
        key, instance = self.chance.choice(self.living), self.bench.twin.instance
        await self.hooked.deliver(self.hooked.post("incident", key, "update"))
        instance.faults.arm([FaultRule(kind="drip", table="incident", count=1, seconds=0.1, chunk_bytes=1_000_000)])
        before = instance.calls.total
        reading = asyncio.create_task(self.read(replica))
        while instance.calls.total == before and not reading.done():  # noqa: ASYNC110 - another thread's counter
            await asyncio.sleep(0)
        if key in self.living:
            instance.update("incident", key, self.values(), user="admin")
        self.wait()
        await self.poll(self.chance.choice(self.workers))
        await reading

    async def rewrite(self, replica: Replica) -> None:
        del replica
        await rewrite_renamed(self.bench.database, self.bench.connection_id, chunk=self.chance.randint(1, 50))

    async def kill(self, replica: Replica) -> None:
        """Break a load or a pass off somewhere: a while after it has looked at the clock so many times."""
        readings = self.bench.now.readings
        while not readings.empty():
            readings.get_nowait()
        work = asyncio.create_task(self.chance.choice([self.load, self.poll, self.poll, self.read])(replica))
        come = asyncio.create_task(self.bench.now.read(self.chance.randint(0, 8)))
        await asyncio.wait({work, come}, return_when=asyncio.FIRST_COMPLETED)
        await self.turn()
        work.cancel()
        come.cancel()
        await asyncio.gather(work, come, return_exceptions=True)

    async def be_quiet(self) -> None:
        """What was left undone is done; then nothing may be missing, differ or be there still."""
        bench, worker = self.bench, self.workers[1]
        self.mend()
        while bench.twin.instance.calls.running:  # noqa: ASYNC110 - the instance is to end what dead workers asked
            await asyncio.sleep(0)
        bench.now.pass_(hours=1)
        await bench.load_shards(worker)
        await self.deliver(worker)
        await self.hooked.read_all()
        for _ in range(2):
            await bench.catch_up(worker)
            await rewrite_renamed(bench.database, bench.connection_id)
        await self.do_duties(worker, *(["audit", "recent"] if self.commits_late else ["audit"]))
        assert (await bench.verify("incident")).equal
        await self.compare()

    async def do_duties(self, worker: Replica, *kinds: str) -> None:
        """The journal of deletions; what changed lately, which may have been committed behind the cursor."""
        await worker.upkeep.give_duties()
        due = ", ".join(f"'{kind}'" for kind in kinds)
        when = f"CASE WHEN kind IN ({due}) THEN '-infinity' ELSE 'infinity' END::timestamptz"
        await self.bench.rows(f"UPDATE nowbridge.duty SET next_at = {when} RETURNING 1")
        while (done := await worker.tend_next()) is not None:
            assert done.error is None

    async def compare(self) -> None:
        """Row by row with the instance's own rows, not by way of the API."""
        instance = self.bench.twin.instance
        names = {row["sys_id"]: row["name"] for row in instance.export("sys_user")}
        users = await self.bench.rows("SELECT sys_id, name FROM sys_user")
        assert dict(users) == names
        held = await self.bench.rows(
            "SELECT sys_id, short_description, assigned_to__value, assigned_to, state__value::text, state,"
            " impact__value::text, impact, to_char(sys_updated_on, 'YYYY-MM-DD HH24:MI:SS'), sys_mod_count FROM incident"
        )
        stored = list(instance.export("incident"))
        assert {row["sys_id"] for row in stored} == set(self.living)
        expected = {row["sys_id"]: (*_shown(row, names), int(row["sys_mod_count"])) for row in stored}
        assert {sys_id: rest for sys_id, *rest in held} == {key: list(rest) for key, rest in expected.items()}

    def values(self) -> dict[str, str]:
        return {
            "short_description": f"text {self.chance.randint(0, 9)}",
            "assigned_to": self.chance.choice(["", *USERS]),
            "state": self.chance.choice("123"),
            "impact": self.chance.choice("123"),
        }


def _shown(row: Mapping[str, str], names: Mapping[str, str]) -> tuple[str | None, ...]:
    """What the replica is to show of an incident, but for its id and count of changes."""
    person, state, impact = row.get("assigned_to", ""), row.get("state", ""), row.get("impact", "")
    words = (*(person or None, names.get(person)), *(state or None, STATES.get(state)))
    return (row["short_description"], *words, *(impact or None, IMPACTS.get(impact)), row["sys_updated_on"])


@pytest.mark.timeout(600)  # ten of them
async def test_after_quiet_the_replica_equals_its_source(
    hooked: HookBench, superuser: psycopg.Connection, seeds: range
) -> None:
    bench = hooked.bench
    users = [{"sys_id": key, "user_name": key[-2:], "name": f"User {key[-2:]}"} for key in USERS]
    bench.twin.instance.load("sys_user", users)
    await bench.add("incident", "sys_user")
    beginning = Beginning.of(bench.twin.instance, superuser)
    for seed in seeds:
        with told_by_seed(seed):
            beginning.bring_back()
            bench.now.passed = timedelta()
            await History(hooked, seed).play()
