"""A table in memory that answers page requests as ServiceNow does: sort, count, cut the page, and only then hide rows.

Independent of the code under test: it reads the text of the query.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nowbridge.servicenow.pages import PageRequest

COMPARE = {"=": operator.eq, ">": operator.gt, "<=": operator.le}


@dataclass(frozen=True)
class Row:
    sys_id: str
    sys_updated_on: str = "2026-01-01 00:00:00"
    visible: bool = True


@dataclass
class OrderedTable:
    rows: dict[str, Row] = field(default_factory=dict)
    calls: int = 0
    counts: int = 0

    def insert(self, row: Row) -> None:
        self.rows[row.sys_id] = row

    def answer(self, request: PageRequest) -> tuple[list[Row], int | None]:
        """Visible rows of the asked window, and the count of all rows that match when it was asked for."""
        self.calls += 1
        self.counts += request.with_count
        found = self._found(request.query)
        window = found[request.offset : request.offset + request.limit]
        return [row for row in window if row.visible], len(found) if request.with_count else None

    def _found(self, query: str) -> list[Row]:
        order: list[str] = []
        found = list(self.rows.values())
        for term in query.split("^"):
            if term.startswith("ORDERBY"):
                order.append(term.removeprefix("ORDERBY"))
            elif term:
                match = re.fullmatch(r"(sys_id|sys_updated_on)(<=|>|=)(.*)", term)
                assert match is not None, term
                column, compare, value = match[1], COMPARE[match[2]], match[3]
                found = [row for row in found if compare(getattr(row, column), value)]
        return sorted(found, key=operator.attrgetter(*order))
