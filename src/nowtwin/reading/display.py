"""What people read: the display value of stored values (servicenow-api.md 1.3 and 3.1, shared/data/README.md).

Display values depend on the user: time zone, date and time format. They are worked out once per distinct value of a
column of a page, references with one look-up per target table.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from nowtwin.accounts.users import User
from nowtwin.behaviour.switches import Switches
from nowtwin.clock import STAMP
from nowtwin.query.fields import Field, Source
from nowtwin.reading.currencies import MONEY, Currencies
from nowtwin.schema.dictionary import Column, Dictionary
from nowtwin.storage.rows import Storage
from nowtwin.values import (
    DATE_TIME_TYPES,
    DECIMAL_TYPES,
    DURATION_TYPES,
    INTEGER_TYPES,
    LIST_TYPES,
    PASSWORD_TYPES,
    number_of,
)

Texts = Mapping[str, str | None]
_CHUNK = 900
_MASK = "********"
_JAVA = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "hh": "%I", "mm": "%M", "ss": "%S", "a": "%p"}
_OPEN_CHOICE = 2
_INTEGER_DATES = frozenset({"integer_date", "integer_time"})
_EIGHT_DIGITS = re.compile(r"\d{8}")
_IMAGES = ("user_image", "image", "file_attachment")
_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}


def strftime_of(java: str) -> str:
    """A Java date pattern (as in sys_user.date_format) in strftime's letters."""
    return re.sub(r"yyyy|MM|dd|HH|hh|mm|ss|a", lambda found: _JAVA[found[0]], java)


