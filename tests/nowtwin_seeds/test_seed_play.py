"""The player: pace by an injected clock, effect on a real instance, and its routes."""

import json
import threading
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from starlette.applications import Starlette

from nowtwin.instance import Instance
from nowtwin.play import PATH, Player, PlayError, player_routes, prepare_player
from nowtwin.seeds import Change, generate_history, load_demo


@pytest.fixture(scope="module")
def history() -> list[Change]:
    return generate_history(1, 40)


@pytest.fixture
def instance() -> Iterator[Instance]:
    with Instance() as instance:
        yield instance


class Stopwatch:
    """A clock that moves only when the player waits, or by `cost` seconds when it is read."""

    def __init__(self, cost: float = 0.0) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self._cost = cost

    def monotonic(self) -> float:
        self.now += self._cost
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return False


def player_of(instance: Instance, history: list[Change], watch: Stopwatch) -> Player:
    return Player(instance, history, len(history), monotonic=watch.monotonic, wait=watch.wait)


def play(player: Player, rate: float, limit: int | None = None) -> None:
    player.start(rate, limit)
    player.join()


def test_changes_come_at_the_rate_and_the_limit_ends_them(instance: Instance, history: list[Change]) -> None:
    watch = Stopwatch()
    player = player_of(instance, history, watch)
    play(player, rate=50, limit=101)
    assert watch.now == pytest.approx(2.0)
    assert len(watch.waits) == 100
    progress = player.progress()
    assert (progress.applied, progress.running, progress.finished) == (101, False, False)


def test_time_lost_by_slow_writes_is_made_up(instance: Instance, history: list[Change]) -> None:
    watch = Stopwatch(cost=0.05)
    play(player_of(instance, history, watch), rate=10, limit=21)
    # Each look at the clock costs half of what a change may take: the waits are shorter, the pace is kept.
    assert watch.waits == pytest.approx([0.05] * 19)
    assert watch.now == pytest.approx(0.05 + 20 / 10)


def test_the_next_start_goes_on_where_the_last_one_ended(instance: Instance, history: list[Change]) -> None:
    player = player_of(instance, history, Stopwatch())
    play(player, 100, 10)
    play(player, 100, 10)
    assert player.progress().applied == 20
    play(player, 100)
    assert player.progress().finished
    assert player.progress().applied == len(history)
    with pytest.raises(PlayError, match="to its end"):
        player.start(100)


def test_a_played_history_is_what_the_instance_then_holds(instance: Instance, history: list[Change]) -> None:
    load_demo(instance)
    play(player_of(instance, history, Stopwatch()), 1000)
    expected: dict[str, dict[str, str]] = {}
    saves: dict[str, int] = {}
    for change in history:
        expected.setdefault(change.sys_id, {}).update(change.values)
        saves[change.sys_id] = saves.get(change.sys_id, -1) + 1
    for sys_id, values in expected.items():
        stored = instance.read("incident", sys_id)
        assert stored is not None
        columns = {e: v for e, v in values.items() if e not in ("work_notes", "comments")}
        assert {element: stored.get(element, "") for element in columns} == columns
        assert stored["sys_mod_count"] == str(saves[sys_id])
    last = history[-1]
    stored = instance.read("incident", last.sys_id)
    assert stored is not None
    assert stored["sys_updated_by"] == last.user
    notes = sum(bool(change.values.get(element)) for change in history for element in ("work_notes", "comments"))
    assert instance.count("sys_journal_field", f"element_idIN{','.join(expected)}") == notes


def test_played_states_are_written_now_while_historic_times_stay(instance: Instance, history: list[Change]) -> None:
    instance.clock.freeze()
    now = instance.clock.stamp()
    play(player_of(instance, history, Stopwatch()), 1000, 1)
    stored = instance.read("incident", history[0].sys_id)
    assert stored is not None
    assert (stored["sys_created_on"], stored["sys_updated_on"]) == (now, now)
    assert stored["opened_at"] == history[0].values["opened_at"]


