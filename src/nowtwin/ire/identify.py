"""Which CI an item means: source keys, then the entries of its rule in order, until one finds something."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nowtwin.instance import Instance
from nowtwin.ire.duplicates import skipped
from nowtwin.ire.payload import Item, SourceInfo, SubItem
from nowtwin.ire.rules import QUALIFIER, Entry, Rule
from nowtwin.query.parse import Query, Term, parse
from nowtwin.records.selecting import equalities, find, select

UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Attempt:
    rule: str
    result: str
    """MATCHED, NO_MATCH, SKIPPED or MULTI_MATCH."""
    attributes: tuple[str, ...] = ()
    searched: str = ""
    info: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """What identification found; `sys_id` is None where nothing matched. `several` are the CIs of a MULTI_MATCH, oldest
    first: an error without a `sys_id`, otherwise the first was taken. `filed` says that they are due a task.
    """

    attempts: tuple[Attempt, ...]
    sys_id: str | None = None
    entry_id: str = UNKNOWN
    several: tuple[str, ...] = ()
    filed: bool = False
    host: "Host | None" = None

    @property
    def attempted(self) -> bool:
        """Whether any entry of the rule had the values it needs."""
        return any(attempt.result != "SKIPPED" and attempt.rule for attempt in self.attempts)


@dataclass(frozen=True, slots=True)
class Host:
    """The CI that a dependent item hangs on: None where it does not exist yet."""

    sys_id: str | None
    relation: str
    dependent_is_child: bool


def by_source(instance: Instance, info: SourceInfo) -> tuple[Attempt | None, str | None]:
    """The CI that this source has reported under the same key before (sys_object_source)."""
    if not info.source_name or not info.source_native_key:
        return None, None
    known = find(instance, "sys_object_source", {"name": info.source_name, "id": info.source_native_key})
    if known is None or instance.records.read("cmdb_ci", known["target_sys_id"]) is None:
        return Attempt("", "NO_MATCH", info="sys_object_source NO_MATCH"), None
    return Attempt("", "MATCHED", info="sys_object_source MATCHED"), known["target_sys_id"]


def by_rule(instance: Instance, item: Item, rule: Rule, host: Host | None) -> Match:
    """Try the entries in order; the first that finds one CI decides."""
    attempts: list[Attempt] = []
    for entry in rule.entries:
        searched = entry.table or rule.applies_to
        found = _lookup(instance, item, entry) if entry.table else _direct(instance, item, rule, entry)
        if found is not None and host is not None:
            found = _hung_on(instance, found, host)
        result = _result(found)
        attempts.append(Attempt(rule.name, result, entry.attributes, searched))
        if found and len(found) == 1:
            return Match(tuple(attempts), found[0], entry.sys_id)
        if found:
            return replace(_of_several(instance, entry, tuple(attempts), tuple(found)), host=host)
    return Match(tuple(attempts))


def _of_several(instance: Instance, entry: Entry, attempts: tuple[Attempt, ...], found: tuple[str, ...]) -> Match:
    """Through a lookup table the oldest is meant, and a task is filed on request only (id-detect-dup-ci.md)."""
    if entry.table:
        name = "glide.identification_engine.lookup_match.create_duplicate_task_ci.enabled"
        return Match(attempts, found[0], entry.sys_id, found, filed=instance.property(name) == "true")
    taken = found[0] if skipped(instance, len(found)) else None
    return Match(attempts, taken, entry.sys_id, found, filed=True)


def _result(found: Sequence[str] | None) -> str:
    if found is None:
        return "SKIPPED"
    if not found:
        return "NO_MATCH"
    return "MATCHED" if len(found) == 1 else "MULTI_MATCH"


def values_for(entry: Entry, texts: Mapping[str, str]) -> dict[str, str] | None:
    """The values of an entry's attributes, or None where too few are there for it."""
    values = {element: texts.get(element, "") for element in entry.attributes}
    enough = any(values.values()) if entry.allow_null_attribute else all(values.values())
    return values if enough and values else None


def _direct(instance: Instance, item: Item, rule: Rule, entry: Entry) -> list[str] | None:
    values = values_for(entry, item.texts | {"sys_class_name": item.class_name})
    if values is None:
        return None
    query = equalities(values, entry.condition)
    primary = Query(tuple((*group, (Term("duplicate_of", "ISEMPTY", ""),)) for group in query.groups))
    rows = select(instance, rule.applies_to, primary, ("sys_id", "sys_created_on"))
    return [row["sys_id"] for row in sorted(rows, key=lambda row: row["sys_created_on"])]


def _lookup(instance: Instance, item: Item, entry: Entry) -> list[str] | None:
    """CIs that the lookup rows of the payload reference; with an exact count every one of them must."""
    asked = [
        values for sub in item.lookup if sub.class_name == entry.table and (values := values_for(entry, sub.texts))
    ]
    if not asked:
        return None
    referenced = entry.referenced_field or "cmdb_ci"
    hits: dict[str, int] = {}
    for values in asked:
        rows = select(instance, entry.table, equalities(values, entry.condition), (referenced,))
        for sys_id in {row.get(referenced, "") for row in rows} - {""}:
            hits[sys_id] = hits.get(sys_id, 0) + 1
    needed = len(asked) if entry.exact_count_match else 1
    meant = [sys_id for sys_id, count in hits.items() if count >= needed]
    rows = select(instance, "cmdb_ci", parse(f"sys_idIN{','.join(meant)}^duplicate_ofISEMPTY"), ("sys_created_on",))
    return [row["sys_id"] for row in sorted(rows, key=lambda row: row["sys_created_on"])] if meant else []


def _hung_on(instance: Instance, found: Sequence[str], host: Host) -> list[str]:
    """Of the CIs found, those with the relation to the host, or that reference it."""
    if host.sys_id is None or not found:
        return []
    related = _related(instance, host)
    return [sys_id for sys_id in found if sys_id in related or _references(instance, sys_id, host.sys_id)]


def _related(instance: Instance, host: Host) -> set[str]:
    """CIs with the host's relation to it, straight or through qualifiers."""
    near, far = ("parent", "child") if host.dependent_is_child else ("child", "parent")
    related: set[str] = set()
    at = {host.sys_id or ""}
    while at:
        query = parse(f"{near}IN{','.join(sorted(at))}^type.name={host.relation}")
        reached = {row[far] for row in select(instance, "cmdb_rel_ci", query, (far,))} - related
        related |= reached
        records = [record for sys_id in reached if (record := instance.records.read("cmdb_ci", sys_id))]
        at = {record.sys_id for record in records if QUALIFIER in instance.dictionary.lineage(record.table)}
    return related


def _references(instance: Instance, sys_id: str, host_id: str) -> bool:
    record = instance.records.read("cmdb_ci", sys_id)
    return record is not None and record.values.get("cmdb_ci") == host_id


def known_sub_item(instance: Instance, sub: SubItem, entry: Entry, ci: str | None) -> str | None:
    """The row of a lookup or related table that a sub-item of this CI means."""
    values = values_for(entry, sub.texts)
    if ci is None or values is None:
        return None
    row = find(instance, sub.class_name, values | {entry.referenced_field or "cmdb_ci": ci}, ("sys_id",))
    return row["sys_id"] if row else None
