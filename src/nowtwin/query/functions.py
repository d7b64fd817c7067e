"""Function fields: a definition such as `glidefunction:concat(number,' ',caller_id.name)` to SQL (D:platform-administration,
"Function field"). Nothing is stored; the database works the value out whenever the column is read, sorted or filtered by.

What cannot be read (an unknown operation or column, the wrong number of operands, another function field) is no
function: such a column reads `Invalid function` if it is a text, and empty if it is not. The geographic operations are
not known here.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from nowtwin.schema.dictionary import Column
from nowtwin.schema.function_fields import PREFIX, TOKEN

Find = Callable[[str], str | None]
"""SQL of the column that a path leads to; None where there is none that a function may use."""
_MOST_NESTED = 8
_NOTHING_THERE = "NULL"


class _InvalidFunctionError(Exception):
    """The definition makes no function."""


@dataclass(frozen=True, slots=True)
class _Value:
    """SQL of an operand; a constant is a text that counts as a number where one is wanted."""

    sql: str

    @property
    def number(self) -> str:
        return f"CAST({self.sql} AS NUMERIC)"


Build = Callable[[Sequence[_Value]], str]


def function_sql(column: Column, find: Find) -> str:
    """SQL of a function field; `find` looks from its record."""
    try:
        return _Parser(column.function or "", find).whole()
    except _InvalidFunctionError:
        return "'Invalid function'" if column.type == "string" else _NOTHING_THERE


class _Parser:
    def __init__(self, definition: str, find: Find) -> None:
        self._text = definition.strip()
        self._find = find
        self._at = 0

    def whole(self) -> str:
        if not self._text.startswith(PREFIX):
            raise _InvalidFunctionError
        self._at = len(PREFIX)
        value = self._operand(0)
        if self._at != len(self._text):
            raise _InvalidFunctionError
        return value.sql

    def _next(self) -> "re.Match[str]":
        found = TOKEN.match(self._text, self._at)
        if found is None:
            raise _InvalidFunctionError
        self._at = found.end()
        return found

    def _operand(self, depth: int) -> _Value:
        token = self._next()
        if token["constant"] is not None and depth:
            return _Value("'" + token["constant"] + "'")
        if not token["name"] or depth > _MOST_NESTED:
            raise _InvalidFunctionError
        if token["called"]:
            return _Value(_called(token["name"], self._operands(depth)))
        if not depth:
            raise _InvalidFunctionError
        return self._column(token["name"])

    def _operands(self, depth: int) -> list[_Value]:
        operands = [self._operand(depth + 1)]
        while (sign := self._next()["sign"]) == ",":
            operands.append(self._operand(depth + 1))
        if sign != ")":
            raise _InvalidFunctionError
        return operands

    def _column(self, path: str) -> _Value:
        found = self._find(path)
        if found is None:
            raise _InvalidFunctionError
        return _Value(found)


def _called(operation: str, operands: Sequence[_Value]) -> str:
    known = _OPERATIONS.get(operation.lower())
    if known is None or not known[0] <= len(operands) <= known[1]:
        raise _InvalidFunctionError
    return f"({known[2](operands)})"


def _arithmetic(sign: str) -> Build:
    return lambda operands: f" {sign} ".join(operand.number for operand in operands)


def _divided(operands: Sequence[_Value]) -> str:
    return f"CAST({operands[0].sql} AS REAL) / nullif({operands[1].number}, 0)"


def _substring(operands: Sequence[_Value]) -> str:
    text, *bounds = operands
    return f"substr({text.sql}, {', '.join(bound.number for bound in bounds)})"


def _position(operands: Sequence[_Value]) -> str:
    """Counted from 1; 0 where it is not found from there on."""
    part, text = operands[0].sql, operands[1].sql
    if len(operands) < 3:  # noqa: PLR2004 - with where to begin
        return f"instr({text}, {part})"
    start = f"max({operands[2].number}, 1)"
    rest = f"instr(substr({text}, {start}), {part})"
    return f"CASE {rest} WHEN 0 THEN 0 ELSE {rest} + {start} - 1 END"


def _difference(operands: Sequence[_Value]) -> str:
    """From the second to the first, in the form of a duration."""
    end, start = (f"strftime('%s', {operand.sql})" for operand in operands)
    return f"datetime({end} - {start}, 'unixepoch')"


def _day_of_week(operands: Sequence[_Value]) -> str:
    """From 1, which is Sunday with '1' and Monday with '2'."""
    first = f"(CASE {operands[1].sql} WHEN '2' THEN 6 ELSE 0 END)" if len(operands) > 1 else "0"
    return f"(CAST(strftime('%w', {operands[0].sql}) AS INTEGER) + {first}) % 7 + 1"


def _listed(name: str) -> Build:
    return lambda operands: f"{name}({', '.join(operand.sql for operand in operands)})"


_MANY = 50
_OPERATIONS: Final[dict[str, tuple[int, int, Build]]] = {
    "concat": (1, _MANY, lambda operands: " || ".join(f"CAST({operand.sql} AS TEXT)" for operand in operands)),
    "length": (1, 1, lambda operands: f"length(CAST({operands[0].sql} AS TEXT))"),
    "substring": (2, 3, _substring),
    "position": (2, 3, _position),
    "coalesce": (2, _MANY, _listed("coalesce")),
    "greatest": (2, _MANY, _listed("max")),
    "least": (2, _MANY, _listed("min")),
    "add": (2, 2, _arithmetic("+")),
    "subtract": (2, 2, _arithmetic("-")),
    "multiply": (2, 2, _arithmetic("*")),
    "divide": (2, 2, _divided),
    "datediff": (2, 2, _difference),
    "dayofweek": (1, 2, _day_of_week),
}
"""Least and most operands, and the SQL of an operation. As in the platform's database, one with an empty operand is empty
(`coalesce` is there for that)."""
