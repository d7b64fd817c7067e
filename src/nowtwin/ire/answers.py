"""What goes out: the JSON of the four endpoints (c_IdentifyReconcileAPI.md). Counts are numbers, codes are texts."""

from typing import Any

from nowtwin.ire.identify import Attempt
from nowtwin.ire.outcome import Options, Outcome, RelationOutcome, Result, SubOutcome, Trouble

_COUNTED = {
    "INSERT": "inserted",
    "NO_CHANGE": "unchanged",
    "INSERT_AS_PARTIAL": "partial",
    "INSERT_AS_INCOMPLETE": "incomplete",
}
_SUMMARY = ("inserted", "updated", "unchanged", "skipped", "partial", "incomplete", "errors", "warnings")
_MERGES = ("additionalInserted", "mergedPartialPayloads")


def body_of(result: Result) -> dict[str, Any]:
    body: dict[str, Any] = {
        "items": [_item(outcome, result.options) for outcome in result.outcomes],
        "additionalCommittedItems": [],
        "relations": [_relation(done) for done in result.relations],
        "additionalCommittedRelations": [],
    }
    if result.options.enhanced and result.options.commit:
        failed = [done.errors for done in result.outcomes] + [done.errors for done in result.relations]
        body |= {
            "hasError": any(failed),
            "hasWarning": any(bool(outcome.warnings) for outcome in result.outcomes),
        }
    if result.options.generate_summary:
        body["summary"] = _summary(result)
    return body


def _item(outcome: Outcome, options: Options) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "className": outcome.item.class_name,
        "operation": outcome.operation,
        "sysId": outcome.sys_id,
        "identifierEntrySysId": outcome.entry_id,
        "identificationAttempts": [_attempt(attempt) for attempt in outcome.attempts],
        "markers": [],
        "inputIndices": outcome.indices,
        "mergedPayloadIds": outcome.merged,
        "errorCount": len(outcome.errors),
    }
    if outcome.subs:
        entry |= {
            "relatedSysIds": [sub.sys_id for sub in outcome.subs],
            "relatedItems": [_sub(sub, options) for sub in outcome.subs],
            "additionalRelatedItems": [],
        }
    if outcome.errors or outcome.operation == "INSERT_AS_PARTIAL":
        entry["errors"] = _troubles(outcome.errors)
    if options.enhanced:
        entry["warningCount"] = len(outcome.warnings)
    if outcome.masked:
        entry["maskedAttributes"] = outcome.masked
    if outcome.warnings:
        entry["warnings"] = _troubles(outcome.warnings)
    if outcome.info:
        entry["info"] = outcome.info
    if outcome.operation == "INSERT_AS_PARTIAL":
        entry["partialSysIds"] = outcome.partial
    return entry


def _attempt(attempt: Attempt) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "identifierName": attempt.rule,
        "attemptResult": attempt.result,
        "attributes": attempt.attributes,
        "hybridEntryCiAttributes": [],
    }
    if attempt.searched:
        entry["searchOnTable"] = attempt.searched
    if attempt.info:
        entry["info"] = attempt.info
    return entry


def _sub(sub: SubOutcome, options: Options) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "className": sub.class_name,
        "markers": [],
        "inputIndices": [{"mainIndex": sub.main_index, "subIndex": sub.sub_index}],
        "mergedPayloadIds": [],
    }
    if sub.sys_id is not None:
        entry["sysId"] = sub.sys_id
    if options.enhanced:
        entry |= {
            "operation": sub.operation,
            "errors": _troubles(sub.errors),
            "errorCount": len(sub.errors),
            "warningCount": 0,
        }
    return entry


def _relation(done: RelationOutcome) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "className": "cmdb_rel_ci",
        "operation": done.operation,
        "markers": [],
        "inputIndices": [done.index],
        "mergedPayloadIds": [],
        "errorCount": len(done.errors),
    }
    if done.sys_id is not None:
        entry["sysId"] = done.sys_id
    if done.errors:
        entry |= {"operation": "INSERT_AS_INCOMPLETE", "errors": _troubles(done.errors)}
    return entry


def _troubles(troubles: list[Trouble]) -> list[dict[str, str]]:
    return [{"error": trouble.code, "message": trouble.message} for trouble in troubles]


def _summary(result: Result) -> dict[str, dict[str, int]]:
    """Counts by class, of items and their sub-items."""
    summary: dict[str, dict[str, int]] = {}
    for outcome in result.outcomes:
        counts = summary.setdefault(outcome.item.class_name, dict.fromkeys(_SUMMARY + _MERGES, 0))
        counts[_COUNTED.get(outcome.operation, "updated")] += 1
        counts["errors"] += len(outcome.errors)
        counts["warnings"] += len(outcome.warnings)
        counts["mergedPartialPayloads"] += len(outcome.merged)
        for sub in outcome.subs:
            counts = summary.setdefault(sub.class_name, dict.fromkeys(_SUMMARY + _MERGES, 0))
            counts[_COUNTED.get(sub.operation, "updated")] += 1
    return summary
