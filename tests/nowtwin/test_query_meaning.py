"""The query language against a second, independent reading of it: every row is judged in Python, with SQL nowhere."""

import re
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nowtwin.instance import Instance
from nowtwin.query.parse import parse
from nowtwin.reading.pages import Wanted

pytestmark = pytest.mark.behaviour("2", evidence="documentation: r_OpAvailableFiltersQueries.md")

Row = Mapping[str, str]

_TEXTS = ["", "alpha", "Alpha", "beta", "alphabet", "a_b", "a%b"]
_NUMBERS = ["", "0", "2", "10", "-3"]
_DATES = ["", "2025-01-01 00:00:00", "2025-06-30 12:00:00"]
_COLUMNS = {
    "short_description": _TEXTS,
    "reassignment_count": _NUMBERS,
    "opened_at": _DATES,
    "active": ["", "true", "false"],
}

_rows = st.lists(
    st.fixed_dictionaries({column: st.sampled_from(values) for column, values in _COLUMNS.items()}),
    min_size=1,
    max_size=12,
)


def _value(column: str) -> st.SearchStrategy[str]:
    return st.sampled_from([value for value in _COLUMNS[column] if value])


def _terms() -> st.SearchStrategy[str]:
    def of(column: str) -> st.SearchStrategy[str]:
        value = _value(column)
        one = st.tuples(st.sampled_from(["=", "!="]), value).map(lambda p: f"{column}{p[0]}{p[1]}")
        none = st.sampled_from(["ISEMPTY", "ISNOTEMPTY", "="]).map(lambda op: f"{column}{op}")
        options = [one, none]
        if column != "active":
            ordered = st.tuples(st.sampled_from(["<", "<=", ">", ">="]), value)
            options.append(ordered.map(lambda p: f"{column}{p[0]}{p[1]}"))
            many = st.tuples(st.sampled_from(["IN", "NOT IN"]), st.lists(value, min_size=1, max_size=3))
            options.append(many.map(lambda p: f"{column}{p[0]}{','.join(p[1])}"))
            options.append(st.tuples(value, value).map(lambda p: f"{column}BETWEEN{p[0]}@{p[1]}"))
        if column == "short_description":
            words = st.tuples(st.sampled_from(["LIKE", "NOT LIKE", "STARTSWITH", "ENDSWITH"]), value)
            options.append(words.map(lambda p: f"{column}{p[0]}{p[1]}"))
        return st.one_of(options)

    return st.one_of([of(column) for column in _COLUMNS] + [st.just("no_such_column=1")])


_joins = st.sampled_from(["^", "^OR", "^NQ"])
_queries = st.tuples(_terms(), st.lists(st.tuples(_joins, _terms()), max_size=5)).map(
    lambda p: p[0] + "".join(join + term for join, term in p[1])
)


def _key(column: str, text: str) -> str | float:
    return float(text) if column == "reassignment_count" else text.lower()


def _term_holds(row: Row, term: str) -> bool | None:
    """Whether a row meets a term; None where the term counts for nothing."""
    found = re.fullmatch(
        r"([a-z_]+)(NOT LIKE|NOT IN|LIKE|STARTSWITH|ENDSWITH|BETWEEN|ISEMPTY|ISNOTEMPTY|IN|!=|<=|>=|=|<|>)(.*)", term
    )
    assert found
    column, operator, value = found.groups()
    if column not in _COLUMNS:
        return None
    text = row[column]
    if operator == "ISEMPTY" or (operator == "=" and not value):
        return text == ""
    if operator == "ISNOTEMPTY":
        return text != ""
    if column == "active":
        return ((text == "true") == (value == "true")) if operator == "=" else text != value
    return text != "" and _meets(column, text, operator, value)


def _meets(column: str, text: str, operator: str, value: str) -> bool:
    """Comparison of a filled value."""
    own = _key(column, text)
    if operator in {"LIKE", "NOT LIKE", "STARTSWITH", "ENDSWITH"}:
        shown, part = text.lower(), value.lower()
        tests = {"LIKE": part in shown, "NOT LIKE": part not in shown}
        tests |= {"STARTSWITH": shown.startswith(part), "ENDSWITH": shown.endswith(part)}
        return tests[operator]
    if operator in {"IN", "NOT IN"}:
        return (own in {_key(column, part) for part in value.split(",")}) == (operator == "IN")
    if operator == "BETWEEN":
        low, high = (_key(column, part) for part in value.split("@"))
        return low <= own <= high  # type: ignore[operator]
    other = _key(column, value)
    order = {"=": own == other, "!=": own != other}
    order |= {"<": own < other, "<=": own <= other, ">": own > other, ">=": own >= other}  # type: ignore[operator]
    return order[operator]


def _query_holds(row: Row, query: str) -> bool:
    """`^NQ` over `^` over `^OR`, terms that count for nothing taken out."""
    verdicts = []
    for group in query.split("^NQ"):
        clauses = []
        for clause in re.split(r"\^(?!OR)", group):
            terms = [_term_holds(row, term) for term in clause.split("^OR")]
            known = [verdict for verdict in terms if verdict is not None]
            if known:
                clauses.append(any(known))
        verdicts.append(all(clauses))
    return any(verdicts)


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with Instance() as made:
        yield made


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=_rows, query=_queries)
def test_a_query_finds_the_rows_that_meet_it(instance: Instance, rows: list[Row], query: str) -> None:
    with instance.storage.lock:
        for sys_id in [row["sys_id"] for row in instance.export("incident")]:
            instance.storage.delete("task", sys_id)
    instance.load("incident", [{"sys_id": f"{n:032x}", **row} for n, row in enumerate(rows)])
    moment = instance.moment(instance.acting("admin"))
    wanted = Wanted("incident", parse(query), moment)
    page = instance.reader.page(wanted, ["sys_id"], instance.switches)
    expected = {f"{n:032x}" for n, row in enumerate(rows) if _query_holds(row, query)}
    assert set(page.sys_ids) == expected
    assert instance.reader.count(wanted, instance.switches) == len(expected)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(alphabet=st.characters(codec="utf-8"), max_size=60)
    | st.text("^=<>!*%@,.ORNQINLIKEstate1 'js:", max_size=60)
)
def test_no_text_makes_the_reader_or_the_database_fail(instance: Instance, query: str) -> None:
    wanted = Wanted("incident", parse(query), instance.moment(instance.acting("admin")))
    instance.reader.page(wanted, ["sys_id"], instance.switches, limit=1)
    assert instance.reader.count(wanted, instance.switches) >= 0
