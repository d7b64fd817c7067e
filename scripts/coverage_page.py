"""Write docs/COVERAGE.md: what nowtwin does, how that is known, which test shows it, and what can be switched.

    scripts/coverage_page.py            writes the page
    scripts/coverage_page.py --check    says what is wrong instead; exit 1 if anything is

The page is made of what the code and its tests say about themselves; nothing here runs a test:

- `@pytest.mark.behaviour(section, evidence=..., switch=...)` on tests of nowtwin, or as `pytestmark` for all of a module;
- the fields of `nowtwin.switches.Switches` with their texts;
- the sources of the shipped data, and the marks of data/access.toml.

Wrong is: a module of tests/nowtwin without any mark, evidence of no known kind, an unknown switch, a switch that no test
of nowtwin names, and an old page.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import json
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
PAGE = REPO / "docs" / "COVERAGE.md"
TESTS = ("tests/nowtwin", "tests/nowtwin_judges", "tests/nowtwin_seeds")
FIDELITY = REPO / TESTS[0] / "fidelity.toml"
OWN = ("test_control_reference.py", "test_pytest_plugin.py", "test_serve_command.py", "test_snapshots.py")
"""Tests of what only nowtwin has and an instance has not; there is no evidence for it to name."""
DATA = REPO / "src" / "nowtwin" / "data"
KINDS = ("documentation", "recorded exchange", "measured by others", "assumption")
_ACCESS_MARKS = {"doc": "documentation", "measured": "measured by others", "assumed": "assumption"}
_SECTIONS = re.compile(r"[\d.]+(, [\d.]+)*")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One marked test; `sections` are those of servicenow-api.md, the notes that nowtwin is built from."""

    sections: str
    text: str
    evidence: str
    test: str
    switches: tuple[str, ...] = ()

    def kinds(self) -> list[str]:
        return [part.partition(":")[0].strip() for part in self.evidence.split(";")]


@dataclass(frozen=True, slots=True)
class Switch:
    name: str
    default: str
    text: str


# -- what tests say ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """What the notes list as surprising, how nowtwin does it, and the tests that show it (full names)."""

    section: str
    text: str
    how: str
    tests: tuple[str, ...]


def fidelity() -> list[Item]:
    """The lines of tests/nowtwin/fidelity.toml, in their order."""
    sections = tomllib.loads(FIDELITY.read_text(encoding="utf-8"))
    lines = ((section, *line) for section, items in sections.items() for line in items.items())
    return [Item(section, text, how, tuple(map(_full_name, tests))) for section, text, (how, *tests) in lines]


def _full_name(test: str) -> str:
    file, _, name = test.partition("::")
    return f"{TESTS[0]}/test_{file}.py::test_{name}"


def test_files() -> list[Path]:
    return [path for folder in TESTS for path in sorted((REPO / folder).glob("test_*.py"))]


def behaviours() -> list[Behaviour]:
    return [found for path in test_files() for found in _marked(path)]


def _marked(path: Path) -> Iterator[Behaviour]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    place = path.relative_to(REPO).as_posix()
    common = next((_mark(node.value) for node in tree.body if _is_pytestmark(node)), None)  # type: ignore[attr-defined]
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
            continue
        own = next(filter(None, map(_mark, node.decorator_list)), common)
        if own is None:
            continue
        sections, evidence, switch = own
        text = node.name.removeprefix("test_").replace("_", " ")
        yield Behaviour(sections, text[:1].upper() + text[1:], evidence, f"{place}::{node.name}", switch)


def _is_pytestmark(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "pytestmark"


def _mark(node: ast.expr) -> tuple[str, str, tuple[str, ...]] | None:
    """Section, evidence and switches of a `pytest.mark.behaviour(...)`, alone or in a list of marks."""
    if isinstance(node, ast.List):
        return next(filter(None, map(_mark, node.elts)), None)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "behaviour"):
        return None
    said = {word.arg: ast.literal_eval(word.value) for word in node.keywords}
    return ast.literal_eval(node.args[0]), said["evidence"], tuple(said.get("switch", "").split())


# -- what the code says --------------------------------------------------------------------------------------------


