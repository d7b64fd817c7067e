"""What a match means for the class of the CI that was found: update, upgrade, downgrade, switch, leave it, or refuse.

Source: c_CIReclassification.md. Settings of the item come before properties of the instance.
"""

from nowtwin.accounts.users import User
from nowtwin.instance import Instance
from nowtwin.ire.outcome import Outcome
from nowtwin.ire.payload import shown
from nowtwin.ire.rules import rule_for
from nowtwin.records.pipeline import Record
from nowtwin.records.selecting import equalities, select

TASK = "reclassification_task"


def decide_class(instance: Instance, outcome: Outcome, sys_id: str) -> None:
    """Set the operation of an item that matched; skipped reclassifications are told in `info`."""
    record = instance.records.read("cmdb", sys_id)
    wanted = outcome.item.class_name
    outcome.operation = "UPDATE"
    if record is None or record.table == wanted:
        return
    kind = _kind(instance, record.table, wanted)
    rule = _restriction(instance, outcome, record.table, kind)
    if rule or _without(instance, outcome, kind):
        message = f"Skipped reclassification from class: [{record.table}] to [{wanted}]"
        outcome.info.append({"code": f"SKIPPED_CLASS_{kind}", "message": message, "ruleSysId": rule})
    elif _allowed(instance, outcome, kind) and _same_rule(instance, record.table, wanted):
        outcome.operation = f"UPDATE_WITH_{kind}"
    else:
        message = f"CI Reclassification not allowed from class: [{record.table}] to [{wanted}]"
        outcome.fail("RECLASSIFICATION_NOT_ALLOWED", message)


def file_task(instance: Instance, user: User, outcome: Outcome, record: Record) -> None:
    """A task to look at a reclassification that was refused."""
    instance.prepare(TASK)
    message = next(trouble.message for trouble in outcome.errors if trouble.code == "RECLASSIFICATION_NOT_ALLOWED")
    values = {
        "cmdb_ci": record.sys_id,
        "short_description": "CI Reclassification not allowed",
        "description": message,
        "internal_payload": shown(outcome.item, outcome.source),
    }
    instance.records.insert(TASK, values, user, instance.switches)


def _kind(instance: Instance, present: str, wanted: str) -> str:
    if present in instance.dictionary.lineage(wanted):
        return "UPGRADE"
    return "DOWNGRADE" if wanted in instance.dictionary.lineage(present) else "SWITCH"


def _without(instance: Instance, outcome: Outcome, kind: str) -> bool:
    named = instance.property(f"glide.identification_engine.update_without_{kind.lower()}_enabled")
    return outcome.item.setting(f"updateWithout{kind.title()}") or named == "true"


def _allowed(instance: Instance, outcome: Outcome, kind: str) -> bool:
    """The item's `classUpgrade` and its like decide where they are there, otherwise the property."""
    flag = outcome.item.class_flag(kind.title())
    return flag if flag is not None else instance.property(f"glide.class.{kind.lower()}.enabled") != "false"


def _same_rule(instance: Instance, present: str, wanted: str) -> bool:
    """CIs are reclassified only between classes with identical identification rules."""
    before, after = rule_for(instance, present), rule_for(instance, wanted)
    return before is not None and after is not None and before.sys_id == after.sys_id


def _restriction(instance: Instance, outcome: Outcome, present: str, kind: str) -> str:
    """The sys_id of an active restriction of this downgrade or switch; empty where there is none."""
    on = instance.property("glide.identification_engine.reclassification_restriction_rules_enabled") != "false"
    if kind == "UPGRADE" or not on or outcome.item.setting("skipReclassificationRestrictionRules"):
        return ""
    named = equalities({"type": kind.lower(), "active": "true"})
    for row in select(instance, "cmdb_ire_reclassification_restriction", named):
        ends = (("source", present), ("target", outcome.item.class_name))
        if all(_within(instance, row[f"{end}_table"], row[f"{end}_inheritance"], name) for end, name in ends):
            return row["sys_id"]
    return ""


def _within(instance: Instance, table: str, inherited: str, name: str) -> bool:
    return table == name or (inherited == "true" and table in instance.dictionary.lineage(name))
