"""Identification rules out of their records: cmdb_identifier with its entries, hosting and containment rules."""

from dataclasses import dataclass

from nowtwin.instance import Instance
from nowtwin.query.parse import parse
from nowtwin.records.selecting import Row, equalities, find, select

QUALIFIER = "cmdb_ci_qualifier"
"""CIs that say something about a relation and stand between its ends."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One way to find a CI: by columns of the class, or by rows of a lookup table that reference it."""

    sys_id: str
    table: str
    """The lookup table; empty where the class itself is searched."""
    attributes: tuple[str, ...]
    order: int
    condition: str
    referenced_field: str
    exact_count_match: bool
    allow_null_attribute: bool
    allow_fallback: bool
    active: bool


@dataclass(frozen=True, slots=True)
class Rule:
    sys_id: str
    name: str
    applies_to: str
    description: str
    independent: bool
    entries: tuple[Entry, ...]
    related: tuple[Entry, ...]

    def lookup(self, table: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.table == table), None)

    def related_to(self, table: str) -> Entry | None:
        return next((entry for entry in self.related if entry.table == table), None)


@dataclass(frozen=True, slots=True)
class Dependency:
    """A dependent class is identified together with the CI at the other end of a relation."""

    parent_class: str
    relation: str
    child_class: str
    dependent_is_child: bool

    def __str__(self) -> str:
        return f"{self.parent_class} >> {self.relation} >> {self.child_class}"


def rule_for(instance: Instance, class_name: str) -> Rule | None:
    """The active rule of the class or of its nearest ancestor that has one."""
    for table in instance.dictionary.lineage(class_name):
        row = find(instance, "cmdb_identifier", {"applies_to": table, "active": "true"})
        if row is not None:
            return _rule(instance, row)
    return None


def _rule(instance: Instance, row: Row) -> Rule:
    of_rule = {"identifier": row["sys_id"], "active": "true"}
    entries = [
        _entry(entry, entry["table"]) for entry in select(instance, "cmdb_identifier_entry", equalities(of_rule))
    ]
    related = [
        _entry(entry, entry["related_table"]) for entry in select(instance, "cmdb_related_entry", equalities(of_rule))
    ]
    return Rule(
        sys_id=row["sys_id"],
        name=row["name"],
        applies_to=row["applies_to"],
        description=row["description"],
        independent=row["independent"] != "false",
        entries=tuple(sorted(entries, key=lambda entry: entry.order)),
        related=tuple(sorted(related, key=lambda entry: entry.order)),
    )


def _entry(row: Row, table: str) -> Entry:
    return Entry(
        sys_id=row["sys_id"],
        table=table,
        attributes=tuple(part.strip() for part in row["attributes"].split(",") if part.strip()),
        order=int(row["order"] or 100),
        condition=row["condition"],
        referenced_field=row["referenced_field"],
        exact_count_match=row["exact_count_match"] == "true",
        allow_null_attribute=row["allow_null_attribute"] == "true",
        allow_fallback=row["allow_fallback"] == "true",
        active=row["active"] == "true",
    )


def dependencies_of(instance: Instance, class_name: str) -> tuple[Dependency, ...]:
    """Hosting rules where the class is the parent, containment rules where it is the child."""
    lineage = instance.dictionary.lineage(class_name)
    found: list[Dependency] = []
    for table, column in (("cmdb_metadata_hosting", "parent_type"), ("cmdb_metadata_containment", "child_type")):
        for row in select(instance, table, parse(f"{column}IN{','.join(lineage)}")):
            kind = find(instance, "cmdb_rel_type", {"sys_id": row["rel_type"]}, ("name",))
            name = kind["name"] if kind else ""
            found.append(Dependency(row["parent_type"], name, row["child_type"], column == "child_type"))
    return tuple(found)


def insert_blocked(instance: Instance, class_name: str, source: str) -> bool:
    """Whether an IRE data source rule of the class, or of its nearest ancestor with one, keeps the source from inserting."""
    named = equalities({"data_source": source, "active": "true"})
    rows = {row["applies_to"]: row for row in select(instance, "cmdb_ire_data_source_rule", named)}
    nearest = next((rows[table] for table in instance.dictionary.lineage(class_name) if table in rows), None)
    return nearest is not None and nearest["insert_not_allowed"] == "true"
