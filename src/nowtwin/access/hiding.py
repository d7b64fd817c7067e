"""The one place that decides what a user may read, query and write.

Two sources: access control lists (`acl`), which admins pass where a rule lets them, and hide rules, which tests set
through the control API and which nothing overrides. With the switch `access_control` off only hide rules count.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from nowtwin.access.acl import DENIED, GRANTED, Queries, RuleBook, Scripted, Verdict
from nowtwin.accounts.users import User
from nowtwin.errors import Refused
from nowtwin.query.parse import Condition, Query, RelatedList, Term
from nowtwin.schema.dictionary import Dictionary
from nowtwin.schema.function_fields import fields_of
from nowtwin.schema.views import View, place_of

_MATCH = frozenset({"=", "!=", "IN", "NOT IN", "SAMEAS", "NSAMEAS", "ANYTHING", "EMPTYSTRING", "ISEMPTY", "ISNOTEMPTY"})
"""Operators that `query_match` guards; `query_range` guards the others and sorting (D:query-acl-rule.md)."""


_KEPT_VEILS = 1_000
SCRIPT_WRITER = "snc_required_script_writer_permission"
_SCRIPT_TYPES = frozenset({"script", "script_plain", "script_server", "script_client", "condition_string"})
"""What data-type rules guard with role SCRIPT_WRITER, for admins too (D:scripting-governance)."""


@dataclass(frozen=True, slots=True)
class HideRule:
    table: str
    query: str = ""
    """Which rows; with `elements` set it is not used."""
    elements: tuple[str, ...] = ()
    user: str | None = None
    """The account that cannot see them; None means every account without role admin."""


@dataclass(frozen=True, slots=True)
class Veil:
    """Rows that a user does not see.

    Without `classes`: rows of `table` that meet one of `alternatives`. With them: rows of exactly these classes that
    meet none of the alternatives, or fail a query of `required`.
    """

    table: str
    alternatives: tuple[Queries, ...] = ()
    required: Queries = ()
    classes: tuple[str, ...] = ()
    place: str = ""
    """Which record of a row it is about: the row's own, one that a walk over references reaches (`caller_id`), or that
    of a table of a view (`views.place_of`).
    """

    @property
    def scripts(self) -> frozenset[Scripted]:
        return Verdict(self.alternatives, self.required).scripts


@dataclass(frozen=True, slots=True)
class Check:
    """What a record must pass before a column of it is shown; `place` as of a Veil."""

    place: str
    table: str
    verdict: Verdict = GRANTED
    veils: tuple[Veil, ...] = ()

    @property
    def scripts(self) -> frozenset[Scripted]:
        return self.verdict.scripts.union(*(veil.scripts for veil in self.veils))


class Access:
    def __init__(
        self,
        dictionary: Dictionary,
        rules: RuleBook,
        *,
        enforced: Callable[[], bool],
        default_deny: Callable[[], bool],
        scripts_governed: Callable[[], bool],
        views_need_rules: Callable[[], bool],
    ) -> None:
        """`default_deny`: whether tables without a rule are for admins only (`glide.sm.default_mode`);
        `scripts_governed`: whether columns of scripts need a role of their own; `views_need_rules`: whether rules of
        the tables of a view never count for it (`glide.security.expander.view.legacy`).
        """
        self._dictionary = dictionary
        self._book = rules
        self._enforced = enforced
        self._default_deny = default_deny
        self._scripts_governed = scripts_governed
        self._views_need_rules = views_need_rules
        self._veils: dict[tuple[object, ...], tuple[Veil, ...]] = {}
        self.rules: list[HideRule] = []

    # -- rows --------------------------------------------------------------------------------------------------

    def hidden_rows(self, user: User, table: str) -> tuple[Veil, ...]:
        """What of a table and its classes the user does not see."""
        hidden = (rule for rule in self._rules_for(user) if not rule.elements and self._related(rule.table, table))
        own = (*(Veil(rule.table, ((rule.query,),)) for rule in hidden), *self._denied(user, table))
        view = self._dictionary.view(table)
        return (*own, *self._hidden_in_view(user, table, view)) if view else own

    def _hidden_in_view(self, user: User, table: str, view: View) -> Iterable[Veil]:
        """Rows with a record that the user does not see, unless the view has rules of its own (c_DatabaseViews.md)."""
        if self._has_own_rules(table):
            return
        for member in view.tables:
            for veil in self.hidden_rows(user, member.table):
                yield replace(veil, place=place_of(member.prefix))

    def _has_own_rules(self, view: str) -> bool:
        return self._enforced() and (self._book.governs(view, "read") or self._views_need_rules())

    def _denied(self, user: User, table: str) -> tuple[Veil, ...]:
        """Veils of the access control lists; the same for all users with the same roles."""
        if not self._enforced() or (self._dictionary.view(table) and not self._has_own_rules(table)):
            return ()
        classes = self._dictionary.classes(table)
        key = (user.roles, classes, self._book.version(), self._default_deny())
        known = self._veils.get(key)
        if known is None:
            if len(self._veils) >= _KEPT_VEILS:
                self._veils.clear()
            known = self._veils[key] = self._find_denied(user, table)
        return known

    def _find_denied(self, user: User, table: str) -> tuple[Veil, ...]:
        groups: dict[Verdict, list[str]] = {}
        for name in self._dictionary.classes(table):
            verdict = self.verdict(user, name, "read")
            if not verdict.always:
                groups.setdefault(verdict, []).append(name)
        return tuple(
            Veil(classes[0] if len(classes) == 1 else table, verdict.alternatives, verdict.required, tuple(classes))
            for verdict, classes in groups.items()
        )

    def verdict(self, user: User, table: str, operation: str) -> Verdict:
        """What table rules say about an operation on records of exactly this class."""
        if not self._enforced():
            return GRANTED
        view = self._dictionary.view(table)
        if view and not self._has_own_rules(table):
            denied = any(self.verdict(user, member.table, operation).never for member in view.tables)
            return DENIED if denied else GRANTED
        return self._book.table_verdict(user, table, operation, default_deny=self._default_deny())

    # -- columns -----------------------------------------------------------------------------------------------

    def hidden_columns(self, user: User, table: str) -> frozenset[str]:
        """Columns that are absent from every record of this user's answers, with the function fields made of them."""
        hidden = self._ruled_columns(user, table)
        made = {
            element
            for element, paths in self._functions(table)
            if not all(self._sees(user, table, path, self._ruled_columns) for path in paths)
        }
        return hidden | made

    def _functions(self, table: str) -> Iterable[tuple[str, tuple[str, ...]]]:
        """The function fields of a table with what they are made of, on which access to them depends as well."""
        for column in self._dictionary.derived_columns(table):
            if column.function:
                yield column.element, fields_of(column.function)

    def _ruled_columns(self, user: User, table: str) -> frozenset[str]:
        rules = (rule for rule in self._rules_for(user) if rule.elements and self._related(rule.table, table))
        hidden = {element for rule in rules for element in rule.elements}
        if self._enforced():
            hidden |= {e for e in self._guarded(table, "read") if self._field(user, table, e, "read").never}
        view = self._dictionary.view(table)
        for member in view.tables if view else ():
            hidden |= {f"{member.prefix}_{element}" for element in self._ruled_columns(user, member.table)}
        return frozenset(hidden)

    def conditional_columns(self, user: User, table: str) -> dict[str, tuple[Check, ...]]:
        """Columns that are absent from some records, with what says from which; for function fields that of the columns
        they are made of too.
        """
        if not self._enforced():
            return {}
        found = self._conditional(user, table)
        for element, paths in self._functions(table):
            made = [check for path in paths for check in self._checks(user, table, path, self._conditional)]
            if made:
                found[element] = (*found.get(element, ()), *made)
        return found

    def _conditional(self, user: User, table: str) -> dict[str, tuple[Check, ...]]:
        verdicts = {e: self._field(user, table, e, "read") for e in self._guarded(table, "read")}
        found: dict[str, tuple[Check, ...]] = {
            e: (Check("", table, v),) for e, v in verdicts.items() if not v.never and not v.always
        }
        view = self._dictionary.view(table)
        for member in view.tables if view else ():
            for element, checks in self._conditional(user, member.table).items():
                placed = (replace(check, place=place_of(member.prefix)) for check in checks)
                found[f"{member.prefix}_{element}"] = (*found.get(f"{member.prefix}_{element}", ()), *placed)
        return found

    def checks_on(self, user: User, table: str, path: str) -> tuple[Check, ...]:
        """What the records on the way of a dotted path must pass before the column at its end is shown: the conditions
        and scripts of rules for each record and for the column that is looked at.
        """
        return self._checks(user, table, path, self.conditional_columns)

    def _checks(
        self, user: User, table: str, path: str, conditional: Callable[[User, str], dict[str, tuple[Check, ...]]]
    ) -> tuple[Check, ...]:
        checks: list[Check] = []
        steps = path.split(".")
        here: str | None = table
        for at, step in enumerate(steps):
            if here is None or here not in self._dictionary.tables:
                break
            walked = ".".join(steps[:at])
            veils = tuple(replace(veil, place=walked) for veil in self.hidden_rows(user, here)) if at else ()
            checks += [Check(walked, here, veils=veils)] if veils else []
            of_column = conditional(user, here).get(step, ())
            checks += of_column if not at else [replace(check, place=walked) for check in of_column]
            column = self._dictionary.column(here, step)
            here = column.reference if column else None
        return tuple(checks)

    def sees_path(self, user: User, table: str, path: str) -> bool:
        """Whether every step of a dotted path may be read, as far as roles say: the columns, and the tables behind
        references.
        """
        return self._sees(user, table, path, self.hidden_columns)

    def _sees(self, user: User, table: str, path: str, hidden: Callable[[User, str], frozenset[str]]) -> bool:
        place: str | None = table
        for at, step in enumerate(path.split(".")):
            if place is None or place not in self._dictionary.tables:
                return True
            if at and self.verdict(user, place, "read").never:
                return False
            if step in hidden(user, place):
                return False
            column = self._dictionary.column(place, step)
            place = column.reference if column else None
        return True

    def writable(self, user: User, table: str, elements: Iterable[str], operation: str) -> frozenset[str]:
        """Those of the columns that field rules let the user write (`write`) or set on insert (`create`)."""
        if not self._enforced():
            return frozenset(elements)
        elements = set(elements) - self._governed_columns(user, table)
        return frozenset(e for e in elements if not self._field(user, table, e, operation).never)

    def _governed_columns(self, user: User, table: str) -> frozenset[str]:
        """Columns of scripts that the user may not write, though he may write the record."""
        if not self._scripts_governed() or SCRIPT_WRITER in user.roles:
            return frozenset()
        columns = self._dictionary.columns(table)
        return frozenset(element for element, column in columns.items() if column.type in _SCRIPT_TYPES)

    def column_verdict(self, user: User, table: str, element: str, operation: str) -> Verdict:
        """What field rules say about one column of records of exactly this class."""
        return self._field(user, table, element, operation) if self._enforced() else GRANTED

    def endpoint_verdict(self, user: User, sys_ids: Iterable[str]) -> Verdict:
        """What the rules that a REST API names say about a call."""
        return self._book.endpoint_verdict(user, sys_ids) if self._enforced() else GRANTED

    def api_verdict(self, user: User, sys_id: str) -> Verdict:
        """What the rule of a REST API says about a call; while it is not active, every call is granted."""
        return self.endpoint_verdict(user, (sys_id,)) if self._book.guards_api(sys_id) else GRANTED

    def runs_scripts(self) -> bool:
        """Whether looking at records may run scripts of rules."""
        return self._enforced() and self._book.has_scripts()

    def _field(self, user: User, table: str, element: str, operation: str) -> Verdict:
        return self._book.field_verdict(user, table, element, operation)

    def _guarded(self, table: str, operation: str) -> frozenset[str]:
        named = self._book.guarded_elements(table, operation)
        columns = self._dictionary.columns(table)
        return frozenset(columns) if "*" in named else named & columns.keys()

    # -- queries -----------------------------------------------------------------------------------------------

    def refuse_query(self, user: User, table: str, query: Query) -> None:
        """Raises Refused 403 when the query looks at a column that the user may not read (1.6)."""
        for path, operation in _paths(query):
            if not self._may_query(user, table, path, operation):
                raise _unreadable()

    @staticmethod
    def refuse_unknown(query: Query, known: Callable[[str], bool]) -> None:
        """The same for a query on a column that does not exist, where the instance does not drop its condition."""
        paths = (path for path, _ in _paths(query) if not path.startswith("sys_tags"))
        if not all(map(known, paths)):
            raise _unreadable()

    def refuse_paths(self, user: User, table: str, paths: Iterable[str]) -> None:
        """The same for columns that are grouped by or aggregated."""
        if not all(self.sees_path(user, table, path) for path in paths):
            raise _unreadable()

    def _may_query(self, user: User, table: str, path: str, operation: str) -> bool:
        element = path.split(".", maxsplit=1)[0]
        if self._enforced() and self._book.has_field_rule(table, element, operation):
            return not self._field(user, table, element, operation).never
        return self.sees_path(user, table, path)

    # -- hide rules --------------------------------------------------------------------------------------------

    def _rules_for(self, user: User) -> Iterable[HideRule]:
        for rule in self.rules:
            if rule.user == user.user_name or (rule.user is None and not user.admin):
                yield rule

    def _related(self, one: str, other: str) -> bool:
        return one in self._dictionary.lineage(other) or other in self._dictionary.lineage(one)


def _unreadable() -> Refused:
    return Refused(
        403, "Insufficient rights to query records", "Field(s) present in the query do not have permission to be read"
    )


def _paths(query: Query) -> Iterable[tuple[str, str]]:
    """Each column that a query looks at, with the kind of look."""
    for group in query.groups:
        for clause in group:
            for condition in clause:
                yield from _looked_at(condition)
    for order in query.order:
        yield order.field, "query_range"


def _looked_at(condition: Condition) -> Iterable[tuple[str, str]]:
    if isinstance(condition, Term):
        yield condition.field, "query_match" if condition.operator in _MATCH else "query_range"
    elif isinstance(condition, RelatedList):
        yield condition.own, "query_match"
