"""Syntax tree to SQL: conditions with the platform's NULL, case and fail-open rules (servicenow-api.md 2.2 to 2.4).

A condition on an unknown column, or whose script cannot be evaluated, renders to nothing and the rest stands;
`closed` (property `glide.invalid_query.returns_no_rows`) makes the whole query match nothing instead.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from nowtwin.behaviour.switches import Switches
from nowtwin.query import dates
from nowtwin.query.fields import Field, Source
from nowtwin.query.parse import Clause, Condition, Group, Order, Query, RelatedList, Term, TextSearch
from nowtwin.values import DATE_TIME_TYPES, DATE_TYPES, EXACT_TYPES, NUMERIC_TYPES, Stored, number_of, truth_of

TAGS = "sys_tags"
_MY_GROUPS = "gs.getUser().getMyGroups()"
_TAGGED = {
    **dict.fromkeys(("=", "IN", "ISNOTEMPTY", "LIKE"), "EXISTS"),
    **dict.fromkeys(("!=", "NOT IN", "ISEMPTY", "NOT LIKE", "DOESNOTHAVE", "EXCLUDING"), "NOT EXISTS"),
}
_NONE = "0"
_ALL = "1"
_ESCAPED = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})
_DAY = 10
_LAST = "\U0010ffff"
_CUT = {"year": 4, "month": 7, "day": 10, "hour": 13, "minute": 16, "second": 19}


@dataclass(frozen=True, slots=True)
class Sql:
    text: str
    parameters: tuple[Stored, ...] = ()


class Conditions:
    """Renders conditions against one Source."""

    def __init__(self, source: Source, switches: Switches, moment: dates.Moment, *, closed: bool = False) -> None:
        self._source = source
        self._switches = switches
        self._moment = moment
        self._closed = closed
        self._dropped = False

    def where(self, query: Query) -> Sql | None:
        """The condition of a whole query; None when it matches every row."""
        groups = [self._group(group) for group in query.groups if group]
        if self._dropped and self._closed:
            return Sql(_NONE)
        if not groups or None in groups:
            return None
        return _join(" OR ", [group for group in groups if group is not None])

    def order(self, query: Query) -> list[str]:
        keys = []
        grouped = query.group_by if self._switches.group_by_sorts_lists else ()
        for entry in (*(Order(path, descending=False) for path in grouped), *query.order):
            field = self._source.field(entry.field)
            if field is None:
                continue
            sql = field.sql
            if field.column.reference and self._switches.order_references_by_display:
                sql = self._source.display(entry.field, field)
            collate = "" if field.column.type in EXACT_TYPES - {"reference"} else self._collation
            keys.append(sql + collate + (" DESC" if entry.descending else ""))
        return keys

    @property
    def _collation(self) -> str:
        return " COLLATE NOCASE" if self._switches.case_insensitive_strings else ""

    def _group(self, group: Group) -> Sql | None:
        clauses = [sql for clause in group if (sql := self._clause(clause)) is not None]
        return _join(" AND ", clauses) if clauses else None

    def _clause(self, clause: Clause) -> Sql | None:
        terms = []
        for condition in clause:
            sql = self._condition(condition)
            if sql is None:
                self._dropped = True
            else:
                terms.append(sql)
        return _join(" OR ", terms) if terms else None

    def _condition(self, condition: Condition) -> Sql | None:
        if isinstance(condition, Term) and condition.field.partition(".")[0] == TAGS:
            return self._tagged(condition)
        if isinstance(condition, Term):
            field = self._source.field(condition.field)
            operator = _OPERATORS.get(condition.operator)
            return operator(self, field, condition) if field and operator else None
        if isinstance(condition, TextSearch):
            return self._text_search(condition)
        if isinstance(condition, RelatedList):
            return self._related_list(condition)
        return None

    # -- operands ----------------------------------------------------------------------------------------------

    def value(self, field: Field, text: str) -> Stored | None:
        """The stored form of a literal; None for a script that cannot be evaluated. Empty text stays empty."""
        if text.startswith("javascript:"):
            evaluated = dates.evaluate(text, self._moment)
            if evaluated is None:
                return None
            return evaluated[:_DAY] if field.column.type == "glide_date" else evaluated
        if field.column.type in NUMERIC_TYPES:
            number = number_of(text)
            return text if number is None else number
        if field.column.type == "boolean":
            return truth_of(text)
        return self._date(field.column.type, text) if field.column.type in DATE_TYPES else text

    def _date(self, internal_type: str, text: str) -> str:
        if internal_type not in DATE_TIME_TYPES:
            return text[:_DAY]
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            text += " 00:00:00"
        if self._switches.query_dates_in_user_zone and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text):
            return dates.evaluate(f"gs.dateGenerate('{text[:_DAY]}','{text[_DAY + 1 :]}')", self._moment) or text
        return text

    def _compared(self, field: Field) -> str:
        exact = field.column.type in EXACT_TYPES or field.column.type in NUMERIC_TYPES
        return field.sql if exact else field.sql + self._collation

    def _shown(self, field: Field, path: str) -> str:
        """What a text operator looks at: the display value for references."""
        return self._source.display(path, field) if field.column.reference else field.sql

    # -- operators ---------------------------------------------------------------------------------------------

    def equal(self, field: Field, term: Term) -> Sql | None:
        if term.value in {"", "NULL"}:
            return self.empty(field, term)
        value = self.value(field, term.value)
        if value is None:
            return None
        if field.column.type == "boolean" and value == "false":
            return Sql(f"ifnull({field.sql}, 'false') = 'false'")
        return Sql(f"{self._compared(field)} = ?", (value,))

    def different(self, field: Field, term: Term) -> Sql | None:
        if term.value in {"", "NULL"}:
            return self.filled(field, term)
        value = self.value(field, term.value)
        if value is None:
            return None
        if field.column.type == "boolean":
            return Sql(f"{field.sql} IS NOT ?", (value,))
        return Sql(f"{self._compared(field)} <> ?", (value,))

    def ordered(self, field: Field, term: Term) -> Sql | None:
        value = self.value(field, term.value)
        if value is None:
            return None
        if field.column.type in NUMERIC_TYPES and isinstance(value, str):
            return Sql(_NONE)
        return Sql(f"{self._compared(field)} {term.operator} ?", (value,))

    def text(self, field: Field, term: Term) -> Sql | None:
        before, after, negated = _PATTERNS[term.operator]
        if term.value == "":
            return Sql(_ALL)
        if term.operator == "STARTSWITH" and field.column.type == "GUID":  # a range, so that the index serves it
            return Sql(f"{field.sql} >= ? AND {field.sql} < ?", (term.value, term.value + _LAST))
        shown = self._shown(field, term.field)
        if self._switches.case_insensitive_strings:
            pattern = before + term.value.translate(_ESCAPED) + after
            return Sql(f"{shown} {negated}LIKE ? ESCAPE '\\'", (pattern,))
        literal = re.sub(r"[*?\[]", lambda found: f"[{found[0]}]", term.value)
        pattern = before.replace("%", "*") + literal + after.replace("%", "*")
        return Sql(f"{shown} {negated}GLOB ?", (pattern,))

    def among(self, field: Field, term: Term) -> Sql | None:
        if term.value.startswith("javascript:"):
            return self.equal(field, term)
        values = tuple(self.value(field, text) for text in term.value.split(",") if text)
        marks = ", ".join("?" * len(values))
        return Sql(f"{self._compared(field)} {term.operator} ({marks})", values)

    def empty(self, field: Field, _term: Term) -> Sql | None:
        return Sql(f"{field.sql} IS NULL")

    def filled(self, field: Field, _term: Term) -> Sql | None:
        return Sql(f"{field.sql} IS NOT NULL")

    def anything(self, _field: Field, _term: Term) -> Sql | None:
        return Sql(_ALL)

    def between(self, field: Field, term: Term) -> Sql | None:
        ends = term.value.split("@")
        return self._range(field, ends[0], ends[1], "") if len(ends) == 2 else None  # noqa: PLR2004 - a pair

    def on(self, field: Field, term: Term) -> Sql | None:
        parts = term.value.split("@")
        if len(parts) != 3:  # noqa: PLR2004 - label, start, end
            return None
        return self._range(field, parts[1], parts[2], "NOT " if term.operator == "NOTON" else "")

    def _range(self, field: Field, low: str, high: str, negated: str) -> Sql | None:
        ends = (self.value(field, low), self.value(field, high))
        if None in ends:
            return None
        return Sql(f"{self._compared(field)} {negated}BETWEEN ? AND ?", ends)

    def same(self, field: Field, term: Term) -> Sql | None:
        path, _, unit = term.value.partition("@")
        other = self._source.field(path)
        if other is None or (unit and unit not in _CUT):
            return None
        sign = "=" if term.operator == "SAMEAS" else "<>"
        if unit:
            return Sql(f"substr({field.sql}, 1, {_CUT[unit]}) {sign} substr({other.sql}, 1, {_CUT[unit]})")
        return Sql(f"{self._compared(field)} {sign} {other.sql}")

    def against_field(self, field: Field, term: Term) -> Sql | None:
        other = self._source.field(term.value)
        return None if other is None else Sql(f"{field.sql} {_FIELD_SIGNS[term.operator]} {other.sql}")

    def distance(self, field: Field, term: Term) -> Sql | None:
        """`opened_atMORETHANclosed_at@day@before@1`: how far one date lies before or after another."""
        spelled = re.fullmatch(r"([\w.]+)@(\w+)@(before|after)@(\d{1,7})", term.value)
        other = self._source.field(spelled[1]) if spelled else None
        seconds = dates.seconds_of(spelled[2], int(spelled[4])) if spelled else None
        if spelled is None or other is None or seconds is None:
            return None
        early, late = (field.sql, other.sql) if spelled[3] == "before" else (other.sql, field.sql)
        sign = ">" if term.operator == "MORETHAN" else "<"
        return Sql(f"strftime('%s', {late}) - strftime('%s', {early}) {sign} ?", (seconds,))

    def relative(self, field: Field, term: Term) -> Sql | None:
        edge = _RELATIVE_EDGES.get(term.operator, "") if self._switches.relative_by_whole_units else ""
        moment = dates.relative(term.value, self._moment, edge)
        if moment is None:
            return None
        if term.operator == "RELATIVEEE":
            cut = _CUT.get(term.value.split("@")[1], _DAY)
            return Sql(f"substr({field.sql}, 1, {cut}) = ?", (moment[:cut],))
        return Sql(f"{field.sql} {_RELATIVE_SIGNS[term.operator]} ?", (moment,))

    def date_part(self, field: Field, term: Term) -> Sql | None:
        spelled = re.search(r"gs\.datePart\('(\w+)',\s*'([\w-]+)',\s*'(EE|GE|GT|LE|LT)'\)", term.value)
        form = _PARTS.get(spelled[1]) if spelled else None
        if spelled is None or form is None:
            return None
        wanted = _part_number(spelled[1], spelled[2])
        if wanted is None:
            return None
        sign = {"EE": "=", "GE": ">=", "GT": ">", "LE": "<=", "LT": "<"}[spelled[3]]
        local = f"in_zone({field.sql}, ?)"
        return Sql(f"CAST(strftime('{form}', {local}) AS INTEGER) {sign} ?", (self._moment.zone.key, wanted))

    def dynamic(self, field: Field, term: Term) -> Sql | None:
        """The value that an active row of sys_filter_option_dynamic works out; other scripts than these are dropped."""
        script = self._dynamic_script(term.value)
        if script == _MY_GROUPS:
            self._source.storage.ensure("sys_user_grmember", ("user", "group"))
            self._source.roots.add("sys_user_grmember")
            mine = 'SELECT "group" FROM sys_user_grmember WHERE user = ?'
            return Sql(f"{field.sql} IN ({mine})", (self._moment.user_id,))
        value = dates.evaluate(script, self._moment)
        return None if value is None else Sql(f"{field.sql} = ?", (value,))

    def _dynamic_script(self, sys_id: str) -> str:
        row = self._source.storage.get("sys_filter_option_dynamic", sys_id)
        if row is None or row.get("active") == "false":
            return ""
        return str(row.get("script") or "").strip().rstrip(";")

    def instance_of(self, field: Field, term: Term) -> Sql | None:
        dictionary = self._source.dictionary
        classes = dictionary.classes(term.value) if term.value in dictionary.tables else ()
        return Sql(f"{field.sql} IN ({', '.join('?' * len(classes))})", tuple(classes))

    def in_hierarchy(self, field: Field, term: Term) -> Sql | None:
        target = field.column.reference
        if target is None or self._source.dictionary.column(target, "parent") is None:
            return None
        inner = Source(self._source.dictionary, self._source.storage, target, f"{self._source.alias}h")
        parent, key = inner.field("parent"), inner.field("sys_id")
        if parent is None or key is None:
            return None
        children = f"SELECT {key.sql} FROM {inner.from_clause()} JOIN below ON {parent.sql} = below.id"  # noqa: S608 - built from quoted names
        tree = f"WITH RECURSIVE below(id) AS (SELECT ? UNION {children}) SELECT id FROM below"  # noqa: S608 - built from quoted names
        self._source.roots.update(inner.roots)
        top = term.value.rpartition("@")[2]
        if term.operator == "IN_HIERARCHY_DYNAMIC":
            top = dates.evaluate(self._dynamic_script(top), self._moment) or top
        return Sql(f"{field.sql} IN ({tree})", (top,))

    # -- whole-record conditions -------------------------------------------------------------------------------

    def _tagged(self, term: Term) -> Sql | None:
        """`sys_tags.<label>=<label>`: whether the record has a tag (label_entry); without a label: any tag."""
        wanted = _TAGGED.get(term.operator)
        if term.operator in _TAG_EXCLUSIONS and not self._switches.tag_exclusions_understood:
            return None
        if wanted is None:
            return None
        self._source.storage.ensure("label_entry", ("label", "table_key"))
        self._source.roots.add("label_entry")
        labels = tuple(filter(None, term.value.split(",")))
        marks = f" AND label IN ({', '.join('?' * len(labels))})" if labels else ""
        entry = f"SELECT 1 FROM label_entry WHERE table_key = {self._source.alias}.sys_id{marks}"  # noqa: S608 - marks only
        return Sql(f"{wanted} ({entry})", labels)

    def _text_search(self, search: TextSearch) -> Sql | None:
        """Every word in some text column. The platform's index also ranks and stems, which no client relies on."""
        columns = self._source.dictionary.columns(self._source.table).values()
        fields = [self._source.field(c.element) for c in columns if c.type in {"string", "translated_text", "html"}]
        texts = [f"ifnull({field.sql}, '')" for field in fields if field and field.sql != "NULL"]
        if not texts or not search.words:
            return Sql(_NONE) if search.words else None
        everything = " || ' ' || ".join(texts)
        words = [Sql(f"({everything}) LIKE ? ESCAPE '\\'", (f"%{w.translate(_ESCAPED)}%",)) for w in search.words]
        return _join(" AND ", words)

    def _related_list(self, condition: RelatedList) -> Sql | None:
        if condition.table not in self._source.dictionary.tables:
            return None
        inner = Source(self._source.dictionary, self._source.storage, condition.table, f"{self._source.alias}r")
        field, own = inner.field(condition.field), self._source.field(condition.own)
        if field is None or own is None:
            return None
        where = Conditions(inner, self._switches, self._moment).where(condition.inner)
        clauses = [f"{field.sql} = {own.sql}"]
        clauses += [clause for clause in (inner.class_condition(), where.text if where else None) if clause]
        self._source.roots.update(inner.roots)
        counted = f"(SELECT count(*) FROM {inner.from_clause()} WHERE {' AND '.join(clauses)})"  # noqa: S608 - built from quoted names
        parameters = where.parameters if where else ()
        return Sql(f"{counted} {condition.operator} ?", (*parameters, condition.count))


