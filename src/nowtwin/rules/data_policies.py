"""Data policies: rows of sys_data_policy2 and sys_data_policy_rule, enforced on every write, whoever makes it
(D:platform-administration/c_DataPolicy.md, r_DataPolicyFields.md; servicenow-api.md 11.1).

A rule makes a column mandatory or read-only while the policy's conditions hold for the record as it would become;
"reverse if false" turns it round while they do not. A policy reaches the classes below its table only if it is inherited.
The text for read-only columns is an assumption, modelled on the known one for mandatory columns.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from nowtwin import errors
from nowtwin.query.parse import Query, parse
from nowtwin.records.ground import Ground
from nowtwin.records.matching import Subject, meets
from nowtwin.records.write_rules import Pending
from nowtwin.schema.dictionary import label_of
from nowtwin.storage.rows import Storage

_TABLES: Final = ("sys_data_policy2", "sys_data_policy_rule")
_POLICY: Final = ("sys_id", "model_table", "conditions", "active", "inherit", "reverse_if_false")
_RULE: Final = ("sys_data_policy", "field", "mandatory", "disabled")
_EXCEPTION: Final = "Data Policy Exception: The following fields are {}: {}"


@dataclass(frozen=True, slots=True)
class Rule:
    """`mandatory` and `disabled` as stored: `true`, `false` or `ignore`."""

    field: str
    mandatory: str
    disabled: str


@dataclass(frozen=True, slots=True)
class Policy:
    table: str
    conditions: Query
    inherit: bool
    reverse_if_false: bool
    rules: tuple[Rule, ...]

    def states(self, *, met: bool) -> Iterator[tuple[str, bool, bool]]:
        """Each column with whether it is mandatory and whether it is read-only."""
        wanted = "true" if met else "false" if self.reverse_if_false else ""
        for rule in self.rules:
            yield rule.field, rule.mandatory == wanted, rule.disabled == wanted


class DataPolicies:
    def __init__(self, instance: Ground) -> None:
        self._instance = instance
        self._version: tuple[int, ...] | None = None
        self._policies: tuple[Policy, ...] = ()
        instance.storage.ensure("sys_data_policy2", _POLICY)
        instance.storage.ensure("sys_data_policy_rule", _RULE)

    def require(self, pending: Pending) -> None:
        """Raises Refused 403 for a write that a policy forbids."""
        missing = self._unfilled(pending) if self._instance.switches.mandatory_columns_enforced else set()
        locked: set[str] = set()
        enforced = self._instance.switches.data_policies
        for policy in self._for_table(pending.table) if enforced else ():
            for field, mandatory, read_only in policy.states(met=self._met(policy, pending)):
                if mandatory and not (pending.values.get(field) or pending.journals.get(field)):
                    missing.add(field)
                if read_only and self._touched(pending, field):
                    locked.add(field)
        if missing:
            raise errors.failed(_EXCEPTION.format("mandatory", self._labels(pending.table, missing)))
        if locked:
            raise errors.failed(_EXCEPTION.format("read-only", self._labels(pending.table, locked)))

    def _unfilled(self, pending: Pending) -> set[str]:
        """Columns that the dictionary marks mandatory and that a new record lacks, or that an update empties."""
        columns = self._instance.dictionary.columns(pending.table).values()
        empty = {c.element for c in columns if c.mandatory and not pending.values.get(c.element)}
        if pending.operation == "insert":
            return {element for element in empty if not pending.journals.get(element)}
        return {element for element in empty if pending.before.get(element)}

    def _met(self, policy: Policy, pending: Pending) -> bool:
        instance = self._instance
        subject = Subject(pending.table, pending.values, pending.before or None)
        moment = instance.moment(pending.user)
        return meets(instance.dictionary, instance.storage, subject, policy.conditions, instance.switches, moment)

    def _touched(self, pending: Pending, field: str) -> bool:
        value = pending.values.get(field, "")
        if pending.operation == "update":
            return value != pending.before.get(field, "") or bool(pending.journals.get(field))
        column = self._instance.dictionary.column(pending.table, field)
        return bool(value) and not (column and column.default)

    def _labels(self, table: str, fields: set[str]) -> str:
        columns = self._instance.dictionary.columns(table)
        labels = (columns[field].label or label_of(field) for field in fields if field in columns)
        return ", ".join(sorted(labels))

    def _for_table(self, table: str) -> Iterator[Policy]:
        self._refresh()
        lineage = self._instance.dictionary.lineage(table) if self._policies else ()
        for policy in self._policies:
            if policy.table == table or (policy.inherit and policy.table in lineage):
                yield policy

    def _refresh(self) -> None:
        storage = self._instance.storage
        version = tuple(storage.versions.get(table, 0) for table in _TABLES)
        if version != self._version:
            self._version = version
            self._policies = tuple(_read(storage))


def _read(storage: Storage) -> Iterator[Policy]:
    rules: dict[str, list[Rule]] = {}
    for row in _rows(storage, "sys_data_policy_rule", _RULE):
        rules.setdefault(row["sys_data_policy"], []).append(Rule(row["field"], row["mandatory"], row["disabled"]))
    for row in _rows(storage, "sys_data_policy2", _POLICY):
        if row["active"] != "false" and row["sys_id"] in rules:
            yield Policy(
                row["model_table"],
                parse(row["conditions"]),
                row["inherit"] == "true",
                row["reverse_if_false"] == "true",
                tuple(rules[row["sys_id"]]),
            )


def _rows(storage: Storage, table: str, columns: tuple[str, ...]) -> Iterator[Mapping[str, str]]:
    names = ", ".join(f'"{column}"' for column in columns)
    for row in storage.rows(f'SELECT {names} FROM "{table}" ORDER BY sys_id'):  # noqa: S608 - fixed names
        yield {name: "" if value is None else str(value) for name, value in zip(columns, row, strict=True)}
