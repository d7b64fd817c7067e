"""Whether a record that may not be stored yet meets an encoded query: the conditions of business rules.

The same renderer as for reads, over one row of parameters. `VALCHANGES`, `CHANGESFROM` and `CHANGESTO`, which mean
nothing in a read, compare with the record before the write.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from nowtwin.behaviour.switches import Switches
from nowtwin.query.dates import Moment
from nowtwin.query.fields import Place, Source
from nowtwin.query.parse import Condition, Query, Term
from nowtwin.query.render import Conditions
from nowtwin.schema.dictionary import Dictionary
from nowtwin.storage.rows import Storage, quote
from nowtwin.values import Stored, to_stored

_CHANGES = frozenset({"VALCHANGES", "CHANGESFROM", "CHANGESTO"})


@dataclass(frozen=True, slots=True)
class Subject:
    """The record as it will be, and as it was (None: there was none)."""

    table: str
    values: Mapping[str, str]
    before: Mapping[str, str] | None


class _RowSource(Source):
    """Reads one record given as parameters; what it dot-walks to is read from the database."""

    def __init__(self, dictionary: Dictionary, storage: Storage, subject: Subject) -> None:
        super().__init__(dictionary, storage, subject.table)
        self.subject = subject
        self._used: dict[str, Stored] = {"sys_id": subject.values.get("sys_id")}

    def _column_sql(self, place: Place, element: str) -> str:
        if place.alias != self.alias:
            return super()._column_sql(place, element)
        column = self.dictionary.column(self.table, element)
        text = self.subject.values.get(element, "")
        self._used[element] = to_stored(column.type, text) if column else None
        return f"{self.alias}.{quote(element)}"

    def statement(self, condition: str) -> tuple[str, tuple[Stored, ...]]:
        columns = ", ".join(f"? AS {quote(element)}" for element in self._used)
        joins = self.from_clause().partition(f" AS {self.alias}")[2]
        sql = f"SELECT 1 FROM (SELECT {columns}) AS {self.alias}{joins} WHERE {condition}"  # noqa: S608 - built from quoted names
        return sql, tuple(self._used.values())


def meets(
    dictionary: Dictionary, storage: Storage, subject: Subject, query: Query, switches: Switches, moment: Moment
) -> bool:
    """Terms that cannot be read hold, as they do in reads."""
    source = _RowSource(dictionary, storage, subject)
    return _holds(storage, source, Conditions(source, switches, moment), query)


def surely_meets(
    dictionary: Dictionary, storage: Storage, subject: Subject, query: Query, switches: Switches, moment: Moment
) -> bool:
    """As `meets`, but a query with a term that cannot be read fails: conditions of access rules."""
    source = _RowSource(dictionary, storage, subject)
    return _holds(storage, source, Conditions(source, switches, moment, closed=True), query)


def _holds(storage: Storage, source: _RowSource, conditions: Conditions, query: Query) -> bool:
    where = conditions.where(_without_changes(source.subject, query))
    if where is None:
        return True
    sql, parameters = source.statement(where.text)
    return bool(storage.rows(sql, (*parameters, *where.parameters)))


def _without_changes(subject: Subject, query: Query) -> Query:
    return replace(
        query,
        groups=tuple(
            tuple(tuple(_decided(subject, condition) for condition in clause) for clause in group)
            for group in query.groups
        ),
    )


def _decided(subject: Subject, condition: Condition) -> Condition:
    """A term about a change becomes one that always or never holds."""
    if not isinstance(condition, Term) or condition.operator not in _CHANGES:
        return condition
    now = subject.values.get(condition.field, "")
    was = (subject.before or {}).get(condition.field, "")
    held = now != was
    if condition.operator == "CHANGESTO":
        held = held and now == condition.value
    if condition.operator == "CHANGESFROM":
        held = held and subject.before is not None and was == condition.value
    return Term("sys_id", "ANYTHING" if held else "IN", "")
