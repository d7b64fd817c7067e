"""./scripts/demo, as somebody who has just cloned the project runs it; the wrapper's installation is left out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.demo import Lags

DEMO = Path(__file__).parents[2] / "scripts" / "demo.py"


def start(tmp_path: Path, *options: str) -> subprocess.Popen[str]:
    """With an empty HOME, no shared data, and temporary files of its own."""
    (tmp_path / "tmp").mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path / "tmp"),
        "NOWBRIDGE_SHARED_DATA": str(tmp_path / "none"),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/not_for_the_demo",
    }
    return subprocess.Popen(
        (sys.executable, str(DEMO), *options),
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def left_over(tmp_path: Path) -> list[str]:
    """Command lines that name the test's folder, and files in its temporary folder."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it ended meanwhile
    files = [str(path) for path in (tmp_path / "tmp").iterdir()]
    return [line for line in lines if str(tmp_path) in line] + files


@pytest.mark.timeout(240)
def test_a_bounded_run_proves_the_copy_equal_and_leaves_nothing(tmp_path: Path) -> None:
    process = start(tmp_path, "--once", "--json", "--changes", "150", "--rate", "50")
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    told = json.loads(out)
    assert told["ok"]
    assert told["equal"]
    assert "generated incidents, no recorded ones" in told["data"]
    assert told["rows"] > 10_000
    assert told["changes"] == told["changes_visible"] == 150
    assert 0 < told["lag_p50"] <= told["lag_p95"] <= told["lag_p99"] < 60
    assert {table["table"]: table["rows"] for table in told["tables"]}["incident"] >= 5_000
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_at_any_moment_it_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if "nowbridge connect" in line:
            break
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Nothing is left running" in err
    assert left_over(tmp_path) == []


def test_an_event_log_that_is_not_there_is_named(tmp_path: Path) -> None:
    process = start(tmp_path, "--event-log", str(tmp_path / "log.csv"))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "log.csv" in err
    assert "Traceback" not in err


def test_a_lag_runs_to_the_first_state_that_holds_the_write() -> None:
    lags = Lags()
    lags.wrote("incident", "a", 4, 100.0)
    lags.wrote("incident", "a", 5, 101.0)
    lags.wrote("incident", "b", 1, 102.0)
    lags.applied("incident", "a", 5, 103.0)
    assert sorted(lags.seconds) == [2.0, 3.0]
    assert not lags.all_visible
    lags.applied("incident", "b", 1, 104.0)
    assert lags.all_visible
    lags.wrote("incident", "a", 5, 101.5)  # seen here before it was read in the journal
    assert lags.all_visible
    assert lags.percentile(0.99) == 3.0