def _join(word: str, parts: list[Sql]) -> Sql:
    if len(parts) == 1:
        return parts[0]
    text = "(" + word.join(part.text for part in parts) + ")"
    return Sql(text, tuple(value for part in parts for value in part.parameters))


_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_PARTS = {"dayofweek": "%w", "month": "%m", "year": "%Y", "hour": "%H", "dayofmonth": "%d", "week": "%W"}


def _part_number(part: str, word: str) -> int | None:
    if re.fullmatch(r"[0-9]{1,9}", word):
        return int(word)
    if part == "dayofweek" and word.lower() in _DAYS:
        return _DAYS.index(word.lower())
    if part == "month" and word.lower() in _MONTHS:
        return _MONTHS.index(word.lower()) + 1
    return None


_PATTERNS = {
    "LIKE": ("%", "%", ""),
    "NOT LIKE": ("%", "%", "NOT "),
    "STARTSWITH": ("", "%", ""),
    "ENDSWITH": ("%", "", ""),
}
_FIELD_SIGNS = {"GT_FIELD": ">", "LT_FIELD": "<", "GT_OR_EQUALS_FIELD": ">=", "LT_OR_EQUALS_FIELD": "<="}
_RELATIVE_EDGES = {"RELATIVEGE": "start", "RELATIVELE": "end"}
_TAG_EXCLUSIONS = frozenset({"DOESNOTHAVE", "EXCLUDING"})
_RELATIVE_SIGNS = {"RELATIVEGT": ">", "RELATIVELT": "<", "RELATIVEGE": ">=", "RELATIVELE": "<="}

