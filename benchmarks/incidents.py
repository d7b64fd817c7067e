"""The table that the benchmarks read: as wide as `incident` on a customer's instance, 90 columns a row, about 2.9 KB of
JSON, of which 30 are references (to 50,000 records of five tables) and 12 are choices. Seeded: the same rows every time.

It is a table of its own, so that its width does not depend on which schema nowtwin ships.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

TABLE = "u_bench_incident"
LABEL = "Incident (benchmark)"
WIDTH = 90
SYSTEM = ("sys_id", "sys_created_by", "sys_created_on", "sys_mod_count", "sys_updated_by", "sys_updated_on")

# Referenced tables, their display column, and their share of the 50,000 records.
REFERENCED = {
    "sys_user": ("name", 30_000),
    "cmdb_ci": ("name", 12_000),
    "cmn_location": ("name", 4_000),
    "sys_user_group": ("name", 2_000),
    "core_company": ("name", 2_000),
}
REFERENCES = {
    "sys_user": (
        *("caller_id", "opened_by", "assigned_to", "resolved_by", "closed_by", "reopened_by", "u_requested_for"),
        *("u_approver", "u_escalated_to", "u_service_owner", "u_contact", "u_delegate"),
    ),
    "sys_user_group": (
        *("assignment_group", "u_resolver_group", "u_owner_group", "u_support_group", "u_previous_group"),
        "u_vendor_group",
    ),
    "cmdb_ci": ("cmdb_ci", "business_service", "service_offering", "u_affected_asset", "u_root_cause_ci"),
    "cmn_location": ("location", "u_site", "u_building", "u_caller_location"),
    "core_company": ("company", "u_supplier", "u_manufacturer"),
}
CHOICES = {
    "state": ("New", "In Progress", "On Hold", "Resolved", "Closed", "Canceled"),
    "incident_state": ("New", "In Progress", "On Hold", "Resolved", "Closed", "Canceled"),
    "impact": ("1 - High", "2 - Medium", "3 - Low"),
    "urgency": ("1 - High", "2 - Medium", "3 - Low"),
    "priority": ("1 - Critical", "2 - High", "3 - Moderate", "4 - Low", "5 - Planning"),
    "severity": ("1 - High", "2 - Medium", "3 - Low"),
    "escalation": ("Normal", "Moderate", "High", "Overdue"),
    "hold_reason": ("Awaiting Caller", "Awaiting Change", "Awaiting Problem", "Awaiting Vendor"),
    "notify": ("Do Not Notify", "Send Email", "Phone"),
    "category": ("Inquiry / Help", "Software", "Hardware", "Network", "Database"),
    "subcategory": ("Email", "Operating System", "Monitor", "VPN", "DNS", "Oracle", "Wireless", "Antivirus"),
    "contact_type": ("Phone", "Email", "Self-service", "Chat", "Virtual Agent", "Walk-in"),
}
# Choices of text columns are stored as words, the others as numbers.
WORDED = frozenset({"category", "subcategory", "contact_type"})
TIMES = (
    *("opened_at", "closed_at", "resolved_at", "due_date", "sla_due", "work_start", "work_end", "expected_start"),
    *("activity_due", "reopened_time", "follow_up", "approval_set"),
)
BOOLEANS = ("active", "made_sla", "knowledge", "u_major_incident", "u_confirmed")
INTEGERS = (
    *("reassignment_count", "reopen_count", "child_incidents", "business_stc", "calendar_stc", "order", "task_effort"),
)
DURATIONS = ("business_duration", "calendar_duration", "time_worked")
STRINGS = (
    *("number", "short_description", "description", "close_notes", "close_code", "correlation_id"),
    *("correlation_display", "u_symptom", "u_cause", "u_external_reference", "u_phone", "upon_approval", "upon_reject"),
    *("task_effective_number", "u_environment"),
)
# The share of rows that have a value; columns that are not named here always have one.
FILLED = {
    **dict.fromkeys(("resolved_by", "closed_by", "closed_at", "resolved_at", "close_notes", "close_code"), 0.8),
    **dict.fromkeys(("business_duration", "calendar_duration", "business_stc", "calendar_stc"), 0.8),
    **dict.fromkeys(("assigned_to", "cmdb_ci", "business_service", "location", "description", "subcategory"), 0.85),
    **dict.fromkeys(("service_offering", "u_resolver_group", "u_owner_group", "u_support_group", "u_site"), 0.6),
    **dict.fromkeys(("u_requested_for", "u_service_owner", "u_caller_location", "u_contact", "activity_due"), 0.5),
    **dict.fromkeys(("u_supplier", "u_affected_asset", "u_approver", "due_date", "sla_due", "work_start"), 0.4),
    **dict.fromkeys(("work_end", "u_symptom", "u_phone", "u_environment", "u_manufacturer", "u_building"), 0.4),
    **dict.fromkeys(("reopened_by", "reopened_time", "hold_reason", "u_escalated_to", "u_delegate"), 0.12),
    **dict.fromkeys(("u_previous_group", "u_vendor_group", "u_root_cause_ci", "expected_start", "follow_up"), 0.12),
    **dict.fromkeys(("approval_set", "correlation_id", "correlation_display", "time_worked", "u_cause"), 0.12),
    **dict.fromkeys(("u_external_reference", "order"), 0.12),
}
TEXT = (
    "user cannot log in to the portal after password reset error message appears when opening email client network drive "
    "is not reachable from branch office printer queue stuck please check certificate expired on gateway laptop does not "
    "start replacement ordered VPN connection drops every few minutes restarted service and monitored for thirty minutes"
)
WORDS = TEXT.split()
_BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # durations are moments after it


@dataclass(frozen=True, slots=True)
class Column:
    """One column as ServiceNow's dictionary has it."""

    name: str
    type: str
    reference: str | None = None
    choice: bool = False


