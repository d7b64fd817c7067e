"""What is known about rows that demo records merely point at: their class, and the columns their name tells.

A name is little, but a stock instance has more, and screens and joins look at it: a user has a user_name, a place a
city, a laptop's CI the serial number of its asset. Nothing is made up that the name or the asset does not say.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from nowtwin.seeds.references import ReferenceBook, Row

# Those whose user_name is neither their e-mail name nor their name (sys_created_by of the records shows them).
USER_NAMES: Final[Mapping[str, str]] = {
    "System Administrator": "admin",
    "ITIL User": "itil",
    "Joe Employee": "employee",
    "Guest": "guest",
}
_US_ADDRESS: Final = re.compile(r"(?P<street>.+), (?P<city>[^,]+), ?(?P<state>[A-Z]{2})")
_ADDRESS: Final = re.compile(r"(?P<street>.+), (?P<city>[^,]+)")
_CATEGORY_CLASSES: Final[Mapping[str, str]] = {"Computer": "cmdb_ci_computer"}
_FROM_ASSET: Final = (
    "serial_number",
    "asset_tag",
    "assigned_to",
    "company",
    "location",
    "department",
    "cost_center",
    "vendor",
    "cost",
    "purchase_date",
    "install_date",
    "warranty_expiration",
    "sys_created_on",
    "sys_updated_on",
)
_CI_STATUS_OF_ASSET: Final[Mapping[str, str]] = {"1": "1", "6": "6", "7": "7"}


def user_name_of(name: str, email: str = "") -> str:
    """The user_name of a stock user: the name part of the e-mail address, save for a few."""
    return USER_NAMES.get(name) or (email.partition("@")[0] or ".".join(name.split())).lower()


def target_class(table: str, element: str, reference: str, record: Mapping[str, Any]) -> str:
    """The class of the row behind a reference: for hardware its model category tells more than the dictionary."""
    if table == "alm_hardware" and element == "ci":
        return _CATEGORY_CLASSES.get(record["model_category"], "cmdb_ci_hardware")
    if table == "alm_hardware" and element == "model":
        return "cmdb_hardware_product_model"
    return reference


def describe(table: str, name: str) -> Mapping[str, str]:
    """Columns of a row to create, as far as its name tells them; the display column is not among them."""
    describer = _DESCRIBERS.get(table)
    if describer:
        return describer(name)
    if table.startswith("cmdb_ci"):
        return {"install_status": "1", "operational_status": "1", "sys_domain": "global", "sys_domain_path": "/"}
    return {}


def _user(name: str) -> Row:
    first, _, last = name.rpartition(" ")
    user_name = user_name_of(name)
    return {
        **({"first_name": first, "last_name": last} if first else {"first_name": last}),
        "user_name": user_name,
        "email": f"{user_name}@example.com",
        "active": "true",
        "locked_out": "false",
        "notification": "2",
        "sys_domain": "global",
        "sys_domain_path": "/",
        **({"roles": {"admin": "admin", "itil": "itil"}[user_name]} if user_name in ("admin", "itil") else {}),
    }


def _group(name: str) -> Row:
    return {"active": "true", "email": f"{name.lower().replace(' ', '.')}@example.com"}


def _location(name: str) -> Row:
    place = _US_ADDRESS.fullmatch(name)
    if place:
        return {**place.groupdict(), "country": "United States", "full_name": name}
    place = _ADDRESS.fullmatch(name)
    return {**(place.groupdict() if place else {"city": name}), "full_name": name}


def _company(name: str) -> Row:
    if name.startswith("ACME"):
        return {"customer": "true", "vendor": "false", "manufacturer": "false"}
    return {"customer": "false", "vendor": "true", "manufacturer": "true"}


def _model(display_name: str) -> Row:
    return {"name": display_name.partition(" ")[2], "status": "In Production", "type": "Generic"}


def _model_category(name: str) -> Row:
    return {
        "cmdb_ci_class": _CATEGORY_CLASSES.get(name, "cmdb_ci_hardware"),
        "asset_class": "alm_hardware",
        "product_model_class": "cmdb_hardware_product_model",
    }


def _depreciation(name: str) -> Row:
    return {"years": re.sub(r"\D", "", name)}


_DESCRIBERS: Final = {
    "sys_user": _user,
    "sys_user_group": _group,
    "cmn_location": _location,
    "core_company": _company,
    "cmdb_hardware_product_model": _model,
    "cmdb_model_category": _model_category,
    "cmdb_depreciation": _depreciation,
}


def _rows(book: ReferenceBook, table: str) -> Iterable[Row]:
    return dict(book.rows()).get(table, [])


def enrich_models(book: ReferenceBook) -> None:
    """A model's display name starts with its manufacturer."""
    for model in list(_rows(book, "cmdb_hardware_product_model")):
        model["manufacturer"] = book.sys_id("core_company", model["display_name"].partition(" ")[0])


def enrich_from_hardware(book: ReferenceBook, assets: Iterable[Row]) -> None:
    """An asset and its CI point at each other and share what the sync rules copy (servicenow-api.md 11.2)."""
    by_sys_id = {row["sys_id"]: row for table, rows in book.rows() if table.startswith("cmdb_ci") for row in rows}
    models = {row["sys_id"]: row for row in _rows(book, "cmdb_hardware_product_model")}
    for asset in assets:
        ci = by_sys_id.get(asset.get("ci", ""))
        if ci is None:
            continue
        ci.update({element: asset[element] for element in _FROM_ASSET if element in asset})
        ci["asset"] = asset["sys_id"]
        ci["model_id"] = asset["model"]
        ci["manufacturer"] = models[asset["model"]]["manufacturer"]
        ci["install_status"] = _CI_STATUS_OF_ASSET.get(asset["install_status"], "1")
