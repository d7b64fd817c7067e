"""Access control lists: rows of sys_security_acl to verdicts (D:platform-security/access-control, pages
exploring-access-control-list, acl-rule-types, acl-denial-behavior, c_DefaultDenyProperty).

A table rule is searched from the class over its ancestors to `*`, a field rule over six levels; any rule that passes
grants, and where none exists access is granted, apart from the default mode of `*` for tables. A deny-unless rule that
fails denies whatever else passes. An empty rule denies. Roles, condition and script of a rule must all pass; verdicts name
the conditions and scripts that are left to look at a record (`granting`, `veiling`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from nowtwin.accounts.users import User
from nowtwin.schema.dictionary import Dictionary
from nowtwin.storage.rows import Storage


@dataclass(frozen=True, slots=True)
class Scripted:
    """The script of a rule; it grants what it sets `answer` to, or else what its last statement came to."""

    sys_id: str
    name: str
    script: str


Queries = tuple[str | Scripted, ...]
"""Encoded queries and scripts that a record must all meet."""
ENDPOINT = "rest_endpoint"
"""The type of a rule that guards a scripted REST API."""
TABLES = ("sys_security_acl", "sys_security_acl_role", "sys_user_role")
_USED = ("name", "operation", "type", "active", "condition", "applies_to", "script", "advanced", "decision_type")


@dataclass(frozen=True, slots=True)
class Rule:
    table: str
    element: str
    """Empty for a table rule, `*` for any field."""
    roles: frozenset[str]
    condition: str
    applies_to: str
    script: Scripted | None
    deny_unless: bool
    admin_overrides: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """Granted for records that meet one of `alternatives` (each a set of queries) and all of `required`.

    An alternative without queries is met by every record; without alternatives nothing is granted.
    """

    alternatives: tuple[Queries, ...]
    required: Queries = ()

    @property
    def always(self) -> bool:
        return () in self.alternatives and not self.required

    @property
    def never(self) -> bool:
        return not self.alternatives

    @property
    def scripts(self) -> frozenset[Scripted]:
        """Those that are to be run before a record is granted."""
        parts = (*self.required, *(part for alternative in self.alternatives for part in alternative))
        return frozenset(part for part in parts if isinstance(part, Scripted))


GRANTED = Verdict(((),))
DENIED = Verdict(())


class RuleBook:
    """All active record rules, by operation and object; read again when their tables are written."""

    def __init__(self, dictionary: Dictionary, storage: Storage, ignored: Callable[[], frozenset[str]]) -> None:
        """`ignored`: sys_ids of rules that do not count."""
        self._ignored = ignored
        self._dictionary = dictionary
        self._storage = storage
        self._version: tuple[int, ...] | None = None
        self._rules: dict[str, dict[tuple[str, str], tuple[Rule, ...]]] = {}
        self._scripted = False
        storage.ensure("sys_security_acl", (*_USED, "admin_overrides"))
        storage.ensure("sys_security_acl_role", ("sys_security_acl", "sys_user_role"))
        storage.ensure("sys_user_role", ("name",))

    def version(self) -> tuple[int, ...]:
        return (*(self._storage.versions.get(root, 0) for root in TABLES), len(self._ignored()))

    def table_verdict(self, user: User, table: str, operation: str, *, default_deny: bool) -> Verdict:
        """What table rules say about records of exactly this class."""
        line = self._dictionary.lineage(table)
        found = [self._matching(operation, name, "") for name in (*line, "*")]
        if any(found):
            return _verdict(user, [rule for level in found for rule in level])
        return GRANTED if user.admin or not default_deny else DENIED

    def field_verdict(self, user: User, table: str, element: str, operation: str) -> Verdict:
        """What field rules say about one column of this class."""
        line = (*self._dictionary.lineage(table), "*")
        levels = [(name, wanted) for wanted in (element, "*") for name in line]
        rules = [rule for name, wanted in levels for rule in self._matching(operation, name, wanted)]
        if rules:
            return _verdict(user, rules)
        if operation == "create":  # *.* for create reuses the conditions of write
            return self.field_verdict(user, table, element, "write")
        return GRANTED

    def has_field_rule(self, table: str, element: str, operation: str) -> bool:
        line = (*self._dictionary.lineage(table), "*")
        return any(self._matching(operation, name, wanted) for wanted in (element, "*") for name in line)

    def governs(self, table: str, operation: str) -> bool:
        """Whether some table rule names this very table."""
        return bool(self._matching(operation, table, ""))

    def guarded_elements(self, table: str, operation: str) -> frozenset[str]:
        """Columns of this class that some field rule names; `*` when a rule names them all."""
        self._refresh()
        line = {*self._dictionary.lineage(table), "*"}
        names = self._rules.get(operation, {})
        return frozenset(element for name, element in names if name in line and element)

    def endpoint_verdict(self, user: User, sys_ids: Iterable[str]) -> Verdict:
        """What rules say about a call of a REST API that names them; one that is not there denies."""
        found = [self._matching(ENDPOINT, sys_id, "") for sys_id in sys_ids]
        return _verdict(user, [rule for rules in found for rule in rules]) if all(found) else DENIED

    def guards_api(self, sys_id: str) -> bool:
        """Whether the rule of a REST API is active."""
        return bool(self._matching(ENDPOINT, sys_id, ""))

    def has_scripts(self) -> bool:
        """Whether some rule would run a script."""
        self._refresh()
        return self._scripted

    def _matching(self, operation: str, table: str, element: str) -> tuple[Rule, ...]:
        self._refresh()
        return self._rules.get(operation, {}).get((table, element), ())

    def _refresh(self) -> None:
        version = self.version()
        if version != self._version:
            self._rules = _by_operation(self._storage, self._ignored())
            self._scripted = any(
                rule.script for named in self._rules.values() for rules in named.values() for rule in rules
            )
            self._version = version


def _by_operation(storage: Storage, ignored: frozenset[str]) -> dict[str, dict[tuple[str, str], tuple[Rule, ...]]]:
    roles = _required_roles(storage)
    rules: dict[str, dict[tuple[str, str], tuple[Rule, ...]]] = {}
    columns = ", ".join(("sys_id", *_USED, "admin_overrides"))
    for row in storage.rows(f"SELECT {columns} FROM sys_security_acl ORDER BY sys_id"):  # noqa: S608 - fixed names
        sys_id, name, operation, kind, active, condition, applies_to, script, advanced, decision, overrides = (
            "" if value is None else str(value) for value in row
        )
        if active == "false" or kind.lower() not in {"", "record", ENDPOINT} or not name or sys_id in ignored:
            continue
        endpoint = kind.lower() == ENDPOINT
        table, _, element = name.partition(".")
        rule = Rule(
            table,
            element,
            frozenset(roles.get(sys_id, ())),
            "" if endpoint else condition.removesuffix("^EQ"),
            "" if endpoint else applies_to.removesuffix("^EQ"),
            script=Scripted(sys_id, name, script) if advanced == "true" and script.strip() else None,
            deny_unless=decision in {"deny", "deny_unless"},
            admin_overrides=overrides != "false",
        )
        at = rules.setdefault(ENDPOINT if endpoint else operation, {})
        if endpoint:  # found by the API that names it
            table, element = sys_id, ""
        at[table, element] = (*at.get((table, element), ()), rule)
    return rules


def _required_roles(storage: Storage) -> Mapping[str, Iterable[str]]:
    roles: dict[str, list[str]] = {}
    sql = (
        "SELECT r.sys_security_acl, n.name FROM sys_security_acl_role r "
        "LEFT JOIN sys_user_role n ON n.sys_id = r.sys_user_role"
    )
    for rule, name in storage.rows(sql):
        roles.setdefault(str(rule), []).append("" if name is None else str(name))
    return roles


def _verdict(user: User, rules: Iterable[Rule]) -> Verdict:
    alternatives: list[Queries] = []
    required: list[str | Scripted] = []
    allow_rules = 0
    for rule in rules:
        met = _met(user, rule)
        if rule.deny_unless:
            if met is None:
                return DENIED
            required.extend(met)
        else:
            allow_rules += 1
            if met is not None:
                alternatives.append(met)
    if not allow_rules:  # a deny-unless rule that passes grants where nothing else is said
        alternatives.append(())
    return Verdict(((),) if () in alternatives else tuple(alternatives), tuple(required))


def _met(user: User, rule: Rule) -> Queries | None:
    """The queries that are left to check when roles pass; None when the rule fails for every record."""
    if rule.admin_overrides and user.admin:
        return ()
    if rule.roles and rule.roles.isdisjoint(user.roles):
        return None
    if not (rule.roles or rule.condition or rule.script):
        return None
    return tuple(part for part in (rule.condition, rule.applies_to, rule.script) if part)
