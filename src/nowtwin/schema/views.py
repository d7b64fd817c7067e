"""Database views as they are defined: tables joined under prefixes, each with a where clause and perhaps a choice of its
columns (D: platform-administration/table-administration-and-data-management, c_DatabaseViews and the pages below it).

A view stores nothing. Its columns are those of its tables, named `<variable prefix>_<column>`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

ROW = "sys_id"
"""What names a row of a view inside the twin; a column only with the switch `view_rows_have_sys_id`."""


@dataclass(frozen=True, slots=True)
class ViewTable:
    """A row of sys_db_view_table."""

    table: str
    prefix: str
    where: str = ""
    left: bool = False
    elements: frozenset[str] = frozenset()
    """The columns that the view returns, for the join too; empty: all of them (c_SpecifyAFieldToReturn.md)."""

    def returns(self, element: str) -> bool:
        return not self.elements or element in self.elements


@dataclass(frozen=True, slots=True)
class View:
    """A row of sys_db_view with its tables in their order, the first being the base of the joins."""

    tables: tuple[ViewTable, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of columns that rows of sys_documentation give (t_RelabelAColumn.md)."""
    has_sys_id: bool = False


def place_of(prefix: str) -> str:
    """How access rules name the record that a row of a view has under a prefix; no path of columns looks like it."""
    return f"{prefix}$"
