"""Whether access rules grant one record, stored or about to be: verdicts down to conditions and scripts.

For pages of records the same is worked out in SQL (`veiling`).
"""

from collections.abc import Iterable, Mapping

from nowtwin.access.acl import Queries, Scripted, Verdict
from nowtwin.accounts.users import User
from nowtwin.query.parse import parse
from nowtwin.records.matching import Subject, surely_meets
from nowtwin.scripting.platform import Platform


def grants(platform: Platform, user: User, verdict: Verdict, table: str, values: Mapping[str, str]) -> bool:
    """Whether the verdict grants a record of this class with these values."""
    if verdict.always or verdict.never:
        return verdict.always

    def passes(parts: Queries) -> bool:
        return all(_passes(platform, user, part, table, values) for part in parts)

    return passes(verdict.required) and any(passes(parts) for parts in verdict.alternatives)


def writable(
    platform: Platform, user: User, table: str, values: Mapping[str, str], elements: Iterable[str], operation: str
) -> frozenset[str]:
    """Those of the columns that field rules let the user `write`, or set with `create`, on this record."""
    kept = platform.access.writable(user, table, elements, operation)
    return frozenset(
        element
        for element in kept
        if grants(platform, user, platform.access.column_verdict(user, table, element, operation), table, values)
    )


def _passes(platform: Platform, user: User, part: str | Scripted, table: str, values: Mapping[str, str]) -> bool:
    if isinstance(part, Scripted):
        return platform.scripts.access.passes(part, table, values, user)
    subject = Subject(table, values, None)
    switches, moment = platform.switches, platform.moment(user)
    return surely_meets(platform.dictionary, platform.storage, subject, parse(part), switches, moment)
