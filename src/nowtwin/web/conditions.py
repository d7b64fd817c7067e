"""An encoded query in words, for the line above a list: each condition with the query up to it."""

from collections.abc import Iterator
from dataclasses import dataclass

from nowtwin.instance import Instance
from nowtwin.query.fields import Field
from nowtwin.query.parse import Condition, Query, Term, TextSearch, parse
from nowtwin.reading.display import Displays
from nowtwin.web.reading import column_at, label_at

_WORDS = {
    "=": "=", "!=": "is not", "LIKE": "contains", "NOT LIKE": "does not contain", "STARTSWITH": "starts with",
    "ENDSWITH": "ends with", "IN": "is one of", "NOT IN": "is not one of", "ISEMPTY": "is empty",
    "ISNOTEMPTY": "is not empty", "INSTANCEOF": "is a", "BETWEEN": "is between", "ON": "on", "NOTON": "not on",
    "SAMEAS": "is same as", "NSAMEAS": "is different from", "ANYTHING": "is anything", "EMPTYSTRING": "is empty string",
}  # fmt: skip
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Step:
    text: str
    query: str


def worded(instance: Instance, table: str, query: str) -> list[Step]:
    """One step per condition; sorting is left out of the words and of the queries."""
    steps: list[Step] = []
    passed: list[str] = []
    for part in (part for part in query.split("^") if part and part != "EQ" and not part.startswith("ORDERBY")):
        passed.append(part)
        joint, rest = _joint(part) if steps else ("", part)
        steps.append(Step(_shortened(joint + _condition(instance, table, rest)), "^".join(passed)))
    return steps


def _joint(part: str) -> tuple[str, str]:
    if part.startswith("NQ"):
        return "or else ", part.removeprefix("NQ")
    return ("or ", part.removeprefix("OR")) if part.startswith("OR") else ("", part)


def _condition(instance: Instance, table: str, part: str) -> str:
    found = [condition for group in parse(part).groups for clause in group for condition in clause]
    if len(found) != 1 or not isinstance(found[0], Term | TextSearch):
        return part
    condition = found[0]
    if isinstance(condition, TextSearch):
        return f"Text = {' '.join(condition.words)}"
    label = label_at(instance.dictionary, table, condition.field)
    operator = _WORDS.get(condition.operator, condition.operator)
    return f"{label} {operator} {_value(instance, table, condition)}".rstrip()


def _value(instance: Instance, table: str, term: Term) -> str:
    column = column_at(instance.dictionary, table, term.field)
    if column is None or "javascript:" in term.value or not term.value:
        return term.value or ("(empty)" if term.operator == "=" else "")
    listed = term.operator in {"IN", "NOT IN"}
    if term.operator not in {"=", "!=", "INSTANCEOF"} and not listed:
        return term.value
    values = term.value.split(",") if listed else [term.value]
    displays = Displays(instance.dictionary, instance.storage, instance.switches, instance.acting("admin"))
    shown = displays.texts(Field("", column, column.table), values)
    return ", ".join(shown.get(value) or value for value in values)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def unknown_columns(instance: Instance, table: str, query: Query) -> list[str]:
    """Columns of a query's conditions that the table does not have; such conditions are left out (2.4)."""
    fields = (term.field for term in _terms(query))
    return list(dict.fromkeys(f for f in fields if column_at(instance.dictionary, table, f) is None))


def _terms(query: Query) -> Iterator[Term]:
    conditions: Iterator[Condition] = (c for group in query.groups for clause in group for c in clause)
    for condition in conditions:
        if isinstance(condition, Term) and not condition.field.startswith("sys_tags"):
            yield condition
