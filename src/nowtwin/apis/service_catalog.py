"""The Service Catalog API (c_ServiceCatalogAPI.md; servicenow-api.md 11.1): catalogs, items, ordering, the cart.

Order guides: `order_guides`. Not emulated: record producers' submit, wish lists, delegation, UI policies and scripts of items.
"""

import re
from collections.abc import Mapping
from typing import Any

from nowtwin import errors
from nowtwin.apis.table import whole_number
from nowtwin.catalog.carts import Carts
from nowtwin.catalog.items import Line, Orders, item_of, line_of, price_of, variables_of
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request, json_answer, json_object
from nowtwin.instance import Instance
from nowtwin.query.parse import parse
from nowtwin.records.pipeline import Record
from nowtwin.records.selecting import Row, select
from nowtwin.values import number_of, text_of

ROOT = r"/api/sn_sc(?:/v\d)?/servicecatalog"
_LIMIT = 10
_KINDS = {"sc_cat_item_producer": "record_producer", "sc_cat_item_guide": "order_guide"}
_TYPES = {
    "1": ("yes_no", "Yes / No"),
    "2": ("multi_line_text", "Multi Line Text"),
    "3": ("multiple_choice", "Multiple Choice"),
    "5": ("select_box", "Select Box"),
    "6": ("single_line_text", "Single Line Text"),
    "7": ("check_box", "CheckBox"),
    "8": ("reference", "Reference"),
    "9": ("date", "Date"),
    "10": ("date_time", "Date/Time"),
    "16": ("wide_single_line_text", "Wide Single Line Text"),
    "18": ("lookup_select_box", "Lookup Select Box"),
    "21": ("list_collector", "List Collector"),
    "26": ("email", "Email"),
}


# -- reading -------------------------------------------------------------------------------------------------------


def list_catalogs(instance: Instance, request: Request, _found: "re.Match[str]") -> Answer:
    allow_only(request, "GET", "HEAD")
    rows = select(instance, "sc_catalog", parse("active!=false^ORDERBYtitle"))
    return json_answer(200, {"result": [_catalog(instance, row) for row in rows]}, rows=len(rows))


