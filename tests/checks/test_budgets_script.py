"""scripts/budgets.py measures what CONTRIBUTING.md promises."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import budgets

REPO = Path(__file__).parents[2]


def _depth(body: str) -> int:
    return budgets.depth(ast.parse(body).body[0])


@pytest.mark.parametrize(
    ("body", "blocks"),
    [
        ("def f():\n return 1", 0),
        ("def f():\n if a:\n  return 1", 1),
        ("def f():\n if a:\n  return 1\n elif b:\n  return 2\n elif c:\n  return 3", 1),
        ("def f():\n if a:\n  return 1\n else:\n  if b:\n   return 2\n  return 3", 2),
        ("def f():\n for a in b:\n  with c:\n   try:\n    while d: pass\n   finally: pass", 4),
        ("def f():\n if a:\n  def g():\n   if b: pass", 1),
        ("async def f():\n async for a in b:\n  async with c:\n   match d:\n    case 1: pass", 3),
    ],
)
def test_nesting_counts_blocks_inside_blocks(body: str, blocks: int) -> None:
    assert _depth(body) == blocks


def test_a_function_or_module_over_the_limit_is_named() -> None:
    long = budgets.Size("a.py:f", 61, 4, is_function=True)
    assert list(budgets.broken(long)) == [
        "a.py:f: 61 lines, at most 60",
        "a.py:f: 4 blocks inside each other, at most 3",
    ]
    assert list(budgets.broken(budgets.Size("a.py", 601, 0, is_function=False))) == ["a.py: 601 lines, at most 600"]
    assert list(budgets.broken(budgets.Size("a.py:f", 60, 3, is_function=True))) == []


def test_lines_of_functions_and_modules_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("x = 1\n\n\ndef f():\n    if x:\n        return 1\n    return 2\n")
    assert list(budgets.sizes(file, "a.py")) == [
        budgets.Size("a.py", 7, 0, is_function=False),
        budgets.Size("a.py:f", 4, 1, is_function=True),
    ]


def test_an_exception_that_is_not_needed_fails(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "budgets.py").write_text((REPO / "scripts" / "budgets.py").read_text())
    (tmp_path / "pyproject.toml").write_text('[tool.nowbridge.budgets]\n"src/gone.py" = "no reason left"\n')
    done = subprocess.run(
        (sys.executable, tmp_path / "scripts" / "budgets.py"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "src/gone.py: has an exception and needs none" in done.stdout
