"""The write pipeline: what happens to a record between the request and the database.

Accept the body, fill defaults, apply business rules and the platform's rules, stamp the system columns, store, file
journal entries, history and the deletion audit, and tell the rules that come after. A refused write stores nothing.
An update that changes nothing is no update: `sys_mod_count` stays.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from sqlite3 import IntegrityError

from nowtwin import errors
from nowtwin.accounts.users import User
from nowtwin.accounts.vault import Vault
from nowtwin.behaviour.switches import Switches
from nowtwin.clock import Clock
from nowtwin.reading.currencies import MONEY, Amount, Currencies
from nowtwin.records import audit
from nowtwin.records import rule_hooks as rules
from nowtwin.records.accept import SYSTEM_COLUMNS, Acceptance, Accepted
from nowtwin.records.write_rules import BuiltInRules, Manner, Pending, WriteCheck, WriteRules
from nowtwin.schema import metadata
from nowtwin.schema.class_paths import COLUMN, class_path
from nowtwin.schema.dictionary import Column, Dictionary
from nowtwin.schema.numbering import Numbering
from nowtwin.storage.rows import Storage
from nowtwin.values import Stored, to_stored

_MAX_ID = 32
_USUAL = Manner()


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
        self.rules: WriteRules | None = None
        """Business rules, where the instance has scripts."""
        self.built_in: BuiltInRules | None = None
        self.vault: Vault | None = None
        self.checks: tuple[WriteCheck, ...] = ()
        self.switches: Callable[[], Switches] = Switches
        """The instance's switches as they are now."""
        self.filing: Callable[[], audit.DeletionRules] = audit.DeletionRules

    def read(self, table: str, sys_id: str) -> Record | None:
        """The record if it is of this table or of a class below it."""
        row = None if self._dictionary.view(table) else self._storage.get(self._dictionary.root(table), sys_id)
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
        self,
        table: str,
        body: Mapping[str, str],
        user: User,
        switches: Switches,
        *,
        display_values: bool = False,
        manner: Manner = _USUAL,
    ) -> Record:
        if self._dictionary.view(table):
            raise errors.view_is_read_only(switches.view_write_status, "Insert")
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
        values |= {"sys_class_name": actual, "sys_id": sys_id}
        self._fill_defaults(actual, values, user, stamp)
        if self.vault:
            self.vault.complete(self._dictionary.lineage(actual), values, accepted.secrets)
            values |= self.vault.marks(accepted.secrets)
        pending = Pending("insert", actual, sys_id, {}, values, accepted.journals, user)
        watched = self._apply_rules(pending, manner, body, stamp)
        values = pending.values | {"sys_id": sys_id, "sys_mod_count": "0"}
        if pending.auto_sys_fields:
            values |= dict.fromkeys(("sys_created_on", "sys_updated_on"), stamp)
            values |= dict.fromkeys(("sys_created_by", "sys_updated_by"), user.user_name)
        else:
            values |= pending.explicit
        values |= acceptance.stamps(actual, body)
        with self._storage.transaction():
            self._refuse_duplicates(actual, sys_id, values)
            self._store_new(actual, values)
            self._file_journals(pending, stamp)
            self._file_money(pending, values, body, stamp)
        self._take_notice(actual, values, accepted)
        self._report(Written(actual, sys_id, int(values["sys_mod_count"]), "insert"))
        self._tell(pending, values, watched=watched)
        return Record(actual, sys_id, values)

    def _take_notice(self, table: str, values: Mapping[str, str], accepted: Accepted) -> None:
        """What lives outside the tables follows a write: the dictionary, and secrets."""
        metadata.take_in(self._dictionary, table, self._with_parent(table, values))
        if table == "sys_number":
            self.numbering.forget()
        if self.vault and accepted.secrets:
            self.vault.keep(table, values, accepted.secrets)

    def _with_parent(self, table: str, values: Mapping[str, str]) -> Mapping[str, str]:
        """A row of sys_db_object with the name of the table that it extends, which has a sys_id of its own."""
        parent = values.get("super_class") if table == "sys_db_object" else None
        row = self._storage.get("sys_db_object", parent) if parent else None
        return {**values, "super_class": str(row["name"])} if row and "name" in row else values

    def _apply_rules(self, pending: Pending, manner: Manner, body: Mapping[str, str], stamp: str) -> bool:
        """Business rules that come first, the platform's own, the later business rules; whether any rule watches.

        Raises Refused 403 when a rule aborts the write.
        """
        pending.workflow, pending.auto_sys_fields = manner.workflow, manner.auto_sys_fields
        if not manner.auto_sys_fields:
            pending.explicit = {e: text for e, text in body.items() if e in SYSTEM_COLUMNS - {"sys_id"}}
        watching = self.rules if pending.workflow and self.rules and self.rules.watches(pending.table) else None
        if watching:
            watching.before(pending, engines_ran=False)
        if pending.workflow:
            if pending.operation != "delete":
                lineage = self._dictionary.lineage(pending.table)
                now = self.switches()
                write = rules.Write(
                    lineage,
                    pending.before,
                    pending.values,
                    pending.user.sys_id,
                    stamp,
                    priority_looked_up=now.priority_looked_up,
                    skipped=str(now.task_skipped_state),
                    caller_commented=now.caller_comment_reopens and _caller_commented(pending),
                )
                pending.values |= rules.derive(write)
            if self.built_in and self.built_in.watches(pending):
                self.built_in.before(pending)
        if watching:
            watching.before(pending, engines_ran=True)
        if pending.operation != "delete":
            if self.rules and self._dictionary.calculates():
                self.rules.calculate(pending)
            for check in self.checks:
                check.require(pending)
        return watching is not None

    def _tell(self, pending: Pending, values: Mapping[str, str], *, watched: bool) -> None:
        """The write is in the database: the platform's further rules, and business rules that come after."""
        following = self.built_in if pending.workflow and self.built_in and self.built_in.watches(pending) else None
        if not following and not watched:
            return
        pending.values = dict(values)
        if following:
            following.after(pending)
        if watched and pending.workflow and self.rules:
            self.rules.after(pending)

    def defaults(self, table: str, user: User) -> dict[str, str]:
        """What a new record of this class begins with."""
        values = {"sys_class_name": table}
        self._fill_defaults(table, values, user, self._clock.stamp())
        return values

    def _store_new(self, table: str, values: Mapping[str, str]) -> None:
        columns = self._dictionary.columns(table)
        stored = {name: to_stored(_type(columns, name), text) for name, text in values.items() if text}
        try:
            self._storage.insert(self._dictionary.root(table), stored)
        except IntegrityError as error:
            raise self._duplicate(values["sys_id"], "PRIMARY") from error

    def _refuse_duplicates(self, table: str, sys_id: str, values: Mapping[str, str]) -> None:
        root = self._dictionary.root(table)
        for element, column in self._dictionary.columns(table).items():
            text = values.get(element, "")
            unique = column.unique or (element == "number" and self.switches().numbers_unique)
            if not unique or element == "sys_id" or not text or not self._storage.has(root, element):
                continue
            sql = f'SELECT 1 FROM "{root}" WHERE "{element}" = ? AND sys_id <> ? LIMIT 1'  # noqa: S608 - names of the dictionary
            if self._storage.rows(sql, (to_stored(column.type, text), sys_id)):
                raise self._duplicate(text, element)

    def _duplicate(self, text: str, column: str) -> errors.Refused:
        detail = f"Unique Key violation detected by database (Duplicate entry '{text}' for key '{column}')"
        return errors.Refused(self.switches().duplicate_status, errors.failed(detail).message, detail)

    def _fill_defaults(self, table: str, values: dict[str, str], user: User, stamp: str) -> None:
        for element, column in self._dictionary.columns(table).items():
            if column.default and not column.derived and not values.get(element):
                default = self._default(table, column, values, user, stamp)
                if default:
                    values[element] = default

    def _default(self, table: str, column: Column, values: Mapping[str, str], user: User, stamp: str) -> str:
        default = column.default or ""
        if not default.startswith("javascript:"):
            return default
        script = default.removeprefix("javascript:").strip().rstrip(";")
        if "getNextObjNumberPadded" in script:
            return self.numbering.next(table)
        if ".getClassPath(" in script:
            return class_path(self._dictionary, table)
        known = {
            "gs.getUserID()": user.sys_id,
            "gs.getUserName()": user.user_name,
            "gs.nowDateTime()": stamp,
            "gs.now()": stamp[:10],
            "current.getTableName()": table,
            "ChangeModel.getDefaultTypeValue()": "normal",
        }.get(script)
        if known is not None:
            return known
        return self.rules.default_value(default, table, values, user) if self.rules else ""

    # -- update ------------------------------------------------------------------------------------------------

    def update(
        self,
        record: Record,
        body: Mapping[str, str],
        user: User,
        switches: Switches,
        *,
        display_values: bool = False,
        manner: Manner = _USUAL,
    ) -> Record:
        actual = self._new_class(record, body)
        acceptance = Acceptance(self._dictionary, self._storage, switches, user)
        accepted = acceptance.take(actual, body, display_values=display_values)
        stamp = self._clock.stamp()
        after = {**record.values, **accepted.values, "sys_class_name": actual}
        if self.vault:
            after |= self.vault.marks(accepted.secrets)
        if actual != record.table:
            kept = self._dictionary.columns(actual)
            after = {element: text for element, text in after.items() if element in kept}
            after |= {COLUMN: class_path(self._dictionary, actual)} if COLUMN in kept else {}
        pending = Pending("update", actual, record.sys_id, record.values, after, accepted.journals, user)
        watched = self._apply_rules(pending, manner, body, stamp)
        after = pending.values
        elements = {*after, *record.values}
        changed = {e: after.get(e, "") for e in elements if after.get(e, "") != record.values.get(e, "")}
        stamps = acceptance.stamps(actual, body)
        if not changed and not pending.journals and not accepted.secrets and not manner.force and not stamps:
            return record
        changed |= self._system_changes(pending, stamp) | stamps
        self._store_changes(pending, changed, body, stamp, audited=manner.workflow)
        values = {e: text for e, text in {**record.values, **changed}.items() if text}
        self._take_notice(actual, values, accepted)
        self._report(Written(actual, record.sys_id, int(values.get("sys_mod_count", "0")), "update"))
        self._tell(pending, values, watched=watched)
        return Record(actual, record.sys_id, values)

    def _system_changes(self, pending: Pending, stamp: str) -> dict[str, str]:
        if not pending.auto_sys_fields:
            return pending.explicit
        count = int(pending.before.get("sys_mod_count", "0")) + 1
        return {"sys_updated_on": stamp, "sys_updated_by": pending.user.user_name, "sys_mod_count": str(count)}

    def _store_changes(
        self, pending: Pending, changed: Mapping[str, str], body: Mapping[str, str], stamp: str, *, audited: bool
    ) -> None:
        columns = self._dictionary.columns(pending.table)
        stored = {name: to_stored(_type(columns, name), text) for name, text in changed.items()}
        with self._storage.transaction():
            self._refuse_duplicates(pending.table, pending.sys_id, changed)
            if stored:
                self._storage.update(self._dictionary.root(pending.table), pending.sys_id, stored)
            self._file_journals(pending, stamp)
            self._file_money(pending, changed, body, stamp)
            if audited:
                self._file_history(pending, {**changed, **pending.journals}, stamp)

    def _new_class(self, record: Record, body: Mapping[str, str]) -> str:
        """A write to sys_class_name reclassifies within the tree (servicenow-api.md 3.3)."""
        wanted = body.get("sys_class_name", "")
        if wanted in self._dictionary.tables and self._dictionary.root(wanted) == self._dictionary.root(record.table):
            return wanted
        return record.table

    def _file_journals(self, pending: Pending, stamp: str) -> None:
        for element, text in pending.journals.items():
            row: dict[str, Stored] = {
                "sys_id": self.new_id(),
                "sys_class_name": "sys_journal_field",
                "name": pending.table,
                "element": element,
                "element_id": pending.sys_id,
                "value": text,
                "sys_created_on": stamp,
                "sys_created_by": pending.user.user_name,
            }
            self._storage.insert("sys_journal_field", row)

    def _file_money(self, pending: Pending, changed: Mapping[str, str], body: Mapping[str, str], stamp: str) -> None:
        """What was entered into columns of money; a row of its own for each, until the column is empty."""
        columns = self._dictionary.columns(pending.table)
        for element in changed.keys() & columns.keys():
            if columns[element].type in MONEY:
                amount = Amount(pending.table, pending.sys_id, element, changed[element], body.get(element, ""))
                Currencies(self._storage).file(amount, MONEY[columns[element].type], stamp, pending.user.user_name)

    def _file_history(self, pending: Pending, changed: Mapping[str, str], stamp: str) -> None:
        """One sys_audit row per changed column, on audited tables."""
        if not audit.changes_filed(self._dictionary, pending.table):
            return
        before = pending.before
        checkpoint = int(changed.get("sys_mod_count") or before.get("sys_mod_count", "0"))
        for element, new in changed.items():
            if element not in audit.UNAUDITED:
                change = audit.Change(pending.table, pending.sys_id, element, before.get(element, ""), new)
                row = audit.history(change, checkpoint, self._entry(pending.user, stamp))
                self._storage.insert("sys_audit", row)

    # -- delete ------------------------------------------------------------------------------------------------

    def delete(self, record: Record, user: User, *, manner: Manner = _USUAL) -> None:
        stamp = self._clock.stamp()
        pending = Pending("delete", record.table, record.sys_id, record.values, dict(record.values), {}, user)
        watched = self._apply_rules(pending, manner, {}, stamp)
        with self._storage.transaction():
            self._storage.delete(self._dictionary.root(record.table), record.sys_id)
            self._file_money(pending, dict.fromkeys(record.values, ""), {}, stamp)
            self._file_deletion(record, manner, user, stamp)
        metadata.take_out(self._dictionary, record.table, record.values)
        count = int(record.values.get("sys_mod_count", "0"))
        self._report(Written(record.table, record.sys_id, count, "delete"))
        self._tell(pending, record.values, watched=watched)

    def _file_deletion(self, record: Record, manner: Manner, user: User, stamp: str) -> None:
        filing = self.filing()
        deleted = audit.Deleted(record.table, record.sys_id, record.values)
        if filing.file(self._dictionary, record.table, manner):
            shown = record.values.get(self._dictionary.display_column(record.table), "")
            self._storage.insert("sys_audit_delete", audit.deletion(deleted, shown, self._entry(user, stamp)))
        if filing.in_history and manner.filed is not False and filing.watch(self._dictionary, record.table):
            self._storage.insert("sys_audit", audit.passing(deleted, "DELETED", self._entry(user, stamp)))

    def _entry(self, user: User, stamp: str) -> audit.Entry:
        return audit.Entry(self.new_id(), user.user_name, stamp)


def _caller_commented(pending: Pending) -> bool:
    return "comments" in pending.journals and pending.before.get("caller_id") == pending.user.sys_id


def _type(columns: Mapping[str, Column], element: str) -> str:
    column = columns.get(element)
    return column.type if column else "string"