Rows = Iterator[dict[str, str]]


def columns() -> tuple[Column, ...]:
    """The 84 columns beside the six that every table has."""
    found = [Column(name, "reference", reference=table) for table, names in REFERENCES.items() for name in names]
    found += [Column(name, "string" if name in WORDED else "integer", choice=True) for name in CHOICES]
    kinds = (
        (TIMES, "glide_date_time"),
        (BOOLEANS, "boolean"),
        (INTEGERS, "integer"),
        (DURATIONS, "glide_duration"),
        (STRINGS, "string"),
    )
    found += [Column(name, kind) for names, kind in kinds for name in names]
    return tuple(found)


def types() -> dict[str, str]:
    """ServiceNow's type of each of the 90 columns, in the order in which they are asked for."""
    system = dict.fromkeys(SYSTEM, "string")
    system |= {"sys_mod_count": "integer", "sys_created_on": "glide_date_time", "sys_updated_on": "glide_date_time"}
    found = system | {column.name: column.type for column in columns()}
    assert len(found) == WIDTH
    return found


def schema() -> dict[str, list[dict[str, object]]]:
    """As a schema document of nowtwin."""
    return {
        "tables": [{"name": TABLE, "label": LABEL, "display": "number"}],
        "columns": [
            {
                "table": TABLE,
                "element": column.name,
                "internal_type": column.type,
                **({"reference": column.reference} if column.reference else {}),
                **({"choice": 3} if column.choice else {}),
                **({"max_length": 4000} if column.type == "string" else {}),
            }
            for column in columns()
        ],
        "choices": [
            {"table": TABLE, "element": name, "value": value, "label": label}
            for name, labels in CHOICES.items()
            for value, label in zip(choice_values(name), labels, strict=True)
        ],
    }


def choice_values(name: str) -> tuple[str, ...]:
    labels = CHOICES[name]
    if name in WORDED:
        return tuple(label.lower().replace(" / ", "_").replace(" ", "_") for label in labels)
    return tuple(str(number) for number in range(1, len(labels) + 1))


def referenced(dice: random.Random, share: float) -> dict[str, list[dict[str, str]]]:
    """The records that the references point at: {table: rows}; `share` of the 50,000."""
    found: dict[str, list[dict[str, str]]] = {}
    for table, (display, size) in REFERENCED.items():
        rows = [
            {"sys_id": _id(dice), display: f"{_words(dice, 2).title()} {number}"}
            for number in range(max(10, int(size * share)))
        ]
        if table == "sys_user":
            rows = [row | {"user_name": f"bench.user.{number}"} for number, row in enumerate(rows)]
        found[table] = rows
    return found


def incidents(
    dice: random.Random, count: int, records: dict[str, list[dict[str, str]]], filled: Mapping[str, float] = FILLED
) -> Rows:
    """`count` rows of the table, as nowtwin loads them; `filled` is the share of rows in which a column has a value."""
    ids = {table: [row["sys_id"] for row in rows] for table, rows in records.items()}
    made = columns()
    for number in range(count):
        opened = _BEGIN + timedelta(seconds=dice.randrange(40_000_000))
        row = {
            "sys_id": _id(dice),
            "sys_created_by": f"bench.user.{dice.randrange(500)}",
            "sys_updated_by": f"bench.user.{dice.randrange(500)}",
            "sys_created_on": _stamp(opened),
            "sys_updated_on": _stamp(opened + timedelta(seconds=dice.randrange(2_000_000))),
            "sys_mod_count": str(dice.randrange(40)),
        }
        for column in made:
            if dice.random() < filled.get(column.name, 1.0):
                row[column.name] = _value(dice, column, opened, ids)
        row["number"] = row["task_effective_number"] = f"INC{number:07d}"
        yield row


def _value(dice: random.Random, column: Column, opened: datetime, ids: dict[str, list[str]]) -> str:
    if column.reference is not None:
        known = ids[column.reference]
        return known[int(len(known) * dice.random() ** 2)]  # some people call more often than others
    if column.choice:
        return dice.choice(choice_values(column.name))
    if column.type == "string":
        return _text(dice, column.name)
    if column.type == "boolean":
        return dice.choice(("true", "false"))
    if column.type == "integer":
        return str(dice.randrange(500_000 if column.name.endswith("_stc") else 10))
    start = _EPOCH if column.type == "glide_duration" else opened
    return _stamp(start + timedelta(seconds=dice.randrange(2_000_000)))


def _text(dice: random.Random, name: str) -> str:
    match name:
        case "description":  # one in eight has more than one line
            return ("\n" if dice.random() < 0.125 else " ").join(_words(dice, 20) for _ in range(2))
        case "short_description" | "close_notes":
            return _words(dice, 12)
        case "upon_approval" | "upon_reject":
            return dice.choice(("proceed", "cancel"))
        case _:
            return _words(dice, 2)


def _words(dice: random.Random, count: int) -> str:
    return " ".join(dice.choices(WORDS, k=count))


def _id(dice: random.Random) -> str:
    return f"{dice.getrandbits(128):032x}"


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def plain_definitions(names: Sequence[str]) -> str:
    """The 90 columns as somebody who loads them by hand makes them: typed, without labels, durations as text."""
    kinds = {"glide_date_time": "timestamptz", "boolean": "boolean", "integer": "integer"}
    known = types()
    made = (f'"{name}" {kinds.get(known[name], "text")}' for name in names)
    return ", ".join(made)
