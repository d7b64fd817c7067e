"""scripts/requirements.py: what is claimed has a test, and no test names what does not exist."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import requirements

REPO = Path(__file__).parents[2]
COUNTS = {"H": 174, "S": 69, "I": 61, "Q": 54, "L": 61}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with four requirements, of which one has a test."""
    for folder in ("scripts", "docs", "tests"):
        (tmp_path / folder).mkdir()
    shutil.copy(REPO / "scripts" / "requirements.py", tmp_path / "scripts")
    (tmp_path / "docs" / "requirements.txt").write_text("# ours\nH1 H2 H3\nQ1\n")
    (tmp_path / "docs" / "requirements-claimed.txt").write_text("H2\n")
    _write_test(tmp_path, 'pytest.mark.req("H2")')
    return tmp_path


def _write_test(project: Path, marker: str) -> None:
    (project / "tests" / "test_it.py").write_text(f"import pytest\n@{marker}\ndef test_it() -> None: ...\n")


def _run(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    script = project / "scripts" / "requirements.py"
    return subprocess.run((sys.executable, script, *options), capture_output=True, text=True, check=False)


def test_covered_ids_are_counted_per_letter(project: Path) -> None:
    done = _run(project, "--missing")
    assert done.returncode == 0
    assert "H:   1 of   3   without a test: H1 H3" in done.stdout
    assert "all: 1 of 4" in done.stdout


def test_a_claimed_id_without_a_test_fails(project: Path) -> None:
    (project / "docs" / "requirements-claimed.txt").write_text("H2 H3\n")
    done = _run(project)
    assert done.returncode == 1
    assert "H3 is claimed and has no test" in done.stdout


def test_ids_required_on_the_command_line_are_held_too(project: Path) -> None:
    assert _run(project, "--require", "H2").returncode == 0
    assert _run(project, "--require", "H2,Q1").returncode == 1


def test_an_unknown_id_in_a_test_fails_with_its_place(project: Path) -> None:
    _write_test(project, 'pytest.mark.req("H2", "H99")')
    done = _run(project)
    assert done.returncode == 1
    assert "tests/test_it.py:2: no requirement is called H99" in done.stdout


def test_ids_that_are_computed_are_refused_because_they_cannot_be_read(project: Path) -> None:
    _write_test(project, 'pytest.mark.req(f"H{2}")')
    assert "written out as strings" in _run(project).stderr


def test_markers_on_modules_and_parameters_count() -> None:
    source = 'pytestmark = [pytest.mark.req("H1")]\np = pytest.param(1, marks=pytest.mark.req("H2"))\nother.req("H3")\n'
    assert [identifier for identifier, _ in requirements.marked("req", source, "t.py")] == ["H1", "H2"]


def test_neighbours_are_written_as_a_range() -> None:
    assert requirements.ranges(["H9", "H1", "H2", "H3", "H10", "H20"]) == "H1-H3 H9-H10 H20"
    assert requirements.ranges([]) == ""


def test_the_list_holds_every_requirement_once() -> None:
    known = requirements.listed(REPO / "docs" / "requirements.txt")
    expected = [f"{letter}{number}" for letter, count in COUNTS.items() for number in range(1, count + 1)]
    assert list(known) == expected
