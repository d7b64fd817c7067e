"""A payload from end to end: identify every item, then commit what may be committed, then the relations.

Items are taken in an order in which a host comes before what depends on it and a referenced item before the one that
references it. Error codes and messages: id-engine-error-messages.md.
"""

from collections.abc import Iterator

from nowtwin.instance import Instance
from nowtwin.ire.commit import Committer
from nowtwin.ire.identify import Host, Match, by_rule, by_source, values_for
from nowtwin.ire.outcome import Options, Outcome, RelationOutcome, Result
from nowtwin.ire.payload import Item, Payload, Relation, shown
from nowtwin.ire.reclassify import decide_class
from nowtwin.ire.rules import Dependency, Rule, dependencies_of, rule_for
from nowtwin.selecting import equalities, select
from nowtwin.users import User


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
        for index, item in enumerate(self._payload.items):
            source = self._source or item.sys_object_source_info.source_name or item.texts.get("discovery_source", "")
            outcome = Outcome(item, [index], source)
            key = self._criterion(item)
            first = seen.get(key) if key else None
            if first is None:
                seen[key] = outcome
            elif self._options.enhanced and self._options.deduplicate_payloads:
                first.indices.append(index)
                continue
            else:
                self._fail_duplicate(first, outcome, key)
            outcomes.append(outcome)
        return outcomes

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
            found = self._host_of(outcome)
            if found is not None:
                self._hosts[outcome.index] = found[0]
                yield found[0]

    # -- identification ----------------------------------------------------------------------------------------

    def _identify(self, outcome: Outcome, by_index: dict[int, Outcome]) -> None:
        rule = self._rule(outcome.item.class_name)
        if not self._acceptable(outcome, rule) or rule is None:
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

    def _acceptable(self, outcome: Outcome, rule: Rule | None) -> bool:
        """Source, class and sub-items are such that identification makes sense. Otherwise the errors say why."""
        item = outcome.item
        if rule is None:
            outcome.fail("IDENTIFICATION_RULE_MISSING", f"Identity Rule Missing for table [{item.class_name}]")
            return False
        self._check_source(outcome)
        entries = rule.entries
        if rule.independent and any("sys_class_name" in entry.attributes for entry in entries):
            message = (
                f"Cannot have 'sys_class_name' as a key field in an Independent Identity Rule on '{rule.applies_to}'"
            )
            outcome.fail("NO_CLASS_NAME_FOR_INDEPENDENT_CI", message)
        if not rule.independent and any(entry.table for entry in entries):
            message = f"Cannot have Lookup Rule for a Dependent Identity Rule on '{rule.applies_to}'"
            outcome.fail("NO_LOOKUP_RULES_FOR_DEPENDENT_CI", message)
        for sub in item.lookup:
            if rule.lookup(sub.class_name) is None:
                message = (
                    f"Identity Rule for table [{rule.applies_to}] missing Lookup Rule for class [{sub.class_name}]"
                )
                outcome.fail("IDENTIFICATION_RULE_FOR_LOOKUP_MISSING", message)
        for sub in item.related:
            if rule.related_to(sub.class_name) is None:
                message = (
                    f"Identity Rule for table [{rule.applies_to}] missing Related Rule for class [{sub.class_name}]"
                )
                outcome.fail("IDENTIFICATION_RULE_FOR_RELATED_ITEM_MISSING", message)
        return not outcome.failed or all(trouble.code == "INVALID_INPUT_DATA" for trouble in outcome.errors)

    def _check_source(self, outcome: Outcome) -> None:
        choices = self._instance.dictionary.choice_labels("cmdb_ci", "discovery_source")
        if not outcome.source:
            if self._options.commit and self._instance.switches.ire_source_required:
                outcome.fail(
                    "INVALID_INPUT_DATA",
                    "In payload no data source exist. You need to provide choice value from choice field "
                    "[discovery_source] in table [cmdb_ci]",
                )
        elif choices and outcome.source not in choices:
            outcome.fail(
                "INVALID_INPUT_DATA",
                f"In payload invalid data source [{outcome.source}] exist. You need to provide a valid choice value "
                "from field [discovery_source] in table [cmdb_ci]",
            )

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
        return Match((*before, *match.attempts), match.sys_id, match.entry_id, match.several)

    def _conclude(self, outcome: Outcome, rule: Rule, match: Match) -> None:
        if outcome.failed and match.sys_id is None and not match.attempts:
            return
        if match.several:
            attributes = ", ".join(match.attempts[-1].attributes)
            table = match.attempts[-1].searched
            message = f"Found duplicate records in table [{table}] using fields [{attributes}]"
            outcome.fail("MULTIPLE_DUPLICATE_RECORDS", message)
        elif match.sys_id is not None:
            outcome.sys_id = match.sys_id
            decide_class(self._instance, outcome, match.sys_id)
        elif not match.attempted:
            self._incomplete(outcome, rule)
        else:
            self._check_mandatory(outcome)

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
        texts = outcome.item.texts
        table = outcome.item.class_name
        for element, column in self._instance.dictionary.columns(table).items():
            if column.mandatory and not texts.get(element) and not column.default and element != "sys_class_name":
                message = f"Missing mandatory field [{element}] in table [{table}]. Add input value for mandatory field in payload"
                outcome.fail("REQUIRED_ATTRIBUTE_EMPTY", message)

    # -- dependence --------------------------------------------------------------------------------------------

    def _host(self, outcome: Outcome, by_index: dict[int, Outcome]) -> Host | None:
        """The CI that a dependent item hangs on. Where it lacks one the errors say why."""
        dependencies = dependencies_of(self._instance, outcome.item.class_name)
        name = outcome.item.class_name
        if not dependencies:
            message = f"No containment or hosting rules defined for dependent class [{name}]. Add containment/hosting rules for '{name}'"
            outcome.fail("METADATA_RULE_MISSING", message)
            return None
        found = self._host_of(outcome)
        if found is None:
            rules = ", ".join(map(str, dependencies))
            outcome.fail(
                "MISSING_DEPENDENCY",
                f"In payload no relations defined for dependent class [{name}] that matches any containment/hosting "
                f"rules: [{rules}]. Add appropriate relations in payload for '{shown(outcome.item, outcome.source)}'",
            )
            return None
        index, dependency = found
        host = by_index[index]
        if host.failed:
            self._abandon(outcome, host)
            return None
        match = self._matches.get(host.index)
        return Host(match.sys_id if match else None, dependency.relation, dependency.dependent_is_child)

    def _host_of(self, outcome: Outcome) -> tuple[int, Dependency] | None:
        """The other end of a relation of the payload that a hosting or containment rule names."""
        dependencies = dependencies_of(self._instance, outcome.item.class_name)
        for relation in self._payload.relations:
            ends = self._ends(relation)
            for dependency in dependencies:
                mine, other = reversed(ends) if dependency.dependent_is_child else ends
                if mine not in outcome.indices or other is None or not 0 <= other < len(self._payload.items):
                    continue
                wanted = dependency.parent_class if dependency.dependent_is_child else dependency.child_class
                classes = self._instance.dictionary.lineage(self._payload.items[other].class_name)
                if relation.type == dependency.relation and wanted in classes and other not in outcome.indices:
                    return other, dependency
        return None

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
        if not self._options.commit:
            if outcome.failed:
                outcome.operation = "INSERT_AS_INCOMPLETE"
            elif outcome.operation == "INSERT_AS_PARTIAL":
                outcome.partial = self._committer.partials(outcome)
        elif outcome.failed:
            self._committer.keep_incomplete(outcome)
        elif outcome.operation == "INSERT_AS_PARTIAL":
            self._committer.keep_partial(outcome)
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

    def _ends(self, relation: Relation) -> tuple[int | None, int | None]:
        parent = self._payload.index_of(relation.parent_id) if relation.parent_id else relation.parent
        child = self._payload.index_of(relation.child_id) if relation.child_id else relation.child
        return parent, child

    def _relate(self, number: int, relation: Relation, by_index: dict[int, Outcome]) -> RelationOutcome:
        done = RelationOutcome(number)
        kinds = select(self._instance, "cmdb_rel_type", equalities({"name": relation.type}), ("name",))
        ends = self._ends(relation)
        self._committer.check_relation(done, relation, kinds, ends, len(self._payload.items))
        if done.errors:
            return done
        parent, child = by_index[ends[0] or 0], by_index[ends[1] or 0]
        self._committer.relate(done, relation, kinds[0]["sys_id"], (parent, child), commit=self._options.commit)
        return done
