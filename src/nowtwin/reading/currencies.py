"""Amounts of money (D:platform-administration/currency-administration, session-and-reference-currency.md; KB0751553): a column of
type `currency` or `price` holds the amount in the reference currency of the instance, by which it is filtered, sorted
and summed. What was entered stands in a row of fx_currency_instance (fx_price); people see their session currency.

Rates are rows of fx_rate, how much of a currency one euro is; the euro itself needs none. Without a rate nothing is
converted. None is shipped.
"""

from dataclasses import dataclass
from typing import Final

from nowtwin.schema.metadata import row_id
from nowtwin.storage.rows import Storage
from nowtwin.values import Stored, number_of

INSTANCES: Final = "fx_currency_instance"
MONEY: Final = {"currency": INSTANCES, "price": "fx_price"}
"""Where what was entered into a column of such a type is kept."""
_BASE: Final = "EUR"
_USUAL: Final = "USD"
_PLACES: Final = 4
_EURO: Final = "AT AUT BE BEL DE DEU ES ESP FI FIN FR FRA GR GRC IE IRL IT ITA LU LUX NL NLD PT PRT"
_OTHERS: Final = (
    "USD US USA, GBP GB GBR, JPY JP JPN, CHF CH CHE, CAD CA CAN, AUD AU AUS, INR IN IND, BRL BR BRA, SEK SE SWE, "
    "NOK NO NOR, DKK DK DNK, PLN PL POL"
)
_OF_COUNTRY: Final = {
    country: code
    for entry in (f"{_BASE} {_EURO}", *_OTHERS.split(", "))
    for code, *countries in [entry.split()]
    for country in countries
}
"""The currency of a country by its codes of two and three letters, as `sys_user.country` has them."""


def entered(text: str) -> tuple[str, int | float] | None:
    """`EUR;12.50` as its currency and amount; None for what does not name a currency."""
    code, mark, amount = text.partition(";")
    number = number_of(amount)
    return None if not mark or number is None or not code.strip().isalpha() else (code.strip().upper(), _whole(number))


def _whole(number: float) -> int | float:
    """A whole amount without places, as it is stored."""
    return int(number) if float(number).is_integer() else number


@dataclass(frozen=True, slots=True)
class Amount:
    """A column of money as it is stored, and as it was given (empty where a rule has set it)."""

    table: str
    sys_id: str
    element: str
    stored: str
    given: str


class Currencies:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def reference(self) -> str:
        """The currency of the system's locale, or the only one."""
        only = self._only()
        return only or _OF_COUNTRY.get(self._property("glide.system.locale").rpartition(".")[2].upper(), _USUAL)

    def session(self, user_id: str) -> str:
        """The currency that a user sees: that of his country, where it can be converted."""
        reference = self.reference()
        row = None if self._only() else self._storage.get("sys_user", user_id)
        own = _OF_COUNTRY.get(str(row.get("country") or "").upper(), reference) if row else reference
        return own if self.convert(1, reference, own) is not None else reference

    def convert(self, amount: float, source: str, target: str) -> int | float | None:
        if source == target:
            return amount
        per_euro = self._rate(source), self._rate(target)
        if per_euro[0] is None or per_euro[1] is None:
            return None
        return _whole(round(amount / per_euro[0] * per_euro[1], _PLACES))

    def in_reference(self, text: str) -> int | float | None:
        """What a column holds for an amount that is given; a bare number is one already."""
        given = entered(text)
        return number_of(text) if given is None else self.convert(given[1], given[0], self.reference())

    def file(self, amount: Amount, kind: str, stamp: str, user_name: str) -> None:
        """Keep what was entered into a column; nothing stays of one that is emptied."""
        self._storage.ensure(INSTANCES)
        sys_id = row_id(INSTANCES, amount.sys_id, amount.element)
        known = self._storage.get(INSTANCES, sys_id) is not None
        reference_amount = number_of(amount.stored)
        if reference_amount is None:
            if known:
                self._storage.delete(INSTANCES, sys_id)
            return
        reference = self.reference()
        given = entered(amount.given)
        if given is None or self.convert(given[1], given[0], reference) != reference_amount:
            given = (reference, reference_amount)  # a rule has set it, or a bare number
        row: dict[str, Stored] = {"id": amount.sys_id, "table": amount.table, "field": amount.element}
        row |= {"currency": given[0], "amount": given[1]}
        row |= {"reference_currency": reference, "reference_amount": reference_amount}
        row |= {"sys_updated_on": stamp, "sys_updated_by": user_name, "sys_mod_count": 0}
        if known:
            self._storage.update(INSTANCES, sys_id, row)
            return
        made: dict[str, Stored] = {"sys_id": sys_id, "sys_class_name": kind}
        self._storage.insert(INSTANCES, {**row, **made, "sys_created_on": stamp, "sys_created_by": user_name})

    def _only(self) -> str:
        if self._property("glide.i18n.single_currency") != "true":
            return ""
        return self._property("glide.i18n.single_currency.code") or _USUAL

    def _rate(self, code: str) -> float | None:
        """The last known one."""
        if code == _BASE:
            return 1.0
        self._storage.ensure("fx_rate", ("currency", "rate", "rate_date"))
        self._storage.ensure("fx_currency", ("code",))
        rows = self._storage.rows(
            "SELECT r.rate FROM fx_rate r JOIN fx_currency c ON c.sys_id = r.currency "
            "WHERE c.code = ? AND r.rate > 0 ORDER BY r.rate_date DESC LIMIT 1",
            (code,),
        )
        return float(rows[0][0] or 0) if rows else None

    def _property(self, name: str) -> str:
        self._storage.ensure("sys_properties", ("name", "value"))
        rows = self._storage.rows("SELECT value FROM sys_properties WHERE name = ? COLLATE NOCASE", (name,))
        return str(rows[0][0] or "") if rows else ""
