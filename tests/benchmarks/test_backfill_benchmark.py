"""The backfill benchmark runs from end to end: small, and without what only its own dependencies bring (dlt, drivers)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = 300


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_it_prints_what_each_contestant_reached_and_the_ratios_against_their_bars() -> None:
    done = bench("backfill", "--json", "--rows", str(ROWS), "--rounds", "2", "--without", "dlt", "--without", "script")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert result["name"] == "backfill"
    assert {m["name"]: len(m["rounds"]) for m in result["measures"]} == {"nowbridge": 2, "floor": 2}
    assert all(0 < m["min"] <= m["median"] <= m["max"] and m["peak_mb"] > 0 for m in result["measures"])
    assert [(r["name"], r["bar"]) for r in result["ratios"]] == [("nowbridge / floor", 0.45)]
    assert result["ratios"][0]["verdict"] in {"ok", "MISSED"}
    assert result["facts"]["rows"] == ROWS
    assert result["facts"]["labelled"] == [1.0, 1.0]
    assert 2_500 < result["facts"]["row_bytes"] < 3_200
    assert result["facts"]["live_rows_per_second"] > 0
    assert "load average" in result["noise"]


@pytest.mark.parametrize(
    ("arguments", "said"), [(["nothing"], "no such benchmark: nothing"), (["--rows", "0"], "a number from 1 on")]
)
def test_wrong_usage_is_said_in_words(arguments: list[str], said: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
