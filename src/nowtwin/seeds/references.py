"""The rows that a seed points at: found by sys_id or display value, or created.

A seed's record may name its caller by sys_id and name, or by name alone. This book gives the sys_id in both cases and
remembers which rows have to exist for it, so that no reference of a seed dangles. Invariant: `rows()` holds one row
for each reference handed out that is not a record of the seed itself, except sys_ids the platform itself leaves
without a row (`global`, `glide.maint`, a deleted user): those have no display value and are kept as they are.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from nowtwin.schema.dictionary import Dictionary
from nowtwin.seeds.sys_ids import sys_id_of

Row: TypeAlias = dict[str, str]

CREATED_ON: Final = "2022-01-01 08:00:00"
CREATED_BY: Final = "admin"


def seeded(sys_id: str, values: Mapping[str, str]) -> Row:
    """A row with the system columns of something that was there from the start."""
    return {
        "sys_id": sys_id,
        "sys_created_on": CREATED_ON,
        "sys_created_by": CREATED_BY,
        "sys_updated_on": CREATED_ON,
        "sys_updated_by": CREATED_BY,
        "sys_mod_count": "0",
        **values,
    }


class ReferenceBook:
    """Sys_ids by (table, display value); `describe` turns a name into the columns of a row that must be created."""

    def __init__(self, dictionary: Dictionary, describe: Callable[[str, str], Mapping[str, str]]) -> None:
        self._dictionary = dictionary
        self._describe = describe
        self._known: dict[tuple[str, str], str] = {}
        self._records: set[str] = set()
        self._created: dict[str, tuple[str, Row]] = {}

    def add_record(self, table: str, sys_id: str, display: str) -> None:
        """A record of the seed: it can be pointed at through its table and every parent."""
        self._records.add(sys_id)
        self._learn(table, display, sys_id)

    def sys_id(self, table: str, display: str, sys_id: str = "") -> str:
        """The sys_id for a reference to `table` shown as `display`; creates the row where none is known."""
        if sys_id and (sys_id in self._records or sys_id in self._created):
            return sys_id
        if sys_id and not display:
            return sys_id
        found = "" if sys_id else self._known.get((table, display), "")
        return found or self._create(table, display, sys_id or sys_id_of(table, display))

    def _create(self, table: str, display: str, sys_id: str) -> str:
        values = {self._dictionary.display_column(table): display, **self._describe(table, display)}
        self._created[sys_id] = (table, seeded(sys_id, values))
        self._learn(table, display, sys_id)
        return sys_id

    def _learn(self, table: str, display: str, sys_id: str) -> None:
        for step in self._dictionary.lineage(table):
            self._known.setdefault((step, display), sys_id)

    def rows(self) -> Iterable[tuple[str, list[Row]]]:
        """The created rows by table, tables in the order of their first row."""
        tables: dict[str, list[Row]] = {}
        for table, row in self._created.values():
            tables.setdefault(table, []).append(row)
        return tables.items()
