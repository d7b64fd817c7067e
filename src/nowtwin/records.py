"""The write pipeline: what happens to a record between the request and the database.

Accept the body, fill defaults, apply the platform's rules, stamp the system columns, store, file journal entries and
the deletion audit. A refused write stores nothing. An update that changes nothing is no update: `sys_mod_count` stays.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from sqlite3 import IntegrityError

from nowtwin import audit, errors, metadata, rules
from nowtwin.accept import Acceptance, Accepted
from nowtwin.clock import Clock
from nowtwin.dictionary import Column, Dictionary
from nowtwin.numbering import Numbering
from nowtwin.storage import Storage
from nowtwin.switches import Switches
from nowtwin.users import User
from nowtwin.values import Stored, to_stored

_MAX_ID = 32


@dataclass(frozen=True, slots=True)
class Record:
    """A record as stored: its actual class and its filled columns as texts."""

    table: str
    sys_id: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Written:
    """One write that reached the database."""

    table: str
    sys_id: str
    sys_mod_count: int
    operation: str


def texts_of(row: Mapping[str, Stored]) -> dict[str, str]:
    return {name: str(value) for name, value in row.items() if value is not None}


class Records:
    """Inserts, updates and deletes single records under the platform's rules."""

    def __init__(
        self,
        dictionary: Dictionary,
        storage: Storage,
        clock: Clock,
        random: Random,
        report: Callable[[Written], None],
    ) -> None:
        self._dictionary = dictionary
        self._storage = storage
        self._clock = clock
        self._random = random
        self._report = report
        self.numbering = Numbering(dictionary, storage)

    def read(self, table: str, sys_id: str) -> Record | None:
        """The record if it is of this table or of a class below it."""
        row = self._storage.get(self._dictionary.root(table), sys_id)
        if row is None:
            return None
        actual = str(row.get("sys_class_name") or table)
        if table not in self._dictionary.lineage(actual):
            return None
        return Record(actual, sys_id, texts_of(row))

    def new_id(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    # -- insert ------------------------------------------------------------------------------------------------

    def insert(
        self, table: str, body: Mapping[str, str], user: User, switches: Switches, *, display_values: bool = False
    ) -> Record:
        actual = body.get("sys_class_name", "")
        if actual not in self._dictionary.classes(table):
            actual = table
        sys_id = body.get("sys_id", "")
        if not 0 < len(sys_id) <= _MAX_ID:
            sys_id = self.new_id()
        acceptance = Acceptance(self._dictionary, self._storage, switches, user)
        accepted = acceptance.take(actual, body, display_values=display_values)
        stamp = self._clock.stamp()
        values = {element: text for element, text in accepted.values.items() if text}
        values["sys_class_name"] = actual
        self._fill_defaults(actual, values, user, stamp)
        lineage = self._dictionary.lineage(actual)
        values |= rules.derive(rules.Write(lineage, {}, values, user.sys_id, stamp))
        values |= {"sys_id": sys_id, "sys_mod_count": "0"}
        values |= dict.fromkeys(("sys_created_on", "sys_updated_on"), stamp)
        values |= dict.fromkeys(("sys_created_by", "sys_updated_by"), user.user_name)
        with self._storage.transaction():
            self._refuse_duplicates(actual, sys_id, values)
            self._store_new(actual, values)
            self._file_journals(actual, sys_id, accepted, user, stamp)
        metadata.take_in(self._dictionary, actual, values)
        self._report(Written(actual, sys_id, 0, "insert"))
        return Record(actual, sys_id, values)

    def _store_new(self, table: str, values: Mapping[str, str]) -> None:
        columns = self._dictionary.columns(table)
        stored = {name: to_stored(_type(columns, name), text) for name, text in values.items() if text}
        try:
            self._storage.insert(self._dictionary.root(table), stored)
        except IntegrityError as error:
            raise _duplicate(values["sys_id"], "PRIMARY") from error

    def _refuse_duplicates(self, table: str, sys_id: str, values: Mapping[str, str]) -> None:
        root = self._dictionary.root(table)
        for element, column in self._dictionary.columns(table).items():
            text = values.get(element, "")
            if not column.unique or element == "sys_id" or not text or not self._storage.has(root, element):
                continue
            sql = f'SELECT 1 FROM "{root}" WHERE "{element}" = ? AND sys_id <> ? LIMIT 1'  # noqa: S608 - names of the dictionary
            if self._storage.rows(sql, (to_stored(column.type, text), sys_id)):
                raise _duplicate(text, element)

    def _fill_defaults(self, table: str, values: dict[str, str], user: User, stamp: str) -> None:
        for element, column in self._dictionary.columns(table).items():
            if column.default and not values.get(element):
                default = self._default(table, column, user, stamp)
                if default:
                    values[element] = default

    def _default(self, table: str, column: Column, user: User, stamp: str) -> str:
        default = column.default or ""
        if not default.startswith("javascript:"):
            return default
        script = default.removeprefix("javascript:").strip().rstrip(";")
        if "getNextObjNumberPadded" in script:
            return self.numbering.next(table)
        return {
            "gs.getUserID()": user.sys_id,
            "gs.getUserName()": user.user_name,
            "gs.nowDateTime()": stamp,
            "gs.now()": stamp[:10],
            "current.getTableName()": table,
            "ChangeModel.getDefaultTypeValue()": "normal",
        }.get(script, "")

    # -- update ------------------------------------------------------------------------------------------------

    def update(
        self,
        record: Record,
        body: Mapping[str, str],
        user: User,
        switches: Switches,
        *,
        display_values: bool = False,
    ) -> Record:
        actual = self._new_class(record, body)
        acceptance = Acceptance(self._dictionary, self._storage, switches, user)
        accepted = acceptance.take(actual, body, display_values=display_values)
        stamp = self._clock.stamp()
        after = {**record.values, **accepted.values, "sys_class_name": actual}
        if actual != record.table:
            kept = self._dictionary.columns(actual)
            after = {element: text for element, text in after.items() if element in kept}
        lineage = self._dictionary.lineage(actual)
        after |= rules.derive(rules.Write(lineage, record.values, after, user.sys_id, stamp))
        elements = {*after, *record.values}
        changed = {e: after.get(e, "") for e in elements if after.get(e, "") != record.values.get(e, "")}
        if not changed and not accepted.journals:
            return record
        count = int(record.values.get("sys_mod_count", "0")) + 1
        changed |= {"sys_updated_on": stamp, "sys_updated_by": user.user_name, "sys_mod_count": str(count)}
        columns = self._dictionary.columns(actual)
        stored = {name: to_stored(_type(columns, name), text) for name, text in changed.items()}
        with self._storage.transaction():
            self._refuse_duplicates(actual, record.sys_id, changed)
            self._storage.update(self._dictionary.root(actual), record.sys_id, stored)
            self._file_journals(actual, record.sys_id, accepted, user, stamp)
            self._file_history(Record(actual, record.sys_id, record.values), changed | accepted.journals, user, stamp)
        values = {e: text for e, text in {**record.values, **changed}.items() if text}
        metadata.take_in(self._dictionary, actual, values)
        self._report(Written(actual, record.sys_id, count, "update"))
        return Record(actual, record.sys_id, values)

    def _new_class(self, record: Record, body: Mapping[str, str]) -> str:
        """A write to sys_class_name reclassifies within the tree (servicenow-api.md 3.3)."""
        wanted = body.get("sys_class_name", "")
        if wanted in self._dictionary.tables and self._dictionary.root(wanted) == self._dictionary.root(record.table):
            return wanted
        return record.table

    def _file_journals(self, table: str, sys_id: str, accepted: Accepted, user: User, stamp: str) -> None:
        for element, text in accepted.journals.items():
            row: dict[str, Stored] = {
                "sys_id": self.new_id(),
                "sys_class_name": "sys_journal_field",
                "name": table,
                "element": element,
                "element_id": sys_id,
                "value": text,
                "sys_created_on": stamp,
                "sys_created_by": user.user_name,
            }
            self._storage.insert("sys_journal_field", row)

    def _file_history(self, before: Record, changed: Mapping[str, str], user: User, stamp: str) -> None:
        """One sys_audit row per changed column, on audited tables."""
        if not audit.changes_filed(self._dictionary, before.table):
            return
        for element, new in changed.items():
            if element not in audit.UNAUDITED:
                change = audit.Change(before.table, before.sys_id, element, before.values.get(element, ""), new)
                checkpoint = int(changed["sys_mod_count"])
                self._storage.insert("sys_audit", audit.history(change, checkpoint, self._entry(user, stamp)))

    # -- delete ------------------------------------------------------------------------------------------------

    def delete(self, record: Record, user: User) -> None:
        with self._storage.transaction():
            self._storage.delete(self._dictionary.root(record.table), record.sys_id)
            if audit.deletions_filed(self._dictionary, record.table):
                deleted = audit.Deleted(record.table, record.sys_id, record.values)
                shown = record.values.get(self._dictionary.display_column(record.table), "")
                row = audit.deletion(deleted, shown, self._entry(user, self._clock.stamp()))
                self._storage.insert("sys_audit_delete", row)
        metadata.take_out(self._dictionary, record.table, record.values)
        count = int(record.values.get("sys_mod_count", "0"))
        self._report(Written(record.table, record.sys_id, count, "delete"))

    def _entry(self, user: User, stamp: str) -> audit.Entry:
        return audit.Entry(self.new_id(), user.user_name, stamp)


def _type(columns: Mapping[str, Column], element: str) -> str:
    column = columns.get(element)
    return column.type if column else "string"


def _duplicate(text: str, column: str) -> errors.Refused:
    return errors.failed(
        f"Unique Key violation detected by database (Duplicate entry '{text}' for key '{column}')",
    )