def switches() -> list[Switch]:
    """The fields of Switches with their defaults and the texts below them."""
    tree = ast.parse((REPO / "src" / "nowtwin" / "behaviour" / "switches.py").read_text(encoding="utf-8"))
    (body,) = [node.body for node in tree.body if isinstance(node, ast.ClassDef)]
    found = []
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            default = ast.unparse(field.value) if field.value else ""
            found.append(Switch(field.target.id, default, " ".join(str(text.value.value).split())))
    return found


def tests_that_name(switch: str, marked: Iterable[Behaviour]) -> list[str]:
    """Tests marked with a switch; else the files of tests that set it."""
    tests = [behaviour.test for behaviour in marked if switch in behaviour.switches]
    if tests:
        return tests
    word = re.compile(rf"\b{switch}\b")
    return [path.relative_to(REPO).as_posix() for path in test_files() if word.search(path.read_text(encoding="utf-8"))]


def access_rules() -> Iterator[tuple[str, str, str]]:
    """Operation or `role`, object with its roles, and evidence: the lines of data/access.toml."""
    sys.path.insert(0, str(REPO / "src"))
    from nowtwin.access.shipped import marked_lines

    for section, name, value, mark in marked_lines():
        words = re.sub(r"[\[\]\"]", "", value)
        yield section, f"`{name}`" + (f": {words}" if words else ""), _ACCESS_MARKS.get(mark, "assumption")


def written_tables() -> dict[str, list[str]]:
    """Tables written as facts, by source."""
    sys.path.insert(0, str(REPO / "src"))
    from nowtwin.schema.table_facts import sources

    found: dict[str, list[str]] = defaultdict(list)
    for table, source in sources().items():
        found[source].append(table)
    return dict(found)


def declared_tables() -> dict[str, list[str]]:
    """Tables of the packages' schema and of the hand-written supplements, by file."""
    found = {}
    for path in sorted(DATA.glob("*schema*.json.gz")):
        found[path.name] = [table["name"] for table in json.loads(gzip.decompress(path.read_bytes()))["tables"]]
    for path in sorted(DATA.glob("supplement*.json")):
        found[path.name] = [table["name"] for table in json.loads(path.read_bytes()).get("tables", ())]
    return found


# -- the page ------------------------------------------------------------------------------------------------------


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [_row(*head), _row(*("---" for _ in head)), *(_row(*row) for row in rows), ""]


def _order(behaviour: Behaviour) -> tuple[list[int], str]:
    first = behaviour.sections.partition(",")[0]
    return [int(number) for number in first.split(".") if number], behaviour.test


def _behaviour_lines(marked: list[Behaviour]) -> Iterator[str]:
    """A table per module of tests, modules in the order of the notes' sections, judges last."""
    modules = {path: list(group) for path, group in groupby(sorted(marked, key=lambda b: b.test), key=_module)}
    for path in sorted(modules, key=lambda path: ("judges" in path, min(map(_order, modules[path])))):
        yield f"### `{path}`"
        yield ""
        yield from _about(REPO / path)
        rows = (
            (b.sections, b.text, b.evidence, ", ".join(f"`{s}`" for s in b.switches))
            for b in sorted(modules[path], key=_order)
        )
        yield from _table(("section", "behaviour (test)", "evidence", "switch"), rows)


def _module(behaviour: Behaviour) -> str:
    return behaviour.test.partition("::")[0]


