"""Business rules at work (servicenow-api.md 8.1): which rules run for a write or a read, and what comes of them.

A script that fails is a line in syslog, and the write goes on with what the script had set until then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from nowtwin import errors
from nowtwin.accounts.users import User
from nowtwin.clock import later
from nowtwin.query.parse import Query, Term
from nowtwin.records.accept import SYSTEM_COLUMNS, Acceptance
from nowtwin.records.matching import Subject, meets
from nowtwin.records.write_rules import Pending
from nowtwin.schema.shipped import stock_default_scripts
from nowtwin.scripting.access_scripts import AccessScripts
from nowtwin.scripting.business_rules import ENGINES_AT, Rule, RuleBook, version_of
from nowtwin.scripting.calculations import Calculations
from nowtwin.scripting.endpoints import Endpoints
from nowtwin.scripting.engine import Engine
from nowtwin.scripting.events import Events
from nowtwin.scripting.host_records import Queries, query_of, script_switches
from nowtwin.scripting.jobs import Jobs
from nowtwin.scripting.platform import Platform
from nowtwin.scripting.schedules import Schedules
from nowtwin.scripting.scope import Running, Scope
from nowtwin.scripting.session import Frame, Outcome
from nowtwin.values import Stored

_NO_ROWS = Query((((Term("sys_id", "IN", ""),),),))


@dataclass(frozen=True, slots=True)
class Displayed:
    """A record as display rules leave it for a form, and what they put into `g_scratchpad`."""

    values: Mapping[str, str]
    scratchpad: Mapping[str, Any]


class Scripts:
    """The rules of one instance. The pipeline calls it with the storage lock held; jobs take it for each step."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._engine = Engine(platform, Queries(self._restrict))
        self.access = AccessScripts(platform, self._engine)
        self.calculations = Calculations(platform, self._engine)
        self.endpoints = Endpoints(self._engine)
        self._known: tuple[tuple[int, int, bool], RuleBook] | None = None
        self.jobs = Jobs(lambda: platform.switches.scheduler_workers)
        self.schedules = Schedules(platform, self._engine, self.jobs)
        self.events = Events(platform, self._engine, self.jobs)

    def close(self) -> None:
        """End what runs and what waits."""
        self.schedules.stop()
        self._engine.close()
        self.jobs.stop()

    def _book(self) -> RuleBook:
        platform = self._platform
        needs_advanced = platform.switches.script_needs_advanced
        version = (version_of(platform.storage), platform.dictionary.revision, needs_advanced)
        known = self._known
        if known is None or known[0] != version:
            with platform.storage.lock:
                book = RuleBook(platform.dictionary, platform.storage, script_needs_advanced=needs_advanced)
            known = self._known = (version, book)
        return known[1]

    # -- writes ------------------------------------------------------------------------------------------------

    def watches(self, table: str) -> bool:
        book = self._book()
        return not book.empty and bool(book.of_class(table))

    def may_block(self, *, writes: bool) -> bool:
        """Whether a request may have to wait for scripts, so that it should not run where others are served."""
        book = self._book()
        platform = self._platform
        calculates = platform.dictionary.calculates() and (writes or not platform.switches.calculated_columns_stored)
        return (not book.empty and (writes or book.reads)) or calculates or platform.access.runs_scripts()

    def before(self, pending: Pending, *, engines_ran: bool) -> None:
        for rule in self._book().of(pending.table, "before", pending.operation):
            if pending.workflow and (rule.order >= ENGINES_AT) == engines_ran:
                self._run_before(rule, pending)

    def _run_before(self, rule: Rule, pending: Pending) -> None:
        if not self._applies(rule, pending):
            return
        with self._engine.scope(pending.user) as scope:
            outcome = self._run(rule, pending, pending.values)
            if outcome is None or not outcome.ran:
                return
            limited = rule.foreign and self._platform.switches.foreign_rules_only_set_values
            self._take(pending, structs.replace(outcome, workflow=True, auto_sys_fields=True) if limited else outcome)
            if (outcome.aborted or rule.abort) and not limited:
                raise _aborted(rule, pending.table, scope)

    def _take(self, pending: Pending, outcome: Outcome) -> None:
        """What a before rule set becomes part of the write."""
        platform = self._platform
        pending.workflow = pending.workflow and outcome.workflow
        pending.auto_sys_fields = pending.auto_sys_fields and outcome.auto_sys_fields
        if not outcome.changes or pending.operation == "delete":
            return
        acceptance = Acceptance(platform.dictionary, platform.storage, script_switches(platform.switches), pending.user)
        accepted = acceptance.take(pending.table, outcome.changes)
        pending.values |= accepted.values
        pending.journals |= accepted.journals
        pending.explicit |= {e: text for e, text in outcome.changes.items() if e in SYSTEM_COLUMNS - {"sys_id"}}

    def after(self, pending: Pending) -> None:
        rules = [r for r in self._book().of_class(pending.table) if pending.operation in r.operations]
        values: Mapping[str, str] = pending.values
        ran = False
        for rule in rules:
            if rule.when == "after" and self._applies(rule, pending):
                if ran and pending.operation != "delete":
                    record = self._platform.records.read(pending.table, pending.sys_id)
                    values = record.values if record else values
                self._run(rule, pending, values)
                ran = True
        for rule in rules:
            if rule.when == "async" and self._applies(rule, pending):
                self._queue(rule, pending)

    def _applies(self, rule: Rule, pending: Pending) -> bool:
        """Roles and filter condition; the scripted condition is the engine's."""
        if not self._has_role(rule, pending.user):
            return False
        if rule.filter is None:
            return True
        before = None if pending.operation == "insert" else pending.before
        return self._meets(rule.filter, Subject(pending.table, pending.values, before), pending.user)

    def _has_role(self, rule: Rule, user: User) -> bool:
        """`role_conditions` lists sys_ids or names of roles, of which the user needs one."""
        if not rule.roles or user.admin:
            return True
        rows = (self._platform.storage.get("sys_user_role", role) for role in rule.roles)
        names = {str(row.get("name", "")) for row in rows if row}
        return not user.roles.isdisjoint(names | rule.roles)

    def _meets(self, query: Query, subject: Subject, user: User) -> bool:
        platform = self._platform
        moment = platform.moment(user)
        return meets(platform.dictionary, platform.storage, subject, query, platform.switches, moment)

    def _run(self, rule: Rule, pending: Pending, values: Mapping[str, str]) -> Outcome | None:
        frame = Frame(
            key=rule.key,
            script=rule.script,
            condition=rule.condition,
            template=rule.template if rule.when == "before" else (),
            table=pending.table,
            operation=pending.operation,
            when=rule.when,
            values=values,
            previous=None if pending.operation == "insert" else pending.before,
        )
        return self._engine.run(frame, Running(rule.name, rule.sys_id, pending.sys_id), pending.user)

    # -- async rules -------------------------------------------------------------------------------------------

    def _queue(self, rule: Rule, pending: Pending) -> None:
        """The scripted condition is decided now, while there is a `previous`."""
        if rule.condition and not self._condition_holds(rule, pending):
            return
        platform = self._platform
        delay = platform.switches.async_rule_delay_ms / 1000
        trigger = platform.records.new_id()
        stamp = platform.clock.stamp()
        row: dict[str, Stored] = {"sys_id": trigger, "sys_class_name": "sys_trigger", "name": f"ASYNC: {rule.name}"}
        row |= {
            "trigger_type": 0,
            "state": 0,
            "document": pending.table,
            "document_key": pending.sys_id,
            "sys_mod_count": 0,
        }
        row |= {"next_action": later(platform.clock, delay), "sys_created_on": stamp, "sys_updated_on": stamp}
        row |= dict.fromkeys(("sys_created_by", "sys_updated_by"), pending.user.user_name)
        platform.storage.insert("sys_trigger", row)
        self.jobs.queue(lambda: self._run_job(trigger, rule, pending), delay)

    def _condition_holds(self, rule: Rule, pending: Pending) -> bool:
        frame = Frame(
            key=rule.key,
            condition=rule.condition,
            table=pending.table,
            operation=pending.operation,
            when="after",
            values=pending.values,
            previous=None if pending.operation == "insert" else pending.before,
        )
        outcome = self._engine.run(frame, Running(rule.name, rule.sys_id, pending.sys_id), pending.user)
        return outcome is not None and outcome.ran

    def _run_job(self, trigger: str, rule: Rule, pending: Pending) -> None:
        """Run an async rule on the record as it is now; as it was when that is gone. A deleted trigger runs nothing."""
        platform = self._platform
        storage = platform.storage
        with storage.lock:
            if storage.get("sys_trigger", trigger) is None:
                return
            record = (
                platform.records.read(pending.table, pending.sys_id) if platform.switches.async_rules_reread else None
            )
            values = dict(record.values if record else pending.values)
            checked = platform.property("glide.businessrule.async_condition_check") == "true"
        late = Pending(pending.operation, pending.table, pending.sys_id, {}, values, {}, pending.user)
        if not checked or self._applies(rule, late):
            frame = Frame(
                key=rule.key,
                script=rule.script,
                condition=rule.condition if checked else "",
                table=pending.table,
                operation=pending.operation,
                when="async",
                values=values,
            )
            self._engine.run(frame, Running(rule.name, rule.sys_id, pending.sys_id), pending.user)
        with storage.lock:
            if storage.get("sys_trigger", trigger) is not None:
                storage.delete("sys_trigger", trigger)

    # -- reads -------------------------------------------------------------------------------------------------

    def restrict(self, table: str, query: Query, user: User) -> Query:
        """The query with what query rules of the table add to it. They run for every user, admins too."""
        if not self.restricts(table):
            return query
        rules = list(self._book().of(table, "before", "query"))
        with self._engine.scope(user) as scope:
            return self._restricted(rules, scope, table, query)

    def restricts(self, table: str) -> bool:
        """Whether query rules look at reads of the table."""
        book = self._book()
        return book.reads and any(book.of(table, "before", "query"))

    def _restrict(self, scope: Scope, table: str, query: Query) -> Query:
        return self.restrict(table, query, scope.user)

    def _restricted(self, rules: list[Rule], scope: Scope, table: str, query: Query) -> Query:
        if table in scope.querying:
            return query
        scope.querying.add(table)
        try:
            for rule in rules:
                query = self._run_query_rule(rule, scope, table, query)
        finally:
            scope.querying.discard(table)
        return query

    def _run_query_rule(self, rule: Rule, scope: Scope, table: str, query: Query) -> Query:
        if not self._has_role(rule, scope.user):
            return query
        frame = Frame(
            key=rule.key,
            script=rule.script,
            condition=rule.condition,
            table=table,
            operation="query",
            when="before",
        )
        outcome = self._engine.run(frame, Running(rule.name, rule.sys_id, ""), scope.user)
        if outcome is None or not outcome.ran or outcome.query is None:
            return query
        return _NO_ROWS if outcome.aborted or rule.abort else _both(query, query_of(outcome.query))

    def display(self, table: str, values: Mapping[str, str], user: User) -> Displayed:
        """Run the display rules on a record that is about to be shown in a form; nothing is stored."""
        shown = dict(values)
        scratchpad: dict[str, Any] = {}
        for rule in self._book().of(table, "display", "display"):
            frame = Frame(
                key=rule.key,
                script=rule.script,
                condition=rule.condition,
                table=table,
                operation="display",
                when="display",
                values=shown,
                previous=values,
                wants_scratchpad=True,
            )
            outcome = self._engine.run(frame, Running(rule.name, rule.sys_id, values.get("sys_id", "")), user)
            if outcome and outcome.ran:
                shown |= outcome.changes
                scratchpad |= outcome.scratchpad or {}
        return Displayed(shown, scratchpad)

    # -- defaults and calculations ----------------------------------------------------------------------------------------------

    def default_value(self, script: str, table: str, values: Mapping[str, str], user: User) -> str:
        """Stock defaults call script includes of the platform, which the twin does not have: they give nothing
        without a look, unless somebody wrote the include.
        """
        if script in stock_default_scripts() and not self._engine.knows_name_in(script):
            return ""
        frame = Frame(
            key=f"default {script}",
            script=script,
            expression=True,
            table=table,
            operation="insert",
            when="before",
            values=values,
        )
        outcome = self._engine.run(frame, Running(f"default value of {table}", "", values.get("sys_id", "")), user)
        return (outcome.value or "") if outcome else ""

    def calculate(self, pending: Pending) -> None:
        self.calculations.fill(pending)


def _both(query: Query, more: Query) -> Query:
    """Every alternative of the one under every alternative of the other."""
    groups = tuple(group + extra for group in query.groups or ((),) for extra in more.groups or ((),))
    return Query(groups, query.order + more.order, query.group_by)


def _aborted(rule: Rule, table: str, scope: Scope) -> errors.Refused:
    """servicenow-api.md 1.8; what the script said with gs.addErrorMessage does not reach the client."""
    stack = ",".join([running.name for running in scope.running] + [rule.name])
    return errors.failed(
        f"Operation against file '{table}' was aborted by Business Rule '{rule.name}^{rule.sys_id}'. "
        f"Business Rule Stack:{stack}",
    )