class Displays:
    """Display values for one user."""

    def __init__(self, dictionary: Dictionary, storage: Storage, switches: Switches, user: User) -> None:
        self._dictionary = dictionary
        self._storage = storage
        self._switches = switches
        self._user = user
        self._currencies = Currencies(storage)
        self._date = strftime_of(user.date_format)
        self._date_time = f"{self._date} {strftime_of(user.time_format)}"

    def texts(self, field: Field, values: Iterable[str]) -> Texts:
        """Display text by stored text, the empty one included; null for an empty string choice."""
        column = field.column
        filled = {value for value in values if value}
        texts: dict[str, str | None] = dict(self._filled(field.table, column, filled))
        texts[""] = self._empty(column)
        return texts

    def _empty(self, column: Column) -> str | None:
        if column.type in {"string", "choice"} and column.choice and column.choice != _OPEN_CHOICE:
            return None if self._switches.empty_choice_displays_null else ""
        return "UNKNOWN" if column.type == "due_date" else ""

    def _filled(self, table: str, column: Column, values: set[str]) -> Mapping[str, str]:
        if column.type in LIST_TYPES:
            return self._lists(column, values)
        if column.reference:
            return self.names(column.reference, column.reference_key, values)
        if column.type == "document_id" and column.dependent and values:
            return self._documents(table, column, values)
        if column.choice and column.choice != _OPEN_CHOICE:
            inherited = self._switches.choices_from_parent
            labels = self._dictionary.choice_labels(
                table, column.element, inherited=inherited, language=self._user.language
            )
            if labels:
                return {value: labels.get(value, f"({value})") for value in values}
        shaper = self._of_session() if column.type in MONEY else self._shaper(column.type)
        return {value: shaper(value) for value in values}

    def _shaper(self, internal_type: str) -> Callable[[str], str]:
        if internal_type in DATE_TIME_TYPES:
            return self.date_time
        if internal_type in DURATION_TYPES:
            return duration
        if internal_type in _INTEGER_DATES and self._switches.integer_dates_formatted:
            return self.integer_date if internal_type == "integer_date" else self.integer_time
        if internal_type in INTEGER_TYPES and self._switches.group_integers:
            return _grouped
        if internal_type in PASSWORD_TYPES:
            return lambda _: _MASK
        return {
            "glide_date": self.date,
            "glide_time": self.time,
            "sys_class_name": self._dictionary.table_label,
            "table_name": self._dictionary.table_label,
            "currency2": self.money,
            **dict.fromkeys(_IMAGES, _picture if self._switches.images_display_path else str),
            **dict.fromkeys(DECIMAL_TYPES - MONEY.keys(), _grouped),
        }.get(internal_type, str)

    # -- dates -------------------------------------------------------------------------------------------------

    def date_time(self, stamp: str) -> str:
        moment = _moment(stamp)
        return stamp if moment is None else moment.astimezone(self._user.zone).strftime(self._date_time)

    def date(self, stamp: str) -> str:
        moment = _moment(stamp[:10] + " 00:00:00")
        return stamp if moment is None else moment.strftime(self._date)

    def time(self, stamp: str) -> str:
        moment = _moment(stamp)
        return stamp if moment is None else moment.strftime(strftime_of(self._user.time_format))

    def integer_date(self, digits: str) -> str:
        """`20250131` as a date."""
        return self.date(f"{digits[:4]}-{digits[4:6]}-{digits[6:]}") if _EIGHT_DIGITS.fullmatch(digits) else digits

    def integer_time(self, digits: str) -> str:
        """`93005` as a time; leading zeros are not stored."""
        full = digits.zfill(6)
        return self.time(f"1970-01-01 {full[:2]}:{full[2:4]}:{full[4:]}") if len(full) == 6 else digits  # noqa: PLR2004 - hhmmss

    # -- amounts -----------------------------------------------------------------------------------------------

    def money(self, text: str) -> str:
        """An amount, with its currency before it where the value names one (`EUR;10.00`)."""
        currency, _, amount = text.rpartition(";")
        number = number_of(amount)
        return text if number is None else self._amount(currency or self._currencies.reference(), number)

    def _amount(self, currency: str, number: float) -> str:
        if self._switches.money_by_code:
            return f"{currency} {number:,.2f}"
        return f"{_SIGNS.get(currency, currency)}{number:,.2f}"

    def _of_session(self) -> Callable[[str], str]:
        """Shows amounts of the reference currency in that of the user."""
        reference, session = self._currencies.reference(), self._currencies.session(self._user.sys_id)

        def shown(text: str) -> str:
            number = number_of(text)
            converted = None if number is None else self._currencies.convert(number, reference, session)
            return text if converted is None else self._amount(session, converted)

        return shown

    def with_currency(self, text: str) -> str:
        """An amount of the reference currency in the form in which one is written."""
        return f"{self._currencies.reference()};{text}"

    def currency2(self, text: str) -> str:
        """The value of a `currency2` column: `USD;100.00`, or its amount alone."""
        return text.rpartition(";")[2] if self._switches.currency2_value_is_amount else text

    # -- references --------------------------------------------------------------------------------------------

    def _lists(self, column: Column, values: set[str]) -> Mapping[str, str]:
        if not column.reference:
            return {value: value for value in values}
        members = {member for value in values for member in value.split(",")}
        names = self.names(column.reference, "sys_id", members)
        # A list may hold e-mail addresses beside sys_ids; those display as they are.
        return {value: ", ".join(names.get(m) or m for m in value.split(",")) for value in values}

    def names(self, target: str, key: str, values: set[str]) -> Mapping[str, str]:
        """Display value of records of `target` by their key; what points nowhere displays as empty, unless it is a
        word such as `global` (1.3).
        """
        texts = {value: "" if re.fullmatch(r"[0-9a-f]{32}", value) else value for value in values}
        if target not in self._dictionary.tables:
            return texts
        if target == "sys_db_object" and key == "name":
            return {value: self._dictionary.table_label(value) for value in values}
        source = Source(self._dictionary, self._storage, target)
        element = self._dictionary.display_column(target)
        shown, by = source.field(element), source.field(key)
        if shown is None or by is None:
            return texts
        known = self._look_up(source, by.sql, shown.sql, sorted(values))
        deeper = self.texts(shown, set(known.values()))
        texts.update({value: deeper.get(text) or "" for value, text in known.items()})
        return texts

    def _documents(self, table: str, column: Column, values: set[str]) -> Mapping[str, str]:
        """`Incident: INC0010001`: records of the tables that the column beside it names."""
        source = Source(self._dictionary, self._storage, table)
        by, holder = source.field(column.element), source.field(column.dependent or "")
        texts = {value: value for value in values}
        if by is None or holder is None:
            return texts
        holders = self._look_up(source, by.sql, holder.sql, sorted(values))
        for target in set(holders.values()) & self._dictionary.tables.keys():
            names = self.names(target, "sys_id", {value for value, found in holders.items() if found == target})
            label = self._dictionary.table_label(target)
            texts |= {value: f"{label}: {name}" for value, name in names.items() if name}
        return texts

    def _look_up(self, source: Source, by: str, shown: str, values: list[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for start in range(0, len(values), _CHUNK):
            chunk = values[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            sql = f"SELECT {by}, ifnull(CAST({shown} AS TEXT), '') FROM {source.from_clause()} WHERE {by} IN ({marks})"  # noqa: S608 - built from quoted names
            found.update((str(key), str(text)) for key, text in self._storage.rows(sql, chunk))
        return found


def duration(stamp: str) -> str:
    """`1970-01-22 21:46:21` is `21 Days 21 Hours 46 Minutes`; seconds show only when nothing larger does."""
    moment = _moment(stamp)
    if moment is None:
        return stamp
    seconds = int(moment.timestamp())
    counts = (("Day", seconds // 86400), ("Hour", seconds // 3600 % 24), ("Minute", seconds // 60 % 60))
    words = [f"{count} {unit}{'' if count == 1 else 's'}" for unit, count in counts if count]
    rest = seconds % 60
    return " ".join(words) or f"{rest} Second{'' if rest == 1 else 's'}"


def _moment(stamp: str) -> datetime | None:
    try:
        return datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def _grouped(text: str) -> str:
    number = number_of(text)
    return text if number is None else f"{number:,}"


def _picture(sys_id: str) -> str:
    return f"{sys_id}.iix"
