"""The event log as a file: its columns, its spelling of times, and the errors a wrong file deserves.

`Event` holds the text of one CSV row as it stands; values repeat a lot (113,800 rows, 57 categories), so they are
interned and the whole log takes some 60 MB.
"""

import csv
import gzip
from datetime import UTC, datetime
from functools import lru_cache
from io import StringIO
from operator import itemgetter
from pathlib import Path
from sys import intern
from typing import Final, NamedTuple

UNKNOWN: Final = "?"


class EventLogError(ValueError):
    """The file is not the event log, or a line of it does not have the form of one."""


class Event(NamedTuple):
    """One saved state of one incident; fields are the columns of the log."""

    number: str
    incident_state: str
    active: str
    reassignment_count: str
    reopen_count: str
    sys_mod_count: str
    made_sla: str
    caller_id: str
    opened_by: str
    opened_at: str
    sys_created_by: str
    sys_created_at: str
    sys_updated_by: str
    sys_updated_at: str
    contact_type: str
    location: str
    category: str
    subcategory: str
    u_symptom: str
    cmdb_ci: str
    impact: str
    urgency: str
    priority: str
    assignment_group: str
    assigned_to: str
    knowledge: str
    u_priority_confirmation: str
    notify: str
    problem_id: str
    rfc: str
    vendor: str
    caused_by: str
    closed_code: str
    resolved_by: str
    resolved_at: str
    closed_at: str


def read_event_log(path: Path) -> list[Event]:
    """The log's rows, sorted by incident and `sys_mod_count`. Raises `EventLogError` where the file is another one."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    reader = csv.reader(StringIO(text, newline=""))
    columns = next(reader, [])
    missing = sorted(set(Event._fields).difference(columns))
    if missing:
        raise EventLogError(f"{path.name}: not the incident event log, columns missing: {', '.join(missing)}")
    in_order = itemgetter(*(columns.index(field) for field in Event._fields))
    events: list[Event] = []
    try:
        events.extend(Event._make(map(intern, in_order(row))) for row in reader if row)
        events.sort(key=lambda event: (event.number, int(event.sys_mod_count)))
    except (IndexError, ValueError) as error:
        raise EventLogError(f"{path.name}: near line {reader.line_num}: {error}") from error
    return events


@lru_cache(maxsize=131_072)
def time_of(text: str) -> datetime | None:
    """`29/2/2016 01:16` in UTC; None for `?`."""
    if text == UNKNOWN:
        return None
    try:
        day, month, rest = text.split("/")
        year, clock = rest.split(" ")
        hour, minute = clock.split(":")
        return datetime(int(year), int(month), int(day), int(hour), int(minute), tzinfo=UTC)
    except ValueError as error:
        raise EventLogError(f"not a time of the event log: {text!r}") from error
