"""Rows in SQLite: one physical table per class hierarchy, its columns added when the first value arrives.

Columns have no declared type, so a column name that two classes use for different things holds both. Empty is NULL.
`versions` counts the writes to each physical table, so that counts and look-ups can be cached until the next one.
Every method is safe from any thread: one connection behind one re-entrant lock, which callers may hold longer.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from nowtwin.clock import STAMP
from nowtwin.values import Stored

_BASE = ("sys_class_name", "sys_updated_on", "sys_created_on")
_MANY = 1_000_000


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _in_zone(stamp: str | None, zone: str) -> str | None:
    """A stored UTC date-time in a time zone, for the date parts of queries."""
    if stamp is None:
        return None
    try:
        moment = datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    except ValueError:
        return stamp
    return moment.astimezone(ZoneInfo(zone)).strftime(STAMP)


class Storage:
    def __init__(self, path: Path | None) -> None:
        self.lock = threading.RLock()
        self.versions: dict[str, int] = {}
        self._columns: dict[str, set[str]] = {}
        self._connection = sqlite3.connect(
            str(path) if path else ":memory:",
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        for pragma in ("page_size=8192", "journal_mode=WAL", "synchronous=OFF", "cache_size=-65536", "temp_store=2"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("ANALYZE")  # makes sqlite_stat1
        self._connection.create_function("in_zone", 2, _in_zone, deterministic=True)

    def close(self) -> None:
        with self.lock:
            self._connection.close()

    # -- shape -------------------------------------------------------------------------------------------------

    def roots(self) -> tuple[str, ...]:
        return tuple(self._columns)

    def has(self, root: str, column: str) -> bool:
        return column in self._columns.get(root, ())

    def ensure(self, root: str, columns: Iterable[str] = ()) -> None:
        """Make the physical table and the columns exist."""
        known = self._columns.get(root)
        if known is None:
            self._create(root)
            known = self._columns[root]
        for column in columns:
            if column not in known:
                self._connection.execute(f"ALTER TABLE {quote(root)} ADD COLUMN {quote(column)}")
                known.add(column)

    def _create(self, root: str) -> None:
        base = ", ".join(map(quote, _BASE))
        self._connection.execute(f"CREATE TABLE {quote(root)} (sys_id TEXT PRIMARY KEY, {base})")
        self._columns[root] = {"sys_id", *_BASE}
        self.index(root, ("sys_updated_on", "sys_id"))
        self.index(root, ("sys_class_name", "sys_updated_on", "sys_id"))
        self.index(root, ("sys_class_name", "sys_id"))

    def index(self, root: str, columns: Sequence[str], *, collate: str = "") -> None:
        """Make an index; a text column that is searched regardless of case needs `collate` NOCASE."""
        self.ensure(root, columns)
        name = quote(f"{root}:{','.join(columns)}")
        keys = ", ".join(quote(c) + (f" COLLATE {collate}" if collate else "") for c in columns)
        self._connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {quote(root)} ({keys})")
        self._foretell(root, name.strip('"'), columns)

    def _foretell(self, root: str, name: str, columns: Sequence[str]) -> None:
        """Tell the planner what ANALYZE would find once there are many rows: few classes, everything else selective.

        Without it a page in sys_id order may be read by class and sorted, which takes time with the whole table.
        """
        rows = [_MANY, *(_MANY // 3 if column == "sys_class_name" else 2 for column in columns)]
        self._connection.execute("DELETE FROM sqlite_stat1 WHERE idx = ?", (name,))
        self._connection.execute("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", (root, name, " ".join(map(str, rows))))
        self._connection.execute("ANALYZE sqlite_schema")

    # -- reading -----------------------------------------------------------------------------------------------

    def rows(self, sql: str, parameters: Sequence[Stored] = ()) -> list[tuple[Stored, ...]]:
        with self.lock:
            return self._connection.execute(sql, parameters).fetchall()

    def get(self, root: str, sys_id: str) -> dict[str, Stored] | None:
        """The stored row, NULLs left out."""
        with self.lock:
            if root not in self._columns:
                return None
            cursor = self._connection.execute(f"SELECT * FROM {quote(root)} WHERE sys_id = ?", (sys_id,))  # noqa: S608 - quoted name
            row = cursor.fetchone()
            if row is None:
                return None
            names = [entry[0] for entry in cursor.description]
            return {name: value for name, value in zip(names, row, strict=True) if value is not None}

    # -- writing -----------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; nested uses join the outer one."""
        with self.lock:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                self._read_shape()
                raise
            self._connection.execute("COMMIT")

    def put_many(self, root: str, columns: Sequence[str], rows: Iterable[Sequence[Stored]]) -> int:
        """Insert rows, replacing those with a known sys_id; returns how many."""
        with self.lock:
            self.ensure(root, columns)
            names = ", ".join(map(quote, columns))
            marks = ", ".join("?" * len(columns))
            sql = f"INSERT OR REPLACE INTO {quote(root)} ({names}) VALUES ({marks})"  # noqa: S608 - quoted names
            self._touch(root)
            return self._connection.executemany(sql, rows).rowcount

    def insert(self, root: str, values: Mapping[str, Stored]) -> None:
        """Insert one row. Raises sqlite3.IntegrityError on a known sys_id."""
        with self.lock:
            self.ensure(root, values)
            names = ", ".join(map(quote, values))
            marks = ", ".join("?" * len(values))
            sql = f"INSERT INTO {quote(root)} ({names}) VALUES ({marks})"  # noqa: S608 - quoted names
            self._touch(root)
            self._connection.execute(sql, tuple(values.values()))

    def update(self, root: str, sys_id: str, values: Mapping[str, Stored]) -> None:
        with self.lock:
            self.ensure(root, values)
            sets = ", ".join(f"{quote(name)} = ?" for name in values)
            self._touch(root)
            self._connection.execute(
                f"UPDATE {quote(root)} SET {sets} WHERE sys_id = ?",  # noqa: S608 - quoted names
                (*values.values(), sys_id),
            )

    def delete(self, root: str, sys_id: str) -> None:
        with self.lock:
            self._touch(root)
            self._connection.execute(f"DELETE FROM {quote(root)} WHERE sys_id = ?", (sys_id,))  # noqa: S608 - quoted name

    def _read_shape(self) -> None:
        """Take the shape from the database: a rollback also undoes added tables and columns."""
        names = [row[0] for row in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        self._columns = {
            name: {row[1] for row in self._connection.execute(f"PRAGMA table_info({quote(name)})")}
            for name in names
            if not name.startswith("sqlite_")
        }

    def drop_all(self) -> None:
        with self.lock:
            for root in tuple(self._columns):
                self._connection.execute(f"DROP TABLE {quote(root)}")
                self._touch(root)
            self._columns.clear()

    def save(self, path: Path) -> None:
        """Copy the whole database into a file of its own."""
        path.unlink(missing_ok=True)
        with self.lock, closing(sqlite3.connect(path)) as copy:
            self._connection.backup(copy)

    def restore(self, path: Path) -> None:
        """Become the database in the file; every table counts as written."""
        with self.lock, closing(sqlite3.connect(path)) as copy:
            before = self.roots()
            copy.backup(self._connection)
            self._read_shape()
            for root in {*before, *self.roots()}:
                self._touch(root)

    def move(self, source: str, target: str) -> None:
        """Rows of one physical table go to another, after the class tree learned that they belong there."""
        with self.lock:
            columns = sorted(self._columns[source])
            self.ensure(target, columns)
            names = ", ".join(map(quote, columns))
            self._connection.execute(
                f"INSERT OR REPLACE INTO {quote(target)} ({names}) SELECT {names} FROM {quote(source)}",  # noqa: S608 - quoted names
            )
            self._connection.execute(f"DROP TABLE {quote(source)}")
            del self._columns[source]
            self._touch(source)
            self._touch(target)

    def _touch(self, root: str) -> None:
        self.versions[root] = self.versions.get(root, 0) + 1
