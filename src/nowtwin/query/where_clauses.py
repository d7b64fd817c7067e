"""Where clauses of database views to SQL: `inc_rfc = chg_sys_id || chg_parent = inc_sys_id`.

Columns are named by prefix and column (`inc_rfc`; `inc.rfc` is seen too), operators are =, !=, <, <=, >, >=, && and ||
(D: t_AddATableToTheDatabaseView.md), `and`, `or` and parentheses as SQL has them. Values are numbers and quoted texts.
"""

import re
from collections.abc import Callable

from nowtwin.schema.dictionary import Column
from nowtwin.values import DECIMAL_TYPES, INTEGER_TYPES, number_of, truth_of

Named = Callable[[str], tuple[str, Column] | None]
"""SQL and column behind a name of a where clause; None for a name that the clause may not use."""
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<name>[A-Za-z]\w*(?:\.\w+)?)|(?P<sign>&&|\|\||!=|<>|<=|>=|==|=|<|>|\(|\)))\s*",
)
_COMPARISONS = {"=": "=", "==": "=", "!=": "<>", "<>": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_JUNCTIONS = {"&&": "AND", "and": "AND", "||": "OR", "or": "OR"}
_DEEPEST = 40
_LONGEST = 4_000


class UnreadableClause(ValueError):
    """A where clause that the database would refuse."""


def where_sql(clause: str, named: Named) -> str:
    """The condition in SQL, parenthesized. Raises UnreadableClause."""
    if len(clause) > _LONGEST:
        raise UnreadableClause("too long")
    reader = _Clause(_tokens(clause), named)
    sql = reader.junction("OR", 0)
    if reader.left:
        raise UnreadableClause(f"nothing is expected at {reader.left[0][1]!r}")
    return f"({sql})"


def _tokens(clause: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(clause):
        token = _TOKEN.match(clause, at)
        if token is None or "\x00" in token[0]:
            raise UnreadableClause(f"cannot be read at {clause[at : at + 20]!r}")
        found.append((str(token.lastgroup), token[str(token.lastgroup)]))
        at = token.end()
    return found


class _Clause:
    def __init__(self, tokens: list[tuple[str, str]], named: Named) -> None:
        self.left = tokens
        self._named = named

    def junction(self, word: str, depth: int) -> str:
        """Parts joined by OR, each of parts joined by AND."""
        parts = [self._part(word, depth)]
        while self.left and self.left[0][0] != "text" and _JUNCTIONS.get(self.left[0][1].lower()) == word:
            self.left.pop(0)
            parts.append(self._part(word, depth))
        return f"({f' {word} '.join(parts)})" if len(parts) > 1 else parts[0]

    def _part(self, word: str, depth: int) -> str:
        return self.junction("AND", depth) if word == "OR" else self._condition(depth)

    def _condition(self, depth: int) -> str:
        if depth > _DEEPEST:
            raise UnreadableClause("nested too deeply")
        if self.left and self.left[0] == ("sign", "("):
            self.left.pop(0)
            inner = self.junction("OR", depth + 1)
            if self._next() != ("sign", ")"):
                raise UnreadableClause("a parenthesis is not closed")
            return inner
        first, sign, second = self._next(), self._next(), self._next()
        if sign[0] != "sign" or sign[1] not in _COMPARISONS:
            raise UnreadableClause(f"{sign[1]!r} compares nothing")
        columns = [self._column(token) for token in (first, second)]
        sides = [
            found[0] if found else _literal(token, other[1] if other else None)
            for token, found, other in zip((first, second), columns, reversed(columns), strict=True)
        ]
        return f"{sides[0]} {_COMPARISONS[sign[1]]} {sides[1]}"

    def _next(self) -> tuple[str, str]:
        if not self.left:
            raise UnreadableClause("ends too early")
        return self.left.pop(0)

    def _column(self, token: tuple[str, str]) -> tuple[str, Column] | None:
        kind, text = token
        if kind != "name" or text.lower() in {"true", "false"}:
            return None
        found = self._named(text)
        if found is None:
            raise UnreadableClause(f"there is no column {text}")
        return found


def _literal(token: tuple[str, str], column: Column | None) -> str:
    """A value as the column that it is compared with would hold it."""
    kind, text = token
    if kind == "sign":
        raise UnreadableClause(f"a value is expected at {text!r}")
    if kind == "text":
        text = re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
    number = number_of(text)
    if column and column.type in INTEGER_TYPES | DECIMAL_TYPES and number is not None:
        return repr(number)
    if column and column.type == "boolean":
        text = truth_of(text)
    return "'" + text.replace("'", "''") + "'"
