"""docs/errors.md and the code name the same errors, with the same reactions."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from nowbridge.model import errors

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"[a-z]+\.[a-z_]+")
REACTIONS = {
    kind.__name__: kind.reaction
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.NowbridgeError) and kind is not errors.NowbridgeError
}


def raised(tree: ast.AST) -> set[tuple[str, str]]:
    """(code, reaction) of each call to an error class, or to a module's own shorthand for one (`_stop` for Stop)."""
    kinds = REACTIONS | {f"_{name.lower()}": reaction for name, reaction in REACTIONS.items()}
    found = set()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds and node.args):
            continue
        code = node.args[0]
        if isinstance(code, ast.Constant) and isinstance(code.value, str):
            assert CODE.fullmatch(code.value), f"{code.value} is not a code"
            found.add((code.value, kinds[node.func.id]))
    return found | handed(tree, kinds) | stored(tree)


def handed(tree: ast.AST, kinds: dict[str, str]) -> set[tuple[str, str]]:
    """The codes that reach an error class by a function with a keyword `code`: its default, and what it is called with."""
    makers: dict[str, str] = {}
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef) or "code" not in [word.arg for word in node.args.kwonlyargs]:
            continue
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in kinds:
                makers[node.name] = kinds[call.func.id]
        defaults = {word.arg: value for word, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)}
        if node.name in makers and isinstance(default := defaults["code"], ast.Constant):
            found.add((str(default.value), makers[node.name]))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in makers:
            codes = [word.value for word in node.keywords if word.arg == "code"]
            found |= {(str(code.value), makers[node.func.attr]) for code in codes if isinstance(code, ast.Constant)}
    return found


def stored(tree: ast.AST) -> set[tuple[str, str]]:
    """The codes of errors that are written down as what stops a table, without being raised."""
    return {
        (value.value, REACTIONS["Stop"])
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == "code" and isinstance(value, ast.Constant)
        if isinstance(value.value, str) and CODE.fullmatch(value.value)
    }


def documented() -> list[tuple[str, str]]:
    page = (ROOT / "docs" / "errors.md").read_text()
    return re.findall(r"^\| `([a-z._]+)` \| ([a-z ]+) \|", page, re.MULTILINE)


def test_every_code_that_is_raised_is_documented_with_its_reaction_and_no_other() -> None:
    in_code: set[tuple[str, str]] = set()
    for path in sorted((ROOT / "src" / "nowbridge").rglob("*.py")):
        in_code |= raised(ast.parse(path.read_text()))
    page = documented()
    assert len(page) == len({code for code, _ in page}), "a code is documented twice"
    assert in_code - set(page) == set(), "raised, but not in docs/errors.md"
    assert set(page) - in_code == set(), "in docs/errors.md, but never raised"


def test_every_reaction_is_explained() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    assert [reaction for reaction in REACTIONS.values() if f"\n| {reaction} |" not in page] == []
