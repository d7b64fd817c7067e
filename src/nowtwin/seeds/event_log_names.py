"""The people, groups, places and records that the event log names: each name one row, found again by the name.

The log is anonymised: "Caller 2403", "Resolver 89", "Updated by 908". A name is a row of its own even where two may be
the same person, because the log does not say so. sys_ids come from the names (see `sys_ids`), so logs loaded apart
share their rows.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Final

from nowtwin.seeds.event_log_file import UNKNOWN, Event
from nowtwin.seeds.references import Row, seeded
from nowtwin.seeds.sys_ids import sys_id_of

# column of incident -> table its names live in
_REFERENCES: Final[Mapping[str, str]] = {
    "caller_id": "sys_user",
    "opened_by": "sys_user",
    "assigned_to": "sys_user",
    "assignment_group": "sys_user_group",
    "location": "cmn_location",
    "cmdb_ci": "cmdb_ci",
    "problem_id": "problem",
    "rfc": "change_request",
    "caused_by": "change_request",
    "vendor": "core_company",
}


def _user(name: str) -> Row:
    first, _, last = name.rpartition(" ")
    return {
        "name": name,
        "first_name": first,
        "last_name": last,
        "user_name": name.lower().replace(" ", "."),
        "email": f"{name.lower().replace(' ', '.')}@example.com",
        "active": "true",
        "locked_out": "false",
    }


def _task(number: str, subject: str) -> Row:
    return {
        "number": number,
        "task_effective_number": number,
        "short_description": subject,
        "active": "true",
        "impact": "3",
        "urgency": "3",
        "priority": "5",
    }


def _problem(name: str) -> Row:
    number = f"PRB{int(name.rpartition(' ')[2]):07d}"
    return {**_task(number, f"Cause of incidents: {name}"), "state": "101", "problem_state": "101"}


_DESCRIBERS: Final[Mapping[str, Callable[[str], Row]]] = {
    "sys_user": _user,
    "sys_user_group": lambda name: {"name": name, "active": "true"},
    "cmn_location": lambda name: {"name": name, "full_name": name},
    "cmdb_ci": lambda name: {"name": name, "install_status": "1", "operational_status": "1"},
    "problem": _problem,
    "change_request": lambda name: {**_task(name, f"Change {name}"), "state": "-5", "type": "normal"},
    "core_company": lambda name: {"name": name, "vendor": "true"},
}


_referring = attrgetter(*_REFERENCES)


class LogNames:
    """The rows behind the names of a log, and the sys_id or user_name behind each name."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Row]] = {table: {} for table in _DESCRIBERS}
        self._sys_ids: dict[tuple[str, str], str] = {}
        self._user_names: dict[str, str] = {}

    def collect(self, events: Sequence[Event]) -> None:
        """Make the row of every name in the log."""
        columns = [*_REFERENCES.items(), *((c, "sys_user") for c in ("resolved_by", "sys_updated_by"))]
        for column, table in columns:
            for name in sorted(set(map(attrgetter(column), events))):
                self.reference(table, name)
        for name in sorted({event.sys_created_by for event in events}):
            self.user_name(name)

    def reference(self, table: str, name: str) -> str:
        """The sys_id behind a name, "" for `?`. The log spells some names with two blanks."""
        if name == UNKNOWN:
            return ""
        sys_id = self._sys_ids.get((table, name))
        if sys_id is None:
            plain = " ".join(name.split())
            sys_id = sys_id_of(table, plain)
            self._rows[table].setdefault(plain, seeded(sys_id, _DESCRIBERS[table](plain)))
            self._sys_ids[table, name] = sys_id
        return sys_id

    def references(self, event: Event) -> Row:
        """The reference columns of one state."""
        return {
            element: self.reference(table, name)
            for (element, table), name in zip(_REFERENCES.items(), _referring(event), strict=True)
        }

    def user_name(self, name: str) -> str:
        """The user_name behind a name; who is unknown is the system."""
        if name == UNKNOWN:
            return "system"
        user_name = self._user_names.get(name)
        if user_name is None:
            self.reference("sys_user", name)
            user_name = self._rows["sys_user"][" ".join(name.split())]["user_name"]
            self._user_names[name] = user_name
        return user_name

    def rows(self) -> Mapping[str, list[Row]]:
        return {table: list(rows.values()) for table, rows in self._rows.items()}
