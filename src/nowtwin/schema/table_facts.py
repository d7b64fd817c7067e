"""Tables written as facts: data/tables/*.toml as a schema document, and where each table's facts were found.

The form is told in data/tables/README.md. Nothing is guessed here: a line that does not fit the form is a ValueError
that names file, table and line, so that a slip shows in the first test and not in an answer.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

_CLASSES: Final = "classes"
_GAP: Final = "  "
_FLAGS: Final = frozenset({"mandatory", "read_only", "unique"})
_RETIRED: Final = "retired"
"""Of a column that its table has not, though tables of its kind have it."""
_OPTIONS: Final = frozenset({"choice", "default", "dependent", "reference_key"})
_LENGTHS: Final[Mapping[str, int]] = {"string": 40, "reference": 32, "document_id": 32, "table_name": 80}
_OPEN_LIST: Final = 1
"""`sys_dictionary.choice` of a column with a list and no word about its kind: a drop-down with --None--."""

Entry = dict[str, Any]


@cache
def _documents() -> Mapping[str, Mapping[str, Any]]:
    folder = files("nowtwin") / "data" / "tables"
    found = sorted((item.name, item) for item in folder.iterdir() if item.name.endswith(".toml"))
    return {name: tomllib.loads(item.read_text("utf-8")) for name, item in found}


def written_schema() -> Entry:
    """All written tables in the form of a schema document (`tables`, `columns`, `choices`)."""
    schema: Entry = {"tables": [], "columns": [], "choices": []}
    for name, document in _documents().items():
        for table, facts in document.items():
            if table == _CLASSES:
                schema["tables"] += [entry for entry, _ in _classes(name, facts)]
            else:
                _add(schema, f"{name} [{table}]", table, facts)
    return schema


def sources() -> dict[str, str]:
    """Where the facts about each written table were found, by table."""
    found: dict[str, str] = {}
    for name, document in _documents().items():
        for table, facts in document.items():
            if table == _CLASSES:
                found |= {entry["name"]: source for entry, source in _classes(name, facts)}
            else:
                found[table] = facts["source"]
    return found


def _classes(place: str, facts: Mapping[str, Any]) -> Iterator[tuple[Entry, str]]:
    for line in _lines(facts["list"]):
        tree, _, label = line.partition(_GAP)
        name, arrow, parent = tree.partition(" < ")
        if not arrow or not label:
            raise ValueError(f"{place} [{_CLASSES}]: expected `table < parent  Label`, got {line!r}")
        yield {"name": name, "super_class": parent, "label": label.strip(), "extensible": True}, facts["source"]


def _add(schema: Entry, place: str, table: str, facts: Mapping[str, Any]) -> None:
    schema["tables"].append(
        {
            "name": table,
            "label": facts.get("label"),
            "super_class": facts.get("parent"),
            "display": facts.get("display"),
            "extensible": facts.get("extensible"),
            "audit": facts.get("audit"),
            "number_prefix": facts.get("number"),
        }
    )
    lists: Mapping[str, str] = facts.get("choices", {})
    schema["columns"] += [_column(place, table, line, lists) for line in _lines(facts.get("columns", ""))]
    for element, listed in lists.items():
        schema["choices"] += _choices(table, element, listed)


def _lines(text: str) -> Iterable[str]:
    return filter(None, map(str.strip, text.splitlines()))


def _column(place: str, table: str, line: str, lists: Mapping[str, str]) -> Entry:
    parts = [part.strip() for part in line.split(_GAP) if part.strip()]
    if len(parts) < 2:  # noqa: PLR2004 - a name and a type
        raise ValueError(f"{place}: expected `element  type  Label  options`, got {line!r}")
    element, kind, *rest = parts
    internal_type, _, reference = kind.partition(">")
    internal_type, _, length = internal_type.partition("(")
    entry: Entry = {"table": table, "element": element, "internal_type": internal_type}
    entry["max_length"] = int(length.rstrip(")")) if length else _LENGTHS.get(internal_type)
    entry |= {"reference": reference} if reference else {}
    entry |= {"choice": _OPEN_LIST} if element in lists else {}
    for part in rest:
        entry |= _option(place, part)
    return entry


def _option(place: str, part: str) -> Entry:
    """A label, or options set apart by single spaces (a default may hold spaces and comes last)."""
    name, equals, value = part.partition("=")
    if part in _FLAGS:
        return {part: True}
    if part == _RETIRED:
        return {"active": False}
    if not equals or name not in _OPTIONS:
        if equals:
            raise ValueError(f"{place}: there is no option {name!r}")
        return {"label": part}
    if name != "choice":
        return {name: value}
    digits, _, more = value.partition(" ")
    return {"choice": int(digits)} | (_option(place, more) if more else {})


def _choices(table: str, element: str, listed: str) -> Iterator[Entry]:
    for sequence, pair in enumerate(listed.split(";")):
        value, _, label = pair.strip().partition("=")
        entry = {"table": table, "element": element, "value": value, "label": label or value}
        yield entry | {"sequence": sequence}
