"""Fixture: clients by others whose old requirements clash with ours, each in a virtual environment of its own.

The environment is made on first use from a file of pinned versions, under `.cache/judges` of this checkout, and kept
until that file changes. Where it cannot be made (no package index at hand) the tests that need it are skipped, loudly.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[2]
PROGRAMS = REPO / "tests" / "nowtwin_judges" / "programs"
CACHE = REPO / ".cache" / "judges"
_PATIENCE = 300

Judge = Callable[..., Any]


@pytest.fixture(scope="session")
def pysnow_python() -> Path:
    """An interpreter that has pysnow: its pytz, ijson and requests-oauthlib are of 2020 and cannot be ours."""
    return _environment("pysnow")


def run_program(python: Path, program: str, story: str, **arguments: object) -> Any:  # noqa: ANN401 - whatever JSON the story tells
    """Run one story of a program by that interpreter; its result comes back as JSON. A failure shows what it said."""
    command = [str(python), "-W", "error", str(PROGRAMS / program), story, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    assert done.returncode == 0, f"{program} {story}:\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def _environment(name: str) -> Path:
    pins = PROGRAMS / f"{name}.txt"
    digest = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:12]
    place = CACHE / f"{name}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:  # test processes run in parallel
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "made").is_file():
            shutil.rmtree(place, ignore_errors=True)
            _make(place, pins)
            (place / "made").touch()
    return place / "bin" / "python"


def _make(place: Path, pins: Path) -> None:
    uv = shutil.which("uv") or str(REPO / ".cache" / "uv" / "bin" / "uv")
    steps = (
        [uv, "venv", "--quiet", "--python", sys.executable, str(place)],
        [uv, "pip", "install", "--quiet", "--python", str(place / "bin" / "python"), "-r", str(pins)],
    )
    for step in steps:
        _run(step, pins.stem, Path(tempfile.gettempdir()))  # away from this checkout, whose pins are not theirs


def _run(step: list[str], what: str, place: Path) -> None:
    """A step of an installation; where it fails the tests that need it are skipped with what it said."""
    try:
        done = subprocess.run(step, capture_output=True, text=True, timeout=_PATIENCE, check=False, cwd=place)
    except OSError as error:
        pytest.skip(f"{what} cannot be installed: {error}")
    if done.returncode:
        pytest.skip(f"{what} cannot be installed: {(done.stderr or done.stdout).strip()[-300:]}")
