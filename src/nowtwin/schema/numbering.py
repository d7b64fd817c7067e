"""Record numbers from sys_number: prefix and counter per class, e.g. INC0010001 (servicenow-api.md 11.1).

A counter starts above the larger of its sys_number row and the numbers that are already stored. Numbers are not given
back, so gaps are normal.
"""

from nowtwin.schema.dictionary import Dictionary
from nowtwin.storage.rows import Storage, quote
from nowtwin.values import number_of

DEFAULT_DIGITS = 7
MOST_DIGITS = 30


class Numbering:
    def __init__(self, dictionary: Dictionary, storage: Storage) -> None:
        self._dictionary = dictionary
        self._storage = storage
        self._last: dict[str, int] = {}

    def forget(self) -> None:
        """Rows were loaded: look at the stored numbers again."""
        self._last.clear()

    def next(self, table: str) -> str:
        """The next number for a class; empty where neither it nor an ancestor has a prefix."""
        line = self._dictionary.lineage(table)
        owner = next((name for name in line if self._dictionary.tables[name].number_prefix), None)
        if owner is None:
            return ""
        entry = self._dictionary.tables[owner]
        prefix = entry.number_prefix or ""
        last = self._last.get(owner)
        if last is None:
            last = max(10_000 if entry.number_start is None else entry.number_start, self._highest(owner, prefix))
        self._last[owner] = last + 1
        return f"{prefix}{last + 1:0{entry.number_digits or DEFAULT_DIGITS}d}"

    def _highest(self, table: str, prefix: str) -> int:
        root = self._dictionary.root(table)
        if not self._storage.has(root, "number"):
            return 0
        sql = f"SELECT max(CAST(substr(number, ?) AS INTEGER)) FROM {quote(root)} WHERE number GLOB ?"  # noqa: S608 - quoted name
        found = self._storage.rows(sql, (len(prefix) + 1, prefix + "[0-9]*"))[0][0]
        return int(number_of(str(found)) or 0) if found is not None else 0
