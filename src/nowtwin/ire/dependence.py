"""What a dependent item hangs on: the other end of a relation that a hosting or containment rule names.

Between the two there may be qualifiers (classes under `cmdb_ci_qualifier`), a chain of relations of the same type;
there is one chain at most between two CIs (c_RelationQualifier.md). Codes and messages: id-engine-error-messages.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from nowtwin.instance import Instance
from nowtwin.ire.outcome import Outcome, Trouble
from nowtwin.ire.payload import Payload, Relation, shown
from nowtwin.ire.rules import QUALIFIER, Dependency, dependencies_of


@dataclass(frozen=True, slots=True)
class Way:
    """From a dependent item to a host: numbers of items, `through` those of qualifiers."""

    host: int
    dependency: Dependency
    through: tuple[int, ...]
    relation: Relation
    """The relation that leaves the dependent item."""


class QualificationLoop(Exception):
    def __init__(self, relation: Relation) -> None:
        super().__init__("qualification chain has a loop")
        self.relation = relation


class Dependence:
    """Of the items of one payload."""

    def __init__(self, instance: Instance, payload: Payload) -> None:
        self._instance = instance
        self._payload = payload

    def ends(self, relation: Relation) -> tuple[int | None, int | None]:
        """Indexes of parent and child; None where the payload names none."""
        parent = self._payload.index_of(relation.parent_id) if relation.parent_id else relation.parent
        child = self._payload.index_of(relation.child_id) if relation.child_id else relation.child
        return parent, child

    def rules(self, class_name: str) -> tuple[Dependency, ...]:
        return dependencies_of(self._instance, class_name)

    def ways(self, outcome: Outcome) -> list[Way]:
        """Every way from the item to a host. Raises QualificationLoop."""
        found = [
            way
            for dependency in self.rules(outcome.item.class_name)
            for index in outcome.indices
            for way in self._walk(index, dependency, (index,), None)
        ]
        return [way for way in found if way.host not in outcome.indices]

    def _walk(self, at: int, dependency: Dependency, passed: tuple[int, ...], first: Relation | None) -> Iterator[Way]:
        wanted = dependency.parent_class if dependency.dependent_is_child else dependency.child_class
        for relation, other in self._next(at, dependency):
            if other in passed:
                if len(passed) > 1:
                    raise QualificationLoop(relation)
                continue
            lineage = self._instance.dictionary.lineage(self._payload.items[other].class_name)
            if QUALIFIER in lineage:
                yield from self._walk(other, dependency, (*passed, other), first or relation)
            elif wanted in lineage:
                yield Way(other, dependency, passed[1:], first or relation)

    def _next(self, at: int, dependency: Dependency) -> Iterator[tuple[Relation, int]]:
        for relation in self._payload.relations:
            ends = self.ends(relation)
            mine, other = reversed(ends) if dependency.dependent_is_child else ends
            known = other is not None and 0 <= other < len(self._payload.items)
            if relation.type == dependency.relation and mine == at and known:
                yield relation, other or 0


def conflict(outcome: Outcome, ways: Sequence[Way], by_index: Mapping[int, Outcome]) -> Trouble | None:
    """Why these ways cannot all be meant, if they cannot."""
    first, *others = ways
    host = by_index[first.host]
    for way in others:
        if by_index[way.host] is not host:
            one, two = (msgspec.json.encode(each.relation).decode() for each in (first, way))
            return Trouble(
                "MULTIPLE_DEPENDENCIES", f"Found multiple dependent relation items [{one}] and [{two}] in payload"
            )
        if way.through == first.through:
            continue
        mine, theirs = shown(outcome.item, outcome.source), shown(host.item, host.source)
        if way.through and first.through:
            message = (
                "Invalid payload, qualification chain has multiple possible paths for payload items: "
                f"'{mine}' and '{theirs}'"
            )
            return Trouble("TYPE_CONFLICT_IN_QUALIFICATION", message)
        return Trouble("MULTIPLE_DEPENDENCIES", f"Multiple paths leading to the same destination: {mine} -> {theirs}")
    return None
