"""Say which requirements have a test, and hold the ones that are claimed.

Ids stand in docs/requirements.txt. A test claims them with `@pytest.mark.req("H53", "H54")`; findings of the design
experiments likewise with `@pytest.mark.trap("4")`, which is only reported. Tests are read, not run.

    scripts/requirements.py [--require ID,ID...] [--missing]

Exit 1 when a test names an unknown id, or when an id in docs/requirements-claimed.txt or --require has no test.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent


def listed(file: Path) -> tuple[str, ...]:
    """The ids of a file, in its order. `#` begins a comment."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return tuple(word for line in lines for word in line.partition("#")[0].split())


def marked(marker: str, source: str, name: str) -> Iterator[tuple[str, str]]:
    """Each id in a use of the marker, with where it stands."""
    for node in ast.walk(ast.parse(source, filename=name)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != marker:
            continue
        if not isinstance(node.func.value, ast.Attribute) or node.func.value.attr != "mark":
            continue
        for argument in node.args:
            where = f"{name}:{node.lineno}"
            if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
                raise SystemExit(
                    f"{where}: the ids of {marker} are written out as strings, so that they can be read here"
                )
            yield argument.value, where


def tests_of(marker: str, folder: Path) -> dict[str, list[str]]:
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for identifier, where in marked(marker, source, path.relative_to(folder.parent).as_posix()):
            places[identifier].append(where)
    return dict(places)


def by_letter(identifiers: Iterable[str]) -> dict[str, list[str]]:
    letters: dict[str, list[str]] = defaultdict(list)
    for identifier in identifiers:
        letters[identifier[0]].append(identifier)
    return dict(letters)


def ranges(identifiers: list[str]) -> str:
    """`H1-H4 H7`: runs of neighbours written as one."""
    runs: list[list[int]] = []
    for number in sorted(int(identifier[1:]) for identifier in identifiers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    letter = identifiers[0][0] if identifiers else ""
    return " ".join(f"{letter}{a}" if a == b else f"{letter}{a}-{letter}{b}" for a, b in runs)


def main() -> int:
    parser = argparse.ArgumentParser(description="Which requirements have a test.")
    parser.add_argument(
        "--require", default="", metavar="ID,ID", help="ids that must have a test, besides the claimed ones"
    )
    parser.add_argument("--missing", action="store_true", help="also list the ids without a test")
    options = parser.parse_args()

    known = listed(REPO / "docs" / "requirements.txt")
    claimed = {*listed(REPO / "docs" / "requirements-claimed.txt"), *options.require.replace(",", " ").split()}
    tests = tests_of("req", REPO / "tests")
    for letter, all_of in by_letter(known).items():
        missing = [identifier for identifier in all_of if identifier not in tests]
        print(f"{letter}: {len(all_of) - len(missing):3} of {len(all_of):3}", end="")
        print(f"   without a test: {ranges(missing)}" if options.missing and missing else "")
    print(
        f"all: {len(set(known) & set(tests))} of {len(known)}; traps with a test: {len(tests_of('trap', REPO / 'tests'))}"
    )

    unknown = {identifier: places for identifier, places in tests.items() if identifier not in known}
    for identifier, places in unknown.items():
        print(f"{places[0]}: no requirement is called {identifier}")
    untested = sorted(claimed - set(tests))
    for identifier in untested:
        print(f"{identifier} is claimed and has no test" + ("" if identifier in known else " (and is not known)"))
    return 1 if unknown or untested else 0


if __name__ == "__main__":
    sys.exit(main())
