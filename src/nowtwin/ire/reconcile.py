"""Static reconciliation rules: which source may write which attribute of a CI that exists.

Sources: create-reconciliation-rule.md, r_ReconciliationRulesPrinciples.md, create-datasource-staleness-rule.md. Rules
are records (cmdb_reconciliation_definition); who wrote an attribute last is kept in cmdb_datasource_last_update, once a
rule for it exists. Dynamic rules need CMDB 360 and are not emulated.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from nowtwin.clock import STAMP
from nowtwin.instance import Instance
from nowtwin.query.parse import parse
from nowtwin.records.matching import Subject, meets
from nowtwin.records.pipeline import Record
from nowtwin.records.selecting import Row, equalities, find, select
from nowtwin.schema.metadata import row_id
from nowtwin.values import number_of

RULES = "cmdb_reconciliation_definition"
HISTORY = "cmdb_datasource_last_update"
_LOWEST = 2**31
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Definition:
    source: str
    table: str
    attributes: frozenset[str]
    """Empty: all attributes."""
    nullable: frozenset[str]
    priority: int


class Reconciliation:
    """Judges writes of one source to one CI."""

    def __init__(self, instance: Instance, record: Record, texts: Mapping[str, str], source: str) -> None:
        self._instance = instance
        self._record = record
        self._source = source
        self._lineage = instance.dictionary.lineage(record.table)
        self._rules = self._applicable(texts)

    def _applicable(self, texts: Mapping[str, str]) -> list[Definition]:
        rows = select(self._instance, RULES, parse(f"active=true^applies_toIN{','.join(self._lineage)}"))
        early = self._instance.property("glide.identification_engine.enable_reconciliation_filter_before_update")
        seen = self._record.values if early == "true" else {**self._record.values, **texts}
        return [_definition(row) for row in rows if self._fits(row["condition"], seen)]

    def _fits(self, condition: str, values: Mapping[str, str]) -> bool:
        if not condition:
            return True
        subject = Subject(self._record.table, values, self._record.values)
        instance = self._instance
        moment = instance.moment(instance.acting("admin"))
        return meets(instance.dictionary, instance.storage, subject, parse(condition), instance.switches, moment)

    def deciding(self, element: str) -> list[Definition]:
        """Rules for this attribute: those that name it before those for all, the nearest class before its parents."""
        for naming in (True, False):
            for table in self._lineage:
                mine = [
                    r
                    for r in self._rules
                    if r.table == table and (element in r.attributes if naming else not r.attributes)
                ]
                if mine:
                    return mine
        return []

    def allowed(self, element: str, text: str) -> bool:
        rules = self.deciding(element)
        if not rules:
            return True
        own = min((rule for rule in rules if rule.source == self._source), key=lambda r: r.priority, default=None)
        present = self._record.values.get(element, "")
        if not present:
            overridden = self._instance.property("glide.reconciliation.override.null") != "false"
            return overridden or self._outranks(rules, own, element)
        if not text and own is not None and element not in own.nullable:
            return False
        return self._outranks(rules, own, element)

    def _outranks(self, rules: list[Definition], own: Definition | None, element: str) -> bool:
        """Whether the source may follow the last one: the same, a higher one, or that one is stale."""
        last = find(self._instance, HISTORY, {"record": self._record.sys_id, "attribute": element})
        if own is None:
            return False
        if last is None or last["discovery_source"] == self._source:
            return True
        before = min((r.priority for r in rules if r.source == last["discovery_source"]), default=_LOWEST)
        return own.priority <= before or self._stale(last)

    def _stale(self, last: Row) -> bool:
        named = equalities({"discovery_source": last["discovery_source"], "active": "true"})
        rows = [
            row
            for row in select(self._instance, "cmdb_datasource_staleness", named)
            if row["applies_to"] in self._lineage
        ]
        if not rows:
            return False
        nearest = min(rows, key=lambda row: self._lineage.index(row["applies_to"]))
        written = datetime.strptime(last["updated_on"], STAMP).replace(tzinfo=UTC)
        return self._instance.clock.now() >= written + _duration(nearest["duration"])

    def remember(self, elements: Iterable[str]) -> None:
        """Note who wrote these attributes, as far as rules are about them."""
        stamp = self._instance.clock.stamp()
        rows = [
            {
                "sys_id": row_id(HISTORY, self._record.sys_id, element),
                "record": self._record.sys_id,
                "class": self._record.table,
                "attribute": element,
                "discovery_source": self._source,
                "updated_on": stamp,
            }
            for element in elements
            if self._source and self.deciding(element)
        ]
        if rows:
            self._instance.load(HISTORY, rows)


def _definition(row: Row) -> Definition:
    return Definition(
        source=row["discovery_source"],
        table=row["applies_to"],
        attributes=_names(row["attributes"]),
        nullable=_names(row["null_update"]),
        priority=int(number_of(row["priority"]) or 0),
    )


def _names(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _duration(text: str) -> timedelta:
    """A glide_duration counts from 1970; one that is none is 0, as documented."""
    try:
        return datetime.strptime(text, STAMP).replace(tzinfo=UTC) - _EPOCH
    except ValueError:
        return timedelta()
