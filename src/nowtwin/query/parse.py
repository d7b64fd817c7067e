"""Encoded query text to a syntax tree (servicenow-api.md 2.1 and 2.2). Pure: knows no tables.

A query is groups OR-ed (`^NQ`); a group is clauses AND-ed (`^`); a clause is terms OR-ed (`^OR`, which therefore binds
tighter). What cannot be read as a term is kept as an `Unreadable` mark, so the renderer can fail open or closed.
"""

import re
from dataclasses import dataclass

_WORDS = (
    "LT_OR_EQUALS_FIELD", "GT_OR_EQUALS_FIELD", "IN_HIERARCHY_DYNAMIC", "DOES NOT CONTAIN", "IN_HIERARCHY",
    "CHANGESFROM", "EMPTYSTRING", "ISNOTEMPTY", "STARTSWITH", "VALCHANGES", "INSTANCEOF", "DOESNOTHAVE", "RELATIVEEE",
    "RELATIVEGT", "RELATIVELT", "RELATIVEGE", "RELATIVELE", "EXCLUDING", "CHANGESTO", "NOT LIKE", "MORETHAN",
    "LESSTHAN", "ANYTHING", "ENDSWITH", "GT_FIELD", "LT_FIELD", "CONTAINS", "NOTLIKE", "BETWEEN", "ISEMPTY",
    "DATEPART", "NSAMEAS", "DYNAMIC", "NOT IN", "SAMEAS", "NOTON", "LIKE", "IN", "ON",
)  # fmt: skip
_SYMBOLS = ("!=", ">=", "<=", "!*", "=", ">", "<", "*", "%")
_TERM = re.compile(
    r"(?P<field>[A-Za-z0-9_.$]+?)(?P<operator>" + "|".join(map(re.escape, _WORDS + _SYMBOLS)) + r")(?P<value>.*)",
    re.DOTALL,
)
_SAME = {
    "*": "LIKE",
    "CONTAINS": "LIKE",
    "!*": "NOT LIKE",
    "NOTLIKE": "NOT LIKE",
    "DOES NOT CONTAIN": "NOT LIKE",
    "%": "ENDSWITH",
}
TEXT_QUERY = "123TEXTQUERY321"
_TEXT_GROUP = "123TEXTINDEXGROUP321"
"""Names the index that a text query goes to; every text column is looked at here, so it says nothing."""
_AFTER_JOIN = ("ORDERBY", "GROUPBY", "NQ", "JOIN", "RLQUERY", "EQ")
_ESCAPED_CARET = "\x00"


@dataclass(frozen=True, slots=True)
class Term:
    field: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    text: str


@dataclass(frozen=True, slots=True)
class TextSearch:
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RelatedList:
    """`RLQUERY<table>.<field>,<op><n>`: how many rows of `table` point here through `field` and meet `inner`.

    `JOIN<here>.<own>=<table>.<field>!<inner>` is the same with "at least one", compared with the column `own`.
    """

    table: str
    field: str
    operator: str
    count: int
    inner: "Query"
    own: str = "sys_id"


Condition = Term | Unreadable | TextSearch | RelatedList
Clause = tuple[Condition, ...]
Group = tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Order:
    field: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Query:
    groups: tuple[Group, ...] = ()
    order: tuple[Order, ...] = ()
    group_by: tuple[str, ...] = ()


def parse(text: str, *, caret_escape: bool = False, join_ends_at_caret: bool = False) -> Query:
    """Read an encoded query. Never fails: what makes no sense becomes `Unreadable` (2.4)."""
    if caret_escape:
        text = text.replace("^^", _ESCAPED_CARET)
    parts = [part.replace(_ESCAPED_CARET, "^") for part in text.split("^")]
    return _Reader(parts, join_ends_at_caret=join_ends_at_caret).read()


class _Reader:
    def __init__(self, parts: list[str], *, join_ends_at_caret: bool = False) -> None:
        self._parts = parts
        self._one_condition = join_ends_at_caret
        self._at = 0
        self._groups: list[list[list[Condition]]] = [[]]
        self._order: list[Order] = []
        self._group_by: list[str] = []

    def read(self) -> Query:
        while self._at < len(self._parts):
            part = self._parts[self._at]
            self._at += 1
            if part and part != "EQ" and not part.startswith(_TEXT_GROUP):
                self._take(part)
        groups = tuple(tuple(tuple(clause) for clause in group) for group in self._groups)
        return Query(groups, tuple(self._order), tuple(self._group_by))

    def _take(self, part: str) -> None:
        if part.startswith("ORDERBYDESC"):
            self._order.append(Order(part.removeprefix("ORDERBYDESC").strip(), descending=True))
        elif part.startswith("ORDERBY"):
            self._order.append(Order(part.removeprefix("ORDERBY").strip(), descending=False))
        elif part.startswith("GROUPBY"):
            self._group_by.append(part.removeprefix("GROUPBY").strip())
        elif part.startswith("NQ"):
            self._groups.append([])
            if rest := part.removeprefix("NQ"):
                self._take(rest)
        elif part.startswith("RLQUERY"):
            self._groups[-1].append([self._related_list(part)])
        elif part.startswith("JOIN"):
            self._groups[-1].append([self._join(part)])
        elif part.startswith("OR") and self._groups[-1]:
            self._groups[-1][-1].append(_condition(part.removeprefix("OR")))
        else:
            self._groups[-1].append([_condition(part.removeprefix("OR"))])

    def _related_list(self, head: str) -> Condition:
        inner = []
        while self._at < len(self._parts) and self._parts[self._at] != "ENDRLQUERY":
            inner.append(self._parts[self._at])
            self._at += 1
        self._at += 1
        spelled = re.fullmatch(r"RLQUERY([a-z0-9_$]+)\.([a-z0-9_.$]+),(>=|<=|!=|=|>|<)(\d{1,9})(?:,m2m)?", head)
        if not spelled:
            return Unreadable(head)
        table, field, operator, count = spelled.groups()
        return RelatedList(table, field, operator, int(count), _Reader(inner).read())

    def _join(self, head: str) -> Condition:
        """The conditions after `!` are about the joined table, up to an order, a new group or another join."""
        head, _, first = head.partition("!")
        inner = [first]
        while not self._one_condition and self._at < len(self._parts):
            if self._parts[self._at].startswith(_AFTER_JOIN):
                break
            inner.append(self._parts[self._at])
            self._at += 1
        spelled = re.fullmatch(r"JOIN[a-z0-9_$]+\.([a-z0-9_$]+)=([a-z0-9_$]+)\.([a-z0-9_.$]+)", head)
        if not spelled:
            return Unreadable(head)
        own, table, field = spelled.groups()
        return RelatedList(table, field, ">", 0, _Reader(inner).read(), own)


def _condition(text: str) -> Condition:
    if text.startswith(TEXT_QUERY):
        return TextSearch(tuple(text.removeprefix(TEXT_QUERY).lstrip("=").split()))
    found = _TERM.fullmatch(text)
    if not found:
        return Unreadable(text)
    operator = found["operator"]
    return Term(found["field"], _SAME.get(operator, operator), found["value"])
