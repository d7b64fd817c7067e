"""Backfill of a 90-column table, labels included, side by side with what people use today: on the same bytes and the
same Postgres, in alternating rounds, each contestant in a process of its own.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import contest, incidents, places, recording
from benchmarks.contest import Outcome, Task
from benchmarks.places import Databases
from benchmarks.result import Measure, Options, Ratio, Result, ratio, spread

NAME = "backfill"
# Contestant: its module and which variant of it. Who begins changes with every round.
CONTESTANTS = {
    "nowbridge": ("nowbridge_load", ""),
    "dlt 1 worker": ("dlt_merge", "1"),
    "dlt 2 workers": ("dlt_merge", "2"),
    "script psycopg2": ("script_upsert", "psycopg2"),
    "script psycopg3": ("script_upsert", "psycopg"),
    "floor": ("floor_copy", ""),
}
# Against whom (the first word of the contestant): bar and aim.
BARS = {"dlt": (15.0, 25.0), "script": (3.5, 6.0), "floor": (0.45, 0.60)}
LIVE = "live"  # Nowbridge against nowtwin itself
_SPIN = 1_500_000


@dataclass(frozen=True, slots=True)
class Arena:
    """The table to load, and where to."""

    databases: Databases
    recorded: Path
    fields: tuple[str, ...]
    rows: int

    def enter(self, name: str, url: str) -> Outcome:
        """Let one contestant load the source at `url` into a database of its own."""
        with self.databases.fresh() as dsn, tempfile.TemporaryDirectory(prefix="nowbridge-bench-") as home:
            module, variant = CONTESTANTS[name]
            task = Task(url, dsn, home, str(self.recorded), incidents.TABLE, self.fields, self.rows, variant)
            outcome = contest.run(module, task)
        if outcome.labelled is not None and outcome.labelled < 1.0:
            raise RuntimeError(f"{name} left {1 - outcome.labelled:.2%} of the labels empty")
        return outcome


def run(options: Options) -> Result:
    with tempfile.TemporaryDirectory(prefix="nowbridge-bench-") as directory, places.durable_postgres() as databases:
        folder = Path(directory)
        file = folder / "recording"
        with places.twin(folder, options.rows) as url:
            with databases.fresh() as dsn:
                recorded = recording.record(url, dsn, file)
            arena = Arena(databases, file, recorded.fields, len(recorded.rows))
            live = None if LIVE in options.left_out else arena.enter("nowbridge", url)
        with places.static_source(file) as url:
            outcomes, spins = _rounds(arena, url, options)
        setup = _setup(recorded, databases.settings(), options.rounds)
    measures = {name: _measure(name, found, arena.rows) for name, found in outcomes.items()}
    return Result(
        name=NAME,
        setup=setup,
        measures=tuple(measures.values()),
        ratios=_ratios(measures),
        noise=_noise(spins),
        information=() if live is None else (_live(live, arena.rows),),
        facts={
            "rows": arena.rows,
            "row_bytes": _row_bytes(recorded),
            "prepare_seconds": [round(outcome.prepare_seconds, 2) for outcome in outcomes.get("nowbridge", ())],
            "labelled": [outcome.labelled for outcome in outcomes.get("nowbridge", ())],
            "live_rows_per_second": None if live is None else round(arena.rows / live.seconds),
        },
    )


def _rounds(arena: Arena, url: str, options: Options) -> tuple[dict[str, list[Outcome]], list[float]]:
    names = [name for name in CONTESTANTS if not {name, name.split()[0]} & options.left_out]
    outcomes: dict[str, list[Outcome]] = {name: [] for name in names}
    spins = []
    for number in range(options.rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            spins.append(_spin())
            outcomes[name].append(arena.enter(name, url))
    return outcomes, spins


def _measure(name: str, outcomes: Sequence[Outcome], rows: int) -> Measure:
    return Measure(
        name=name,
        unit="rows/s",
        rounds=tuple(rows / outcome.seconds for outcome in outcomes),
        peak_mb=max(outcome.peak_mb for outcome in outcomes),
        note=outcomes[-1].note,
    )


def _ratios(measures: Mapping[str, Measure]) -> tuple[Ratio, ...]:
    ours = measures.get("nowbridge")
    if ours is None:
        return ()
    others = [(measure, *BARS[name.split()[0]]) for name, measure in measures.items() if measure is not ours]
    found = [ratio(f"nowbridge / {m.name}", ours, m, bar=bar, aim=aim) for m, bar, aim in others]
    return (*found, *_reachable(measures))


def _reachable(measures: Mapping[str, Measure]) -> list[Ratio]:
    """The floor against the scripts: what a loader that is one Python process cannot be better than."""
    floor = measures.get("floor")
    scripts = [measure for name, measure in measures.items() if name.startswith("script")]
    return [] if floor is None else [ratio(f"floor / {m.name}", floor, m) for m in scripts]


def _setup(recorded: recording.Recording, settings: Mapping[str, str], rounds: int) -> tuple[str, ...]:
    labels = sum(size for _, size in incidents.REFERENCED.values())
    told = ", ".join(f"{name} {settings[name]}" for name in sorted(settings))
    width = f"{len(recorded.fields)} columns, {_row_bytes(recorded):,} bytes of JSON a row"
    return (
        f"{len(recorded.rows):,} rows of {width}, 30 references (up to {labels:,} records), 12 choices; {rounds} rounds",
        "source: pages recorded from nowtwin, served as they are by one process, no compression",
        f"Postgres: embedded, durable ({told}); {os.cpu_count()} cores for everything",
    )


def _row_bytes(recorded: recording.Recording) -> int:
    return round(sum(map(len, recorded.rows)) / len(recorded.rows))


def _live(outcome: Outcome, rows: int) -> str:
    return (
        f"for information: nowbridge from nowtwin itself, whose work is measured too: {rows / outcome.seconds:,.0f} rows/s,"
        f" prepare {outcome.prepare_seconds:.1f} s"
    )


def _spin() -> float:
    """Seconds that a fixed computation takes: what else the machine does shows here."""
    begun = time.perf_counter()
    total = 0
    for number in range(_SPIN):
        total += number & 7
    return time.perf_counter() - begun


def _noise(spins: Sequence[float]) -> str:
    middle = statistics.median(spins)
    slowest = max(spins) / min(spins) - 1
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"a fixed computation before each contestant took {spread([s * 1000 for s in spins])} ms (median {middle * 1000:.0f},"
        f" slowest {slowest:.0%} over fastest); load average {load}"
    )
