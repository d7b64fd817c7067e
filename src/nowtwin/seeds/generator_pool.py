"""What generated incidents are made of: the people, groups, CIs and texts of the demo records.

The demo's 60-odd incidents are the profiles. A generated incident takes one of them whole (category, subcategory,
text, impact, urgency, service, CI, channel), so the joint distribution of those columns is the demo's own, and draws
the people anew. Everything it points at is a row of the demo: load the demo first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from nowtwin.seeds.demo import demo_rows
from nowtwin.seeds.demo_records import Tables
from nowtwin.seeds.references import Row

GROUP_OF_CATEGORY: Final[Mapping[str, str]] = {
    "database": "Database",
    "hardware": "Hardware",
    "inquiry": "Service Desk",
    "network": "Network",
    "software": "Software",
}
# impact, urgency -> priority (servicenow-api.md 11.1)
PRIORITY: Final[Mapping[tuple[str, str], str]] = {
    ("1", "1"): "1",
    ("1", "2"): "2",
    ("1", "3"): "3",
    ("2", "1"): "2",
    ("2", "2"): "3",
    ("2", "3"): "4",
    ("3", "1"): "3",
    ("3", "2"): "4",
    ("3", "3"): "5",
}
_PROFILE: Final = (
    "category",
    "subcategory",
    "short_description",
    "description",
    "impact",
    "urgency",
    "priority",
    "severity",
    "contact_type",
    "notify",
    "cmdb_ci",
    "business_service",
    "assignment_group",
    "problem_id",
)


@dataclass(frozen=True, slots=True)
class Person:
    sys_id: str
    user_name: str
    name: str
    company: str
    location: str


@dataclass(frozen=True, slots=True)
class Pool:
    profiles: Sequence[Row]
    callers: Sequence[Person]
    """Everybody with a place and a company; those who call in the demo records stand as often again as all others together."""
    resolvers: Sequence[Person]
    groups: Mapping[str, str]
    """Group name -> sys_id."""
    cis: Sequence[str]
    problems: Sequence[str]
    changes: Sequence[str]
    incidents: Sequence[str]
    close_codes: Sequence[str]
    companies: Mapping[str, str]
    """Company name -> sys_id."""


@cache
def demo_pool() -> Pool:
    """The pool of the shipped demo records."""
    return pool_of(demo_rows())


def pool_of(tables: Tables) -> Pool:
    """The pool of demo rows that are at hand."""
    incidents = [row for row in tables["incident"] if "ATF" not in row["short_description"]]
    people = {user["sys_id"]: _person(user) for user in tables["sys_user"] if user.get("active") == "true"}
    everybody = [person for person in people.values() if person.location and person.company]
    calling = [person for row in incidents for person in everybody if person.sys_id == row["caller_id"]]
    resolver_ids = sorted({row["assigned_to"] for row in incidents if "assigned_to" in row})
    return Pool(
        profiles=[_profile(row, tables["sys_user_group"]) for row in incidents],
        callers=everybody + calling * (len(everybody) // len(calling)),
        resolvers=[people[sys_id] for sys_id in resolver_ids],
        groups={group["name"]: group["sys_id"] for group in tables["sys_user_group"]},
        cis=[row["sys_id"] for row in tables["cmdb_ci"]],
        problems=[row["sys_id"] for row in tables["problem"]],
        changes=[row["sys_id"] for row in tables["change_request"]],
        incidents=[row["sys_id"] for row in incidents],
        close_codes=[row["close_code"] for row in incidents if "close_code" in row],
        companies={company["name"]: company["sys_id"] for company in tables["core_company"]},
    )


def _person(user: Row) -> Person:
    return Person(user["sys_id"], user["user_name"], user["name"], user.get("company", ""), user.get("location", ""))


def _profile(incident: Row, groups: Sequence[Row]) -> Row:
    profile: Row = {element: incident[element] for element in _PROFILE if element in incident}
    profile["priority"] = PRIORITY[profile["impact"], profile["urgency"]]
    if "assignment_group" not in profile:
        name = GROUP_OF_CATEGORY[profile["category"]]
        profile["assignment_group"] = next(group["sys_id"] for group in groups if group["name"] == name)
    return profile
