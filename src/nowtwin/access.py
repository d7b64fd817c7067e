"""The one place that decides what a user may read and write.

Today: every account may do everything, except what hide rules (set through the control API) take away. A hide rule
hides rows (a table and an encoded query) or columns, from one user or from all but admins.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from nowtwin.dictionary import Dictionary
from nowtwin.users import User


@dataclass(frozen=True, slots=True)
class HideRule:
    table: str
    query: str = ""
    """Which rows; with `elements` set it is not used."""
    elements: tuple[str, ...] = ()
    user: str | None = None
    """The account that cannot see them; None means every account without role admin."""


class Access:
    def __init__(self, dictionary: Dictionary) -> None:
        self._dictionary = dictionary
        self.rules: list[HideRule] = []

    def hidden_rows(self, user: User, table: str) -> tuple[HideRule, ...]:
        """Rules whose rows this user may not read, whether `table` is their table, a child or an ancestor."""
        return tuple(rule for rule in self._rules_for(user) if not rule.elements and self._related(rule.table, table))

    def hidden_columns(self, user: User, table: str) -> frozenset[str]:
        """Columns that are absent from this user's answers."""
        rules = (rule for rule in self._rules_for(user) if rule.elements and self._related(rule.table, table))
        return frozenset(element for rule in rules for element in rule.elements)

    def _rules_for(self, user: User) -> Iterable[HideRule]:
        for rule in self.rules:
            if rule.user == user.user_name or (rule.user is None and not user.admin):
                yield rule

    def _related(self, one: str, other: str) -> bool:
        return one in self._dictionary.lineage(other) or other in self._dictionary.lineage(one)