def test_a_refused_change_is_counted_and_passed_over(instance: Instance, history: list[Change]) -> None:
    play(player := player_of(instance, history, Stopwatch()), 1000, 1)
    instance.delete("incident", history[0].sys_id)
    play(player, 1000)
    later = sum(change.sys_id == history[0].sys_id for change in history) - 1
    progress = player.progress()
    assert (progress.refused, progress.applied) == (later, len(history) - later)
    assert "No Record found" in progress.last_refusal
    assert progress.finished


def test_stop_ends_a_wait_at_once_and_keeps_the_place(instance: Instance, history: list[Change]) -> None:
    drawn = threading.Event()

    def signalling() -> Iterator[Change]:
        for change in history:
            drawn.set()
            yield change

    player = Player(instance, signalling(), len(history))
    player.start(rate=0.001)
    assert drawn.wait(10)
    with pytest.raises(PlayError, match="being played"):
        player.start(rate=1)
    player.stop()
    assert (player.progress().applied, player.progress().running) == (1, False)
    player.start(rate=1e6, limit=4)
    player.join()
    assert player.progress().applied == 5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_broken_history_says_why_it_broke_off(instance: Instance, history: list[Change]) -> None:
    def breaking() -> Iterator[Change]:
        yield history[0]
        raise OSError("the log went away")

    player = Player(instance, breaking(), 2)
    play(player, 1e6)
    progress = player.progress()
    assert (progress.applied, progress.finished, progress.running) == (1, False, False)
    assert progress.failure == "OSError: the log went away"


@pytest.mark.parametrize(("rate", "limit"), [(0, None), (-1, None), (1, 0)])
def test_a_rate_or_limit_that_is_not_positive_is_refused(
    instance: Instance, history: list[Change], rate: float, limit: int | None
) -> None:
    with pytest.raises(ValueError, match="positive"):
        player_of(instance, history, Stopwatch()).start(rate, limit)


def test_without_a_log_a_twin_plays_generated_lives_over_the_demo() -> None:
    with Instance() as instance:
        player = prepare_player(instance, seed=3)
        player.start(1e9, 300)
        player.join()
        assert (player.progress().applied, player.progress().refused) == (300, 0)
        assert instance.count("incident") > 67


# -- routes --------------------------------------------------------------------------------------------------------


async def call(player: Player, method: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": PATH,
        "headers": [],
        "query_string": b"",
        "app": None,
    }
    await Starlette(routes=player_routes(player))(scope, receive, send)
    status: int = sent[0]["status"]
    return status, json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


async def test_the_routes_start_show_and_stop(instance: Instance, history: list[Change]) -> None:
    player = player_of(instance, history, Stopwatch())
    status, answer = await call(player, "GET")
    assert (status, answer["applied"], answer["total"]) == (200, 0, len(history))
    status, answer = await call(player, "POST", b'{"rate": 50, "limit": 25}')
    assert (status, answer["rate"]) == (200, 50.0)
    player.join()
    status, answer = await call(player, "DELETE")
    assert (status, answer["applied"], answer["running"]) == (200, 25, False)


@pytest.mark.parametrize("body", [b"{", b'{"rate": 0}', b'{"rate": "fast"}', b'{"limit": 0}', b'{"speed": 1}', b"[]"])
async def test_a_wrong_body_is_answered_with_400(instance: Instance, history: list[Change], body: bytes) -> None:
    status, answer = await call(player_of(instance, history, Stopwatch()), "POST", body)
    assert (status, answer["status"], answer["error"]["message"]) == (400, "failure", "Invalid body")
    assert answer["error"]["detail"]


async def test_a_start_after_the_end_is_answered_with_409(instance: Instance, history: list[Change]) -> None:
    player = player_of(instance, history[:2], Stopwatch())
    await call(player, "POST")
    player.join()
    status, answer = await call(player, "POST")
    assert (status, answer["error"]["message"]) == (409, "The history is played to its end")
