"""What becomes of records that reference a deleted one: the cascade rule of the reference column
(`sys_dictionary.reference_cascade_rule`; D:t_CascadeDeleteRules.md, "Configure cascade delete rules").

`delete` and `cascade` delete them, `delete_no_workflow` without rules, `restrict` forbids the deletion, `none` leaves them as
they are, `clear` empties the reference. A column without a rule is cleared. What follows happens in the name of `system`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from nowtwin.accounts.users import User
from nowtwin.errors import Refused, failed
from nowtwin.records.ground import Ground
from nowtwin.records.write_rules import Manner
from nowtwin.schema.dictionary import Column
from nowtwin.storage.rows import quote

_DELETES: Final = frozenset({"delete", "cascade", "delete_no_workflow"})
_USER: Final = "system"

Pointing = Mapping[str, tuple[Column, ...]]
"""Columns that reference a table, by the physical table that holds them."""


class Cascades:
    def __init__(self, instance: Ground) -> None:
        self._instance = instance
        self._revision = -1
        self._by_target: dict[str, list[tuple[str, Column]]] = {}

    def require(self, table: str, sys_id: str) -> None:
        """Raises Refused 403 where a record references this one through a column that restricts."""
        restricting = self._pointing(table, frozenset({"restrict"}))
        for root, columns in restricting.items():
            if next(self._found(root, columns, sys_id), None):
                raise failed(f"Delete of {table} is restricted: records of {columns[0].table} reference it")

    def follow(self, table: str, sys_id: str) -> None:
        """The record is gone: delete or clear what references it."""
        instance = self._instance
        rules = _DELETES | {"clear"}
        user = instance.acting(_USER)
        for root, columns in self._pointing(table, rules).items():
            for other, hits in list(self._found(root, columns, sys_id)):
                self._apply(root, other, hits, user)

    def _apply(self, root: str, sys_id: str, hits: tuple[Column, ...], user: User) -> None:
        """The strongest rule counts where several columns of a record point at the deleted one."""
        instance = self._instance
        record = instance.records.read(root, sys_id)
        if record is None:  # gone by a cascade of its own
            return
        rules = {self._rule(column) for column in hits}
        if rules & _DELETES:
            manner = Manner(workflow="delete_no_workflow" not in rules, filed=instance.switches.cascaded_deletes_filed)
            instance.records.delete(record, user, manner=manner)
            return
        manner = Manner(workflow=False, auto_sys_fields=instance.switches.cleared_references_stamped)
        cleared = {column.element: "NULL" for column in hits}
        try:
            instance.records.update(record, cleared, user, instance.switches, manner=manner)
        except Refused:  # a policy wants the column filled: the reference stays, to a record that is gone
            return

    def _found(self, root: str, columns: tuple[Column, ...], sys_id: str) -> Iterator[tuple[str, tuple[Column, ...]]]:
        """Records that hold the sys_id in one of the columns, with the columns that do."""
        names = [quote(column.element) for column in columns]
        where = " OR ".join(f"{name} = ?" for name in names)
        sql = f"SELECT sys_id, {', '.join(names)} FROM {quote(root)} WHERE {where}"  # noqa: S608 - quoted names
        for found, *values in self._instance.storage.rows(sql, (sys_id,) * len(names)):
            hits = tuple(column for column, value in zip(columns, values, strict=True) if value == sys_id)
            yield str(found), hits

    def _pointing(self, table: str, rules: frozenset[str]) -> Pointing:
        """Columns with one of these rules that reference the table or an ancestor of it, as far as anything is stored in
        them.
        """
        dictionary, storage = self._instance.dictionary, self._instance.storage
        self._refresh()
        found: dict[str, dict[str, Column]] = defaultdict(dict)
        for target in dictionary.lineage(table):
            for root, column in self._by_target.get(target, ()):
                if self._rule(column) in rules and storage.has(root, column.element):
                    found[root].setdefault(column.element, column)
        return {root: tuple(columns.values()) for root, columns in found.items()}

    def _rule(self, column: Column) -> str:
        return column.cascade or ("clear" if self._instance.switches.references_cleared_on_delete else "none")

    def _refresh(self) -> None:
        dictionary = self._instance.dictionary
        if dictionary.revision == self._revision:
            return
        self._revision = dictionary.revision
        self._by_target = defaultdict(list)
        for name in dictionary.tables:
            for column in dictionary.own_columns(name):
                if column.type == "reference" and column.reference and column.reference_key == "sys_id":
                    self._by_target[column.reference].append((dictionary.root(name), column))
