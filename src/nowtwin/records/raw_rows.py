"""Rows as they are: stored in bulk without any rule of the platform, and read back the same way.

This is how data files, seeds and the control API fill an instance. Only what every row must have is filled in: an id, a
class, stamps.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from nowtwin import errors
from nowtwin.clock import Clock
from nowtwin.records.pipeline import texts_of
from nowtwin.schema import class_paths
from nowtwin.schema.dictionary import Column, Dictionary
from nowtwin.storage.rows import Storage, quote
from nowtwin.values import NUMERIC_TYPES, Stored, to_stored, truth_of

_BATCH = 2_000


class RawRows:
    """`new_id` gives the sys_ids of rows that come without one."""

    def __init__(self, dictionary: Dictionary, storage: Storage, clock: Clock, new_id: Callable[[], str]) -> None:
        self._dictionary = dictionary
        self._storage = storage
        self._clock = clock
        self._new_id = new_id

    def load(self, table: str, rows: Iterable[Mapping[str, str]]) -> int:
        """Store rows, replacing known sys_ids; returns how many. All or none: raises ValueError on a column that the
        table does not have, and Refused on an unknown table.
        """
        if table not in self._dictionary.tables:
            raise errors.invalid_table(table)
        if self._dictionary.view(table):
            raise ValueError(f"{table} is a database view, which has no rows of its own")
        root = self._dictionary.root(table)
        total = 0
        with self._storage.lock, self._storage.transaction():
            for batch in _batches(rows):
                total += self._load_batch(table, root, batch)
        return total

    def _load_batch(self, table: str, root: str, batch: Sequence[Mapping[str, str]]) -> int:
        stamp = self._clock.stamp()
        columns = self._dictionary.declared_columns(table)
        derived = {column.element for column in columns.values() if column.function}
        elements = dict.fromkeys(element for row in batch for element in row if element not in derived)
        defaults: dict[str, Stored] = {"sys_class_name": table, "sys_created_on": stamp, "sys_created_by": "system"}
        defaults |= {"sys_updated_on": None, "sys_updated_by": "system", "sys_mod_count": 0}
        if class_paths.COLUMN in columns:
            defaults[class_paths.COLUMN] = class_paths.class_path(self._dictionary, table)
        names = ["sys_id", *defaults, *(e for e in elements if e not in defaults and e != "sys_id")]
        series: list[Iterable[Stored]] = []
        for name in names[1:]:
            kind = _kind(table, columns, name)
            texts = [row.get(name) for row in batch]
            default = defaults.get(name)
            if kind in NUMERIC_TYPES:
                series.append([default if t in {None, ""} else to_stored(kind, t or "") for t in texts])
            elif kind == "boolean":
                series.append([truth_of(t) if t else default for t in texts])
            else:
                series.append([t or default for t in texts])
        series = [[row.get("sys_id") or self._new_id() for row in batch], *series]
        created, updated = names.index("sys_created_on"), names.index("sys_updated_on")
        series[updated] = [u or c for u, c in zip(series[updated], series[created], strict=True)]
        return self._storage.put_many(root, names, zip(*series, strict=True))

    def export(self, table: str) -> Iterator[dict[str, str]]:
        """All stored rows of a table and its classes, in sys_id order, empty columns left out."""
        if self._dictionary.view(table):
            return
        root, last = self._dictionary.root(table), ""
        classes = set(self._dictionary.classes(table))
        sql = f"SELECT sys_id FROM {quote(root)} WHERE sys_id > ? ORDER BY sys_id LIMIT {_BATCH}"  # noqa: S608 - quoted name
        self._storage.ensure(root)
        while ids := self._storage.rows(sql, (last,)):
            for (sys_id,) in ids:
                row = self._storage.get(root, str(sys_id))
                if row is not None and row.get("sys_class_name", table) in classes:
                    yield texts_of(row)
            last = str(ids[-1][0])


def _kind(table: str, columns: Mapping[str, Column], element: str) -> str:
    column = columns.get(element)
    if column is None and element != "sys_class_name":
        raise ValueError(f"table {table} has no column {element}")
    return column.type if column else "sys_class_name"


def _batches(rows: Iterable[Mapping[str, str]]) -> Iterator[Sequence[Mapping[str, str]]]:
    source = iter(rows)
    while batch := list(islice(source, _BATCH)):
        yield batch
