"""The import contracts in pyproject.toml hold, and each breaks when it should: imports are seeded into a copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
COMMAND = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(REPO / "src", tmp_path / "src", ignore=shutil.ignore_patterns("data", "__pycache__"))
    shutil.copy(REPO / "pyproject.toml", tmp_path)
    return tmp_path


def _broken(project: Path) -> list[str]:
    """The names of the broken contracts."""
    done = subprocess.run(
        (sys.executable, "-c", COMMAND, "--no-cache", "--no-logo"),
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(project / "src"), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert any(line.startswith("Contracts:") for line in lines), done.stdout + done.stderr
    return [line.partition(" BROKEN")[0] for line in lines if " BROKEN" in line]


def test_the_code_keeps_every_contract(copy: Path) -> None:
    assert _broken(copy) == []


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("nowbridge/replica/run.py", "import nowbridge.settings", "Imports run one way"),
        ("nowbridge/store/rows/load.py", "import nowbridge.servicenow.tables", "Imports run one way"),
        ("nowbridge/helpers.py", "", "Imports run one way"),
        ("nowbridge/replica/rows.py", "import time", "Pure modules"),
        ("nowbridge/servicenow/tables.py", "import aiohttp", "HTTP is spoken in transport only"),
        ("nowbridge/transport/client.py", "import httpx", "There is one HTTP client library"),
        ("nowbridge/replica/run.py", "import psycopg", "SQL is spoken in store only"),
        ("nowbridge/store/rows/load.py", "import procrastinate", "The queue is known to jobs only"),
        ("nowbridge/jobs/queue.py", "import rich", "The terminal is known to cli only"),
        ("nowbridge/replica/run.py", "import starlette", "The web server is known to api and web only"),
        ("nowbridge/web/overview.py", "import nowbridge.store.rows.tables", "The console sees the engine only through"),
        ("nowtwin/instance.py", "import nowbridge.model.schema", "The emulator is an independent witness"),
        ("nowbridge/replica/run.py", "import nowtwin.instance", "The engine does not know the emulator"),
    ],
)
def test_a_forbidden_import_breaks_its_contract(copy: Path, module: str, line: str, contract: str) -> None:
    with (copy / "src" / module).open("a") as file:
        file.write(f"\n{line}\n")
    assert any(name.startswith(contract) for name in _broken(copy))
