"""Encoded queries (`sysparm_query`) as values: parse a user's filter, add conditions, order it.

A filter is `groups` joined by `^NQ` (OR between groups); encoded queries have no parentheses, so a condition that must
hold for all rows is repeated in every group. A user's conditions are passed unchanged; only his `ORDERBY`, `GROUPBY`
and end mark `^EQ` are left out, because the order decides whether a sweep is complete. Grammar: servicenow-api.md 2.

What cannot be expressed is refused, never mangled: there is no escape for `^` in a value, `,` in `IN` or a leading
`javascript:`, which the instance would run (servicenow-api.md 2.5, 2.6).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nowbridge.model.errors import Park, Stop

if TYPE_CHECKING:
    from collections.abc import Iterable

_BRANCH = "NQ"
_CLAUSES = ("ORDERBYDESC", "ORDERBY", "GROUPBY")
_STRUCTURE = re.compile(r"\^\^(?:NQ|ORDERBY|GROUPBY|EQ$)")
_STAMP = "%Y-%m-%d %H:%M:%S"
_COLUMN = re.compile(r"(?:OR)?([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*)(.*)", re.DOTALL)
_OTHER_COLUMN = re.compile(r"(?:N?SAMEAS|[LG]T(?:_OR_EQUALS)?_FIELD|MORETHAN|LESSTHAN)([a-z][a-z0-9_.]*)")


@dataclass(frozen=True, slots=True)
class Query:
    """`groups` are the OR-ed branches without order; no group at all means every row of the table."""

    groups: tuple[str, ...] = ()
    order: tuple[str, ...] = ()

    def where(self, *conditions: str) -> Query:
        """The same query and all of `conditions`, in every branch."""
        added = "^".join(condition for condition in conditions if condition)
        if not added:
            return self
        groups = tuple(f"{group}^{added}" for group in self.groups) or (added,)
        return Query(groups, self.order)

    def ordered(self, *columns: str) -> Query:
        """The same query in ascending order of `columns`, in place of any order it had."""
        return Query(self.groups, columns)

    @property
    def text(self) -> str:
        """As `sysparm_query` wants it, not yet percent-encoded."""
        order = [f"ORDERBY{column}" for column in self.order]
        return "^".join(part for part in ("^NQ".join(self.groups), *order) if part)


EVERYTHING = Query()


def parse(text: str) -> Query:
    """A user's filter. Raises Stop `query.ambiguous` where two readings of it would give different rows."""
    return Query(split_groups(text))


def split_groups(text: str) -> tuple[str, ...]:
    """The `^NQ` branches of a filter, without order and end mark; `()` for a filter without conditions."""
    if _STRUCTURE.search(text):
        raise _ambiguous("`^^` before a keyword can be an escaped `^` or an empty condition")
    groups: list[list[str]] = [[]]
    for term in _terms(text):
        if term.startswith(_BRANCH):
            groups.append([])
            term = term.removeprefix(_BRANCH)  # noqa: PLW2901  (the rest of the term is the branch's first condition)
        if term and term != "EQ" and not term.startswith(_CLAUSES):
            groups[-1].append(term)
    branches = tuple("^".join(terms) for terms in groups)
    if len(branches) == 1:
        return branches if branches[0] else ()
    if not all(branches):
        raise _ambiguous("a `^NQ` branch without conditions can mean every row or none")
    return branches


def lasting(query: Query) -> Query:
    """The query without its terms relative to now (a script, `RELATIVE...`): they limit what is fetched, never what is
    kept. A term goes together with the others of its `^OR` chain, so the result finds at least the same rows.
    """
    groups: list[str] = []
    for group in query.groups:
        chains: list[list[str]] = []
        for term in _terms(group):
            if term.startswith("OR") and chains:
                chains[-1].append(term)
            else:
                chains.append([term])
        kept = [term for chain in chains if not any(map(_is_relative, chain)) for term in chain]
        if not kept:
            return EVERYTHING
        groups.append("^".join(kept))
    return Query(tuple(groups), query.order)