_OPERATORS: dict[str, Callable[[Conditions, Field, Term], Sql | None]] = {
    "=": Conditions.equal,
    "!=": Conditions.different,
    **dict.fromkeys(("<", "<=", ">", ">="), Conditions.ordered),
    **dict.fromkeys(_PATTERNS, Conditions.text),
    "IN": Conditions.among,
    "NOT IN": Conditions.among,
    "ISEMPTY": Conditions.empty,
    "EMPTYSTRING": Conditions.empty,
    "ISNOTEMPTY": Conditions.filled,
    "ANYTHING": Conditions.anything,
    "BETWEEN": Conditions.between,
    "ON": Conditions.on,
    "NOTON": Conditions.on,
    "SAMEAS": Conditions.same,
    "NSAMEAS": Conditions.same,
    **dict.fromkeys(_FIELD_SIGNS, Conditions.against_field),
    "MORETHAN": Conditions.distance,
    "LESSTHAN": Conditions.distance,
    "RELATIVEEE": Conditions.relative,
    **dict.fromkeys(_RELATIVE_SIGNS, Conditions.relative),
    "DATEPART": Conditions.date_part,
    "DYNAMIC": Conditions.dynamic,
    "INSTANCEOF": Conditions.instance_of,
    "IN_HIERARCHY": Conditions.in_hierarchy,
    "IN_HIERARCHY_DYNAMIC": Conditions.in_hierarchy,
}
