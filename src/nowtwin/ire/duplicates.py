"""Several CIs for one item: a de-duplication task always, and the oldest as the main CI where duplicates are skipped.

Source: id-detect-dup-ci.md, properties-id-reconciliation.md, CMDBDuplicateTaskUtils (no CI is in two open tasks).
"""

from collections.abc import Sequence

from nowtwin.accounts.users import User
from nowtwin.instance import Instance
from nowtwin.query.parse import parse
from nowtwin.records.selecting import select
from nowtwin.values import number_of

TASK = "reconcile_duplicate_task"
RESULT = "duplicate_audit_result"
_THRESHOLD = 5


def skipped(instance: Instance, count: int) -> bool:
    """Whether so many duplicates are skipped, the oldest taken (glide.identification_engine.skip_duplicates)."""
    limit = number_of(instance.property("glide.identification_engine.skip_duplicates.threshold"))
    on = instance.property("glide.identification_engine.skip_duplicates") != "false"
    return on and count < (_THRESHOLD if limit is None else limit)


def file_task(instance: Instance, user: User, found: Sequence[str], how: str, source: str) -> None:
    """One task for the set, oldest first, unless one of its CIs is in an open task already."""
    instance.prepare(TASK)
    known = parse(f"duplicate_idIN{','.join(found)}^follow_on_task.active=true")
    if select(instance, RESULT, known, ("sys_id",), 1):
        return
    values = {"short_description": "Duplicate records found by the identification engine", "work_notes": how}
    task = instance.records.insert(TASK, values | {"cmdb_ci": found[0]}, user, instance.switches)
    for sys_id in found:
        record = instance.record("cmdb_ci", sys_id)
        row = {"table": record.table, "duplicate_ci": sys_id, "duplicate_id": sys_id, "follow_on_task": task.sys_id}
        instance.records.insert(RESULT, row | {"discovery_source": source}, user, instance.switches)


def mark(instance: Instance, user: User, found: Sequence[str]) -> None:
    """The oldest becomes the main CI of the rest."""
    main, *rest = found
    for sys_id in rest:
        instance.records.update(instance.record("cmdb_ci", sys_id), {"duplicate_of": main}, user, instance.switches)
