"""Amounts of money: stored in the reference currency, shown in that of the session, kept as they were entered."""

import pytest

from tests.nowtwin.talk import Record, Talk

pytestmark = pytest.mark.behaviour(
    "3.1", evidence="documentation: session-and-reference-currency.md, KB0751553; assumption: rates are of one euro"
)
ASSET = "1" * 32


@pytest.fixture
def desk(talk: Talk) -> Talk:
    """A euro is worth 1.25 dollars and 150 yen (and was worth 1 dollar before); Beth is German, Ken Japanese."""
    for code, rate, since in (("USD", "1", "2024-01-01"), ("USD", "1.25", "2025-01-01"), ("JPY", "150", "2025-01-01")):
        rows = talk.rows("fx_currency", f"code={code}", sysparm_fields="sys_id")
        sys_id = rows[0]["sys_id"] if rows else talk.post("fx_currency", {"code": code, "name": code}).result["sys_id"]
        talk.post("fx_rate", {"currency": sys_id, "rate": rate, "rate_date": since})
    talk.instance.add_user("beth", "p", country="DE")
    talk.instance.add_user("ken", "p", country="JPN")
    talk.instance.add_user("sven", "p", country="SE")
    return talk


def cost(talk: Talk, **values: str) -> Record:
    """A change of the asset, read as everything."""
    told: Record = talk.patch("alm_asset", ASSET, values, sysparm_display_value="all").result
    return told


def kept(talk: Talk, table: str = "fx_currency_instance") -> list[tuple[str, ...]]:
    names = ("field", "currency", "amount", "reference_currency", "reference_amount")
    rows = talk.rows(table, f"id={ASSET}^ORDERBYfield", sysparm_fields=",".join(names))
    return [tuple(row[name] for name in names) for row in rows]


def test_an_amount_is_stored_in_the_reference_currency_and_kept_as_entered(desk: Talk) -> None:
    desk.post("alm_asset", {"sys_id": ASSET, "asset_tag": "P1", "cost": "EUR;100.00"})
    told = cost(desk, resale_price="12.5")
    assert told["cost"] == {"display_value": "$125.00", "currency_display_value": "USD;125", "value": "125"}
    assert kept(desk) == [("cost", "EUR", "100", "USD", "125"), ("resale_price", "USD", "12.5", "USD", "12.5")]
    assert [row[0] for row in kept(desk, "fx_price")] == ["resale_price"]
    assert desk.names("alm_asset", "cost>120", "asset_tag") == ["P1"], "filtered by the reference currency"
    cost(desk, cost="JPY;300", resale_price="")
    assert kept(desk) == [("cost", "JPY", "300", "USD", "2.5")]
    told = cost(desk, cost="SEK;10")
    assert (told["cost"]["value"], kept(desk)[0][1]) == ("2.5", "JPY"), "no rate, no conversion"
    desk.delete("alm_asset", ASSET)
    assert kept(desk) == []


def test_people_see_their_own_currency(desk: Talk) -> None:
    desk.instance.load("alm_asset", [{"sys_id": ASSET, "cost": "125"}])

    def shown(talk: Talk, **params: str) -> str:
        told = talk.get(f"table/alm_asset/{ASSET}", sysparm_fields="cost", **params).result
        return str(told["cost"])

    people = [desk.as_user(name, "p") for name in ("beth", "ken", "sven")]
    assert [shown(one, sysparm_display_value="true") for one in people] == ["€100.00", "¥15,000.00", "$125.00"]
    assert [shown(one) for one in people] == ["125"] * 3
    for name, value in (("glide.i18n.single_currency", "true"), ("glide.i18n.single_currency.code", "EUR")):
        desk.post("sys_properties", {"name": name, "value": value})
    assert [shown(one, sysparm_display_value="true") for one in people] == ["€125.00"] * 3


def test_the_locale_of_the_system_says_what_the_reference_currency_is(desk: Talk) -> None:
    desk.post("sys_properties", {"name": "glide.system.locale", "value": "de.DE"})
    desk.post("alm_asset", {"sys_id": ASSET, "cost": "USD;125"})
    assert kept(desk) == [("cost", "USD", "125", "EUR", "100")]
    told = desk.get(f"table/alm_asset/{ASSET}", sysparm_fields="cost", sysparm_display_value="true").result
    assert told == {"cost": "€100.00"}


@pytest.mark.parametrize("text", ["EUR;", "EUR;many", ";5", "5;5", "many"])
def test_what_is_no_amount_changes_nothing(desk: Talk, text: str) -> None:
    desk.post("alm_asset", {"sys_id": ASSET, "cost": "7"})
    assert cost(desk, cost=text)["cost"]["value"] == "7"
    assert kept(desk) == [("cost", "USD", "7", "USD", "7")]
