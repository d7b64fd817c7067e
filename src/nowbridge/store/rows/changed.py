"""What changed in a row, as SQL that makes JSON of it: {column: [before, after]}, in the triggers of SQL writes and in the feed.

As text, put together by one call for all columns. Of 130 columns few change, but every part of the expression is made ready
for every statement; and a VALUES list of the columns is made ready anew for every row, ten times the work of comparing.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

MOST_ARGUMENTS = 90  # of one function call; Postgres takes 100


def pair(name: str, before: str | None, after: str | None, when: str) -> sql.Composed:
    """`,"name":[before,after]` as text where `when` holds, else NULL, which `joined` leaves out. `{0}` in them is the
    column; None is null.
    """
    column = sql.Identifier(name)
    both = sql.SQL(f"{before or 'NULL'}, {after or 'NULL'}").format(column)
    key = sql.Literal("," + _json_text(name) + ":")
    return sql.SQL("CASE WHEN {} THEN {} || json_build_array({})::text END").format(
        sql.SQL(when).format(column), key, both
    )


def joined(parts: Sequence[sql.Composable]) -> sql.Composable:
    """All pairs in one text, which begins with a comma; empty when there are none."""
    if len(parts) <= MOST_ARGUMENTS:
        return sql.SQL("concat({})").format(sql.SQL(", ").join(parts))
    groups = [joined(parts[first : first + MOST_ARGUMENTS]) for first in range(0, len(parts), MOST_ARGUMENTS)]
    return joined(groups)


def _json_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
