"""The most memory that a worker has while it loads 1,000,000 rows of 90 columns with their labels. The rows are those of the
benchmark `backfill`, each fifty times under ids of its own, made by a process of its own as they are asked for.
"""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

from benchmarks import contest, incidents, places, recording
from benchmarks.contest import Task
from benchmarks.result import Measure, Options, Ratio, Result

NAME = "memory"
ROWS = 1_000_000
RECORDED = 20_000
BAR, AIM = 256, 150  # MB


def run(options: Options) -> Result:
    """1,000,000 rows, for which the bar is set, unless another number is asked for."""
    wanted = options.rows if options.rows != Options().rows else ROWS
    with tempfile.TemporaryDirectory(prefix="nowbridge-bench-") as directory, places.durable_postgres() as databases:
        file = Path(directory) / "recording"
        with places.twin(Path(directory), min(wanted, RECORDED)) as url, databases.fresh() as dsn:
            recorded = recording.record(url, dsn, file)
        times = math.ceil(wanted / len(recorded.rows))
        rows = len(recorded.rows) * times
        home = Path(directory) / "home"
        home.mkdir()
        with places.static_source(file, times) as url, databases.fresh() as dsn:
            task = Task(url, dsn, str(home), str(file), incidents.TABLE, recorded.fields, rows)
            outcome = contest.run("nowbridge_load", task)
    width = round(sum(map(len, recorded.rows)) / len(recorded.rows))
    labels = sum(size for _, size in incidents.REFERENCED.values())
    return Result(
        NAME,
        (f"{rows:,} rows of {len(recorded.fields)} columns, {width:,} bytes of JSON a row, up to {labels:,} labels",),
        (
            Measure("peak resident", "MB", (outcome.peak_mb,), outcome.peak_mb, f"bar <= {BAR}, aim {AIM}"),
            Measure("speed", "rows/s", (rows / outcome.seconds,), outcome.peak_mb, f"{outcome.seconds:.0f} s"),
        ),
        (Ratio("bar / peak", (BAR / outcome.peak_mb,), bar=1.0, aim=BAR / AIM),),
        f"memory does not depend on the machine's load; the speed does (load average {os.getloadavg()[0]:.1f})",
    )