def _about(path: Path) -> Iterator[str]:
    """The first paragraph of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    if first := text.partition("\n\n")[0]:
        yield from first.splitlines()
        yield ""


def page() -> str:
    marked = sorted(behaviours(), key=_order)
    counts = {kind: sum(kind in behaviour.kinds() for behaviour in marked) for kind in KINDS}
    lines = [
        "# What nowtwin does, and how that is known",
        "",
        "Made by `scripts/coverage_page.py` out of the marks on the tests, the switches and the shipped data; do not edit.",
        "",
        "Evidence is of four kinds. *Documentation* is ServiceNow's own (the name of the page is given), *recorded exchange* an",
        "answer of a real instance or tool, *measured by others* what authors of clients report from real instances (LH: Lighthouse",
        "on a developer instance, release Australia; SL: snowloader; PySNC: ServiceNow's client and its tests; ITSM: the certified",
        "Ansible collection; CDAP: the plugins of Cloud Data Fusion), *assumption* what nothing public settles. Every",
        "assumption that matters to a client is a switch. Sections are those of the notes the emulator is built from. A behaviour",
        "is the name of the test that shows it: `test_` and the words with `_` between them.",
        "",
        f"{len(marked)} behaviours: " + ", ".join(f"{count} with {kind}" for kind, count in counts.items()) + ".",
        "",
        "## Behaviours",
        "",
    ]
    lines += _behaviour_lines(marked)
    return "\n".join(lines + _item_lines() + _switch_lines(marked) + _access_lines() + _data_lines())


def _item_lines() -> list[str]:
    rows = (
        (item.section, item.text, item.how, ", ".join(f"`{Path(test).name}`" for test in item.tests))
        for item in fidelity()
    )
    return [
        "## What surprises, item by item",
        "",
        "What the notes list of misleading answers, lost deletes and changes, limits and fidelity traps: how nowtwin does each (by",
        "itself, as a fault that can be asked for, as an operation of the control API) and the tests that show it.",
        "",
        *_table(("section", "item", "how", "tests"), rows),
    ]


def _switch_lines(marked: list[Behaviour]) -> list[str]:
    rows = (
        (f"`{s.name}`", f"`{s.default}`", s.text, ", ".join(f"`{test}`" for test in tests_that_name(s.name, marked)))
        for s in switches()
    )
    return [
        "## Switches",
        "",
        "What sources leave open, with the default that the evidence favours; read and set at `/_nowtwin/switches`.",
        "",
        *_table(("switch", "default", "what it decides", "tests"), rows),
    ]


def _access_lines() -> list[str]:
    return [
        "## Roles and rights",
        "",
        "Roles of a fresh instance (with the roles they contain) and what rules grant; all of it are records that can be changed.",
        "",
        *_table(("kind", "what", "evidence"), access_rules()),
    ]


def _data_lines() -> list[str]:
    declared = ((f"`{name}`", str(len(tables))) for name, tables in declared_tables().items())
    written = ((source, ", ".join(f"`{table}`" for table in tables)) for source, tables in written_tables().items())
    return [
        "## Tables",
        "",
        "Declared in files (sources and licences: `src/nowtwin/data/NOTICE.md`):",
        "",
        *_table(("file", "tables"), declared),
        "Written as facts, or given further columns, in `src/nowtwin/data/tables/` (`D:` is a page or folder of ServiceNow's",
        "documentation, `SDKCORE` ServiceNow's SDK, `code` names that stand in several public integrations, `untraced` general knowledge):",
        "",
        *_table(("source", "tables"), written),
    ]


def problems() -> list[str]:
    """What is wrong with the marks and the switches; the page itself is not looked at."""
    marked, known = behaviours(), {switch.name for switch in switches()}
    modules = {_module(behaviour) for behaviour in marked}
    unmarked = [
        path for path in (REPO / TESTS[0]).glob("test_*.py") if path.relative_to(REPO).as_posix() not in modules
    ]
    found = [f"{path.name} has no mark behaviour" for path in sorted(unmarked) if path.name not in OWN]
    for behaviour in marked:
        if not _SECTIONS.fullmatch(behaviour.sections):
            found.append(f"{behaviour.test}: {behaviour.sections!r} is no list of sections")
        found += [
            f"{behaviour.test}: {kind!r} is no kind of evidence" for kind in behaviour.kinds() if kind not in KINDS
        ]
        found += [f"{behaviour.test}: there is no switch {name}" for name in behaviour.switches if name not in known]
    tests = {behaviour.test for behaviour in marked}
    found += [
        f"{FIDELITY.name}: {test} is no marked test" for item in fidelity() for test in item.tests if test not in tests
    ]
    found += [
        f"no test of nowtwin names the switch {name}" for name in sorted(known) if not tests_that_name(name, marked)
    ]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Write docs/COVERAGE.md, or say what is wrong.")
    parser.add_argument("--check", action="store_true")
    found = problems()
    if parser.parse_args().check:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page():
            found.append(f"{PAGE.relative_to(REPO)} is old: run scripts/coverage_page.py")
    else:
        PAGE.write_text(page(), encoding="utf-8")
    print("\n".join(found) or f"{PAGE.relative_to(REPO)}: {len(behaviours())} behaviours, {len(switches())} switches")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
