"""Order guides over the Service Catalog API (c_ServiceCatalogAPI.md): what a guide orders, and ordering it."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nowtwin.apis.service_catalog import (
    ROOT,
    SYS_ID,
    allow_only,
    cart_lines,
    item_detail,
    line_in,
    money,
    place_order,
)
from nowtwin.catalog.carts import Carts
from nowtwin.catalog.items import Line
from nowtwin.catalog.order_guides import Included, guide_of, included
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request, json_answer, json_object
from nowtwin.instance import Instance
from nowtwin.values import number_of, text_of

_FREQUENCIES = {
    "yearly": "Annually",
    "monthly": "Monthly",
    "daily": "Daily",
    "weekly": "Weekly",
    "quarterly": "Quarterly",
}
_NONE = "none"


def submit_guide(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    """The items that the guide includes for these answers; nothing is ordered yet."""
    allow_only(request, "PUT")
    answers = json_object(request.body).get("variables") or {}
    if not isinstance(answers, dict):
        raise Refused(400, "Exception while reading request", "variables is not a JSON object")
    with instance.storage.lock:
        guide = guide_of(instance, found["sys_id"])
        items = included(instance, guide, {str(name): text_of(value) for name, value in answers.items()})
        shown = [_shown(instance, entry) for entry in items]
    return json_answer(200, {"result": shown}, rows=len(shown))


def _shown(instance: Instance, entry: Included) -> dict[str, Any]:
    detail = item_detail(instance, entry.item)
    filled = [
        {**variable, "value": entry.values[variable["name"]], "displayvalue": entry.values[variable["name"]]}
        if variable["name"] in entry.values
        else variable
        for variable in detail["variables"]
    ]
    return detail | {"variables": filled, "quantity": entry.quantity, "order": str(detail["order"])}


def checkout_guide(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    """Order the items at once where the guide has two steps, otherwise put them into the cart."""
    allow_only(request, "POST")
    body = json_object(request.body)
    with instance.storage.lock:
        guide = guide_of(instance, found["sys_id"])
        lines = [_line(instance, entry, guide["sys_id"]) for entry in _entries(body)]
        if guide.get("two_step") == "true":
            made = place_order(instance, request, lines, body)
            result: dict[str, Any] = {"request_number": made.values.get("number", ""), "request_id": made.sys_id}
        else:
            carts = Carts(instance, request.caller)
            for line in lines:
                carts.add(line)
            result = _checkout(carts)
    return json_answer(200, {"result": result}, rows=1)


def _entries(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entries = body.get("items")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise Refused(400, "Exception while reading request", "items is not an array of JSON objects")
    return entries


def _line(instance: Instance, entry: Mapping[str, Any], guide: str) -> Line:
    line = line_in(instance, text_of(entry.get("sys_id")), {"sysparm_quantity": "1", **entry})
    return replace(line, guide=guide)


def _checkout(carts: Carts) -> dict[str, Any]:
    """The whole cart in groups by how often its prices recur."""
    pairs = [(entry, line) for entry, (_, line) in zip(cart_lines(carts), carts.lines(), strict=True)]
    groups: dict[str, list[tuple[dict[str, Any], Line]]] = {}
    for entry, line in pairs:
        groups.setdefault(line.item.get("recurring_frequency") or _NONE, []).append((entry, line))
    return {
        "cart_id": carts.cart_id(),
        **_totals([line for _, line in pairs], ""),
        **{name: _group(name, found) for name, found in groups.items()},
    }


def _group(name: str, pairs: list[tuple[dict[str, Any], Line]]) -> dict[str, Any]:
    frequency = _FREQUENCIES.get(name, "" if name == _NONE else name.title())
    items = [
        {
            **entry,
            "variables": dict(line.answers),
            "recurring_frequency": frequency,
            "delivery_time": line.item.get("delivery_time", ""),
        }
        for entry, line in pairs
    ]
    return _totals([line for _, line in pairs], frequency) | {"items": items}


def _totals(lines: list[Line], frequency: str) -> dict[str, str]:
    price, recurring = (
        sum(float(number_of(line.item.get(column, "")) or 0) * line.quantity for line in lines)
        for column in ("price", "recurring_price")
    )
    return {
        "subtotal_price": money(str(price)) if price else "-",
        "subtotal_recurring_frequency": frequency,
        "subtotal_recurring_price": money(str(recurring)),
        "total_title": "Total",
        "show_subtotal_price": "true" if price else "false",
        "subtotal_title": "Subtotal",
    }


ROUTES = (
    (re.compile(ROOT + r"/items" + SYS_ID + r"/submit_guide/?"), submit_guide),
    (re.compile(ROOT + r"/items" + SYS_ID + r"/checkout_guide/?"), checkout_guide),
)
