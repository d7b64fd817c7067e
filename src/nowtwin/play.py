"""Plays a history on an instance: each change goes through the full write pipeline, at a given rate, in a thread.

The twin's clock stays real. A change is written now (`sys_updated_on` is the twin's time) under the user who made it
then; historic times such as `opened_at` are data. Changes are due at fixed times after the start, so a slow write is
made up for by the next ones; stopping keeps the place, and the next start goes on from there. A change the instance
refuses is counted and passed over, as it would be on a real one.

`player_routes` gives the routes of the control API: POST starts, GET shows progress, DELETE stops.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nowtwin.errors import Refused
from nowtwin.instance import Instance
from nowtwin.seeds import Change, Operation, generate_history, load_demo, load_event_log
from nowtwin.seeds.generator_pool import demo_pool

PATH = "/_nowtwin/play"


class PlayError(RuntimeError):
    """The player cannot do this now: it plays already, or nothing is left to play."""


class Progress(msgspec.Struct, frozen=True):
    """How far a history is; `applied` and `refused` count since the player was made."""

    running: bool
    finished: bool
    total: int
    applied: int
    refused: int
    rate: float
    last_refusal: str
    failure: str
    """Why playing broke off where that was no refusal; empty otherwise."""


class PlayRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a start: changes per second, and after how many changes to stop (null: at the end)."""

    rate: Annotated[float, msgspec.Meta(gt=0)] = 50.0
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Player:
    """One history on one instance. `monotonic` (seconds) and `wait` (seconds -> whether to stop) are the only time."""

    def __init__(
        self,
        instance: Instance,
        changes: Iterable[Change],
        total: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._instance = instance
        self._changes: Iterator[Change] = iter(changes)
        self._total = total
        self._monotonic = monotonic
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._applied = 0
        self._refused = 0
        self._rate = 0.0
        self._last_refusal = ""
        self._failure = ""

    def start(self, rate: float, limit: int | None = None) -> None:
        """Play on from where the player stands, `rate` changes per second, at most `limit` of them.

        Raises PlayError while it plays or when nothing is left, ValueError for a rate or limit that is not positive.
        """
        if rate <= 0 or (limit is not None and limit < 1):
            raise ValueError("rate and limit must be positive")
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise PlayError("The history is being played")
            left = self._total - self._played()
            if left < 1:
                raise PlayError("The history is played to its end")
            self._stopping.clear()
            self._rate, self._failure = rate, ""
            count = left if limit is None else min(limit, left)
            self._thread = threading.Thread(target=self._play, args=(rate, count), name="nowtwin-play", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End playing after the change in hand; returns when it has ended. Harmless when nothing plays."""
        self._stopping.set()
        self.join()

    def join(self, timeout: float | None = None) -> None:
        """Wait until what was started has ended."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def progress(self) -> Progress:
        thread = self._thread
        return Progress(
            running=thread is not None and thread.is_alive(),
            finished=self._played() >= self._total,
            total=self._total,
            applied=self._applied,
            refused=self._refused,
            rate=self._rate,
            last_refusal=self._last_refusal,
            failure=self._failure,
        )

    def _played(self) -> int:
        return self._applied + self._refused

    def _play(self, rate: float, count: int) -> None:
        started = self._monotonic()
        for place in range(count):
            delay = started + place / rate - self._monotonic()
            if self._stopping.is_set() or (delay > 0 and self._wait(delay)):
                return
            try:
                self._apply(next(self._changes))
            except BaseException as error:
                self._failure = f"{type(error).__name__}: {error}"
                raise

    def _apply(self, change: Change) -> None:
        try:
            if change.operation is Operation.INSERT:
                values = {**change.values, "sys_id": change.sys_id}
                self._instance.insert(change.table, values, user=change.user)
            else:
                self._instance.update(change.table, change.sys_id, change.values, user=change.user)
        except Refused as refusal:
            self._last_refusal = str(refusal)
            self._refused += 1
        else:
            self._applied += 1


def prepare_player(instance: Instance, log: Path | None = None, *, until: float = 0.5, seed: int = 0) -> Player:
    """A player for a twin: loads the event log up to `until` and plays its rest; without a log, generated incidents
    over the demo records (which are loaded where they are missing).
    """
    if log is not None:
        replay = load_event_log(instance, log, until=until)
        return Player(instance, replay.changes(), len(replay.states))
    if instance.read("sys_user", demo_pool().callers[0].sys_id) is None:
        load_demo(instance)
    changes = generate_history(seed)
    return Player(instance, changes, len(changes))


def player_routes(player: Player) -> list[Route]:
    """Routes of the control API for this player; the body of POST is a `PlayRequest`, answers are `Progress`."""

    async def start(request: Request) -> Response:
        try:
            wanted = msgspec.json.decode(await request.body() or b"{}", type=PlayRequest)
            player.start(wanted.rate, wanted.limit)
        except msgspec.DecodeError as error:
            return _failure(400, "Invalid body", str(error))
        except PlayError as error:
            return _failure(409, str(error), "GET shows how far it is")
        return _answer(player.progress())

    async def show(_: Request) -> Response:
        return _answer(player.progress())

    async def stop(_: Request) -> Response:
        await run_in_threadpool(player.stop)
        return _answer(player.progress())

    return [
        Route(PATH, start, methods=["POST"]),
        Route(PATH, show, methods=["GET"]),
        Route(PATH, stop, methods=["DELETE"]),
    ]


def _answer(progress: Progress) -> Response:
    return Response(msgspec.json.encode(progress), media_type="application/json")


def _failure(status: int, message: str, detail: str) -> Response:
    body = {"error": {"message": message, "detail": detail}, "status": "failure"}
    return Response(msgspec.json.encode(body), status, media_type="application/json")
