"""Verdicts and veils to SQL: which rows of a statement a user does not see, and which records a verdict grants.

Every query of a rule becomes an EXISTS on the record itself, so that a page costs one look-up by sys_id per row,
however big the table is. A rule's condition that cannot be read grants nothing. Scripts of rules have run before, and a
script here is the list of those records that it passed.
"""

import json
from collections.abc import Mapping, Sequence

from nowtwin.access.acl import Queries, Scripted, Verdict
from nowtwin.access.hiding import Check, Veil
from nowtwin.behaviour.switches import Switches
from nowtwin.query.dates import Moment
from nowtwin.query.fields import Anchor, Source
from nowtwin.query.parse import parse
from nowtwin.query.render import Conditions, Sql
from nowtwin.schema.views import ROW, place_of
from nowtwin.storage.rows import quote
from nowtwin.values import Stored

_EVERY = Sql("1")
_NONE = Sql("0")


class Veiling:
    """Renders for the rows of a source, in the eyes of whom the moment names. What it renders may read further columns
    and records, so the source's FROM is to be asked for afterwards.
    """

    def __init__(
        self, source: Source, switches: Switches, moment: Moment, passed: Mapping[Scripted, Sequence[str]]
    ) -> None:
        self._source = source
        self._switches = switches
        self._moment = moment
        self._passed = passed

    def unseen(self, veils: tuple[Veil, ...]) -> Sql:
        """True for rows that one of the veils covers."""
        return _any([self._covered(veil) for veil in veils])

    def granted(self, checks: tuple[Check, ...]) -> Sql:
        """True for rows whose records pass all checks. A record that is not there forbids nothing."""
        return _every([self._passed_by(check) for check in checks])

    def _passed_by(self, check: Check) -> Sql:
        anchor = self._source.anchor(check.place)
        if anchor is None:
            return _EVERY
        granted = self._grants(anchor, check.table, check.verdict)
        if check.veils:
            unseen = self.unseen(check.veils)
            granted = _every([granted, Sql(f"NOT ifnull({unseen.text}, 0)", unseen.parameters)])
        return _any([Sql(f"{anchor.sys_id} IS NULL"), granted]) if check.place else granted

    def _grants(self, anchor: Anchor, table: str, verdict: Verdict) -> Sql:
        alternatives = _any([self._all(anchor, table, queries) for queries in verdict.alternatives])
        return _every([alternatives, self._all(anchor, table, verdict.required)])

    def _covered(self, veil: Veil) -> Sql:
        anchor = self._source.anchor(veil.place)
        if anchor is None:
            return _NONE
        if not veil.classes:
            return _any([self._all(anchor, veil.table, queries, closed=False) for queries in veil.alternatives])
        marks = ", ".join("?" * len(veil.classes))
        of_class = Sql(f"{anchor.of_class} IN ({marks})", tuple(veil.classes))
        if not veil.alternatives:
            return of_class
        granted = self._grants(anchor, veil.table, Verdict(veil.alternatives, veil.required))
        return Sql(f"({of_class.text} AND NOT {granted.text})", (*of_class.parameters, *granted.parameters))

    def _all(self, anchor: Anchor, table: str, queries: Queries, *, closed: bool = True) -> Sql:
        return _every(
            [
                self._passes(anchor, part)
                if isinstance(part, Scripted)
                else self._meets(anchor, table, part, closed=closed)
                for part in queries
            ]
        )

    def _passes(self, anchor: Anchor, script: Scripted) -> Sql:
        ids = json.dumps(list(self._passed.get(script, ())))
        return Sql(f"{anchor.sys_id} IN (SELECT value FROM json_each(?))", (ids,))  # noqa: S608 - quoted names

    def _meets(self, anchor: Anchor, table: str, query: str, *, closed: bool) -> Sql:
        source = Source(self._source.dictionary, self._source.storage, table, "h")
        where = Conditions(source, self._switches, self._moment, closed=closed).where(parse(query))
        clauses = self._same(anchor, source)
        clauses += [text for text in (source.class_condition(), where.text if where else None) if text]
        return Sql(
            f"EXISTS (SELECT 1 FROM {source.from_clause()} WHERE {' AND '.join(clauses)})",  # noqa: S608 - built from quoted names
            where.parameters if where else (),
        )

    def _same(self, anchor: Anchor, source: Source) -> list[str]:
        """What makes a row of the source the record of the anchor: its key, for a row of a view all of its keys."""
        view = source.dictionary.view(source.table)
        if not view:
            return [f"{source.alias}.{quote(ROW)} = {anchor.sys_id}"]
        places = [place_of(member.prefix) for member in view.tables]
        pairs = ((source.anchor(place), self._source.anchor(place)) for place in places)
        return [f"{one.sys_id} IS {other.sys_id}" for one, other in pairs if one and other]


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
