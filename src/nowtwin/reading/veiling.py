"""Verdicts and veils to SQL: which rows of a statement a user does not see, and which records a verdict grants.

Every query of a rule becomes an EXISTS on the record itself, so that a page costs one look-up by sys_id per row,
however big the table is. A rule's condition that cannot be read grants nothing. Scripts of rules have run before, and a
script here is the list of those records that it passed.
"""

import json
from collections.abc import Mapping, Sequence

from nowtwin.access.acl import Queries, Scripted, Verdict
from nowtwin.access.hiding import Veil
from nowtwin.behaviour.switches import Switches
from nowtwin.query.dates import Moment
from nowtwin.query.fields import Source
from nowtwin.query.parse import parse
from nowtwin.query.render import Conditions, Sql
from nowtwin.schema.dictionary import Dictionary
from nowtwin.storage.rows import Storage
from nowtwin.values import Stored

_EVERY = Sql("1")
_NONE = Sql("0")


class Veiling:
    """Renders for rows under the alias `t`, in the eyes of whom the moment names."""

    def __init__(
        self,
        dictionary: Dictionary,
        storage: Storage,
        switches: Switches,
        moment: Moment,
        passed: Mapping[Scripted, Sequence[str]],
    ) -> None:
        self._dictionary = dictionary
        self._storage = storage
        self._switches = switches
        self._moment = moment
        self._passed = passed

    def unseen(self, veils: tuple[Veil, ...]) -> Sql:
        """True for rows that one of the veils covers."""
        return _any([self._covered(veil) for veil in veils])

    def granted(self, table: str, verdict: Verdict) -> Sql:
        """True for rows that the verdict grants."""
        alternatives = _any([self._all(table, queries) for queries in verdict.alternatives])
        return _every([alternatives, self._all(table, verdict.required)])

    def _covered(self, veil: Veil) -> Sql:
        if not veil.classes:
            return _any([self._all(veil.table, queries, closed=False) for queries in veil.alternatives])
        marks = ", ".join("?" * len(veil.classes))
        of_class = Sql(f"t.sys_class_name IN ({marks})", tuple(veil.classes))
        if not veil.alternatives:
            return of_class
        granted = self.granted(veil.table, Verdict(veil.alternatives, veil.required))
        return Sql(f"({of_class.text} AND NOT {granted.text})", (*of_class.parameters, *granted.parameters))

    def _all(self, table: str, queries: Queries, *, closed: bool = True) -> Sql:
        return _every(
            [
                self._passes(part) if isinstance(part, Scripted) else self._meets(table, part, closed=closed)
                for part in queries
            ]
        )

    def _passes(self, script: Scripted) -> Sql:
        ids = json.dumps(list(self._passed[script]))
        return Sql("t.sys_id IN (SELECT value FROM json_each(?))", (ids,))

    def _meets(self, table: str, query: str, *, closed: bool) -> Sql:
        source = Source(self._dictionary, self._storage, table, "h")
        where = Conditions(source, self._switches, self._moment, closed=closed).where(parse(query))
        clauses = ["h.sys_id = t.sys_id"]
        clauses += [text for text in (source.class_condition(), where.text if where else None) if text]
        return Sql(
            f"EXISTS (SELECT 1 FROM {source.from_clause()} WHERE {' AND '.join(clauses)})",  # noqa: S608 - built from quoted names
            where.parameters if where else (),
        )


def _any(parts: list[Sql]) -> Sql:
    return _joined(" OR ", parts, _NONE)


def _every(parts: list[Sql]) -> Sql:
    return _joined(" AND ", [part for part in parts if part is not _EVERY], _EVERY)


def _joined(word: str, parts: list[Sql], neutral: Sql) -> Sql:
    if not parts:
        return neutral
    if len(parts) == 1:
        return parts[0]
    parameters: tuple[Stored, ...] = tuple(value for part in parts for value in part.parameters)
    return Sql("(" + word.join(part.text for part in parts) + ")", parameters)
