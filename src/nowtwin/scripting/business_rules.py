"""Business rules as rows of sys_script (servicenow-api.md 8.1), read again when that table was written.

Rules of a parent table run for its children. Order decides, within one table and across the class tree.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from nowtwin.query.parse import Query, Term, parse
from nowtwin.rules.state_models import MODELS
from nowtwin.schema.dictionary import Dictionary
from nowtwin.storage.rows import Storage
from nowtwin.values import number_of

When = Literal["before", "after", "async", "display"]
ENGINES_AT = 1_000
"""Before rules with a lower order run before the platform's engines, the others after them."""
_DEFAULT_ORDER = 100
_WHEN: Mapping[str, When] = {
    "before": "before",
    "after": "after",
    "async": "async",
    "async_always": "async",
    "before_display": "display",
}
_OPERATIONS = ("insert", "update", "delete", "query")


@dataclass(frozen=True, slots=True)
class Rule:
    sys_id: str
    name: str
    table: str
    when: When
    operations: frozenset[str]
    order: float
    filter: Query | None
    condition: str
    script: str
    template: tuple[tuple[str, str, str], ...]
    """(column, `=` or SAMEAS, value)"""
    roles: frozenset[str]
    abort: bool
    message: str
    foreign: bool
    """Of a scoped application, on a table that is not its own."""
    version: str
    """Changes with every edit of the rule."""

    @property
    def key(self) -> str:
        """Names the compiled script."""
        return f"{self.sys_id}:{self.version}"


_BY_PLATFORM = frozenset(model.sys_id for model in MODELS)
"""Rules that the platform does itself; they have no script here."""


class RuleBook:
    def __init__(self, dictionary: Dictionary, storage: Storage, *, script_needs_advanced: bool) -> None:
        self._dictionary = dictionary
        self._storage = storage
        self._script_needs_advanced = script_needs_advanced
        self._by_table: dict[str, list[Rule]] = {}
        for row in _rows(storage):
            rule = self._rule(row)
            self._by_table.setdefault(rule.table, []).append(rule)
        self._of_class: dict[str, tuple[Rule, ...]] = {}
        self.reads = any("query" in rule.operations for rules in self._by_table.values() for rule in rules)
        """Whether any rule looks at reads."""

    @property
    def empty(self) -> bool:
        return not self._by_table

    def of_class(self, table: str) -> tuple[Rule, ...]:
        """All active rules for records of exactly this class, in order."""
        found = self._of_class.get(table)
        if found is None:
            rules = [rule for name in self._dictionary.lineage(table) for rule in self._by_table.get(name, ())]
            found = tuple(sorted(rules, key=lambda rule: (rule.order, rule.name, rule.sys_id)))
            self._of_class[table] = found
        return found

    def of(self, table: str, when: When, operation: str) -> Iterable[Rule]:
        return (rule for rule in self.of_class(table) if rule.when == when and operation in rule.operations)

    def _is_foreign(self, row: Mapping[str, str]) -> bool:
        """Tables of an application begin with its scope."""
        application = row.get("sys_scope", "global")
        if application == "global":
            return False
        known = self._storage.get(self._dictionary.root("sys_scope"), application)
        scope = str(known.get("scope", "")) if known else ""
        return scope not in {"", "global"} and not row.get("collection", "").startswith(f"{scope}_")

    def _rule(self, row: Mapping[str, str]) -> Rule:
        advanced = row.get("advanced") == "true" or not self._script_needs_advanced
        when = _WHEN.get(row.get("when", ""), "after")
        display = when == "display"
        order = number_of(row.get("order", ""))
        filter_condition = row.get("filter_condition", "")
        condition = row.get("condition", "").strip() if advanced else ""
        script = _script(row, when) if advanced else ""
        return Rule(
            sys_id=row["sys_id"],
            name=row.get("name", ""),
            table=row.get("collection", ""),
            when=when,
            operations=frozenset(
                {"display"} if display else {o for o in _OPERATIONS if row.get(f"action_{o}") == "true"}
            ),
            order=_DEFAULT_ORDER if order is None else order,
            filter=parse(filter_condition) if filter_condition.strip("^") not in {"", "EQ"} else None,
            condition=condition,
            script=script,
            template=_template(row.get("template", "")),
            roles=frozenset(name.strip() for name in row.get("role_conditions", "").split(",") if name.strip()),
            abort=row.get("abort_action") == "true",
            foreign=self._is_foreign(row),
            message=row.get("message", "") if row.get("add_message") == "true" else "",
            version=f"{row.get('sys_mod_count', '')}:{row.get('sys_updated_on', '')}:{hash((condition, script))}",
        )


def version_of(storage: Storage) -> int:
    return storage.versions.get("sys_script", 0)


_FUNCTIONS: Mapping[When, str] = {"before": "onBefore", "after": "onAfter", "async": "onAsync", "display": "onDisplay"}


def _script(row: Mapping[str, str], when: When) -> str:
    """The script; with `execute_function` also the call of the function it defines."""
    script = row.get("script", "")
    if row.get("execute_function") == "true":
        name = _FUNCTIONS[when]
        script += f"\nif (typeof {name} === 'function') {name}(current, previous, g_scratchpad);"
    return script if script.strip() else ""


def _template(text: str) -> tuple[tuple[str, str, str], ...]:
    terms = (condition for group in parse(text).groups for clause in group for condition in clause)
    return tuple((t.field, t.operator, t.value) for t in terms if isinstance(t, Term) and t.operator in {"=", "SAMEAS"})


def _rows(storage: Storage) -> Iterable[dict[str, str]]:
    storage.ensure("sys_script", ("active", "collection"))
    sql = "SELECT sys_id FROM sys_script WHERE active = 'true' AND ifnull(collection, '') <> ''"
    for (sys_id,) in storage.rows(sql):
        row = None if sys_id in _BY_PLATFORM else storage.get("sys_script", str(sys_id))
        if row is not None:
            yield {name: str(value) for name, value in row.items()}
