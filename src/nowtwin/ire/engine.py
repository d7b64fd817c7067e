"""A payload from end to end: identify every item, then commit what may be committed, then the relations.

Items are taken in an order in which a host comes before what depends on it and a referenced item before the one that
references it. Error codes and messages: id-engine-error-messages.md.
"""

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from nowtwin.accounts.users import User
from nowtwin.instance import Instance
from nowtwin.ire.checks import acceptable, sub_criterion
from nowtwin.ire.commit import Committer
from nowtwin.ire.dependence import Dependence, QualificationLoop, Way, conflict
from nowtwin.ire.identify import UNKNOWN, Host, Match, by_rule, by_source, values_for
from nowtwin.ire.locks import held
from nowtwin.ire.outcome import Options, Outcome, RelationOutcome, Result
from nowtwin.ire.payload import Item, Payload, Relation, SubItem, shown
from nowtwin.ire.reclassify import decide_class
from nowtwin.ire.rules import Entry, Rule, insert_blocked, rule_for
from nowtwin.records.selecting import equalities, select


class Engine:
    """Runs one payload for one user."""

    def __init__(self, instance: Instance, payload: Payload, source: str, user: User, options: Options) -> None:
        self._instance = instance
        self._payload = payload
        self._source = source
        self._options = options
        self._rules: dict[str, Rule | None] = {}
        self._matches: dict[int, Match] = {}
        self._hosts: dict[int, int] = {}
        self._dependence = Dependence(instance, payload)
        self._committer = Committer(instance, user)

    def run(self) -> Result:
        outcomes = self._outcomes()
        by_index = {index: outcome for outcome in outcomes for index in outcome.indices}
        ordered = self._ordered(outcomes, by_index)
        for outcome in ordered:
            self._identify(outcome, by_index)
        self._abandon_all(outcomes)
        for outcome in ordered:
            self._commit(outcome, by_index)
        relations = [self._relate(n, relation, by_index) for n, relation in enumerate(self._payload.relations)]
        return Result(self._options, outcomes, relations)

    # -- items -------------------------------------------------------------------------------------------------

    def _outcomes(self) -> list[Outcome]:
        """One per item; enhanced runs join items that mean the same CI."""
        outcomes: list[Outcome] = []
        seen: dict[tuple[str, ...], Outcome] = {}
        for index, given in enumerate(self._payload.items):
            item = self._without_doubles(given)
            source = self._source or item.sys_object_source_info.source_name or item.texts.get("discovery_source", "")
            outcome = Outcome(item, [index], source)
            key = self._criterion(item)
            first = seen.get(key) if key else None
            if first is None:
                seen[key] = outcome
            elif self._options.enhanced and self._options.deduplicate_payloads:
                first.indices.append(index)
                first.item = first.item.joined(item)
                continue
            else:
                self._fail_duplicate(first, outcome, key)
            outcomes.append(outcome)
        return outcomes

    def _without_doubles(self, item: Item) -> Item:
        """Enhanced runs take a lookup or related item that comes twice once."""
        rule = self._rule(item.class_name)
        if rule is None or not (self._options.enhanced and self._options.deduplicate_payloads):
            return item
        return msgspec.structs.replace(
            item,
            lookup=_once([(sub, rule.lookup(sub.class_name)) for sub in item.lookup]),
            related=_once([(sub, rule.related_to(sub.class_name)) for sub in item.related]),
        )

    def _criterion(self, item: Item) -> tuple[str, ...]:
        """What makes an independent item the same as another: class, attributes and values of an entry."""
        rule = self._rule(item.class_name)
        if rule is None or not rule.independent:
            return ()
        for entry in rule.entries:
            values = None if entry.table else values_for(entry, item.texts)
            if values:
                return (item.class_name, *values, *values.values())
        return ()

    @staticmethod
    def _fail_duplicate(first: Outcome, second: Outcome, key: tuple[str, ...]) -> None:
        half = len(key) // 2
        message = (
            f"Found duplicate items in the payload (index {first.index} and {second.index}), using className "
            f"[{key[0]}] and fields [{', '.join(key[1 : half + 1])}]. Remove duplicate items from payload"
        )
        first.fail("DUPLICATE_PAYLOAD_RECORDS", message)
        second.fail("DUPLICATE_PAYLOAD_RECORDS", message)

    def _rule(self, class_name: str) -> Rule | None:
        if class_name not in self._rules:
            known = class_name in self._instance.dictionary.tables
            self._rules[class_name] = rule_for(self._instance, class_name) if known else None
        return self._rules[class_name]

    def _ordered(self, outcomes: list[Outcome], by_index: dict[int, Outcome]) -> list[Outcome]:
        ordered: list[Outcome] = []
        placed: set[int] = set()

        def place(outcome: Outcome, above: frozenset[int]) -> None:
            if outcome.index in placed or outcome.index in above:
                return
            for needed in self._needed(outcome):
                if needed in by_index:
                    place(by_index[needed], above | {outcome.index})
            if outcome.index not in placed:
                placed.add(outcome.index)
                ordered.append(outcome)

        for outcome in outcomes:
            place(outcome, frozenset())
        return ordered

    def _needed(self, outcome: Outcome) -> Iterator[int]:
        """Indexes of items that this one hangs on or references."""
        for reference in self._payload.reference_items:
            if outcome.item.internal_id and reference.referenced_by == outcome.item.internal_id:
                index = self._payload.index_of(reference.referenced)
                if index is not None:
                    yield index
        rule = self._rule(outcome.item.class_name)
        if rule is not None and not rule.independent:
            for way in self._ways_in_order(outcome):
                self._hosts[outcome.index] = way.host
                yield way.host

    def _ways_in_order(self, outcome: Outcome) -> list[Way]:
        """For the order alone: a loop is told when the item is identified."""
        try:
            return self._dependence.ways(outcome)
        except QualificationLoop:
            return []

    # -- identification ----------------------------------------------------------------------------------------

    def _identify(self, outcome: Outcome, by_index: dict[int, Outcome]) -> None:
        rule = self._rule(outcome.item.class_name)
        if not acceptable(self._instance, outcome, rule, self._options) or rule is None:
            return
        match = self._given(outcome)
        if match is None:
            host = None if rule.independent else self._host(outcome, by_index)
            if host is None and not rule.independent:
                return
            match = self._match(outcome, rule, host)
        self._matches[outcome.index] = match
        outcome.attempts, outcome.entry_id = match.attempts, match.entry_id
        self._conclude(outcome, rule, match)
        self._committer.foresee(outcome, rule)
        self._check_lock(outcome)

    def _check_lock(self, outcome: Outcome) -> None:
        target = outcome.item.class_name if outcome.sys_id == UNKNOWN else outcome.sys_id
        if self._options.commit and held(self._instance, target):
            outcome.fail("LOCK_TIMEOUT", f"Failed to acquire synchronization lock for {target}")

    def _given(self, outcome: Outcome) -> Match | None:
        """A sys_id among the values names the CI outright."""
        sys_id = outcome.item.texts.get("sys_id", "")
        if not sys_id:
            return None
        record = self._instance.records.read("cmdb_ci", sys_id)
        if record is None or record.values.get("duplicate_of"):
            outcome.fail(
                "INVALID_INPUT_DATA",
                f"Found invalid sys_id in payload. No record with sys_id [{sys_id}] exist in table "
                f"[{outcome.item.class_name}] or is a duplicate record with [duplicate_of] field set to a main CI",
            )
            return Match(())
        return Match((), sys_id)

    def _match(self, outcome: Outcome, rule: Rule, host: Host | None) -> Match:
        attempt, sys_id = by_source(self._instance, outcome.item.sys_object_source_info)
        before = (attempt,) if attempt else ()
        if sys_id is not None:
            return Match(before, sys_id)
        match = by_rule(self._instance, outcome.item, rule, host)
        return replace(match, attempts=(*before, *match.attempts))

    def _conclude(self, outcome: Outcome, rule: Rule, match: Match) -> None:
        if outcome.failed and match.sys_id is None and not match.attempts:
            return
        if match.several and match.sys_id is None:
            self._fail_several(outcome, match)
        elif match.sys_id is not None:
            outcome.sys_id = match.sys_id
            decide_class(self._instance, outcome, match.sys_id)
        elif not match.attempted:
            self._incomplete(outcome, rule)
        else:
            self._check_mandatory(outcome)
            self._check_source_rule(outcome)

    def _fail_several(self, outcome: Outcome, match: Match) -> None:
        """A dependent item says which relation of which host is meant by several."""
        host = match.host
        if host is not None and host.sys_id is not None:
            message = (
                f"Duplicate dependent records found having relationship [{host.relation}] with same CI "
                f"(className:[{self._instance.record('cmdb_ci', host.sys_id).table}], sysId:[{host.sys_id}])"
            )
            outcome.fail("MULTI_MATCH", message)
            return
        attempt = match.attempts[-1]
        message = (
            f"Found duplicate records in table [{attempt.searched}] using fields [{', '.join(attempt.attributes)}]"
        )
        outcome.fail("MULTIPLE_DUPLICATE_RECORDS", message)

    def _check_source_rule(self, outcome: Outcome) -> None:
        """A source may be kept from inserting a class; enhanced runs keep the item as partial (create-ire-data-source-rule.md)."""
        name = outcome.item.class_name
        if outcome.failed or not insert_blocked(self._instance, name, outcome.source):
            return
        message = f"Insert into [{name}] is blocked for data source [{outcome.source}] by IRE data source rule"
        outcome.fail("INSERT_NOT_ALLOWED_FOR_SOURCE", message)
        if self._options.enhanced and self._options.partial_payloads:
            outcome.operation = "INSERT_AS_PARTIAL"

    def _incomplete(self, outcome: Outcome, rule: Rule) -> None:
        """Too few values to identify anything: kept as partial where the source can complete it later."""
        message = (
            "In payload missing minimum set of input values for criterion (matching) attributes from identify rule for "
            f"table [{rule.applies_to}]. Add these input values in payload item '{shown(outcome.item, outcome.source)}'"
        )
        outcome.fail("MISSING_MATCHING_ATTRIBUTES", message)
        keyed = outcome.item.sys_object_source_info.source_native_key
        if self._options.enhanced and self._options.partial_payloads and keyed and len(outcome.errors) == 1:
            outcome.warnings, outcome.errors = outcome.errors, []
            outcome.operation = "INSERT_AS_PARTIAL"

    def _check_mandatory(self, outcome: Outcome) -> None:
        if self._instance.property("glide.required.attribute.enabled") == "false":
            return
        texts = outcome.item.texts
        table = outcome.item.class_name
        for element, column in self._instance.dictionary.columns(table).items():
            if column.mandatory and not texts.get(element) and not column.default and element != "sys_class_name":
                message = f"Missing mandatory field [{element}] in table [{table}]. Add input value for mandatory field in payload"
                outcome.fail("REQUIRED_ATTRIBUTE_EMPTY", message)

    # -- dependence --------------------------------------------------------------------------------------------

    def _host(self, outcome: Outcome, by_index: dict[int, Outcome]) -> Host | None:
        """The CI that a dependent item hangs on. Where it lacks one the errors say why."""
        dependencies = self._dependence.rules(outcome.item.class_name)
        name = outcome.item.class_name
        if not dependencies:
            message = f"No containment or hosting rules defined for dependent class [{name}]. Add containment/hosting rules for '{name}'"
            outcome.fail("METADATA_RULE_MISSING", message)
            return None
        ways = self._ways(outcome)
        if outcome.failed:
            return None
        if not ways:
            rules = ", ".join(map(str, dependencies))
            outcome.fail(
                "MISSING_DEPENDENCY",
                f"In payload no relations defined for dependent class [{name}] that matches any containment/hosting "
                f"rules: [{rules}]. Add appropriate relations in payload for '{shown(outcome.item, outcome.source)}'",
            )
            return None
        trouble = conflict(outcome, ways, by_index)
        if trouble is not None:
            outcome.errors.append(trouble)
            return None
        host = by_index[ways[0].host]
        if host.failed:
            self._abandon(outcome, host)
            return None
        match = self._matches.get(host.index)
        dependency = ways[0].dependency
        return Host(match.sys_id if match else None, dependency.relation, dependency.dependent_is_child)

    def _ways(self, outcome: Outcome) -> list[Way]:
        """To the hosts of an item; a loop of qualifiers is an error of it."""
        try:
            return self._dependence.ways(outcome)
        except QualificationLoop as loop:
            text = msgspec.json.encode(loop.relation).decode()
            outcome.fail("QUALIFICATION_LOOP", f"Qualification chain has loop that contains relation '{text}'")
            return []

    def _abandon(self, outcome: Outcome, host: Outcome) -> None:
        outcome.fail(
            "ABANDONED",
            f"Abandoning processing payload item '{shown(outcome.item, outcome.source)}', since its depends on payload "
            f"item '{shown(host.item, host.source)}' has errors",
        )

    # -- committing --------------------------------------------------------------------------------------------

    def _abandon_all(self, outcomes: list[Outcome]) -> None:
        """Without partial commits one failed item keeps the others out as well."""
        partial = self._options.enhanced and (self._options.partial_commits or self._options.partial_payloads)
        if partial or not self._instance.switches.ire_all_or_nothing or not any(o.failed for o in outcomes):
            return
        for outcome in outcomes:
            if not outcome.failed:
                outcome.fail("ABANDONED", "Too many other errors")

    def _commit(self, outcome: Outcome, by_index: dict[int, Outcome]) -> None:
        host = by_index.get(self._hosts.get(outcome.index, -1))
        if host is not None and host.failed and not outcome.failed:
            self._abandon(outcome, host)
        match = self._matches.get(outcome.index)
        if match is not None and self._options.commit:
            self._committer.file_tasks(outcome, match)
        if not self._options.commit:
            if outcome.failed and outcome.operation != "INSERT_AS_PARTIAL":
                outcome.operation = "INSERT_AS_INCOMPLETE"
            elif outcome.operation == "INSERT_AS_PARTIAL":
                outcome.partial = self._committer.partials(outcome)
        elif outcome.operation == "INSERT_AS_PARTIAL":
            self._committer.keep_partial(outcome)
        elif outcome.failed:
            self._committer.keep_incomplete(outcome)
        else:
            rule = self._rule(outcome.item.class_name)
            if rule is not None:
                self._committer.write(outcome, rule, self._references(outcome, by_index))

    def _references(self, outcome: Outcome, by_index: dict[int, Outcome]) -> dict[str, str]:
        """Reference columns of an item that point at other items of the payload."""
        values: dict[str, str] = {}
        for reference in self._payload.reference_items:
            index = self._payload.index_of(reference.referenced)
            if outcome.item.internal_id and reference.referenced_by == outcome.item.internal_id and index is not None:
                values[reference.reference_field] = by_index[index].sys_id
        return values

    # -- relations ---------------------------------------------------------------------------------------------

    def _relate(self, number: int, relation: Relation, by_index: dict[int, Outcome]) -> RelationOutcome:
        done = RelationOutcome(number)
        kinds = select(self._instance, "cmdb_rel_type", equalities({"name": relation.type}), ("name",))
        ends = self._dependence.ends(relation)
        self._committer.check_relation(done, relation, kinds, ends, len(self._payload.items))
        if done.errors:
            return done
        parent, child = by_index[ends[0] or 0], by_index[ends[1] or 0]
        self._committer.relate(done, relation, kinds[0]["sys_id"], (parent, child), commit=self._options.commit)
        return done


def _once(subs: list[tuple[SubItem, Entry | None]]) -> tuple[SubItem, ...]:
    """Without those that mean the same as one before."""
    kept: dict[tuple[str, ...], SubItem] = {}
    for number, (sub, entry) in enumerate(subs):
        kept.setdefault((entry and sub_criterion(sub, entry)) or (str(number),), sub)
    return tuple(kept.values())