def is_relative(query: Query) -> bool:
    """Whether what the query finds depends on when it is asked."""
    return any(_is_relative(term) for group in query.groups for term in _terms(group))


def _is_relative(term: str) -> bool:
    return "javascript:" in term.lower() or "RELATIVE" in term


def and_(base: Query, condition: str) -> Query:
    return base.where(condition)


def equals(column: str, value: str) -> str:
    """`column=value`; an empty value finds empty columns."""
    return f"{column}={_expressible(column, value)}"


def one_of(column: str, values: Iterable[str]) -> str:
    """`columnINa,b,c`. Raises Park `query.inexpressible` for a value with a comma and for no value at all."""
    listed = [_expressible(column, value, forbidden="^,") for value in values]
    if not listed or not all(listed):
        raise _inexpressible(column, "an empty list or an empty member")
    return f"{column}IN{','.join(listed)}"


def after(column: str, value: str) -> str:
    return f"{column}>{_expressible(column, value)}"


def until(column: str, value: str) -> str:
    return f"{column}<={_expressible(column, value)}"


def stamp(moment: datetime) -> str:
    """A moment as queries and values write it: UTC, whole seconds (servicenow-api.md 1.3)."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone cannot be compared with ServiceNow's")
    return moment.astimezone(UTC).strftime(_STAMP)


def read_stamp(text: str) -> datetime:
    """The moment that a date-time column holds. Raises ValueError when the text is not `yyyy-MM-dd HH:mm:ss`."""
    return datetime.strptime(text, _STAMP).replace(tzinfo=UTC)


def columns_named(query: str) -> set[str]:
    """Columns that a query compares or orders by, dot-walked ones whole (`caller_id.company`).

    For warnings: ServiceNow drops a condition on a column that it does not know and answers with too many rows
    (servicenow-api.md 2.4). Full-text, tag and sub-query terms name no column of the table and are left out.
    """
    named: set[str] = set()
    for term in _terms(query):
        bare = term.removeprefix(_BRANCH)
        if bare.startswith(("RLQUERY", "JOIN", "123TEXT", "sys_tags.")) or bare == "EQ":
            continue
        for clause in _CLAUSES:
            bare = bare.removeprefix(clause)
        if (match := _COLUMN.match(bare)) is not None:
            named.add(match[1])
            if (other := _OTHER_COLUMN.match(match[2])) is not None:
                named.add(other[1].rstrip("."))
    return named


def _terms(text: str) -> list[str]:
    """The parts between `^`; a related-list query (`RLQUERY…^ENDRLQUERY`) stays in one piece."""
    terms: list[str] = []
    inside = False
    for part in text.split("^"):
        if inside:
            terms[-1] += f"^{part}"
            inside = part != "ENDRLQUERY"
        else:
            terms.append(part)
            inside = part.removeprefix(_BRANCH).removeprefix("OR").startswith("RLQUERY")
    return terms


def _expressible(column: str, value: str, forbidden: str = "^") -> str:
    if any(mark in value for mark in forbidden):
        raise _inexpressible(column, f"one of the characters {forbidden}")
    if value.lower().lstrip().startswith("javascript:"):
        raise _inexpressible(column, "a leading `javascript:`, which the instance would run")
    if value == "NULL":
        raise _inexpressible(column, "the reserved word NULL")
    return value


def _inexpressible(column: str, what: str) -> Park:
    return Park(
        "query.inexpressible",
        asked=f"compare {column} in a ServiceNow query",
        answered=f"the value holds {what}",
        hint="ServiceNow has no way to quote it; match on another column or change the value.",
    )


def _ambiguous(why: str) -> Stop:
    return Stop("query.ambiguous", asked="read a filter", answered=why, hint="Write the filter without it.")
