"""What a match means for the class of the CI that was found: update, upgrade, downgrade, switch, or leave (6.5)."""

from nowtwin.instance import Instance
from nowtwin.ire.outcome import Outcome

_KINDS = {
    "UPGRADE": ("updateWithoutUpgrade", "glide.class.upgrade.enabled"),
    "DOWNGRADE": ("updateWithoutDowngrade", "glide.class.downgrade.enabled"),
    "SWITCH": ("updateWithoutSwitch", "glide.class.switch.enabled"),
}


def decide_class(instance: Instance, outcome: Outcome, sys_id: str) -> None:
    """Set the operation of an item that matched; skipped reclassifications are told in `info`."""
    record = instance.records.read("cmdb", sys_id)
    outcome.operation = "UPDATE"
    if record is None or record.table == outcome.item.class_name:
        return
    kind = _kind(instance, record.table, outcome.item.class_name)
    setting, allowed = _KINDS[kind]
    if outcome.item.setting(setting) or instance.property(allowed) == "false":
        message = f"Skipped reclassification from class: [{record.table}] to [{outcome.item.class_name}]"
        outcome.info.append({"code": f"SKIPPED_CLASS_{kind}", "message": message, "ruleSysId": ""})
        return
    outcome.operation = f"UPDATE_WITH_{kind}"


def _kind(instance: Instance, present: str, wanted: str) -> str:
    if present in instance.dictionary.lineage(wanted):
        return "UPGRADE"
    return "DOWNGRADE" if wanted in instance.dictionary.lineage(present) else "SWITCH"