def read_catalog(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    allow_only(request, "GET", "HEAD")
    row = _row(instance, "sc_catalog", found["sys_id"])
    top = select(instance, "sc_category", parse(f"sc_catalog={row['sys_id']}^parentISEMPTY^active!=false^ORDERBYtitle"))
    categories = [
        {
            "header_image": entry["header_icon"],
            "sys_id": entry["sys_id"],
            "description": entry["description"] or None,
            "title": entry["title"],
        }
        for entry in top
    ]
    return json_answer(200, {"result": _catalog(instance, row) | {"categories": categories}}, rows=1)


def _catalog(instance: Instance, row: Row) -> dict[str, Any]:
    sys_id = row["sys_id"]
    return {
        "title": row["title"],
        "sys_id": sys_id,
        "has_categories": instance.count("sc_category", f"sc_catalog={sys_id}") > 0,
        "has_items": instance.count("sc_cat_item", f"sc_catalogsLIKE{sys_id}") > 0,
        "description": row["description"],
        "desktop_image": row["desktop_image"],
    }


def read_category(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    allow_only(request, "GET", "HEAD")
    row = _row(instance, "sc_category", found["sys_id"])
    below = select(instance, "sc_category", parse(f"parent={row['sys_id']}^ORDERBYtitle"), ("title",))
    result = {
        "sys_id": row["sys_id"],
        "title": row["title"],
        "description": row["description"] or None,
        "full_description": None,
        "icon": row["icon"],
        "header_icon": row["header_icon"],
        "homepage_image": row["homepage_image"],
        "count": instance.count("sc_cat_item", f"category={row['sys_id']}"),
        "subcategories": [{"sys_id": entry["sys_id"], "title": entry["title"]} for entry in below],
    }
    return json_answer(200, {"result": result}, rows=1)


def list_items(instance: Instance, request: Request, _found: "re.Match[str]") -> Answer:
    """Active items: `sysparm_text`, `sysparm_category`, `sysparm_catalog`, `sysparm_limit` (10), `sysparm_offset`."""
    allow_only(request, "GET", "HEAD")
    clauses = ["active!=false"]
    for name, condition in (("sysparm_category", "category={}"), ("sysparm_catalog", "sc_catalogsLIKE{}")):
        if request.param(name):
            clauses.append(condition.format(request.param(name).replace("^", "")))
    text = request.param("sysparm_text").replace("^", "")
    if text:
        clauses.append(f"nameLIKE{text}^ORshort_descriptionLIKE{text}")
    query = parse("^".join([*clauses, "ORDERBYorder", "ORDERBYname"]))
    rows = select(instance, "sc_cat_item", query)
    start = whole_number(request.param("sysparm_offset"), 0)
    page = rows[start : start + whole_number(request.param("sysparm_limit"), _LIMIT)]
    return json_answer(200, {"result": [_item(instance, row) for row in page]}, rows=len(page))


def read_item(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    allow_only(request, "GET", "HEAD")
    row = item_of(instance, found["sys_id"])
    return json_answer(200, {"result": item_detail(instance, row)}, rows=1)


def item_detail(instance: Instance, row: Row) -> dict[str, Any]:
    """An item with its prices, its place in the catalog and its variables."""
    category = instance.read("sc_category", row.get("category", "")) or {}
    return _item(instance, row) | {
        "price": money(row.get("price", "")),
        "localized_price": money(row.get("price", "")),
        "price_currency": "USD",
        "local_currency": "USD",
        "recurring_price": money(row.get("recurring_price", "")),
        "localized_recurring_price": money(row.get("recurring_price", "")),
        "recurring_price_currency": "USD",
        "recurring_frequency": row.get("recurring_frequency") or None,
        "categories": [_parentage(instance, category)] if category else [],
        "variables": _variables(instance, row["sys_id"]),
        "ui_policy": [],
        "client_script": {"onChange": [], "onSubmit": [], "onLoad": []},
        "data_lookup": [],
    }


def read_variables(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    allow_only(request, "GET", "HEAD")
    variables = _variables(instance, item_of(instance, found["sys_id"])["sys_id"])
    return json_answer(200, {"result": variables}, rows=len(variables))


def _item(instance: Instance, row: Row) -> dict[str, Any]:
    producer = row.get("sys_class_name") == "sc_cat_item_producer"
    category = instance.read("sc_category", row.get("category", "")) or {}
    catalogs = [part for part in row.get("sc_catalogs", "").split(",") if part]
    return {
        "sys_id": row["sys_id"],
        "name": row.get("name", ""),
        "short_description": row.get("short_description") or None,
        "description": row.get("description", ""),
        "sys_class_name": row.get("sys_class_name") or "sc_cat_item",
        "type": _KINDS.get(row.get("sys_class_name", ""), "catalog_item"),
        "category": {"sys_id": row.get("category", ""), "title": category.get("title", "")},
        "catalogs": [
            {"sys_id": sys_id, "title": (instance.read("sc_catalog", sys_id) or {}).get("title", "")}
            for sys_id in catalogs
        ],
        "show_price": row.get("omit_price") != "true" and not producer,
        "show_quantity": row.get("no_quantity") != "true",
        "order": int(row.get("order") or 0),
        "picture": row.get("picture", ""),
        "icon": row.get("icon", ""),
        "url": "",
        "kb_article": "",
        "content_type": "",
    }


def _parentage(instance: Instance, category: Mapping[str, str]) -> dict[str, Any]:
    """A category under its parent, as the answer for an item nests them."""
    own = {
        "sys_id": category["sys_id"],
        "active": category.get("active") != "false",
        "title": category.get("title", ""),
    }
    parent = instance.read("sc_category", category.get("parent", ""))
    if not parent:
        return own
    return {
        "sys_id": parent["sys_id"],
        "active": parent.get("active") != "false",
        "category": own,
        "title": parent.get("title", ""),
    }


def _variables(instance: Instance, item: str) -> list[dict[str, Any]]:
    return [_variable(instance, row) for row in variables_of(instance, item)]


def _variable(instance: Instance, row: Row) -> dict[str, Any]:
    friendly, display = _TYPES.get(row["type"], ("", ""))
    choices = select(instance, "question_choice", parse(f"question={row['sys_id']}^inactive!=true^ORDERBYorder"))
    entry: dict[str, Any] = {
        "id": row["sys_id"],
        "name": row["name"],
        "label": row["question_text"],
        "type": int(row["type"] or 0),
        "friendly_type": friendly,
        "display_type": display,
        "mandatory": row["mandatory"] == "true",
        "read_only": False,
        "active": True,
        "value": row["default_value"],
        "displayvalue": row["default_value"],
        "attributes": "",
        "dynamic_value_field": "",
        "dynamic_value_dot_walk_path": "",
        "help_text": row.get("help_text", ""),
        "render_label": True,
        "max_length": 0,
    }
    if row.get("reference"):
        entry["reference"] = row["reference"]
    if choices:
        entry["choices"] = [
            {"label": choice["text"], "value": choice["value"], "index": n} for n, choice in enumerate(choices)
        ]
    return entry


# -- ordering ------------------------------------------------------------------------------------------------------


def order_now(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    """Order one item at once; the answer names the request."""
    allow_only(request, "POST")
    body = json_object(request.body)
    with instance.storage.lock:
        made = place_order(instance, request, [line_in(instance, found["sys_id"], body)], body)
    number = made.values.get("number", "")
    result = {
        "sys_id": made.sys_id,
        "number": number,
        "request_number": number,
        "parent_id": None,
        "request_id": made.sys_id,
        "parent_table": "task",
        "table": "sc_request",
    }
    return json_answer(200, {"result": result}, rows=1)


def line_in(instance: Instance, sys_id: str, body: Mapping[str, Any]) -> Line:
    answers = body.get("variables") or {}
    if not isinstance(answers, dict):
        raise Refused(400, "Exception while reading request", "variables is not a JSON object")
    texts = {str(name): text_of(value) for name, value in answers.items()}
    return line_of(instance, sys_id, text_of(body.get("sysparm_quantity")), texts)


def place_order(instance: Instance, request: Request, lines: list[Line], body: Mapping[str, Any]) -> Record:
    """Raises Refused 400 for an unknown person to request for."""
    asked = text_of(body.get("sysparm_requested_for") or body.get("requested_for")) or request.caller.sys_id
    if instance.records.read("sys_user", asked) is None:
        raise Refused(400, "Invalid request", f"sysparm_requested_for is no user: {asked}")
    names = ("delivery_address", "special_instructions")
    details = {name: text_of(body.get(name)) for name in names if body.get(name)}
    return Orders(instance, request.caller).place(lines, asked, details)


def add_to_cart(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    allow_only(request, "POST")
    with instance.storage.lock:
        line = line_in(instance, found["sys_id"], json_object(request.body))
        carts = Carts(instance, request.caller)
        carts.add(line)
        return json_answer(200, {"result": _cart(carts)}, rows=1)


def cart(instance: Instance, request: Request, _found: "re.Match[str]") -> Answer:
    allow_only(request, "GET", "HEAD")
    with instance.storage.lock:
        return json_answer(200, {"result": _cart(Carts(instance, request.caller))}, rows=1)


def cart_line(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    """Change or remove one line of the caller's cart."""
    allow_only(request, "PUT", "DELETE")
    with instance.storage.lock:
        carts = Carts(instance, request.caller)
        row = next((row for row in carts.rows() if row["sys_id"] == found["sys_id"]), None)
        if row is None:
            raise errors.no_record()
        if request.method == "DELETE":
            carts.remove(row)
            return Answer(204, content_type=None, rows=1)
        body = {"sysparm_quantity": row["quantity"], **json_object(request.body)}
        known = {"variables": {**carts.line(row).answers, **(body.get("variables") or {})}}
        line = line_in(instance, row["cat_item"], {**body, **known})
        carts.change(row, line.quantity, line.answers)
        return json_answer(200, {"result": _cart(carts)}, rows=1)


def empty_cart(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    allow_only(request, "DELETE")
    with instance.storage.lock:
        carts = Carts(instance, request.caller)
        if carts.cart_id() != found["sys_id"]:
            raise errors.no_record()
        carts.empty()
    return Answer(204, content_type=None, rows=1)


def submit_order(instance: Instance, request: Request, _found: "re.Match[str]") -> Answer:
    """Order what is in the cart, in one request (two-step checkout is off)."""
    allow_only(request, "POST")
    with instance.storage.lock:
        carts = Carts(instance, request.caller)
        lines = [carts.line(row) for row in carts.rows()]
        if not lines:
            raise Refused(400, "Cart is empty", "")
        made = place_order(instance, request, lines, json_object(request.body))
        carts.empty()
    result = {"request_number": made.values.get("number", ""), "request_id": made.sys_id}
    return json_answer(200, {"result": result}, rows=1)


def _cart(carts: Carts) -> dict[str, Any]:
    pairs = carts.lines()
    return {
        "cart_id": carts.cart_id(),
        "subtotal": money(str(sum(price_of(line) for _, line in pairs))),
        "items": cart_lines(carts),
    }


def cart_lines(carts: Carts) -> list[dict[str, Any]]:
    return [
        {
            "catalog_item_id": line.item["sys_id"],
            "cart_item_id": row["sys_id"],
            "item_name": line.item["name"],
            "quantity": str(line.quantity),
            "price": money(line.item.get("price", "")),
            "localized_price": money(line.item.get("price", "")),
            "recurring_price": money(line.item.get("recurring_price", "")),
            "localized_recurring_price": money(line.item.get("recurring_price", "")),
            "recurring_frequency": line.item.get("recurring_frequency") or None,
        }
        for row, line in carts.lines()
    ]


def money(text: str) -> str:
    return f"${number_of(text) or 0:,.2f}"


def _row(instance: Instance, table: str, sys_id: str) -> Row:
    rows = select(instance, table, parse(f"sys_id={sys_id.replace('^', '')}"))
    if not rows:
        raise errors.no_record()
    return rows[0]


def allow_only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise Refused(405, "Method not supported", f"{request.method} is not supported here")


SYS_ID = r"/(?P<sys_id>[^/]+)"
ROUTES = (
    (re.compile(ROOT + r"/catalogs/?"), list_catalogs),
    (re.compile(ROOT + r"/catalogs" + SYS_ID + r"/?"), read_catalog),
    (re.compile(ROOT + r"/categories" + SYS_ID + r"/?"), read_category),
    (re.compile(ROOT + r"/items/?"), list_items),
    (re.compile(ROOT + r"/items" + SYS_ID + r"/?"), read_item),
    (re.compile(ROOT + r"/items" + SYS_ID + r"/variables/?"), read_variables),
    (re.compile(ROOT + r"/items" + SYS_ID + r"/order_now/?"), order_now),
    (re.compile(ROOT + r"/items" + SYS_ID + r"/add_to_cart/?"), add_to_cart),
    (re.compile(ROOT + r"/cart/?"), cart),
    (re.compile(ROOT + r"/cart/submit_order/?"), submit_order),
    (re.compile(ROOT + r"/cart" + SYS_ID + r"/?"), cart_line),
    (re.compile(ROOT + r"/cart" + SYS_ID + r"/empty/?"), empty_cart),
)
