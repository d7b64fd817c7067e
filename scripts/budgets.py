"""Hold the size budgets of CONTRIBUTING.md: lines per module, lines per function, nesting. Exit 1 when one is broken.

Parameters and complexity are held by ruff. Exceptions stand in pyproject.toml, [tool.nowbridge.budgets], with a reason.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
FOLDERS = ("src", "tests", "benchmarks", "scripts")

MODULE_LINES = 400
MODULE_LINES_HARD = 600
FUNCTION_LINES = 40
FUNCTION_LINES_HARD = 60
LONG_FUNCTIONS_SHARE = 0.02
NESTING = 3

BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Size:
    """A module or function: `name` is its path, and for a function `path:name`."""

    name: str
    lines: int
    nesting: int
    is_function: bool


def depth(node: ast.AST, now: int = 0) -> int:
    """How many blocks stand inside each other. `elif` counts as its `if`; functions inside are counted for themselves."""
    deepest = now
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        is_elif = isinstance(child, ast.If) and isinstance(node, ast.If) and node.orelse == [child]
        deepest = max(deepest, depth(child, now + (isinstance(child, BLOCKS) and not is_elif)))
    return deepest


def sizes(path: Path, name: str) -> Iterator[Size]:
    text = path.read_text(encoding="utf-8")
    yield Size(name, text.count("\n"), 0, is_function=False)
    for node in ast.walk(ast.parse(text, filename=name)):
        if isinstance(node, Function):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield Size(f"{name}:{node.name}", lines, depth(node), is_function=True)


def broken(size: Size) -> Iterator[str]:
    limit = FUNCTION_LINES_HARD if size.is_function else MODULE_LINES_HARD
    if size.lines > limit:
        yield f"{size.name}: {size.lines} lines, at most {limit}"
    if size.nesting > NESTING:
        yield f"{size.name}: {size.nesting} blocks inside each other, at most {NESTING}"


def main() -> int:
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))
    allowed: dict[str, str] = project.get("tool", {}).get("nowbridge", {}).get("budgets", {})
    measured = [
        size
        for folder in FOLDERS
        for path in sorted((REPO / folder).rglob("*.py"))
        for size in sizes(path, path.relative_to(REPO).as_posix())
    ]
    faults = [fault for size in measured if size.name not in allowed for fault in broken(size)]
    faults += [f"{name}: has an exception and needs none" for name in sorted(set(allowed) - {s.name for s in measured})]
    functions = [size for size in measured if size.is_function]
    long = [size for size in functions if size.lines > FUNCTION_LINES]
    if len(long) > LONG_FUNCTIONS_SHARE * len(functions):
        names = ", ".join(f"{size.name} ({size.lines})" for size in long)
        faults.append(f"{len(long)} of {len(functions)} functions exceed {FUNCTION_LINES} lines, at most 2 %: {names}")
    for fault in faults:
        print(fault)
    print(f"{len(measured) - len(functions)} modules, {len(functions)} functions; above the wish: {_above(measured)}")
    return 1 if faults else 0


def _above(measured: list[Size]) -> str:
    modules = [size for size in measured if not size.is_function and size.lines > MODULE_LINES]
    return ", ".join(f"{size.name} ({size.lines})" for size in modules) or "none"


if __name__ == "__main__":
    sys.exit(main())
