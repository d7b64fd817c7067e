"""Writing what identification decided: the CI, its lookup and related rows, source keys, relations, kept payloads."""

from collections.abc import Mapping, Sequence

import msgspec

from nowtwin.accounts.users import User
from nowtwin.errors import Refused
from nowtwin.instance import Instance
from nowtwin.ire import duplicates, reclassify
from nowtwin.ire.identify import UNKNOWN, Match, known_sub_item, values_for
from nowtwin.ire.outcome import Outcome, RelationOutcome, SubOutcome, Trouble
from nowtwin.ire.payload import Item, Relation, SubItem
from nowtwin.ire.reconcile import Reconciliation
from nowtwin.ire.rules import Entry, Rule
from nowtwin.records.accept import Acceptance
from nowtwin.records.pipeline import Record
from nowtwin.records.selecting import Row, equalities, find, select
from nowtwin.schema.metadata import row_id

PARTIAL = "cmdb_ire_partial_payloads"
INCOMPLETE = "cmdb_ire_incomplete_payloads"
_OWN = frozenset({"sys_id", "sys_class_name", "discovery_source", "last_discovered", "first_discovered"})


class Committer:
    def __init__(self, instance: Instance, user: User) -> None:
        self._instance = instance
        self._user = user

    # -- before writing ----------------------------------------------------------------------------------------

    def foresee(self, outcome: Outcome, rule: Rule) -> None:
        """What would be found and changed, without writing: sub-items, and whether anything changes at all."""
        ci = outcome.sys_id if outcome.sys_id != UNKNOWN else None
        outcome.subs = [self._sub_outcome(outcome, rule, n, sub, ci) for n, sub in enumerate(_subs(outcome.item))]
        if ci is not None and outcome.operation == "UPDATE" and not outcome.failed:
            record = self._instance.records.read("cmdb_ci", ci)
            if record is not None and not self._changes(record, self._permitted(outcome, record, outcome.item.texts)):
                outcome.operation = "NO_CHANGE"

    def _sub_outcome(self, outcome: Outcome, rule: Rule, number: int, sub: SubItem, ci: str | None) -> SubOutcome:
        entry = _sub_rule(rule, sub)
        known = known_sub_item(self._instance, sub, entry, ci) if entry else None
        if known is None:
            return SubOutcome(sub.class_name, outcome.index, number, "INSERT")
        record = self._instance.records.read(sub.class_name, known)
        changed = record is not None and self._changes(record, sub.texts)
        return SubOutcome(sub.class_name, outcome.index, number, "UPDATE" if changed else "NO_CHANGE", known)

    def _changes(self, record: Record, texts: Mapping[str, str]) -> bool:
        """Whether the values differ from the record's, as a write would take them."""
        dictionary, storage, switches = self._instance.dictionary, self._instance.storage, self._instance.switches
        taken = Acceptance(dictionary, storage, switches, self._user).take(record.table, texts)
        values = {element: text for element, text in taken.values.items() if element not in _OWN}
        return bool(taken.journals) or any(text != record.values.get(e, "") for e, text in values.items())

    # -- the CI ------------------------------------------------------------------------------------------------

    def write(self, outcome: Outcome, rule: Rule, references: Mapping[str, str]) -> None:
        """Insert or update the CI and what hangs on it; a refused write becomes an error of the item."""
        merged = self._merged(outcome) | self._blocked_before(outcome, rule)
        texts = merged | outcome.item.texts | dict(references)
        texts.pop("sys_id", None)
        texts.pop("sys_class_name", None)
        stamp = self._instance.clock.stamp()
        texts |= {"discovery_source": outcome.source, "last_discovered": stamp} if outcome.source else {}
        try:
            if outcome.sys_id == UNKNOWN:
                self._insert(outcome, texts | {"first_discovered": stamp})
            elif outcome.operation != "NO_CHANGE" or references:
                self._update(outcome, texts)
            self._write_subs(outcome, rule)
        except Refused as refused:
            code = "INSERT_FAILED" if self._instance.switches.ire_insert_failed_code else "INVALID_INPUT_DATA"
            outcome.fail(code, refused.detail or refused.message)
            return
        self._remember_source(outcome)

    def _insert(self, outcome: Outcome, texts: Mapping[str, str]) -> None:
        table = outcome.item.class_name
        record = self._instance.records.insert(table, texts, self._user, self._instance.switches)
        outcome.sys_id, outcome.operation = record.sys_id, "INSERT"
        Reconciliation(self._instance, record, texts, outcome.source).remember(set(texts) - _OWN)

    def _update(self, outcome: Outcome, texts: dict[str, str]) -> None:
        record = self._instance.record("cmdb_ci", outcome.sys_id)
        texts = self._permitted(outcome, record, texts)
        if outcome.operation.startswith("UPDATE_WITH_"):
            texts["sys_class_name"] = outcome.item.class_name
        if record.values.get("duplicate_of"):  # one that IRE updates is no duplicate any more (id-detect-dup-ci.md)
            texts["duplicate_of"] = "NULL"
        written = self._instance.records.update(record, texts, self._user, self._instance.switches)
        Reconciliation(self._instance, written, texts, outcome.source).remember(set(texts) - _OWN)

    def _permitted(self, outcome: Outcome, record: Record, texts: Mapping[str, str]) -> dict[str, str]:
        """Without the attributes that reconciliation rules leave to other sources; those that differ count as masked."""
        judge = Reconciliation(self._instance, record, texts, outcome.source)
        allowed = {e: text for e, text in texts.items() if e in _OWN or judge.allowed(e, text)}
        refused = [e for e, text in texts.items() if e not in allowed and text != record.values.get(e, "")]
        outcome.masked = sorted({*outcome.masked, *refused})
        return allowed

    def _write_subs(self, outcome: Outcome, rule: Rule) -> None:
        subs = _subs(outcome.item)
        for done, sub in zip(outcome.subs, subs, strict=True):
            entry = _sub_rule(rule, sub)
            if entry is None:
                continue
            values = _flags(sub) | sub.texts | {entry.referenced_field or "cmdb_ci": outcome.sys_id}
            switches = self._instance.switches
            if done.sys_id is None:
                done.sys_id = self._instance.records.insert(sub.class_name, values, self._user, switches).sys_id
            elif done.operation == "UPDATE":
                record = self._instance.record(sub.class_name, done.sys_id)
                self._instance.records.update(record, values, self._user, switches)

    def _remember_source(self, outcome: Outcome) -> None:
        """The key under which a source knows the CI (sys_object_source)."""
        info = outcome.item.sys_object_source_info
        name = info.source_name or outcome.source
        if not name or not info.source_native_key:
            return
        row = {
            "sys_id": row_id("sys_object_source", name, info.source_native_key),
            "name": name,
            "id": info.source_native_key,
            "source_feed": info.source_feed,
            "target_table": outcome.item.class_name,
            "target_sys_id": outcome.sys_id,
            "last_scan": self._instance.clock.stamp(),
            "source_recency_timestamp": info.source_recency_timestamp,
        }
        self._instance.load("sys_object_source", [row])

    # -- tasks -------------------------------------------------------------------------------------------------

    def file_tasks(self, outcome: Outcome, match: Match) -> None:
        """What somebody has to look at: duplicates, a reclassification that was refused."""
        instance, user = self._instance, self._user
        if match.filed:
            attempt = match.attempts[-1]
            how = (
                f"Found duplicate records in table [{attempt.searched}] using fields [{', '.join(attempt.attributes)}]"
            )
            duplicates.file_task(instance, user, match.several, how, outcome.source)
            if match.sys_id is not None and not outcome.failed:
                duplicates.mark(instance, user, match.several)
        if match.sys_id is not None and any(t.code == "RECLASSIFICATION_NOT_ALLOWED" for t in outcome.errors):
            reclassify.file_task(instance, user, outcome, instance.record("cmdb_ci", match.sys_id))

    # -- payloads that wait ------------------------------------------------------------------------------------

    def partials(self, outcome: Outcome) -> list[str]:
        """Partial payloads of the same source and key that still wait."""
        return [row["sys_id"] for row in self._waiting(outcome)]

    def _waiting(self, outcome: Outcome) -> list[Row]:
        info = outcome.item.sys_object_source_info
        if not info.source_native_key:
            return []
        named = {"data_source": info.source_name or outcome.source, "source_native_key": info.source_native_key}
        return select(self._instance, PARTIAL, equalities(named | {"status": "active"}))

    def _merged(self, outcome: Outcome) -> dict[str, str]:
        """Values that partial payloads brought before; they count as merged from now on."""
        values: dict[str, str] = {}
        for row in self._waiting(outcome):
            item = msgspec.json.decode(row["payload"], type=Item)
            values |= item.texts
            outcome.merged.append(row["sys_id"])
            self._instance.storage.update(PARTIAL, row["sys_id"], {"status": "merged"})
        return values

    def _blocked_before(self, outcome: Outcome, rule: Rule) -> dict[str, str]:
        """Values of partial payloads whose source might not insert the CI that another source inserts now; they go."""
        values: dict[str, str] = {}
        if outcome.sys_id != UNKNOWN:
            return values
        same = equalities({"class_name": outcome.item.class_name, "status": "active"})
        for row in select(self._instance, PARTIAL, same):
            item = msgspec.json.decode(row["payload"], type=Item)
            if _same_ci(rule, item, outcome.item):
                values |= item.texts
                outcome.merged.append(row["sys_id"])
                self._instance.storage.delete(PARTIAL, row["sys_id"])
        return values

    def keep_partial(self, outcome: Outcome) -> None:
        outcome.operation = "INSERT_AS_PARTIAL"
        outcome.merged = self.partials(outcome)
        info = outcome.item.sys_object_source_info
        row = self._kept(outcome) | {
            "data_source": info.source_name or outcome.source,
            "source_native_key": info.source_native_key,
        }
        self._instance.load(PARTIAL, [row])
        outcome.partial = [row["sys_id"]]

    def keep_incomplete(self, outcome: Outcome) -> None:
        outcome.operation = "INSERT_AS_INCOMPLETE"
        errors = "\n".join(f"{trouble.code}: {trouble.message}" for trouble in outcome.errors)
        row = self._kept(outcome) | {"data_source": outcome.source, "error": errors[:4000]}
        self._instance.load(INCOMPLETE, [row])

    def _kept(self, outcome: Outcome) -> dict[str, str]:
        return {
            "sys_id": self._instance.records.new_id(),
            "class_name": outcome.item.class_name,
            "payload": msgspec.json.encode(outcome.item).decode(),
            "status": "active",
        }

    # -- relations ---------------------------------------------------------------------------------------------

    def check_relation(
        self,
        done: RelationOutcome,
        relation: Relation,
        kinds: Sequence[Row],
        ends: tuple[int | None, int | None],
        items: int,
    ) -> None:
        """Errors of a relation that has no type or no ends."""
        text = msgspec.json.encode(relation).decode()
        if not kinds:
            message = (
                f"No such relationship with name [{relation.type}] exist in table [cmdb_rel_type]. If out-of-box "
                f"relationship for [{relation.type}] has been removed or renamed, it should be restored"
            )
            done.errors.append(Trouble("INVALID_INPUT_DATA", message))
        elif len(kinds) > 1:
            ids = ", ".join(row["sys_id"] for row in kinds)
            message = (
                f"Duplicate relationship type records exists with name [{relation.type}] in table [cmdb_rel_type] "
                f"having sys_ids: [{ids}]"
            )
            done.errors.append(Trouble("DUPLICATE_RELATIONSHIP_TYPES", message))
        for role, index in zip(("parent", "child"), ends, strict=True):
            if index is None or not 0 <= index < items:
                message = (
                    f"Payload relations '{text}' has invalid {role} record index: [{'' if index is None else index}]"
                )
                done.errors.append(Trouble("INVALID_INPUT_DATA", message))

    def relate(
        self, done: RelationOutcome, relation: Relation, kind: str, ends: tuple[Outcome, Outcome], *, commit: bool
    ) -> None:
        """Make sure that the relation exists between the two CIs."""
        broken = next((end for end in ends if end.failed or end.operation == "INSERT_AS_PARTIAL"), None)
        if broken is not None:
            message = f"While processing relations encountered errors in payload item: {broken.index}"
            done.errors.append(Trouble("ABANDONED", message))
            return
        values = {"parent": ends[0].sys_id, "child": ends[1].sys_id, "type": kind}
        known = None if UNKNOWN in values.values() else find(self._instance, "cmdb_rel_ci", values, ("sys_id",))
        if known is not None:
            done.operation, done.sys_id = "NO_CHANGE", known["sys_id"]
        elif commit:
            record = self._instance.records.insert("cmdb_rel_ci", values, self._user, self._instance.switches)
            done.sys_id = record.sys_id
            self._note_source(relation, ends[0].source, record.sys_id)

    def _note_source(self, relation: Relation, source: str, sys_id: str) -> None:
        name = relation.sys_rel_source_info.source_name or source
        if name:
            row = {
                "name": name,
                "source_feed": relation.sys_rel_source_info.source_feed or "UNKNOWN",
                "cmdb_rel_ci": sys_id,
                "last_scan": self._instance.clock.stamp(),
            }
            self._instance.load("sys_rel_source", [row])


def _same_ci(rule: Rule, one: Item, other: Item) -> bool:
    """Whether the values of some entry are there in both, and the same."""
    for entry in rule.entries:
        if not entry.table and (values := values_for(entry, one.texts)):
            return values == values_for(entry, other.texts)
    return False


def _subs(item: Item) -> tuple[SubItem, ...]:
    return (*item.lookup, *item.related)


def _sub_rule(rule: Rule, sub: SubItem) -> Entry | None:
    return rule.lookup(sub.class_name) or rule.related_to(sub.class_name)


def _flags(sub: SubItem) -> dict[str, str]:
    return {"valid": "true", "absent": "false"} if sub.class_name == "cmdb_serial_number" else {}
