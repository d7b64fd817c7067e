"""One contestant in a process of its own: what it is told, what it hands back, and how it is run.

A contestant is a module of `benchmarks.contestants` that calls `contest.enter(load)`; it reads its task from standard
input and prints its outcome. So neither memory nor garbage collection of one reaches the next.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

REPOSITORY = Path(__file__).resolve().parent.parent
_LIMIT = 1_800.0


class Task(msgspec.Struct, frozen=True):
    """Load `table` of the source at `url` into the empty database `dsn`. `home` is an empty folder for what the
    contestant keeps beside it; `recording` the file that the source serves; `variant` says how, where there are ways.
    """

    url: str
    dsn: str
    home: str
    recording: str
    table: str
    fields: tuple[str, ...]
    rows: int
    variant: str = ""

    @property
    def params(self) -> dict[str, str]:
        """What everybody asks of the Table API: stored values of the 90 columns, no links, a stable order."""
        return {
            "sysparm_fields": ",".join(self.fields),
            "sysparm_query": "ORDERBYsys_id",
            "sysparm_display_value": "false",
            "sysparm_exclude_reference_link": "true",
            "sysparm_suppress_pagination_header": "true",
        }


class Outcome(msgspec.Struct, frozen=True):
    """`seconds` for the load; `prepare_seconds` for what came before it (metadata, labels); `labelled` is the share of
    reference and choice values that have a label, None where the contestant makes none.
    """

    seconds: float
    rows: int
    note: str = ""
    prepare_seconds: float = 0.0
    labelled: float | None = None
    peak_mb: float = 0.0


def enter(load: Callable[[Task], Outcome]) -> None:
    """The main program of a contestant."""
    outcome = load(msgspec.json.decode(sys.stdin.buffer.read(), type=Task))
    finished = msgspec.structs.replace(outcome, peak_mb=peak_mb())
    print("\n" + msgspec.json.encode(finished).decode())


def run(name: str, task: Task) -> Outcome:
    """Run a contestant to its end. Raises RuntimeError with what it said when it failed or lost rows."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.contestants.{name}"],
        input=msgspec.json.encode(task),
        capture_output=True,
        cwd=REPOSITORY,
        timeout=_LIMIT,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{name} failed:\n{done.stderr.decode()[-4_000:]}")
    outcome = msgspec.json.decode(done.stdout.rstrip().rpartition(b"\n")[2], type=Outcome)
    if outcome.rows != task.rows:
        raise RuntimeError(f"{name} loaded {outcome.rows} of {task.rows} rows")
    return outcome


def peak_mb() -> float:
    """The most memory that this process has had resident. `ru_maxrss` would include what the parent had at the fork."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
